"""Coarser values of a quasi-identifier, level by level, in the column's own type."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ProtectionError
from governance.model.anonymity import QuasiIdentifier
from governance.protect.transforms.base import is_number, is_text
from governance.protect.transforms.generalization import buckets


def generalize(values: pa.Array, quasi: QuasiIdentifier, level: int) -> pa.Array:
    """``values`` at ``level`` of the hierarchy, of the same type.

    A range is its lower bound, a prefix is followed by ``*``, a date is the first day of its period,
    a value that its tree does not know is null. Each level is a function of the one below it.
    """
    if level == 0 or not len(values):
        return values
    if level == quasi.top:
        return pa.nulls(len(values), values.type)
    if quasi.kind == "tree":
        known = pa.array(list(quasi.tree), values.type)
        labels = pa.array([ancestors[level - 1] for ancestors in quasi.tree.values()], values.type)
        return labels.take(pc.index_in(values, known))
    step = quasi.steps[level - 1]
    if quasi.kind == "ranges":
        return buckets(values, step).cast(values.type)
    if quasi.kind == "prefixes":
        head = pc.utf8_slice_codeunits(values, 0, step)
        cut = pc.greater(pc.utf8_length(values), step)
        return pc.if_else(cut, pc.binary_join_element_wise(head, "*", ""), values)
    unit, multiple = ("year", 10) if step == "decade" else (step, 1)
    return pc.floor_temporal(values, multiple=multiple, unit=unit).cast(values.type)


def require_fit(quasi: QuasiIdentifier, data_type: pa.DataType) -> None:
    """Refuse a hierarchy that the released column's type cannot follow: GOV-305."""
    fits = {
        "ranges": is_number(data_type),
        "prefixes": is_text(data_type),
        "tree": is_text(data_type),
        "dates": pa.types.is_date(data_type) or pa.types.is_timestamp(data_type),
        "none": not pa.types.is_nested(data_type),
    }
    if not fits[quasi.kind]:
        raise ProtectionError(
            "GOV-305",
            f"quasi-identifier {quasi.column} is released as {data_type}, which has no {quasi.kind}",
            "write `ranges` for numbers, `prefixes` or `tree` for text, `dates` for dates",
        )
