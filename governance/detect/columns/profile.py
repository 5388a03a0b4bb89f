"""What one column holds, gathered batch by batch in bounded memory.

Every value is counted and passed through the masks; a distinct sample, chosen by a hash of the
value and therefore over the whole stream, is kept for the validators.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.detect.detectors.registry import Detectors
from governance.detect.detectors.vocabulary import PLACEHOLDERS
from governance.detect.text.engine import engine
from governance.detect.text.noticed import Noticed, joined

SAMPLED_ROWS = 4_096
"""Rows of each batch, evenly spread, whose values may enter the distinct sample."""
MAXIMUM_DISTINCT = 4_096
MAXIMUM_CHARACTERS = 1_000
"""A longer value is cut in the sample; masks read all of it."""
_FEW = 256
"""Distinct values in the sample below which a column's are looked at once each."""
_SEARCHED_BYTES = 4 << 20
"""Text that is searched at once, unless a row alone is longer."""
_CHECKED_BYTES = 64
"""Longer values are read one by one."""

_IDENTIFIER = (
    r"@|[0-9]{3}-[0-9]{2}-[0-9]{4}|[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4} ?[A-Z0-9]{2}|(?:[0-9][ -]?){13}|\+[1-9][0-9 ]{8}"
    r"|\([0-9]{3}\) ?[0-9]{3}-|[0-9]{3}[.-][0-9]{3}[.-][0-9]{4}|eyJ|AKIA|-----BEGIN|\bMRN|password"
)
"""Rows of a short-valued column that are worth the text engine."""
_SENTENCE = r"(?:[^ ]+ ){4}[^ ]"
"""A short-valued column may hold sentences between its short values."""
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\x00", b"MM\x00*", b"\x00\x00\x01\x00")


def physical(kind: pa.DataType) -> str:
    """The kind a detector knows: text, integer, number, boolean, date, binary, null or other."""
    types = pa.types
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if types.is_integer(kind):
        return "integer"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_date(kind) or types.is_timestamp(kind):
        return "date"
    if (
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    ):
        return "binary"
    if types.is_boolean(kind):
        return "boolean"
    return "null" if types.is_null(kind) else "other"


def _crc_table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(0xEDB8_8320), table >> np.uint32(1))
    return table


_CRC = _crc_table()


