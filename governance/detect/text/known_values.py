"""What structured columns of a row know, taken out of the row's free text wherever it stands.

A row is asked for a value only where its text has the digits and signs that the value cannot do without.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.detect.text import sieves

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

    def at(self, rows: NDArray[np.int64]) -> list[str]:
        """The values of rows that have one."""
        values: list[str] = self.values.take(pa.array(np.searchsorted(self.rows, rows))).to_pylist()
        return values


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
    figured = np.flatnonzero(flags & sieves.DIGITS)
    days = [(name, array) for name, array in columns if _is_day(array)]
    needles = [
        _Needles(way, tags[name], rows)
        for name, array in columns
        if not _is_day(array)
        for rows in (_candidates(name, array, flags, figured),)
        for way in _ways(name, taken(array, rows))
    ]
    if days:
        # A day has many written forms: they are made for the texts that one could stand in.
        dated = _dated(texts, figured) if all(map(_ordinary, (array for _, array in days))) else figured
        needles += [
            _Needles(way, tags[name], dated)
            for name, array in days
            for way in _ways(name, taken(array, dated))
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
    rewritten = taken(texts, rows).to_pylist()
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
    mask = pc.match_substring_regex(taken(texts, rows), _DATED).fill_null(False)
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
        signed = pc.match_substring(taken(values, without), "@").fill_null(True)
        without = without[~signed.to_numpy(zero_copy_only=False) | ((flags[without] & sieves.MARKS) != 0)]
    if not len(without):
        return figured
    return np.union1d(figured, without)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def taken(values: pa.Array, rows: NDArray[np.int64]) -> pa.Array:
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
        arrays = [taken(texts, rows), *(needles[n].values for n in numbers)]
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
