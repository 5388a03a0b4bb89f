"""`governance token`: the server's bearer tokens."""

from __future__ import annotations

from datetime import timedelta

import click

from governance.cli.options import home_options, settings

_ADMIN = "admin:cli"


@click.group("token")
def command() -> None:
    """Make, list and revoke the server's bearer tokens."""


@command.command("create")
@click.option(
    "--scopes", required=True, help="Comma-separated: ingest, evidence, read, audit, rights, admin."
)
@click.option("--name", default="token", show_default=True, help="Who will use it; stands in the log.")
@click.option("--namespace", "namespaces", multiple=True, help="Only these; a trailing * matches any rest.")
@click.option("--days", type=click.IntRange(1), help="Expires after so many days. Default: never.")
@home_options
def create(
    scopes: str,
    name: str,
    namespaces: tuple[str, ...],
    days: int | None,
    home: str | None,
    store: str | None,
) -> None:
    """Print a new token, once, alone. The log keeps its digest only."""
    from governance.log import Log, open_storage
    from governance.pipeline.workspace import now
    from governance.server.tokens import create_token

    chosen = settings(home, store)
    log = Log(open_storage(chosen.store), signer=None, clock=now)
    token = create_token(
        log,
        name=name,
        scopes=[scope.strip() for scope in scopes.split(",")],
        namespaces=namespaces or None,
        expires_at=now() + timedelta(days=days) if days else None,
        principal=_ADMIN,
    )
    log.close()
    click.echo(token)
