"""A home whose keys only a served process has, and a worker beside it that asks for each of them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from governed_home import Home
from served_process import Server

from governance.config import Settings

ISSUER, AUDIENCE = "https://kubernetes.example", "governance"
SUBJECT = "system:serviceaccount:etl:customers"
SHARED = ("consent", "contracts", "input", "policy.yaml", "vault")
WORKLOADS = f"""
workloads:
  customers-etl:
    subjects: [{SUBJECT}]
    datasets: [customer_profiles]
    purposes: [model_training]
    operations: [seal, read]
    sensitivity: restricted
  prompts-etl:
    subjects: [system:serviceaccount:etl:prompts]
    datasets: [support_*]
    purposes: [support_inference]
    operations: [seal]
"""


class Platform:
    """Signs workloads' tokens, as a cluster does for service accounts, and publishes its key."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        self.jwks = folder / "jwks.json"
        self.jwks.write_text(json.dumps({"keys": [{**public, "kid": "k1", "use": "sig", "alg": "ES256"}]}))

    def token(self, subject: str = SUBJECT, **changed: Any) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": [AUDIENCE], "sub": subject, "iat": now, "nbf": now, "exp": now + 3600}
        claims = {name: value for name, value in {**claims, **changed}.items() if value is not None}
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "k1"})


@dataclass(frozen=True)
class Brokered(Home):
    """The worker's home: ``path`` holds no key. ``kept`` is the home that does."""

    kept: Path
    settings_: Settings

    @property
    def settings(self) -> Settings:
        return self.settings_

    def asking_as(self, token: str) -> Brokered:
        assert self.settings.keys_token is not None
        other = self.settings.keys_token.with_name("other-token")
        other.write_text(token)
        return replace(self, settings_=replace(self.settings, keys_token=other))


def keep_apart(kept: Path, worker: Path) -> None:
    """Give the worker what it shares with the keys' home, which is everything but keys."""
    worker.mkdir()
    for name in SHARED:
        (worker / name).symlink_to(kept / name)
    for public in kept.glob("*.pub"):
        (worker / public.name).symlink_to(public)


def broker_settings(folder: Path, platform: Platform, more: str = "") -> Path:
    path = folder / "broker.yaml"
    path.write_text(f"identity: {{issuer: '{ISSUER}', audience: {AUDIENCE}, keys: {platform.jwks}}}\n{more}")
    return path


def brokered(prepared: Path, folder: Path) -> tuple[Brokered, Server, Platform]:
    """Start the broker over a copy of a prepared home."""
    kept = Home.copied(prepared, folder / "kept")
    policy = kept.path / "policy.yaml"
    policy.write_text(policy.read_text("utf-8") + WORKLOADS)
    platform = Platform(folder)
    worker = folder / "worker"
    keep_apart(kept.path, worker)
    environment = kept.settings.environment()
    server = Server(
        kept.settings.store, folder, "--broker", str(broker_settings(folder, platform)), home=environment
    )
    token = folder / "token"
    token.write_text(platform.token())
    settings = replace(
        Settings.at(worker, kek="", store=kept.settings.store), keys=f"broker+{server.url}", keys_token=token
    )
    return Brokered(worker, kept.path, settings), server, platform
