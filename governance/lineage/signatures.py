"""Evidence or mere declaration: who signed a ``governance_*`` facet, and what the signature covers.

The chain has two links. The *evidence root key*, pinned in the log's genesis leaf and in the
dataset root, signs ``governance_open``, ``governance_disclose``, ``governance_erasure``,
``governance_key_grant`` and ``governance_sign_off``. ``governance_open`` carries the *run key*,
which signs the stages of that run and of no other. Whatever does not verify along this chain, or
did not arrive from an ``evidence:`` principal, is *declared*, never *observed*.

Signed are the RFC 8785 canonical bytes of ``{stage, context, facts, datasets, openlineage_run_id}``
with Ed25519 (RFC 8032). ``datasets`` is the digest of the event's canonical ``{inputs, outputs}``,
so schema, column lineage, masking and classifications cannot be exchanged under a valid signature.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import rfc8785

from governance.lineage.naming import EVIDENCE_PRINCIPAL, PREFIX, facet_key
from governance.model.canonical import canonical, canonical_parsed, digest
from governance.model.evidence import Signer, Stage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ALGORITHM = "ed25519"
_ROOT_SIGNED = frozenset({Stage.OPEN, Stage.DISCLOSE, Stage.ERASURE, Stage.KEY_GRANT, Stage.SIGN_OFF})
_RUN_IDENTITY = ("dataset", "version", "run_id", "map_index", "attempt")


@dataclass(frozen=True, slots=True)
class Observed:
    """Evidence that verifies: signed by the pipeline, through an evidence principal."""

    stage: Stage
    context: Mapping[str, Any]
    facts: Mapping[str, Any]
    public_key: bytes
    basis: str = field(default="observed", init=False)

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Declared:
    """What somebody says. ``reason`` tells why it is no more than that."""

    reason: str
    stage: Stage | None = None
    basis: str = field(default="declared", init=False)

    def __bool__(self) -> bool:
        return False


Verdict: TypeAlias = Observed | Declared
_Parts: TypeAlias = tuple[dict[str, Any], dict[str, Any], bytes, bytes]


@dataclass(slots=True)
class RunKeys:
    """The run keys that observed ``governance_open`` evidence introduced, each with its context."""

    _opened: dict[bytes, list[tuple[Mapping[str, Any], bytes]]] = field(default_factory=dict)

    def admit(self, opened: Observed) -> None:
        """Trust the key that an observed ``governance_open`` carries, for that run only."""
        public_key = _key(opened.facts.get("run_public_key"))
        if opened.stage is Stage.OPEN and public_key is not None:
            self.add(opened.context, public_key)

    def add(self, context: Mapping[str, Any], public_key: bytes) -> None:
        """Trust a key for the run of that context: it was admitted before, and kept."""
        self._opened.setdefault(_identity(context), []).append((context, public_key))

    def pairs(self) -> list[tuple[Mapping[str, Any], bytes]]:
        """Every context with its key, to keep."""
        return [pair for pairs in list(self._opened.values()) for pair in pairs]

    def of(self, context: Mapping[str, Any]) -> tuple[bytes, ...]:
        """The keys of the runs that pinned exactly this context; empty if there is none."""
        candidates = self._opened.get(_identity(context), ())
        return tuple(key for pinned, key in candidates if dict(pinned) == dict(context))

    def knows(self, context: Mapping[str, Any]) -> bool:
        """Whether the run was opened at all, whatever it pinned."""
        return _identity(context) in self._opened


class KeyFinder(Protocol):
    """Where the keys of runs are looked up."""

    def of(self, context: Mapping[str, Any]) -> tuple[bytes, ...]:
        """The keys of the runs that pinned exactly this context."""

    def knows(self, context: Mapping[str, Any]) -> bool:
        """Whether such a run was opened at all."""


@dataclass(frozen=True, slots=True)
class _OneKey:
    key: bytes | None

    def of(self, context: Mapping[str, Any]) -> tuple[bytes, ...]:
        del context
        return () if self.key is None else (self.key,)

    def knows(self, context: Mapping[str, Any]) -> bool:
        del context
        return False


def statement(
    *,
    stage: str,
    context: Mapping[str, Any],
    facts: Mapping[str, Any],
    openlineage_run_id: str,
    inputs: list[Any],
    outputs: list[Any],
    write: Callable[[dict[str, Any]], bytes] = canonical,
) -> bytes:
    """The bytes that are signed.

    Args:
        stage: the stage's value, e.g. ``protect``.
        context: as it stands in the facet.
        facts: as they stand in the facet.
        openlineage_run_id: ``run.runId`` of the event.
        inputs: ``inputs`` as serialized in the event.
        outputs: ``outputs`` as serialized in the event.
        write: :func:`canonical`, or for what was parsed the faster :func:`canonical_parsed`.

    Raises:
        ValueError: something in it has no canonical form (an integer beyond ±2^53, a NaN).
    """
    try:
        return write(
            {
                "stage": stage,
                "context": dict(context),
                "facts": dict(facts),
                "datasets": digest(write({"inputs": inputs, "outputs": outputs})),
                "openlineage_run_id": openlineage_run_id,
            }
        )
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"no canonical form: {type(error).__name__}") from None


def sign(signed: bytes, signer: Signer) -> dict[str, str]:
    """The ``signature`` object of a facet over :func:`statement`'s bytes."""
    return {
        "algorithm": ALGORITHM,
        "public_key": base64.b64encode(signer.public_key).decode("ascii"),
        "value": base64.b64encode(signer.sign(signed)).decode("ascii"),
    }


