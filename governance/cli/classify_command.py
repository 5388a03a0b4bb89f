"""`governance classify`: what is in each column of a file."""

from __future__ import annotations

from dataclasses import asdict

import click

from governance.cli.options import json_option, progress, show, table


@click.command("classify")
@click.argument("source")
@click.option("--sample", type=click.IntRange(1), help="Values to read per column. Default: all.")
@json_option
def command(source: str, sample: int | None, as_json: bool) -> None:
    """Scan SOURCE (Parquet, CSV, JSON Lines) and name what each column holds. Needs no home."""
    from governance import sources
    from governance.detect import TableScanner

    snapshot = sources.pin(source)
    scanner = TableScanner(sources.schema(snapshot), sample=sample)
    rows = 0
    with progress(as_json) as advance:
        for batch in sources.read(snapshot):
            scanner.update(batch)
            rows += batch.num_rows
            advance("classify", rows)
    found = scanner.finish()

    def text() -> None:
        table(
            ("column", "classification", "confidence", "why"),
            [
                (
                    f.column,
                    f.classification,
                    f"{f.confidence:.0%}",
                    "; ".join(
                        [
                            *f.evidence,
                            *(f"contains {c.classification} in {c.rows:,} rows" for c in f.contains),
                        ]
                    ),
                )
                for f in found.values()
            ],
        )

    show({name: asdict(f) for name, f in found.items()}, as_json, text)
