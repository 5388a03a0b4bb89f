"""Whole-column choices: keep, drop, constant."""

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
    plain,
    value_type,
)


class Keep:
    """Releases the values as they are, dictionary encoding undone."""

    name: ClassVar[str] = "keep"
    masking: ClassVar[bool] = False
    erasable: ClassVar[bool] = False
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:
        check_arguments(self.name, arguments)
        return value_type(input_type)

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:  # noqa: ARG002
        return plain(values)

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:  # noqa: ARG002
        return bool(after.equals(plain(before)))


class Drop:
    """Leaves the column out of the output."""

    name: ClassVar[str] = "drop"
    masking: ClassVar[bool] = True
    erasable: ClassVar[bool] = True
    released: ClassVar[bool] = False

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:  # noqa: ARG002
        check_arguments(self.name, arguments)
        return pa.null()

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:  # noqa: ARG002
        return pa.nulls(len(values))

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:  # noqa: ARG002
        return len(after) == len(before) and after.null_count == len(after)


class Constant:
    """One value in every row, nulls included: not even their place is told.

    Arguments: ``value``, a string, whole number, number or boolean.
    """

    name: ClassVar[str] = "constant"
    masking: ClassVar[bool] = True
    erasable: ClassVar[bool] = True
    released: ClassVar[bool] = True

    def output_type(self, input_type: pa.DataType, arguments: Arguments) -> pa.DataType:  # noqa: ARG002
        check_arguments(self.name, arguments, "value")
        types = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
        found = types.get(type(arguments.get("value")))
        if found is None:
            raise ProtectionError(
                "GOV-305",
                "transform constant: argument value must be a string, a number or a boolean",
                "write e.g. `value: REMOVED` in the column's protection",
            )
        return found

    def apply(self, values: pa.Array, context: TransformContext) -> pa.Array:
        scalar = pa.scalar(context.arguments["value"], self.output_type(values.type, context.arguments))
        return pa.repeat(scalar, len(values))

    def verify(self, before: pa.Array, after: pa.Array, arguments: Arguments) -> bool:
        if len(after) != len(before) or after.null_count:
            return False
        return holds(pc.equal(after, pa.scalar(arguments["value"], after.type)))
