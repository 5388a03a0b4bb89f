"""The key broker: what it grants, what it refuses, what the log says of both, and that no key is seen on the way."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from brokering import (
    DATASET,
    DIGEST,
    OTHER,
    PUBLIC_ONLY,
    SUBJECT,
    InProcess,
    World,
    make_world,
    post,
    sealing,
    segment,
    server_token,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from governance.errors import LogError, ProtectionError
from governance.lineage.facets import nonconformities
from governance.lineage.signatures import statement
from governance.model.canonical import canonical, parse
from governance.model.evidence import Stage
from governance.model.key_grant import Claim, Operation
from governance.protect.manifest import PAYLOAD_TYPE, pre_authentication_encoding
from governance.server.broker.pace import Pace


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("broker"))
    with made.http:
        yield made


@pytest.fixture
def run(world: World) -> Claim:
    return world.opened()


def test_what_is_granted_is_what_the_key_store_has(world: World, run: Claim) -> None:
    keyring, own = sealing(world, run), world.workspace.keyring
    key_id = keyring.new_segment_key(segment(run), "restricted")
    assert keyring.segment_key(key_id) == own.segment_key(key_id)
    label = "vault 0123456789abcdef index customer"
    assert keyring.secret(label) == own.secret(label)
    signed = keyring.run_signer(run.version, run.attempt)
    assert signed.public_key == own.run_signer(run.version, run.attempt).public_key
    assert keyring.evidence_signer.public_key == own.evidence_signer.public_key
    assert keyring.log_signer.public_key == own.log_signer.public_key


def test_every_step_is_a_signed_leaf_that_conforms(world: World, run: Claim) -> None:
    before = world.served.log.size()
    sealing(world, run).new_segment_key(segment(run), "internal")
    facets = [
        parse(entry.body or b"")["run"]["facets"]["governance_key_grant"]
        for entry in world.served.log.entries(before)
    ]
    assert [facet["facts"]["state"] for facet in facets] == ["granted", "released"]
    assert [nonconformities(facet) for facet in facets] == [[], []]
    granted, released = (facet["facts"] for facet in facets)
    assert granted["identity"] == {"issuer": "https://kubernetes.example", "subject": SUBJECT}
    assert (granted["workload"], granted["assurance"]) == ("customers-etl", "isolated")
    assert released["keys"] == [f"seg.{segment(run)}.internal"]
    assert facets[0]["context"]["contract_digest"] == run.contract_digest


REFUSED: dict[str, tuple[str, Callable[[World], Claim]]] = {
    "another purpose": ("purpose", lambda w: replace(w.opened(), purpose="support_inference")),
    "a purpose the run was not opened for": ("purpose", lambda w: w.opened(purpose="research")),
    "another contract": ("contract", lambda w: replace(w.opened(), contract_digest=DIGEST)),
    "another policy": ("policy", lambda w: replace(w.opened(), policy_digest=DIGEST)),
    "a policy that the broker no longer has": ("policy", lambda w: w.opened(policy_digest=DIGEST)),
    "another dataset": ("dataset", lambda w: replace(w.opened(), dataset="customer_other")),
    "a dataset of others": ("dataset", lambda w: w.opened(dataset="support_prompts")),
    "a run that nobody opened": ("run", lambda w: w.claim()),
    "a run that is over": ("ended", lambda w: w.released()),
    "an attempt that was opened before": ("run", lambda w: replace(w.opened(), operation=Operation.OPEN)),
    "a read of what was not released": ("run", lambda w: replace(w.opened(), operation=Operation.READ)),
    "a recipient the policy does not name": (
        "recipient",
        lambda w: replace(w.released(), operation=Operation.DISCLOSE, recipient="nobody"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_reason_in_the_log(world: World, case: str) -> None:
    reason, made = REFUSED[case]
    claim = made(world)
    keyring = sealing(world, claim)
    with world.refused(reason):
        keyring.new_segment_key(segment(claim), "internal")
    last = world.served.log.entry(world.served.log.size() - 1)
    assert nonconformities(parse(last.body or b"")["run"]["facets"]["governance_key_grant"]) == []


@pytest.mark.parametrize("subject, reason", [("system:serviceaccount:x:y", "workload"), (OTHER, "dataset")])
def test_a_workload_gets_what_the_policy_gives_it(
    world: World, run: Claim, subject: str, reason: str
) -> None:
    with world.refused(reason):
        sealing(world, run, subject).new_segment_key(segment(run), "internal")


def test_sensitivity_bounds_the_keys(world: World, run: Claim) -> None:
    keyring = sealing(world, run, PUBLIC_ONLY)
    for level in ("public", "footer", "quarantine"):
        keyring.new_segment_key(segment(run), level)
    with world.refused("sensitivity"):
        keyring.new_segment_key(segment(run), "internal")
    with world.refused("sensitivity"):
        keyring.new_segment_key(segment(run), "no_such_level")


def test_keys_of_others_are_refused(world: World, run: Claim) -> None:
    strange = world.opened()
    keyring = sealing(world, run)
    with world.refused("key"):
        keyring.new_segment_key(segment(strange), "internal")
    with world.refused("key"):
        keyring.new_segment_key("vault-0123456789abcdef-9", "restricted")
    unclaimed = ("token:customer", "vault 0123456789abcdef index patient", "drift:support_prompts", "root")
    for label in unclaimed:
        with world.refused("key"):
            keyring.secret(label)
    assert keyring.secret(f"drift:{DATASET}") == world.workspace.keyring.secret(f"drift:{DATASET}")
    for key_id in (f"seg.{segment(world.claim())}.internal", "seg.elsewhere-1.internal"):
        with world.refused("key"):
            keyring.segment_key(key_id)
    with pytest.raises(ProtectionError, match="GOV-310"):
        keyring.run_signer(strange.version, strange.attempt)
    # A version shares segments with earlier ones of its dataset: those may be read.
    theirs = world.workspace.keyring.new_segment_key(segment(strange), "internal")
    assert keyring.segment_key(theirs) == world.workspace.keyring.segment_key(theirs)


def test_an_unknown_key_is_as_unknown_here_as_it_is_there(world: World, run: Claim) -> None:
    with world.refused("key", "GOV-303"):
        sealing(world, run).segment_key(f"seg.{segment(run)}.restricted")


def test_a_released_version_is_read_for_its_purpose(world: World) -> None:
    claim = world.opened()
    key_id = world.workspace.keyring.new_segment_key(segment(claim), "internal")
    world.prove(claim, Stage.RELEASE, {"state": "released"})
    keyring = sealing(world, replace(claim, operation=Operation.READ))
    keyring.expect([key_id, key_id])
    assert keyring.segment_key(key_id) == world.workspace.keyring.segment_key(key_id)
    with world.refused("key"):
        keyring.new_segment_key(segment(claim, "01"), "internal")


def statement_of(world: World, claim: Claim, stage: str, facts: dict, **changed: object) -> bytes:
    context = {**world.context(claim), **changed}
    return statement(stage=stage, context=context, facts=facts, openlineage_run_id="r", inputs=[], outputs=[])


def test_only_the_claims_own_opening_is_signed(world: World) -> None:
    claim = world.claim(Operation.OPEN)
    keyring = sealing(world, claim)
    opening = world.opening(claim)
    assert keyring.run_signer(claim.version, claim.attempt)
    keyring.evidence_signer.sign(statement_of(world, claim, "open", opening))
    assert (world.records()[-1]["state"], world.records()[-1]["signed"]) == ("signed", "open")
    other_key = {**opening, "run_public_key": base64.b64encode(bytes(32)).decode()}
    not_logged = {**opening, "contract": {**opening["contract"], "log_index": 0}}
    manifest = pre_authentication_encoding(PAYLOAD_TYPE, canonical({"run": {}}))
    for reason, data in {
        "purpose": statement_of(world, claim, "open", opening, purpose="research"),
        "run": statement_of(world, claim, "open", opening, version="v" + "0" * 24),
        "key": statement_of(world, claim, "open", other_key),
        "contract": statement_of(world, claim, "open", not_logged),
        "operation": statement_of(world, claim, "key_grant", opening),
    }.items():
        with world.refused(reason):
            keyring.evidence_signer.sign(data)
    for data in (manifest, b"anything", b"", canonical(["governance key release v1", "g", DIGEST])):
        with world.refused("operation"):
            keyring.evidence_signer.sign(data)


def test_a_manifest_is_signed_after_every_stage_left_evidence(world: World, run: Claim) -> None:
    keyring = sealing(world, run)
    body = {
        **{name: getattr(run, name) for name in ("dataset", "version", "contract_digest", "policy_digest")},
        "run": {k: v for k, v in run.to_json().items() if k != "operation"},
    }
    manifest = pre_authentication_encoding(PAYLOAD_TYPE, canonical(body))
    for stage in (Stage.CLASSIFY, Stage.CONSENT, Stage.PROTECT):
        with world.refused("evidence"):
            keyring.evidence_signer.sign(manifest)
        world.prove(run, stage, {})
    world.prove(run, Stage.VALIDATE, {"success": False})
    with world.refused("evidence"):
        keyring.evidence_signer.sign(manifest)
    world.prove(run, Stage.VALIDATE, {"success": True})
    assert keyring.evidence_signer.sign(manifest)
    other = {**body, "run": {**body["run"], "attempt": "ffffffff"}}  # type: ignore[dict-item]
    with world.refused("run"):
        keyring.evidence_signer.sign(pre_authentication_encoding(PAYLOAD_TYPE, canonical(other)))


def test_checkpoints_are_the_logs(world: World) -> None:
    note = world.caller().checkpoint()
    assert note == world.served.log.checkpoint().note


def test_managing_keys_is_refused_where_there_are_none(world: World, run: Claim) -> None:
    keyring = sealing(world, run)
    for managed in (
        keyring.rotate_epoch,
        keyring.make_next_log_signer,
        lambda: keyring.usage,
        lambda: keyring.destructions,
        lambda: keyring.provider,
        lambda: keyring.run_seed(run.version, run.attempt),
        lambda: keyring.destroy_segment_keys(["s"]),
        lambda: keyring.epoch,
        lambda: keyring.log_signer.sign(b""),
        lambda: world.caller().segment_key("seg.s.internal"),
    ):
        with pytest.raises(ProtectionError) as caught:
            managed()
        assert caught.value.code == "GOV-310"


def test_what_lies_between_can_neither_read_nor_replace_a_key(world: World, run: Claim) -> None:
    from governance.keys.broker import seal_release
    from governance.keys.signing import Ed25519Signer

    def own_key(path: str, answer: dict[str, str]) -> dict[str, str]:
        if not path.endswith("/keys"):
            return answer
        grant_id = path.split("/")[2]
        public = base64.b64decode(
            next(r for r in world.records() if r.get("grant_id") == grant_id)["public_key"]
        )
        return seal_release(
            {"run": base64.b64encode(bytes(32)).decode()}, public, grant_id, Ed25519Signer(b"m" * 32)
        )

    def own_reader(path: str, answer: dict[str, str]) -> dict[str, str]:
        return {**answer, "sealed": answer["sealed"][:-8] + "AAAAAAA="} if "sealed" in answer else answer

    for meddling in (
        own_key,
        own_reader,
        lambda path, answer: {},
        lambda path, answer: {**answer, "expires_in": "x"},
    ):
        keyring = sealing(world, run)
        keyring._service.meddle = meddling  # type: ignore[attr-defined]
        with pytest.raises(ProtectionError) as caught:
            keyring.run_signer(run.version, run.attempt)
        assert caught.value.code == "GOV-310"


def test_no_key_is_seen_on_the_way(world: World, run: Claim, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keyring = sealing(world, run)
    key_id = keyring.new_segment_key(segment(run), "restricted")
    held = {
        keyring.segment_key(key_id),
        world.workspace.keyring.run_seed(run.version, run.attempt),
    }
    keyring.run_signer(run.version, run.attempt)
    assert isinstance(keyring._service, InProcess)
    admin = {"authorization": f"Bearer {server_token(world, 'admin', 'read', name='looks')}"}
    shown = [
        *keyring._service.answers,
        caplog.text.encode(),
        repr(keyring).encode(),
        *(
            world.http.get(path, headers=admin).content
            for path in ("/openapi.json", "/metrics", "/api/v1/keys/grants")
        ),
        *(entry.body or b"" for entry in world.served.log.entries()),
    ]
    assert all(shown)
    with pytest.raises(ProtectionError) as caught:
        keyring.segment_key("seg.elsewhere-1.internal")
    import traceback

    shown.append(
        "".join(
            traceback.TracebackException.from_exception(caught.value, capture_locals=False).format()
        ).encode()
    )
    for key in held:
        for seen in (key, key.hex().encode(), base64.b64encode(key), base64.urlsafe_b64encode(key)[:42]):
            assert not [text[:80] for text in shown if seen in text]
    with pytest.raises(TypeError):
        import pickle

        pickle.dumps(keyring)


def test_malformed_requests_are_refused_before_anything_is_done(world: World, run: Claim) -> None:
    before = world.served.log.size()
    good = {**run.to_json(), "public_key": base64.b64encode(b"\x09" + bytes(31)).decode()}
    for changed in (
        {"operation": "erase"},
        {"dataset": "../x"},
        {"version": "v1"},
        {"public_key": "x"},
        {"attempt": ""},
        {"extra": 1},
        {"purpose": "a@b.example"},
    ):
        answer = post(world, "/grants", {**good, **changed})
        assert answer.status_code == 422, changed
    of_small_order = base64.b64encode(bytes(32)).decode()
    assert post(world, "/grants", {**good, "public_key": of_small_order}).status_code == 400
    headers = {"authorization": f"Bearer {world.token()}", "content-length": str(1 << 30)}
    assert world.http.post("/api/v1/keys/grants", headers=headers, content=b"{}").status_code == 413
    assert world.served.log.size() == before
    assert post(world, "/grants", good).status_code == 201


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
MEMBERS = ["operation", "dataset", "public_key", "create", "keys", "labels", "run_key", "data", "task"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=JSON | st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=5),
    part=st.sampled_from(["keys", "signatures", ""]),
)
def test_nothing_that_is_sent_is_a_fault_of_the_brokers(world: World, body: object, part: str) -> None:
    path = f"/grants/0198c0de-0000-4000-8000-000000000001/{part}" if part else "/grants"
    assert post(world, path, body).status_code < 500


def test_without_the_log_there_is_no_key(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The store is really gone: its table of entries is dropped under the server."""
    import sqlite3

    world = make_world(tmp_path_factory.mktemp("logless"))
    with world.http:
        run = world.opened()
        keyring = sealing(world, run)
        keyring.new_segment_key(segment(run), "internal")
        service = keyring._service
        assert isinstance(service, InProcess)
        size = len(service.answers)
        [database] = (world.folder / "home" / "store").glob("*.sqlite")
        with sqlite3.connect(database) as connection:
            tables = [
                row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            for table in tables:
                if not table.startswith("sqlite_"):
                    connection.execute(f'DROP TABLE "{table}"')
        connection.close()
        with pytest.raises(ProtectionError) as caught:
            keyring.new_segment_key(segment(run, "01"), "internal")
        assert caught.value.code == "GOV-311"
        assert all(b"sealed" not in answer for answer in service.answers[size:])


def test_a_caller_that_asks_too_often_waits(tmp_path_factory: pytest.TempPathFactory) -> None:
    now = [0.0]
    pace = Pace(burst=2, rate=1.0, monotonic=lambda: now[0])
    for _ in range(2):
        pace.take("a")
    pace.take("b")
    with pytest.raises(LogError, match="GOV-510"):
        pace.take("a")
    now[0] = 1.0
    pace.take("a")
