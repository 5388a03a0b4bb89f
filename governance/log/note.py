"""C2SP signed notes and checkpoints, with Ed25519 signatures.

Sources: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint. A public key is written as
``name+key id+key`` (the *vkey* of golang.org/x/mod/sumdb/note): eight hexadecimal digits of
SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key), then base64(0x01 ‖ public key).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from governance.errors import LogError
from governance.model.evidence import Signer

_ED25519 = b"\x01"
_DASH = "— "
_MAX_NOTE = 1 << 20
_MAX_SIGNATURES = 64
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_REMEDY = "Take the checkpoint and the public key again from where they were first published."


class NoteKey(Protocol):
    """A public key that verifies one kind of note signature. ``key_id`` is 4 bytes."""

    @property
    def name(self) -> str:
        """The key name of its signature lines."""

    @property
    def key_id(self) -> bytes:
        """Tells it from other keys of that name."""

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether ``signature``, what follows the key id, is this key's over ``text``."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A pinned Ed25519 public key. ``key_id`` is 4 bytes, ``public_key`` 32."""

    name: str
    key_id: bytes
    public_key: bytes

    @classmethod
    def of(cls, name: str, public_key: bytes) -> VerifierKey:
        """The key of that name.

        Raises:
            LogError: GOV-506 when the name is empty, holds white space, a control character or ``+``.
        """
        return cls(name, key_id_of(name, _ED25519, public_key), public_key)

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """Read a vkey.

        Raises:
            LogError: GOV-506 when it is malformed or its key id does not belong to it.
        """
        return cls(*parse_vkey(vkey, _ED25519))

    def __str__(self) -> str:
        return format_vkey(self.name, self.key_id, _ED25519 + self.public_key)

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether ``signature`` (64 bytes, RFC 8032) is this key's over ``text``."""
        return verifies(self.public_key, signature, text.encode())


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: ``value`` is what follows the 4-byte ``key_id``."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's tree head. ``root`` is 32 bytes, ``note`` the signed note as published."""

    origin: str
    size: int
    root: bytes
    note: str

    @property
    def text(self) -> str:
        """The note's text, which is what signatures cover."""
        return split_note(self.note)[0]


def check_name(name: str) -> None:
    """Refuse what the specifications do not allow as a key name, so as an origin here.

    Raises:
        LogError: GOV-506.
    """
    if not name or len(name) > 255 or "+" in name or any(c.isspace() or not c.isprintable() for c in name):
        raise LogError(
            "GOV-506",
            "a log's origin is empty, too long or holds white space, a control character or '+'",
            "Use a name such as example.com/governance-log.",
        )


def key_id_of(name: str, kind: bytes, public_key: bytes) -> bytes:
    """The four bytes that tell keys of one name apart; ``kind`` is the signature type's byte.

    Raises:
        LogError: GOV-506 for an unusable name or a key that has not 32 bytes.
    """
    check_name(name)
    if len(public_key) != 32:
        raise LogError("GOV-506", "an Ed25519 public key has 32 bytes", _REMEDY)
    return hashlib.sha256(name.encode() + b"\n" + kind + public_key).digest()[:4]


def parse_vkey(vkey: str, kind: bytes) -> tuple[str, bytes, bytes]:
    """Name, key id and public key of a vkey whose signature type is the byte ``kind``.

    Raises:
        LogError: GOV-506 when it is malformed, of another type or its key id does not belong to it.
    """
    name, _, rest = vkey.partition("+")
    key_id, _, encoded = rest.partition("+")
    material = _base64(encoded)
    if re.fullmatch("[0-9a-f]{8}", key_id) is None or material is None or material[:1] != kind:
        raise LogError(
            "GOV-506", f"the public key is not of the form name+id+key (Ed25519, type {kind[0]})", _REMEDY
        )
    if key_id_of(name, kind, material[1:]).hex() != key_id:
        raise LogError("GOV-506", "the public key's id does not belong to it", _REMEDY)
    return name, bytes.fromhex(key_id), material[1:]


def format_vkey(name: str, key_id: bytes, material: bytes) -> str:
    """A public key as text; ``material`` starts with the signature type's byte."""
    return f"{name}+{key_id.hex()}+{base64.b64encode(material).decode()}"


