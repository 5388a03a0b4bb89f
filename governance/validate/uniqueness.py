"""Which rows repeat: 128-bit keys of values, counted by sorting, in 16 bytes a row and no spill.

Numbers and dates are their own keys. Text, bytes and compounds are keyed by MD5, computed by DuckDB a
batch at a time: two values could only be taken for one by who forges a collision, and that fails the
rule instead of passing it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from governance.validate.columns import Family, Unfit, family
from governance.validate.rowwise import considered

if TYPE_CHECKING:
    import duckdb

Keys = npt.NDArray[np.uint64]
"""Shape (n, 2): the upper and lower half of each row's key."""


@dataclass(frozen=True)
class Unique:
    """No row's values may occur twice; every one of the rows that share them fails."""

    columns: tuple[str, ...]
    ignored: str

    def check(self, types: Mapping[str, pa.DataType]) -> None:
        for name in self.columns:
            if pa.types.is_nested(types[name]):
                raise Unfit(f"column {name!r} holds {types[name]}, which cannot be compared")


class Keyer:
    """Makes the keys of ``columns``; rows left out by ``ignored`` have none."""

    def __init__(self, columns: Sequence[str], ignored: str) -> None:
        self.columns = tuple(columns)
        self._ignored = ignored
        self._con: duckdb.DuckDBPyConnection | None = None

    def keys(self, arrays: Sequence[pa.Array]) -> tuple[Keys, npt.NDArray[np.bool_]]:
        """Keys of all rows of normalized ``arrays``, and which of them count."""
        counted = considered([pc.is_valid(a) for a in arrays], self._ignored)
        mask = counted.to_numpy(zero_copy_only=False).astype(bool)
        if len(arrays) == 1 and (direct := _direct(arrays[0])) is not None:
            return direct, mask
        return self._hashed(arrays), mask

    def _hashed(self, arrays: Sequence[pa.Array]) -> Keys:
        if self._con is None:
            import duckdb

            settings: dict[str, Any] = {
                "threads": 1,
                "memory_limit": "256MB",
                "max_temp_directory_size": "0B",
            }
            self._con = duckdb.connect(config=settings)
        names = [f"c{n}" for n in range(len(arrays))]
        self._con.register("batch", pa.table(dict(zip(names, arrays, strict=True))))
        texts = [_textual(name, array.type) for name, array in zip(names, arrays, strict=True)]
        # The length before each value keeps ('ab', 'c') and ('a', 'bc') apart.
        parts = ", ".join(f"CASE WHEN {t} IS NULL THEN '-' ELSE strlen({t}) || ':' || {t} END" for t in texts)
        table = self._con.sql(f"SELECT md5_number(concat({parts})) AS k FROM batch").to_arrow_table()
        self._con.unregister("batch")
        column = table["k"].combine_chunks()
        if not len(column):
            return np.empty((0, 2), np.uint64)
        raw = np.frombuffer(column.buffers()[1], np.uint64)
        start = 2 * column.offset
        return raw[start : start + 2 * len(column)].reshape(-1, 2)


def _direct(array: pa.Array) -> Keys | None:
    """Values of at most 64 bits as they are."""
    if family(array.type) is Family.NUMBER and not pa.types.is_decimal(array.type):
        if pa.types.is_floating(array.type):
            values = array.cast(pa.float64()).fill_null(0).to_numpy() + 0.0  # −0 equals 0
        else:
            values = array.fill_null(0).to_numpy()
    elif family(array.type) in (Family.DATE, Family.TIMESTAMP):
        small = pa.types.is_date32(array.type)
        values = array.view(pa.int32() if small else pa.int64()).fill_null(0).to_numpy()
    else:
        return None
    wide = values if values.dtype.itemsize == 8 else values.astype(np.int64)
    keys = np.zeros((len(wide), 2), np.uint64)
    keys[:, 0] = wide.view(np.uint64)
    return keys


def _textual(column: str, kind: pa.DataType) -> str:
    """An SQL expression that maps values of ``kind`` to text, one to one."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column
    raw = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return f"hex({column})" if raw else f"{column}::VARCHAR"


def repeated(keys: Keys) -> Keys:
    """The keys that occur more than once, each once, in lexicographic order."""
    upper = np.sort(keys[:, 0])
    twice = np.unique(upper[1:][upper[1:] == upper[:-1]])
    if not len(twice):
        return np.empty((0, 2), np.uint64)
    at = np.searchsorted(twice, keys[:, 0])
    some = keys[twice[np.minimum(at, len(twice) - 1)] == keys[:, 0]]
    some = some[np.lexsort((some[:, 1], some[:, 0]))]
    same = (some[1:] == some[:-1]).all(axis=1)
    once: Keys = some[1:][same & ~np.concatenate(([False], same[:-1]))]
    return once


def among(keys: Keys, repeats: Keys) -> npt.NDArray[np.bool_]:
    """Which ``keys`` are in ``repeats``, as :func:`repeated` returned them."""
    found = np.zeros(len(keys), bool)
    if not len(repeats):
        return found
    at = np.searchsorted(repeats[:, 0], keys[:, 0])
    # Keys may share an upper half: as many steps as the longest run of equal ones.
    _, runs = np.unique(repeats[:, 0], return_counts=True)
    for step in range(int(runs.max())):
        candidate = np.minimum(at + step, len(repeats) - 1)
        found |= (repeats[candidate] == keys).all(axis=1)
    return found
