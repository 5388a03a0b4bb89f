"""`governance report`: audit reports."""

from __future__ import annotations

from pathlib import Path

import click

from governance.cli.options import home_options, json_option, settings, show, table


@click.group("report")
def command() -> None:
    """Make audit reports and the bundles that prove them."""


@command.command("list")
@json_option
def list_kinds(as_json: bool) -> None:
    """Every kind of report, with the law it answers to."""
    from governance.audit import REPORTS

    kinds = [
        {"kind": r.kind, "title": r.title, "law": r.law, "template_version": r.template_version}
        for r in REPORTS.values()
    ]
    rows = [(k["kind"], k["title"], k["law"]) for k in kinds]
    show(kinds, as_json, lambda: table(("kind", "title", "law"), rows))


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
    "--request", metavar="NAME", help="Only this request for erasure, by the name it has in the log."
)
@click.option("--dataset", metavar="NAME", help="Only this dataset.")
@click.option("--key", metavar="KEY", help="What this segment key opens.")
@click.option("--discovered", metavar="INSTANT", help="When a breach was discovered: 2026-03-05T10:00:00Z.")
@click.option(
    "--form",
    "forms",
    multiple=True,
    type=click.Choice(("csv", "pdf", "xlsx")),
    help="Also write this form. Repeatable.",
)
@click.option(
    "--language",
    type=click.Choice(("en", "de", "fr", "es")),
    default="en",
    show_default=True,
    help="Of titles, headings and column names in these forms.",
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
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Make a report: HTML to read, canonical JSON as the record, a bundle as the proof."""
    from governance.audit import make_report
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    chosen = {"request": request, "dataset": dataset, "key": key, "discovered": discovered}
    asked = {name: value for name, value in chosen.items() if value is not None}
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
    )
    verdict = made.record["verdict"]
    written = {
        "html": str(made.html),
        "json": str(made.json),
        "bundle": str(made.bundle) if made.bundle else None,
        "forms": [str(path) for path in made.forms],
        "as_of": {k: made.record["as_of"][k] for k in ("origin", "size", "root")},
        "verdict": verdict,
    }

    def text() -> None:
        click.echo(
            f"{made.record['report']['title']}, as of log size {written['as_of']['size']}: "
            f"{verdict['rows']} rows, {verdict['exceptions']} exceptions, {verdict['unknowns']} unknowns"
        )
        for path in (made.html, made.json, *made.forms, made.bundle):
            if path is not None:
                click.echo(f"  {path}")

    show(written, as_json, text)
