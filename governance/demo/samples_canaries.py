"""The listing of canaries: what a test looks for, where it was put, and whether it may be found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from governance.demo.samples_people import CANARY_SUBJECTS, People, allowed

_COLUMNS = {
    "clinical_encounters": {
        "mrn": "subject",
        "patient_name": "name",
        "email": "email",
        "phone": "phone",
        "ssn": "ssn",
        "street_address": "street",
        "city": "city",
        "insurance_member_id": "member",
    },
    "customer_profiles": {
        "customer_id": "subject",
        "full_name": "name",
        "email": "email",
        "phone": "phone",
        "street_address": "street",
        "city": "city",
        "iban": "iban",
        "ip_address": "ip",
    },
    "support_prompts": {"customer_id": "subject"},
}


@dataclass(frozen=True, slots=True)
class Hidden:
    """A canary inside free text: ``kind`` is the classification a redactor should find it by."""

    column: str
    value: str
    kind: str
    canary: int


@dataclass(frozen=True, slots=True)
class CanaryListing:
    """``values`` by dataset and column; ``details`` one object per canary."""

    values: Mapping[str, Mapping[str, list[str]]]
    details: list[dict[str, object]]


def canary_listing(
    patients: People,
    clients: People,
    notes: list[Hidden],
    profiles: list[Hidden],
    prompts: list[Hidden],
) -> CanaryListing:
    """List every canary of the three datasets."""
    details: list[dict[str, object]] = []
    people = {"clinical_encounters": patients, "customer_profiles": clients, "support_prompts": clients}
    for dataset, columns in _COLUMNS.items():
        for column, source in columns.items():
            for canary in range(CANARY_SUBJECTS):
                value = people[dataset].canaries[source][canary]
                details.append(_detail(dataset, Hidden(column, value, source, canary), free_text=False))
    for dataset, hidden in (
        ("clinical_encounters", notes),
        ("customer_profiles", profiles),
        ("support_prompts", prompts),
    ):
        details += [_detail(dataset, h, free_text=h.column in _FREE_TEXT) for h in hidden]
    values: dict[str, dict[str, list[str]]] = {}
    for detail in details:
        found = values.setdefault(str(detail["dataset"]), {}).setdefault(str(detail["column"]), [])
        if detail["value"] not in found:
            found.append(str(detail["value"]))
    return CanaryListing(values, details)


_FREE_TEXT = ("clinical_note", "prompt", "agent_reply")


def _detail(dataset: str, hidden: Hidden, *, free_text: bool) -> dict[str, object]:
    return {
        "dataset": dataset,
        "column": hidden.column,
        "value": hidden.value,
        "kind": hidden.kind,
        "free_text": free_text,
        "subject_allowed": allowed(hidden.canary),
    }
