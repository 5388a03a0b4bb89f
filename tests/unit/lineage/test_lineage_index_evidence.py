"""What the index believes, what it survives, and that arrival order changes nothing."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lineage_samples import PRODUCER, RELEASED, SOURCE, VERSION, MemoryLog, facts_of
from test_lineage_index import built, event

from governance.lineage import as_sent
from governance.lineage.index.index import Index
from governance.lineage.recorder import OpenLineageRecorder
from governance.log import GENESIS, Log, NewEntry, open_storage
from governance.model.evidence import Stage
from tests.signing_key import Key, new_key


@pytest.fixture
def governed(log: MemoryLog, root_key: Key) -> MemoryLog:
    genesis = {"v": 1, "evidence_public_key": base64.b64encode(root_key.public_key).decode()}
    log.put(json.dumps(genesis).encode(), "admin:cli", "application/vnd.governance.genesis+json")
    return log


def test_evidence_is_observed_along_the_chain(governed, recorder, root_key, run_key, evidence) -> None:
    recorder.record(evidence(Stage.OPEN, inputs=(SOURCE,)), root_key)
    recorder.record(evidence(Stage.PROTECT, inputs=(SOURCE,), outputs=(RELEASED,)), run_key)
    recorder.record(evidence(Stage.VALIDATE), new_key())
    governed.put(governed.entry(2).body, "ingest:test")
    index = Index.build(governed)
    said = index.evidence(version=VERSION)
    assert [(e["stage"], e["basis"]) for e in said] == [
        ("open", "observed"),
        ("protect", "observed"),
        ("validate", "declared"),
        ("protect", "declared"),
    ]
    assert [e["log_index"] for e in said] == [1, 2, 3, 4]
    assert said[1]["facts"] == as_sent(facts_of(Stage.PROTECT, b""))
    assert said[1]["context"]["purpose"] == "model_training"
    assert said[2]["reason"] == "it is not signed by the run's key"
    assert [e["stage"] for e in index.evidence(stage="protect", as_of=3)] == ["protect"]
    assert [e["stage"] for e in index.evidence(version=VERSION, dataset="another")] == []
    # Evidence never turns up as an ordinary facet.
    assert index.query("FROM facets WHERE scope = 'run' AND starts_with(facet, 'governance_')") == []
    state = index.dataset("gov", "clinical_encounters")
    assert state is not None
    assert state.basis["governance_classifications"] == state.basis["columnLineage"] == "observed"
    assert state.version == VERSION
    edges = index.column_lineage("gov", "clinical_encounters", "email")
    assert sorted(e["basis"] for e in edges) == ["declared", "observed"]


def test_a_pinned_key_goes_before_the_store_s(governed, recorder, root_key, evidence) -> None:
    recorder.record(evidence(Stage.OPEN), root_key)
    assert Index.build(governed).evidence(version=VERSION)[0]["basis"] == "observed"
    other = Index.build(governed, evidence_public_key=new_key().public_key)
    assert other.evidence(version=VERSION)[0]["basis"] == "declared"


def test_evidence_before_its_opening_is_declared(governed, recorder, root_key, run_key, evidence) -> None:
    recorder.record(evidence(Stage.CONSENT), run_key)
    recorder.record(evidence(Stage.OPEN), root_key)
    assert [e["basis"] for e in Index.build(governed).evidence(version=VERSION)] == ["declared", "observed"]


def test_a_declaration_displaces_no_evidence(governed, recorder, root_key, run_key, evidence) -> None:
    recorder.record(evidence(Stage.OPEN), root_key)
    recorder.record(evidence(Stage.PROTECT, inputs=(SOURCE,), outputs=(RELEASED,)), run_key)
    lie = {
        "namespace": "gov",
        "name": "clinical_encounters",
        "facets": {"governance_classifications": {"columns": {"email": {"classification": "none"}}}},
    }
    governed.put(json.dumps(event("COMPLETE", 59, outputs=[lie])).encode())
    state = Index.build(governed).dataset("gov", "clinical_encounters")
    assert state is not None
    assert state.facets["governance_classifications"]["columns"]["email"]["classification"] == "email"
    assert state.conflicting == ("governance_classifications",)


def test_a_redacted_event_leaves_its_entry(log: MemoryLog) -> None:
    log.put(json.dumps(event()).encode())
    log.redact(0)
    index = Index.build(log)
    assert index.runs() == []
    entry, _ = index.query("FROM entries ORDER BY log_index")
    assert (entry["redacted"], entry["fault"], entry["principal"]) == (True, None, "ingest:test")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"\xff\xfe",
        b"{}",
        b'{"run": 3}',
        b'{"run": {"runId": NaN}}',
        b'{"run": {}, "x": "\\ud800"}',
        b"[" * 100_000,
        b'{"run": {"facets": {"governance_open": {}, "governance_open": {}}}}',
    ],
)
def test_what_cannot_be_parsed_is_flagged(log: MemoryLog, body: bytes) -> None:
    log.put(body)
    index = Index.build(log)
    [entry] = index.query("FROM entries")
    assert entry["fault"].startswith("an event cannot be parsed")
    assert index.query("FROM events") == []


MEMBERS = (
    *("run", "job", "dataset", "inputs", "outputs", "facets", "inputFacets", "runId", "namespace", "name"),
    *("eventTime", "eventType", "parent", "root", "columnLineage", "fields", "inputFields", "field"),
    *("transformations", "version", "datasetVersion", "airflowState", "tasksState", "_deleted"),
    *("governance_open", "governance_x", "context", "facts", "signature"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(JSON)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_event_breaks_the_index(value: Any) -> None:
    _, index = built({"run": value, "job": value, "inputs": value, "outputs": [value]}, {"dataset": value})
    for answer in (index.runs, index.jobs, index.datasets, index.evidence, index.completeness):
        answer()
    index.close()


def test_over_the_real_log(tmp_path, root_key, run_key, evidence) -> None:
    log = Log(
        open_storage(str(tmp_path), create=True, origin="example.org/log"),
        signer=None,
        clock=lambda: datetime(2026, 11, 24, 12, tzinfo=UTC),
    )
    genesis = {"evidence_public_key": base64.b64encode(root_key.public_key).decode()}
    log.append([NewEntry(json.dumps(genesis).encode(), GENESIS, "admin:cli")])
    recorder = OpenLineageRecorder(
        log,
        producer=PRODUCER,
        namespace="governance",
        job=lambda stage: f"clinical_encounters.{stage}",
        run_id=lambda stage: str(UUID(int=list(Stage).index(stage))),
        lifecycle=True,
        clock=lambda: datetime(2026, 11, 24, 11, tzinfo=UTC),
    )
    for stage, signer in ((Stage.OPEN, root_key), (Stage.PROTECT, run_key)):
        record = evidence(stage, inputs=(SOURCE,), outputs=(RELEASED,) if stage is Stage.PROTECT else ())
        recorder.started(stage, record.context)
        recorder.record(record, signer)
        recorder.completed(stage, record.context, record)
    index = Index.build(log)
    assert [(e["stage"], e["basis"]) for e in index.evidence(version=VERSION)] == [
        ("open", "observed"),
        ("protect", "observed"),
    ]
    assert sorted(r["job_name"] for r in index.runs()) == [
        "clinical_encounters.open",
        "clinical_encounters.protect",
    ]
    assert {r["state"] for r in index.runs()} == {"COMPLETE"}
    assert [r["name"] for r in index.upstream("gov", "clinical_encounters")] == ["/lake/raw/encounters"]
    # What describes the output on COMPLETE says the same as the evidence: nothing is in conflict.
    state = index.dataset("gov", "clinical_encounters")
    assert state is not None
    assert state.conflicting == ()
    log.close()
