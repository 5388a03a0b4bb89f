"""Coarser values: dates to years, ages over 89 together, numbers to buckets."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ProtectionError
from governance.protect.transforms.base import (
    Arguments,
    TransformContext,
    check_arguments,
    holds,
    integer_argument,
    is_number,
    is_text,
    plain,
    same_nulls,
    unfit,
    value_type,
)

FIRST_YEAR, LAST_YEAR = 1800, 2200

_TIME = r"[T ,]+\d{1,2}:\d{2}.*$"
_YEAR_FIRST = (
    r"^(?:\d{4}(?:[-/.]\d{1,2}(?:[-/.]\d{1,2})?)?|\d{4}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))"
    rf"(?:{_TIME}|$)"
)
_YEAR_LAST = (
    r"^(?:\d{1,2}[-/.]\s?\d{1,2}[-/.]\s?|\d{1,2}\.?[ -][^\d\s/,-]+,?[ -]|[^\d\s/,-]+ (?:\d{1,2},? )?)\d{4}$"
)
_AGE = r"^\s*\+?(\d{1,3})(?:\.0*)?\s*$"


class DateToYear:
    """The year of a date (45 CFR 164.514(b)(2)(i)(C)), from date, timestamp or text of mixed formats.

    Text: ISO 8601, d/m/Y, m/d/Y, d.m.Y, ``12 Mar 1980``, ``March 12, 1980`` and the like: only the
    four-digit year is read, so the order of day and month does not matter. Text without one, and
    years outside 1800–2200, become null. Timestamps are read in UTC.

    Argument ``maximum_age`` (default 89): years that tell of someone older at the run's opening
    become null, because Safe Harbor removes "all elements of dates (including year) indicative of
    such age". ``maximum_age: null`` keeps them, for dates that are nobody's birth.
    """

    name: ClassVar[str] = "date_to_year"
    masking: ClassVar[bool] = True
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, "maximum_age")
        self._maximum_age(arguments)
        decoded = value_type(input_type)
        dated = pa.types.is_date(decoded) or pa.types.is_timestamp(decoded) or pa.types.is_null(decoded)
        if not (dated or is_text(decoded)):
            raise unfit(self.name, input_type, "dates, timestamps or text")
        return pa.int32()

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        decoded = plain(values)
        if pa.types.is_null(decoded.type):
            return pa.nulls(len(decoded), pa.int32())
        years = _years_of_text(decoded) if is_text(decoded.type) else _years_of_dates(decoded)
        first = FIRST_YEAR
        limit = self._maximum_age(context.arguments)
        if limit is not None:
            first = max(first, context.year - limit)
        fits = pc.and_(pc.greater_equal(years, first), pc.less_equal(years, LAST_YEAR))
        return pc.if_else(fits, years, pa.scalar(None, pa.int32()))

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:  # noqa: ARG002
        if after.type != pa.int32() or not same_nulls(before, after):
            return False
        return holds(pc.and_(pc.greater_equal(after, FIRST_YEAR), pc.less_equal(after, LAST_YEAR)))

    def _maximum_age(self, arguments: Arguments) -> int | None:
        if "maximum_age" in arguments and arguments["maximum_age"] is None:
            return None
        return integer_argument(self.name, arguments, "maximum_age", minimum=0, default=89)


def _years_of_text(text: pa.Array) -> pa.Array:
    # Matching without captures runs at ten times the speed of extracting a group.
    text = pc.ascii_trim_whitespace(text)
    first = pc.match_substring_regex(text, _YEAR_FIRST)
    timed = pc.and_not(pc.match_substring(text, ":"), first)
    if pc.any(timed).as_py():
        text = pc.if_else(timed, pc.replace_substring_regex(text, _TIME, ""), text)
    last = pc.match_substring_regex(text, _YEAR_LAST)
    absent = pa.scalar(None, text.type)
    years = pc.if_else(last, pc.utf8_slice_codeunits(text, -4), absent)
    return pc.if_else(first, pc.utf8_slice_codeunits(text, 0, 4), years).cast(pa.int32())


def _years_of_dates(dates: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(dates.type):
        dates = dates.cast(pa.timestamp(dates.type.unit))
    return pc.year(dates).cast(pa.int32())


class AgeCap:
    """Ages over ``maximum`` become ``maximum`` + 1: one category of "90 or older".

    Takes numbers and text of digits; a fraction is cut off, a negative or unreadable age becomes
    null. Argument ``maximum`` (default 89, what 45 CFR 164.514(b)(2)(i)(C) asks).
    """

    name: ClassVar[str] = "age_cap"
    masking: ClassVar[bool] = False
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, "maximum")
        integer_argument(self.name, arguments, "maximum", minimum=0, default=89)
        decoded = value_type(input_type)
        if not (is_number(decoded) or is_text(decoded) or pa.types.is_null(decoded)):
            raise unfit(self.name, input_type, "numbers or text of digits")
        return pa.int32()

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        maximum = int(context.arguments.get("maximum", 89))
        ages = plain(values)
        if pa.types.is_null(ages.type):
            return pa.nulls(len(ages), pa.int32())
        if is_text(ages.type):
            readable = pc.if_else(pc.match_substring_regex(ages, _AGE), ages, pa.scalar(None, ages.type))
            ages = pc.replace_substring_regex(readable, _AGE, r"\1").cast(pa.int32())
        else:
            ages = ages.cast(pa.float64(), safe=False)
        over = pc.greater(ages, maximum)
        capped = pc.if_else(over, pa.scalar(maximum + 1, ages.type), ages)
        sensible = pc.if_else(pc.greater_equal(capped, 0), capped, pa.scalar(None, ages.type))
        return (pc.floor(sensible) if pa.types.is_floating(ages.type) else sensible).cast(pa.int32())

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        if after.type != pa.int32() or not same_nulls(before, after):
            return False
        top = int(arguments.get("maximum", 89)) + 1
        return holds(pc.and_(pc.greater_equal(after, 0), pc.less_equal(after, top)))


class Bucket:
    """The lower bound of the bucket a number falls into: the greatest multiple of ``width`` below it.

    Whole numbers give int64, others float64; NaN and infinities become null. Argument ``width``,
    above 0, whole for whole numbers.
    """

    name: ClassVar[str] = "bucket"
    masking: ClassVar[bool] = True
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, "width")
        decoded = value_type(input_type)
        if not is_number(decoded):
            raise unfit(self.name, input_type, "whole numbers or numbers")
        width = arguments.get("width")
        wanted = (int,) if pa.types.is_integer(decoded) else (int, float)
        if isinstance(width, bool) or not isinstance(width, wanted) or not 0 < width < 2**53:
            raise ProtectionError(
                "GOV-305",
                f"transform bucket: argument width must be a positive number fit for {decoded}",
                "write e.g. `width: 10` in the column's protection",
            )
        return pa.int64() if pa.types.is_integer(decoded) else pa.float64()

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        return buckets(plain(values), context.arguments["width"])

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        numbers, width = plain(before), arguments["width"]
        if not same_nulls(numbers, after):
            return False
        numbers = numbers.cast(after.type, safe=False)
        multiple = pc.divide(after, pa.scalar(width, after.type))
        offset = pc.subtract(numbers, after)
        if pa.types.is_integer(after.type):
            on_bound = pc.equal(pc.multiply(multiple, width), after)
            slack: float = 0
        else:
            on_bound = pc.less(pc.abs(pc.subtract(multiple, pc.round(multiple))), 1e-6)
            slack = float(width) * 1e-6
        within = pc.and_(pc.greater_equal(offset, -slack), pc.less(offset, width + slack))
        return holds(pc.and_(on_bound, within))


def buckets(numbers: pa.Array, width: float) -> pa.Array:
    """The lower bound of each number's bucket: int64 for whole numbers, float64 for others."""
    if pa.types.is_integer(numbers.type):
        return _integer_buckets(numbers, int(width))
    numbers = numbers.cast(pa.float64())
    finite = pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, pa.float64()))
    return pc.multiply(pc.floor(pc.divide(finite, float(width))), float(width))


def _integer_buckets(numbers: pa.Array, width: int) -> pa.Array:
    # Beyond half the range of int64 the arithmetic below could wrap around; such values are no
    # quantities anyone buckets.
    bound = 2**62
    fits = pc.less_equal(numbers, pa.scalar(min(bound, _largest(numbers.type)), numbers.type))
    if pa.types.is_signed_integer(numbers.type):
        least = pa.scalar(max(-bound, -_largest(numbers.type) - 1), numbers.type)
        fits = pc.and_(fits, pc.greater_equal(numbers, least))
    bounded = pc.if_else(fits, numbers, pa.scalar(None, numbers.type)).cast(pa.int64())
    step = pa.scalar(width, pa.int64())
    remainder = pc.subtract(bounded, pc.multiply(pc.divide(bounded, step), step))
    below = pc.if_else(pc.less(remainder, 0), pc.add(remainder, step), remainder)
    return pc.subtract(bounded, below)


def _largest(data_type: pa.DataType) -> int:
    bits: int = data_type.bit_width - (1 if pa.types.is_signed_integer(data_type) else 0)
    return int((1 << bits) - 1)
