"""A key broker over a real home, called without a socket, and a caller that speaks its protocol."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient

from governance.config import Settings
from governance.errors import ProtectionError
from governance.keys.broker import BrokeredKeyring
from governance.keys.broker_service import BrokerService, _understood
from governance.keys.providers.file import create_file_key
from governance.lineage.index.index import Index
from governance.log import CONTRACT, POLICY
from governance.model.canonical import timestamp
from governance.model.evidence import Evidence, Stage, StageRecord
from governance.model.key_grant import Claim, Operation, TaskTry
from governance.model.resources import schemas
from governance.pipeline.local import local_recorder
from governance.pipeline.workspace import Workspace
from governance.server.app import build_app
from governance.server.broker.airflow import AirflowTries
from governance.server.broker.broker import Broker
from governance.server.broker.identity import Identities
from governance.server.broker.pace import Pace
from governance.server.broker.settings import IdentitySettings
from governance.server.served import ServedStore
from governance.server.tokens import create_token

ISSUER, AUDIENCE, SUBJECT = "https://kubernetes.example", "governance", "system:serviceaccount:etl:customers"
OTHER, PUBLIC_ONLY = "system:serviceaccount:etl:other", "system:serviceaccount:etl:public"
DATASET, PURPOSE = "customer_profiles", "model_training"
WORKLOADS = f"""
workloads:
  customers-etl:
    subjects: [{SUBJECT}, "{SUBJECT}-2"]
    datasets: [customer_*]
    purposes: [model_training]
    operations: [seal, read, disclose]
    sensitivity: restricted
  other-etl: {{subjects: [{OTHER}], datasets: [support_prompts], purposes: [support_inference], operations: [seal]}}
  public-etl: {{subjects: [{PUBLIC_ONLY}], datasets: [customer_profiles], purposes: [model_training], operations: [read, seal]}}
"""


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class InProcess(BrokerService):
    """The client's side of the protocol over the application itself. ``meddle`` changes an answer on its way."""

    def __init__(self, http: TestClient, token: str) -> None:
        self._http = http
        self.token = token
        self.answers: list[bytes] = []
        self.meddle: Any = lambda path, answer: answer

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        response = self._http.request(
            method, f"/api/v1/keys{path}", json=body, headers={"authorization": f"Bearer {self.token}"}
        )
        self.answers.append(response.content)
        return self.meddle(path, _understood(response.status_code, response.content))


@dataclass
class World:
    workspace: Workspace
    served: ServedStore
    http: TestClient
    clock: Clock
    key: rsa.RSAPrivateKey
    folder: Path
    contract_index: int
    policy_index: int
    digests: tuple[str, str]

    def token(self, subject: str | None = SUBJECT, **changed: Any) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": [AUDIENCE], "sub": subject, "nbf": now, "exp": now + 7200, **changed}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k1"})

    def caller(
        self, subject: str = SUBJECT, *, token: str = "", task: TaskTry | None = None
    ) -> BrokeredKeyring:
        return BrokeredKeyring(InProcess(self.http, token or self.token(subject)), task)

    def claim(self, operation: Operation = Operation.SEAL, **changed: Any) -> Claim:
        made = Claim(
            operation, DATASET, PURPOSE, *self.digests, "v" + secrets.token_hex(12), secrets.token_hex(4)
        )
        return replace(made, **changed)

    def context(self, claim: Claim) -> dict[str, Any]:
        return {
            **{k: v for k, v in claim.to_json().items() if k not in ("operation", "recipient")},
            "kind": "training",
            "run_id": "run-1",
            "map_index": -1,
            "opened_at": timestamp(self.clock()),
            "source_digest": self.digests[0],
            "consent_position": 1,
        }

    def opening(self, claim: Claim) -> dict[str, Any]:
        own = self.workspace.keyring.run_signer(claim.version, claim.attempt).public_key
        return {
            "contract": {"dataset": DATASET, "digest": self.digests[0], "log_index": self.contract_index},
            "policy": {"digest": self.digests[1], "log_index": self.policy_index},
            "run_public_key": base64.b64encode(own).decode(),
        }

    def opened(self, **changed: Any) -> Claim:
        """A run that the log knows, as its stages left it there."""
        claim = self.claim(**changed)
        self.prove(claim, Stage.OPEN, self.opening(claim))
        return claim

    def prove(self, claim: Claim, stage: Stage, facts: Mapping[str, Any]) -> None:
        keyring = self.workspace.keyring
        signer = (
            keyring.evidence_signer
            if stage is Stage.OPEN
            else keyring.run_signer(claim.version, claim.attempt)
        )
        recorder = local_recorder(self.workspace, DATASET, f"{claim.attempt} {stage}")
        context = self.contexts.setdefault((claim.version, claim.attempt), self.context(claim))
        recorder.record(StageRecord(Evidence(stage, facts), context), signer)

    @property
    def contexts(self) -> dict[tuple[str, str], dict[str, Any]]:
        held: dict[tuple[str, str], dict[str, Any]] = self.__dict__.setdefault("_contexts", {})
        return held

    def released(self, **changed: Any) -> Claim:
        claim = self.opened(**changed)
        self.prove(claim, Stage.RELEASE, {"state": "released"})
        return claim

    def records(self) -> list[dict[str, Any]]:
        """Facts of every grant record, observed or not, in log order."""
        rows = self.index().evidence(stage=Stage.KEY_GRANT)
        assert {row["basis"] for row in rows} <= {"observed"}
        return [row["facts"] | {"at": row["log_index"], "context": row["context"]} for row in rows]

    def index(self) -> Index:
        return self.served.fresh()

    @contextmanager
    def refused(self, reason: str, code: str = "GOV-310") -> Iterator[None]:
        """The block is refused for ``reason``, and the log says so."""
        before = len(self.records())
        try:
            yield
        except ProtectionError as fault:
            assert fault.code == code, fault
        else:
            raise AssertionError("nothing was refused")
        told = [r.get("reason") for r in self.records()[before:] if r["state"] == "refused"]
        assert told and set(told) == {reason}, told


