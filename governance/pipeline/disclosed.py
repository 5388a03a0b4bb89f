"""Who was in a disclosure, kept apart from the datasets for as long as the law asks to account for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from governance.durable import replace_file
from governance.model.canonical import canonical, timestamp
from governance.pipeline.membership import MEMBERSHIP, Members, Pseudonyms, seal_members
from governance.pipeline.workspace import Workspace

FOLDER, SUFFIX = "disclosures", ".members"

ACCOUNTED_YEARS = 6
"""45 CFR 164.528(a)(1), (a)(3): an accounting covers six years before the request."""


@dataclass(frozen=True, slots=True)
class KeptDisclosure:
    """``members`` of one disclosure; ``kept_until`` in RFC 3339."""

    members: Members
    kept_until: str


def keep_disclosed(
    workspace: Workspace, disclosure_id: str, pseudonyms: Pseudonyms, disclosed_at: datetime
) -> None:
    """Seal the internal pseudonyms of a disclosure's subjects under a key of its own.

    Nothing is kept where the keys are at a broker: then the disclosure is answered for by its version.
    """
    if workspace.settings.keys:
        return
    until = timestamp(_years_on(disclosed_at, ACCOUNTED_YEARS))
    key = workspace.keyring.segment_key(
        workspace.keyring.new_segment_key(f"disclosure-{disclosure_id}", MEMBERSHIP)
    )
    folder = workspace.settings.home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    line = canonical({"kept_until": until}) + b"\n"
    sealed = seal_members(pseudonyms, key, _bound(disclosure_id, until))
    replace_file(folder / f"{disclosure_id}{SUFFIX}", line + sealed)


def kept_disclosure(workspace: Workspace, disclosure_id: str) -> KeptDisclosure | None:
    """What is kept of a disclosure; ``None`` when nothing is.

    Raises:
        ProtectionError: GOV-303 when its key was destroyed. StorageError: GOV-723 when it was altered.
    """
    try:
        data = (workspace.settings.home / FOLDER / f"{disclosure_id}{SUFFIX}").read_bytes()
    except FileNotFoundError:
        return None
    key = workspace.keyring.segment_key(f"seg.disclosure-{disclosure_id}.{MEMBERSHIP}")
    line, _, sealed = data.partition(b"\n")
    until = str(json.loads(line)["kept_until"])

    def read(offset: int, size: int) -> bytes:
        return sealed[offset : offset + size]

    return KeptDisclosure(Members(read, key, _bound(disclosure_id, until)), until)


def forget_disclosed(workspace: Workspace, disclosure_id: str) -> None:
    """Forget one that did not take place; its key dies with the next epoch's disclosures that expire."""
    (workspace.settings.home / FOLDER / f"{disclosure_id}{SUFFIX}").unlink(missing_ok=True)


def _bound(disclosure_id: str, until: str) -> str:
    return f"disclosure {disclosure_id} until {until}"


def _years_on(moment: datetime, years: int) -> datetime:
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, day=28)
