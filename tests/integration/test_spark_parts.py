"""What a pass on Spark is made of, without Spark: shares of a source, subjects by mark, hand-over, grants."""

from __future__ import annotations

import json
import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from before_and_after import CUSTOMERS
from broker_world import brokered
from governed_home import PURPOSES, Home, edited, refused
from hypothesis import given
from hypothesis import strategies as st
from test_pass_load_modes import COUNTRY

from governance import sources
from governance.access import read_with_duckdb
from governance.errors import SettingError
from governance.model.contract import Engine
from governance.model.decision import Reason
from governance.model.evidence import Stage
from governance.pipeline.consent import ConsentDecision
from governance.pipeline.spark import engine, jar, task
from governance.pipeline.spark.grants import GrantedKeys, GrantSocket, ReadGrant, SealGrant
from governance.pipeline.spark.handover import Handover
from governance.pipeline.spark.subjects import SubjectTable, gathered, row_regimes


@pytest.mark.parametrize("shares", [1, 2, 3, 7, 100])
def test_shares_are_the_source_each_row_once(tmp_path: Path, shares: int) -> None:
    for name, rows in (("a", 10), ("b", 1)):
        table = pa.table({"n": [f"{name}{i}" for i in range(rows)]})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=3)
    snapshot = sources.pin(str(tmp_path))
    dealt = sources.split(snapshot, shares)
    assert 1 <= len(dealt) <= shares
    assert all(dealt)
    read = [[v for b in sources.read(snapshot, parts=each) for v in b["n"].to_pylist()] for each in dealt]
    assert sorted(v for share in read for v in share) == sorted(
        v for batch in sources.read(snapshot) for v in batch["n"].to_pylist()
    )
    known = sources.schema(snapshot)
    # A file of which one row group is read is verified whole.
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[::-1])
    with refused("GOV-705"):
        for each in dealt:
            list(sources.read(snapshot, parts=each, known=known))


@pytest.mark.parametrize("late", [(), range(40)])
def test_subjects_are_decided_as_the_local_pass_decides_them(released: Home, late: Any) -> None:
    context = released.open(CUSTOMERS)
    decision = ConsentDecision.of_run(context, late=np.array(late, np.int64))
    table = gathered(
        context.read_source("subjects", decision.columns),
        decision,
        context.contract,
        lambda ordinals: context.workspace.vault.pseudonyms("customer", "released:customer", ordinals),
    )
    applicable = row_regimes(context.policy, context.contract)
    for batch in context.read_source("compare"):
        reasons, rows = table.decide(context.contract, applicable, batch)
        expected, ordinals = decision(batch)
        assert reasons.tolist() == expected.tolist()
        assert set(reasons.tolist()) > {Reason.ALLOWED}
        kept = (reasons == Reason.ALLOWED) & (ordinals >= 0)
        pseudonyms = context.workspace.vault.pseudonyms("customer", "released:customer", ordinals[kept])
        assert table.pseudonyms_of(rows[kept]).tolist() == pseudonyms.tolist()
    assert not context.workspace.vault.pseudonyms("customer", "x", np.array([-1])).any()
    changed = batch.set_column(
        batch.schema.get_field_index("customer_id"),
        "customer_id",
        pa.array(["nobody-of-that-name"] * batch.num_rows),
    )
    with refused("GOV-705", free_of=("nobody-of-that-name",)):
        table.decide(context.contract, applicable, changed)


@given(
    subjects=st.integers(0, 40),
    repeats=st.lists(st.integers(0, 5), max_size=3),
    policy=st.binary(max_size=99),
)
def test_a_handover_opens_as_it_was_and_only_where_it_belongs(
    subjects: int, repeats: list[int], policy: bytes
) -> None:
    random = np.random.default_rng(subjects)
    bytes_of = lambda *shape: random.integers(0, 256, shape, np.uint8)
    made = Handover(
        SubjectTable(b"k" * 32, bytes_of(subjects, 16), bytes_of(subjects + 1, 9), bytes_of(subjects, 16)),
        [random.integers(0, 9, (n, 2)).astype(np.uint64) for n in repeats],
        {"customer": b"t" * 32},
        policy,
        frozenset({"public"}),
    )
    sealed = made.seal(b"s" * 32, "staging/a")
    again = Handover.open(sealed, b"s" * 32, "staging/a")
    for name in ("marks", "reasons", "pseudonyms"):
        assert getattr(again.subjects, name).tolist() == getattr(made.subjects, name).tolist()
    assert [r.tolist() for r in again.repeats] == [r.tolist() for r in made.repeats]
    assert (again.token_keys, again.policy, again.clear) == (made.token_keys, policy, made.clear)
    assert "redacted" in repr(made)
    for wrong in (
        (sealed, b"x" * 32, "staging/a"),
        (sealed, b"s" * 32, "staging/b"),
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"s" * 32, "staging/a"),
        (b"", b"s" * 32, "staging/a"),
    ):
        with refused("GOV-308"):
            Handover.open(*wrong)


