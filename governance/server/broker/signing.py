"""What the broker puts the evidence key under: a run's opening, a version's manifest, a disclosure. Nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from governance.contracts import load_contract
from governance.errors import GovernanceError
from governance.keys.store import Keyring
from governance.log import Log
from governance.model.canonical import canonical, digest, parse
from governance.model.key_grant import Claim, Operation
from governance.protect.manifest import PAYLOAD_TYPE, pre_authentication_encoding
from governance.server.broker.rules import Refused

_STATEMENT = {"stage", "context", "facts", "datasets", "openlineage_run_id"}
_PINNED = ("dataset", "version", "attempt", "contract_digest", "policy_digest")


def what_is_signed(data: bytes, claim: Claim, log: Log, keyring: Keyring) -> str:
    """``open``, ``manifest`` or ``disclose``: what ``data`` is, and it is the claim's own.

    Raises:
        Refused: ``operation`` for what this claim does not sign, ``run``, ``contract`` … where it says another
            thing than the claim.
    """
    head = pre_authentication_encoding(PAYLOAD_TYPE, b"").rpartition(b" ")[0].rpartition(b" ")[0] + b" "
    if data.startswith(head):
        _require(
            claim.operation is Operation.SEAL, "operation", "a manifest is signed for the run that made it"
        )
        _manifest(data, len(head), claim)
        return "manifest"
    said = _object(data)
    _require(set(said) == _STATEMENT, "operation", "it is neither a stage's statement nor a manifest")
    context, facts = said["context"], said["facts"]
    _require(isinstance(context, dict) and isinstance(facts, dict), "operation", "it is no stage's statement")
    _require(said["stage"] == claim.operation, "operation", "it is not what the grant is for")
    _same(context, claim)
    if claim.operation is Operation.OPEN:
        _require(context.get("purpose") == claim.purpose, "purpose", "it opens for another purpose")
        _opening(facts, claim, log, keyring)
        return "open"
    _require(claim.operation is Operation.DISCLOSE, "operation", "nothing is signed for a read")
    recipient = facts.get("recipient")
    _require(
        isinstance(recipient, dict) and recipient.get("name") == claim.recipient,
        "recipient",
        "it names another",
    )
    _require(facts.get("purpose") == claim.purpose, "purpose", "it discloses for another purpose")
    return "disclose"


def _opening(facts: Mapping[str, Any], claim: Claim, log: Log, keyring: Keyring) -> None:
    own = keyring.run_signer(claim.version, claim.attempt).public_key
    _require(
        facts.get("run_public_key") == base64.b64encode(own).decode(),
        "key",
        "it names another key than the run's",
    )
    for what, pinned in (("contract", claim.contract_digest), ("policy", claim.policy_digest)):
        said = facts.get(what)
        index = said.get("log_index") if isinstance(said, dict) else None
        body = log.entry(index).body if type(index) is int and 0 <= index < log.size() else None
        _require(
            body is not None and digest(body) == pinned == (said or {}).get("digest"),
            what,
            f"the {what} it names is not in the log",
        )
        if what == "contract" and body is not None:
            try:
                contract = load_contract("contract.odcs.yaml", data=body)
            except GovernanceError:
                contract = None
            _require(
                contract is not None
                and contract.dataset == claim.dataset
                and claim.purpose in contract.purposes,
                what,
                "the contract is of another dataset or does not allow the purpose",
            )


def _manifest(data: bytes, head: int, claim: Claim) -> None:
    payload = data[head:].partition(b" ")[2]
    _require(
        pre_authentication_encoding(PAYLOAD_TYPE, payload) == data,
        "operation",
        "it is no manifest to be signed",
    )
    body = _object(payload)
    said = body.get("run")
    _require(isinstance(said, dict), "run", "the manifest names no run")
    run: dict[str, Any] = said or {}
    _same(run, claim)
    for name in ("dataset", "version", "contract_digest", "policy_digest"):
        _require(
            body.get(name) == getattr(claim, name), "run", f"the manifest has another {name} than the run"
        )
    _require(run.get("purpose") == claim.purpose, "purpose", "the manifest is for another purpose")


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = parse(data)
        exact = isinstance(found, dict) and canonical(found) == data
    except (ValueError, RecursionError):
        exact = False
    _require(exact, "operation", "what is to be signed is not canonical JSON")
    return dict(found)


def _same(said: Mapping[str, Any], claim: Claim) -> None:
    for name in _PINNED:
        _require(said.get(name) == getattr(claim, name), "run", f"it has another {name} than the grant")


def _require(held: bool, reason: str, why: str) -> None:
    if not held:
        raise Refused(
            reason,
            f"the broker does not sign this: {why}",
            "only a run's opening, its manifest and a disclosure are signed, under a grant for just that",
        )
