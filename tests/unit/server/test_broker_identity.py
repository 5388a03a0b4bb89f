"""Who asks the broker: the platform's tokens, and the server's own where Airflow confirms the try."""

from __future__ import annotations

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from brokering import AUDIENCE, DATASET, ISSUER, PURPOSE, SUBJECT, World, make_world, server_token
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from governance.errors import LogError, ProtectionError, SettingError
from governance.keys.broker_service import BrokerService
from governance.model.key_grant import Claim, Operation, TaskTry
from governance.server.broker.airflow import AirflowTries
from governance.server.broker.identity import Identities
from governance.server.broker.settings import AirflowSettings, BrokerSettings, IdentitySettings


class StandIn(BaseHTTPRequestHandler):
    """Stands for Airflow's API server: answers one task instance as `GET …/taskInstances/{id}` of 3.3.2 does.

    The real one is asked in the integration tests.
    """

    instance: dict[str, Any] = {}  # noqa: RUF012 - the tests exchange it
    status = 200
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(f"{self.path} {self.headers['authorization']}")
        body = json.dumps(self.instance).encode()
        self.send_response(self.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Not on standard error."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("identity")
    (folder / "airflow-token").write_text("airflow-secret\n")
    server = HTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    airflow = AirflowTries(
        AirflowSettings(f"http://127.0.0.1:{server.server_port}", folder / "airflow-token")
    )
    made = make_world(folder, airflow=airflow)
    with made.http:
        yield made
    server.shutdown()
    server.server_close()


def status(world: World, token: str) -> int:
    return world.http.get("/api/v1/keys", headers={"authorization": f"Bearer {token}"}).status_code


NOW = int(time.time())
"""When the tests were collected: what is to hold while they run holds for a day."""

CHANGED: dict[str, dict[str, Any]] = {
    "expired": {"exp": NOW - 60},
    "of no end": {"exp": None},
    "not yet valid": {"nbf": NOW + 86_400},
    "of another issuer": {"iss": "https://elsewhere.example"},
    "of no issuer": {"iss": None},
    "for another audience": {"aud": ["https://kubernetes.default.svc"]},
    "for no audience": {"aud": None},
    "of nobody": {"subject": None},
    "of an empty name": {"subject": ""},
    "of a long name": {"subject": "x" * 254},
    "of a name with a line in it": {"subject": "a\nb"},
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_token_that_is(world: World, case: str) -> None:
    size = world.served.log.size()
    assert status(world, world.token()) == 200
    assert status(world, world.token(**CHANGED[case])) == 401
    # Whoever is nobody cannot fill the log with refusals.
    assert world.served.log.size() == size


def by_shared_secret(claims: dict[str, Any], secret: bytes) -> str:
    head = {"alg": "HS256", "typ": "JWT", "kid": "k1"}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims)]
    mac = hmac.digest(secret, b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


def test_a_token_that_is_forged(world: World) -> None:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "exp": NOW + 86_400}
    other = rsa.generate_private_key(65537, 2048)
    public = world.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    good = world.token().split(".")
    for forged in (
        jwt.encode(claims, other, "RS256", {"kid": "k1"}),
        jwt.encode(claims, world.key, "RS256", {"kid": "unknown"}),
        # The public key as a shared secret, and no signature at all.
        by_shared_secret(claims, public),
        jwt.encode(claims, None, "none", {"kid": "k1"}),
        ".".join([good[0], good[1], "AAAA"]),
        ".".join([good[0], "e30", good[2]]),
        "..",
        "a.b.c",
        "é.é.é",
        "x" * 20_000,
        "gov_0123456789abcdef_" + "x" * 43,
        "",
    ):
        answer = world.http.get("/api/v1/keys", headers={"authorization": f"Bearer {forged}".encode()})
        assert answer.status_code == 401, forged[:40]
        assert not forged or forged[:30] not in answer.text


def test_the_platforms_keys_are_read_again(tmp_path: Path, world: World) -> None:
    keys = tmp_path / "jwks.json"
    identities = Identities(IdentitySettings(ISSUER, AUDIENCE, str(keys)), world.served.tokens)
    policy = world.workspace.policy
    for broken in (None, "no json", '{"keys": []}'):
        if broken is not None:
            keys.write_text(broken)
        with pytest.raises(LogError, match="GOV-510"):
            identities.of(world.token(), policy)
    keys.write_bytes((world.folder / "jwks.json").read_bytes())
    assert identities.of(world.token(), policy).workload == "customers-etl"


def trial(world: World, claim: Claim, task: TaskTry | None, **instance: Any) -> None:
    StandIn.instance, StandIn.status = {"state": "running", "try_number": 2, **instance}, 200
    token = server_token(world, "keys", name="customers-etl")
    keyring = world.caller(token=token, task=task)
    keyring.claim(claim)
    keyring.run_signer(claim.version, claim.attempt)


