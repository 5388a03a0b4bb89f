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
from governance.model.policy import Policy
from governance.pipeline.memory import ResolvedSubjects, digest_of
from governance.pipeline.open import released_columns, source_lineage
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
        self._policy = policy
        self._vault = workspace.vault
        self._domain = contract.subject.domain
        population = self._vault.internal(self._domain)
        # Two more rows than there are subjects: an identifier the vault does not know has no records, and
        # one that was erased must not become known again.
        self.position = position
        self._stranger = len(population)
        self._erased = self._stranger + 1
        self.snapshot: ConsentSnapshot = workspace.ledger.snapshot(
            policy.purposes[purpose],
            self._domain,
            instant,
            position,
            np.vstack([population, np.zeros((2, 16), np.uint8)]),
        )
        self._denied = np.zeros(self._erased + 1, np.uint8)
        if late is not None:
            self._denied[late] = Reason.CONSENT_WITHDRAWN
        restricted = self._vault.restricted(self._domain)
        self._denied[restricted[restricted < self._stranger]] = Reason.ERASED
        self._denied[self._erased] = Reason.ERASED

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
    def erased(self) -> int:
        """The ordinal that stands for every erased subject."""
        return self._erased

    def subjects(self, batch: pa.RecordBatch) -> np.ndarray:
        """Ordinal of each source row's subject; −1 for none, one beyond all others for an unknown or erased one.

        Where rows are about several people, of shape (n, people), the subject's first.
        """
        named = self.contract.subject.columns
        people = [self._found(batch[name]) for name in named]
        return people[0] if len(people) == 1 else np.stack(people, axis=1)

    def _found(self, values: pa.Array) -> np.ndarray:
        digest = None if self._resolved is None else digest_of(values)
        if self._resolved is None or digest is None:
            return self._subjects(values)
        found = self._resolved.of(self._stranger, digest)
        if found is None:
            found = self._subjects(values)
            self._resolved.keep(self._stranger, digest, found)
        return found

    @cached_property
    def _pseudonyms(self) -> ReleasedPseudonyms:
        return ReleasedPseudonyms(self._vault, self._domain, self._stranger)

    def _subjects(self, values: pa.Array) -> np.ndarray:
        if self._derived:
            found = self._pseudonyms.find(
                values if pa.types.is_string(values.type) else values.cast(pa.string())
            )
            return np.where(_blank(values), -1, np.where(found >= 0, found, self._erased))
        ordinals = self._vault.resolve(self._domain, values, create=False)
        # Another process may have added subjects since this population was read.
        known = (ordinals >= 0) & (ordinals < self._stranger)
        found = np.where(_blank(values), -1, np.where(known, ordinals, self._stranger))
        strangers = found == self._stranger
        if strangers.any():
            gone = self._vault.suppressed(self._domain, values.filter(pa.array(strangers)))
            found[strangers] = np.where(gone, self._erased, self._stranger)
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
        if ordinals.ndim == 1:
            return self._decide(ordinals, applicable)
        reasons = self._decide(ordinals[:, 0], applicable)
        if self.contract.jurisdiction.source_name:
            applicable = applicable | np.uint8(Regime.GDPR | Regime.CCPA)
        for people in ordinals.T[1:]:
            theirs = np.where(people < 0, np.uint8(Reason.ALLOWED), self._decide(people, applicable))
            reasons = np.maximum(reasons, theirs)
        return reasons

    def _decide(self, ordinals: np.ndarray, applicable: np.ndarray) -> np.ndarray:
        reasons = self.snapshot.decide(ordinals, applicable, self.contract.special_category)
        denied = np.where(ordinals >= 0, self._denied[np.maximum(ordinals, 0)], 0)
        overruled = (denied != 0) & ((reasons == Reason.ALLOWED) | (denied == Reason.ERASED))
        return np.where(overruled, denied, reasons)

    def __call__(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """Reasons and vault ordinals for the rewriting pass; allowed strangers become known subjects."""
        ordinals = self.subjects(batch)
        reasons = self.decide(ordinals, self.regimes(batch))
        allowed = reasons == Reason.ALLOWED
        people = ordinals.reshape(batch.num_rows, -1)
        if not (people[allowed] == self._stranger).any():
            return reasons, ordinals
        people = people.copy()
        for place, name in enumerate(self.contract.subject.columns):
            strangers = allowed & (people[:, place] == self._stranger)
            if strangers.any():
                values = batch[name].filter(pa.array(strangers))
                made = self._vault.resolve(self._domain, values, create=True)
                people[strangers, place] = made
                if place:
                    # Somebody without a pseudonym would pass for nobody in the released row.
                    reasons[np.flatnonzero(strangers)[made < 0]] = Reason.ERASED
        return reasons, people.reshape(ordinals.shape)


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
        domain = contract.subject.domain
        self.population = len(vault.internal(domain))
        self._pseudonyms = ReleasedPseudonyms(vault, domain, self.population)

    @property
    def columns(self) -> list[str]:
        """The released columns a decision needs."""
        return [c for c in (*self.people, self._where) if c]

    def ordinals(self, batch: pa.RecordBatch) -> np.ndarray:
        """Vault ordinal of each released row; −1 for a pseudonym the vault does not know.

        Where rows are about several people, of shape (n, people): −1 in a further place is nobody, and
        :data:`UNKNOWN_PERSON` somebody whom the vault does not know.
        """
        subject = self._pseudonyms.find(batch[self.people[0]])
        if len(self.people) == 1:
            return subject
        others = []
        for name in self.people[1:]:
            found = self._pseudonyms.find(batch[name])
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
                people = np.where(ordinals == UNKNOWN_PERSON, decision.erased, ordinals)
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
        population = len(decision.snapshot.backdated)
        allowed, denied = np.zeros(population, bool), np.zeros(population, bool)
        with read_ahead(context.read_source(stage, decision.columns), AHEAD) as batches:
            for batch in batches:
                ordinals, applicable = decision.subjects(batch), decision.regimes(batch)
                reasons = decision.decide(ordinals, applicable)
                by_reason += np.bincount(reasons, minlength=len(Reason))
                by_regime += np.bincount(applicable, minlength=256)
                passed = reasons == Reason.ALLOWED
                for people in ordinals.reshape(batch.num_rows, -1).T:
                    allowed[people[passed & (people >= 0)]] = True
                    denied[people[~passed & (people >= 0)]] = True
        # The stranger stands for many unknown identifiers at once, and so does the erased one.
        allowed[-2:] = denied[-2:] = False
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
                "distinct": int((allowed | denied).sum()),
                "allowed": int(allowed.sum()),
                "denied": int((denied & ~allowed).sum()),
            },
            "backdated": {"subjects": int((decision.snapshot.backdated & allowed).sum())},
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
