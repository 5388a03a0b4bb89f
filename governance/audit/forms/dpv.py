"""The record of processing and the evidence of consent in the Data Privacy Vocabulary (W3C DPV 2, JSON-LD).

Each row is a ``dpv:Process``. Of consent it has the batches of the ledger that it rests on, each a
``dpv:ConsentRecord`` of so many records: the log holds no subject, so a person's own record is the ledger's to give.
What a cell does not know is left out, and ``gov:basis`` says of every part how it is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from governance.audit.languages import Words
from governance.errors import AuditError
from governance.model.canonical import canonical

KINDS = {"gdpr-art30": "dpv:RegisterOfProcessingActivities", "consent-evidence": "dpv:RecordsOfActivities"}
_CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "dct": "http://purl.org/dc/terms/",
    "schema": "https://schema.org/",
    "gov": "urn:governance:dpv:",
}
_PARTIES = (
    ("controller", "dpv:hasDataController", "dpv:DataController"),
    ("joint_controllers", "dpv:hasJointDataControllers", "dpv:JointDataControllers"),
    ("representative", "dpv:hasRepresentative", "dpv:Representative"),
    ("dpo", "dpv:hasDataProtectionOfficer", "dpv:DataProtectionOfficer"),
    ("processors", "dpv:hasDataProcessor", "dpv:DataProcessor"),
    ("recipients", "dpv:hasRecipient", "dpv:Recipient"),
)


def render(record: dict[str, Any], said: Words, bundle: bytes | None) -> bytes:
    """The document, canonical JSON.

    Raises:
        AuditError: GOV-804 for another kind of report.
    """
    del said, bundle
    kind, of = record["report"]["kind"], record["as_of"]
    if kind not in KINDS:
        raise AuditError("GOV-804", f"{kind} has no form in DPV", f"{' and '.join(KINDS)} have one")
    process = _consented if kind == "consent-evidence" else _process
    base = f"urn:governance:log:{of['root']}:"
    return canonical(
        {
            "@context": _CONTEXT,
            "@id": f"{base}register",
            "@type": KINDS[kind],
            "dct:title": record["report"]["title"],
            "dct:conformsTo": record["report"]["law"],
            "gov:origin": of["origin"],
            "gov:size": of["size"],
            "gov:root": of["root"],
            "gov:attestation": record["verdict"]["attestation"],
            "dpv:hasProcess": [process(base, n, row) for n, row in enumerate(record["rows"], start=1)],
        }
    )


def _process(base: str, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    cells = row["cells"]
    made: dict[str, Any] = {
        "@id": f"{base}process:{number}",
        "@type": "dpv:Process",
        "dct:title": row["title"],
    }
    for key, name, kind in _PARTIES:
        if parties := _list(cells, key):
            made[name] = [_party(kind, party, cells[key]) for party in parties]
    if purpose := _value(cells, "purpose"):
        made["dpv:hasPurpose"] = _known(
            {
                "@type": "dpv:Purpose",
                "dct:identifier": purpose["name"],
                "dct:description": purpose["description"],
            },
            cells["purpose"],
        )
    bases = [cells[key] for key in ("lawful_basis", "special_condition") if _value(cells, key).get("article")]
    if bases:
        made["dpv:hasLegalBasis"] = [
            _known({"@type": ["dpv:LegalBasis", f"eu-gdpr:{_article(cell['value']['article'])}"]}, cell)
            for cell in bases
        ]
    if subjects := _list(cells, "subject_categories"):
        made["dpv:hasDataSubject"] = [
            _titled("dpv:DataSubject", s, cells["subject_categories"]) for s in subjects
        ]
    if data := _list(cells, "data_categories"):
        made["dpv:hasPersonalData"] = [
            _titled(
                "dpv:SpecialCategoryPersonalData" if group.get("special") else "dpv:PersonalData",
                group["category"],
                cells["data_categories"],
            )
            for group in data
        ]
    if measures := _list(cells, "security_declared"):
        made["dpv:hasTechnicalOrganisationalMeasure"] = [
            _titled("dpv:TechnicalOrganisationalMeasure", m, cells["security_declared"]) for m in measures
        ]
    if kept := _value(cells, "retention"):
        made["dpv:hasStorageCondition"] = _known(
            {"@type": "dpv:StorageDuration", "dct:description": f"{kept.get('value')} {kept.get('unit')}"},
            cells["retention"],
        )
    return made


def _consented(base: str, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    cells = row["cells"]
    made = _process(base, number, {"title": row["title"], "cells": {"purpose": cells["purpose"]}})
    if controllers := _list(cells, "controllers"):
        made["dpv:hasDataController"] = [
            _titled("dpv:DataController", c, cells["controllers"]) for c in controllers
        ]
    basis = _value(cells, "basis")
    articles = [a for a in (basis.get("article"), basis.get("condition_article")) if a]
    if articles:
        kind = "dpv:Consent" if basis["basis"] == "consent" else "dpv:LegalBasis"
        made["dpv:hasLegalBasis"] = [
            _known({"@type": [kind, f"eu-gdpr:{_article(article)}"]}, cells["basis"]) for article in articles
        ]
    made["dpv:hasRecordOfActivity"] = [
        _known(
            {
                "@id": f"{base}ledger:{batch['position']}",
                "@type": "dpv:ConsentRecord",
                "dct:created": batch["recorded_at"],
                "dct:source": batch["source"],
                "gov:records": batch["records"],
            },
            cells["records"],
        )
        for batch in _list(cells, "records")
        if isinstance(batch, Mapping)
    ]
    for key in ("decisions", "denied", "withdrawals", "backdated", "disclosures"):
        if cells[key]["basis"] != "unknown":
            made[f"gov:{key}"] = _known({"gov:value": cells[key]["value"]}, cells[key])
    return made


def _party(kind: str, party: Any, cell: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(party, Mapping):
        return _titled(kind, party, cell)
    made = {
        "@type": kind,
        "dpv:hasName": party.get("title") or party.get("name"),
        "dpv:hasAddress": party.get("address"),
        "dpv:hasContact": party.get("email"),
        "schema:addressCountry": party.get("country"),
    }
    return _known({name: value for name, value in made.items() if value}, cell)


def _titled(kind: str, title: Any, cell: Mapping[str, Any]) -> dict[str, Any]:
    return _known({"@type": kind, "dct:title": str(title)}, cell)


def _known(made: dict[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    return made | {"gov:basis": cell["basis"], "gov:entries": cell["cites"]}


def _value(cells: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = cells[key]["value"] if key in cells else None
    return dict(value) if isinstance(value, Mapping) else {}


def _list(cells: Mapping[str, Any], key: str) -> list[Any]:
    value = cells[key]["value"] if key in cells else None
    return list(value) if isinstance(value, list) else [value] if value else []


def _article(article: str) -> str:
    """``Art. 6(1)(a)`` → ``A6-1-a``, as DPV names it."""
    return "A" + article.removeprefix("Art. ").replace(")(", "-").replace("(", "-").replace(")", "")
