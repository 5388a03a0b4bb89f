"""`governance outbox`: what emitted events wait on this machine, and sending them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from governance.cli.options import home_options, json_option, settings, show, table
from governance.errors import LogError

if TYPE_CHECKING:
    from governance.lineage.emission.outbox import OutboxStatus

F = TypeVar("F", bound=Callable[..., Any])


@click.group("outbox")
def command() -> None:
    """Show and drain emitted events that wait to be sent.

    Processes drain their own outbox, and what others left there, while they run. These commands are for
    what nobody drains any more. They need no key.
    """


def _outbox_option(function: F) -> F:
    return click.option(
        "--outbox", metavar="DIRECTORY", type=click.Path(path_type=Path), help="Default: HOME/outbox."
    )(function)


@command.command("status")
@_outbox_option
@click.option("--check", is_flag=True, help="Exit 1 (GOV-528) when events wait or were refused.")
@home_options
@json_option
def status(outbox: Path | None, check: bool, home: str | None, store: str | None, as_json: bool) -> None:
    """Count what waits, by file, and what was refused."""
    from governance.lineage.emission.outbox import Outbox

    found = Outbox(outbox or settings(home, store).home / "outbox").status()
    show(_told(found), as_json, lambda: _print(found))
    refused = sum(found.dead_letters.values())
    if check and (found.waiting or found.damaged or refused):
        raise LogError(
            "GOV-528",
            f"{found.waiting} events wait, {refused} were refused, {found.damaged} records are damaged",
            "run `governance outbox drain`; the dead-letter file says why events were refused",
        )


@command.command("drain")
@_outbox_option
@click.option("--url", help="Send to this lineage service instead of the store.")
@click.option("--token-file", metavar="FILE", help="The service's bearer token.")
@click.option("--dead-letters", is_flag=True, help="First put refused events back among those waiting.")
@home_options
@json_option
def drain(
    outbox: Path | None,
    url: str | None,
    token_file: str | None,
    dead_letters: bool,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Send what waits to the store, or with --url to the lineage service.

    Exits 1 when the destination takes nothing (what was not sent stays), or with GOV-528 when some
    events were refused, are damaged or wait again. Events held by a living process are sent too; it keeps
    its copy until it has an acknowledgement of its own. Sending twice does no harm.
    """
    from governance.lineage.emission.outbox import Outbox
    from governance.lineage.transport import OutboxConfig, destination_of

    if url and store:
        raise click.UsageError("--url and --store are two destinations: name one")
    if token_file and not url:
        raise click.UsageError("--token-file belongs to --url")
    directory = outbox or settings(home, store).home / "outbox"
    named = {"url": url} if url else {"store": store or settings(home, store).store}
    config = OutboxConfig.from_dict({"outbox": str(directory), "token_file": token_file, **named})
    box = Outbox(directory)
    revived = box.revive() if dead_letters else 0
    try:
        done = box.drain(destination_of(config)(), copy_held=True)
    finally:
        box.release()
    show(
        {**asdict(done), "revived": revived},
        as_json,
        lambda: click.echo(
            f"sent {done.sent}, refused {done.refused}, damaged {done.damaged}, wait again {done.deferred}, "
            f"sent but still held by living processes {done.copied}"
        ),
    )
    if done.refused or done.damaged or done.deferred:
        raise LogError(
            "GOV-528",
            f"{done.refused} events were refused, {done.damaged} records are damaged, {done.deferred} wait again",
            f"see {directory / 'dead-letters.jsonl'}; when the cause is gone, drain with --dead-letters",
        )


def _told(found: OutboxStatus) -> dict[str, Any]:
    return {**asdict(found), "oldest": found.oldest.isoformat() if found.oldest else None}


def _print(found: OutboxStatus) -> None:
    oldest = f", the oldest since {found.oldest:%Y-%m-%d %H:%M:%S} UTC" if found.oldest else ""
    click.echo(f"{found.waiting} events wait{oldest}; {found.size:,} bytes")
    if found.damaged:
        click.echo(f"{found.damaged} records are damaged and will be set aside")
    for code, number in sorted(found.dead_letters.items()):
        click.echo(f"dead letters, {code}: {number}")
    if found.segments:
        table(
            ("file", "events", "bytes", "process", "host", "state"),
            [
                (
                    s.name,
                    s.events,
                    s.size,
                    s.writer.pid if s.writer else None,
                    s.writer.host if s.writer else None,
                    "held by a living process" if s.held else "left behind",
                )
                for s in found.segments
            ],
        )
