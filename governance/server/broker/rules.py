"""What the key broker decides, as functions of the policy, the log and what was asked. They touch no key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from governance.lineage.index.index import Index
from governance.model.contract import Contract
from governance.model.evidence import Stage
from governance.model.key_grant import Claim, Operation, Workload
from governance.model.policy import Policy
from governance.pipeline.text_keys import text_secret
from governance.protect.outputs import QUARANTINE
from governance.protect.segment import FOOTER

_BESIDE = frozenset({FOOTER, QUARANTINE})
_OVER = frozenset({"released", "quarantined"})
_KEY = re.compile(r"seg\.([A-Za-z0-9_-]{1,128})\.([A-Za-z0-9_-]{1,128})")
_OF_VERSION = re.compile(r"(v[0-9a-f]{24})-[A-Za-z0-9_-]+")
_OF_VAULT = re.compile(r"vault-[0-9a-f]{16}-[0-9]{1,9}")
_LOOK_UP = re.compile(r"vault [0-9a-f]{16} [a-z]+ (.+)")
_TOKEN = re.compile(r"token:(.+)")
_PROVEN = frozenset({Stage.CLASSIFY, Stage.CONSENT, Stage.PROTECT, Stage.VALIDATE})


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks. ``workload`` is its name in the policy, None where the policy knows none."""

    workload: str | None
    assurance: str
    identity: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """One and the same for all its requests, and nobody else's."""
        return f"{self.assurance} {sorted(self.identity.items())}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for under a grant; ``create`` are (segment id, sensitivity) of keys to be made."""

    create: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    run_key: bool = False

    @property
    def created(self) -> list[str]:
        """The ids that the keys to be made have."""
        return [f"seg.{segment}.{sensitivity}" for segment, sensitivity in self.create]


class Refused(Exception):
    """A refusal with its ``reason``, one of the facet's, and what to tell the caller."""

    def __init__(self, reason: str, message: str, remedy: str, code: str = "GOV-310") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run as observed evidence has it. ``contract_index`` is its contract's log entry."""

    context: Mapping[str, Any]
    contract_index: int
    states: frozenset[str]
    stages: frozenset[str]

    @property
    def over(self) -> bool:
        """Whether its version was released or held back: no more is sealed for it."""
        return not _OVER.isdisjoint(self.states)


def known_run(index: Index, version: str, attempt: str) -> KnownRun | None:
    """What the log observed of one attempt at a version; None when it was not opened there."""
    rows = [
        row
        for row in index.evidence(version=version)
        if row["attempt"] == attempt and row["basis"] == "observed"
    ]
    opened = [row for row in rows if row["stage"] == Stage.OPEN]
    if not opened:
        return None
    return KnownRun(
        opened[0]["context"],
        int(opened[0]["facts"]["contract"]["log_index"]),
        frozenset(str(row["facts"].get("state")) for row in rows if row["stage"] == Stage.RELEASE),
        frozenset(
            row["stage"]
            for row in rows
            if row["stage"] != Stage.VALIDATE or row["facts"].get("success") is True
        ),
    )


def require_permitted(policy: Policy, workload: Workload | None, claim: Claim, run: KnownRun | None) -> None:
    """Refuse what the policy does not give this workload, or what the log does not bear out.

    Raises:
        Refused: with the first thing that is wrong.
    """
    if workload is None:
        raise Refused(
            "workload",
            "the policy knows no such workload",
            "have the policy's owner add it to `workloads`, under the token's name or subject",
        )
    asked = Operation.SEAL if claim.operation is Operation.OPEN else claim.operation
    for held, reason, what in (
        (asked in workload.operations, "operation", f"may not {asked}"),
        (workload.works_on(claim.dataset), "dataset", f"does not work on {claim.dataset}"),
        (
            claim.purpose in workload.purposes and claim.purpose in policy.purposes,
            "purpose",
            f"does not work for {claim.purpose}",
        ),
    ):
        if not held:
            raise Refused(
                reason,
                f"by the policy {workload.name} {what}",
                f"ask for what `workloads.{workload.name}` of the policy allows, or have its owner change it",
            )
    if claim.operation is Operation.OPEN:
        _require_new(policy, claim, run)
    elif run is None:
        raise Refused(
            "run",
            f"the log knows no opened run {claim.version}, attempt {claim.attempt}",
            "open the run first, against the store that the broker serves",
        )
    elif claim.operation is Operation.SEAL:
        _require_open(policy, claim, run)
    else:
        _require_released(policy, claim, run)


def _require_new(policy: Policy, claim: Claim, run: KnownRun | None) -> None:
    if run is not None:
        raise Refused("run", f"attempt {claim.attempt} was opened before", "open the run anew")
    if claim.policy_digest != policy.digest:
        raise _other_policy()


def _require_open(policy: Policy, claim: Claim, run: KnownRun) -> None:
    _require_same(claim, run, "dataset", "purpose", "contract", "policy")
    # A release that was killed after it was announced is finished whatever the policy says today.
    if claim.policy_digest != policy.digest and "intended" not in run.states:
        raise _other_policy()
    if run.over:
        raise Refused("ended", f"the run of {claim.version} is over", "start a new run")


