"""Makes a report from a log: reads it up to a checkpoint, checks what it reads, writes three files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from governance.audit.audience import WHOLE, audience_of, shown_to
from governance.audit.bundle import make_bundle
from governance.audit.forms import ending, form
from governance.audit.languages import words
from governance.audit.portions.collecting import uncollected
from governance.audit.portions.kept_portions import KeptPortions
from governance.audit.portions.log_reading import LogReading
from governance.audit.record import Asked, make_record, read_asked, read_period
from governance.audit.registry import report_kind
from governance.audit.trail import read_trail
from governance.audit.versions import croissant, released_run, signed, statement
from governance.durable import replace_file
from governance.errors import AuditError
from governance.log.log import Log
from governance.log.note import Checkpoint, VerifierKey, read_checkpoint
from governance.log.rotation import follow, handovers, open_checkpoint
from governance.model.canonical import canonical, canonical_parsed, digest
from governance.model.evidence import Signer


class EvidenceSigner(Protocol):
    """The part of a keyring that signs evidence."""

    @property
    def evidence_signer(self) -> Signer:
        """The key that the log's genesis names."""


class ReportSource(Protocol):
    """What a report needs of a workspace."""

    @property
    def log(self) -> Log:
        """The log."""

    @property
    def vkey(self) -> str:
        """Its public key."""

    @property
    def keyring(self) -> EvidenceSigner:
        """Signs the bundle with the evidence key."""


@dataclass(frozen=True, slots=True)
class MadeReport:
    """Where a report was written. ``record`` is what ``json`` holds, in RFC 8785 canonical form."""

    html: Path
    json: Path
    bundle: Path | None
    record: dict[str, Any]
    forms: tuple[Path, ...] = ()


@uncollected()
def make_report(
    workspace: ReportSource,
    kind: str,
    out_dir: Path,
    *,
    bundle: bool = False,
    as_of: int | None = None,
    period: str | tuple[str, str] | None = None,
    asked: Asked | None = None,
    forms: Sequence[str] = (),
    language: str = "en",
    audience: str | None = None,
) -> MadeReport:
    """Make a report and write it into ``out_dir`` as ``KIND.json``, ``.html`` and, bundled, ``.zip``.

    One as of the past is named ``KIND-SIZE``, so that it does not replace the newest; one of which something was
    ``asked``, ``KIND-DIGEST``, with the first digits of the digest of what was; one for an audience outside the
    organisation ``KIND-AUDIENCE``.

    The same checkpoint gives the same bytes. Nothing is appended to the log.

    Args:
        as_of: a log size in the past: the newest checkpoint signed at or below it. Without it the log
            is signed as it is now.
        period: two days, ``2026-01-01/2026-06-30``, for kinds that take one.
        forms: further ones, of :data:`governance.audit.forms.FORMS`.
        language: of titles, headings and column names in them; the record is in English.
        audience: whom it is for, of :data:`governance.audit.audience.AUDIENCES`; outside it, entries are proved
            without being shown. Without it the organisation itself, or the person whom the kind is for.

    Raises:
        AuditError: GOV-804 for an unknown kind or audience, a wrong period or a time before the first checkpoint.
        LogError: GOV-504 when an entry is not what its leaf or the checkpoint commits to.
        SettingError: GOV-902 when the template engine is not installed.
    """
    report, days = report_kind(kind), read_period(period)
    chosen = read_asked(report, asked)
    whom = WHOLE
    if bundle or audience is not None:
        whom = audience_of(kind, audience, personal=report.personal)
    if days is not None and not report.takes_period:
        raise AuditError(
            "GOV-804", f"{kind} takes no period", "leave the period out; use as_of for a state in the past"
        )
    from governance.audit.rendering import render, template

    said, wanted = words(language), [(name, form(name)) for name in dict.fromkeys(forms)]
    template(kind)  # a missing template engine is found before the log is read
    log = workspace.log
    checkpoint = log.checkpoint() if as_of is None else _past(log, workspace.vkey, as_of)
    if checkpoint.size == 0:
        raise AuditError("GOV-804", "the log is empty", "open a governance home first; it writes the genesis")
    reading = _reading(workspace, checkpoint)
    trail = read_trail(reading, checkpoint.size)
    record = shown_to(make_record(report, trail, checkpoint, reading.entry, days, chosen), whom)
    html = render(record).encode()
    out_dir.mkdir(parents=True, exist_ok=True)
    about = f"-{digest(canonical(chosen))[7:15]}" if chosen else ""
    about += "" if whom is WHOLE else f"-{whom.name}"
    stem = f"{kind}{about}" if as_of is None else f"{kind}{about}-{checkpoint.size}"
    made = {out_dir / f"{stem}.json": canonical_parsed(record), out_dir / f"{stem}.html": html}
    zipped = out_dir / f"{stem}.zip"
    if bundle:
        entries = [log.entry(described["index"]) for described in record["entries"]]
        made[zipped] = make_bundle(
            log, workspace.vkey, workspace.keyring.evidence_signer, checkpoint, record, html, entries, whom
        )
    tongue = "" if language == "en" else f".{language}"
    shown = {
        out_dir / f"{stem}{tongue}.{ending(name)}": render_form(record, said, made.get(zipped))
        for name, render_form in wanted
    }
    for path, data in (made | shown).items():
        replace_file(path, data, mode=0o666)
    packed = zipped if bundle else None
    return MadeReport(out_dir / f"{stem}.html", out_dir / f"{stem}.json", packed, record, tuple(shown))


def _past(log: Log, vkey: str, as_of: int) -> Checkpoint:
    if not 0 < as_of <= log.size():
        raise AuditError(
            "GOV-804", f"the log has {log.size()} entries, not {as_of}", "name a size the log has had"
        )
    notes = {read_checkpoint(note).size: note for note in log.storage.checkpoints()}
    sizes = [size for size in notes if 0 < size <= as_of]
    if not sizes:
        raise AuditError(
            "GOV-804",
            f"no checkpoint was signed at size {as_of} or before",
            f"the first was signed at {min(notes)}" if notes else "sign one: `governance log status`",
        )
    return open_checkpoint(notes[max(sizes)], follow(VerifierKey.parse(vkey), handovers(log.storage)))


def _reading(workspace: ReportSource, checkpoint: Checkpoint) -> LogReading:
    """The entries under a checkpoint; a home keeps what was read of them."""
    folder: Path | None = getattr(workspace, "readings", None)
    if folder is None:
        return LogReading(workspace.log, checkpoint)
    signer = workspace.keyring.evidence_signer
    return LogReading(workspace.log, checkpoint, KeptPortions(folder, checkpoint.origin, signer))


def describe_version(workspace: ReportSource, dataset: str, version: str, out_dir: Path) -> tuple[Path, Path]:
    """Write the in-toto attestation (DSSE) and the Croissant description of a released version.

    Raises:
        AuditError: GOV-804 when the log has no release of it. LogError: GOV-504 as :func:`make_report`.
    """
    log = workspace.log
    checkpoint = log.checkpoint()
    run = released_run(read_trail(_reading(workspace, checkpoint), checkpoint.size), dataset, version)
    said = signed(statement(run, checkpoint), workspace.keyring.evidence_signer)
    out_dir.mkdir(parents=True, exist_ok=True)
    # A dataset's name may hold what a file's must not.
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", f"{dataset}-{version}")
    made = out_dir / f"{stem}.intoto.json", out_dir / f"{stem}.croissant.json"
    for path, data in zip(made, (said, croissant(run, checkpoint)), strict=True):
        replace_file(path, data, mode=0o666)
    return made
