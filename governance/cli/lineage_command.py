"""`governance lineage`: questions to the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from governance.cli.options import home_options, json_option, settings, show, table

if TYPE_CHECKING:
    from governance.lineage.index.index import Index


@click.group("lineage")
def command() -> None:
    """Ask which datasets, runs and columns led where.

    The index is made anew from the log for each question. DATASET is NAME for a governed dataset, or
    NAMESPACE=NAME for any other, e.g. file=/data/customers.csv.
    """


@command.command("datasets")
@home_options
@json_option
def datasets(home: str | None, store: str | None, as_json: bool) -> None:
    """Every dataset that an event names."""
    rows = _index(home, store).datasets()
    columns = ("namespace", "name", "version", "last_event_at")
    show(rows, as_json, lambda: table(columns, [[r[c] for c in columns] for r in rows]))


@command.command("runs")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Newest so many.")
@home_options
@json_option
def runs(limit: int, home: str | None, store: str | None, as_json: bool) -> None:
    """Runs, newest first."""
    rows = sorted(_index(home, store).runs(), key=lambda r: -r["first_index"])[:limit]
    columns = ("job_namespace", "job_name", "state", "started_at", "ended_at", "run_id")
    show(rows, as_json, lambda: table(columns, [[r[c] for c in columns] for r in rows]))


@command.command("evidence")
@click.argument("dataset")
@click.option("--version", help="Only this version.")
@home_options
@json_option
def evidence(dataset: str, version: str | None, home: str | None, store: str | None, as_json: bool) -> None:
    """What the stages of DATASET proved, and what was only declared, in log order."""
    rows = _index(home, store).evidence(dataset=dataset, version=version)
    columns = ("log_index", "stage", "version", "attempt", "basis", "event_time")
    show(rows, as_json, lambda: table(columns, [[r[c] for c in columns] for r in rows]))


@command.command("upstream")
@click.argument("dataset")
@click.option("--depth", default=20, show_default=True, type=click.IntRange(1))
@home_options
@json_option
def upstream(dataset: str, depth: int, home: str | None, store: str | None, as_json: bool) -> None:
    """What DATASET came from."""
    _show_reach(_index(home, store).upstream(*_named(dataset), depth), as_json)


@command.command("downstream")
@click.argument("dataset")
@click.option("--depth", default=20, show_default=True, type=click.IntRange(1))
@home_options
@json_option
def downstream(dataset: str, depth: int, home: str | None, store: str | None, as_json: bool) -> None:
    """What came from DATASET."""
    _show_reach(_index(home, store).downstream(*_named(dataset), depth), as_json)


@command.command("column")
@click.argument("dataset")
@click.argument("column")
@click.option("--downstream", "direction", flag_value="downstream", help="Follow it onwards.")
@click.option(
    "--upstream", "direction", flag_value="upstream", default="upstream", help="Follow it back (default)."
)
@home_options
@json_option
def column_lineage(
    dataset: str, column: str, direction: str, home: str | None, store: str | None, as_json: bool
) -> None:
    """Where COLUMN of DATASET came from or went, with each transformation and whether it masks."""
    rows = _index(home, store).column_lineage(*_named(dataset), column, direction)
    columns = ("depth", "from", "column", "to", "as", "by", "masks", "basis", "log entry")
    show(
        rows,
        as_json,
        lambda: table(
            columns,
            [
                (
                    r["depth"],
                    r["input_name"],
                    r["input_column"],
                    r["output_name"],
                    r["output_column"],
                    r["description"],
                    r["masking"],
                    r["basis"],
                    r["log_index"],
                )
                for r in rows
            ],
        ),
    )


@command.command("completeness")
@home_options
@json_option
def completeness(home: str | None, store: str | None, as_json: bool) -> None:
    """For each Airflow DAG run: did every task's lineage arrive?"""
    rows = _index(home, store).completeness()
    show(
        [
            {
                "run_id": r.run_id,
                "dag": r.job_name,
                "verdict": r.verdict.value,
                "expected": r.expected,
                "received": r.received,
                "missing": list(r.missing),
                "killed": list(r.killed),
                "skipped": list(r.skipped),
            }
            for r in rows
        ],
        as_json,
        lambda: table(
            ("DAG", "verdict", "expected", "received", "missing"),
            [(r.job_name, r.verdict.value, r.expected, r.received, ", ".join(r.missing)) for r in rows],
        ),
    )


def _index(home: str | None, store: str | None) -> Index:
    from governance.lineage.index.index import Index
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    return Index.build(workspace.log, evidence_public_key=workspace.evidence_public_key)


def _named(dataset: str) -> tuple[str, str]:
    from governance.pipeline.protect import DATASETS

    namespace, found, name = dataset.partition("=")
    return (namespace, name) if found else (DATASETS, dataset)


def _show_reach(rows: list[dict[str, Any]], as_json: bool) -> None:
    columns = ("depth", "namespace", "name")
    show(rows, as_json, lambda: table(columns, [[r[c] for c in columns] for r in rows]))