def evidence_keys(event: Mapping[str, Any]) -> list[str]:
    """The keys of all ``governance_*`` run facets of an event, sorted."""
    run = event.get("run")
    facets = run.get("facets") if isinstance(run, Mapping) else None
    return sorted(k for k in facets if k.startswith(PREFIX)) if isinstance(facets, Mapping) else []


class LogEntry(Protocol):
    """What is judged of a log entry: the leaf's envelope and the body, if it is still there."""

    @property
    def leaf(self) -> bytes:
        """Canonical JSON; its ``principal`` says who appended the body."""

    @property
    def body(self) -> bytes | None:
        """The event as received, ``None`` after redaction."""


def verify_evidence(
    entry: LogEntry,
    *,
    evidence_public_key: bytes | None,
    run_public_key: str | None = None,
    run_keys: RunKeys | None = None,
) -> Verdict:
    """Judge the evidence in one log entry; an :class:`Observed` is true, a :class:`Declared` false.

    That the entry is in the log is another question: see its inclusion proof.

    Args:
        entry: a log entry, from the log or from a bundle.
        evidence_public_key: the pinned evidence root key, 32 raw bytes.
        run_public_key: base64 of the run's key, where the caller knows it from the opening.
        run_keys: the keys of all runs opened before, where it does not.
    """
    if entry.body is None:
        return Declared("the event was redacted")
    try:
        principal = json.loads(entry.leaf).get("principal")
        event = json.loads(entry.body, object_pairs_hook=without_duplicates)
    except (ValueError, AttributeError, RecursionError):
        return Declared("the event cannot be parsed")
    if not isinstance(event, dict):
        return Declared("the event cannot be parsed")
    return verify_event(
        event,
        principal=principal if isinstance(principal, str) else "",
        root_key=evidence_public_key,
        run_keys=run_keys if run_public_key is None else _OneKey(_key(run_public_key)),
    )


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For :func:`json.loads`: two members of one name would be read differently by different parsers.

    Raises:
        ValueError: a name occurs twice.
    """
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object with two members of one name")
    return members


def is_sound(event: Mapping[str, Any]) -> bool:
    """Whether a parsed event has one facet of ours whose signature holds under the key that it names itself.

    Whose key that is, :func:`verify_event` judges.
    """
    keys = evidence_keys(event)
    stage = next((s for s in Stage if [facet_key(s)] == keys), None)
    parts = None if stage is None else _parts(event["run"]["facets"][keys[0]], stage)
    return stage is not None and parts is not None and _fault(event, stage, parts) is None


def verify_event(
    event: Mapping[str, Any],
    *,
    principal: str,
    root_key: bytes | None,
    run_keys: KeyFinder | None,
    sound: bool = False,
) -> Verdict:
    """Judge the evidence in one parsed event.

    Args:
        event: a RunEvent as parsed JSON.
        principal: who appended it, from the leaf's envelope.
        root_key: the pinned evidence root key, 32 raw bytes; ``None`` if nothing is pinned.
        run_keys: what earlier ``governance_open`` evidence introduced. It is not changed: call
            :meth:`RunKeys.admit` with an observed opening.
        sound: that :func:`is_sound` said so of it before; its signature is not verified again.
    """
    keys = evidence_keys(event)
    if len(keys) != 1:
        return Declared(f"an evidence event carries one governance facet, this one carries {len(keys)}")
    stage = next((s for s in Stage if facet_key(s) == keys[0]), None)
    if stage is None:
        return Declared("the governance facet belongs to no stage")
    if not principal.startswith(EVIDENCE_PRINCIPAL):
        return Declared("it did not arrive from an evidence principal", stage)
    facet = event["run"]["facets"][keys[0]]
    parts = _parts(facet, stage)
    if parts is None:
        return Declared("the facet is not of the evidence format", stage)
    context, facts, public_key, _ = parts
    if root_key is None:
        return Declared("no evidence root key is pinned", stage)
    if stage in _ROOT_SIGNED:
        trusted: tuple[bytes, ...] = (root_key,)
    else:
        trusted = run_keys.of(context) if run_keys else ()
        if not trusted:
            opened = run_keys is not None and run_keys.knows(context)
            return Declared(
                "the context is not what the run pinned" if opened else "the run was not opened", stage
            )
    if public_key not in trusted:
        whose = "the evidence root key" if stage in _ROOT_SIGNED else "the run's key"
        return Declared(f"it is not signed by {whose}", stage)
    fault = None if sound else _fault(event, stage, parts)
    return Observed(stage, context, facts, public_key) if fault is None else Declared(fault, stage)


def _fault(event: Mapping[str, Any], stage: Stage, parts: _Parts) -> str | None:
    """What is wrong with a signature under the key that stands beside it."""
    context, facts, public_key, value = parts
    try:
        signed = statement(
            stage=stage.value,
            context=context,
            facts=facts,
            openlineage_run_id=event["run"].get("runId"),
            inputs=event.get("inputs") or [],
            outputs=event.get("outputs") or [],
            write=canonical_parsed,
        )
    except ValueError:
        return "the facet has no canonical form"
    return None if _holds(public_key, value, signed) else "the signature does not verify"


def _identity(context: Mapping[str, Any]) -> bytes:
    try:
        return canonical_parsed({name: context.get(name) for name in _RUN_IDENTITY})
    except rfc8785.CanonicalizationError:
        return b""


def _parts(facet: Any, stage: Stage) -> _Parts | None:
    if not isinstance(facet, Mapping) or facet.get("stage") != stage.value:
        return None
    context, facts, signature = facet.get("context"), facet.get("facts"), facet.get("signature")
    if not (isinstance(context, dict) and isinstance(facts, dict) and isinstance(signature, dict)):
        return None
    public_key, value = _key(signature.get("public_key")), _bytes(signature.get("value"))
    if signature.get("algorithm") != ALGORITHM or public_key is None or value is None:
        return None
    return context, facts, public_key, value


def _key(text: Any) -> bytes | None:
    raw = _bytes(text)
    return raw if raw is not None and len(raw) == 32 else None


def _bytes(text: Any) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _holds(public_key: bytes, value: bytes, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        _verifier(public_key).verify(value, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


@lru_cache(64)
def _verifier(public_key: bytes) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(public_key)
