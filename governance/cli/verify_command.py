"""`governance verify`: check a report bundle offline. Needs no home, no network and no template engine."""

from __future__ import annotations

from pathlib import Path

import click

from governance.cli.log_command import key_text
from governance.cli.log_trust import witness_options
from governance.cli.options import json_option, show


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--key",
    metavar="PUBLIC",
    help="The log's public key, as text or in a file, from somewhere other than the bundle.",
)
@click.option(
    "--checkpoint",
    metavar="OLDER",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An older checkpoint that the log must still be consistent with.",
)
@click.option(
    "--sign-off",
    "sign_offs",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A sign-off that must be of this report, and hold. Repeatable.",
)
@witness_options
@json_option
def command(
    bundle: Path,
    key: str | None,
    checkpoint: Path | None,
    sign_offs: tuple[Path, ...],
    witnesses: tuple[str, ...],
    needed: int | None,
    as_json: bool,
) -> None:
    """Check a report BUNDLE: every row, entry, proof and signature, against a pinned key.

    BUNDLE may also be a sign-off, which is checked alone; or, with --sign-off, a report's record. Exits 1 and names the
    first row that fails, 3 when no key was pinned.
    """
    from governance.audit.checking.sign_off_verification import verify_reviewed
    from governance.log.witnesses.trust import Trust

    older = None if checkpoint is None else checkpoint.read_text("utf-8", errors="replace")
    trust = Trust.pinned([key_text(witness) for witness in witnesses], needed)
    verdict = verify_reviewed(
        bundle, key_text(key) if key else None, sign_offs, older_checkpoint=older, trust=trust
    )

    def text() -> None:
        if verdict.first_failure is not None:
            click.secho(f"NOT VERIFIED  {verdict.code} {verdict.first_failure}", fg="red", bold=True)
        elif not verdict.pinned:
            click.secho("NOT VERIFIED  GOV-803 no key was pinned", fg="yellow", bold=True)
        else:
            click.secho(f"VERIFIED, {verdict.by}", fg="green", bold=True)
        for line in verdict.lines:
            click.echo(f"  {line}")

    show(verdict.to_json(), as_json, text)
    if verdict.first_failure is not None:
        raise SystemExit(1)
    if not verdict.pinned:
        raise SystemExit(3)
