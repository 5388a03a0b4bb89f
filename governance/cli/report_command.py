"""`governance report`: audit reports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from governance.cli.accounting import looked_up
from governance.cli.options import home_options, json_option, settings, show, table
from governance.cli.sign_off_command import command as sign_off
from governance.cli.sign_off_command import signed_off


@click.group("report")
def command() -> None:
    """Make audit reports and the bundles that prove them."""


@command.command("list")
@click.option("--kinds", is_flag=True, help="The kinds of report; also without it.")
@json_option
def list_kinds(kinds: bool, as_json: bool) -> None:
    """Every kind of report, with the law it answers to."""
    from governance.audit import REPORTS

    del kinds
    every = [
        {
            "kind": r.kind,
            "title": r.title,
            "law": r.law,
            "template_version": r.template_version,
            "period": r.takes_period,
            "parameters": sorted(r.parameters),
            "for_one_subject": r.personal,
        }
        for r in REPORTS.values()
    ]
    rows = [(k["kind"], k["title"], k["law"]) for k in every]
    show(every, as_json, lambda: table(("kind", "title", "law"), rows))


@command.command("make")
@click.argument("kind")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to write into; it is made if needed.",
)
@click.option("--bundle", is_flag=True, help="Also write the ZIP that `governance verify` checks offline.")
@click.option(
    "--as-of",
    type=click.IntRange(min=1),
    metavar="SIZE",
    help="As of the newest checkpoint signed at or below this log size. Default: now.",
)
@click.option(
    "--period", metavar="DAY/DAY", help="Only these days, both included, in UTC: 2026-01-01/2026-06-30."
)
@click.option(
    "--request",
    metavar="NAME",
    help="Only this request for erasure; the request of an accounting. By the name in the log.",
)
@click.option(
    "--dataset", metavar="NAME", help="Only this dataset; for the AI Act's reports also models/NAME."
)
@click.option("--key", metavar="KEY", help="What this segment key opens.")
@click.option(
    "--subject",
    metavar="-",
    help="Whom gdpr-art15 or hipaa-528 is for; - reads the identifier from standard input.",
)
@click.option("--domain", metavar="NAME", help="Whose identifier it is, e.g. patient.")
@click.option(
    "--copy", "copied", is_flag=True, help="Also write the subject's rows, as JSON, by a governed read."
)
@click.option("--discovered", metavar="INSTANT", help="When a breach was discovered: 2026-03-05T10:00:00Z.")
@click.option(
    "--form",
    "forms",
    multiple=True,
    type=click.Choice(("csv", "dpv", "oscal", "pdf", "xlsx")),
    help="Also write this form. Repeatable.",
)
@click.option(
    "--language",
    type=click.Choice(("en", "de", "fr", "es")),
    default="en",
    show_default=True,
    help="Of titles, headings and column names in these forms.",
)
@click.option(
    "--audience",
    type=click.Choice(("internal", "auditor", "regulator", "partner", "subject")),
    help="Whom it is for: outside the organisation entries are proved without being shown. Default: internal; "
    "subject for what is for one person.",
)
@home_options
@json_option
def make(
    kind: str,
    out: Path,
    bundle: bool,
    as_of: int | None,
    period: str | None,
    forms: tuple[str, ...],
    language: str,
    request: str | None,
    dataset: str | None,
    key: str | None,
    discovered: str | None,
    subject: str | None,
    domain: str | None,
    copied: bool,
    audience: str | None,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Make a report: HTML to read, canonical JSON as the record, a bundle as the proof."""
    from governance.audit import make_report
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    chosen = {"request": request, "dataset": dataset, "key": key, "discovered": discovered}
    asked: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    copies: list[Path] = []
    if subject is not None:
        if domain is None:
            raise click.UsageError("--domain says whose identifier it is")
        from governance.cli.report_subject import read_identifier, write_copies

        identifier = read_identifier(subject)
        kind, found = looked_up(workspace, kind, domain, identifier, request)
        asked |= found
        out.mkdir(parents=True, exist_ok=True)
        copies = write_copies(workspace, domain, identifier, out) if copied else []
    made = make_report(
        workspace,
        kind,
        out,
        bundle=bundle,
        as_of=as_of,
        period=period,
        asked=asked,
        forms=forms,
        language=language,
        audience=audience,
    )
    verdict = made.record["verdict"]
    written = {
        "html": str(made.html),
        "json": str(made.json),
        "bundle": str(made.bundle) if made.bundle else None,
        "forms": [str(path) for path in made.forms],
        "copies": [str(path) for path in copies],
        "as_of": {k: made.record["as_of"][k] for k in ("origin", "size", "root")},
        "verdict": verdict,
    }

    def text() -> None:
        click.echo(
            f"{made.record['report']['title']}, as of log size {written['as_of']['size']}: "
            f"{verdict['rows']} rows, {verdict['exceptions']} exceptions, {verdict['unknowns']} unknowns"
        )
        for path in (made.html, made.json, *made.forms, *copies, made.bundle):
            if path is not None:
                click.echo(f"  {path}")

    show(written, as_json, text)


@command.command("attest")
@click.argument("dataset")
@click.argument("version")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Directory to write into."
)
@home_options
@json_option
def attest(dataset: str, version: str, out: Path, home: str | None, store: str | None, as_json: bool) -> None:
    """Write what a released VERSION says to others' tools: in-toto (DSSE, signed) and Croissant 1.1."""
    from governance.audit.making import describe_version
    from governance.pipeline.workspace import Workspace

    made = describe_version(Workspace.open(settings(home, store)), dataset, version, out)
    said = dict(zip(("intoto", "croissant"), map(str, made), strict=True))
    show(said, as_json, lambda: _say(said.values()))


command.add_command(sign_off)

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@command.command("show")
@click.argument("report", type=_FILE)
@json_option
def show_report(report: Path, as_json: bool) -> None:
    """Show a REPORT, its record or its bundle, as text, and the sign-offs beside it. Nothing is verified."""
    from governance.audit.reading import read_record, told

    record = read_record(report)
    show(record, as_json, lambda: _say([*told(record), *signed_off(report, record)]))


@command.command("diff")
@click.argument("one", type=_FILE)
@click.argument("other", type=_FILE)
@json_option
def diff(one: Path, other: Path, as_json: bool) -> None:
    """Say in words what changed from report ONE to report OTHER: records or bundles of one kind and log."""
    from governance.audit.reading import changes, read_record

    found = list(changes(read_record(one), read_record(other)))
    show({"changes": found}, as_json, lambda: _say(found or ["Nothing changed."]))


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        # Names come from outside, and a terminal obeys control characters.
        click.echo("".join(c if c.isprintable() else "\ufffd" for c in line))
