"""`governance keys`: make a home's keys, rotate them, show the public ones."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import click

from governance.cli.options import home_options, json_option, settings, show, table


@click.group("keys")
def command() -> None:
    """Make and rotate keys, show public keys."""


@command.command("init")
@click.option("--origin", required=True, help="Name of the log, e.g. data.example.org/governance.")
@click.option("--passphrase", "ask", is_flag=True, help="Protect the key file with $GOVERNANCE_PASSPHRASE.")
@home_options
@json_option
def init(origin: str, ask: bool, home: str | None, store: str | None, as_json: bool) -> None:
    """Make a home: key-encryption key, key store, subject vault, consent ledger and log.

    The key-encryption key goes where $GOVERNANCE_KEK says (file:PATH or aws-kms:REGION/PREFIX), and nowhere else.
    """
    from governance.errors import ProtectionError
    from governance.keys.file import create_file_key
    from governance.pipeline.workspace import Workspace

    chosen = settings(home, store)
    if not chosen.kek:
        raise ProtectionError(
            "GOV-301",
            "no key-encryption key is named",
            "set GOVERNANCE_KEK=file:PATH on another disk than the home, or aws-kms:REGION/PREFIX",
        )
    if ask and chosen.passphrase is None:
        raise ProtectionError(
            "GOV-302",
            "a passphrase was asked for and none is given",
            "set GOVERNANCE_PASSPHRASE, or leave --passphrase out for a key file without one",
        )
    path = Path(chosen.kek.removeprefix("file:"))
    if chosen.kek.startswith("file:") and not path.exists():
        create_file_key(path, passphrase=chosen.passphrase if ask else None)
    workspace = Workspace.create(chosen, origin=origin)
    made = {"home": str(chosen.home), "origin": origin, "log_public_key": workspace.vkey}
    show(made, as_json, lambda: click.echo(f"made {chosen.home}\npin this public key: {workspace.vkey}"))


@command.command("show")
@home_options
@json_option
def show_keys(home: str | None, store: str | None, as_json: bool) -> None:
    """Show the epoch and the public keys. No private key is ever printed."""
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    public = {
        "epoch": workspace.keyring.epoch,
        "log_public_key": workspace.vkey,
        "evidence_public_key": base64.b64encode(workspace.evidence_public_key).decode(),
    }
    show(public, as_json, lambda: table(("key", "value"), list(public.items())))


@command.command("rotate")
@home_options
@json_option
def rotate(home: str | None, store: str | None, as_json: bool) -> None:
    """Re-wrap every key under a new epoch and destroy the old epoch's key."""
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    workspace.keyring.rotate_epoch()
    done = {"epoch": workspace.keyring.epoch}
    show(done, as_json, lambda: click.echo(f"epoch {workspace.keyring.epoch}"))


@command.command("recipient")
@click.argument("private", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def recipient(private: Path, as_json: bool) -> None:
    """Make a recipient's X25519 key pair: the private key in PRIVATE (0600), the public one printed."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from governance.errors import SettingError

    if private.exists():
        raise SettingError(
            "GOV-901", f"{private} exists already", "name a new file: a private key is never overwritten"
        )
    key = X25519PrivateKey.generate()
    handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(base64.b64encode(key.private_bytes_raw()).decode() + "\n")
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    show({"public_key": public}, as_json, lambda: click.echo(public))
