"""`governance consent`: the ledger."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

import click

from governance.cli.options import home_options, json_option, settings, show, table


@click.group("consent")
def command() -> None:
    """Import consent records, show the ledger, explain a decision, give a receipt."""


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--domain", help="Of the subjects of ISO/IEC TS 27560 records, which name none.")
@click.option(
    "--custodian",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with an X25519 public key: FILE is kept as proof that only its owner can open.",
)
@home_options
@json_option
def import_file(
    file: Path, domain: str | None, custodian: Path | None, home: str | None, store: str | None, as_json: bool
) -> None:
    """Import FILE (Parquet, CSV, JSON, JSON Lines, JSON-LD) as one batch, all or nothing.

    Identifiers become pseudonyms of the subject vault; the batch becomes a leaf of the log.
    """
    from governance.consent.proof import custodian_key
    from governance.pipeline.ledger import import_consent
    from governance.pipeline.workspace import Workspace

    batch = import_consent(
        Workspace.open(settings(home, store)),
        file,
        domain,
        custodian_key(custodian.read_bytes()) if custodian else None,
    )
    result = {
        "position": batch.position,
        "rows": batch.rows,
        "duplicates": batch.duplicates,
        "backdated": batch.backdated,
        "log_index": batch.log_index,
    }
    show(
        result,
        as_json,
        lambda: click.echo(
            f"imported {batch.rows:,} records ({batch.duplicates:,} known already, "
            f"{batch.backdated:,} backdated): position {batch.position}, log entry {batch.log_index}"
        ),
    )


@command.command("status")
@home_options
@json_option
def status(home: str | None, store: str | None, as_json: bool) -> None:
    """The batches of the ledger."""
    from governance.pipeline.workspace import Workspace

    ledger = Workspace.open(settings(home, store)).ledger
    batches = [
        {
            "position": b.position,
            "recorded_at": b.recorded_at.isoformat(),
            "rows": b.rows,
            "backdated": b.backdated,
            "log_index": b.log_index,
        }
        for b in ledger.batches()
    ]
    show(
        {"position": ledger.position, "batches": batches},
        as_json,
        lambda: table(
            ("position", "recorded (UTC)", "rows", "backdated", "log entry"),
            [tuple(b.values()) for b in batches],
        ),
    )


@command.command("explain")
@click.argument("subject", required=False)
@click.option("--domain", required=True, help="Whose identifiers SUBJECT belongs to, e.g. patient.")
@click.option("--purpose", required=True, help="A purpose of the policy.")
@click.option("--at", "instant", help="The instant, RFC 3339. Default: now.")
@click.option("--position", type=int, help="The ledger position. Default: the present one.")
@home_options
@json_option
def explain(
    subject: str | None,
    domain: str,
    purpose: str,
    instant: str | None,
    position: int | None,
    home: str | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Tell why SUBJECT may or may not be processed for a purpose.

    Without SUBJECT, or with -, the identifier is the first line of standard input: other users of the
    machine can read a command's arguments.
    """
    from governance.pipeline.workspace import Workspace
    from governance.rights.receipt import known_purpose, known_subject

    at = _instant(instant) if instant else None
    workspace = Workspace.open(settings(home, store))
    asked = known_purpose(workspace.policy, purpose)
    ordinal = known_subject(workspace, domain, _identifier(subject))
    told = workspace.ledger.explain(
        workspace.vault.internal(domain)[ordinal].tobytes(),
        asked,
        domain,
        at or workspace.clock(),
        workspace.ledger.position if position is None else position,
    )
    result = {
        "records": [line.words for line in told.records],
        "reasons": {regime: reason.label for regime, reason in told.reasons.items()},
        "reasoning": list(told.reasoning),
    }
    show(result, as_json, lambda: click.echo("\n".join([*result["records"], *result["reasoning"]])))


@command.command("receipt")
@click.argument("subject", required=False)
@click.option("--domain", required=True, help="Whose identifiers SUBJECT belongs to, e.g. patient.")
@click.option("--purpose", required=True, help="A purpose of the policy.")
@home_options
def receipt(subject: str | None, domain: str, purpose: str, home: str | None, store: str | None) -> None:
    """Print SUBJECT's consent receipt (ISO/IEC TS 27560, JSON-LD), with the dataset versions it covers.

    Without SUBJECT, or with -, the identifier is the first line of standard input.
    """
    from governance.pipeline.workspace import Workspace
    from governance.rights.receipt import consent_receipt

    made = consent_receipt(Workspace.open(settings(home, store)), _identifier(subject), domain, purpose)
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))


@command.command("open-proof")
@click.argument("proof", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The custodian's private key, as `governance keys recipient` wrote it.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Where the file is written, 0600."
)
def proof_opened(proof: Path, key: Path, out: Path) -> None:
    """Open PROOF, an imported consent file, with the custodian's key. Needs no governance home."""
    from governance.consent.proof import custodian_key, open_proof
    from governance.durable import replace_file

    replace_file(out, open_proof(proof, custodian_key(key.read_bytes())))


def _identifier(subject: str | None) -> str:
    said = sys.stdin.readline().rstrip("\r\n") if subject in (None, "-") else subject
    if not said:
        raise click.UsageError("no subject: name one, or write it on the first line of standard input")
    return said


def _instant(text: str) -> datetime:
    from governance.model.canonical import instant

    try:
        return instant(text)
    except ValueError:
        raise click.BadParameter(
            "not RFC 3339 with a zone, such as 2026-01-31T12:00:00Z", param_hint="--at"
        ) from None
