"""Consent: which rows may go, by subject and purpose, as of the run's instant. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.consent import ConsentSnapshot, regimes
from governance.keys.vault.blind_index import BlindIndex
from governance.keys.vault.vault import SubjectVault
from governance.model.contract import Contract
from governance.model.decision import Reason, Regime
from governance.model.evidence import Stage
from governance.model.policy import Policy, Purpose
from governance.pipeline.memory import ResolvedSubjects, digest_of
from governance.pipeline.open import released_columns, source_lineage
from governance.pipeline.people import local, numbered, of_domain
from governance.pipeline.pinned import is_derived
from governance.pipeline.step import AHEAD, RunContext, prove, reported, stage_record
from governance.pipeline.workspace import Workspace
from governance.protect.channel import read_ahead
from governance.protect.transforms.identity import blocks_of

UNKNOWN_REGIME = 255
UNKNOWN_PERSON = -2


class ConsentDecision:
    """Decides rows for one contract and purpose at one instant and ledger position.

    Deterministic: the same rows get the same answer, so counting, rewriting and reading back agree.

    Args:
        late: vault ordinals of subjects who withdrew after the instant; they are denied as withdrawn.
        resolved: keeps which subjects a source's rows are of.
        derived: rows name their subjects by the pseudonyms of released datasets. One that the vault does not
            know is an erased subject's, or made up: its rows are denied.
    """

    def __init__(
        self,
        workspace: Workspace,
        contract: Contract,
        policy: Policy,
        purpose: str,
        instant: datetime,
        position: int,
        late: np.ndarray | None = None,
        resolved: ResolvedSubjects | None = None,
        derived: bool = False,
    ) -> None:
        self.contract = contract
        self._derived = derived
        self._resolved = resolved
        self.position = position
        self._policy = policy
        self._vault = workspace.vault
        self._populations = {
            domain: _Population(
                workspace,
                domain,
                policy.purposes[purpose],
                instant,
                position,
                None if late is None else of_domain(contract.subject, domain, late),
            )
            for domain in contract.subject.every_domain
        }

    @classmethod
    def of_run(cls, context: RunContext, *, late: np.ndarray | None = None) -> ConsentDecision:
        """The decision of a run: as of its opening."""
        return cls(
            context.workspace,
            context.contract,
            context.policy,
            context.run.purpose,
            context.run.opened_at,
            context.run.consent_position,
            late,
            context.memory.subjects if context.memory else None,
            derived=is_derived(context.workspace, context.run.dataset, context.run.source),
        )

    @property
    def columns(self) -> list[str]:
        """The source columns a decision needs."""
        named = [*self.contract.subject.columns, self.contract.jurisdiction.source_name]
        return list(dict.fromkeys(c for c in named if c))

    @property
    def erased(self) -> tuple[int, ...]:
        """For each column of people, the number that stands for every erased one of its domain."""
        subject = self.contract.subject
        erased = {d: numbered(subject, d, np.array([p.erased])) for d, p in self._populations.items()}
        return tuple(int(erased[domain][0]) for domain in subject.domains)

    @property
    def backdated(self) -> dict[str, np.ndarray]:
        """By domain, of whom backdated records decide, and two more that are nobody's."""
        return {domain: each.snapshot.backdated for domain, each in self._populations.items()}

    def subjects(self, batch: pa.RecordBatch) -> np.ndarray:
        """Number of each source row's subject; −1 for none, one beyond all others for an unknown or erased one.

        Where rows are about several people, of shape (n, people), the subject's first
        (:mod:`governance.pipeline.people`).
        """
        subject = self.contract.subject
        people = [
            numbered(subject, domain, self._found(batch[name], domain))
            for name, domain in zip(subject.columns, subject.domains, strict=True)
        ]
        return people[0] if len(people) == 1 else np.stack(people, axis=1)

    def _found(self, values: pa.Array, domain: str) -> np.ndarray:
        digest = None if self._resolved is None else digest_of(values)
        if self._resolved is None or digest is None:
            return self._subjects(values, domain)
        population = domain, self._populations[domain].stranger
        found = self._resolved.of(population, digest)
        if found is None:
            found = self._subjects(values, domain)
            self._resolved.keep(population, digest, found)
        return found

    def _subjects(self, values: pa.Array, domain: str) -> np.ndarray:
        of = self._populations[domain]
        if self._derived:
            found = of.pseudonyms.find(
                values if pa.types.is_string(values.type) else values.cast(pa.string())
            )
            return np.where(_blank(values), -1, np.where(found >= 0, found, of.erased))
        ordinals = self._vault.resolve(domain, values, create=False)
        # Another process may have added subjects since this population was read.
        known = (ordinals >= 0) & (ordinals < of.stranger)
        found = np.where(_blank(values), -1, np.where(known, ordinals, of.stranger))
        strangers = found == of.stranger
        if strangers.any():
            gone = self._vault.suppressed(domain, values.filter(pa.array(strangers)))
            found[strangers] = np.where(gone, of.erased, of.stranger)
        return found

    def regimes(self, batch: pa.RecordBatch) -> np.ndarray:
        """Applicable regimes of each source row, 255 where the jurisdiction is unknown."""
        where = self.contract.jurisdiction.source_name
        return self.regimes_of(batch[where] if where else None, batch.num_rows)

    def regimes_of(self, jurisdiction: pa.Array | None, rows: int) -> np.ndarray:
        """Applicable regimes by a jurisdiction column; ``None`` where the contract names a constant."""
        return regimes(self._policy, self.contract, jurisdiction, rows)

    def decide(self, ordinals: np.ndarray, applicable: np.ndarray) -> np.ndarray:
        """A :class:`Reason` code for each row, by ordinals of shape (n,) or (n, people).

        Of several people each has to allow it, and the highest code is the row's. An ordinal below 0 is nobody:
        that denies the row as its subject, and says nothing in a further place. A jurisdiction column says where
        the subject is; the others may be anywhere, so every place's regime has to allow them.
        """
        domains = self.contract.subject.domains
        if ordinals.ndim == 1:
            return self._decide(ordinals, applicable, domains[0])
        reasons = self._decide(ordinals[:, 0], applicable, domains[0])
        if self.contract.jurisdiction.source_name:
            applicable = applicable | np.uint8(Regime.GDPR | Regime.CCPA)
        for people, domain in zip(ordinals.T[1:], domains[1:], strict=True):
            theirs = np.where(
                people < 0, np.uint8(Reason.ALLOWED), self._decide(local(people), applicable, domain)
            )
            reasons = np.maximum(reasons, theirs)
        return reasons

    def _decide(self, ordinals: np.ndarray, applicable: np.ndarray, domain: str) -> np.ndarray:
        of = self._populations[domain]
        reasons = of.snapshot.decide(ordinals, applicable, self.contract.special_category)
        denied = np.where(ordinals >= 0, of.denied[np.maximum(ordinals, 0)], 0)
        overruled = (denied != 0) & ((reasons == Reason.ALLOWED) | (denied == Reason.ERASED))
        return np.where(overruled, denied, reasons)

    def __call__(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """Reasons and vault ordinals for the rewriting pass; allowed strangers become known subjects."""
        ordinals = self.subjects(batch)
        reasons = self.decide(ordinals, self.regimes(batch))
        allowed = reasons == Reason.ALLOWED
        subject = self.contract.subject
        people = ordinals.reshape(batch.num_rows, -1)
        unknown = [
            allowed
            & (
                people[:, place]
                == numbered(subject, domain, np.array([self._populations[domain].stranger]))[0]
            )
            for place, domain in enumerate(subject.domains)
        ]
        if not any(strangers.any() for strangers in unknown):
            return reasons, ordinals
        people = people.copy()
        for place, (name, domain) in enumerate(zip(subject.columns, subject.domains, strict=True)):
            strangers = unknown[place]
            if strangers.any():
                values = batch[name].filter(pa.array(strangers))
                made = numbered(subject, domain, self._vault.resolve(domain, values, create=True))
                people[strangers, place] = made
                if place:
                    # Somebody without a pseudonym would pass for nobody in the released row.
                    reasons[np.flatnonzero(strangers)[made < 0]] = Reason.ERASED
        return reasons, people.reshape(ordinals.shape)


class _Population:
    """Who is known of one domain, and how consent stands with each.

    Two more than there are subjects: ``stranger``, an identifier the vault does not know, has no records, and
    ``erased``, one that was erased, must not become known again.
    """

    def __init__(
        self,
        workspace: Workspace,
        domain: str,
        purpose: Purpose,
        instant: datetime,
        position: int,
        late: np.ndarray | None,
    ) -> None:
        self._vault, self._domain = workspace.vault, domain
        population = self._vault.internal(domain)
        self.stranger = len(population)
        self.erased = self.stranger + 1
        self.snapshot: ConsentSnapshot = workspace.ledger.snapshot(
            purpose, domain, instant, position, np.vstack([population, np.zeros((2, 16), np.uint8)])
        )
        self.denied = np.zeros(self.erased + 1, np.uint8)
        if late is not None:
            self.denied[late] = Reason.CONSENT_WITHDRAWN
        restricted = self._vault.restricted(domain)
        self.denied[restricted[restricted < self.stranger]] = Reason.ERASED
        self.denied[self.erased] = Reason.ERASED

    @cached_property
    def pseudonyms(self) -> ReleasedPseudonyms:
        return ReleasedPseudonyms(self._vault, self._domain, self.stranger)


class ReleasedPseudonyms:
    """Vault ordinals by the pseudonyms that released datasets carry."""

    def __init__(self, vault: SubjectVault, domain: str, population: int) -> None:
        # Subjects that the ledger brought since a release get theirs here; no released row has it.
        released = vault.pseudonyms(domain, audience(domain), np.arange(population))
        # A subject without a pseudonym for this audience has none in a version either.
        made = released.view(np.uint64).reshape(-1, 2)
        self._made = np.flatnonzero(made[:, 0] | made[:, 1])
        self._released = released if len(self._made) == len(released) else released[self._made]
        self._index = BlindIndex()
        self._index.extend(self._released)

    def find(self, pseudonyms: pa.Array) -> np.ndarray:
        """The ordinal of each; −1 for one that the vault does not know."""
        blocks, written = blocks_of(pseudonyms)
        found = np.where(written, self._index.find(self._released, blocks), -1)
        return np.where(found >= 0, self._made.take(found, mode="clip"), -1) if len(self._made) else found


class ReleasedSubjects:
    """Decides consent on released rows, by the pseudonym and the jurisdiction they carry.

    Raises:
        ContractError: GOV-102 from :func:`released_columns`.
    """

    def __init__(self, decisions: Sequence[ConsentDecision], vault: SubjectVault) -> None:
        contract = decisions[0].contract
        self.people, self._where = released_columns(contract)
        self._decisions = decisions
        self.position = min(decision.position for decision in decisions)
        """The ledger's: it decides by what had been recorded by then."""
        self._subject = contract.subject
        self.populations = {domain: len(vault.internal(domain)) for domain in self._subject.every_domain}
        self._pseudonyms = {
            domain: ReleasedPseudonyms(vault, domain, population)
            for domain, population in self.populations.items()
        }

    @property
    def columns(self) -> list[str]:
        """The released columns a decision needs."""
        return [c for c in (*self.people, self._where) if c]

    def ordinals(self, batch: pa.RecordBatch) -> np.ndarray:
        """Vault ordinal of each released row; −1 for a pseudonym the vault does not know.

        Where rows are about several people, of shape (n, people): −1 in a further place is nobody, and
        :data:`UNKNOWN_PERSON` somebody whom the vault does not know.
        """
        subject = self._pseudonyms[self._subject.domain].find(batch[self.people[0]])
        if len(self.people) == 1:
            return subject
        others = []
        for name, domain in zip(self.people[1:], self._subject.domains[1:], strict=True):
            found = numbered(self._subject, domain, self._pseudonyms[domain].find(batch[name]))
            there = batch[name].is_valid().to_numpy(zero_copy_only=False)
            others.append(np.where(there & (found < 0), UNKNOWN_PERSON, found))
        return np.stack([subject, *others], axis=1)

    def decide(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """Reasons and ordinals of released rows; the first purpose that denies gives the reason."""
        ordinals = self.ordinals(batch)
        where = batch[self._where] if self._where else None
        applicable = self._decisions[0].regimes_of(where, batch.num_rows)
        reasons = np.full(batch.num_rows, np.uint8(Reason.ALLOWED))
        for decision in self._decisions:
            people = ordinals
            if ordinals.ndim > 1:
                people = np.where(ordinals == UNKNOWN_PERSON, np.array(decision.erased), ordinals)
            reasons = np.where(reasons == Reason.ALLOWED, decision.decide(people, applicable), reasons)
        return reasons, ordinals


def audience(domain: str) -> str:
    """Whose pseudonyms released datasets carry: one audience a subject domain, so that they join."""
    return f"released:{domain}"


def consent(context: RunContext) -> dict[str, Any]:
    """Count decisions over the whole source; the rewriting pass decides the same way again.

    Raises:
        ConsentError: GOV-203 when the ledger was altered. SourceError: GOV-70x.
    """
    stage = Stage.CONSENT
    with reported(context.recorder, stage, stage_record(context, stage, {}).context):
        decision = ConsentDecision.of_run(context)
        by_reason = np.zeros(len(Reason), np.int64)
        by_regime = np.zeros(256, np.int64)
        backdated = decision.backdated
        allowed = {domain: np.zeros(len(each), bool) for domain, each in backdated.items()}
        denied = {domain: np.zeros(len(each), bool) for domain, each in backdated.items()}
        domains = context.contract.subject.domains
        with read_ahead(context.read_source(stage, decision.columns), AHEAD) as batches:
            for batch in batches:
                ordinals, applicable = decision.subjects(batch), decision.regimes(batch)
                reasons = decision.decide(ordinals, applicable)
                by_reason += np.bincount(reasons, minlength=len(Reason))
                by_regime += np.bincount(applicable, minlength=256)
                passed = reasons == Reason.ALLOWED
                for people, domain in zip(
                    local(ordinals).reshape(batch.num_rows, -1).T, domains, strict=True
                ):
                    allowed[domain][people[passed & (people >= 0)]] = True
                    denied[domain][people[~passed & (people >= 0)]] = True
        for each in (*allowed.values(), *denied.values()):
            # The stranger stands for many unknown identifiers at once, and so does the erased one.
            each[-2:] = False
        rows, passes = int(by_reason.sum()), int(by_reason[Reason.ALLOWED])
        record = stage_record(context, stage, {}, inputs=(source_lineage(context.run, []),))
        facts = {
            "rows": rows,
            "allowed": passes,
            "denied": rows - passes,
            "by_reason": {Reason(i).label: int(n) for i, n in enumerate(by_reason) if n},
            "position": context.run.consent_position,
            "instant": record.context["opened_at"],
            "regimes": {_regime_label(i): int(n) for i, n in enumerate(by_regime) if n},
            "subjects": {
                "distinct": sum(int((allowed[d] | denied[d]).sum()) for d in backdated),
                "allowed": sum(int(allowed[d].sum()) for d in backdated),
                "denied": sum(int((denied[d] & ~allowed[d]).sum()) for d in backdated),
            },
            "backdated": {"subjects": sum(int((backdated[d] & allowed[d]).sum()) for d in backdated)},
        }
        record = stage_record(context, stage, facts, inputs=record.inputs)
        prove(context, stage, record)
        context.recorder.completed(stage, record.context, record)
    return facts


def _blank(values: pa.Array) -> np.ndarray:
    """Where an identifier is null or only white space."""
    empty = pc.is_null(values)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        empty = pc.or_(empty, pc.fill_null(pc.equal(pc.utf8_trim_whitespace(values), ""), True))
    return np.asarray(empty.to_numpy(zero_copy_only=False), bool)


def _regime_label(code: int) -> str:
    if code == UNKNOWN_REGIME:
        return "unknown"
    names = [r.name.lower() for r in Regime if r.name and r & code]
    return "+".join(names) or "none"
