"""The demo's governance home: sample input, keys, policy, contracts, consent ledger."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from governance.config import Settings
from governance.demo.samples import make_samples
from governance.keys.providers.file import create_file_key
from governance.model.canonical import canonical
from governance.model.resources import schemas
from governance.pipeline.ledger import import_consent
from governance.pipeline.workspace import Workspace

ORIGIN = "governance.example/meridian"
CONTRACTS = ("clinical_encounters", "customer_profiles", "support_prompts")

Say = Callable[[str], None]


def demo_settings(home: Path) -> Settings:
    """Where the demo keeps things. Its key file lies in ``secrets/``, beside the home's key store."""
    return Settings.at(home, kek=f"file:{home}/secrets/kek.json")


def prepare(home: Path, *, rows: int, seed: int, say: Say) -> Settings:
    """Make the home, or keep the one that was made with the same rows and seed."""
    home = home.resolve()
    settings = demo_settings(home)
    made = home / "made.json"
    asked = canonical({"rows": rows, "seed": seed})
    if made.exists() and made.read_bytes() == asked:
        say(f"using the sample in {home.name}/input")
        return settings
    # Whatever is there was made for other numbers, or only half.
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    say(f"making sample input: {rows:,} clinical encounters, customers, support conversations")
    make_samples(home / "input", rows=rows, seed=seed)
    say("making keys, vault, ledger and log")
    (home / "secrets").mkdir(mode=0o700)
    create_file_key(home / "secrets" / "kek.json")
    shutil.copytree(schemas() / "examples", home / "contracts", ignore=shutil.ignore_patterns("policy.yaml"))
    shutil.copy(schemas() / "examples" / "policy.yaml", home / "policy.yaml")
    for recipient in ("northlake-research", "spreelabor-ki"):
        _recipient(home, recipient)
    workspace = Workspace.create(settings, origin=ORIGIN)
    say("importing the consent ledger")
    import_consent(workspace, home / "input" / "consent_ledger.parquet")
    workspace.log.checkpoint()
    made.write_bytes(asked)
    return settings


def canaries(home: Path) -> dict[str, object]:
    """The values the sample planted, by dataset and column."""
    listed: dict[str, object] = json.loads((home / "input" / "canaries.json").read_text("utf-8"))
    return listed


def _recipient(home: Path, name: str) -> None:
    """A recipient's key pair. In life the private half is made, and stays, with the recipient."""
    key = X25519PrivateKey.generate()
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    (home / f"{name}.pub").write_text(public + "\n")
    handle = os.open(home / "secrets" / f"{name}.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(base64.b64encode(key.private_bytes_raw()).decode() + "\n")
