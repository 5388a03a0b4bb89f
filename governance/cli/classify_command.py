"""`governance classify`: what is in each column of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from governance.cli.options import json_option, progress, show, table

if TYPE_CHECKING:
    from governance.detect import QuasiIdentifiers, TaxonomyEntry
    from governance.model.classification import ColumnClassification
    from governance.model.dataset import SourceSnapshot

FORMAT = "governance/classification/v1"
_SHOWN_SETS = 10
_LEVELS = ("restricted", "confidential", "internal", "public")


@click.command("classify")
@click.argument("source")
@click.option("--sample", type=click.IntRange(1), help="Values to read per column. Default: all.")
@click.option(
    "--detectors",
    multiple=True,
    metavar="FILE|FOLDER",
    help="YAML of your own detectors; repeat for more.",
)
@click.option(
    "--quasi-identifiers",
    "singling_out",
    is_flag=True,
    help="Measure on all rows which column sets single people out.",
)
@click.option(
    "--k", type=click.IntRange(2), default=5, show_default=True, help="Smaller groups of rows are a risk."
)
@click.option(
    "--ner",
    type=click.Choice(["sample", "all"]),
    help='Read a sample, or all, of the free text with the pinned English model of names (extra "ner").',
)
@click.option(
    "--model",
    metavar="FILE[@sha256:…]",
    help="Read free text also with a model of `governance detect train`: a sample, or all with --ner all.",
)
@json_option
def command(
    source: str,
    sample: int | None,
    detectors: tuple[str, ...],
    singling_out: bool,
    k: int,
    ner: str | None,
    model: str | None,
    as_json: bool,
) -> None:
    """Scan SOURCE (Parquet, CSV, JSON Lines) and name what each column holds. Needs no home.

    What needs a person's attention comes first; columns that hold nothing sensitive come last, in one line.
    """
    from governance import sources
    from governance.detect import TableScanner
    from governance.detect.detectors.registry import resolve

    known = resolve([Path(name) for name in detectors] or None)
    snapshot = sources.pin(source)
    scanner = TableScanner(sources.schema(snapshot), sample=sample, detectors=known)
    rows = 0
    with progress(as_json) as advance:
        for batch in sources.read(snapshot):
            scanner.update(batch)
            rows += batch.num_rows
            advance("classify", rows)
    found = scanner.finish()
    if ner or model:
        from governance.detect.learned.contained import SAMPLE, contained

        limit = None if ner == "all" else min(sample or SAMPLE, SAMPLE)
        found = contained(sources.read(snapshot), found, ner=ner is not None, crf=model, sample=limit)
    measured = _singling_out(snapshot, found, k) if singling_out else None
    document: dict[str, Any] = {
        "format": FORMAT,
        "source": {"uri": snapshot.uri, "digest": snapshot.digest},
        "detectors": [asdict(file) for file in known.files],
        "rows": rows,
        "columns": {name: _described(f, known.taxonomy[f.classification]) for name, f in found.items()},
    }
    if measured is not None:
        document["quasi_identifiers"] = measured.to_json()

    def text() -> None:
        click.echo(f"{Path(source).name}: {rows:,} rows, {len(found):,} columns")
        _print(found, known.taxonomy)
        if measured is not None:
            _print_sets(measured)

    show(document, as_json, text)


def _singling_out(
    snapshot: SourceSnapshot, found: Mapping[str, ColumnClassification], k: int
) -> QuasiIdentifiers:
    from governance import sources
    from governance.detect.columns.anonymity import gathered, may_identify, quasi_identifiers

    schema = sources.schema(snapshot)
    possible = {name.split(".")[0] for name, f in found.items() if may_identify(f)}
    columns = [name for name in schema.names if name in possible]
    held = gathered(sources.read(snapshot), columns)
    return quasi_identifiers(held, found, k=k)


def _described(found: ColumnClassification, entry: TaxonomyEntry) -> dict[str, Any]:
    return {
        **asdict(found),
        "title": entry.title,
        "sensitivity": entry.sensitivity,
        "special_category": entry.special_category,
        "clauses": list(entry.clauses),
        "dpv": list(entry.dpv),
        "fides": list(entry.fides),
        "protect": entry.protect,
    }


def _print(found: Mapping[str, ColumnClassification], known: Mapping[str, TaxonomyEntry]) -> None:
    from governance.model.classification import HARMLESS, UNCLASSIFIED

    def urgency(each: ColumnClassification) -> tuple[int, int]:
        entry = known[each.classification]
        return (each.classification != UNCLASSIFIED, _LEVELS.index(entry.sensitivity))

    telling = [f for f in found.values() if f.classification != HARMLESS or f.contains]
    rows: list[tuple[str, ...]] = []
    for each in sorted(telling, key=urgency):
        entry = known[each.classification]
        why = "; ".join(_without_contents(each))
        law = ", ".join(entry.clauses)
        if entry.special_category:
            law += f": {entry.special_category}"
        sure = "-" if each.classification == UNCLASSIFIED else f"{each.confidence:.0%}"
        rows.append((each.column, entry.title, entry.sensitivity, sure, law, why, _read(each)))
        for inside in each.contains:
            content = known[inside.classification]
            rows.append(
                (
                    "",
                    f"  inside: {content.title}",
                    content.sensitivity,
                    "",
                    ", ".join(content.clauses),
                    f"in {inside.rows:,} {'row' if inside.rows == 1 else 'rows'}",
                    "",
                )
            )
    if rows:
        table(("column", "what it holds", "sensitivity", "sure", "law", "why", "values read"), rows)
    harmless = [f.column for f in found.values() if f.classification == HARMLESS and not f.contains]
    if harmless:
        columns = "1 column" if len(harmless) == 1 else f"{len(harmless):,} columns"
        click.echo(f"\nNothing sensitive was found in {columns}: {', '.join(harmless)}")


def _without_contents(found: ColumnClassification) -> tuple[str, ...]:
    return tuple(e for e in found.evidence if not (found.contains and e.startswith("of ")))


def _read(found: ColumnClassification) -> str:
    read = f"{found.values_read:,} of {found.rows:,}"
    if found.miss_bound is None:
        return read
    return f"{read}; a share above {found.miss_bound:.2%} would have been seen (95%)"


def _print_sets(measured: QuasiIdentifiers) -> None:
    if measured.together is None:
        click.echo("\nThere is no column that could single people out together with others.")
        return
    considered = ", ".join(measured.considered)
    if not measured.risky:
        click.echo(
            f"\nNo set of up to {measured.largest_set} of these columns singles people out (k = {measured.k}): {considered}"
        )
        return
    click.echo(
        f"\nSmallest sets of columns that single people out: 5% of {measured.rows:,} rows or more "
        f"share their values with fewer than {measured.k} rows."
    )
    table(
        ("columns", "unique rows", f"rows in groups under {measured.k}", "k of the rarest 5%", "least k"),
        [
            (
                " + ".join(each.columns),
                f"{each.unique_share:.1%}",
                f"{each.below_share:.1%}",
                f"{each.k_at_5_percent:,}",
                f"{each.minimum_k:,}",
            )
            for each in measured.risky[:_SHOWN_SETS]
        ],
    )
    if len(measured.risky) > _SHOWN_SETS:
        click.echo(f"and {len(measured.risky) - _SHOWN_SETS} more sets; --json lists all")
    click.echo(f"Considered: {considered}")
