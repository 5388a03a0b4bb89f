"""What a recipient runs: open a sealed disclosure with the private key that never left them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from governance.access.disclose import SUITE
from governance.access.exits import STATEMENT
from governance.access.sealing import read_disclosure
from governance.errors import AccessError
from governance.model.canonical import parse


def open_disclosure(directory: Path, private_key: bytes) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a disclosure.

    Args:
        private_key: 32 raw bytes (X25519, RFC 7748).

    Raises:
        AccessError: GOV-604 for another recipient's key or an altered disclosure.
    """
    try:
        statement = parse((directory / STATEMENT).read_bytes())
        sealed = base64.b64decode(statement["sealed_keys"]["value"])
        files = statement["files"]
        key = SUITE.decrypt(
            sealed, X25519PrivateKey.from_private_bytes(private_key), info=b"governance disclosure v1"
        )
    except (OSError, KeyError, ValueError, InvalidTag) as fault:
        raise AccessError(
            "GOV-604",
            f"the disclosure in {directory.name} cannot be opened ({type(fault).__name__})",
            "use the private key of the recipient it was sealed to, and the files as they were received",
        ) from None
    return read_disclosure(directory, key, files)
