"""`governance log`: the tamper-evident log."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from governance.cli import log_keep, log_trust
from governance.cli.options import home_options, json_option, settings, show, table


@click.group("log")
def command() -> None:
    """Show and verify the tamper-evident log."""


command.add_command(log_trust.rotate_key)
command.add_command(log_trust.adopt)
command.add_command(log_trust.witness)
command.add_command(log_trust.timestamp)
command.add_command(log_keep.export)
command.add_command(log_keep.archive)
command.add_command(log_keep.retention)
command.add_command(log_keep.prune)
command.add_command(log_keep.redact)


@command.command("status")
@home_options
@json_option
def status(home: str | None, store: str | None, as_json: bool) -> None:
    """Size, origin, newest signed checkpoint and public key."""
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    log = workspace.log
    checkpoint = log.checkpoint()
    state = {
        "origin": log.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "public_key": workspace.vkey,
        "checkpoint": checkpoint.note,
    }
    show(state, as_json, lambda: table(("", "value"), list(state.items())))


@command.command("verify")
@click.option("--key", help="Pinned public key of the log (text or file). Without it: this home's own.")
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An older checkpoint that the log must still be consistent with; repeat for more.",
)
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A report's bundle, whose checkpoint the log must still be consistent with; repeat for more."
    " Its key rotations lead --tiles from an older pinned key.",
)
@click.option("--files", is_flag=True, help="Read every file of the released versions too.")
@click.option(
    "--archives",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where archive files lie, if not where they were written to; repeat for more.",
)
@click.option("--no-archives", is_flag=True, help="Leave archives unread; the verdict says so.")
@click.option(
    "--tiles",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Verify this export instead of the store, with --key alone: offline, no home.",
)
@log_trust.trust_options
@home_options
@json_option
def verify(
    key: str | None,
    checkpoints: tuple[Path, ...],
    reports: tuple[Path, ...],
    files: bool,
    archives: tuple[Path, ...],
    no_archives: bool,
    tiles: Path | None,
    witnesses: tuple[str, ...],
    needed: int | None,
    authorities: tuple[Path, ...],
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Re-derive every entry, node and root; name the first bad entry; say what cannot be known.

    Checkpoints kept outside the log are gathered: the signer's memory and each released manifest, besides
    those given. With them, the pointer, manifest and contract of each released version are held against the
    log. Archive files are read as well. Exits 1 when something is wrong, 3 when nothing is but no key was pinned.
    """
    from governance.errors import GovernanceError
    from governance.log import open_storage, verify_log
    from governance.log.archives.archives import Archives
    from governance.pipeline.checkpoints import Outside, outside_the_log
    from governance.pipeline.workspace import Workspace

    notes = [*(p.read_text("utf-8") for p in checkpoints), *map(log_keep.checkpoint_of, reports)]
    if tiles is not None:
        log_keep.verify_export(tiles, key_text(key) if key else None, notes, reports, as_json)
        return
    chosen = settings(home, store)
    outside = Outside()
    unread: list[str] = []
    pinned = key_text(key) if key else None
    if pinned is None or chosen.kek:
        try:
            workspace = Workspace.open(chosen)
            pinned = pinned or workspace.vkey
            workspace.log.archives = Archives(workspace.log.storage, archives)
            outside = outside_the_log(workspace, files=files)
        except GovernanceError as fault:
            # Altered so far that the home does not open: the pinned key still finds where.
            if pinned is None:
                raise
            if no_archives and fault.code == "GOV-516":
                unread.append(f"whether what was released is in order: {fault.message}")
                remembered = workspace.signer.last()
                notes += [remembered.note] if remembered else []
            else:
                outside.faults.append(f"{fault.code} {fault.message}")
    trust = log_trust.pinned_trust(chosen, witnesses, needed, authorities, own=key is None)
    folders = None if no_archives else archives
    report = verify_log(
        open_storage(chosen.store), pinned, [*notes, *outside.notes], trust=trust, archives=folders
    )
    ok = report.ok and not outside.faults
    result = {
        "ok": ok,
        "verdict": report.verdict,
        "pinned": key is not None,
        "size": report.size,
        "root": report.root.hex() if report.root else None,
        "first_bad": report.first_bad,
        "faults": [*(str(f.reason) for f in report.faults), *outside.faults],
        "checkpoints_compared": report.compared,
        "unsigned_entries": report.unsigned,
        "redacted": report.redacted,
        "archived": report.archived,
        "pruned": report.pruned,
        "cannot_know": [*report.unknown, *unread],
        "keys": [str(term.key) for term in report.keys],
        **report.vouched.to_json(),
    }

    def text() -> None:
        click.secho(f"{report.verdict}: {report.size:,} entries", fg="green" if report.ok else "red")
        for fault in report.faults:
            click.echo(f"  {fault.reason}")
        for line in outside.faults:
            click.secho(f"  {line}", fg="red")
        for line in (*report.unknown, *unread):
            click.echo(f"  cannot know: {line}")
        if key is None:
            click.secho("  no key was pinned: this only shows that the home agrees with itself", fg="yellow")

    show(result, as_json, text)
    if not ok:
        raise SystemExit(1)
    if key is None:
        raise SystemExit(3)


@command.command("restore")
@click.argument("dataset")
@home_options
@json_option
def restore(dataset: str, home: str | None, store: str | None, as_json: bool) -> None:
    """Point DATASET at the version that the log released last, after its pointer was altered or lost.

    The manifest of that version must be there and verify. The log keeps that it was done.
    """
    from governance.pipeline.pointer import restore_pointer
    from governance.pipeline.workspace import Workspace

    newest = restore_pointer(Workspace.open(settings(home, store)), dataset)
    done = {"dataset": dataset, "version": newest.version, "manifest_digest": newest.manifest_digest}
    show(done, as_json, lambda: click.echo(f"{dataset} points at {newest.version}"))


@command.command("show")
@click.argument("index", type=int)
@home_options
def show_entry(index: int, home: str | None, store: str | None) -> None:
    """Print the envelope and body of one entry."""
    from governance.pipeline.workspace import Workspace

    entry = Workspace.open(settings(home, store)).log.entry(index)
    click.echo(entry.leaf.decode())
    if entry.body is None:
        click.echo("(body redacted or pruned)")
    else:
        try:
            click.echo(entry.body.decode())
        except UnicodeDecodeError:
            click.echo(base64.b64encode(entry.body).decode())


@command.command("key")
@home_options
def public_key(home: str | None, store: str | None) -> None:
    """Print the log's public key, alone: what an auditor pins."""
    from governance.pipeline.workspace import Workspace

    click.echo(Workspace.open(settings(home, store)).vkey)


def key_text(key: str) -> str:
    """A public key given as text or as the name of a file that holds it."""
    path = Path(key)
    return path.read_text("utf-8").strip() if "+" not in key and path.is_file() else key.strip()
