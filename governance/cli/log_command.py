"""`governance log`: the tamper-evident log."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from governance.cli.options import home_options, json_option, settings, show, table


@click.group("log")
def command() -> None:
    """Show and verify the tamper-evident log."""


@command.command("status")
@home_options
@json_option
def status(home: str | None, store: str | None, as_json: bool) -> None:
    """Size, origin, newest signed checkpoint and public key."""
    from governance.pipeline.workspace import Workspace

    log = Workspace.open(settings(home, store)).log
    checkpoint = log.checkpoint()
    state = {
        "origin": log.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "public_key": log.vkey,
        "checkpoint": checkpoint.note,
    }
    show(state, as_json, lambda: table(("", "value"), [(k, v) for k, v in state.items()]))


@command.command("verify")
@click.option("--key", help="Pinned public key of the log (text or file). Without it: this home's own.")
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An older checkpoint that the log must still be consistent with; repeat for more.",
)
@home_options
@json_option
def verify(
    key: str | None,
    checkpoints: tuple[Path, ...],
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Re-derive every entry, node and root; name the first bad entry; say what cannot be known.

    Checkpoints kept outside the log are gathered: the signer's memory and each released manifest.
    """
    from governance.log import open_storage, verify_log
    from governance.pipeline.checkpoints import pinned_checkpoints

    chosen = settings(home, store)
    storage = open_storage(chosen.store)
    pinned = key_text(key) if key else None
    gathered, own = pinned_checkpoints(chosen)
    report = verify_log(
        storage, pinned or own, [*gathered, *(p.read_text("utf-8") for p in checkpoints)]
    )

    def text() -> None:
        click.secho(report.summary(), fg="green" if report.ok else "red")
        for line in report.unknown:
            click.echo(f"  cannot know: {line}")

    show(report.to_json(), as_json, text)
    if not report.ok:
        raise SystemExit(1)
    if pinned is None:
        raise SystemExit(3 if key is None and not own else 0)


@command.command("show")
@click.argument("index", type=int)
@home_options
def show_entry(index: int, home: str | None, store: str | None) -> None:
    """Print the envelope and body of one entry."""
    from governance.log import open_storage

    entry = open_storage(settings(home, store).store).entry(index)
    click.echo(entry.leaf.decode())
    if entry.body is None:
        click.echo("(body redacted)")
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

    click.echo(Workspace.open(settings(home, store)).log.vkey)


def key_text(key: str) -> str:
    """A public key given as text or as the name of a file that holds it."""
    path = Path(key)
    return path.read_text("utf-8").strip() if "+" not in key and path.is_file() else key.strip()
