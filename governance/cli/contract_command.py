"""`governance contract`: check a contract against the policy."""

from __future__ import annotations

from pathlib import Path

import click

from governance.cli.options import json_option, show, table


@click.group("contract")
def command() -> None:
    """Check a contract against the policy and explain it."""


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
