"""`governance request`: the register of data subjects' requests and their statutory clocks."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import click

from governance.cli.accounting import suspend
from governance.cli.options import home_options, json_option, settings, show, table

if TYPE_CHECKING:
    from governance.pipeline.workspace import Workspace
    from governance.rights.requests import SubjectRequest

_COLUMNS = (
    "request",
    "kind",
    "regime",
    "received_at",
    "identity",
    "due_at",
    "days_left",
    "overdue",
    "decision",
)


@click.group("request")
def command() -> None:
    """Enter requests of data subjects, state what was done about them, see which clocks run out."""


@command.command("open")
@click.argument("name")
@click.option("--kind", required=True, help="access, erasure, portability, objection, opt-out …")
@click.option("--regime", required=True, help="GDPR, HIPAA, CCPA …; the clocks are in statutory-clocks.yaml.")
@click.option("--domain", required=True, help="Whose request it is, e.g. patient.")
@click.option("--received", help="When it came in: 2026-01-31T12:00:00Z. Default: now.")
@click.option("--manner", help="How it was made, e.g. web form; no personal data.")
@home_options
@json_option
def open_(
    name: str,
    kind: str,
    regime: str,
    domain: str,
    received: str | None,
    manner: str | None,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Enter request NAME, the number of its file. No personal data: it stands in the log."""
    from governance.model.canonical import instant
    from governance.rights.requests import open_request

    try:
        received_at = instant(received) if received else None
    except ValueError:
        raise click.BadParameter(
            "not RFC 3339 with a zone, such as 2026-01-31T12:00:00Z", param_hint="--received"
        ) from None
    workspace = _workspace(home, store)
    made = open_request(
        workspace, name, kind=kind, regime=regime, domain=domain, received_at=received_at, manner=manner, by=_caller()
    )  # fmt: skip
    _show(workspace, made, as_json)


@command.command("confirm")
@click.argument("name")
@home_options
@json_option
def confirm_(name: str, home: str | None, store: str | None, as_json: bool) -> None:
    """State that receipt was confirmed to who asks."""
    from governance.rights.requests import confirm

    workspace = _workspace(home, store)
    _show(workspace, confirm(workspace, name, by=_caller()), as_json)


@command.command("tell")
@click.argument("name")
@click.argument("recipient")
@click.option(
    "--role",
    required=True,
    type=click.Choice(["service-provider", "contractor", "third-party", "recipient"]),
    help="What the recipient is.",
)
@click.option("--impossible", help="Why nobody could be told; no personal data.")
@home_options
@json_option
def tell_(
    name: str,
    recipient: str,
    role: str,
    impossible: str | None,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """State that the request was passed on to RECIPIENT, who has the data, or why it could not be."""
    from governance.rights.requests import tell

    workspace = _workspace(home, store)
    _show(workspace, tell(workspace, name, recipient, role, impossible=impossible, by=_caller()), as_json)


@command.command("verify")
@click.argument("name")
@click.option("--result", type=click.Choice(["verified", "refuted", "more-asked"]), default="verified")
@click.option("--method", required=True, help="How it was checked, e.g. portal login; no personal data.")
@home_options
@json_option
def verify(name: str, result: str, method: str, home: str | None, store: str | None, as_json: bool) -> None:
    """State the outcome of the check of who asks."""
    from governance.rights.requests import check_identity

    workspace = _workspace(home, store)
    _show(workspace, check_identity(workspace, name, result, method=method, by=_caller()), as_json)


@command.command("extend")
@click.argument("name")
@click.option("--reason", required=True, help="Why: complexity, number of requests; told to who asks.")
@home_options
@json_option
def extend_(name: str, reason: str, home: str | None, store: str | None, as_json: bool) -> None:
    """Take the one extension that the law allows, before the period is over."""
    from governance.rights.requests import extend

    workspace = _workspace(home, store)
    _show(workspace, extend(workspace, name, reason=reason, by=_caller()), as_json)


@command.command("decide")
@click.argument("name")
@click.option(
    "--decision",
    required=True,
    type=click.Choice(["granted", "partly-granted", "refused", "withdrawn"]),
)
@click.option("--reason", required=True, help="On what ground; no personal data.")
@click.option(
    "--evidence", multiple=True, help="sha256:… of a report, log:INDEX, or an erasure's name; repeat."
)
@home_options
@json_option
def decide_(
    name: str,
    decision: str,
    reason: str,
    evidence: tuple[str, ...],
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Decide a request; the legal holds that stand in its way are stated with it."""
    from governance.rights.requests import decide

    workspace = _workspace(home, store)
    made = decide(workspace, name, decision, reason=reason, evidence=evidence, by=_caller())
    _show(workspace, made, as_json)


command.add_command(suspend)


@command.command("list")
@click.option("--overdue", is_flag=True, help="Only those that are, or were decided, too late.")
@home_options
@json_option
def list_(overdue: bool, home: str | None, store: str | None, as_json: bool) -> None:
    """Every request, those due first on top."""
    from governance.rights.requests import read_requests

    workspace = _workspace(home, store)
    now = workspace.clock()
    rows = [request.to_json(now) for request in read_requests(workspace.log).values()]
    rows = [row for row in rows if row["overdue"] or not overdue]
    rows.sort(key=lambda row: (row["decision"] is not None, row["due_at"] or "9", row["request"]))
    show(rows, as_json, lambda: table(_COLUMNS, [[row[c] for c in _COLUMNS] for row in rows]))


@command.command("show")
@click.argument("name")
@home_options
@json_option
def show_(name: str, home: str | None, store: str | None, as_json: bool) -> None:
    """A request with every step that the log has of it."""
    from governance.rights.requests import request_named

    workspace = _workspace(home, store)
    request = request_named(workspace.log, name)
    said = {**request.to_json(workspace.clock()), "steps": request.steps}

    def text() -> None:
        _say(said)
        steps = [[s["log_index"], s["step"], s["at"], s["by"]] for s in request.steps]
        table(("log entry", "step", "at", "by"), steps)

    show(said, as_json, text)


def _workspace(home: str | None, store: str | None) -> Workspace:
    from governance.pipeline.workspace import Workspace

    return Workspace.open(settings(home, store))


def _caller() -> str:
    return getpass.getuser()


def _show(workspace: Workspace, request: SubjectRequest, as_json: bool) -> None:
    said = request.to_json(workspace.clock())
    show(said, as_json, lambda: _say(said))


def _say(said: dict[str, Any]) -> None:
    late = " OVERDUE" if said["overdue"] else ""
    due = said["due_at"] or "once who asks is verified"
    click.echo(
        f"request {said['request']}: {said['kind']} under {said['regime']}, identity {said['identity']}, "
        f"due {due} ({said['law']}){late}, {said['decision'] or 'not decided'}"
    )
