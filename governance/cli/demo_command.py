"""`governance demo`: the whole path, end to end, on made-up data."""

from __future__ import annotations

from pathlib import Path

import click

from governance.cli.options import json_option, show, table


@click.command("demo")
@click.option(
    "--rows", default=200_000, show_default=True, help="Rows of the main table.", type=click.IntRange(400)
)
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same data.")
@click.option(
    "--out",
    default="out/demo",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where everything goes.",
)
@click.option("--prepare-only", is_flag=True, help="Make input, keys and ledger; run nothing.")
@json_option
def command(rows: int, seed: int, out: Path, prepare_only: bool, as_json: bool) -> None:
    """Make sample data, run both example DAGs through Airflow, disclose, report and verify.

    No service is needed: Airflow runs the DAGs in a process of its own (dag.test on SQLite).
    """

    def say(text: str) -> None:
        click.echo(text, err=as_json)

    if prepare_only:
        from governance.demo.home import prepare

        prepare(out, rows=rows, seed=seed, say=say)
        return
    from governance.demo.play import play

    summary = play(out, rows=rows, seed=seed, base=Path.cwd(), say=say)

    def text() -> None:
        click.echo()
        table(
            ("dataset", "kind", "rows in", "denied", "quarantined", "released", "version"),
            [
                (
                    d["name"],
                    d["kind"],
                    *(f"{d[k]:,}" for k in ("rows_in", "rows_denied", "rows_quarantined", "rows_out")),
                    d["version"],
                )
                for d in summary["datasets"]
            ],
        )
        click.echo()
        for dataset in summary["datasets"]:
            click.echo(f"dataset  {dataset['path']}")
        for report in summary["reports"]:
            click.echo(f"report   {report['html']}\n         {report['bundle']}")
        click.echo(f"log      {summary['log']['size']:,} entries, root {summary['log']['root'][:16]}…")
        click.echo(f"pin      {summary['log']['public_key']}")
        click.secho(
            "reports verified against the pinned key" if summary["verified"] else "A REPORT DID NOT VERIFY",
            fg="green" if summary["verified"] else "red",
        )

    show(summary, as_json, text)
    if not summary["verified"]:
        raise SystemExit(1)