def test_a_grant_covers_what_it_is_for_until_it_ends(released: Home) -> None:
    keyring, version = released.workspace().keyring, "v" + "a" * 24
    other = keyring.new_segment_key(f"{version}-other", "internal")
    handover = keyring.new_segment_key(f"{version}-1234-handover", "quarantine")
    with GrantSocket() as served:
        name = served.grant(SealGrant(keyring, f"{version}-1234", handover))
        keys = GrantedKeys(served.path, name)
        made = keys.new_segment_key(f"{version}-1234-x", "internal")
        assert keys.segment_key(made) == keyring.segment_key(made)
        assert keys.segment_key(handover) == keyring.segment_key(handover)
        with refused("GOV-310"):
            keys.segment_key(other)
        with refused("GOV-310"):
            keys.new_segment_key(f"{version}-5678-x", "internal")
        with refused("GOV-310"):
            GrantedKeys(served.path, "another").segment_key(made)
        assert Path(served.path).parent.stat().st_mode & 0o777 == 0o700
        for line in (b"", b"{", b"[]", b'{"grant": 1}', b'{"grant": "%s", "want": "unwrap"}' % name.encode()):
            assert "fault" in asked(served.path, line)
        served.end(name)
        with refused("GOV-310"):
            GrantedKeys(served.path, name).segment_key(made)
    with refused("GOV-311"):
        GrantedKeys(served.path, name).segment_key(made)


