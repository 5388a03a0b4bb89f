"""Finds the files shipped beside the code: schemas, example contracts, example DAGs."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def schemas() -> Path:
    """The folder of JSON Schemas and example contracts, installed or in a checkout."""
    return _located("schemas", "schemas")


def example_dags() -> Path:
    """The folder of example DAGs, installed or in a checkout."""
    return _located("example_dags", "dags")


def _located(installed: str, checkout: str) -> Path:
    packaged = _PACKAGE / installed
    return packaged if packaged.is_dir() else _PACKAGE.parent / checkout
