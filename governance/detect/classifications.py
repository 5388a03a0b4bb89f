"""The classifications and the clauses of law each falls under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class TaxonomyEntry:
    """One classification.

    ``sensitivity`` is the default level (public, internal, confidential, restricted). ``hipaa`` is
    the letter in 45 CFR 164.514(b)(2)(i), ``gdpr`` the article of Regulation (EU) 2016/679,
    ``ccpa`` the clause of Cal. Civ. Code 1798.140; ``None`` where none applies.
    """

    name: str
    sensitivity: str
    description: str
    hipaa: str | None = None
    gdpr: str | None = None
    ccpa: str | None = None
    special_category: bool = False


@cache
def taxonomy() -> Mapping[str, TaxonomyEntry]:
    """Every classification by name, in the order of ``taxonomy.yaml``."""
    loaded: dict[str, Any] = yaml.safe_load(files(__package__).joinpath("taxonomy.yaml").read_text("utf-8"))
    return MappingProxyType(
        {name: TaxonomyEntry(name=name, **fields) for name, fields in loaded["classifications"].items()}
    )
