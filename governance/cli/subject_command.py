"""`governance subject`: which versions, runs, recipients and models hold a person."""

from __future__ import annotations

import getpass
import sys
from typing import Any

import click

from governance.cli.options import home_options, json_option, settings, show, table


@click.group("subject")
def command() -> None:
    """Ask where a subject is, write membership indexes, let those of old disclosures expire."""


@command.command("where")
@click.argument("subject", metavar="-")
@click.option("--domain", required=True, help="Whose identifiers they are, e.g. patient.")
@click.option("--reason", required=True, help="Why you ask; stands in the log, so no personal data.")
@home_options
@json_option
def where(subject: str, domain: str, reason: str, home: str | None, store: str | None, as_json: bool) -> None:
    """Which versions, runs, recipients and models hold the subject, and what a withdrawal leaves to do.

    The identifier is read from standard input, one a line where one person has several, so that neither a
    shell's history nor a list of processes keeps it. That you asked, and why, stands in the log.
    """
    import pyarrow as pa

    from governance.pipeline.workspace import Workspace
    from governance.rights.subject_lineage import where_is

    if subject != "-":
        raise click.UsageError("write - and give the identifier on standard input")
    named = [line.strip() for line in sys.stdin if line.strip()]
    if not named:
        raise click.UsageError("no identifier was given")
    answer = where_is(
        Workspace.open(settings(home, store)),
        domain,
        pa.array(named, pa.string()),
        reason=reason,
        asker=getpass.getuser(),
    )
    show({**answer.facts, "log_index": answer.log_index}, as_json, lambda: _say(answer.facts))


@command.command("readmit")
@click.argument("subject", metavar="-")
@click.option("--domain", required=True, help="Whose identifiers they are, e.g. customer.")
@click.option(
    "--request", "name", required=True, help="The number under which the wish is filed; no personal data."
)
@click.option("--by", required=True, help="Who decided it: one of the policy's approvers.")
@click.option("--reason", required=True, help="Why; stands in the log, so no personal data.")
@home_options
@json_option
def readmit_command(
    subject: str,
    domain: str,
    name: str,
    by: str,
    reason: str,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Take an erased person off the suppression list, because they ask to come back.

    The identifier is read from standard input, several one a line: all or none. They come back as a stranger, with a
    new pseudonym and without any consent on record. Who decided, and why, stands in the log.
    """
    import pyarrow as pa

    from governance.pipeline.workspace import Workspace
    from governance.rights import readmit

    if subject != "-":
        raise click.UsageError("write - and give the identifier on standard input")
    named = [line.strip() for line in sys.stdin if line.strip()]
    index = readmit(
        Workspace.open(settings(home, store)),
        request=name,
        domain=domain,
        identifiers=pa.array(named, pa.string()),
        by=by,
        reason=reason,
        entered_by=getpass.getuser(),
    )
    show(
        {"log_index": index, "subjects": len(set(named))},
        as_json,
        lambda: click.echo(f"readmitted; the log says so at {index}"),
    )


@command.command("index")
@click.argument("datasets", nargs=-1)
@home_options
@json_option
def index(datasets: tuple[str, ...], home: str | None, store: str | None, as_json: bool) -> None:
    """Write the membership indexes that segments of DATASETS lack; of all by default.

    Releases write them where the keys are in this home; those of an earlier release of the software, and
    those written through a key broker, have none.
    """
    from governance.pipeline.workspace import Workspace
    from governance.rights.holdings import dataset_names
    from governance.rights.membership import write_missing

    workspace = Workspace.open(settings(home, store))
    written = {name: write_missing(workspace, name) for name in (datasets or tuple(dataset_names(workspace)))}
    show(written, as_json, lambda: table(("dataset", "indexes written"), list(written.items())))


@command.command("expire")
@home_options
@json_option
def expire(home: str | None, store: str | None, as_json: bool) -> None:
    """Destroy the membership of disclosures that need no longer be accounted for (45 CFR 164.528: six years)."""
    from governance.pipeline.workspace import Workspace
    from governance.rights.membership import expire_disclosures

    workspace = Workspace.open(settings(home, store))
    expired = expire_disclosures(workspace, workspace.clock())
    show(expired, as_json, lambda: click.echo(f"membership of {len(expired)} disclosures destroyed"))


def _say(facts: dict[str, Any]) -> None:
    click.echo(
        f"{facts['subjects']} subjects known in domain {facts['domain']}, {facts['unknown']} unknown, "
        f"{facts['erased_before']} erased before"
    )
    if facts["subjects"]:
        click.echo(
            f"{len(facts['versions'])} versions hold or may hold them, {facts['not_held']} do not; "
            f"{facts['segments']} segments in {facts['datasets']} datasets were asked"
        )
    for title, rows in (
        ("versions", facts["versions"]),
        ("recipients", facts["recipients"]),
        ("models", facts["models"]),
        ("made from them", facts["derived"]),
        ("to do after a withdrawal", facts["tasks"]),
    ):
        if rows:
            table(tuple(rows[0]), [[str(value) for value in row.values()] for row in rows], title)
    if facts["unindexed"]:
        click.echo(f"{facts['unindexed']} segments could not be asked: `governance subject index`")
