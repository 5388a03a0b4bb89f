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
    RELEASE = "release"
    DISCLOSE = "disclose"


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
