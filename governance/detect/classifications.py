"""The classifications and the clauses of law each falls under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

HIPAA_IDENTIFIERS: Mapping[str, str] = MappingProxyType(
    {
        "A": "Names",
        "B": "Geographic subdivisions smaller than a state",
        "C": "Dates, except the year, and ages over 89",
        "D": "Telephone numbers",
        "E": "Fax numbers",
        "F": "E-mail addresses",
        "G": "Social security numbers",
        "H": "Medical record numbers",
        "I": "Health plan beneficiary numbers",
        "J": "Account numbers",
        "K": "Certificate and licence numbers",
        "L": "Vehicle identifiers and serial numbers, licence plates",
        "M": "Device identifiers and serial numbers",
        "N": "Web addresses (URLs)",
        "O": "IP addresses",
        "P": "Biometric identifiers, finger and voice prints",
        "Q": "Full-face photographs and comparable images",
        "R": "Any other unique identifying number, characteristic or code",
    }
)
"""The eighteen identifiers of 45 CFR 164.514(b)(2)(i), by letter, in short."""

SPECIAL_CATEGORIES = (
    "racial or ethnic origin",
    "political opinions",
    "religious or philosophical beliefs",
    "trade union membership",
    "genetic data",
    "biometric data",
    "data concerning health",
    "sex life or sexual orientation",
)
"""The special categories of GDPR Art. 9(1), in its order."""


@dataclass(frozen=True, slots=True)
class TaxonomyEntry:
    """One classification.

    ``title`` is its name in words. ``sensitivity`` is the default level (public, internal,
    confidential, restricted), ``protect`` the default protection, a method's name as in a contract.
    ``hipaa`` are letters of 45 CFR 164.514(b)(2)(i), ``gdpr`` articles of Regulation (EU) 2016/679,
    ``ccpa`` clauses of Cal. Civ. Code 1798.140; ``special_category`` is one of
    :data:`SPECIAL_CATEGORIES` or ``None``. ``dpv`` are terms of the W3C Data Privacy Vocabulary
    (``pd:…``), ``fides`` data categories of fideslang.
    """

    name: str
    title: str
    sensitivity: str
    description: str
    hipaa: tuple[str, ...] = ()
    gdpr: tuple[str, ...] = ()
    ccpa: tuple[str, ...] = ()
    special_category: str | None = None
    dpv: tuple[str, ...] = ()
    fides: tuple[str, ...] = ()
    protect: str = "drop"

    @property
    def clauses(self) -> tuple[str, ...]:
        """The clauses of law in words, e.g. ``HIPAA (F)``, ``GDPR Art. 4(1)``, ``CCPA (v)(1)(A)``."""
        return (
            *(f"HIPAA ({letter})" for letter in self.hipaa),
            *(f"GDPR Art. {article}" for article in self.gdpr),
            *(f"CCPA {clause}" for clause in self.ccpa),
        )


def taxonomy_entry(name: str, fields: Mapping[str, Any]) -> TaxonomyEntry:
    """An entry of a taxonomy file; ``title`` defaults to the name in words."""
    stated: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
    }
    stated.setdefault("title", name.replace("_", " ").capitalize())
    return TaxonomyEntry(name=name, **stated)


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Both are safe; libyaml's is many times as fast."""


@cache
def taxonomy() -> Mapping[str, TaxonomyEntry]:
    """Every classification by name, in the order of ``taxonomy.yaml``."""
    text = files(__package__).joinpath("taxonomy.yaml").read_text("utf-8")
    loaded: dict[str, Any] = yaml.load(text, Loader=_LOADER)  # noqa: S506
    return MappingProxyType(
        {name: taxonomy_entry(name, fields) for name, fields in loaded["classifications"].items()}
    )
