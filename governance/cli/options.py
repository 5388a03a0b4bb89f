"""Options that commands share, and how they print."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from governance.config import Settings

F = TypeVar("F", bound=Callable[..., Any])


def home_options(function: F) -> F:
    """``--home`` and ``--store``: which governance home, which lineage store."""
    function = click.option(
        "--store",
        metavar="PATH|postgresql://…",
        help="Lineage store. Default: $GOVERNANCE_STORE, else HOME/store.",
    )(function)
    return click.option("--home", metavar="DIRECTORY", help="Governance home. Default: $GOVERNANCE_HOME.")(
        function
    )


def json_option(function: F) -> F:
    """``--json``: print one JSON document instead of text."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(function)


def settings(home: str | None, store: str | None) -> Settings:
    """Settings from the environment and the options."""
    return Settings.from_environment(home=home, store=store)


def show(value: Any, as_json: bool, text: Callable[[], None]) -> None:
    """Print ``value`` as JSON, or call ``text`` to print it for people."""
    if as_json:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
    else:
        text()


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """A table on standard output, as wide as the terminal."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for header in headers:
        grid.add_column(header, overflow="fold")
    for row in rows:
        grid.add_row(*("" if cell is None else str(cell) for cell in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False, markup=False).print(grid)


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[str, int], None]]:
    """A progress display on standard error for stages that count rows."""
    if quiet or not sys.stderr.isatty():
        yield lambda _stage, _rows: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<20}"),
        TextColumn("{task.completed:>12,.0f} rows"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def advance(stage: str, rows: int) -> None:
            if stage not in tasks:
                for started in tasks.values():
                    bar.stop_task(started)
                tasks[stage] = bar.add_task(stage, total=None)
            bar.update(tasks[stage], completed=rows)

        yield advance
