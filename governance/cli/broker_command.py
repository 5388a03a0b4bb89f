"""`governance broker`: the grants of a running key broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from governance.cli.options import json_option, show, table

if TYPE_CHECKING:
    from governance.keys.broker_service import BrokerService

F = TypeVar("F", bound=Callable[..., Any])


@click.group("broker")
def command() -> None:
    """See and end grants of a key broker that runs; `governance serve --broker` is one."""


def _where(function: F) -> F:
    function = click.option(
        "--token-file",
        required=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File with a token of the server, scope admin.",
    )(function)
    return click.option("--url", required=True, metavar="https://HOST:PORT", help="The broker.")(function)


@command.command("grants")
@_where
@json_option
def grants(url: str, token_file: Path, as_json: bool) -> None:
    """The grants under which keys can be had now."""
    live = _service(url, token_file).ask("GET", "/grants", None)["grants"]
    headers = (
        "grant_id",
        "workload",
        "assurance",
        "operation",
        "dataset",
        "version",
        "purpose",
        "expires_at",
    )
    show(live, as_json, lambda: table(headers, [[grant.get(h) for h in headers] for grant in live]))


@command.command("revoke")
@click.argument("grant_id", metavar="ID")
@_where
def revoke(grant_id: str, url: str, token_file: Path) -> None:
    """End a grant, by the id that `grants` shows. What was handed out already is not called back."""
    from urllib.parse import quote

    _service(url, token_file).ask("DELETE", f"/grants/{quote(grant_id, safe='')}", None)
    click.echo(f"revoked {grant_id}")


def _service(url: str, token_file: Path) -> BrokerService:
    from governance.keys.broker_service import SCHEME, BrokerService

    return BrokerService(SCHEME + url.removeprefix(SCHEME), token_file)
