"""`governance log rotate-key`, `witness`, `timestamp`: what lets outsiders trust the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from governance.cli.options import F, home_options, json_option, settings, show, table

if TYPE_CHECKING:
    from governance.config import Settings
    from governance.log.witnesses.trust import Trust
    from governance.pipeline.workspace import Workspace


@click.command("rotate-key")
@home_options
@json_option
def rotate_key(home: str | None, store: str | None, as_json: bool) -> None:
    """Hand the log over to a new key.

    A leaf names both keys and both sign it, and the checkpoint that ends with it. Who pinned the old key
    is led to the new one by that checkpoint. Killed in between, call it again.
    """
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    former = workspace.vkey
    checkpoint = workspace.rotate_log_key()
    done = {"former": former, "public_key": workspace.vkey, "checkpoint": checkpoint.note}

    def text() -> None:
        click.echo(
            f"the log is signed by {workspace.vkey}\nfrom entry {checkpoint.size:,} on, before by {former}"
        )
        click.echo("publish the new key where the old one is; give it to the witnesses (--log)")
        click.echo("back up the key store; `governance keys rotate` makes copies of the old key useless")

    show(done, as_json, text)


@click.command("adopt")
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@home_options
@json_option
def adopt(checkpoint: Path, home: str | None, store: str | None, as_json: bool) -> None:
    """Give the signer, whose memory was lost, the signed CHECKPOINT that the log must go on from.

    Take the newest that you trust: from a report, a manifest, a witness. Whatever the log lost after it
    goes unnoticed. Refused where the signer remembers another, or the log does not extend it.
    """
    from governance.pipeline.workspace import Workspace

    adopted = Workspace.open(settings(home, store)).log.adopt(checkpoint.read_text("utf-8", errors="replace"))
    done = {"origin": adopted.origin, "size": adopted.size, "root": adopted.root.hex()}
    show(done, as_json, lambda: table(("", "value"), list(done.items()), "the signer goes on from"))


@click.command("witness")
@click.option("--show", "only_show", is_flag=True, help="Ask nobody; list the cosignatures that are kept.")
@home_options
@json_option
def witness(only_show: bool, home: str | None, store: str | None, as_json: bool) -> None:
    """Have the witnesses of HOME/witnesses.yaml cosign the log as it is now.

    Exits 1 with GOV-512 when fewer did than are needed, or one cosigned another history of this log.
    """
    from governance.log.witnesses.client import Outcome, WitnessClient
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    trust = _trust(workspace, "witnesses")
    if only_show:
        _show_cosignatures(workspace, trust, as_json)
        return
    checkpoint = workspace.log.checkpoint(ask_witnesses=False)
    checkpoint, answers = WitnessClient(trust).submit(workspace.log.storage, checkpoint)
    rows = [(a.witness.key.name, str(a.outcome), a.reason) for a in answers]
    result = {
        "size": checkpoint.size,
        "needed": trust.needed,
        "answers": [dict(zip(("witness", "outcome", "reason"), row, strict=True)) for row in rows],
        "checkpoint": checkpoint.note,
    }
    show(result, as_json, lambda: table(("witness", "outcome", "why"), rows, f"size {checkpoint.size:,}"))
    cosigned = sum(a.outcome is Outcome.COSIGNED for a in answers)
    if any(a.outcome is Outcome.CONTRADICTED for a in answers):
        raise _unwitnessed(
            "a witness cosigned another history of this log",
            "Run `governance log verify`: the store was rolled back or forked, or the witness is wrong.",
        )
    if cosigned < trust.needed:
        raise _unwitnessed(
            f"{cosigned} of {trust.needed} witnesses cosigned the checkpoint",
            "Ask again later, or ask those who run the others. The log goes on without.",
        )


@click.command("timestamp")
@click.option("--show", "only_show", is_flag=True, help="Ask nobody; list the timestamps that the log holds.")
@home_options
@json_option
def timestamp(only_show: bool, home: str | None, store: str | None, as_json: bool) -> None:
    """Have the authorities of HOME/witnesses.yaml timestamp the log as it is now (RFC 3161).

    Each token becomes a leaf, after the entries it is about. All are asked; exits 1 when one gave none.
    """
    from governance.errors import LogError
    from governance.log.log import TIMESTAMP
    from governance.log.witnesses import timestamp as timestamps
    from governance.pipeline.workspace import OPERATOR, Workspace

    workspace = Workspace.open(settings(home, store))
    trust = _trust(workspace, "timestamps")
    log = workspace.log
    made, failed = [], []
    if only_show:
        bodies = [e.body for e in log.entries() if e.body is not None and e.envelope.media_type == TIMESTAMP]
        good, void = timestamps.attested(bodies, [a.certificates for a in trust.authorities])
    else:
        checkpoint = log.checkpoint()
        for authority in trust.authorities:
            try:
                given = timestamps.ask(checkpoint, authority, trust.timeout)
            except LogError as fault:
                failed.append(fault)
            else:
                made.append(timestamps.keep(log, given, OPERATOR))
        if made:
            log.checkpoint(ask_witnesses=False)
        bodies = [log.entry(index).body or b"" for index in made]
        good, void = timestamps.attested(bodies, [a.certificates for a in trust.authorities])
    rows = [(a.checkpoint.size, f"{a.at:%Y-%m-%dT%H:%M:%SZ}", a.authority) for a in good]
    result = {
        "timestamps": [dict(zip(("size", "at", "authority"), row, strict=True)) for row in rows],
        "void": void,
        "entries": made,
    }

    def text() -> None:
        table(("entries", "existed at", "says"), rows)
        for why in void:
            click.secho(f"  {why}", fg="yellow")

    show(result, as_json, text)
    if failed:
        raise failed[0]


def witness_options(function: F) -> F:
    """``--witness`` and ``--needed``: which witnesses are pinned."""
    function = click.option(
        "--needed",
        type=click.IntRange(min=1),
        help="Of how many pinned witnesses a line is needed. Default: all.",
    )(function)
    return click.option(
        "--witness",
        "witnesses",
        multiple=True,
        metavar="VKEY",
        help="Pinned key of a witness; repeat for more.",
    )(function)


def trust_options(function: F) -> F:
    """``--witness``, ``--needed`` and ``--tsa``: which outsiders are pinned."""
    return witness_options(
        click.option(
            "--tsa",
            "authorities",
            multiple=True,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="PEM with the pinned root certificate of a timestamp authority; repeat for more.",
        )(function)
    )


def pinned_trust(
    chosen: Settings, witnesses: Sequence[str], needed: int | None, authorities: Sequence[Path], *, own: bool
) -> Trust:
    """The outsiders named on the command line; ``own``: without any, those of the home's witnesses.yaml."""
    from governance.cli.log_command import key_text
    from governance.log.witnesses.trust import FILE, Trust

    if own and not witnesses and not authorities:
        return Trust.read(chosen.home / FILE)
    return Trust.pinned(
        [key_text(key) for key in witnesses], needed, [path.read_bytes() for path in authorities]
    )