def verifies(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` is that Ed25519 key's over ``message`` (RFC 8032)."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def vkey_of(name: str, public_key: bytes) -> str:
    """The public key text that verifiers pin."""
    return str(VerifierKey.of(name, public_key))


def sign_note(text: str, name: str, *signers: Signer) -> str:
    """Sign ``text``, which ends with a newline, as ``name``, with one key or, at a rotation, with two."""
    if not text.endswith("\n") or _has_control(text):
        raise ValueError("a note's text ends with a newline and holds no other control character")
    return text + "\n" + "".join(_line(text, name, signer) for signer in signers)


def split_note(note: str) -> tuple[str, tuple[Signature, ...]]:
    """The text and the signature lines, none of them verified.

    Raises:
        LogError: GOV-506 when it is no signed note.
    """
    blank = note.rfind("\n\n")
    if blank < 0 or len(note) > _MAX_NOTE or not note.endswith("\n") or _has_control(note):
        raise LogError("GOV-506", "this is not a signed note", _REMEDY)
    lines = note[blank + 2 : -1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise LogError("GOV-506", f"a note has more than {_MAX_SIGNATURES} signatures", _REMEDY)
    return note[: blank + 1], tuple(_signature(line) for line in lines)


def add_signatures(note: str, signatures: Iterable[Signature]) -> str:
    """The note with further signature lines; one by a key that signed it already takes that one's place.

    Raises:
        LogError: GOV-506 when it is no signed note or would have too many signatures.
    """
    text, found = split_note(note)
    lines = {(signature.name, signature.key_id): signature for signature in (*found, *signatures)}
    added = text + "\n" + "".join(str(signature) for signature in lines.values())
    split_note(added)
    return added


def read_signatures(lines: str) -> tuple[Signature, ...]:
    """Signature lines as a witness answers them, each ended by a newline; none of them verified.

    Raises:
        LogError: GOV-506 when one is malformed or there are too many.
    """
    return split_note("\n\n" + lines)[1]


def open_note(note: str, keys: Sequence[NoteKey]) -> str:
    """The text of a note that at least one of ``keys`` signed; unknown signatures are ignored.

    Raises:
        LogError: GOV-506 when none did, or when a known key's signature is wrong.
    """
    text, signatures = split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    verified = False
    for signature in signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        if not key.verifies(text, signature.value):
            raise LogError("GOV-506", "a checkpoint's signature is wrong: it was altered", _REMEDY)
        verified = True
    if not verified:
        raise LogError("GOV-506", "a checkpoint is not signed by the pinned key", _REMEDY)
    return text


def checkpoint_text(origin: str, size: int, root: bytes) -> str:
    """The three lines that a log signs."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def read_checkpoint(note: str) -> Checkpoint:
    """Read a checkpoint WITHOUT verifying any signature: for showing, or before :func:`open_note`.

    Raises:
        LogError: GOV-506 when it is malformed.
    """
    return _checkpoint(split_note(note)[0], note)


def parse_checkpoint(note: str, vkey: str) -> Checkpoint:
    """Verify a checkpoint with a pinned key whose name is the log's origin.

    Raises:
        LogError: GOV-506 when it is malformed, not signed by that key or of another log.
    """
    key = VerifierKey.parse(vkey)
    checkpoint = _checkpoint(open_note(note, [key]), note)
    if checkpoint.origin != key.name:
        raise LogError("GOV-506", "a checkpoint's origin is not the pinned key's name", _REMEDY)
    return checkpoint


def _checkpoint(text: str, note: str) -> Checkpoint:
    lines = text[:-1].split("\n")
    root = _base64(lines[2]) if len(lines) >= 3 else None
    if not all(lines) or root is None or len(root) != 32 or _SIZE.fullmatch(lines[1]) is None:
        raise LogError("GOV-506", "a note's text is not a checkpoint", _REMEDY)
    return Checkpoint(lines[0], int(lines[1]), root, note)


def _line(text: str, name: str, signer: Signer) -> str:
    key = VerifierKey.of(name, signer.public_key)
    return str(Signature(name, key.key_id, signer.sign(text.encode())))


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    value = _base64(encoded)
    if not line.startswith(_DASH) or not name or "+" in name or value is None or len(value) < 5:
        raise LogError("GOV-506", "a note holds a malformed signature line", _REMEDY)
    return Signature(name, value[:4], value[4:])


def _base64(text: str) -> bytes | None:
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # Two texts must not decode to the same key or root: refuse stray bits in the padding.
    return value if base64.b64encode(value).decode() == text else None


def _has_control(text: str) -> bool:
    return any(character < " " and character != "\n" for character in text)