def test_another_user_is_not_answered(released: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks is the kernel's word; that this process is someone else is ours, as only one user is here."""
    keyring = released.workspace().keyring
    key_id = keyring.new_segment_key("v-handover", "quarantine")
    with GrantSocket() as served:
        keys = GrantedKeys(served.path, served.grant(SealGrant(keyring, "v", key_id)))
        with monkeypatch.context() as patched:
            patched.setattr(os, "getuid", lambda: 1 << 20)
            with refused("GOV-311"):
                keys.segment_key(key_id)
        assert keys.segment_key(key_id) == keyring.segment_key(key_id)


def test_a_socket_path_that_no_kernel_takes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (long := tmp_path / ("x" * 120)).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with refused("GOV-901"):
        GrantSocket()
    assert not list(long.iterdir())


def asked(path: str, line: bytes) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(line + b"\n")
        answer: dict[str, Any] = json.loads(connection.makefile().read())
        return answer


def test_a_read_opens_only_what_was_verified(released: Home) -> None:
    manifest = released.manifest(CUSTOMERS)
    grant = ReadGrant(released.workspace().keyring, manifest, {"/a/part.parquet": (b"tail", "sha256:1")})
    right = {"want": "open", "path": "/a/part.parquet", "tail": "dGFpbA==", "material": "sha256:1"}
    assert grant.answer(right) is None
    for wrong, code in (
        ({"path": "/b/part.parquet"}, "GOV-310"),
        ({"tail": "AAAA"}, "GOV-308"),
        ({"tail": "?"}, "GOV-310"),
        ({"material": "sha256:2"}, "GOV-308"),
        ({"want": "unwrap", "key_id": "seg.other.internal", "wrapped": ""}, "GOV-310"),
    ):
        with refused(code):
            grant.answer({**right, **wrong})
    key_id = next(iter(manifest.segments[0].key_ids.values()))
    with refused("GOV-308"):
        grant.answer({"want": "unwrap", "key_id": key_id, "wrapped": "AAAA"})


def test_duckdb_reads_what_a_governed_reader_reads_once(released: Home) -> None:
    expected = released.rows(CUSTOMERS)
    with refused("GOV-602"):
        read_with_duckdb(released.workspace(), CUSTOMERS, purpose="research")
    columns = ["customer_pseudonym", "loyalty_tier"]
    relation = read_with_duckdb(released.workspace(), CUSTOMERS, purpose=PURPOSES[CUSTOMERS], columns=columns)
    assert relation.columns == columns
    got = relation.to_arrow_table()
    assert sorted(got.to_pylist(), key=str) == sorted(expected.select(columns).to_pylist(), key=str)
    with pytest.raises(Exception, match=r"(?i)already scanned|invalid"):
        relation.aggregate("count(*)").fetchall()


def in_this_process(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    """Tasks run one after the other and here."""
    executors = SimpleNamespace(sparkContext=SimpleNamespace(defaultParallelism=2))
    monkeypatch.setattr(engine, "session", lambda: executors)

    def collected(_: Any, share: Any) -> list[dict[str, Any]]:
        work = task.Pass(replace(share, **changed))
        return [json.loads(json.dumps(task.stated(work.run(n)))) for n in range(len(share.shares))]

    monkeypatch.setattr(engine, "_collected", collected)


def test_partitions_are_replaced_whole_whoever_wrote_them(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks run in this process: which one writes what does not depend on Spark."""
    in_this_process(monkeypatch)
    contract = edited(
        home.contract(CUSTOMERS),
        lambda t: t.replace("loadMode: full", "loadMode: replace-partition\n      engine: spark").replace(
            COUNTRY, COUNTRY + "        partitioned: true\n        partitionKeyPosition: 1\n"
        ),
    )
    table = pa_csv.read_csv(home.source(CUSTOMERS))
    (tmp_path / "whole").mkdir()
    for number in range(2):
        rows_of = pa.array(range(number, table.num_rows, 2))
        pa_csv.write_csv(table.take(rows_of), tmp_path / "whole" / f"{number}.csv")
    home.run(CUSTOMERS, source=tmp_path / "whole")
    first, rows = home.manifest(CUSTOMERS).segments, home.rows(CUSTOMERS)
    assert sum(s.partition["country"] == "DE" for s in first) == 2
    german = tmp_path / "german.csv"
    pa_csv.write_csv(table.filter(pc.equal(table["country"], "DE")), german)
    home.run(CUSTOMERS, source=german)
    second = home.manifest(CUSTOMERS).segments
    others = {s.segment_id for s in first if s.partition["country"] != "DE"}
    assert {s.segment_id for s in second if s.partition["country"] != "DE"} == others
    assert sum(s.partition["country"] == "DE" for s in second) == 1
    edited(contract, lambda t: t.replace("engine: spark", "engine: local"))
    home.run(CUSTOMERS, source=tmp_path / "whole")
    key = [("customer_pseudonym", "ascending"), ("country", "ascending")]
    names = [name for name, _ in key]
    assert home.rows(CUSTOMERS).select(names).sort_by(key).equals(rows.select(names).sort_by(key))


def test_executors_elsewhere_ask_the_broker(
    prepared_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks run in this process, as no second machine is here; each has a grant of its own, as there."""
    home, server, _ = brokered(prepared_home, tmp_path)
    try:
        text = home.contract(CUSTOMERS).read_text("utf-8")
        contract = tmp_path / f"{CUSTOMERS}.odcs.yaml"
        contract.write_text(
            text.replace("      onLateWithdrawal", "      engine: spark\n      onLateWithdrawal")
        )
        monkeypatch.setenv("GOVERNANCE_KEYS", home.settings.keys)
        monkeypatch.setenv("GOVERNANCE_KEYS_TOKEN_FILE", str(home.settings.keys_token))
        in_this_process(monkeypatch, socket="/nowhere")
        facts = home.run(CUSTOMERS, contract_path=contract).facts[Stage.PROTECT]
        assert facts["engine"] == "spark"
        assert home.rows(CUSTOMERS).num_rows == facts["rows_out"] > 0
        granted = [f["facts"] for f in home.evidence(Stage.KEY_GRANT) if f["facts"]["state"] == "granted"]
        assert sum(g["operation"] == "seal" for g in granted) >= 1 + len(facts["segments"])
    finally:
        server.close()


def test_auto_takes_spark_from_a_size_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = edited(
        home.contract(CUSTOMERS), lambda t: t.replace("loadMode: full", "loadMode: full\n      engine: auto")
    )
    context = home.open(CUSTOMERS)
    assert context.contract.engine is Engine.AUTO
    size = sum(file.size for file in context.run.source.files)
    plan: Any = SimpleNamespace(recode=None)
    for least, taken in ((size, True), (size + 1, False)):
        monkeypatch.setenv("GOVERNANCE_SPARK_FROM", str(least))
        assert engine.runs_on_spark(context.contract, context.run.source, plan) is taken
    plan.recode = lambda batch, _: batch
    monkeypatch.setenv("GOVERNANCE_SPARK_FROM", "0")
    assert not engine.runs_on_spark(context.contract, context.run.source, plan)
    with refused("GOV-102"):
        engine.runs_on_spark(replace(context.contract, engine=Engine.SPARK), context.run.source, plan)
    edited(contract, lambda t: t.replace("engine: auto", "engine: quick"))
    with refused("GOV-102"):
        home.open(CUSTOMERS)
    monkeypatch.setenv("GOVERNANCE_SPARK_FROM", "4GB")
    with refused("GOV-901"):
        plan.recode = None
        engine.runs_on_spark(context.contract, context.run.source, plan)


def test_without_a_compiler_the_jar_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SettingError, match="GOV-902"):
        jar.built_jar(tmp_path)