class ColumnProfile:
    """Counts, range, distinct sample and contained identifiers of one column.

    Where ``noticing`` was set, ``noticed`` says what was seen of the last array if it is prose, its nulls left out.
    """

    def __init__(self, name: str, detectors: Detectors | None = None) -> None:
        self.name = name
        self._detectors = detectors
        self.kind = "null"
        self.rows = 0
        self.values = 0
        self.values_read = 0
        self.sample: Counter[str] = Counter()
        self.contains: Counter[str] = Counter()
        self.low: float | None = None
        self.high: float | None = None
        self.images = 0
        self.opaque = False
        self.settled = False
        self.next_attempt = 0
        self._threshold = 1 << 32
        self.noticing = False
        self.noticed: Noticed | None = None

    def update(self, array: pa.Array | None) -> None:
        """Read one array of the column; ``None`` marks a column that cannot be taken apart."""
        if array is None:
            self.opaque = True
            return
        self.noticed = None
        self.rows += len(array)
        kind = physical(array.type)
        if kind != "null":
            self.kind = kind
        values = array.drop_null() if array.null_count else array
        self.values += 0 if kind == "null" else len(values)
        if not len(values) or kind in ("null", "other"):
            return
        if kind == "binary":
            self._read_binary(values)
        elif kind == "text":
            self._read_text(values.cast(pa.large_string()) if pa.types.is_string_view(array.type) else values)
        else:
            self._read_scalars(kind, values)

    def _read_scalars(self, kind: str, values: pa.Array) -> None:
        self.values_read += len(values)
        if kind in ("integer", "number"):
            numbers = values.cast(pa.float64(), safe=False)
            limits = pc.min_max(numbers).as_py()
            if limits["min"] is not None:
                self.low = limits["min"] if self.low is None else min(self.low, limits["min"])
                self.high = limits["max"] if self.high is None else max(self.high, limits["max"])
        if kind != "boolean":
            self._sampled(_as_written(_spread(values)))

    def _read_binary(self, values: pa.Array) -> None:
        if pa.types.is_fixed_size_binary(values.type) or pa.types.is_binary_view(values.type):
            values = values.cast(pa.large_binary())
        heads = [value[:MAXIMUM_CHARACTERS] for value in _spread(values, 256).to_pylist()]
        readable = sum(_is_text(head) for head in heads)
        if readable >= 0.95 * len(heads):
            self.kind = "text"
            self._read_text(
                values.view(pa.large_string() if pa.types.is_large_binary(values.type) else pa.string())
            )
            return
        self.kind = "binary"
        self.values_read += len(values)
        self.images += sum(head.startswith(_MAGIC) for head in heads)

    def _read_text(self, values: pa.Array) -> None:
        if self.settled:
            values = _spread(values)
        self.values_read += len(values)
        heads = _spread(values)
        self._sampled(heads)
        if self.settled:
            return
        detectors = engine(self._detectors)
        prose = _blanks(heads) / len(heads) >= 3
        if not prose:
            values = self._worth_searching(values)
        parts: list[Noticed] = []
        step = max(1, len(values) * _SEARCHED_BYTES // max(values.nbytes, _SEARCHED_BYTES))
        for start in range(0, len(values), step):
            part = values.slice(start, step)
            flags = detectors.sieved(part)
            hits = detectors.hits(part, flags)
            self.contains.update(detectors.counted(hits))
            if prose and self.noticing:
                parts.append(Noticed(hits.rows + start, flags[hits.rows], hits.detectors))
        if parts:
            self.noticed = joined(parts)

    def _worth_searching(self, values: pa.Array) -> pa.Array:
        worth = f"{self._identifier()}|{_SENTENCE}"
        if len(self.sample) < _FEW:
            distinct = values.unique()
            if not pc.any(pc.match_substring_regex(distinct, worth), min_count=0).as_py():
                return values.slice(0, 0)
        return values.filter(pc.match_substring_regex(values, worth))

    def _identifier(self) -> str:
        stated = engine(self._detectors).own
        return f"{_IDENTIFIER}|{stated}" if stated else _IDENTIFIER

    def _sampled(self, values: pa.Array) -> None:
        """Count the values of a text array in the distinct sample, those that may enter it."""
        values = values.cast(pa.large_binary() if pa.types.is_large_string(values.type) else pa.binary())
        values = values.dictionary_encode()
        distinct, times = values.dictionary, np.bincount(values.indices, minlength=len(values.dictionary))
        if self._threshold < 1 << 32:
            # What is in the sample lies below the threshold as well: it only falls, and takes others with it.
            entering = np.flatnonzero(checksums(distinct) < self._threshold)
            distinct, times = distinct.take(pa.array(entering)), times[entering]
        heads = (value[:MAXIMUM_CHARACTERS].decode("utf-8", "replace") for value in distinct.to_pylist())
        self._add(zip(heads, times.tolist(), strict=True))

    def _add(self, values: Iterable[tuple[str, int]]) -> None:
        sample, threshold = self.sample, self._threshold
        for value, times in values:
            text = value.strip()
            if text.lower() in PLACEHOLDERS:
                continue
            if text in sample or zlib.crc32(text.encode("utf-8", "replace")) < threshold:
                sample[text] += times
        while len(sample) > MAXIMUM_DISTINCT:
            threshold //= 2
            for text in [t for t in sample if zlib.crc32(t.encode("utf-8", "replace")) >= threshold]:
                del sample[text]
        self._threshold = threshold

    def distinct(self) -> list[str]:
        """The sampled distinct values in the order of their hash."""
        return sorted(self.sample, key=lambda text: zlib.crc32(text.encode("utf-8", "replace")))


def _spread(values: pa.Array, limit: int = SAMPLED_ROWS) -> pa.Array:
    if len(values) <= limit:
        return values
    return values.take(pa.array(np.linspace(0, len(values) - 1, limit, dtype=np.int64)))


def _blanks(values: pa.Array) -> int:
    """Blanks in the first characters of a text array, all in all."""
    as_bytes = values.cast(pa.large_binary() if pa.types.is_large_string(values.type) else pa.binary())
    lengths = pc.binary_length(as_bytes)
    if pc.max(lengths).as_py() > MAXIMUM_CHARACTERS:
        as_bytes = pc.binary_slice(as_bytes, 0, MAXIMUM_CHARACTERS)
    return int(pc.sum(pc.count_substring(as_bytes, b" ")).as_py())


def checksums(values: pa.Array) -> NDArray[np.int64]:
    """CRC-32 of each text of a ``binary`` or ``large_binary`` array as the sample knows it; 0 where it has to be read.

    The sample knows a text without the blanks around it, whose ends cannot be told from bytes beyond ASCII.
    """
    _, places, data = values.buffers()
    sums = np.zeros(len(values), np.int64)
    if places is None or data is None:
        return sums
    offsets: NDArray[Any] = np.frombuffer(
        places, np.int64 if pa.types.is_large_binary(values.type) else np.int32
    )
    offsets = offsets[values.offset : values.offset + len(values) + 1].astype(np.int64)
    text = np.frombuffer(data, np.uint8)
    lengths = np.diff(offsets)
    rows = np.flatnonzero((lengths > 0) & (lengths <= _CHECKED_BYTES))
    first, last = text[offsets[rows]], text[offsets[rows + 1] - 1]
    printed = (first > ord(" ")) & (first < 0x7F) & (last > ord(" ")) & (last < 0x7F)
    rows = rows[printed]
    if len(text) and text[offsets[0] : offsets[-1]].max() > 0x7F:
        highest = np.maximum.reduceat(np.append(text, np.uint8(0)), offsets[:-1])
        rows = rows[highest[rows] < 0x80]
    # The longest first, so that those that still have bytes stand at the front.
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    begins, sizes = offsets[rows], lengths[rows]
    state = np.full(len(rows), 0xFFFF_FFFF, np.uint32)
    longer = len(rows) - np.searchsorted(sizes[::-1], np.arange(_CHECKED_BYTES), "right")
    for place in range(int(sizes[0]) if len(sizes) else 0):
        some = state[: longer[place]]
        byte = text[begins[: longer[place]] + place]
        state[: longer[place]] = _CRC[(some ^ byte) & np.uint32(0xFF)] ^ (some >> np.uint32(8))
    sums[rows] = (state ^ np.uint32(0xFFFF_FFFF)).astype(np.int64)
    return sums


def _is_text(head: bytes) -> bool:
    # A cut may fall inside a character, which the last three bytes forgive.
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as fault:
        if fault.start < len(head) - 3 or len(head) < MAXIMUM_CHARACTERS:
            return False
        text = head[: fault.start].decode("utf-8")
    return not any(c < " " and c not in "\t\r\n" for c in text)


def _as_written(values: pa.Array) -> pa.Array:
    """Scalars as Python writes them, whole numbers without a point."""
    kind = values.type
    if pa.types.is_integer(kind):
        return values.cast(pa.string())
    if pa.types.is_timestamp(kind) and kind.unit != "ns" and kind.tz in (None, "UTC"):
        limits = pc.min_max(values).as_py()
        if limits["min"].year >= 1000:
            # Casting is many times faster than strftime, and writes the same.
            written = values.cast(pa.timestamp("us")).cast(pa.string())
            written = pc.replace_substring(written, ".000000", "")
            return pc.binary_join_element_wise(written, pa.scalar("+00:00"), "") if kind.tz else written
    return pa.array([_written(value) for value in values.to_pylist()], pa.string())


def _written(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e18:
        return str(int(value))
    return str(value)
