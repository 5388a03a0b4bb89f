"""Free text with its identifiers replaced by type tags.

First what structured columns of the same row know, wherever it stands; then what the text detectors
find. Both work on whole arrays; only rows that hold something are rewritten.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.detect import lexicon, sieves
from governance.detect.classifications import taxonomy
from governance.detect.noticed import Noticed
from governance.detect.registry import Detectors, DetectorsLike, resolve
from governance.detect.text import Hits, TextEngine, byte_lookup, engine

TAGS: Mapping[str, str] = {
    "person_name": "NAME", "given_name": "NAME", "family_name": "NAME", "email": "EMAIL", "phone": "PHONE",
    "street_address": "ADDRESS", "city": "CITY", "postal_code": "ZIP", "date_of_birth": "DATE", "date": "DATE", "ssn": "SSN",
    "national_id": "ID", "passport": "ID", "driver_license": "ID", "medical_record_number": "MRN", "health_plan_id": "ID",
    "account_number": "ID", "npi": "ID", "iban": "IBAN", "credit_card": "CARD", "ip_address": "IP", "mac_address": "DEVICE",
    "device_id": "DEVICE", "vehicle_id": "ID", "url": "URL", "username": "USERNAME", "customer_id": "ID",
    "geo_coordinates": "GEO", "secret": "SECRET",
}  # fmt: skip
"""The tag of each classification of the package whose values are removed where a structured column knows them."""

MAXIMUM_ROWS = 131_072
MAXIMUM_BYTES = 32 << 20
"""Text worked on together, unless a row alone is longer."""
MINIMUM_KNOWN = 3
"""Characters a known value needs; a shorter one stands in too many words."""

_DATE_FORMATS = (
    "%Y-%m-%d",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%m/%d/%y",
    "%Y%m%d",
    "%Y/%m/%d",
    "%m-%d-%Y",
    "%d-%m-%Y",
)
_SHORT_DATE_FORMATS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y")
"""Written also without leading zeros, which Arrow's strftime cannot leave out."""
_NAMES = frozenset({"person_name", "given_name", "family_name"})
_PUNCTUATED = frozenset(
    {"phone", "ssn", "iban", "credit_card", "national_id", "medical_record_number", "health_plan_id"}
)


@lru_cache(maxsize=8)
def known_tags(detectors: Detectors) -> Mapping[str, str]:
    """:data:`TAGS`, and the tag of each classification of a team that identifies: confidential or more, no opinion or state
    of a person (GDPR Art. 9)."""
    own = {d.classification: d.tag for d in reversed(detectors.text)}
    return {
        name: own.get(name, "ID")
        for name, entry in detectors.taxonomy.items()
        if name not in taxonomy()
        and entry.sensitivity in ("confidential", "restricted")
        and entry.special_category is None
    } | dict(TAGS)


