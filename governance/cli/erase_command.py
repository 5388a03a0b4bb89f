"""`governance erase`: a subject asks to be forgotten."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from governance.cli.options import home_options, json_option, settings, show, table
from governance.model.erasure import GROUNDS

if TYPE_CHECKING:
    from governance.pipeline.workspace import Workspace
    from governance.rights import ErasurePlan


@click.command("erase")
@click.argument("subject", required=False)
@click.option("--domain", help="Whose identifiers they are, e.g. patient.")
@click.option("--subjects-file", type=click.File("r"), help="One identifier a line; - is standard input.")
@click.option("--request", "name", help="The number under which the request is filed; no personal data.")
@click.option("--reason", "ground", type=click.Choice(list(GROUNDS)), help="Why; stands in the certificate.")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would happen, and stop.")
@click.option("--yes", is_flag=True, help="Carry the plan out without asking.")
@click.option("--approved", metavar="DIGEST", help="Carry it out if it is still the plan of this digest.")
@click.option(
    "--notices", type=click.Path(path_type=Path), help="New directory: what to tell each recipient."
)
@click.option("--finish", "finishing", is_flag=True, help="Rewrite segments, destroy keys, search; now.")
@click.option("--status", is_flag=True, help="Show requests and their deadlines.")
@home_options
@json_option
def command(
    subject: str | None,
    domain: str | None,
    subjects_file: Any,
    name: str | None,
    ground: str | None,
    only_plan: bool,
    yes: bool,
    approved: str | None,
    notices: Path | None,
    finishing: bool,
    status: bool,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Erase SUBJECT, by identifier; `-` reads it from standard input, so that no shell keeps it.

    At once its rows are left out of reads, disclosures and new passes, and the vault's link is destroyed.
    With --finish, within the policy's days, segments are rewritten without it, the old keys are destroyed
    and every registered place is searched. --finish without SUBJECT finishes all that was asked for, or
    the one --request.
    """
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    if status:
        _status(workspace, as_json)
        return
    identifiers = _identifiers(subject, subjects_file)
    if identifiers is None and not finishing:
        raise click.UsageError(
            "name a SUBJECT, or - to read it from standard input, or use --finish or --status"
        )
    result: dict[str, Any] = {}
    if identifiers is not None:
        if domain is None:
            raise click.UsageError("--domain says whose identifiers they are")
        if only_plan:
            _show_plan(workspace, domain, identifiers, as_json)
            return
        if name is None or ground is None:
            raise click.UsageError("an erasure needs --request and --reason")
        result = _request(workspace, domain, identifiers, name, ground, yes, approved, notices, as_json)
    if finishing:
        from governance.rights import finish

        known = {domain: identifiers} if identifiers is not None and domain else None
        wanted = [name] if name and result.get("subjects", 1) else None
        ended = finish(workspace, requests=wanted, identifiers=known) if result.get("subjects", 1) else []
        result["finished"] = [
            {key: facts[key] for key in ("request", "found", "held", "complete", "places")} for facts in ended
        ]
    show(result, as_json, lambda: _say(result))


def _request(
    workspace: Workspace,
    domain: str,
    identifiers: Any,
    name: str,
    ground: str,
    yes: bool,
    approved: str | None,
    notices: Path | None,
    as_json: bool,
) -> dict[str, Any]:
    from governance.pipeline.local import local_recorder
    from governance.rights import request_erasure

    def approve(plan: ErasurePlan) -> bool:
        if approved is not None:
            return plan.digest == approved
        if yes:
            return True
        if as_json or not sys.stdin.isatty():
            return False
        _print_plan(plan)
        return click.confirm("erase?", default=False)

    plan = request_erasure(
        workspace,
        local_recorder(workspace, "erasure", name),
        request=name,
        domain=domain,
        identifiers=identifiers,
        ground=ground,
        approve=approve,
    )
    if notices is not None:
        _write_notices(workspace, name, notices)
    if plan is None:
        return {"request": name, "state": "begun before"}
    return {"request": name, "plan_digest": plan.digest, **plan.facts}


def _identifiers(subject: str | None, subjects_file: Any) -> Any:
    import pyarrow as pa

    if subject is not None and subjects_file is not None:
        raise click.UsageError("name SUBJECT or --subjects-file, not both")
    if subjects_file is None and subject is None:
        return None
    lines = [subject] if subject not in (None, "-") else (subjects_file or sys.stdin)
    named = [line.strip() for line in lines if line and line.strip()]
    if not named:
        raise click.UsageError("no identifier was given")
    return pa.array(named, pa.string())


def _show_plan(workspace: Workspace, domain: str, identifiers: Any, as_json: bool) -> None:
    from governance.rights import plan_erasure

    plan = plan_erasure(workspace, domain, identifiers)
    show({"plan_digest": plan.digest, **plan.facts}, as_json, lambda: _print_plan(plan))


def _print_plan(plan: ErasurePlan) -> None:
    facts = plan.facts
    click.echo(
        f"{facts['subjects']} subjects known in domain {facts['domain']}, {facts['unknown']} unknown, "
        f"{facts['erased_before']} erased before, {facts['held']} under a legal hold"
    )
    for title, rows in (
        ("rows", facts["datasets"]),
        ("made from them", facts["derived"]),
        ("recipients to tell", facts["recipients"]),
        ("legal holds", facts["holds"]),
        ("what remains", facts["remains"]),
    ):
        if rows:
            table(tuple(rows[0]), [[str(value) for value in row.values()] for row in rows], title)
    click.echo(f"plan {plan.digest}")


def _write_notices(workspace: Workspace, name: str, directory: Path) -> None:
    """For each recipient the pseudonyms it knows the subjects by, and of which disclosures (GDPR Art. 19)."""
    from governance.durable import replace_file
    from governance.pipeline.tombstones import kept_request

    request = kept_request(workspace.settings.home, workspace.keyring, name)
    directory.mkdir(mode=0o700)
    if request is None:
        return
    for recipient, names in request.recipients.items():
        told = [row for row in request.planned["recipients"] if row["recipient"] == recipient]
        notice = {
            "request": name,
            "recipient": recipient,
            "erase": [row.tobytes().hex() for row in names if row.any()],
            "disclosures": told,
        }
        replace_file(directory / f"{recipient}.json", json.dumps(notice, indent=2).encode())


def _status(workspace: Workspace, as_json: bool) -> None:
    from governance.rights import erasure_status

    rows = erasure_status(workspace)
    columns = ("request", "state", "subjects", "held", "requested_at", "due_at", "days_left", "pending")
    show(rows, as_json, lambda: table(columns, [[row[c] for c in columns] for row in rows]))


def _say(result: dict[str, Any]) -> None:
    if "subjects" in result:
        click.echo(
            f"request {result['request']}: {result['subjects']} subjects erased from reads, "
            f"{result['unknown']} unknown, {result['erased_before']} erased before"
        )
    elif "request" in result:
        click.echo(f"request {result['request']} was begun before and is carried out")
    for ended in result.get("finished", []):
        held = f", {ended['held']} subjects held by law" if ended["held"] else ""
        click.echo(f"request {ended['request']}: none found in the listed places{held}")
    if result.get("finished") == []:
        click.echo("nothing to finish")