TASK = TaskTry("a dag/1", "manual__1", "protect", -1, 2)


def reference(claim: Claim) -> dict[str, str]:
    return {"dataset": claim.dataset, "version": claim.version, "attempt": claim.attempt}


def test_a_try_that_airflow_confirms_is_granted_cooperatively(world: World) -> None:
    claim = world.opened()
    trial(world, claim, TASK, rendered_fields={"reference": reference(claim)})
    granted, released = world.records()[-2:]
    assert (granted["assurance"], granted["state"], released["state"]) == (
        "cooperative",
        "granted",
        "released",
    )
    assert granted["task"]["task_id"] == "protect"
    path = "/api/v2/dags/a%20dag%2F1/dagRuns/manual__1/taskInstances/protect"
    assert StandIn.asked[-1] == f"{path} Bearer airflow-secret"
    trial(world, claim, TaskTry("d", "r", "t", 3, 2), rendered_fields={"reference": str(reference(claim))})
    assert "/taskInstances/t/3 " in StandIn.asked[-1]
    opening = world.claim(Operation.OPEN)
    trial(world, opening, TASK, rendered_fields={"contract": f"x/{DATASET}.odcs.yaml", "purpose": PURPOSE})


def test_a_try_that_airflow_does_not_confirm_is_refused(world: World) -> None:
    claim, other = world.opened(), world.opened()
    own = {"rendered_fields": {"reference": reference(claim)}}
    for task, instance in (
        (None, own),
        (TASK, {**own, "state": "success"}),
        (TASK, {**own, "try_number": 1}),
        (TASK, {"rendered_fields": {"reference": reference(other)}}),
        (TASK, {"rendered_fields": {"contract": DATASET, "purpose": PURPOSE}}),
        (TASK, {"rendered_fields": None}),
        (TASK, {}),
    ):
        with world.refused("airflow"):
            trial(world, claim, task, **instance)


@pytest.mark.parametrize("broken", [404, 403, 500])
def test_what_airflow_answers_else_grants_nothing(world: World, broken: int) -> None:
    claim = world.opened()
    token = server_token(world, "keys", name="customers-etl")
    keyring = world.caller(token=token, task=TASK)
    keyring.claim(claim)
    StandIn.instance, StandIn.status = {"state": "running", "try_number": 2}, broken
    with pytest.raises(ProtectionError) as caught:
        keyring.run_signer(claim.version, claim.attempt)
    assert caught.value.code == ("GOV-310" if broken == 404 else "GOV-311")


def test_a_bearer_token_needs_the_scope_and_a_name_of_the_policy(world: World) -> None:
    everything = ("ingest", "evidence", "read", "audit", "rights", "admin")
    assert status(world, server_token(world, *everything, name="customers-etl")) == 403
    claim = world.opened()
    keyring = world.caller(token=server_token(world, "keys", name="somebody"), task=TASK)
    keyring.claim(claim)
    with world.refused("workload"):
        keyring.run_signer(claim.version, claim.attempt)


GOOD = "identity: {issuer: https://k.example, audience: governance, keys: jwks.json}\n"


def test_settings_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text(GOOD + "airflow: {url: 'https://airflow:8080/', tokenFile: t}\nttl: 60\n")
    read = BrokerSettings.read(file)
    assert read.identity == IdentitySettings("https://k.example", "governance", str(tmp_path / "jwks.json"))
    assert read.airflow == AirflowSettings("https://airflow:8080", tmp_path / "t")
    assert read.ttl == 60


@pytest.mark.parametrize(
    "text",
    [
        "", "ttl: 5", "[]", "identity: x", "identity: {issuer: a, audience: b}", GOOD + "ttl: 0", GOOD + "ttl: true",
        GOOD + "other: 1", GOOD.replace("jwks.json", "http://k.example/jwks"), "airflow: {url: ftp://x, tokenFile: t}",
        "a: [", GOOD + "ttl: 100000",
    ],
)  # fmt: skip
def test_settings_that_are_wrong_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text(text)
    with pytest.raises(SettingError, match="GOV-901"):
        BrokerSettings.read(file)


@pytest.mark.parametrize(
    "url",
    [
        "https://keys:5000", "broker+http://keys:5000", "broker+ftp://keys", "broker+https://", "broker+https://u:p@keys",
        "broker+https://keys:port", "broker+https://keys?x=1", "broker+", "",
    ],
)  # fmt: skip
def test_a_broker_is_named_by_https_or_is_on_this_machine(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingError, match="GOV-901"):
        BrokerService(url, tmp_path / "token")
    with pytest.raises(SettingError, match="GOV-901"):
        BrokerService("broker+https://keys:5000", None)
    for good in ("broker+https://keys:5000", "broker+http://127.0.0.1:5000", "broker+http://[::1]:5000"):
        BrokerService(good, tmp_path / "token")
