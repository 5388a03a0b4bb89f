"""What the command line adds to accountings: which look-up a report for one person needs, and suspensions."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import click

from governance.cli.options import home_options, json_option, settings, show

if TYPE_CHECKING:
    from governance.pipeline.workspace import Workspace


def looked_up(
    workspace: Workspace, kind: str, domain: str, identifier: str, request: str | None
) -> tuple[str, dict[str, Any]]:
    """The kind of a report for one person, and what it is asked; an accounting says what is suspended, to whoever makes it."""
    from governance.rights.accounting_answer import accounting_of
    from governance.rights.look_ups import ACCOUNTING, look_up

    if kind not in ("hipaa-528", ACCOUNTING):
        return kind, look_up(workspace, kind, domain, identifier)
    answer = accounting_of(workspace, domain, identifier, request=request, by=getpass.getuser())
    for recipient, until in sorted(answer.suspended.items()):
        click.secho(
            f"left out until {until[:10]}, and not to be told: disclosures to {recipient} (45 CFR 164.528(a)(2))",
            fg="yellow",
            err=True,
        )
    return ACCOUNTING, answer.asked


@click.command("suspend")
@click.argument("name")
@click.option("--recipient", required=True, help="The agency, as the policy names it.")
@click.option(
    "--until", required=True, metavar="INSTANT", help="As the agency states it: 2026-06-30T00:00:00Z."
)
@click.option(
    "--written/--oral", required=True, help="How it was stated; an oral statement holds 30 days at most."
)
@home_options
@json_option
def suspend(
    name: str, recipient: str, until: str, written: bool, home: str | None, store: str | None, as_json: bool
) -> None:
    """Suspend the accounting of request NAME for an agency that asked for it (45 CFR 164.528(a)(2)).

    Disclosures to it are left out of the individual's accounting, which does not tell that anything is.
    """
    from governance.model.canonical import instant
    from governance.pipeline.workspace import Workspace
    from governance.rights.suspensions import suspend_accounting

    try:
        ends = instant(until)
    except ValueError:
        raise click.BadParameter(
            "not RFC 3339 with a zone, such as 2026-06-30T00:00:00Z", param_hint="--until"
        ) from None
    workspace = Workspace.open(settings(home, store))
    made = suspend_accounting(workspace, name, recipient, until=ends, written=written, by=getpass.getuser())
    said = {
        "request": made.name,
        "recipient": recipient,
        "until": until,
        "log_index": made.steps[-1]["log_index"],
    }
    show(
        said,
        as_json,
        lambda: click.echo(f"request {name}: accounting to {recipient} suspended until {until}"),
    )
