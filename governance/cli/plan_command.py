"""`governance plan`: what a run would do, and what would stop it. Nothing is written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from governance.cli.options import home_options, json_option, settings, show, table

EXIT_CODES = """
\b
Exit codes:
  0  the run would pass
  2  the run would be refused, for the reasons shown
"""


@click.command("plan", epilog=EXIT_CODES)
@click.argument("contract", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--source", required=True, help="What the run would read: Parquet, CSV or JSON Lines.")
@click.option("--purpose", required=True, help="A purpose of the policy that the contract allows.")
@click.option(
    "--classify",
    type=click.Choice(("sample", "full", "last-run")),
    default="sample",
    show_default=True,
    help="Classify from the policy's smallest sample, from every value, or take what the last release found.",
)
@home_options
@json_option
def command(
    contract: Path,
    source: str,
    purpose: str,
    classify: str,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Show what a run of CONTRACT would do, before anything is written.

    Reads the source once and the home; no log entry, key or file is made. Consent counts as of now. Rules on the
    protected version are judged by the run itself.
    """
    from governance.pipeline.preview import plan_run
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store), read_only=True)
    try:
        plan = plan_run(
            workspace, contract_path=contract, source=source, purpose=purpose, classify_by=classify
        )
    finally:
        workspace.close()
    show(plan, as_json, lambda: _print(plan))
    if not plan["passes"]:
        sys.exit(2)


def _print(plan: dict[str, Any]) -> None:
    click.secho(f"Plan for {plan['dataset']}, purpose {plan['purpose']}", bold=True)
    if "columns" in plan:
        _columns(plan)
        _rows(plan)
        _anonymity(plan)
        _version(plan["version"])
    if "readers" in plan:
        _readers(plan["readers"])
    click.echo()
    for refusal in plan["refusals"]:
        click.secho(f"{refusal['code']} {refusal['message']}", fg="red")
        click.echo(f"  → {refusal['remedy']}")
    if plan["passes"]:
        click.secho("The run would pass. Nothing was written.", fg="green")
    else:
        click.secho("The run would be refused. Nothing was written.", fg="red")


def _columns(plan: dict[str, Any]) -> None:
    classified = plan["classified"]
    how = {
        "sample": f"from a sample of {classified['values'] or 0:,} values a column",
        "full": "from every value",
        "last-run": f"as version {classified.get('version')} found them; this source's values were not looked at",
    }
    click.echo(f"\nColumns, classified {how[classified['by']]}:")
    table(
        ("", "column", "released as", "classification", "sure", "why", "sensitivity", "protection", "keys"),
        [_column(column) for column in plan["columns"]],
    )


def _column(column: dict[str, Any]) -> list[Any]:
    sign = "-" if column["method"] == "drop" else "+" if column["method"] == "keep" else "~"
    found = column["classification"]
    if column["agreement"] in ("differs", "undeclared"):
        found += f" ({column['agreement']}: declared {column['declared'] or 'nothing'})"
    arguments = ", ".join(f"{name}: {value}" for name, value in column["arguments"].items())
    return [
        sign,
        column["column"],
        "" if sign == "-" else column["released_as"],
        found,
        f"{column['confidence']:.0%}",
        "; ".join(column["evidence"][:1]),
        column["sensitivity"],
        column["method"] + (f" ({arguments})" if arguments else ""),
        ", ".join(column["keys"]),
    ]


def _rows(plan: dict[str, Any]) -> None:
    rows, consent = plan["rows"], plan["consent"]
    click.echo(f"\nRows, consent as of {consent['instant']} (ledger position {consent['position']}):")
    listed = [("read", rows["read"], "")]
    denied = [(reason, count) for reason, count in consent["by_reason"].items() if reason != "allowed"]
    listed += [("denied", count, reason.replace("_", " ")) for reason, count in denied]
    listed += [("quarantined", count, rule) for rule, count in plan["quarantined_by_rule"].items()]
    listed.append(("released", rows["released"], ""))
    table(("", "rows", "why"), [(what, f"{count:,}", why) for what, count, why in listed])


def _anonymity(plan: dict[str, Any]) -> None:
    if plan["anonymity"]:
        click.echo("Of these, the contract's `anonymity` may coarsen columns and leave further rows out.")


def _version(version: dict[str, Any]) -> None:
    previous = version["previous"] or "none"
    click.echo(f"\nVersion, load mode {version['mode']}; released now: {previous}")
    segments = [
        (
            "+",
            ", ".join(f"{k}={v}" for k, v in s["partition"].items()) or "(not partitioned)",
            f"{s['rows']:,}",
        )
        for s in version["segments"]
    ]
    for sign, what, counted in (("=", "kept", "kept"), ("-", "no longer in it", "left_out")):
        if version[counted]["segments"]:
            segments.append(
                (sign, f"{version[counted]['segments']} segments {what}", f"{version[counted]['rows']:,}")
            )
    table(("", "segment", "rows"), segments)


def _readers(readers: dict[str, Any]) -> None:
    click.echo(f"\nWho could read it for {readers['purpose']}:")
    listed = [("workload", w["name"], w["may_read"], w["why"]) for w in readers["workloads"]]
    listed += [("recipient", r["name"], r["may_receive"], r["why"]) for r in readers["recipients"]]
    table(
        ("", "name", "may", "why not"),
        [(kind, name, "yes" if may else "no", "; ".join(why)) for kind, name, may, why in listed],
    )
    if tokens := readers.get("tokens"):
        may = "may" if tokens["may_open"] else "may not"
        click.echo(
            f"Tokens in {', '.join(tokens['columns'])}: a read for {readers['purpose']} {may} open them."
        )
    approval = readers["approval"]
    if approval["needed"]:
        click.echo(
            f"Its release has to be approved by {' or '.join(approval['approvers']) or 'nobody who is there'}."
        )
