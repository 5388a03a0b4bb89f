"""What a drafted contract is made of, from a scan and the schema of a file."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from governance.contracts.drafting import DraftColumn, DraftTerm
from governance.detect import Detectors
from governance.errors import ProtectionError
from governance.model.classification import ColumnClassification
from governance.protect import transform


def draft_columns(schema: pa.Schema, found: Mapping[str, ColumnClassification]) -> list[DraftColumn]:
    """Each column of the file with the findings of its leaves."""
    columns = []
    for field in schema:
        own = [f for name, f in found.items() if name == field.name]
        leaves = own or [f for name, f in found.items() if name.startswith(f"{field.name}.")]
        columns.append(DraftColumn(field.name, logical_type(field.type), tuple(leaves)))
    return columns


def draft_terms(known: Detectors) -> dict[str, DraftTerm]:
    """What each classification means, from the taxonomy."""
    return {
        name: DraftTerm(
            entry.title, entry.sensitivity, entry.clauses, entry.special_category is not None, entry.protect
        )
        for name, entry in known.taxonomy.items()
    }


def fits(method: str, kind: pa.DataType) -> bool:
    """Whether a protection method takes a column of this type."""
    try:
        transform(method).output_type(kind, {})
    except ProtectionError:
        return False
    return True


def logical_type(kind: pa.DataType) -> str:
    """The ODCS logical type of an Arrow type; what ODCS has no word for is a text."""
    types = pa.types
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return logical_type(kind.value_type)
    for name, checks in _LOGICAL.items():
        if any(check(kind) for check in checks):
            return name
    return "string"


_LOGICAL = {
    "integer": (pa.types.is_integer,),
    "number": (pa.types.is_floating, pa.types.is_decimal),
    "boolean": (pa.types.is_boolean,),
    "date": (pa.types.is_date,),
    "timestamp": (pa.types.is_timestamp,),
    "time": (pa.types.is_time,),
    "object": (pa.types.is_struct,),
    "map": (pa.types.is_map,),
    "array": (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    ),
}
