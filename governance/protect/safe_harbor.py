"""The HIPAA Safe Harbor profile: which columns do not satisfy 45 CFR 164.514(b)(2)(i) (A)–(R).

Structured columns are checked. Free text is redacted at a recall that is measured and stated, and
(b)(2)(ii), no actual knowledge, is for a person to declare: neither is decided here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Any

from governance.model.classification import FREE_TEXT, HARMLESS, UNCLASSIFIED
from governance.model.contract import ContractColumn

IDENTIFIERS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("person_name", "given_name", "family_name"), "A"),
        **dict.fromkeys(("street_address", "city", "postal_code", "geo_coordinates"), "B"),
        **dict.fromkeys(("date_of_birth", "date", "age"), "C"),
        "phone": "D",
        "email": "F",
        "ssn": "G",
        "medical_record_number": "H",
        "health_plan_id": "I",
        **dict.fromkeys(("account_number", "iban", "credit_card"), "J"),
        **dict.fromkeys(("driver_license", "passport", "npi"), "K"),
        "vehicle_id": "L",
        **dict.fromkeys(("device_id", "mac_address"), "M"),
        "url": "N",
        "ip_address": "O",
        **dict.fromkeys(("biometric", "genetic"), "P"),
        "photo": "Q",
        **dict.fromkeys(("customer_id", "username", "national_id", "secret"), "R"),
    }
)
"""Classification → the paragraph that removes it. Fax numbers (E) are found as phone numbers; NPI is
a licence number of the clinician, kept in because a household member or employer may be one."""

PARAGRAPHS = "ABCDEFGHIJKLMNOPQR"

_REMOVED = frozenset({"drop", "constant"})
_CODED = frozenset({"pseudonym"})
_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "token": "a keyed token derives from the value, so it is no code under 164.514(c); use pseudonym or drop",
        "ff1": "an encrypted value derives from the value, so it is no code under 164.514(c); use pseudonym or drop",
        "date_shift": "a shifted date still has its day and month, which (C) removes; use date_to_year or drop",
    }
)
_REVERSIBLE = (
    "a token that can be turned back derives from the value, so it is no code under 164.514(c); "
    "leave out `reversible`"
)
_WAYS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "postal_code": frozenset({"zip3"}),
        "date_of_birth": frozenset({"date_to_year"}),
        "date": frozenset({"date_to_year"}),
        "age": frozenset({"age_cap"}),
        FREE_TEXT: frozenset({"redact"}),
    }
)
_OLDEST = 89


def safe_harbor_faults(
    columns: Sequence[ContractColumn], found: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """The columns that do not satisfy Safe Harbor, each with why and what to write instead.

    Args:
        columns: the contract's.
        found: source column → classification found by the scan; it stands in where the contract
            declares nothing or ``none``.

    Returns:
        One sentence a fault, in the columns' order; empty if the structured columns satisfy it.
    """
    return tuple(fault for column in columns for fault in _faults(column, found or {}))


def safe_harbor_evidence(
    columns: Sequence[ContractColumn], found: Mapping[str, str], *, ner: bool
) -> dict[str, Any]:
    """What was checked, for a contract without :func:`safe_harbor_faults`: JSON, no value of a dataset.

    Args:
        found: source column → classification found by the scan.
        ner: whether a model of names reads free text beside the rules.
    """
    by_paragraph: dict[str, list[dict[str, str]]] = {paragraph: [] for paragraph in PARAGRAPHS}
    texts = []
    for column in columns:
        said = _classification(column, found) or UNCLASSIFIED
        entry = {"column": column.name, "classification": said, "method": column.protection.method}
        if said in IDENTIFIERS:
            by_paragraph[IDENTIFIERS[said]].append(entry)
        elif said == FREE_TEXT and column.protection.method == "redact":
            texts.append(column.name)
    return {
        "rule": "45 CFR 164.514(b)(2)",
        "identifiers": [{"paragraph": p, "columns": c} for p, c in by_paragraph.items()],
        "free_text": {"columns": texts, "recall": _recall(ner=ner) if texts else []},
        "unchecked": "what free text says beyond the recall stated, and values a declared classification hides",
    }


def _recall(*, ner: bool) -> list[dict[str, Any]]:
    """The measured character recall of redaction, by test set."""
    text = resources.files("governance.protect").joinpath("data/redaction_recall.json").read_text("utf-8")
    measured = "rules_and_ner" if ner else "rules"
    sets: list[dict[str, Any]] = json.loads(text)["sets"]
    return [
        {"set": s["name"], "texts": s["texts"], "language": s["language"], "recall": s[measured]}
        for s in sets
    ]


def _classification(column: ContractColumn, found: Mapping[str, str]) -> str | None:
    if column.classification in (None, HARMLESS):
        return found.get(column.source_name, column.classification)
    return column.classification


def _faults(column: ContractColumn, found: Mapping[str, str]) -> list[str]:
    classification = _classification(column, found)
    method, arguments = column.protection.method, column.protection.arguments
    if method in _REMOVED:
        return []
    if method in _REFUSED:
        return [f"{column.name}: {_REFUSED[method]}"]
    if arguments.get("reversible"):
        return [f"{column.name}: {_REVERSIBLE}"]
    if classification in (None, UNCLASSIFIED):
        return [f"{column.name}: what it holds is unknown; declare its classification or drop it"]
    ways = _WAYS.get(classification)
    if ways is None:
        if classification not in IDENTIFIERS or method in _CODED or _hides_all(method, arguments):
            return []
        return [
            f"{column.name}: {classification} is identifier ({IDENTIFIERS[classification]}) and {method} "
            "releases it or a part of it; use drop or pseudonym"
        ]
    paragraph = IDENTIFIERS.get(classification, "A–R")
    if method in _CODED or _hides_all(method, arguments):
        return []
    if method not in ways:
        return [
            f"{column.name}: {classification} falls under ({paragraph}) and {method} does not satisfy it; "
            f"use {' or '.join(sorted(ways))} or drop"
        ]
    return _loosened(column.name, method, arguments)


def _hides_all(method: str, arguments: Mapping[str, object]) -> bool:
    return method == "mask" and not arguments.get("keep_last") and not arguments.get("keep_first")


def _loosened(name: str, method: str, arguments: Mapping[str, object]) -> list[str]:
    argument = {"date_to_year": "maximum_age", "age_cap": "maximum"}.get(method)
    if argument is None:
        return []
    limit = arguments.get(argument, _OLDEST)
    if isinstance(limit, int) and limit <= _OLDEST:
        return []
    return [f"{name}: {method} with {argument} above {_OLDEST} tells of people over {_OLDEST}; leave it out"]
