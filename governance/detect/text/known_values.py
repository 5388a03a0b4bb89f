"""What structured columns of a row know, taken out of the row's free text wherever it stands.

A row is asked for a value only where its text has the digits and signs that the value cannot do without.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.detect.text import sieves
from governance.detect.text.figures import Figures, with_digit
from governance.detect.text.splicing import bytes_of, spliced, taken

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


@dataclass(frozen=True, slots=True)
class _Needles:
    """One way of writing what a column knows: a ``string`` array, the tag, and whether only whole words count.

    ``rows`` are those the array speaks of, ascending.
    """

    values: pa.Array
    tag: str
    rows: NDArray[np.int64]
    whole: bool = False

    def at(self, rows: NDArray[np.int64]) -> pa.Array:
        """The values of rows that have one."""
        return self.values.take(pa.array(np.searchsorted(self.rows, rows)))


def without_known(
    texts: pa.Array,
    flags: NDArray[np.uint8],
    known: Mapping[str, Sequence[pa.Array]],
    tags: Mapping[str, str],
) -> tuple[NDArray[np.int64], pa.Array]:
    """The rows in which one of their own known values stands, and their texts without these.

    Whole values are replaced first, so that the parts of names do not break them up. ``flags`` are the sieves'.
    """
    columns = [(name, array) for name, given in known.items() for array in given]
    figures = Figures(texts, np.flatnonzero(flags & sieves.DIGITS))
    needles = [
        _Needles(way, tags[name], rows)
        for name, array in columns
        # A day has many written forms: they are made for the texts that one could stand in.
        for rows in (
            _dated(texts, array, figures) if _is_day(array) else _candidates(name, array, flags, figures),
        )
        for way in _ways(name, taken(array, rows))
    ]
    # Days last, as the digits of an identifier may look like one.
    every = np.arange(len(texts))
    needles += [
        _Needles(part, "NAME", every, whole=True)
        for name, array in columns
        if name in _NAMES
        for part in _name_parts(array)
    ]
    found = _standing(texts, needles)
    rows, times = np.unique(np.concatenate([np.empty(0, np.int64), *found]), return_counts=True)
    if not len(rows):
        return rows, texts.slice(0, 0)
    alone = rows[times == 1]
    rewritten = _replaced_once(texts, alone, needles, found)
    rewritten = rewritten.take(pa.array(np.searchsorted(alone, rows), mask=times > 1))
    if rewritten.null_count:
        left = rows[rewritten.is_null().to_numpy(zero_copy_only=False)]
        rewritten = pc.replace_with_mask(
            rewritten, rewritten.is_null(), _replaced(texts, left, needles, found)
        )
    return rows, rewritten


def _replaced_once(
    texts: pa.Array, rows: NDArray[np.int64], needles: Sequence[_Needles], found: Sequence[NDArray[np.int64]]
) -> pa.Array:
    """The texts of ``rows``, in each of which one needle was found, without it.

    Null where it has to be looked at: it stands there more than once, within a word, or letters are not ASCII's.
    """
    some = [at[np.isin(at, rows, assume_unique=True)] for at in found]
    at = np.concatenate(some)
    of = np.repeat(np.arange(len(needles)), [len(each) for each in some])
    order = np.argsort(at)
    of = of[order]
    values = pa.concat_arrays([needle.at(each) for needle, each in zip(needles, some, strict=True)]).take(
        pa.array(order)
    )
    texts = taken(texts, rows)
    offsets, data = bytes_of(texts)
    marked = (
        _asked(
            pa.table([_lowered(texts), _lowered(values)], names=["t", "n"]),
            f"SELECT replace(t, n, '{_MARK}') FROM given",
        )
        .column(0)
        .combine_chunks()
    )
    places, bytes_ = bytes_of(marked)
    at = np.flatnonzero(bytes_ == ord(_MARK))
    row = np.searchsorted(places, at, "right") - 1
    plain = np.bincount(row, minlength=len(rows)) == 1
    # The marked text is shorter by the value but for the mark, if no letter changed its length.
    sizes = np.diff(bytes_of(values)[0])
    plain &= np.diff(places) == np.diff(offsets) - sizes + 1
    if len(data) and (data.max() >= 0x80 or (data == ord(_MARK)).any()):
        plain &= (np.maximum.reduceat(data, offsets[:-1]) < 0x80) & ~np.logical_or.reduceat(
            data == ord(_MARK), offsets[:-1]
        )
    starts = np.zeros(len(rows), np.int64)
    starts[row] = at - places[row]
    begins = offsets[:-1] + starts
    ends = begins + sizes
    whole = np.array([needle.whole for needle in needles])[of]
    if whole.any():
        padded = np.concatenate((data, np.zeros(1, np.uint8)))
        plain = plain & ~(
            whole
            & (
                ((starts > 0) & _WORD[padded[begins - 1]])
                | ((ends < offsets[1:]) & _WORD[padded[np.minimum(ends, len(data))]])
            )
        )
    begins, ends = np.where(plain, begins, offsets[:-1]), np.where(plain, ends, offsets[:-1])
    tags = [f"[{needle.tag}]".encode() for needle in needles]
    return spliced(texts, begins, ends, tags, of, ~plain)


_MARK = "\x01"
_WORD = np.isin(np.arange(256), [*b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"])


def _replaced(
    texts: pa.Array, rows: NDArray[np.int64], needles: Sequence[_Needles], found: Sequence[NDArray[np.int64]]
) -> pa.Array:
    """The texts of ``rows`` without all that was found in them, in the order of the needles."""
    rewritten = taken(texts, rows).to_pylist()
    for needle, at in zip(needles, found, strict=True):
        at = at[np.isin(at, rows, assume_unique=True)]
        places = np.searchsorted(rows, at).tolist()
        for place, value in zip(places, needle.at(at).to_pylist(), strict=True):
            rewritten[place] = _removed(rewritten[place], value, f"[{needle.tag}]", whole=needle.whole)
    return pa.array(rewritten, texts.type)


_DATED = (
    r"[0-9][-/.][0-9]{1,2}[-/.][0-9]{2}|[0-9]{8}"
    r"|[0-9], [0-9]{4}|[0-9] [^0-9 ]+ [0-9]{4}"
)
"""Stands in whatever one of the formats writes for a year of four digits."""


def _dated(texts: pa.Array, days: pa.Array, figures: Figures) -> NDArray[np.int64]:
    """Rows in whose text the row's day could be written: with the last two digits of its year at least."""
    if not _ordinary(days):
        return figures.rows
    years = pc.year(taken(days, figures.rows)).fill_null(0).to_numpy(zero_copy_only=False)
    rows = figures.rows[figures.pairs[np.arange(len(years)), years % 100] & (years > 0)]
    mask = pc.match_substring_regex(taken(texts, rows), _DATED).fill_null(False)
    dated: NDArray[np.int64] = rows[mask.to_numpy(zero_copy_only=False)]
    return dated


