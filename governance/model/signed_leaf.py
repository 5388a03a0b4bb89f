"""Leaves of the log that the evidence key signs by themselves, without a run or an event around them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from governance.model.canonical import canonical
from governance.model.evidence import Signer


def signed_leaf(said: Mapping[str, Any], media_type: str, signer: Signer) -> dict[str, Any]:
    """The body of a leaf: ``said`` with a signature beside it, Ed25519 over media type, line feed and canonical form."""
    signature = signer.sign(_signed(said, media_type))
    return {**said, "signature": base64.b64encode(signature).decode("ascii")}


def is_signed(body: Mapping[str, Any], media_type: str, public_key: bytes | None) -> bool:
    """Whether a leaf's body is signed by this key, for this media type."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    said = {name: value for name, value in body.items() if name != "signature"}
    try:
        signature = base64.b64decode(str(body.get("signature")), validate=True)
        Ed25519PublicKey.from_public_bytes(public_key or b"").verify(signature, _signed(said, media_type))
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True


def _signed(said: Mapping[str, Any], media_type: str) -> bytes:
    return f"{media_type}\n".encode() + canonical(said)
