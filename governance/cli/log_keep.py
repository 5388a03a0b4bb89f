"""`governance log export`, `archive`, `retention`, `prune`, `redact`: how the log is kept and handed out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from governance.cli.options import home_options, json_option, settings, show, table

if TYPE_CHECKING:
    from governance.log import Log
    from governance.log.archives.retention import Limits
    from governance.pipeline.workspace import Workspace


class Instant(click.ParamType[datetime]):
    """An instant with its zone, or a day in UTC."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            self.fail("write it as 2026-01-31 or 2026-01-31T12:00:00+00:00", param, ctx)
        if found.tzinfo is None:
            if len(str(value)) > len("2026-01-31"):
                self.fail("say in which zone, e.g. 2026-01-31T12:00:00+00:00", param, ctx)
            found = found.replace(tzinfo=UTC)
        return found


class PeriodType(click.ParamType[Any]):
    """An ISO 8601 period."""

    name = "period"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from governance.model.retention import Period

        try:
            return value if isinstance(value, Period) else Period.parse(str(value))
        except ValueError:
            self.fail("write an ISO 8601 period such as P6Y, P18M or P90D", param, ctx)


_authoriser = click.option(
    "--authoriser",
    required=True,
    metavar="SCOPE:NAME",
    help="Who decided it, e.g. rights:dpo; stays in the log.",
)
_before = click.option("--before", type=Instant(), help="What was recorded before this day or instant.")


@click.command("export")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write; an earlier export there is extended.",
)
@click.option("--public", is_flag=True, help="Let every user of the machine read the files (to serve them).")
@home_options
@json_option
def export(out: Path, public: bool, home: str | None, store: str | None, as_json: bool) -> None:
    """Write the log as C2SP tlog-tiles: checkpoint, hash tiles, entry bundles.

    Any web server can serve the directory, any tlog-tiles client read it, and `governance log verify --tiles`
    checks it offline. It holds envelopes, never bodies. `checkpoint` is replaced last: stopped at any point,
    the directory is the older export.
    """
    from governance.log.export import export_tiles

    workspace = _opened(home, store)
    done = export_tiles(workspace.log.storage, workspace.log.checkpoint(), out, public=public)
    result = {
        "size": done.size,
        "before": done.since,
        "files": done.files,
        "checkpoint": done.checkpoint.note,
    }
    show(
        result,
        as_json,
        lambda: click.echo(
            f"{out}: {done.size:,} entries ({done.size - done.since:,} new, {done.files:,} files)"
        ),
    )


