"""`governance contract`: check a contract against the policy, or draft one for a file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from governance.cli.options import json_option, progress, show, table


@click.group("contract")
def command() -> None:
    """Draft a contract for a file, check one against the policy and explain it."""


@command.command("check")
@click.argument("contract", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--policy", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def check_contract(contract: Path, policy: Path, as_json: bool) -> None:
    """Refuse CONTRACT with every fault at once, or say what it means column by column."""
    from dataclasses import asdict

    from governance.contracts import explain, load_contract, load_policy

    rules = load_policy(policy)
    compiled = load_contract(contract, rules)
    rows = [asdict(row) for row in explain(compiled, rules)]
    show(
        {"dataset": compiled.dataset, "digest": compiled.digest, "columns": rows},
        as_json,
        lambda: table(list(rows[0]), [tuple(r.values()) for r in rows], title=compiled.title),
    )


@command.command("draft")
@click.argument("source")
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Whose protections and purposes to propose.",
)
@click.option(
    "--detectors",
    multiple=True,
    metavar="FILE|FOLDER",
    help="YAML of your own detectors, beside those the policy names; repeat for more.",
)
@click.option("--name", help="The dataset's name. Default: the file's.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write here; an existing file is refused. Default: standard output.",
)
def draft(
    source: str, policy: Path | None, detectors: tuple[str, ...], name: str | None, out: Path | None
) -> None:
    """Scan SOURCE (Parquet, CSV, JSON Lines) and write a contract for it, to be confirmed by people.

    Classifications stand with their evidence as comments; what is uncertain is dropped or undeclared. The
    contract loads as written.
    """
    from governance import sources
    from governance.cli.drafting_inputs import draft_columns, draft_terms, fits
    from governance.contracts import load_contract, load_policy
    from governance.contracts.drafting import draft_contract
    from governance.detect import TableScanner
    from governance.detect.detectors.registry import resolve

    rules = load_policy(policy) if policy else None
    own = [*(rules.detectors if rules else ()), *detectors]
    known = resolve([Path(file) for file in own] or None)
    snapshot = sources.pin(source)
    schema = sources.schema(snapshot)
    scanner = TableScanner(schema, detectors=known)
    rows = 0
    with progress(quiet=False) as advance:
        for batch in sources.read(snapshot):
            scanner.update(batch)
            rows += batch.num_rows
            advance("classify", rows)
    text = draft_contract(
        name or Path(source).name.split(".")[0],
        draft_columns(schema, scanner.finish()),
        draft_terms(known),
        policy=rules,
        fits=lambda method, column: fits(method, schema.field(column).type),
    )
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "draft.odcs.yaml"
        written.write_text(text, "utf-8")
        load_contract(written, rules)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as fault:
        raise click.BadParameter(f"{out}: {fault.strerror}", param_hint="--out") from None
    click.echo(f"{out}: {len(schema)} columns; look at every line with CONFIRM before use", err=True)
