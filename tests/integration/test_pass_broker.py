"""The governed pass of a worker that has no key and no way to a KMS: each key comes from a served process."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from broker_world import SUBJECT, Brokered, Platform, brokered
from governed_home import refused
from served_process import Server

from governance.access import disclose
from governance.lineage.facets import nonconformities
from governance.model.evidence import Stage
from governance.pipeline.local import local_recorder
from governance.pipeline.run import STEPS
from governance.pipeline.workspace import Workspace

CUSTOMERS = "customer_profiles"


@pytest.fixture(scope="module")
def world(
    prepared_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Brokered, Server, Platform]]:
    home, server, platform = brokered(prepared_home, tmp_path_factory.mktemp("brokered"))
    yield home, server, platform
    server.close()


def reasons(home: Brokered) -> list[str]:
    return [f["facts"]["reason"] for f in home.evidence(Stage.KEY_GRANT) if f["facts"]["state"] == "refused"]


def test_governed_run_and_read_without_a_key(world: tuple[Brokered, Server, Platform]) -> None:
    home, server, _ = world
    assert not [path for path in home.path.iterdir() if path.name in ("keys", "secrets", "signer")]
    assert "GOVERNANCE_KEK" not in {k for k, v in home.settings.environment().items() if v}
    code, out, err = home.cli(
        "run", home.contract(CUSTOMERS), "--source", home.source(CUSTOMERS), "--purpose", "model_training", "--json"
    )  # fmt: skip
    assert code == 0, err
    released = json.loads(out)
    assert home.rows(CUSTOMERS).num_rows == released["rows_out"] > 0
    # Where the keys are, the same version opens, and the log that both wrote to verifies.
    kept = Workspace.open(replace(home.settings, home=home.kept, keys="", kek=kek(home)))
    segment = home.manifest(CUSTOMERS).segments[0]
    keys = [kept.keyring.segment_key(key_id) for key_id in segment.key_ids.values()]
    keys.append(kept.keyring.run_seed(released["version"], released["attempt"]))
    facets = home.evidence(Stage.KEY_GRANT)
    assert [nonconformities(facet) for facet in facets if nonconformities(facet)] == []
    granted = [f["facts"] for f in facets if f["facts"]["state"] == "granted"]
    assert [g["operation"] for g in granted] == ["open", "seal", "read"]
    assert {g["identity"]["subject"] for g in granted} == {SUBJECT}
    told = {key for f in facets for key in f["facts"].get("keys", ())}
    assert set(segment.key_ids.values()) <= told
    # Neither the server's output, nor the log, nor what the worker can reach holds one of the keys.
    places = [
        server.output,
        *filter(Path.is_file, home.path.rglob("*")),
        *Path(home.settings.store).rglob("*"),
    ]
    for place in filter(Path.is_file, places):
        content = place.read_bytes()
        for key in keys:
            assert key not in content, place
            assert base64.b64encode(key) not in content, place
            assert key.hex().encode() not in content, place


def kek(home: Brokered) -> str:
    return f"file:{home.kept}/secrets/kek.json"


def test_tasks_of_their_own_processes_go_on_under_grants_of_their_own(
    world: tuple[Brokered, Server, Platform],
) -> None:
    home, _, _ = world
    context = home.open(CUSTOMERS)
    for stage, step in STEPS.items():
        facts = step(home.again(context))
        if stage is Stage.PROTECT:
            assert facts["rows_out"] > 0
    # It is over: nothing more is sealed for it.
    with refused("GOV-310"):
        home.again(context)
    assert reasons(home)[-1] == "ended"


def test_others_and_other_purposes_are_refused(world: tuple[Brokered, Server, Platform]) -> None:
    home, _, platform = world
    pointer = Path(home.settings.datasets, CUSTOMERS, "current.json")
    before = pointer.read_bytes() if pointer.exists() else home.pointer(CUSTOMERS)
    for token, reason in (
        (platform.token("system:serviceaccount:etl:prompts"), "dataset"),
        (platform.token("system:serviceaccount:etl:nobody"), "workload"),
    ):
        with refused("GOV-310"):
            home.asking_as(token).run(CUSTOMERS)
        assert reasons(home)[-1] == reason
    with refused("GOV-310"):
        home.run("support_prompts")
    assert reasons(home)[-1] == "dataset"
    with refused("GOV-310") as caught:
        home.asking_as(platform.token(exp=int(time.time()) - 60)).run(CUSTOMERS)
    assert "GOV-610" in caught[0].message
    workspace = home.workspace()
    with refused("GOV-310"):
        disclose(
            workspace,
            local_recorder(workspace, CUSTOMERS, "d"),
            dataset=CUSTOMERS,
            recipient="northlake-research",
            purpose="research",
            directory=home.path / "out",
            description="a study",
        )
    assert reasons(home)[-1] in ("operation", "purpose")
    assert not (home.path / "out").exists()
    assert (pointer.read_bytes() if pointer.exists() else home.pointer(CUSTOMERS)) == before


def test_a_run_that_changes_its_contract_gets_no_key(world: tuple[Brokered, Server, Platform]) -> None:
    home, _, _ = world
    context = home.open(CUSTOMERS)
    staged = home.root(CUSTOMERS) / context.reference.folder / "run.json"
    contract = home.root(CUSTOMERS) / context.reference.folder / "contract.odcs.yaml"
    from governance.model.canonical import canonical, digest, parse

    contract.write_text(contract.read_text("utf-8").replace("method: truncate", "method:  truncate") + "\n")
    run = parse(staged.read_bytes())
    staged.write_bytes(canonical({**run, "contract_digest": digest(contract.read_bytes())}))
    with refused("GOV-310"):
        STEPS[Stage.CLASSIFY](home.again(context))
    assert reasons(home)[-1] == "contract"


def test_operators_list_and_revoke(world: tuple[Brokered, Server, Platform], tmp_path: Path) -> None:
    home, server, _ = world
    context = home.open(CUSTOMERS)
    STEPS[Stage.CLASSIFY](context)
    token = tmp_path / "admin"
    token.write_text(server.token)
    asked = ("--url", server.url, "--token-file", token)
    code, out, err = home.cli("broker", "grants", *asked, "--json")
    assert code == 0, err
    live = [grant for grant in json.loads(out) if grant["attempt"] == context.reference.attempt]
    # The opening's is over with the opening.
    assert [grant["operation"] for grant in live] == ["seal"]
    code, out, err = home.cli("broker", "revoke", live[0]["grant_id"], *asked)
    assert (code, out) == (0, f"revoked {live[0]['grant_id']}\n"), err
    code, out, _ = home.cli("broker", "grants", *asked, "--json")
    assert live[0]["grant_id"] not in out
    assert home.cli("broker", "revoke", "no-such", *asked)[0] == 1


def test_a_broker_that_is_down_stops_the_pass(world: tuple[Brokered, Server, Platform]) -> None:
    home, server, _ = world
    context = home.open(CUSTOMERS)
    for stage in (Stage.CLASSIFY, Stage.CONSENT):
        STEPS[stage](context)
    before = home.pointer(CUSTOMERS)
    server.kill()
    try:
        with refused("GOV-311"):
            STEPS[Stage.PROTECT](context)
        code, _, err = home.cli(
            "run", home.contract(CUSTOMERS), "--source", home.source(CUSTOMERS), "--purpose", "model_training"
        )  # fmt: skip
        assert code == 1
        assert "GOV-311" in err
        assert home.pointer(CUSTOMERS) == before
    finally:
        server.start()
    # After a restart grants are known from the log, and the run goes on.
    for stage in (Stage.PROTECT, Stage.VALIDATE, Stage.RELEASE):
        STEPS[stage](context)
    assert home.pointer(CUSTOMERS) != before
