"""Dates moved by a subject's own shift, numbers with noise, tails cut off."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
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
    key_domain,
    number_argument,
    plain,
    same_nulls,
    unfit,
    value_type,
)

_ISO_DATE = r"^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])$"
_DAY_SECONDS = 86_400
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, in days since 1970."""


_SHIFT, _NOISE = np.frombuffer(b"shift   noise   ", np.uint64)
"""What is drawn for one method is nothing another one draws under the same key."""


def _drawn(context: TransformContext, method: np.uint64, rows: Any, *values: npt.NDArray[np.uint64]) -> Any:
    """(m, 2) uint64, random to whoever lacks the domain's key: AES-CMAC of method, subject and value.

    Equal for equal subjects and values, in every attempt and every run, however rows are cut into
    batches. The subject stands as its pseudonym for the audience, not as its ordinal: audiences do not
    share what is drawn, and it cannot be drawn again once the vault has forgotten the subject.
    """
    from governance.keys.cmac import cmac

    subjects = np.ascontiguousarray(context.pseudonyms(context.ordinals[rows])).view(np.uint64)
    columns = [np.full((len(subjects), 1), method), subjects, *(v[rows].reshape(-1, 1) for v in values)]
    block = np.ascontiguousarray(np.concatenate(columns, axis=1))
    width = block.shape[1] * 8
    offsets = pa.py_buffer(np.arange(0, width * len(block) + 1, width, dtype=np.int32))
    keyed = pa.Array.from_buffers(pa.binary(), len(block), [None, offsets, pa.py_buffer(block)])
    return cmac(context.token_key(str(context.arguments["domain"])), keyed).view(np.uint64).reshape(-1, 2)


