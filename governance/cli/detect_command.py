"""`governance detect`: measure what finds identifiers in text, and train it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from governance.cli.detect_check import check
from governance.cli.options import json_option, show, table

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("detect")
def command() -> None:
    """Check your own detectors, measure them on labelled notes, train a model on your own."""


command.add_command(check)


def _mapping(_context: click.Context, _parameter: click.Parameter, stated: tuple[str, ...]) -> dict[str, str]:
    pairs = [each.partition("=") for each in stated]
    if any(not separator for _, separator, _ in pairs):
        raise click.BadParameter("write TYPE=CLASSIFICATION, or TYPE= to leave the type out")
    return {source: target for source, _, target in pairs}


_map_option = click.option(
    "--map",
    "mapping",
    multiple=True,
    callback=_mapping,
    metavar="TYPE=CLASSIFICATION",
    help="What a type of the file is in the taxonomy; repeat for more. TYPE= leaves it out.",
)


@command.command("scores")
@click.argument("labelled", type=_FILE)
@_map_option
@json_option
def scores(labelled: Path, mapping: dict[str, str], as_json: bool) -> None:
    """Measure the detectors on LABELLED, lines of {"text", "spans": [[start, end, type]]}."""
    from governance.detect import classify_text
    from governance.detect.learned.labelled import read_labelled
    from governance.detect.learned.scoring import measure

    notes = read_labelled(labelled, mapping)
    found = classify_text([note.text for note in notes])
    spans = [[(f.start, f.end, f.classification) for f in row] for row in found]
    measured = measure([note.spans for note in notes], spans).as_dict()
    show(measured, as_json, lambda: _scores_table(measured))


def _scores_table(measured: dict[str, Any]) -> None:
    columns = ("strict", "overlap", "precision", "recall", "labelled", "found")
    rows = [(name, *(each[c] for c in columns)) for name, each in measured["types"].items()]
    rows.append(("all", *(measured["overall"][c] for c in columns)))
    table(("type", *columns), rows)
    click.echo(f"character recall {measured['character_recall']}, over {measured['texts']:,} texts")
