"""What was given to whom: disclosures, keys that the broker released, governed reads; by role, purpose and column."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from governance.audit.activity import pinned
from governance.audit.declarations import ContractLeaf, PolicyLeaf, items, part, words
from governance.audit.gdpr.art30_observed import classifications
from governance.audit.hipaa.roles_law import EXEMPTIONS, GROUNDS
from governance.audit.trail import GovernedRun, Trail
from governance.model.evidence import Stage

DISCLOSURE, KEYS, READ = "disclosures", "key releases", "governed reads"
PIPELINE = "pipeline"
"""The role of governed reads: their entries name nobody."""


@dataclass(frozen=True, slots=True)
class Given:
    """One act of giving. ``treated`` maps each column to its classification and method; ``None``: not in evidence.

    ``policy`` is the one that the last run opened before it had pinned, ``opened`` that run's opening.
    """

    index: int
    at: str
    how: str
    role: str
    purpose: str
    dataset: str
    title: str | None
    run: GovernedRun | None
    contract: ContractLeaf | None
    policy: PolicyLeaf | None
    opened: int | None
    treated: Mapping[str, tuple[str, str | None]] | None

    @property
    def is_phi(self) -> bool:
        """Whether it may be protected health information: a contract that is not there does not say that it is not."""
        return self.contract is None or self.contract.covered_entity

    @property
    def categories(self) -> frozenset[str]:
        return frozenset(category for category, _ in (self.treated or {}).values()) - {"none"}

    def declared(self) -> dict[str, Any] | None:
        """What the policy in force declares for the role and the purpose."""
        for said in items(self.policy.root if self.policy else {}, "minimumNecessary"):
            if (part(said).get("role"), part(said).get("purpose")) == (self.role, self.purpose):
                return part(said)
        return None

    def columns_allowed(self) -> list[str] | None:
        """The columns of the dataset that a recipient may have; ``None`` where the policy sets no limit."""
        said = (self.policy.recipients() if self.policy else {}).get(self.role)
        if self.how != DISCLOSURE or said is None or "columns" not in said:
            return None
        return [str(name) for name in items(part(said, "columns"), self.dataset)]

    def beyond(self) -> list[str]:
        """The categories, and the columns, that are more than the policy lets the role have."""
        said, columns = self.declared(), self.columns_allowed()
        more: set[str] = set()
        if said is not None and "classifications" in said:
            more |= self.categories - set(map(str, items(said, "classifications")))
        if columns is not None:
            more |= set(self.treated or {}) - set(columns)
        return sorted(more)

    def exemption(self) -> tuple[str | None, str | None]:
        """The exemption that applies, and why a claimed one does not."""
        claimed = words(self.declared(), "exemption")
        ground = words(self.policy.purpose(self.purpose) if self.policy else None, "hipaa")
        if claimed is None:
            # An authorization exempts by itself, care only where a provider is given it.
            exempt = ground == "authorization" or (ground == "treatment" and self.how == DISCLOSURE)
            return (ground if exempt else None), None
        if claimed not in EXEMPTIONS:
            return None, f"164.502(b)(2) has no exemption {claimed!r}"
        if GROUNDS.get(claimed, ground) != ground:
            return None, f"the policy gives the purpose another ground than {claimed}"
        return claimed, None

    @property
    def supports(self) -> Iterator[int]:
        """What the comparison rests on beside the act itself."""
        yield from self.run.indexes() if self.run else ()
        yield from (leaf.index for leaf in (self.contract, self.policy) if leaf is not None)
        if self.opened is not None:
            yield self.opened


def given(trail: Trail) -> list[Given]:
    """Every act, in the order of the log."""
    opened = [run.opened.index for run in trail.runs]
    by_version = {(run.dataset, run.version): run for run in trail.runs}

    def act(index: int, at: str, how: str, role: str, said: Mapping[str, Any], **more: Any) -> Given:
        dataset = str(said.get("dataset"))
        run = by_version.get((dataset, str(said.get("version"))))
        place = bisect_left(opened, index) - 1
        before = trail.runs[place] if place >= 0 else None
        return Given(
            index,
            at,
            how,
            role,
            str(said.get("purpose")),
            dataset,
            more.get("title"),
            run,
            trail.contract(pinned(run, "contract")) if run else None,
            trail.policy(pinned(before, "policy")) if before else None,
            before.opened.index if before else None,
            more["treated"](run),
        )

    found = []
    for proof in trail.disclosures:
        to = part(proof.facts, "recipient")
        names = [str(name) for name in items(proof.facts, "columns")]
        said = {"purpose": proof.facts.get("purpose"), **_version(proof.facts)}
        kinds = classifications(proof)
        found.append(
            act(
                proof.index,
                proof.received_at,
                DISCLOSURE,
                str(to.get("name")),
                said,
                title=words(to, "title"),
                treated=lambda run, names=names, kinds=kinds: _named(run, names) or _bare(kinds),
            )
        )
    for proof in trail.grants:
        if proof.facts.get("state") != "released" or not items(proof.facts, "keys"):
            continue
        levels = {str(key).rpartition(".")[2] for key in items(proof.facts, "keys")}
        role = words(proof.facts, "workload") or "an unnamed workload"
        found.append(
            act(
                proof.index,
                proof.received_at,
                KEYS,
                role,
                proof.context,
                treated=lambda run, levels=levels: _opened_by(run, levels),
            )
        )
    for action in trail.activity.actions:
        if action.kind == "version_read":
            names = [str(name) for name in items(action.said, "columns")]
            found.append(
                act(
                    action.index,
                    action.received_at,
                    READ,
                    PIPELINE,
                    action.said,
                    treated=lambda run, names=names: _named(run, names),
                )
            )
    return sorted(found, key=lambda each: each.index)


def _version(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts.get(name) for name in ("dataset", "version")}


def _columns(run: GovernedRun | None) -> list[dict[str, Any]]:
    proof = run.stages.get(Stage.PROTECT) if run else None
    return [
        c
        for column in items(proof.facts if proof else {}, "columns")
        if not (c := part(column)).get("dropped")
    ]


def _treated(column: Mapping[str, Any]) -> tuple[str, str | None]:
    return str(column.get("classification")), words(column, "method")


def _named(run: GovernedRun | None, names: list[str]) -> dict[str, tuple[str, str | None]] | None:
    """The columns by name; one of which the evidence has nothing is not classified."""
    known = {str(column.get("column")): _treated(column) for column in _columns(run)}
    return {name: known.get(name, ("unclassified", None)) for name in names} if known else None


def _bare(kinds: list[str]) -> dict[str, tuple[str, str | None]] | None:
    """Classifications that the disclosure itself states, where no run tells their columns."""
    return {f"a column of {kind}": (kind, None) for kind in kinds} or None


def _opened_by(run: GovernedRun | None, levels: set[str]) -> dict[str, tuple[str, str | None]] | None:
    """The columns that keys of these sensitivities open."""
    columns = _columns(run)
    if not columns:
        return None
    return {str(c.get("column")): _treated(c) for c in columns if str(c.get("sensitivity")) in levels}
