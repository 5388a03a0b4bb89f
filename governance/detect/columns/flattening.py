"""Nested columns as flat ones, named ``a.b``: the detectors only know flat arrays."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

MAXIMUM_DEPTH = 8
MAXIMUM_LEAVES = 5_000
"""Leaves of one column beyond which it is not taken apart: a struct can have a million fields."""


def leaf_count(kind: pa.DataType, depth: int = 0) -> int:
    """Leaves under a type, counted no further than :data:`MAXIMUM_LEAVES` + 1."""
    if pa.types.is_struct(kind) and depth <= MAXIMUM_DEPTH:
        total = 0
        for field in kind:
            total += leaf_count(field.type, depth + 1)
            if total > MAXIMUM_LEAVES:
                break
        return total
    if _is_list(kind):
        return leaf_count(kind.value_type, depth + 1)
    return 1


def flatten(name: str, array: pa.Array, depth: int = 0) -> Iterator[tuple[str, pa.Array | None]]:
    """The leaves of an array in the order of its type.

    A struct gives its fields as ``name.field``, a map ``name.key`` and ``name.value``, a list its
    elements under its own name. ``None`` stands for what is nested deeper than
    :data:`MAXIMUM_DEPTH`, has too many leaves, or cannot be taken apart.
    """
    kind = array.type
    if depth > MAXIMUM_DEPTH or (depth == 0 and leaf_count(kind) > MAXIMUM_LEAVES):
        yield name, None
    elif isinstance(array, pa.ExtensionArray):
        yield from flatten(name, array.storage, depth)
    elif pa.types.is_dictionary(kind):
        yield from flatten(name, array.dictionary_decode(), depth)
    elif pa.types.is_struct(kind):
        for index, field in enumerate(kind):
            yield from flatten(f"{name}.{field.name}", pc.struct_field(array, [index]), depth + 1)
    elif pa.types.is_map(kind):
        yield from flatten(f"{name}.key", array.keys, depth + 1)
        yield from flatten(f"{name}.value", array.items, depth + 1)
    elif _is_list(kind):
        yield from flatten(name, pc.list_flatten(array), depth + 1)
    elif pa.types.is_run_end_encoded(kind):
        yield from flatten(name, pc.run_end_decode(array), depth)
    else:
        yield name, array


def _is_list(kind: pa.DataType) -> bool:
    checks = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(check(kind) for check in checks)
