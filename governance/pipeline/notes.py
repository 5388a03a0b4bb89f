"""Notes that a task of a run leaves in staging for a later one, signed with the run's key.

What a release need not look at again rests on them, so who may write to storage and holds no key must not be able
to write one: a note that the run did not sign counts as none, and the work is done again.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from governance.model.canonical import canonical, parse
from governance.pipeline.step import RunContext, RunReference
from governance.pipeline.workspace import Workspace
from governance.storage import Storage

_DOMAIN = b"governance run note v1\n"


def keep_note(
    workspace: Workspace, storage: Storage, reference: RunReference, name: str, said: dict[str, Any]
) -> None:
    """Leave a note; one of the same name is replaced."""
    signer = workspace.keyring.run_signer(reference.version, reference.attempt)
    signature = base64.b64encode(signer.sign(_bound(reference, name, said))).decode()
    storage.write(f"{reference.folder}/{name}", canonical({"said": said, "signature": signature}))


def read_note(context: RunContext, name: str) -> dict[str, Any] | None:
    """What a note of this run says; ``None`` where there is none that this run signed."""
    path = f"{context.reference.folder}/{name}"
    if not context.storage.exists(path):
        return None
    # Derived from the keys, not read beside the note.
    signer = context.workspace.keyring.run_signer(context.reference.version, context.reference.attempt)
    try:
        note = parse(context.storage.read(path))
        said: dict[str, Any] = note["said"]
        Ed25519PublicKey.from_public_bytes(signer.public_key).verify(
            base64.b64decode(note["signature"], validate=True), _bound(context.reference, name, said)
        )
    except (InvalidSignature, ValueError, TypeError, LookupError, RecursionError, binascii.Error):
        return None
    return said


def _bound(reference: RunReference, name: str, said: dict[str, Any]) -> bytes:
    return _DOMAIN + canonical({**reference.to_json(), "note": name, "said": said})
