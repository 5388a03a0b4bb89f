"""A processing activity: a dataset and a purpose, with the runs and disclosures that make it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from governance.audit.declarations import ContractLeaf, PolicyLeaf, part
from governance.audit.trail import GovernedRun, Proof, Trail
from governance.model.evidence import Stage


@dataclass(slots=True)
class Activity:
    """``current`` is the newest released run, else the newest with evidence of a stage; a disclosure for a purpose
    of its own has none, and rests on the run that made the disclosed version (``origin``)."""

    trail: Trail
    dataset: str
    purpose: str
    runs: list[GovernedRun] = field(default_factory=list)
    disclosures: list[Proof] = field(default_factory=list)
    current: GovernedRun | None = None
    origin: GovernedRun | None = None
    policy: PolicyLeaf | None = None
    contract: ContractLeaf | None = None

    @property
    def reference(self) -> GovernedRun | None:
        """The run whose declarations and evidence describe the activity."""
        return self.current or self.origin

    @property
    def reference_index(self) -> int:
        return self.reference.opened.index if self.reference else -1

    @property
    def opened(self) -> tuple[int, ...]:
        """The opening that the activity rests on, as citations."""
        return (self.reference.opened.index,) if self.reference else ()

    @property
    def policy_cite(self) -> tuple[int, ...]:
        return (self.policy.index,) if self.policy else self.opened

    @property
    def contract_cite(self) -> tuple[int, ...]:
        return (self.contract.index,) if self.contract else self.opened

    def proof(self, stage: Stage) -> Proof | None:
        """The newest evidence of a stage of the run that describes the activity."""
        return self.reference.stages.get(stage) if self.reference else None

    def controller(self) -> dict[str, Any] | None:
        """Who answers for the contract's subject domain."""
        if self.policy is None or self.contract is None:
            return None
        return self.policy.controller(self.contract.subject_domain)

    def declared_purpose(self) -> dict[str, Any] | None:
        return self.policy.purpose(self.purpose) if self.policy else None


def activities(trail: Trail) -> list[Activity]:
    """Every activity, by dataset and purpose."""
    found: dict[tuple[str, str], Activity] = {}

    def at(dataset: str, purpose: str) -> Activity:
        return found.setdefault((dataset, purpose), Activity(trail, dataset, purpose))

    for run in trail.runs:
        at(run.dataset, run.purpose).runs.append(run)
    for proof in trail.disclosures:
        activity = at(str(proof.facts.get("dataset")), str(proof.facts.get("purpose")))
        activity.disclosures.append(proof)
        activity.origin = trail.run_of(proof.context) or activity.origin
    for activity in found.values():
        activity.current = _current(activity.runs)
        if (described := activity.reference) is not None:
            activity.policy = trail.policy(pinned(described, "policy"))
            activity.contract = trail.contract(pinned(described, "contract"))
    return [found[key] for key in sorted(found)]


def pinned(run: GovernedRun, what: str) -> Mapping[str, Any]:
    """The reference to a leaf that a run's opening carries."""
    return part(run.opened.facts, what)


def _current(runs: list[GovernedRun]) -> GovernedRun | None:
    released = [(proof.index, run) for run in runs if (proof := run.release("released")) is not None]
    if released:
        return max(released, key=lambda pair: pair[0])[1]
    judged = [run for run in runs if run.stages]
    return (judged or runs)[-1] if runs else None