@click.command("archive")
@_before
@click.option("--older-than", type=PeriodType(), help="What was recorded longer ago than this, e.g. P90D.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the files go. Default: STORE/archive, where the store is a directory.",
)
@click.option(
    "--ground", default="old bodies leave the database", show_default=True, help="Why; stays in the log."
)
@click.option(
    "--authoriser", default="admin:cli", show_default=True, metavar="SCOPE:NAME", help="Who decided it."
)
@click.option("--evidence", is_flag=True, help="What the pipeline observed too; it stays by default.")
@click.option("--resume", "only_resume", is_flag=True, help="Only finish what an earlier call began.")
@click.option(
    "--moved-to",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Archive nothing; note that files lie in this directory now.",
)
@home_options
@json_option
def archive(
    before: datetime | None,
    older_than: Any,
    folder: Path | None,
    ground: str,
    authoriser: str,
    evidence: bool,
    only_resume: bool,
    moved_to: Path | None,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Move the bodies of old OpenLineage events out of the database into files that still verify.

    Genesis, contracts, policies, consent, rotations and redactions stay. Entries are read as before while
    their file is where it was written. Killed at any point, call it again.
    """
    from governance.log.archives import archive as archiving

    if sum((before is not None, older_than is not None, only_resume, moved_to is not None)) != 1:
        raise click.UsageError("give one of --before, --older-than, --resume and --moved-to")
    workspace = _opened(home, store)
    if moved_to is not None:
        rows = archiving.relocate(workspace.log, moved_to)
    elif only_resume:
        archiving.resume(workspace.log)
        rows = []
    else:
        cutoff = before or older_than.before(workspace.clock())
        chosen = archiving.Selection(cutoff, evidence=evidence)
        target = folder or _beside(workspace)
        rows = archiving.archive(workspace.log, target, chosen, ground=ground, authoriser=authoriser)
    left = workspace.log.archives.settle()
    listed = [{"first": r.first, "last": r.stop - 1, "entry": r.leaf, "file": str(r.path)} for r in rows]

    def text() -> None:
        for row in listed:
            click.echo(
                f"{row['file']}: entries {row['first']:,} to {row['last']:,}, named by entry {row['entry']:,}"
            )
        if not listed:
            click.echo("nothing left to do" if only_resume else "no file: nothing that old, or nothing there")
        _say_left(left)

    show({"archives": listed, "not_deleted": left}, as_json, text)


@click.command("retention")
@home_options
@json_option
def retention(home: str | None, store: str | None, as_json: bool) -> None:
    """What each regime of the policy asks, and which archived bodies may go or are due."""
    from governance.log.archives.retention import kept

    workspace = _opened(home, store)
    limits = _limits(workspace)
    asks = [
        {
            "regime": r.regime,
            "at_least": str(r.at_least) if r.at_least else None,
            "at_most": str(r.at_most) if r.at_most else None,
            "recorded_before": [
                p.before(limits.now).isoformat(timespec="seconds") if p else None
                for p in (r.at_least, r.at_most)
            ],
        }
        for r in limits.retention
    ]
    archives = [
        {
            "first": k.archive.first,
            "last": k.archive.stop - 1,
            "bodies": k.bodies,
            "oldest": k.oldest.isoformat(timespec="seconds"),
            "newest": k.newest.isoformat(timespec="seconds"),
            "state": "due" if k.due else "may go" if k.may_go else "kept",
            "file": str(k.archive.path),
        }
        for k in kept(workspace.log, limits)
    ]

    def text() -> None:
        if not asks:
            click.echo("the policy has no `retention`: nothing may be pruned")
        else:
            table(
                ("regime", "at least", "at most"),
                [(a["regime"], a["at_least"], a["at_most"]) for a in asks],
            )
        for line in limits.conflicts:
            click.secho(f"  {line}", fg="yellow")
        columns = ("first", "last", "bodies", "oldest", "newest", "state", "file")
        table(columns, [[a[c] for c in columns] for a in archives])

    show({"asks": asks, "conflicts": list(limits.conflicts), "archives": archives}, as_json, text)


@click.command("prune")
@click.option(
    "--ground", required=True, help="Why, e.g. `GDPR Art. 5(1)(e)`; stays in the log: no personal data."
)
@_authoriser
@_before
@click.option(
    "--shorten",
    metavar="GROUND",
    help="Go below the policy's periods, on this ground. The leaf says so, and below which.",
)
@home_options
@json_option
def prune(
    ground: str,
    authoriser: str,
    before: datetime | None,
    shorten: str | None,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Delete archived bodies that are due, file by file; a leaf says what, why and who.

    Envelopes and proofs stay and the log verifies as before. With --before, what is older than that goes
    instead of what is due; what the policy still protects is refused without --shorten.
    """
    from governance.log.archives.retention import prune as carry_out

    workspace = _opened(home, store)
    limits = _limits(workspace)
    rows = carry_out(
        workspace.log,
        limits,
        ground=ground,
        authoriser=authoriser,
        policy_digest=workspace.policy.digest,
        before=before,
        shorten=shorten,
    )
    left = workspace.log.storage.leftovers()
    listed = [{"first": r.first, "last": r.stop - 1, "entry": r.pruned, "file": str(r.path)} for r in rows]

    def text() -> None:
        for row in listed:
            click.echo(
                f"entries {row['first']:,} to {row['last']:,}: bodies deleted, see entry {row['entry']:,}"
            )
        if not listed:
            click.echo("nothing is due" if before is None else "nothing archived is older than that")
        _say_left(left)

    show({"pruned": listed, "not_deleted": left}, as_json, text)


@click.command("redact")
@click.argument("index", type=click.IntRange(min=0))
@click.option(
    "--ground", required=True, help="Why, e.g. `GDPR Art. 17(1)(b)`; stays in the log: no personal data."
)
@_authoriser
@home_options
@json_option
def redact(
    index: int, ground: str, authoriser: str, home: str | None, store: str | None, as_json: bool
) -> None:
    """Remove the body of entry INDEX for good, from the database or its archive.

    Its envelope stays, the log still verifies, and the same body is refused from then on.
    """
    workspace = _opened(home, store)
    leaf = workspace.log.redact(index, ground, authoriser)
    size = workspace.log.checkpoint().size
    storage = workspace.log.storage
    left = storage.leftovers()
    result = {
        "index": index,
        "redaction": leaf,
        "signed_size": size,
        "residue": storage.residue,
        "not_deleted": left,
    }

    def text() -> None:
        click.echo(f"the body of entry {index:,} is gone; entry {leaf:,} says why")
        if result["residue"]:
            click.secho(f"  its bytes may remain in {result['residue']}", fg="yellow")
        _say_left(left)

    show(result, as_json, text)


def checkpoint_of(bundle: Path) -> str:
    """The checkpoint that a report's bundle holds, as signed."""
    from governance.audit.bundle import CHECKPOINT
    from governance.audit.checking.container import read
    from governance.errors import AuditError

    note = read(bundle).members.get(CHECKPOINT)
    if note is None:
        raise AuditError("GOV-801", f"{bundle.name} holds no checkpoint", "name the bundle that was issued")
    return note.decode("utf-8", "replace")


def verify_export(
    folder: Path, key: str | None, notes: list[str], bundles: tuple[Path, ...], as_json: bool
) -> None:
    """`governance log verify --tiles`: exits 1 when the export is not what was signed."""
    from governance.audit.checking.container import read
    from governance.audit.rotations import read_rotations
    from governance.log.export import verify_tiles

    if key is None:
        raise click.UsageError("--tiles needs --key: the public key that you pinned")
    handovers = [handover for bundle in bundles for handover in read_rotations(read(bundle).members)]
    report = verify_tiles(folder, key, notes, handovers=handovers)
    result = {
        "ok": report.ok,
        "origin": report.origin,
        "size": report.size,
        "root": report.root.hex(),
        "first_bad": report.first_bad,
        "reason": report.reason,
        "checkpoints_compared": report.compared,
        "cannot_know": ["the bodies: an export holds envelopes only"],
    }

    def text() -> None:
        said = "verified" if report.ok else "not verified"
        click.secho(f"{said}: {report.size:,} entries of {report.origin}", fg="green" if report.ok else "red")
        if report.reason:
            click.echo(f"  {report.reason}")
        click.echo("  cannot know: the bodies: an export holds envelopes only")

    show(result, as_json, text)
    if not report.ok:
        raise SystemExit(1)


def _opened(home: str | None, store: str | None) -> Workspace:
    from governance.pipeline.workspace import Workspace

    return Workspace.open(settings(home, store))


def _limits(workspace: Workspace) -> Limits:
    from governance.log.archives.retention import Limits

    return Limits.of(workspace.policy.retention, workspace.clock())


def _beside(workspace: Workspace) -> Path:
    directory = _directory(workspace.log)
    if directory is None:
        raise click.UsageError("a store on PostgreSQL has no directory: give --dir")
    return directory / "archive"


def _directory(log: Log) -> Path | None:
    return getattr(log.storage, "directory", None)


def _say_left(left: list[str]) -> None:
    for path in left:
        click.secho(
            f"  {path} is not where it was written and could not be deleted: delete every copy", fg="red"
        )