def _trust(workspace: Workspace, section: str) -> Trust:
    from governance.errors import SettingError
    from governance.log.witnesses.trust import FILE

    trust = workspace.trust
    if not (trust.witnesses if section == "witnesses" else trust.authorities):
        raise SettingError(
            "GOV-901",
            f"{workspace.settings.home / FILE} names no {section}",
            "Write the file; docs/log.md shows its form.",
        )
    return trust


def _show_cosignatures(workspace: Workspace, trust: Trust, as_json: bool) -> None:
    from governance.log.note import read_checkpoint
    from governance.log.witnesses.cosignature import cosignatures

    keys = [w.key for w in trust.witnesses]
    rows = [
        (checkpoint.size, cosignature.witness.name, f"{datetime.fromtimestamp(cosignature.at, UTC):%FT%TZ}")
        for checkpoint in map(read_checkpoint, workspace.log.storage.checkpoints())
        for cosignature in cosignatures(checkpoint.note, keys)
    ]
    result = [dict(zip(("size", "witness", "at"), row, strict=True)) for row in rows]
    show({"cosignatures": result}, as_json, lambda: table(("size", "witness", "at"), rows))


def _unwitnessed(what: str, remedy: str) -> Exception:
    from governance.errors import LogError

    return LogError("GOV-512", what, remedy)
