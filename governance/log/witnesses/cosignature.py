"""Witness cosignatures: Ed25519 over a checkpoint and a time (https://c2sp.org/tlog-cosignature).

A cosignature says that at that time the checkpoint was the largest tree of its log the witness knew, and
consistent with every one before. It is a note signature of type 0x04: eight bytes of POSIX seconds, then 64
bytes of Ed25519 over ``cosignature/v1``, a ``time`` line and the checkpoint's text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from governance.errors import LogError
from governance.log.note import Signature, format_vkey, key_id_of, parse_vkey, split_note, verifies
from governance.model.evidence import Signer

_COSIGNATURE = b"\x04"
_TIME_SIZE = 8
_SIZE = _TIME_SIZE + 64


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A pinned public key of a witness. ``key_id`` is 4 bytes, ``public_key`` 32."""

    name: str
    key_id: bytes
    public_key: bytes

    @classmethod
    def of(cls, name: str, public_key: bytes) -> WitnessKey:
        """The key of that name. Raises GOV-506 for a name that no note can carry."""
        return cls(name, key_id_of(name, _COSIGNATURE, public_key), public_key)

    @classmethod
    def parse(cls, vkey: str) -> WitnessKey:
        """Read a vkey of signature type 0x04. Raises GOV-506 when it is none."""
        return cls(*parse_vkey(vkey, _COSIGNATURE))

    def __str__(self) -> str:
        return format_vkey(self.name, self.key_id, _COSIGNATURE + self.public_key)

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether ``signature`` (72 bytes) is this witness's over a checkpoint's text."""
        if len(signature) != _SIZE or (at := time_of(signature)) >= 1 << 63:
            return False
        return verifies(self.public_key, signature[_TIME_SIZE:], _message(text, at))


@dataclass(frozen=True, slots=True)
class Cosignature:
    """That a witness cosigned a checkpoint ``at`` POSIX seconds, by its own clock."""

    witness: WitnessKey
    at: int


def cosign(text: str, name: str, signer: Signer, at: int) -> Signature:
    """Cosign a checkpoint's text as the witness ``name``; ``at`` is in POSIX seconds.

    A witness's key must sign nothing else: what it signs does not name the witness.
    """
    key = WitnessKey.of(name, signer.public_key)
    return Signature(name, key.key_id, at.to_bytes(_TIME_SIZE, "big") + signer.sign(_message(text, at)))


def cosignatures(note: str, witnesses: Sequence[WitnessKey]) -> list[Cosignature]:
    """Who of ``witnesses`` cosigned a checkpoint, and when; lines by others are ignored.

    Raises:
        LogError: GOV-506 when it is no signed note, GOV-512 when a pinned witness's line is wrong.
    """
    text, signatures = split_note(note)
    known = {(key.name, key.key_id): key for key in witnesses}
    found: dict[bytes, Cosignature] = {}
    for signature in signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        if not key.verifies(text, signature.value):
            raise LogError(
                "GOV-512",
                f"a checkpoint's cosignature by {key.name} is wrong: it was altered, or made for another",
                "Ask the witness for the last checkpoint of this log that it cosigned.",
            )
        # One key under two names is one witness.
        found.setdefault(key.public_key, Cosignature(key, time_of(signature.value)))
    return list(found.values())


def time_of(value: bytes) -> int:
    """The POSIX seconds at the start of a cosignature's value."""
    return int.from_bytes(value[:_TIME_SIZE], "big")


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()
