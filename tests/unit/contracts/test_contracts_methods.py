"""What contracts may name is what the protecting room has."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from governance.contracts import METHODS, load_contract
from governance.protect.transforms.registry import transform, transform_names

TYPES = {
    "string": pa.string(),
    "integer": pa.int32(),
    "number": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}


def test_the_methods_are_the_registered_transforms() -> None:
    assert set(METHODS) == set(transform_names())


def test_the_examples_give_every_method_what_it_takes(examples: Path) -> None:
    for path in sorted(examples.glob("*.odcs.yaml")):
        for column in load_contract(path).columns:
            method = transform(column.protection.method)
            method.output_type(TYPES[column.logical_type], column.protection.arguments)
