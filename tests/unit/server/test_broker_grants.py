"""When a grant of the key broker is over: with its time, its run, a rotation, a revocation; and whose it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from brokering import (
    DIGEST,
    SUBJECT,
    World,
    ask,
    listed,
    make_world,
    sealing,
    segment,
    server_token,
)

from governance.errors import ProtectionError
from governance.model.evidence import Stage
from governance.model.key_grant import Claim


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = make_world(tmp_path_factory.mktemp("grants"))
    with made.http:
        yield made


@pytest.fixture
def run(world: World) -> Claim:
    return world.opened()


def test_a_grant_ends_with_its_time(world: World, run: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = sealing(world, run)
    key_id = keyring.new_segment_key(segment(run), "internal")
    grant_id = world.records()[-1]["grant_id"]
    monkeypatch.setattr(world.clock, "ahead", timedelta(seconds=901))
    assert grant_id not in listed(world)
    with world.refused("expired"):
        ask(world, grant_id, {"keys": [key_id]})
    # The run is open, so the worker is granted anew without noticing.
    keyring.new_segment_key(segment(run, "01"), "internal")
    assert world.records()[-1]["grant_id"] != grant_id


def test_a_grant_ends_with_the_run(world: World, run: Claim) -> None:
    keyring = sealing(world, run)
    keyring.new_segment_key(segment(run), "internal")
    grant_id = world.records()[-1]["grant_id"]
    assert grant_id in listed(world)
    world.prove(run, Stage.RELEASE, {"state": "quarantined"})
    assert grant_id not in listed(world)
    with world.refused("ended"):
        keyring.new_segment_key(segment(run, "01"), "internal")


def test_an_announced_release_is_finished_whatever_the_policy_says(world: World) -> None:
    claim = world.opened(policy_digest=DIGEST)
    with world.refused("policy"):
        sealing(world, claim).run_signer(claim.version, claim.attempt)
    world.prove(claim, Stage.RELEASE, {"state": "intended"})
    assert sealing(world, claim).run_signer(claim.version, claim.attempt)


def test_a_policy_that_cannot_be_read_grants_nothing(world: World, run: Claim) -> None:
    policy = world.folder / "home" / "policy.yaml"
    text = policy.read_bytes()
    try:
        for broken in (b"", b"workloads: {", None):
            policy.unlink() if broken is None else policy.write_bytes(broken)
            with pytest.raises(ProtectionError) as caught:
                sealing(world, run).run_signer(run.version, run.attempt)
            assert caught.value.code == "GOV-311"
    finally:
        policy.write_bytes(text)


def test_a_rotation_ends_grants_and_not_the_run(world: World, run: Claim) -> None:
    keyring = sealing(world, run)
    keyring.new_segment_key(segment(run), "internal")
    grant_id = world.records()[-1]["grant_id"]
    world.workspace.keyring.rotate_epoch()
    assert listed(world) == {}
    with world.refused("ended"):
        ask(world, grant_id, {"run_key": True})
    assert keyring.new_segment_key(segment(run, "01"), "internal")


def test_a_grant_is_revoked_by_administrators(world: World, run: Claim) -> None:
    keyring = sealing(world, run)
    key_id = keyring.new_segment_key(segment(run), "internal")
    grant_id = world.records()[-1]["grant_id"]
    path = f"/api/v1/keys/grants/{grant_id}"
    for scopes, status in ((("keys", "read"), 403), (("admin",), 204)):
        token = server_token(world, *scopes, name="operator")
        headers = {"authorization": f"Bearer {token}"}
        assert world.http.delete(path, headers=headers).status_code == status
        assert world.http.get("/api/v1/keys/grants", headers=headers).status_code == (
            200 if status == 204 else 403
        )
    assert (
        world.http.delete(path.replace(grant_id, "0" * 8 + grant_id[8:]), headers=headers).status_code == 404
    )
    assert world.records()[-1]["by"] == "admin:operator"
    with world.refused("revoked"):
        ask(world, grant_id, {"keys": [key_id]})
    assert grant_id not in listed(world)


def test_a_grant_is_worth_nothing_to_another(world: World, run: Claim) -> None:
    sealing(world, run).new_segment_key(segment(run), "internal")
    grant_id = world.records()[-1]["grant_id"]
    with world.refused("caller"):
        ask(world, grant_id, {"run_key": True}, f"{SUBJECT}-2")
    with world.refused("unknown"):
        ask(world, "0" * 8 + grant_id[8:], {"run_key": True})