def _require_released(policy: Policy, claim: Claim, run: KnownRun) -> None:
    if "released" not in run.states:
        raise Refused(
            "run", f"{claim.version}, attempt {claim.attempt}, was not released", "read a released version"
        )
    if claim.operation in (Operation.READ, Operation.DETOKENIZE):
        _require_same(claim, run, "dataset", "purpose", "contract", "policy")
        if claim.operation is Operation.DETOKENIZE and not policy.purposes[claim.purpose].detokenize:
            raise Refused(
                "purpose",
                f"by the policy nothing is turned back into values for {claim.purpose}",
                f"have the policy's owner write `detokenize: true` for {claim.purpose}",
            )
        return
    _require_same(claim, run, "dataset", "contract", "policy")
    recipient = policy.recipients.get(claim.recipient or "")
    if recipient is None or claim.purpose not in recipient.purposes:
        raise Refused(
            "recipient",
            f"the policy lets nobody by that name receive data for {claim.purpose}",
            "name a recipient of the policy and a purpose it may receive data for",
        )


def _require_same(claim: Claim, run: KnownRun, *whats: str) -> None:
    for what in whats:
        name = f"{what}_digest" if what in ("contract", "policy") else what
        if getattr(claim, name) != run.context.get(name):
            raise Refused(
                what,
                f"the run of {claim.version} was opened with another {what} than is claimed",
                "claim what the run pinned when it opened",
            )


def _other_policy() -> Refused:
    return Refused(
        "policy",
        "the run's policy is not the one the broker has",
        "give the broker and the workers the same policy file, and start a new run",
    )


def require_keys(
    policy: Policy,
    workload: Workload,
    claim: Claim,
    index: Index,
    *,
    create: list[str],
    keys: list[str],
) -> None:
    """Refuse keys that the claim has nothing to do with, or above the workload's sensitivity.

    Raises:
        Refused: ``key`` or ``sensitivity``.
    """
    for key_id in (*create, *keys):
        matched = _KEY.fullmatch(key_id)
        segment, level = matched.groups() if matched else ("", "")
        version = _OF_VERSION.fullmatch(segment)
        if key_id not in create and _OF_VAULT.fullmatch(segment):
            continue
        if level == QUARANTINE and claim.operation is not Operation.SEAL:
            version = None
        if version is None or not _has_part(index, claim, version[1], made=key_id in create):
            raise Refused(
                "key", f"the claim gives no right to key {key_id}", "ask for keys of the claimed version"
            )
        # Who seals has read the source, so what it sets aside is no secret to it.
        if level not in _BESIDE and not _within(policy, level, workload.sensitivity):
            raise Refused(
                "sensitivity",
                f"by the policy {workload.name} gets no key of sensitivity {level}",
                f"have the policy's owner raise `workloads.{workload.name}.sensitivity`",
            )


def _has_part(index: Index, claim: Claim, version: str, *, made: bool) -> bool:
    if made or claim.operation is Operation.OPEN:
        return claim.operation is Operation.SEAL and version == claim.version
    if version == claim.version:
        return True
    # A version shares segments with earlier ones of its dataset.
    opened = index.evidence(stage=Stage.OPEN, version=version, dataset=claim.dataset)
    return any(row["basis"] == "observed" for row in opened)


def _within(policy: Policy, level: str, highest: str) -> bool:
    levels = policy.sensitivities
    return level in levels and levels.index(level) <= levels.index(highest)


def require_labels(claim: Claim, contract: Contract, labels: list[str]) -> None:
    """Refuse secrets of other subjects' domains than the contract's, and of tokens it does not make.

    Raises:
        Refused: ``key``.
    """
    tokens = {
        column.protection.arguments.get("domain")
        for column in contract.columns
        if "domain" in column.protection.arguments
    }
    for label in labels:
        looked_up, token = _LOOK_UP.fullmatch(label), _TOKEN.fullmatch(label)
        made = label == f"drift:{claim.dataset}" or (token is not None and token[1] in tokens)
        text = claim.operation in (Operation.SEAL, Operation.DETOKENIZE) and contract.reversible
        allowed = (looked_up is not None and looked_up[1] in contract.subject.every_domain) or (
            claim.operation is Operation.SEAL and made
        )
        allowed = allowed or bool(text and label == text_secret(claim.dataset))
        if claim.operation is Operation.OPEN or not allowed:
            raise Refused(
                "key",
                f"the contract of {claim.dataset} has nothing to do with the secret {label!r}",
                "ask for those of the domains of the contract's people, and of its token columns",
            )


def require_enforced(policy: Policy, claim: Claim) -> None:
    """Refuse to sign a version of a dataset that the policy only observes.

    Raises:
        Refused: ``policy``.
    """
    if claim.dataset in policy.observed:
        raise Refused(
            "policy",
            f"the policy only observes {claim.dataset}: no version of it is signed",
            f"have the policy's owner write `mode: enforce` for {claim.dataset} in `assets`",
        )


def require_proven(run: KnownRun) -> None:
    """Refuse to sign a version whose stages did not all leave observed evidence.

    Raises:
        Refused: ``evidence``.
    """
    missing = sorted(_PROVEN - run.stages)
    if missing:
        raise Refused(
            "evidence",
            f"the log holds no evidence of {', '.join(missing)} for this run",
            "run every stage of the governed pass; a manifest is signed after the last",
        )
