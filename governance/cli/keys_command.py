"""`governance keys`: make a home's keys, rotate, move and account for them, show the public ones."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from governance.cli.options import home_options, json_option, settings, show, table

if TYPE_CHECKING:
    from governance.keys.destructions import DestroyedEpoch

_KEYS = "application/vnd.governance.keys+json"
_PROVIDERS = "file:PATH, vault:URL, aws-kms:REGION/PREFIX, gcp-kms:KEYRING/PREFIX or azure-kv:HOST/PREFIX"


@click.group("keys")
def command() -> None:
    """Make, rotate and move keys, show what they did and public keys."""


@command.command("init")
@click.option("--origin", required=True, help="Name of the log, e.g. data.example.org/governance.")
@click.option(
    "--passphrase",
    "ask",
    is_flag=True,
    help="Protect it with the passphrase of $GOVERNANCE_PASSPHRASE_FILE.",
)
@home_options
@json_option
def init(origin: str, ask: bool, home: str | None, store: str | None, as_json: bool) -> None:
    """Make a home: key-encryption key, key store, subject vault, consent ledger and log.

    The key-encryption key goes where $GOVERNANCE_KEK says, and nowhere else: a file, Vault, or a cloud's KMS.
    """
    from governance.errors import ProtectionError
    from governance.pipeline.workspace import Workspace

    chosen = settings(home, store)
    if not chosen.kek:
        raise ProtectionError(
            "GOV-301",
            "no key-encryption key is named",
            f"set GOVERNANCE_KEK to {_PROVIDERS}; a file on another disk than the home",
        )
    _make_file(chosen.kek, chosen.passphrase, ask)
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
    from governance.pipeline.rotation import rotate_keys
    from governance.pipeline.workspace import Workspace

    done = rotate_keys(Workspace.open(settings(home, store)))
    show(done, as_json, lambda: _told(done["epoch"], done["pending"]))


@command.command("move")
@click.option(
    "--to", "target", required=True, metavar="URI", help=f"Another key-encryption key: {_PROVIDERS}."
)
@click.option(
    "--passphrase",
    "ask",
    is_flag=True,
    help="Protect a new file by $GOVERNANCE_PASSPHRASE_FILE.",
)
@home_options
@json_option
def move(target: str, ask: bool, home: str | None, store: str | None, as_json: bool) -> None:
    """Put every key under another key-encryption key and destroy what the former one held.

    No dataset is written anew. Killed at any point, the former key goes on or the new one does; afterwards
    every process needs GOVERNANCE_KEK to name the new one.
    """
    from governance.keys.providers.provider import provider_for
    from governance.pipeline.workspace import Workspace

    chosen = settings(home, store)
    workspace = Workspace.open(chosen)
    former = workspace.keyring.provider
    _make_file(target, chosen.passphrase, ask)
    rotation = workspace.keyring.move(provider_for(target, chosen.passphrase))
    done = {"from": former, "to": workspace.keyring.provider, "epoch": rotation.epoch}
    done |= asdict(rotation.destruction)
    workspace.append_json({"action": "moved", **done}, _KEYS)

    def said() -> None:
        _told(rotation.epoch, rotation.destruction.pending)
        click.echo(f"set GOVERNANCE_KEK={target} wherever this home is used")

    show(done, as_json, said)


@command.command("status")
@home_options
@json_option
def status(home: str | None, store: str | None, as_json: bool) -> None:
    """Ask the providers about destructions that are pending; show those, and how much keys were used."""
    from governance.keys.providers.provider import provider_for
    from governance.keys.usage import LIMIT
    from governance.pipeline.workspace import Workspace

    chosen = settings(home, store)
    workspace = Workspace.open(chosen)
    keyring = workspace.keyring
    before = {(each.provider, each.epoch) for each in keyring.destructions if each.confirmed_at is not None}
    known = keyring.confirm(lambda uri: provider_for(uri, chosen.passphrase))
    fresh = [each for each in known if each.confirmed_at and (each.provider, each.epoch) not in before]
    if fresh:
        body = [{"provider": each.provider, "epoch": each.epoch} for each in fresh]
        workspace.append_json({"action": "confirmed", "destroyed": body}, _KEYS)
    usage = (keyring.usage, workspace.vault.usage)
    report = {
        "provider": keyring.provider,
        "epoch": keyring.epoch,
        "usage": [
            {"key": each.key, "seals": each.seals, "remaining": each.remaining, "limit": LIMIT}
            for each in usage
        ],
        "destroyed": [{**asdict(each), "state": each.state} for each in known],
    }

    def said() -> None:
        table(("key", "value"), [("provider", keyring.provider), ("epoch", keyring.epoch)])
        table(("key", "seals", "remaining"), [(each.key, each.seals, each.remaining) for each in usage])
        table(("destroyed", "provider", "told", "state", "of it"), [_row(each) for each in known])

    show(report, as_json, said)


@command.command("declare")
@click.argument("epoch", type=click.IntRange(1))
@click.option("--statement", required=True, help="What no provider can know, e.g. that its backups are gone.")
@home_options
@json_option
def declare(epoch: int, statement: str, home: str | None, store: str | None, as_json: bool) -> None:
    """Declare that nothing can bring back a destroyed EPOCH. It is shown as declared, never as confirmed."""
    from governance.pipeline.workspace import Workspace

    workspace = Workspace.open(settings(home, store))
    workspace.keyring.declare_destroyed(epoch, statement)
    done = {"action": "declared", "epoch": epoch, "statement": statement}
    workspace.append_json(done, _KEYS)
    show(done, as_json, lambda: click.echo(f"epoch {epoch}: declared"))


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


def _make_file(uri: str, passphrase: Callable[[], str] | None, ask: bool) -> None:
    """Make the key file that a URI names, unless it is there or is none."""
    from governance.errors import ProtectionError
    from governance.keys.providers.file import create_file_key

    if ask and passphrase is None:
        raise ProtectionError(
            "GOV-302",
            "a passphrase was asked for and none is given",
            "set GOVERNANCE_PASSPHRASE_FILE, or leave --passphrase out for a key file without one",
        )
    path = Path(uri.removeprefix("file:"))
    if uri.startswith("file:") and not path.exists():
        create_file_key(path, passphrase=passphrase if ask else None)


def _told(epoch: int, pending: Sequence[str]) -> None:
    click.echo(f"epoch {epoch}")
    for words in pending:
        click.echo(f"pending: {words}")


def _row(each: DestroyedEpoch) -> tuple[Any, ...]:
    words = each.confirmed_at or each.declared or "; ".join(each.pending) or "the provider was not told yet"
    return each.epoch, each.provider, each.told_at, each.state, words