def _ordinary(days: pa.Array) -> bool:
    """Whether all years have four digits."""
    limits = pc.min_max(days)
    years = [pc.year(limits[end]).as_py() for end in ("min", "max")]
    return years[0] is None or (years[0] > 1000 and years[1] < 9999)


def _candidates(name: str, values: pa.Array, flags: NDArray[np.uint8], figures: Figures) -> NDArray[np.int64]:
    """Rows whose text may hold the row's value: it has no less than the value's digits and signs.

    What is written of an address or a name may lack what the whole value has.
    """
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return figures.allow(_as_text(taken(values, figures.rows)), signs=False)
    if name in _NAMES or name == "street_address" or not _is_text(kind):
        return np.arange(len(values))
    allowed = figures.allow(taken(values, figures.rows), signs=name not in _PUNCTUATED)
    without = np.flatnonzero(~with_digit(values))
    if name not in _PUNCTUATED and len(without):
        signed = pc.match_substring(taken(values, without), "@").fill_null(True)
        without = without[~signed.to_numpy(zero_copy_only=False) | ((flags[without] & sieves.MARKS) != 0)]
    if not len(without):
        return allowed
    return np.union1d(allowed, without)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


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
    sizes = [len(needle.rows) for needle in needles]
    found: list[NDArray[np.int64]] = []
    for some in _together(sizes):
        rows = np.concatenate([needle.rows for needle in needles[some]])
        values = pa.concat_arrays([needle.values for needle in needles[some]])
        given = pa.table(
            [
                _lowered(
                    texts
                    if len(needles[some]) == 1 and len(rows) == len(texts)
                    else texts.take(pa.array(rows))
                ),
                _lowered(values),
            ],
            names=["t", "n"],
        )
        answer = _asked(
            given, f"SELECT coalesce(length(n) >= {MINIMUM_KNOWN} AND contains(t, n), false) FROM given"
        )
        stands = answer.column(0).to_numpy()
        ends = np.cumsum(sizes[some])[:-1]
        found += [
            each[holds] for each, holds in zip(np.split(rows, ends), np.split(stands, ends), strict=True)
        ]
    return found


def _together(sizes: Sequence[int]) -> Iterator[slice]:
    """Needles asked for in one question: it costs as much as asking about some thousand rows."""
    start, rows = 0, 0
    for place, size in enumerate(sizes):
        if rows and rows + size > _ASKED_ROWS:
            yield slice(start, place)
            start, rows = place, 0
        rows += size
    if sizes:
        yield slice(start, len(sizes))


_ASKED_ROWS = 1 << 16


def _lowered(texts: pa.Array) -> pa.Array:
    _, data = bytes_of(texts)
    return pc.ascii_lower(texts) if not len(data) or data.max() < 0x80 else pc.utf8_lower(texts)


def _asked(given: pa.Table, question: str) -> pa.Table:
    """What DuckDB answers about the table ``given``."""
    database = _databases().connection
    database.register("given", given)
    try:
        return database.sql(question).to_arrow_table()
    finally:
        database.unregister("given")


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
        ways.append(_without_marks(written))
    if name == "street_address":
        ways.append(pc.replace_substring_regex(written, r"\s*,?\s*\b(?i:apt|suite|ste|unit)\b.*$", ""))
    return ways


def _without_marks(written: pa.Array) -> pa.Array:
    offsets, data = bytes_of(written)
    if len(data) and data.max() >= 0x80:
        return pc.replace_substring_regex(written, r"[^\pL\pN]", "")
    kept = _WORD[data]
    placed = np.concatenate(([0], np.cumsum(kept)))[offsets]
    places = placed.astype(np.int64 if pa.types.is_large_string(written.type) else np.int32)
    return pa.Array.from_buffers(
        written.type,
        len(written),
        [pa.array(written.is_valid()).buffers()[1], pa.py_buffer(places), pa.py_buffer(data[kept])],
    )


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
