"""`governance token`: the server's bearer tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from governance.cli.options import home_options, json_option, settings, show, table
from governance.errors import AccessError

if TYPE_CHECKING:
    from governance.log import Log

_ADMIN = "admin:cli"
_UNITS = {"h": 1 / 24, "d": 1, "w": 7}


@click.group("token")
def command() -> None:
    """Make, list and revoke the server's bearer tokens."""


@command.command("create")
@click.option(
    "--scopes", required=True, help="Comma-separated: ingest, evidence, read, audit, rights, keys, admin."
)
@click.option("--name", default="token", show_default=True, help="Who will use it; stands in the log.")
@click.option("--namespace", "namespaces", multiple=True, help="Only these; a trailing * matches any rest.")
@click.option("--expires", metavar="90d|12h|2w|DATE", help="When it ends. Default: never.")
@home_options
def create(
    scopes: str,
    name: str,
    namespaces: tuple[str, ...],
    expires: str | None,
    home: str | None,
    store: str | None,
) -> None:
    """Print a new token, once, alone. The log keeps its digest only."""
    from governance.server.tokens import create_token

    until = _instant(expires) if expires else None
    with _log(home, store) as log:
        made = create_token(
            log,
            name=name,
            scopes=[scope.strip() for scope in scopes.split(",")],
            namespaces=namespaces or None,
            expires_at=until,
            principal=_ADMIN,
        )
    click.echo(made)


@command.command("list")
@home_options
@json_option
def list_(home: str | None, store: str | None, as_json: bool) -> None:
    """Every token ever made: its id, name, rights and end. Never the token."""
    from governance.server.tokens import issued_tokens

    with _log(home, store) as log:
        issued = issued_tokens(log)
    headers = ("id", "name", "scopes", "namespaces", "expires_at", "log_index", "revoked_by")
    rows = [
        [", ".join(cell) if isinstance(cell := token[h], list) else cell for h in headers] for token in issued
    ]
    show(issued, as_json, lambda: table(headers, rows))


@command.command("revoke")
@click.argument("token_id", metavar="ID")
@home_options
def revoke(token_id: str, home: str | None, store: str | None) -> None:
    """End a token, by the id that `list` shows. Running servers notice within a second."""
    from governance.server.tokens import issued_tokens, revoke_token

    with _log(home, store) as log:
        if all(token["id"] != token_id for token in issued_tokens(log)):
            raise AccessError("GOV-612", "there is no such token", "take an id from `governance token list`")
        revoke_token(log, token_id, _ADMIN)
    click.echo(f"revoked {token_id}")


@contextmanager
def _log(home: str | None, store: str | None) -> Iterator[Log]:
    """The log: by --store alone, or the home's."""
    from governance.log import Log, open_storage
    from governance.pipeline.workspace import now

    location = store if store and not home else settings(home, store).store
    log = Log(open_storage(location), signer=None, clock=now)
    try:
        yield log
    finally:
        log.close()


def _instant(text: str) -> datetime:
    """``90d``, ``12h``, ``2w`` from now, or an ISO 8601 date or instant (UTC where it has no zone)."""
    from governance.pipeline.workspace import now

    if matched := re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", text):
        return now() + timedelta(days=int(matched[1]) * _UNITS[matched[2]])
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter("use 90d, 12h, 2w or an ISO 8601 date", param_hint="--expires") from None
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    if aware <= now():
        raise click.BadParameter("it is in the past", param_hint="--expires")
    return aware
