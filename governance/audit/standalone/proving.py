#!/usr/bin/env python3
"""Checks a report bundle with nothing but Python (3.9 or later) and the package ``cryptography``.

    python verify.py BUNDLE.zip --key PUBLIC-KEY [--checkpoint OLDER.txt] [--witness PUBLIC-KEY] [--sign-off FILE]
    python verify.py SIGN-OFF.json --key PUBLIC-KEY

It opens no network connection and writes no file. Take it, like the key, from somewhere other than the bundle:
whoever altered a bundle could have altered the verifier in it. It is written apart from the software that
makes the bundles and shares no line with it.

Checked: every file against the signed manifest; every row → cited entry → leaf → proof → checkpoint → pinned
key; the signature of every piece of evidence; that the log extends an older checkpoint. Not checked: that the
words of a row are what its entries give; ``governance verify`` computes every row again. Here that rests on
the signature of the operator over the record.

Exit codes: 0 verified, 1 something does not hold, 2 wrong use, 3 nothing is wrong but no key was pinned.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ROTATION_TYPE = "application/vnd.governance.key-rotation+json"


class Failed(Exception):
    """The first thing that does not hold: the file, and what is wrong."""


def fail(where: str, what: str) -> None:
    """End the check."""
    raise Failed(f"{where}: {what}")


def need(holds: Any, where: str, what: str) -> None:
    if not holds:
        fail(where, what)


# -- JSON in canonical form (RFC 8785) ------------------------------------------------------------


def canonical(value: Any) -> bytes:
    return _canonical(value).encode("utf-8")


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(_canonical(key) + ":" + _canonical(value[key]) for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    """ECMA-262 Number::toString, which RFC 8785 asks for."""
    if not math.isfinite(value):
        raise ValueError("not a number of JSON")
    if value == 0:
        return "0"
    sign, value = ("-" if value < 0 else ""), abs(value)
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    tail = digits[:1] + ("." + digits[1:] if count > 1 else "")
    return f"{sign}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def parsed(data: bytes, *, exact: bool = True) -> Any:
    """JSON with no member twice and no NaN; ``exact`` refuses every spelling but the canonical one."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("a member twice")
        return members

    def no_constant(name: str) -> None:
        raise ValueError(name)

    value = json.loads(data, object_pairs_hook=once, parse_constant=no_constant)
    if exact and canonical(value) != data:
        raise ValueError("not in canonical form")
    return value


def b64(text: Any) -> bytes:
    value = base64.b64decode(text, validate=True)
    if base64.b64encode(value).decode() != text:
        raise ValueError("stray bits")
    return value


# -- the tree (RFC 9162, sections 2.1.3.2 and 2.1.4.2) ----------------------------------------------


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def included(leaf_hash: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    position, last, computed = index, size - 1, leaf_hash
    if not 0 <= index < size:
        return False
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            computed = node(sibling, computed)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            computed = node(computed, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and computed == root


def extends(first: int, old_root: bytes, second: int, root: bytes, path: list[bytes]) -> bool:
    if first == second:
        return not path and old_root == root
    if not 0 < first < second:
        return False
    path = [old_root, *path] if first & (first - 1) == 0 else list(path)
    if not path:
        return False
    position, last = first - 1, second - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node(sibling, old), node(sibling, new)
            while position and not position & 1:
                position, last = position >> 1, last >> 1
        else:
            new = node(new, sibling)
        position, last = position >> 1, last >> 1
    return last == 0 and old == old_root and new == root


# -- keys and signed notes (https://c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature) --------


def signed_by(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_key(text: str, kind: int = 1) -> tuple[str, bytes, bytes]:
    """Name, key id and public key of ``name+id+key``; ``kind`` 1 signs checkpoints, 4 cosigns."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    material = b64(encoded)
    expected = hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]
    if not name or material[:1] != bytes([kind]) or len(material) != 33 or expected.hex() != key_id:
        raise ValueError("not a public key")
    return name, expected, material[1:]


def read_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]], tuple[str, int, bytes]]:
    """Text, signatures (name, key id, value) and tree head (origin, size, root); nothing verified."""
    text, blank, lines = note.rpartition("\n\n")
    text += "\n"
    if not blank or not lines.endswith("\n") or any(c < " " and c != "\n" for c in note):
        raise ValueError("not a signed note")
    signatures = []
    for line in lines[:-1].split("\n"):
        dash, name, encoded = line.split(" ")
        value = b64(encoded)
        if dash != "\u2014" or len(value) < 5:
            raise ValueError("not a signature line")
        signatures.append((name, value[:4], value[4:]))
    head = text.split("\n")
    if re.fullmatch("0|[1-9][0-9]{0,18}", head[1]) is None or len(b64(head[2])) != 32:
        raise ValueError("not a checkpoint")
    return text, signatures, (head[0], int(head[1]), b64(head[2]))


def opened(note: str, keys: list[tuple[str, bytes, bytes]]) -> tuple[tuple[str, int, bytes], list[int]]:
    """The tree head of a note, and which of ``keys`` signed it. A known key's wrong signature is refused."""
    text, signatures, head = read_note(note)
    by = []
    for name, key_id, value in signatures:
        for place, key in enumerate(keys):
            if (name, key_id) == key[:2]:
                if not signed_by(key[2], value, text.encode()):
                    raise ValueError("its signature is wrong: it was altered")
                by.append(place)
    if not by:
        raise ValueError("it is not signed by the pinned key")
    return head, by


def cosigned(note: str, witnesses: list[tuple[str, bytes, bytes]]) -> list[str]:
    """Names of the pinned witnesses that cosigned."""
    text, signatures, _ = read_note(note)
    found: dict[bytes, str] = {}
    for name, key_id, value in signatures:
        for key in witnesses:
            if (name, key_id) == key[:2]:
                message = f"cosignature/v1\ntime {int.from_bytes(value[:8], 'big')}\n{text}".encode()
                if not signed_by(key[2], value[8:], message):
                    raise ValueError(f"the cosignature of {name} is wrong")
                found.setdefault(key[2], name)
    return list(found.values())


def rotation(handover: dict[str, Any]) -> tuple[str, str, tuple[str, int, bytes]]:
    """Old key, new key and tree head of a handover: both signed the statement and the checkpoint with it."""
    leaf, salt, body = (b64(handover[name]) for name in ("leaf", "salt", "body"))
    said, envelope = parsed(body), parsed(leaf)
    signatures = said.pop("signatures")
    old, new = read_key(said["old"]), read_key(said["new"])
    covered = b"governance key rotation v1\n" + canonical(said)
    head, _ = opened(handover["checkpoint"], [old])
    opened(handover["checkpoint"], [new])
    proof = handover["proof"]
    path = [b64(value) for value in proof["hashes"]]
    holds = (
        envelope["media_type"] == ROTATION_TYPE
        and envelope["digest"] == "sha256:" + hashlib.sha256(salt + body).hexdigest()
        and all(signed_by(k[2], b64(signatures[side]), covered) for side, k in (("old", old), ("new", new)))
        and head[0] == old[0] == new[0] == said["origin"]
        and proof["size"] == head[1]
        and proof["index"] == head[1] - 1
        and included(hashlib.sha256(b"\x00" + leaf).digest(), proof["index"], head[1], path, head[2])
    )
    if not holds:
        raise ValueError("a key rotation does not hold")
    return said["old"], said["new"], head
