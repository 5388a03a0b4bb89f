"""What the policy's `minimumNecessary` and `reviewHours` must be beyond their schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from governance.contracts.documents import Pointer
from governance.contracts.faults import did_you_mean
from governance.contracts.reading import entries, mapping, text
from governance.model.classification import HARMLESS

PIPELINE = "pipeline"
"""The role of governed reads: their entries name the pipeline, not who reads."""


def minimum_necessary_faults(root: Mapping[str, Any]) -> Iterator[tuple[Pointer, str]]:
    """Where a fault stands, and what it is: unknown roles, purposes and classifications, one role and purpose twice."""
    roles = [*mapping(root, "recipients"), *mapping(root, "workloads"), PIPELINE]
    purposes = list(mapping(root, "purposes"))
    known = [*mapping(root, "classifications"), HARMLESS]
    seen: set[tuple[str | None, str | None]] = set()
    for index, said in enumerate(entries(root, "minimumNecessary")):
        at: Pointer = ("minimumNecessary", index)
        role, purpose = text(said, "role"), text(said, "purpose")
        if role is not None and role not in roles:
            yield (
                (*at, "role"),
                f"`{role}` is neither a recipient nor a workload, nor `{PIPELINE}`; {did_you_mean(role, roles)}",
            )
        if purpose is not None and purposes and purpose not in purposes:
            yield (
                (*at, "purpose"),
                f"purpose `{purpose}` is not among `purposes`; {did_you_mean(purpose, purposes)}",
            )
        for place, name in enumerate(entries(said, "classifications")):
            if isinstance(name, str) and name not in known:
                yield (
                    (*at, "classifications", place),
                    f"`{name}` is not among `classifications`; {did_you_mean(name, known)}",
                )
        if text(said, "protocol") and text(said, "criteria"):
            yield (
                (*at, "criteria"),
                "routine disclosures follow a protocol, others criteria (45 CFR 164.514(d)(3)); remove one",
            )
        if (role, purpose) in seen:
            yield at, "this role and purpose stand here already; write their classifications together"
        seen.add((role, purpose))


def review_hours_faults(root: Mapping[str, Any]) -> Iterator[tuple[Pointer, str]]:
    """Hours that end before they begin."""
    said = mapping(root, "reviewHours")
    begins, ends = text(said, "from"), text(said, "to")
    if begins and ends and begins >= ends:
        yield ("reviewHours", "to"), "the hours end before they begin; write both in UTC, within one day"
