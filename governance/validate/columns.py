"""Columns as rules see them: one notion of missing, and the values a rule may compare them with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


class Family(StrEnum):
    """What a column's type can be compared with."""

    NUMBER = "numbers"
    TEXT = "text"
    DATE = "dates"
    TIMESTAMP = "timestamps"
    BOOLEAN = "true or false"
    OTHER = "nothing"


class Unfit(ValueError):
    """An argument does not fit its column. The text is about the contract and holds no data."""


def family(kind: pa.DataType) -> Family:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_boolean(kind):
        return Family.BOOLEAN
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Family.NUMBER
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return Family.TEXT
    if pa.types.is_date(kind):
        return Family.DATE
    return Family.TIMESTAMP if pa.types.is_timestamp(kind) else Family.OTHER


def normalized(array: pa.Array) -> pa.Array:
    """``array`` with dictionaries decoded and NaN as null, which is what pandas calls missing."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    return array


def normalized_type(kind: pa.DataType) -> pa.DataType:
    """The type of what :func:`normalized` returns."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.float32() if pa.types.is_float16(kind) else kind


def comparable(array: pa.Array) -> pa.Array:
    """A normalized array in the type that :func:`scalar` gives for it."""
    return array.cast(_common(array.type), safe=False)


def scalar(value: Any, kind: pa.DataType) -> pa.Scalar:
    """A rule's ``value`` for a column of type ``kind``. Raises :class:`Unfit`."""
    common = _common(kind)
    fitted = _fitted(value, family(kind))
    if pa.types.is_timestamp(common):
        if kind.tz is None and fitted.tzinfo is not None:
            raise Unfit("a time with a zone for a column without one")
        if kind.tz is not None:
            fitted = fitted.replace(tzinfo=fitted.tzinfo or UTC)
    if pa.types.is_int64(common) and (fitted != int(fitted) or not -(2**63) <= fitted < 2**63):
        return pa.scalar(float(fitted), pa.float64())
    try:
        return pa.scalar(int(fitted) if pa.types.is_int64(common) else fitted, common)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        pass
    raise Unfit("a value out of the column's range")


def sql_literal(value: Any, kind: pa.DataType) -> str:
    """:func:`scalar` in DuckDB's SQL."""
    fitted = scalar(value, kind)
    if pa.types.is_string(fitted.type):
        return quoted(fitted.as_py())
    if pa.types.is_boolean(fitted.type) or pa.types.is_int64(fitted.type):
        return str(fitted.as_py())
    if pa.types.is_floating(fitted.type):
        return f"'{fitted.as_py()!r}'::DOUBLE"
    if pa.types.is_date(fitted.type):
        return f"DATE '{fitted.as_py().isoformat()}'"
    zone = "TIMESTAMPTZ" if fitted.type.tz else "TIMESTAMP"
    moment = fitted.cast(pa.timestamp("us", fitted.type.tz)).as_py()
    return f"{zone} '{(moment.astimezone(UTC) if fitted.type.tz else moment).isoformat(sep=' ')}'"


def sql_comparable(column: str, kind: pa.DataType, literals: Iterable[str] = ()) -> str:
    """The SQL counterpart of :func:`comparable` for the column expression ``column``."""
    common = _common(kind)
    if pa.types.is_floating(common) or any(literal.endswith("::DOUBLE") for literal in literals):
        return f"{column}::DOUBLE"
    return column


def quoted(text: str) -> str:
    """An SQL string literal. Raises :class:`Unfit` for NUL, which SQL text cannot hold."""
    if "\0" in text:
        raise Unfit("a text with a NUL character")
    return "'" + text.replace("'", "''") + "'"


def _common(kind: pa.DataType) -> pa.DataType:
    found = family(kind)
    if found is Family.NUMBER:
        exact = pa.types.is_integer(kind) and not pa.types.is_uint64(kind)
        return pa.int64() if exact else pa.float64()
    if found is Family.TEXT:
        return pa.string()
    if found is Family.DATE:
        return pa.date32()
    if found is Family.TIMESTAMP:
        return pa.timestamp("ns" if kind.unit == "ns" else "us", kind.tz)
    return kind


def _fitted(value: Any, wanted: Family) -> Any:
    if wanted is Family.NUMBER and isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        if value != value:
            raise Unfit("NaN")
        return value
    if (wanted is Family.TEXT and isinstance(value, str)) or (
        wanted is Family.BOOLEAN and isinstance(value, bool)
    ):
        return value
    try:
        if wanted is Family.DATE:
            if isinstance(value, str):
                return date.fromisoformat(value)
            if isinstance(value, date) and not isinstance(value, datetime):
                return value
        if wanted is Family.TIMESTAMP:
            if isinstance(value, str):
                return datetime.fromisoformat(value)
            if isinstance(value, date):
                return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    except ValueError:
        pass
    raise Unfit(f"{type(value).__name__} for a column of {wanted}")
