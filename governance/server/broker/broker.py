"""The key broker: keys for workloads that hold none, each grant and release in the log before it takes effect.

A *grant* is for one claim of one workload: an operation on a version of a dataset, for a purpose, under a
contract and a policy. What it stands on is looked at again each time something is asked under it, and the log is
where grants are kept, so that any server of the store, or the same one after a restart, knows which live.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from governance.contracts import load_contract, load_policy
from governance.errors import AccessError, ProtectionError
from governance.keys.broker import seal_release, takes_releases
from governance.keys.store import Keyring
from governance.lineage.index.index import Index
from governance.model.canonical import digest, instant, timestamp
from governance.model.contract import Contract
from governance.model.evidence import Stage
from governance.model.key_grant import Claim, Operation, TaskTry, Workload
from governance.model.policy import Policy
from governance.server.broker.airflow import AirflowTries
from governance.server.broker.identity import COOPERATIVE, Identities
from governance.server.broker.pace import Pace
from governance.server.broker.record import GrantRecord
from governance.server.broker.rules import (
    Asker,
    KnownRun,
    Refused,
    Wanted,
    known_run,
    require_enforced,
    require_keys,
    require_labels,
    require_permitted,
    require_proven,
)
from governance.server.broker.signing import what_is_signed
from governance.server.served import ServedStore

_GONE = "GOV-303"
"""A key that is unknown or was destroyed: the holder of no key must hear it as the holder of one does."""


@dataclass(frozen=True, slots=True)
class _Grant:
    grant_id: str
    claim: Claim
    facts: Mapping[str, Any]
    task: TaskTry | None
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class _Standing:
    """Everything a request is judged by, as it is now."""

    asker: Asker
    policy: Policy
    index: Index
    workload: Workload | None = field(default=None)


class Broker:
    """Grants, releases and signs. Safe from many threads.

    Args:
        served: the opened store, which knows runs and takes the record.
        keyring: the key store.
        policy: the policy's file, read again when it changed.
        identities: who asks.
        airflow: confirms cooperative callers; without it there are none.
        ttl: seconds that a grant lasts.
    """

    def __init__(
        self,
        served: ServedStore,
        keyring: Keyring,
        policy: Path,
        identities: Identities,
        airflow: AirflowTries | None,
        *,
        namespace: str,
        ttl: int,
        pace: Pace | None = None,
    ) -> None:
        self._served = served
        self._keyring = keyring
        self._policy_file = policy
        self._policy: tuple[bytes, Policy] | None = None
        self._identities = identities
        self._airflow = airflow
        self._ttl = ttl
        self._pace = pace or Pace()
        self._record = GrantRecord(served.group, lambda: keyring.evidence_signer, namespace, served.clock)

    def asker(self, token: str) -> Asker:
        """Who a bearer token names.

        Raises:
            AccessError: GOV-610, GOV-611. LogError: GOV-510 when it asks too often.
        """
        asker = self._identities.of(token, self.policy())
        self._pace.take(asker.key)
        return asker

    def policy(self) -> Policy:
        """The policy as its file stands now. Raises GOV-101, GOV-106."""
        try:
            read = self._policy_file.read_bytes()
        except OSError:
            read = b""
        held = self._policy
        if held is None or held[0] != read:
            # Keys that the policy names lie in files of their own: only a changed policy is read again.
            held = self._policy = (read, load_policy(self._policy_file))
        return held[1]

    def public_keys(self) -> dict[str, str]:
        """What verifies evidence and checkpoints, base64."""
        return {
            "evidence_public_key": _base64(self._keyring.evidence_signer.public_key),
            "log_public_key": _base64(self._keyring.log_signer.public_key),
        }

    def checkpoint(self) -> str:
        """A signed checkpoint over the log as it is now."""
        return self._served.log.checkpoint().note

    def grant(self, asker: Asker, claim: Claim, public_key: str, task: TaskTry | None) -> dict[str, Any]:
        """Grant a claim; it is in the log when this returns.

        Raises:
            AccessError: GOV-613 for a public key that nothing can be sealed to.
            ProtectionError: GOV-310 when it is refused, which is in the log too.
            LogError: it could not be recorded, so there is no grant.
        """
        if not takes_releases(base64.b64decode(public_key)):
            raise AccessError("GOV-613", "nothing can be sealed to the public key", "make an X25519 key pair")
        standing = self._standing(asker)
        run = known_run(standing.index, claim.version, claim.attempt)
        told = {"operation": claim.operation, "recipient": claim.recipient, **_told(asker)}
        try:
            self._permitted(standing, claim, run, task)
        except Refused as refused:
            self._refuse(refused, str(uuid.uuid4()), _context(claim, run), told)
        now = self._served.clock()
        grant_id = str(uuid.uuid4())
        facts = {
            **told,
            "state": "granted",
            "grant_id": grant_id,
            "task": None if task is None or asker.assurance != COOPERATIVE else asdict(task),
            "public_key": public_key,
            "granted_at": timestamp(now),
            "expires_at": timestamp(now + timedelta(seconds=self._ttl)),
            "epoch": self._keyring.epoch,
        }
        self._record.append(grant_id, _context(claim, run), facts)
        return {"grant_id": grant_id, "expires_at": facts["expires_at"], "expires_in": self._ttl}

    def release(self, asker: Asker, grant_id: str, wanted: Wanted) -> dict[str, str]:
        """The keys asked for, sealed to the grant's public key; that they leave is in the log before.

        Raises:
            ProtectionError: GOV-310 when it is refused.
            LogError: it could not be recorded, so nothing leaves.
        """
        standing, grant, run = self._under(asker, grant_id)
        claim, created = grant.claim, wanted.created
        told = {
            "grant_id": grant_id,
            "operation": claim.operation,
            "keys": [*created, *wanted.keys],
            "labels": list(wanted.labels),
            "run_key": wanted.run_key,
            **_told(asker),
        }
        try:
            self._alive(standing, grant, run)
            assert standing.workload is not None  # noqa: S101 - `_alive` refused who has none
            require_keys(
                standing.policy,
                standing.workload,
                claim,
                standing.index,
                create=created,
                keys=list(wanted.keys),
            )
            if wanted.labels:
                require_labels(claim, self._contract(run), list(wanted.labels))
            if wanted.run_key and claim.operation not in (Operation.OPEN, Operation.SEAL):
                raise Refused("key", "a run's key is for the run itself", "ask for it while the run is open")
            released = self._unwrapped(claim, wanted)
        except Refused as refused:
            self._refuse(refused, grant_id, _context(claim, run), told)
        self._record.append(grant_id, _context(claim, run), {**told, "state": "released"})
        public_key = base64.b64decode(grant.facts["public_key"])
        return seal_release(released, public_key, grant_id, self._keyring.evidence_signer)

    def sign(self, asker: Asker, grant_id: str, data: bytes) -> dict[str, str]:
        """Sign an opening, a manifest or a disclosure that is what the grant is for, by the evidence key.

        Raises:
            ProtectionError: GOV-310 when it is anything else.
            LogError: it could not be recorded, so nothing is signed.
        """
        standing, grant, run = self._under(asker, grant_id)
        told = {
            "grant_id": grant_id,
            "operation": grant.claim.operation,
            "digest": digest(data),
            **_told(asker),
        }
        try:
            self._alive(standing, grant, run)
            signed = what_is_signed(data, grant.claim, self._served.log, self._keyring)
            if signed == "manifest" and run is not None:
                require_proven(run)
                require_enforced(standing.policy, grant.claim)
        except Refused as refused:
            self._refuse(refused, grant_id, _context(grant.claim, run), told)
        self._record.append(
            grant_id, _context(grant.claim, run), {**told, "state": "signed", "signed": signed}
        )
        return {"signature": _base64(self._keyring.evidence_signer.sign(data))}

    def live(self) -> list[dict[str, Any]]:
        """The grants under which keys can be had now, oldest first."""
        index, now, epoch = self._served.fresh(), self._served.clock(), self._keyring.epoch
        rows = [row for row in index.evidence(stage=Stage.KEY_GRANT) if row["basis"] == "observed"]
        ended = {row["facts"]["grant_id"] for row in rows if row["facts"]["state"] == "ended"}
        shown = []
        for row in rows:
            facts, context = row["facts"], row["context"]
            if facts["state"] != "granted" or facts["grant_id"] in ended or facts["epoch"] != epoch:
                continue
            if instant(facts["expires_at"]) <= now:
                continue
            run = known_run(index, context["version"], context["attempt"])
            opened = facts["operation"] == Operation.OPEN and run is not None
            if opened or (facts["operation"] == Operation.SEAL and (run is None or run.over)):
                continue
            shown.append({**context, **facts, "log_index": row["log_index"]})
        return shown

    def revoke(self, grant_id: str, by: str) -> None:
        """End a grant, at once and on every server of this store.

        Raises:
            AccessError: GOV-612 when there is no such grant.
            LogError: it could not be recorded, and the grant goes on.
        """
        grant = self._found(self._served.fresh(), grant_id)
        if grant is None:
            raise AccessError("GOV-612", "there is no such grant", "take an id from GET /api/v1/keys/grants")
        facts = {"state": "ended", "grant_id": grant_id, "reason": "revoked", "by": by}
        self._record.append(grant_id, _context(grant.claim, None), facts)

    def _standing(self, asker: Asker) -> _Standing:
        policy = self.policy()
        workload = policy.workloads.get(asker.workload) if asker.workload else None
        return _Standing(asker, policy, self._served.fresh(), workload)

    def _permitted(
        self, standing: _Standing, claim: Claim, run: KnownRun | None, task: TaskTry | None
    ) -> None:
        require_permitted(standing.policy, standing.workload, claim, run)
        if standing.asker.assurance == COOPERATIVE:
            if self._airflow is None or task is None:
                raise Refused(
                    "airflow",
                    "a bearer token is worth a grant only where Airflow confirms the try that asks",
                    "name `airflow` in the broker's settings and ask from a task, or use a workload's own token",
                )
            self._airflow.confirm(task, claim)

    def _under(self, asker: Asker, grant_id: str) -> tuple[_Standing, _Grant, KnownRun | None]:
        standing = self._standing(asker)
        grant = self._found(standing.index, grant_id)
        if grant is None:
            refused = Refused("unknown", "there is no such grant", "ask for one first")
            self._refuse(refused, str(uuid.uuid4()), {}, _told(asker))
        return standing, grant, known_run(standing.index, grant.claim.version, grant.claim.attempt)

    def _alive(self, standing: _Standing, grant: _Grant, run: KnownRun | None) -> None:
        if dict(grant.facts["identity"]) != dict(standing.asker.identity):
            raise Refused("caller", "the grant is another workload's", "ask for a grant of your own")
        if grant.ended is not None:
            raise Refused("revoked", "the grant was revoked", "ask its operator why, then for a new one")
        if instant(grant.facts["expires_at"]) <= self._served.clock():
            raise Refused("expired", "the grant has expired", "ask for a new one; the run must still be open")
        if grant.facts["epoch"] != self._keyring.epoch:
            raise Refused("ended", "keys were rotated since the grant was made", "ask for a new one")
        self._permitted(standing, grant.claim, run, grant.task)

    def _found(self, index: Index, grant_id: str) -> _Grant | None:
        rows = index.query(
            "FROM evidence WHERE log_index < $as_of AND stage = 'key_grant' AND basis = 'observed'"
            " AND run_id = $grant ORDER BY log_index",
            {"grant": grant_id},
        )
        said = [(json.loads(row["context"]), json.loads(row["facts"])) for row in rows]
        for context, facts in said:
            if facts["state"] == "granted":
                pinned = {k: context[k] for k in Claim.__dataclass_fields__ if k in context}
                claim = Claim(
                    operation=Operation(facts["operation"]), recipient=facts.get("recipient"), **pinned
                )
                task = facts.get("task")
                ended = [other["reason"] for _, other in said if other["state"] == "ended"]
                return _Grant(
                    grant_id, claim, facts, TaskTry(**task) if task else None, ended[0] if ended else None
                )
        return None

    def _contract(self, run: KnownRun | None) -> Contract:
        assert run is not None  # noqa: S101 - only a grant for a known run asks for labels
        body = self._served.log.entry(run.contract_index).body or b""
        if digest(body) != run.context["contract_digest"]:
            raise Refused("contract", "the run's contract is not in the log", "open the run anew")
        return load_contract("contract.odcs.yaml", data=body)

    def _unwrapped(self, claim: Claim, wanted: Wanted) -> dict[str, str]:
        try:
            for segment, sensitivity in wanted.create:
                self._keyring.new_segment_key(segment, sensitivity)
            keys = {
                f"key {key_id}": self._keyring.segment_key(key_id)
                for key_id in (*wanted.created, *wanted.keys)
            }
            keys |= {f"label {label}": self._keyring.secret(label) for label in wanted.labels}
            if wanted.run_key:
                keys["run"] = self._keyring.run_seed(claim.version, claim.attempt)
        except ProtectionError as fault:
            if fault.code != _GONE:
                raise
            raise Refused("key", fault.message, fault.remedy, fault.code) from None
        except ValueError:
            raise Refused("key", "a key's name is not one", "use letters, digits, _ and -") from None
        return {name: _base64(key) for name, key in keys.items()}

    def _refuse(
        self, refused: Refused, run_id: str, context: Mapping[str, Any], told: Mapping[str, Any]
    ) -> NoReturn:
        self._record.append(run_id, context, {**told, "state": "refused", "reason": refused.reason})
        raise ProtectionError(refused.code, refused.message, refused.remedy) from None


def _told(asker: Asker) -> dict[str, Any]:
    return {
        "workload": asker.workload,
        "assurance": asker.assurance,
        "identity": dict(asker.identity),
    }


def _context(claim: Claim, run: KnownRun | None) -> dict[str, Any]:
    pinned = claim.to_json()
    return {
        **({"run_id": run.context["run_id"], "map_index": run.context["map_index"]} if run else {}),
        **{k: v for k, v in pinned.items() if k not in ("operation", "recipient")},
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