def redact(
    texts: pa.Array,
    known: Mapping[str, pa.Array | Sequence[pa.Array]] | None = None,
    detectors: DetectorsLike = None,
    *,
    noticed: Noticed | None = None,
) -> pa.Array:
    """Replace identifiers in texts by tags such as ``[EMAIL]``.

    Args:
        texts: ``string`` or ``large_string`` (also dictionary-encoded), length n.
        known: by classification, an array of length n or several: what structured columns say of the same row. Their
            values are removed wherever they stand in the row's text, in any case, names also word by word.
        detectors: what is known, or the paths of a team's files.
        noticed: what a scan with the same detectors noticed of the same texts.

    Returns:
        An array of the same length, ``string`` or ``large_string``; null stays null and an untouched
        text is returned as it was. What no rule and no known value names stays in the text.
    """
    if pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_decode()
    if pa.types.is_null(texts.type):
        return texts.cast(pa.string())
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        texts = texts.cast(pa.large_string())
    team = resolve(detectors)
    matcher, tags = engine(team), known_tags(team)
    parts = []
    step = min(MAXIMUM_ROWS, max(1, MAXIMUM_BYTES * len(texts) // max(texts.nbytes, 1)))
    for start in range(0, len(texts), step):
        part = texts.slice(start, step)
        if noticed is None:
            flags = matcher.sieved(part)
            hits = matcher.hits(part, flags)
        else:
            flags, hits = matcher.recalled(part, noticed.within(start, start + len(part)))
        if known:
            given = {
                name: [array.slice(start, step) for array in _listed(arrays)]
                for name, arrays in known.items()
                if name in tags
            }
            rows, rewritten = _without_known(part, flags, given, tags)
            if len(rows):
                part = _placed(part, rows, rewritten)
                hits = hits.replaced(rows, matcher.hits(rewritten))
        parts.append(_without_found(part, hits, matcher))
    return pa.concat_arrays(parts) if parts else texts


def _without_found(texts: pa.Array, hits: Hits, detectors: TextEngine) -> pa.Array:
    if not len(hits.rows):
        return texts
    holders: list[list[int]] = [[] for _ in detectors.detectors]
    for place, found in enumerate(hits.detectors):
        for index in found:
            holders[index].append(place)
    flagged = texts.take(pa.array(hits.rows))
    for index, detector in enumerate(detectors.detectors):
        if not detector.redact or not holders[index]:
            continue
        at = np.array(holders[index], dtype=np.int64)
        rows = flagged.take(pa.array(at))
        if detector.redact_unchecked:
            # Twice: a span that shares its boundary character with the one before it is passed over once.
            for _ in range(2):
                rows = pc.replace_substring_regex(rows, detector.expression, rf"\1[{detector.tag}]\3")
        else:
            rows = _rewritten(rows, partial(_checked, detectors, index))
        flagged = _placed(flagged, at, rows)
    flagged = _without_names(flagged, hits)
    return _placed(texts, hits.rows, flagged)


def _without_names(flagged: pa.Array, hits: Hits) -> pa.Array:
    at = np.flatnonzero(hits.lexicon)
    if not len(at):
        return flagged
    return _placed(flagged, at, _rewritten(flagged.take(pa.array(at)), _named))


def _checked(detectors: TextEngine, index: int, text: bytes) -> bytes:
    tag = detectors.detectors[index].tag
    return _spliced(text, [(start, end, tag) for start, end in detectors.found(index, text)])


def _named(text: bytes) -> bytes:
    tags = lexicon.REDACTED
    return _spliced(text, [(s, e, tags[kind]) for s, e, kind in byte_lookup(text) if kind in tags])


def _spliced(text: bytes, spans: list[tuple[int, int, str]]) -> bytes:
    pieces, position = [], 0
    for start, end, tag in spans:
        if text[start - 1 : start] == b"[" and text[end : end + 1] == b"]":
            continue
        pieces += [text[position:start], b"[", tag.encode(), b"]"]
        position = end
    return b"".join([*pieces, text[position:]])


def _rewritten(rows: pa.Array, rewrite: Callable[[bytes], bytes]) -> pa.Array:
    wide = pa.types.is_large_string(rows.type)
    raw = rows.cast(pa.large_binary() if wide else pa.binary()).to_pylist()
    return pa.array([rewrite(text) for text in raw], pa.large_binary() if wide else pa.binary()).view(
        rows.type
    )


def _placed(texts: pa.Array, rows: NDArray[np.int64], replacements: pa.Array) -> pa.Array:
    if len(rows) == len(texts):
        return replacements
    mask = np.zeros(len(texts), dtype=np.bool_)
    mask[rows] = True
    return pc.replace_with_mask(texts, pa.array(mask), replacements)


@dataclass(frozen=True, slots=True)
class _Needles:
    """One way of writing what a column knows: a ``string`` array, the tag, and whether only whole words count.

    ``rows`` are those the array speaks of, ascending.
    """

    values: pa.Array
    tag: str
    rows: NDArray[np.int64]
    whole: bool = False

    def at(self, rows: NDArray[np.int64]) -> list[str]:
        """The values of rows that have one."""
        values: list[str] = self.values.take(pa.array(np.searchsorted(self.rows, rows))).to_pylist()
        return values


def _without_known(
    texts: pa.Array,
    flags: NDArray[np.uint8],
    known: Mapping[str, Sequence[pa.Array]],
    tags: Mapping[str, str],
) -> tuple[NDArray[np.int64], pa.Array]:
    """The rows in which one of their own known values stands, and their texts without these.

    Whole values are replaced first, so that the parts of names do not break them up. ``flags`` are the sieves'.
    """
    columns = [(name, array) for name, given in known.items() for array in given]
    figured = np.flatnonzero(flags & sieves.DIGITS)
    days = [(name, array) for name, array in columns if _is_day(array)]
    needles = [
        _Needles(way, tags[name], rows)
        for name, array in columns
        if not _is_day(array)
        for rows in (_candidates(name, array, flags, figured),)
        for way in _ways(name, _taken(array, rows))
    ]
    if days:
        # A day has many written forms: they are made for the texts that one could stand in.
        dated = _dated(texts, figured) if all(map(_ordinary, (array for _, array in days))) else figured
        needles += [
            _Needles(way, tags[name], dated)
            for name, array in days
            for way in _ways(name, _taken(array, dated))
        ]
    every = np.arange(len(texts))
    needles += [
        _Needles(part, "NAME", every, whole=True)
        for name, array in columns
        if name in _NAMES
        for part in _name_parts(array)
    ]
    found = _standing(texts, needles)
    rows = np.unique(np.concatenate([np.empty(0, np.int64), *found]))
    rewritten = _taken(texts, rows).to_pylist()
    for needle, at in zip(needles, found, strict=True):
        places = np.searchsorted(rows, at).tolist()
        for place, value in zip(places, needle.at(at), strict=True):
            rewritten[place] = _removed(rewritten[place], value, f"[{needle.tag}]", whole=needle.whole)
    return rows, pa.array(rewritten, texts.type)


_DATED = (
    r"[0-9][-/.][0-9]{1,2}[-/.][0-9]{2}|[0-9]{8}"
    r"|[0-9], [0-9]{4}|[0-9] [^0-9 ]+ [0-9]{4}"
)
"""Stands in whatever one of the formats writes for a year of four digits."""


def _dated(texts: pa.Array, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of ``rows`` in whose text a day could be written."""
    mask = pc.match_substring_regex(_taken(texts, rows), _DATED).fill_null(False)
    dated: NDArray[np.int64] = rows[mask.to_numpy(zero_copy_only=False)]
    return dated


def _ordinary(days: pa.Array) -> bool:
    """Whether all years have four digits."""
    limits = pc.min_max(days)
    years = [pc.year(limits[end]).as_py() for end in ("min", "max")]
    return years[0] is None or (years[0] > 1000 and years[1] < 9999)


def _candidates(
    name: str, values: pa.Array, flags: NDArray[np.uint8], figured: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Rows whose text may hold the row's value: it has no less than the value's digits and signs.

    What is written of an address or a name may lack what the whole value has.
    """
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return figured
    if name in _NAMES or name == "street_address" or not _is_text(kind):
        return np.arange(len(values))
    digits = sieves.with_digit(values)
    without = np.flatnonzero(~digits)
    if name not in _PUNCTUATED and len(without):
        signed = pc.match_substring(_taken(values, without), "@").fill_null(True)
        without = without[~signed.to_numpy(zero_copy_only=False) | ((flags[without] & sieves.MARKS) != 0)]
    if not len(without):
        return figured
    return np.union1d(figured, without)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _taken(values: pa.Array, rows: NDArray[np.int64]) -> pa.Array:
    return values if len(rows) == len(values) else values.take(pa.array(rows))


def _is_day(values: pa.Array) -> bool:
    return bool(pa.types.is_date(values.type) or pa.types.is_timestamp(values.type))


class _Databases(threading.local):
    """A database in memory for each thread, which holds nothing between two questions: opening costs as much as asking."""

    def __init__(self) -> None:
        import duckdb

        self.connection = duckdb.connect(":memory:")
        # Spill files would hold readable values.
        self.connection.execute("SET max_temp_directory_size='0B'; SET memory_limit='1GB'; SET threads=1")


@cache
def _databases() -> _Databases:
    return _Databases()


def _standing(texts: pa.Array, needles: Sequence[_Needles]) -> list[NDArray[np.int64]]:
    """For each needle the rows in whose text the row's own value stands without regard to case, ascending."""
    database = _databases().connection
    found: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(needles)
    together: dict[bytes, list[int]] = {}
    for number, needle in enumerate(needles):
        if len(needle.rows):
            together.setdefault(needle.rows.tobytes(), []).append(number)
    for numbers in together.values():
        rows = needles[numbers[0]].rows
        tests = ", ".join(
            f"coalesce(length(n{n}) >= {MINIMUM_KNOWN} AND contains(l, lower(n{n})), false) AS n{n}"
            for n in numbers
        )
        arrays = [_taken(texts, rows), *(needles[n].values for n in numbers)]
        database.register("given", pa.table(arrays, names=["t", *(f"n{n}" for n in numbers)]))
        try:
            answer = database.sql(
                f"SELECT {tests} FROM (SELECT lower(t) AS l, * FROM given)"
            ).to_arrow_table()
        finally:
            database.unregister("given")
        for number, column in zip(numbers, answer.columns, strict=True):
            found[number] = rows[np.flatnonzero(column.to_numpy(zero_copy_only=False))]
    return found


def _removed(text: str, needle: str, tag: str, *, whole: bool) -> str:
    if text.isascii() and needle.isascii():
        # Each needle stands in one row only: compiling an expression for it costs more than the rest.
        return _removed_ascii(text, needle, tag, whole=whole)
    pattern = re.escape(needle)
    if whole:
        pattern = rf"(?<![^\W_]){pattern}(?![^\W_])"
    return re.sub(pattern, tag, text, flags=re.IGNORECASE)


def _removed_ascii(text: str, needle: str, tag: str, *, whole: bool) -> str:
    lowered, sought = text.lower(), needle.lower()
    pieces, position, start = [], 0, lowered.find(sought)
    while start >= 0:
        end = start + len(sought)
        if whole and (lowered[start - 1 : start].isalnum() or lowered[end : end + 1].isalnum()):
            start = lowered.find(sought, start + 1)
            continue
        pieces += [text[position:start], tag]
        position, start = end, lowered.find(sought, end)
    return "".join([*pieces, text[position:]])


def _listed(given: pa.Array | Sequence[pa.Array]) -> Sequence[pa.Array]:
    return (given,) if isinstance(given, pa.Array) else given


def _as_text(values: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_floating(values.type):
        values = values.cast(pa.int64(), safe=False)
    text = values.cast(pa.string())
    # Arrow's trimming reads every character of every value.
    return text if sieves.bounded(text) else pc.utf8_trim_whitespace(text)


def _ways(name: str, values: pa.Array) -> list[pa.Array]:
    """The ways in which a value may be written."""
    if _is_day(values):
        # A day is written once, however many rows and hours of it there are. Local first: some zones
        # have days without a midnight.
        zoned = pa.types.is_timestamp(values.type) and values.type.tz is not None
        local = pc.local_timestamp(values) if zoned else values
        days = pc.floor_temporal(local, unit="day").dictionary_encode()
        short = [pc.strftime(days.dictionary, form) for form in _SHORT_DATE_FORMATS]
        ways = [
            *(pc.strftime(days.dictionary, form) for form in _DATE_FORMATS),
            *(pc.replace_substring_regex(way, r"\b0([0-9])", r"\1") for way in short),
        ]
        return [way.take(days.indices) for way in ways]
    written = _as_text(values)
    ways = [written]
    if name in _PUNCTUATED:
        ways.append(pc.replace_substring_regex(written, r"[^\pL\pN]", ""))
    if name == "street_address":
        ways.append(pc.replace_substring_regex(written, r"\s*,?\s*\b(?i:apt|suite|ste|unit)\b.*$", ""))
    return ways


def _name_parts(values: pa.Array) -> list[pa.Array]:
    words = pc.split_pattern_regex(pc.fill_null(_as_text(values), ""), r"[\s,.]+")
    lengths = pc.list_value_length(words).to_numpy(zero_copy_only=False)
    most = min(int(lengths.max(initial=0)), 5)
    parts = []
    for place in range(most):
        # list_element raises for a list that is too short, so shorter ones give their last word again.
        at = pa.array(np.minimum(lengths - 1, place).astype(np.int64) + _starts(words))
        parts.append(words.flatten().take(at))
    return parts


def _starts(words: pa.Array) -> NDArray[np.int64]:
    offsets: NDArray[np.int64] = words.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    starts: NDArray[np.int64] = offsets[:-1] - offsets[0]
    return starts
