"""What the policy asks of a disclosure before anything is read, and how a finished one is exported to a bucket."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from governance.errors import AccessError, StorageError
from governance.model.dataset import Manifest
from governance.model.policy import Policy, Recipient
from governance.storage import Storage, storage_for


def permitted_recipient(policy: Policy, name: str, purpose: str) -> Recipient:
    """The recipient, if the policy lets it have data for a purpose.

    Raises:
        AccessError: GOV-601 for an unknown recipient; GOV-602 for another purpose, for a country beyond the GDPR's
            reach without an instrument (Art. 44), or without a key where it is no AI service.
    """
    to = policy.recipients.get(name)
    if to is None:
        raise AccessError(
            "GOV-601",
            f"recipient {name!r} is not in the policy",
            f"use one of {', '.join(sorted(policy.recipients))}, or have the policy's owner add it",
        )
    if purpose not in to.purposes:
        raise AccessError(
            "GOV-602",
            f"{name} may not receive data for {purpose!r}",
            f"the policy allows {', '.join(to.purposes)}",
        )
    within = {code[:2] for code, regimes in policy.jurisdictions.items() if "GDPR" in regimes}
    if within and to.country not in within and to.safeguard is None:
        raise AccessError(
            "GOV-602",
            f"{name} is in {to.country}, outside the GDPR, and the policy names no instrument for the transfer",
            "have the policy's owner write its `safeguard` (GDPR Art. 45 to 49)",
        )
    if to.public_key is None and to.service is None:
        raise AccessError(
            "GOV-602",
            f"{name} has no public key in the policy, so nothing can be sealed to it",
            "ask the recipient for an X25519 public key: `governance keys recipient` makes a pair",
        )
    return to


def minimum_necessary(
    to: Recipient, manifest: Manifest, columns: Sequence[str] | None
) -> Sequence[str] | None:
    """The columns that are disclosed: those asked for, by default those the policy lets the recipient have.

    Raises:
        AccessError: GOV-602 for a dataset or a column that the policy does not let the recipient have.
    """
    if to.columns is None:
        return columns
    allowed = to.columns.get(manifest.dataset, ())
    refused = [name for name in columns or () if name not in allowed]
    if refused or not allowed:
        raise AccessError(
            "GOV-602",
            f"{to.name} may not receive {', '.join(refused) or 'anything'} of {manifest.dataset}: minimum necessary",
            f"the policy allows {', '.join(allowed) or 'other datasets: ' + ', '.join(sorted(to.columns))}",
        )
    return columns if columns is not None else allowed


def destination(to: Recipient, uri: str, disclosure_id: str) -> Storage:
    """The storage of a disclosure below a destination of its recipient; nothing is written.

    Raises:
        AccessError: GOV-602 for a place that the policy does not name. StorageError: GOV-724.
    """
    plain = uri.rstrip("/")
    below = any(plain == known or plain.startswith(f"{known}/") for known in to.destinations)
    if not below or "/../" in f"{plain}/" or "/./" in f"{plain}/":
        raise AccessError(
            "GOV-602",
            f"the policy does not let disclosures to {to.name} go there",
            f"use one of {', '.join(to.destinations) or 'its `destinations`, of which there is none'}",
        )
    return storage_for(f"{plain}/{disclosure_id}")


def export(storage: Storage, folder: Path, statement: str) -> None:
    """Copy a finished disclosure; the statement goes last, so that where it is, everything is.

    Raises:
        StorageError: GOV-724 when the storage does not take it: then there is no statement there.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = [name for name in files if name != statement]
    try:
        for name in names:
            with (
                (folder / name).open("rb") as file,
                storage.filesystem().open_output_stream(storage.path(name)) as stream,
            ):
                shutil.copyfileobj(file, stream, _CHUNK)
    except OSError:
        raise StorageError(
            "GOV-724",
            "the bucket does not take the disclosure",
            "disclose again: until then the register says more left than did, never less",
        ) from None
    storage.write(statement, (folder / statement).read_bytes())


_CHUNK = 8 << 20