class DateShift:
    """Moves a subject's dates by the same number of whole days, so that the time between them stays.

    The shift is 1 to ``days`` days back or forth, drawn from the subject's pseudonym under a key (see
    ``_drawn``); another dataset has another shift. Takes dates, timestamps and text of ISO dates, which
    become dates. Null where the subject is unknown, the text is no date or the year leaves 1–9999.

    It is no Safe Harbor method: 45 CFR 164.514(b)(2)(i)(C) removes all elements of a date but the
    year. Seasons, weekdays and rare sequences of intervals may still point at someone.

    Arguments: ``domain`` (names the key), ``days``, 1 to 3,650 (default 365).
    """

    name: ClassVar[str] = "date_shift"
    masking: ClassVar[bool] = False
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, "domain", "days")
        key_domain(self.name, arguments)
        if integer_argument(self.name, arguments, "days", minimum=1, default=365) > 3650:
            raise ProtectionError(
                "GOV-305", "transform date_shift: argument days is above 3650", "write at most ten years"
            )
        decoded = value_type(input_type)
        if pa.types.is_timestamp(decoded):
            return decoded
        if pa.types.is_date(decoded) or is_text(decoded) or pa.types.is_null(decoded):
            return pa.date32()
        raise unfit(self.name, input_type, "dates, timestamps or text of ISO dates")

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        dates = _dated(values)
        most = int(context.arguments.get("days", 365))
        rows = np.flatnonzero((context.ordinals >= 0) & pc.is_valid(dates).to_numpy(zero_copy_only=False))
        shift = np.zeros(len(dates), np.int64)
        drawn = (_drawn(context, _SHIFT, rows)[:, 0] % np.uint64(2 * most)).astype(np.int64)
        shift[rows] = np.where(drawn < most, drawn - most, drawn - most + 1)
        known = np.zeros(len(dates), bool)
        known[rows] = True
        day = _day(dates.type)
        moment = pc.fill_null(dates.cast(_integer(dates.type)).cast(pa.int64()), 0).to_numpy(
            zero_copy_only=False
        )
        within = moment // day
        # Nanoseconds reach from 1677 to 2262 only; a sum beyond would wrap around.
        least, most = max(_FIRST_DAY, 1 - 2**63 // day), min(_LAST_DAY, 2**63 // day - 1)
        known &= (within + shift >= least) & (within + shift <= most)
        moved = moment + np.where(known, shift, 0) * day
        made = pa.array(moved, pa.int64(), mask=~known)
        return made.cast(_integer(dates.type)).cast(dates.type)

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        dates = _dated(before)
        if dates.type != after.type or not same_nulls(dates, after):
            return False
        days = int(arguments.get("days", 365)) * _day(dates.type)
        sides = [side.cast(_integer(dates.type)).cast(pa.int64()) for side in (dates, after)]
        both = pc.and_(pc.is_valid(sides[0]), pc.is_valid(sides[1])).to_numpy(zero_copy_only=False)
        first, second = (pc.fill_null(side, 0).to_numpy(zero_copy_only=False)[both] for side in sides)
        moved = np.abs(second - first)
        return bool(((moved > 0) & (moved <= days) & (moved % _day(dates.type) == 0)).all())


def _dated(values: pa.Array) -> pa.Array:
    dates = plain(values)
    if is_text(dates.type):
        dates = pc.if_else(pc.match_substring_regex(dates, _ISO_DATE), dates, pa.scalar(None, dates.type))
        read = pc.strptime(dates, format="%Y-%m-%d", unit="s", error_is_null=True)
        # 30 February has the form of a date and is read as 1 March.
        same = pc.equal(pc.utf8_lpad(pc.strftime(read, format="%Y-%m-%d"), 10, "0"), dates.cast(pa.string()))
        dates = pc.if_else(same, read, pa.scalar(None, read.type)).cast(pa.date32())
    return dates if pa.types.is_timestamp(dates.type) else dates.cast(pa.date32())


def _day(data_type: pa.DataType) -> int:
    return 1 if pa.types.is_date32(data_type) else _DAY_SECONDS * _UNITS[data_type.unit]


def _integer(data_type: pa.DataType) -> pa.DataType:
    return pa.int32() if pa.types.is_date32(data_type) else pa.int64()


class Noise:
    """Adds noise of a stated distribution to a number.

    ``epsilon`` and ``sensitivity`` give Laplace noise of scale ``sensitivity / epsilon`` (Dwork et al.
    2006); ``deviation`` gives Gaussian noise. The noise is drawn from subject and value under a key
    (see ``_drawn``): the same subject's same value always gets the same noise, so repeating a run or
    releasing again gives nothing to average out. Whole numbers stay whole (int64), others become
    float64; NaN, infinities and rows of unknown subjects become null.

    It does not promise differential privacy of the dataset: a row's noise is of its own value, several
    columns or many values of one subject add up, no budget is kept over releases, and floating-point
    rounding leaks low bits (Mironov 2012). With a sensitivity of the whole range one value alone has
    ε-local differential privacy towards whoever lacks the key.

    Arguments: ``domain`` (names the key), and ``epsilon`` with ``sensitivity``, or ``deviation``.
    """

    name: ClassVar[str] = "noise"
    masking: ClassVar[bool] = False
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, "domain", "epsilon", "sensitivity", "deviation")
        key_domain(self.name, arguments)
        if ("deviation" in arguments) == ("epsilon" in arguments or "sensitivity" in arguments):
            raise ProtectionError(
                "GOV-305",
                "transform noise: the distribution is not said, or said twice",
                "write `epsilon:` and `sensitivity:` for Laplace noise, or `deviation:` for Gaussian noise",
            )
        self._scale(arguments)
        decoded = value_type(input_type)
        if not is_number(decoded):
            raise unfit(self.name, input_type, "whole numbers or numbers")
        return pa.int64() if pa.types.is_integer(decoded) else pa.float64()

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        numbers = plain(values)
        kind = self.output_type(numbers.type, context.arguments)
        exact, known = _finite(numbers, kind)
        rows = np.flatnonzero(known & (context.ordinals >= 0))
        drawn = _drawn(context, _NOISE, rows, exact.view(np.uint64))
        uniform = ((drawn >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
        scale, gaussian = self._scale(context.arguments)
        if gaussian:
            noise = scale * np.sqrt(-2 * np.log(uniform[:, 0])) * np.cos(2 * np.pi * uniform[:, 1])
        else:
            noise = -scale * np.log(uniform[:, 0]) * np.where(uniform[:, 1] < 0.5, -1.0, 1.0)
        out = np.zeros(len(numbers), exact.dtype)
        if kind == pa.int64():
            noise = np.rint(noise)
            fits = np.abs(exact[rows].astype(np.float64) + noise) < 2.0**62
            rows, noise = rows[fits], noise[fits]
            out[rows] = exact[rows] + noise.astype(np.int64)
        else:
            out[rows] = exact[rows] + noise
        known = np.zeros(len(numbers), bool)
        known[rows] = np.isfinite(out[rows])
        return pa.array(out, kind, mask=~known)

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        numbers = plain(before)
        kind = self.output_type(numbers.type, arguments)
        if after.type != kind or not same_nulls(numbers, after):
            return False
        exact, known = _finite(numbers, kind)
        known = known & pc.is_valid(after).to_numpy(zero_copy_only=False)
        moved = pc.fill_null(after, 0).to_numpy(zero_copy_only=False)[known].astype(np.float64)
        first = exact[known].astype(np.float64)
        scale, gaussian = self._scale(arguments)
        # 53 random bits reach no further, beside the rounding of either side.
        reach = scale * (9 if gaussian else 38) + 1 + np.abs(first) * 2.0**-50
        if (np.abs(moved - first) > reach).any():
            return False
        telling = (
            np.abs(first) * 2.0**-49 < scale if kind == pa.float64() else np.full(len(first), scale >= 1)
        )
        telling &= np.abs(first) < 2.0**53
        return int(telling.sum()) < 64 or bool((moved != first)[telling].any())

    def _scale(self, arguments: Arguments) -> tuple[float, bool]:
        if "deviation" in arguments:
            return number_argument(self.name, arguments, "deviation", above=0), True
        epsilon = number_argument(self.name, arguments, "epsilon", above=0)
        return number_argument(self.name, arguments, "sensitivity", above=0) / epsilon, False


def _finite(numbers: pa.Array, kind: pa.DataType) -> tuple[Any, npt.NDArray[np.bool_]]:
    """Values as int64 or float64 with 0 where there is none, and where there is one."""
    if kind == pa.int64() and pa.types.is_uint64(numbers.type):
        most = pa.scalar(2**63 - 1, pa.uint64())
        numbers = pc.if_else(pc.less_equal(numbers, most), numbers, pa.scalar(None, pa.uint64()))
    exact = pc.fill_null(numbers.cast(kind), 0).to_numpy(zero_copy_only=False)
    known = pc.is_valid(numbers).to_numpy(zero_copy_only=False) & np.isfinite(exact)
    return np.ascontiguousarray(exact), known


class TopCode:
    """Values above ``maximum`` become ``maximum``, so that the few largest do not stand out.

    Numbers keep their type; NaN becomes null. Argument ``maximum``.
    """

    name: ClassVar[str] = "top_code"
    masking: ClassVar[bool] = False
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True
    _argument: ClassVar[str] = "maximum"

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments, self._argument)
        decoded = value_type(input_type)
        if not is_number(decoded):
            raise unfit(self.name, input_type, "whole numbers or numbers")
        bound = number_argument(self.name, arguments, self._argument)
        whole = pa.types.is_integer(decoded)
        try:
            pa.scalar(int(bound) if whole else bound, decoded)
            fits = not whole or bound == int(bound)
        except (pa.ArrowInvalid, OverflowError):
            fits = False
        if not fits:
            raise ProtectionError(
                "GOV-305",
                f"transform {self.name}: argument {self._argument} does not fit a column of type {decoded}",
                "write a number that the column's type can hold",
            )
        return decoded

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        numbers = plain(values)
        bound = self._bound(numbers.type, context.arguments)
        if pa.types.is_floating(numbers.type):
            numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, numbers.type), numbers)
        return pc.if_else(self._beyond(numbers, bound), bound, numbers)

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        numbers = plain(before)
        if after.type != numbers.type or not same_nulls(numbers, after):
            return False
        bound = self._bound(numbers.type, arguments)
        beyond = self._beyond(numbers, bound)
        kept = pc.or_(beyond, pc.equal(numbers, after))
        return holds(kept) and not pc.any(self._beyond(after, bound), min_count=0).as_py()

    def _bound(self, data_type: pa.DataType, arguments: Arguments) -> pa.Scalar:
        bound = arguments[self._argument]
        return pa.scalar(int(bound) if pa.types.is_integer(data_type) else bound, data_type)

    def _beyond(self, numbers: pa.Array, bound: pa.Scalar) -> pa.Array:
        return pc.greater(numbers, bound)


class BottomCode(TopCode):
    """Values below ``minimum`` become ``minimum``. Otherwise as :class:`TopCode`."""

    name: ClassVar[str] = "bottom_code"
    _argument: ClassVar[str] = "minimum"

    def _beyond(self, numbers: pa.Array, bound: pa.Scalar) -> pa.Array:
        return pc.less(numbers, bound)
