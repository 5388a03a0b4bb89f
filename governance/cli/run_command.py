"""`governance run`: the governed pass in this process."""

from __future__ import annotations

from pathlib import Path

import click

from governance.cli.options import home_options, json_option, progress, settings, show, table


@click.command("run")
@click.argument("contract", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--source", required=True, help="File or directory to read: Parquet, CSV or JSON Lines.")
@click.option("--purpose", required=True, help="A purpose of the policy that the contract allows.")
@click.option(
    "--run-id", help="Identifies the run; the same id and inputs give the same version. Default: random."
)
@home_options
@json_option
def command(
    contract: Path,
    source: str,
    purpose: str,
    run_id: str | None,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Classify, check consent, protect, validate and release one dataset.

    CONTRACT is an ODCS YAML file. Nothing is released unless every stage's evidence is in the log.
    """
    import uuid

    from governance.model.evidence import Stage
    from governance.pipeline.local import local_recorder
    from governance.pipeline.run import run_pass
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    identifier = run_id or str(uuid.uuid4())
    with progress(as_json) as advance:
        result = run_pass(
            workspace,
            local_recorder(workspace, contract.name.split(".")[0], identifier),
            contract_path=contract,
            source=source,
            purpose=purpose,
            run_id=identifier,
            progress=advance,
        )
    counts = result.facts[Stage.PROTECT]
    summary = {
        **result.reference.to_json(),
        "rows_in": counts["rows_in"],
        "rows_denied": counts["rows_denied"],
        "rows_quarantined": counts["rows_quarantined"],
        "rows_out": counts["rows_out"],
        "denied_by_reason": result.facts[Stage.CONSENT]["by_reason"],
        "quarantined_by_rule": counts["quarantined_by_rule"],
        "manifest_digest": result.facts[Stage.RELEASE]["manifest_digest"],
    }

    def text() -> None:
        click.secho(f"released {summary['dataset']} {summary['version']}", fg="green")
        table(
            ("rows in", "denied", "quarantined", "released"),
            [[f"{summary[k]:,}" for k in ("rows_in", "rows_denied", "rows_quarantined", "rows_out")]],
        )

    show(summary, as_json, text)
