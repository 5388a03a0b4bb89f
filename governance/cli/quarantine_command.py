"""`governance quarantine`: rows that failed a rule, and what becomes of them. No row is ever shown."""

from __future__ import annotations

from pathlib import Path

import click

from governance.cli.options import home_options, json_option, progress, settings, show, table


@click.group("quarantine")
def command() -> None:
    """List rows that were set aside, replay them after a fix, remove what expired."""


@command.command("list")
@click.argument("dataset", required=False)
@home_options
@json_option
def list_aside(dataset: str | None, home: str | None, store: str | None, as_json: bool) -> None:
    """List what the runs of released versions set aside, of DATASET or of all."""
    from governance.pipeline.pointer import datasets_released
    from governance.pipeline.quarantine import quarantined
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store), read_only=True)
    named = [dataset] if dataset else sorted(datasets_released(workspace.log))
    found = [aside.to_json() for name in named for aside in quarantined(workspace, name)]
    columns = ("dataset", "version", "set_aside_at", "rows", "state", "expires_at")
    show(found, as_json, lambda: table(columns, [[a[c] for c in columns] for a in found]))


@command.command("show")
@click.argument("dataset")
@click.argument("version")
@home_options
@json_option
def show_aside(dataset: str, version: str, home: str | None, store: str | None, as_json: bool) -> None:
    """Show why rows of VERSION's run of DATASET were set aside, and whether they may be replayed."""
    from governance.errors import ValidationError
    from governance.pipeline.quarantine import quarantined
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store), read_only=True)
    found = next((a for a in quarantined(workspace, dataset) if a.version == version), None)
    if found is None:
        raise ValidationError(
            "GOV-406",
            f"the run of version {version} of {dataset} set no rows aside, or released nothing",
            "`governance quarantine list` shows what waits",
        )

    def text() -> None:
        click.echo(f"{found.rows:,} rows of {dataset} {version}: {found.state}")
        if found.replayed_in:
            click.echo(f"taken in by version {found.replayed_in}")
        table(("rule", "rows"), [(rule, f"{count:,}") for rule, count in found.by_rule.items()])

    show(found.to_json(), as_json, text)


@command.command("replay")
@click.argument("contract", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("version")
@click.option("--purpose", help="A purpose that the contract allows. Default: that of the first run.")
@home_options
@json_option
def replay_rows(
    contract: Path, version: str, purpose: str | None, home: str | None, store: str | None, as_json: bool
) -> None:
    """Take the rows that VERSION's run set aside through a new pass under CONTRACT, and add what passes.

    Consent is decided anew, as of now. Rows are taken in at most once; what fails again waits again.
    """
    from governance.model.evidence import Stage
    from governance.pipeline.local import local_recorder
    from governance.pipeline.run import replay
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    with progress(as_json) as advance:
        result = replay(
            workspace,
            local_recorder(workspace, contract.name.split(".")[0], f"replay-{version}"),
            contract_path=contract,
            version=version,
            purpose=purpose,
            progress=advance,
        )
    counts = result.facts[Stage.PROTECT]
    summary = {
        **result.reference.to_json(),
        "replayed": version,
        **{name: counts[name] for name in ("rows_in", "rows_denied", "rows_quarantined", "rows_out")},
        "quarantined_by_rule": counts["quarantined_by_rule"],
    }

    def text() -> None:
        click.secho(f"released {summary['dataset']} {summary['version']}", fg="green")
        click.echo(
            f"{summary['rows_out']:,} of {summary['rows_in']:,} rows taken in, {summary['rows_denied']:,} denied, "
            f"{summary['rows_quarantined']:,} set aside again"
        )

    show(summary, as_json, text)


@command.command("expire")
@click.argument("dataset", required=False)
@home_options
@json_option
def expire_rows(dataset: str | None, home: str | None, store: str | None, as_json: bool) -> None:
    """Remove rows that the policy keeps no longer, or that were replayed, and destroy their keys."""
    from governance.pipeline.pointer import datasets_released
    from governance.pipeline.quarantine import expire
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    named = [dataset] if dataset else sorted(datasets_released(workspace.log))
    gone = [aside.to_json() for aside in expire(workspace, named)]
    columns = ("dataset", "version", "rows", "state")
    show(gone, as_json, lambda: table(columns, [[a[c] for c in columns] for a in gone], title="removed"))
