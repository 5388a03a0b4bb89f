"""DuckDB connections that never write a value to disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa


@contextmanager
def relations(tables: Mapping[str, pa.Table]) -> Iterator[Any]:
    """A connection in memory with ``tables`` registered; it raises rather than spill."""
    import duckdb

    connection = duckdb.connect(
        config={
            "max_temp_directory_size": "0B",
            "memory_limit": "4GB",
            "enable_external_access": False,
            "preserve_insertion_order": True,
        }
    )
    try:
        for name, table in tables.items():
            connection.register(name, table)
        yield connection
    finally:
        connection.close()


def listed(rows: list[int], total: int | None = None) -> str:
    """Row numbers for a message: the first twenty, and how many there are in all."""
    count = len(rows) if total is None else total
    shown = ", ".join(map(str, sorted(rows)[:20]))
    return f"{count} row{'s' if count != 1 else ''}: {shown}{' …' if count > 20 else ''}"
