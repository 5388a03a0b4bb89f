"""`governance report sign-off`: a person's signed word on a report, and what `verify` and `show` say of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from governance.cli.options import home_options, json_option, settings, show


@click.command("sign-off")
@click.argument("report", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--reviewer", required=True, metavar="NAME", help="Who reviewed it. Stands in the log.")
@click.option(
    "--findings",
    required=True,
    metavar="TEXT",
    help="What was found, also where nothing was; - reads standard input. Stands in the signed file alone, the log has "
    "its digest; still, name no data subject: the file is kept for six years.",
)
@click.option("--follow-up", default="", metavar="TEXT", help="What is to be done; in the signed file alone.")
@click.option(
    "--decision",
    type=click.Choice(("accepted", "follow-up", "rejected")),
    help="Default: follow-up where one is stated, else accepted.",
)
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory to write into."
)
@home_options
@json_option
def command(
    report: Path,
    reviewer: str,
    findings: str,
    follow_up: str,
    decision: str | None,
    out: Path,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Sign off a REPORT, its record or its bundle, after it is made again and is what the log gives."""
    from governance.audit.sign_off import sign_off
    from governance.pipeline.workspace import PRODUCER, Workspace

    workspace = Workspace.open(settings(home, store))
    made = sign_off(
        workspace,
        report,
        out,
        reviewer=reviewer,
        findings=sys.stdin.read() if findings == "-" else findings,
        follow_up=follow_up,
        decision=decision,
        namespace=workspace.settings.namespace,
        producer=PRODUCER,
    )
    said = {"path": str(made.path), "log_index": made.log_index, **made.facts}

    def text() -> None:
        click.echo(f"{made.facts['report']['kind']}: {made.facts['decision']}, log entry {made.log_index}")
        click.echo(f"  {made.path}")

    show(said, as_json, text)


def signed_off(report: Path, record: dict[str, Any]) -> Iterator[str]:
    """What `report show` says of the sign-offs that lie beside a report."""
    from governance.audit.sign_off import beside

    found = beside(report, record)
    for path, about in found:
        yield (
            f"signed off by {about['reviewer']}, {about['reviewed_at'][:10]}: {about['decision']} "
            f"({path.name}; not verified here)"
        )
        yield f"  findings: {about['findings']}"
        if about.get("follow_up"):
            yield f"  follow-up: {about['follow_up']}"
    if not found:
        yield "no sign-off lies beside it"