def make_world(
    folder: Path, *, ttl: int = 900, airflow: AirflowTries | None = None, pace: Pace | None = None
) -> World:
    home = folder / "home"
    (folder / "secrets").mkdir()
    home.mkdir()
    create_file_key(folder / "secrets" / "kek.json")
    policy = home / "policy.yaml"
    policy.write_text((schemas() / "examples" / "policy.yaml").read_text("utf-8") + WORKLOADS)
    settings = Settings.at(home, kek=f"file:{folder}/secrets/kek.json")
    clock = Clock()
    workspace = Workspace.create(settings, origin="governance.example/broker", clock=clock)
    contract = schemas() / "examples" / "customer_profiles.odcs.yaml"
    contract_index = workspace.append_file(contract, CONTRACT)
    policy_index = workspace.append_file(policy, POLICY)
    from governance.model.canonical import digest

    digests = (digest(contract.read_bytes()), digest(policy.read_bytes()))
    served = ServedStore(workspace.log, evidence_public_key=workspace.evidence_public_key, clock=clock)
    key = rsa.generate_private_key(65537, 2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    (folder / "jwks.json").write_text(json.dumps({"keys": [{**public, "kid": "k1", "alg": "RS256"}]}))
    identities = Identities(IdentitySettings(ISSUER, AUDIENCE, str(folder / "jwks.json")), served.tokens)
    broker = Broker(
        served, workspace.keyring, policy, identities, airflow, namespace="test", ttl=ttl,
        pace=pace or Pace(burst=10_000),
    )  # fmt: skip
    http = TestClient(build_app(served, broker=broker), raise_server_exceptions=False)
    return World(workspace, served, http, clock, key, folder, contract_index, policy_index, digests)


def server_token(world: World, *scopes: str, name: str) -> str:
    made = create_token(
        world.served.log, name=name, scopes=scopes, namespaces=None, expires_at=None, principal="admin:test"
    )
    world.served.fresh()
    return made


DIGEST = "sha256:" + "ab" * 32


def sealing(world: World, claim: Claim, subject: str = SUBJECT) -> BrokeredKeyring:
    keyring = world.caller(subject)
    keyring.claim(claim)
    return keyring


def segment(claim: Claim, part: str = "00") -> str:
    return f"{claim.version}-{part}"


def ask(world: World, grant_id: str, wanted: dict[str, Any], subject: str = SUBJECT) -> dict[str, Any]:
    return InProcess(world.http, world.token(subject)).ask("POST", f"/grants/{grant_id}/keys", wanted)


def post(world: World, path: str, body: object) -> Any:
    headers = {"authorization": f"Bearer {world.token()}", "content-type": "application/json"}
    return world.http.post(f"/api/v1/keys{path}", content=json.dumps(body).encode(), headers=headers)


def listed(world: World) -> dict[str, dict[str, Any]]:
    admin = {"authorization": f"Bearer {server_token(world, 'admin', name='lists')}"}
    answer = world.http.get("/api/v1/keys/grants", headers=admin)
    assert answer.status_code == 200, answer.text
    return {grant["grant_id"]: grant for grant in answer.json()["grants"]}
