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
    """Measure the detectors on labelled notes, and train a model on your own."""


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


@command.command("train")
@click.argument("labelled", type=_FILE)
@click.option(
    "--out", required=True, metavar="FILE", type=click.Path(path_type=Path), help="Where the model goes."
)
@click.option(
    "--test", type=_FILE, help="Labelled notes to measure on. Default: a fifth of LABELLED, held out."
)
@click.option("--lang", metavar="CODE", help="Language of the notes; stated in the model's card.")
@_map_option
@json_option
def train(
    labelled: Path, out: Path, test: Path | None, lang: str | None, mapping: dict[str, str], as_json: bool
) -> None:
    """Fit a model of names on your own LABELLED notes, lines of {"text", "spans": [[start, end, type]]}.

    The model holds no word that stands in a label of a name or an identifier, and prints its scores on notes it
    did not see. It needs the extra "train".
    """
    from governance.detect.learned.labelled import read_labelled
    from governance.detect.learned.training import train as fitted

    notes = read_labelled(labelled, mapping)
    model = fitted(notes, read_labelled(test, mapping) if test else None, lang)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.tmp")
    partial.write_bytes(model.file)
    partial.replace(out)
    measured = model.scores.as_dict()
    stated = {"model": str(out), "digest": model.digest, "bytes": len(model.file), "scores": measured}

    def text() -> None:
        _scores_table(measured)
        click.echo(f"{out}: {len(model.file):,} bytes, fitted on {len(notes):,} notes")
        click.echo(f"use it as {out}@{model.digest}")

    show(stated, as_json, text)


@command.command("scores")
@click.argument("labelled", type=_FILE)
@click.option("--ner", is_flag=True, help='Also the pinned English model of names (extra "ner").')
@click.option("--model", metavar="FILE[@sha256:…]", help="Also a model that `governance detect train` wrote.")
@_map_option
@json_option
def scores(labelled: Path, ner: bool, model: str | None, mapping: dict[str, str], as_json: bool) -> None:
    """Measure the detectors on LABELLED, lines of {"text", "spans": [[start, end, type]]}."""
    from governance.detect import classify_text
    from governance.detect.learned.labelled import read_labelled
    from governance.detect.learned.scoring import measure

    notes = read_labelled(labelled, mapping)
    found = classify_text([note.text for note in notes], ner=ner, crf=model)
    spans = [[(f.start, f.end, f.classification) for f in row] for row in found]
    measured = measure([note.spans for note in notes], spans).as_dict()
    show(measured, as_json, lambda: _scores_table(measured))


def _scores_table(measured: dict[str, Any]) -> None:
    columns = ("strict", "overlap", "precision", "recall", "labelled", "found")
    rows = [(name, *(each[c] for c in columns)) for name, each in measured["types"].items()]
    rows.append(("all", *(measured["overall"][c] for c in columns)))
    table(("type", *columns), rows)
    click.echo(f"character recall {measured['character_recall']}, over {measured['texts']:,} texts")
