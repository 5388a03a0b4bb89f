"""`governance witness`: cosign checkpoints of other people's logs. Needs no home."""

from __future__ import annotations

import base64
import binascii
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from governance.cli.options import json_option, show

if TYPE_CHECKING:
    from governance.keys.signing import Ed25519Signer

_TYPE = b"\x04"


@click.group("witness")
def command() -> None:
    """Witness logs: cosign each checkpoint that extends the one before (c2sp.org/tlog-witness)."""


@command.command("keygen")
@click.argument("private", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name of the witness, e.g. witness.example/w1.")
@json_option
def keygen(private: Path, name: str, as_json: bool) -> None:
    """Make a witness's key: the private one in PRIVATE (0600), the public one printed."""
    from governance.errors import LogError
    from governance.keys.signing import Ed25519Signer
    from governance.log.witnesses.cosignature import WitnessKey

    seed = os.urandom(32)
    key = WitnessKey.of(name, Ed25519Signer(seed).public_key)
    encoded = base64.b64encode(_TYPE + seed).decode()
    try:
        handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as fault:
        raise LogError(
            "GOV-514",
            f"{private} cannot be made: {fault.strerror}",
            "Name a new file: no key is overwritten.",
        ) from None
    with os.fdopen(handle, "w") as file:
        file.write(f"PRIVATE+KEY+{name}+{key.key_id.hex()}+{encoded}\n")
        file.flush()
        os.fsync(file.fileno())
    show({"public_key": str(key)}, as_json, lambda: click.echo(str(key)))


@command.command("serve")
@click.option(
    "--key", "private", required=True, type=click.Path(path_type=Path), help="File that keygen made."
)
@click.option(
    "--memory",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory that keeps the last checkpoint of each log. Never restore it from a backup.",
)
@click.option(
    "--log",
    "logs",
    required=True,
    multiple=True,
    metavar="VKEY",
    help="Public key of a log, text or file; repeat.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port", default=7380, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one."
)
def serve(private: Path, memory: Path, logs: tuple[str, ...], host: str, port: int) -> None:
    """Answer POST /add-checkpoint until stopped. Speaks plain HTTP: put TLS before it."""
    from governance.cli.log_command import key_text
    from governance.errors import LogError
    from governance.log.note import VerifierKey
    from governance.log.witnesses.server import WitnessServer
    from governance.log.witnesses.witness import Witness

    name, signer = _read_key(private)
    witness = Witness(signer, name, [VerifierKey.parse(key_text(key)) for key in logs], memory, time.time)
    try:
        server = WitnessServer(witness, host, port)
    except OSError as fault:
        raise LogError(
            "GOV-514",
            f"{host} port {port} cannot be used: {fault.strerror}",
            "Take another --host or --port.",
        ) from None
    click.echo(f"{witness.key}\n{server.url}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def _read_key(path: Path) -> tuple[str, Ed25519Signer]:
    from governance.errors import LogError
    from governance.keys.signing import Ed25519Signer
    from governance.log.witnesses.cosignature import WitnessKey

    try:
        if path.stat().st_mode & 0o077:
            raise LogError(
                "GOV-514", f"{path} can be read by others", f"chmod 600 {path}; better, make a new key."
            )
        prefix, word, name, key_id, encoded = path.read_text("utf-8").strip().split("+", 4)
        material = base64.b64decode(encoded, validate=True)
        signer = Ed25519Signer(material[1:])
        whole = (prefix, word, material[:1], key_id) == (
            "PRIVATE",
            "KEY",
            _TYPE,
            WitnessKey.of(name, signer.public_key).key_id.hex(),
        )
        if not whole:
            raise ValueError
    except OSError as fault:
        raise LogError(
            "GOV-514", f"{path} cannot be read: {fault.strerror}", "Name the file that keygen made."
        ) from None
    except (ValueError, binascii.Error):
        raise LogError(
            "GOV-514", f"{path} is no witness key", "Make one with `governance witness keygen`."
        ) from None
    return name, signer
