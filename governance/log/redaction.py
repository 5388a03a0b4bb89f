"""Takes the body of an entry away for good, wherever it lies, and keeps everything verifiable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governance.errors import LogError
from governance.log.archives.archive import Rewritten, without
from governance.log.archives.archive_rows import ArchiveRow
from governance.log.archives.archives import ARCHIVE
from governance.log.envelope import Envelope, check_names
from governance.log.log import (
    GENESIS,
    KEY_ROTATION,
    REDACTION,
    STATEMENTS,
    no_entry,
)
from governance.log.sealing import NewEntry, keyed_digests
from governance.log.storage import Redaction, StoredEntry, Turn
from governance.model.canonical import canonical

if TYPE_CHECKING:
    from governance.log.log import Log


def redact(log: Log, index: int, ground: str, authoriser: str) -> int:
    """See :meth:`governance.log.Log.redact`.

    An archive file that holds the body is written again without it first; the turn in which the redaction
    is stated also names the new file, and the old one is deleted afterwards.
    """
    check_names(authoriser, REDACTION)
    holder: ArchiveRow | None = None
    while True:
        # The file is written before the turn: that may take long. Should another one hold the body by then,
        # once more.
        with without(log, holder, index) as rewritten, log.storage.turn() as turn:
            row = turn.entry(index)
            if row is None:
                raise no_entry(index)
            if row.redacted_by is not None:
                return row.redacted_by
            envelope = Envelope.from_leaf(row.leaf)
            if envelope.media_type in STATEMENTS | {GENESIS, KEY_ROTATION}:
                raise LogError(
                    "GOV-509",
                    f"entry {index} is a {envelope.media_type} and stays",
                    "Redact entries that hold events, contracts, policies or consent batches only.",
                )
            found = _holder(turn, row)
            if found == holder:
                place = _state(log, turn, row, envelope, ground, authoriser, rewritten)
                break
        holder = found
    log.storage.scrub()
    log.archives.settle()
    return place


def _holder(turn: Turn, row: StoredEntry) -> ArchiveRow | None:
    """The archive whose file may hold the body."""
    found = next((archive for archive in turn.archives() if archive.first <= row.index < archive.stop), None)
    if found is not None and found.pruned is not None and row.body is None:
        raise LogError(
            "GOV-509",
            f"the body of entry {row.index} was pruned by entry {found.pruned}: nothing is left to redact",
            "Its envelope holds no personal data.",
        )
    if found is None and row.body is None:
        raise LogError(
            "GOV-504",
            f"the body of entry {row.index} is gone and no redaction says why",
            "Run `governance log verify`; restore the store from a backup.",
        )
    return found if found is not None and found.pruned is None else None


def _state(
    log: Log,
    turn: Turn,
    row: StoredEntry,
    envelope: Envelope,
    ground: str,
    authoriser: str,
    rewritten: Rewritten | None,
) -> int:
    body = row.body if row.body is not None or rewritten is None else rewritten.body
    if body is None:
        raise LogError(
            "GOV-517",
            f"the archive of entry {row.index} does not hold its body",
            "Run `governance log verify`; restore the archive file from a backup.",
        )
    target = NewEntry(body, envelope.media_type, envelope.principal)
    marker, refusal = keyed_digests(log.storage.dedup_key, target)
    place = turn.size
    statement = {
        "v": 1,
        "index": row.index,
        "ground": ground,
        "authoriser": authoriser,
        "refusal": "hmac-sha256:" + refusal.hex(),
    }
    stated = [NewEntry(canonical(statement), REDACTION, authoriser)]
    if rewritten is not None and rewritten.file is not None:
        stated.append(NewEntry(canonical(rewritten.statement(because=place)), ARCHIVE, authoriser))
    log.state(turn, stated)
    turn.forget(Redaction(row.index, place, refusal), marker)
    if rewritten is not None and rewritten.file is not None:
        turn.put_archive(rewritten.row(leaf=place + 1), rewritten.old)
    return place
