"""The declarations of the newest run: who the organisation is, for reports that are not about one activity."""

from __future__ import annotations

from collections.abc import Iterator

from governance.audit.activity import pinned
from governance.audit.cells import Cell, declared, unknown
from governance.audit.declarations import PolicyLeaf, words
from governance.audit.trail import Trail


def newest_policy(trail: Trail) -> PolicyLeaf | None:
    """The policy leaf that the newest run pinned."""
    return trail.policy(pinned(trail.runs[-1], "policy")) if trail.runs else None


def newest_organisation(trail: Trail) -> Cell:
    """The organisation's name, as that policy has it."""
    policy = newest_policy(trail)
    if policy is None:
        return unknown("the newest run's policy is not in the log")
    name = words(policy.organisation, "name")
    if name is None:
        return unknown("the policy does not name the organisation", [policy.index])
    return declared(name, [policy.index])


def newest_support(trail: Trail) -> Iterator[int]:
    """The entries that these rest on, for a checker."""
    if trail.runs:
        yield trail.runs[-1].opened.index
    if (policy := newest_policy(trail)) is not None:
        yield policy.index
