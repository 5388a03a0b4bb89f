"""What a stage proves, and how it reaches the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Stage(StrEnum):
    OPEN = "open"
    CLASSIFY = "classify"
    CONSENT = "consent"
    PROTECT = "protect"
    VALIDATE = "validate"
    APPROVE = "approve"
    RELEASE = "release"
    DISCLOSE = "disclose"
    ERASURE = "erasure"
    KEY_GRANT = "key_grant"
    SIGN_OFF = "sign_off"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The outcome of a stage. ``facts`` is JSON and never holds a value from a dataset."""

    stage: Stage
    facts: Mapping[str, Any] = field(default_factory=dict)


class Signer(Protocol):
    """An Ed25519 key that signs bytes; where it lives is the keyring's business."""

    @property
    def public_key(self) -> bytes:
        """32 raw bytes (RFC 8032)."""

    def sign(self, data: bytes) -> bytes:
        """A 64-byte signature."""


@dataclass(frozen=True, slots=True)
class ColumnEdge:
    """``output`` of the written dataset comes from ``inputs`` of the read one.

    ``masking`` is true only where the transform was verified on the output.
    """

    output: str
    inputs: tuple[str, ...]
    transformation: str
    masking: bool


@dataclass(frozen=True, slots=True)
class Assertion:
    """A quality rule's verdict, as OpenLineage's ``dataQualityAssertions`` facet has it."""

    assertion: str
    success: bool
    column: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetLineage:
    """What a stage read or wrote. ``fields`` are (name, type) pairs, ``size`` is in bytes.

    ``classifications`` and ``sensitivities`` are by column.
    """

    namespace: str
    name: str
    fields: tuple[tuple[str, str], ...] = ()
    version: str | None = None
    rows: int | None = None
    size: int | None = None
    columns: tuple[ColumnEdge, ...] = ()
    assertions: tuple[Assertion, ...] = ()
    classifications: Mapping[str, str] = field(default_factory=dict)
    sensitivities: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageRecord:
    """Everything the lineage store learns about one stage of one run.

    ``context`` repeats what the run pinned, so that each event stands alone.
    """

    evidence: Evidence
    context: Mapping[str, Any]
    inputs: tuple[DatasetLineage, ...] = ()
    outputs: tuple[DatasetLineage, ...] = ()


class Recorder(Protocol):
    """Where stages put evidence. Durable when it returns; raises :class:`LogError` otherwise."""

    def started(self, stage: Stage, context: Mapping[str, Any]) -> None:
        """Report that a stage began."""

    def record(self, record: StageRecord, signer: Signer) -> int:
        """Append signed evidence and return its log index."""

    def completed(self, stage: Stage, context: Mapping[str, Any], record: StageRecord) -> None:
        """Report that a stage ended well."""

    def failed(self, stage: Stage, context: Mapping[str, Any], code: str, message: str) -> None:
        """Report that a stage failed. ``message`` holds no value from a dataset."""
