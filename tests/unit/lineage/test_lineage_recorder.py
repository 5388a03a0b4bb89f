import base64
import json
import uuid
from collections.abc import Callable

import pytest
from lineage_samples import CONTEXT, JUDGED, PRODUCER, RELEASED, SOURCE, MemoryLog, facts_of

from governance.errors import LogError
from governance.lineage import as_sent, openlineage_run_id, verify_evidence
from governance.lineage.events import ParentRun
from governance.lineage.facets import nonconformities
from governance.lineage.recorder import OpenLineageRecorder
from governance.model.evidence import ColumnEdge, DatasetLineage, Evidence, Recorder, Stage, StageRecord
from tests.signing_key import Key


def event(log: MemoryLog, index: int) -> dict:
    return json.loads(log.entry(index).body)


def test_it_is_a_recorder(recorder: OpenLineageRecorder) -> None:
    _: Recorder = recorder


def test_a_stage_reports_start_evidence_and_completion(recorder, log, run_key, evidence) -> None:
    record = evidence(Stage.PROTECT, inputs=(SOURCE,), outputs=(RELEASED,))
    recorder.started(Stage.PROTECT, CONTEXT)
    assert recorder.record(record, run_key) == 1
    recorder.completed(Stage.PROTECT, CONTEXT, record)
    events = [event(log, i) for i in range(log.size())]
    assert [e["eventType"] for e in events] == ["START", "RUNNING", "COMPLETE"]
    assert len({e["run"]["runId"] for e in events}) == 1
    assert {e["job"]["name"] for e in events} == {"clinical_encounters.protect"}
    assert all(e["producer"] == PRODUCER for e in events)
    assert all(json.loads(log.entry(i).leaf)["principal"] == "evidence:pipeline" for i in range(3))
    assert events[0]["job"]["facets"]["jobType"]["processingType"] == "BATCH"
    assert events[2]["outputs"][0]["facets"].keys() == {"schema", "version", "columnLineage"}


def test_evidence_conforms_and_carries_the_datasets(recorder, log, run_key, evidence) -> None:
    index = recorder.record(evidence(Stage.PROTECT, inputs=(SOURCE,), outputs=(RELEASED,)), run_key)
    said = event(log, index)
    facet = said["run"]["facets"]["governance_protect"]
    assert nonconformities(facet) == []
    assert facet["facts"] == as_sent(facts_of(Stage.PROTECT, b""))
    assert base64.b64decode(facet["signature"]["public_key"]) == run_key.public_key
    [source], [released] = said["inputs"], said["outputs"]
    assert source["inputFacets"]["inputStatistics"]["rowCount"] == 10
    assert (
        released["outputFacets"]["outputStatistics"] | {"rowCount": 7, "size": 4096}
        == (released["outputFacets"]["outputStatistics"])
    )
    assert released["facets"]["version"]["datasetVersion"] == RELEASED.version
    assert [f["name"] for f in released["facets"]["schema"]["fields"]] == ["email", "age"]
    classifications = released["facets"]["governance_classifications"]
    assert nonconformities(classifications) == []
    assert classifications["columns"]["email"] == {"classification": "email", "sensitivity": "confidential"}
    masked = released["facets"]["columnLineage"]["fields"]["email"]["inputFields"][0]
    assert (masked["name"], masked["field"]) == ("/lake/raw/encounters", "email")
    assert masked["transformations"][0] == {
        "type": "DIRECT",
        "subtype": "TRANSFORMATION",
        "description": "mask",
        "masking": True,
    }
    kept = released["facets"]["columnLineage"]["fields"]["age"]["inputFields"][0]["transformations"][0]
    assert (kept["subtype"], kept["masking"]) == ("IDENTITY", False)


def test_verdicts_of_rules_ride_on_what_was_read(recorder, log, run_key, evidence) -> None:
    index = recorder.record(evidence(Stage.VALIDATE, inputs=(JUDGED,)), run_key)
    facet = event(log, index)["inputs"][0]["inputFacets"]["dataQualityAssertions"]
    assert [(a["assertion"], a["success"]) for a in facet["assertions"]] == [
        ("expect_column_values_to_not_be_null", True),
        ("row_count", False),
    ]


def test_failure_tells_code_and_message_without_a_trace(recorder, log) -> None:
    recorder.failed(Stage.OPEN, {}, "GOV-701", "source a.parquet cannot be read")
    failed = event(log, 0)
    assert failed["eventType"] == "FAIL"
    assert failed["run"]["facets"]["errorMessage"]["message"] == "GOV-701 source a.parquet cannot be read"
    assert "stackTrace" not in failed["run"]["facets"]["errorMessage"]


def test_beside_airflow_only_evidence_is_reported(log, clock, run_key, evidence) -> None:
    parent = ParentRun(str(uuid.uuid4()), "governed_training_dataset")
    run_id = str(uuid.uuid4())
    recorder = OpenLineageRecorder(
        log,
        producer=PRODUCER,
        namespace="default",
        job=lambda stage: f"governed_training_dataset.{stage.value}",
        run_id=lambda stage: run_id,
        parent=parent,
        lifecycle=False,
        clock=clock,
    )
    record = evidence(Stage.CONSENT)
    recorder.started(Stage.CONSENT, CONTEXT)
    recorder.record(record, run_key)
    recorder.completed(Stage.CONSENT, CONTEXT, record)
    recorder.failed(Stage.CONSENT, CONTEXT, "GOV-205", "…")
    assert log.size() == 1
    said = event(log, 0)
    assert (said["eventType"], said["run"]["runId"]) == ("RUNNING", run_id)
    # What describes the task is the provider's to say: a facet of ours would replace its own.
    assert said["run"]["facets"].keys() == {"governance_consent", "parent"}
    assert said["run"]["facets"]["parent"]["run"]["runId"] == parent.run_id
    assert "facets" not in said["job"] or said["job"]["facets"] == {}


def test_parent_of_the_command_line_is_the_root(log, clock, run_key) -> None:
    recorder = OpenLineageRecorder(
        log,
        producer=PRODUCER,
        namespace="governance",
        job=lambda stage: stage.value,
        run_id=lambda stage: str(uuid.UUID(int=1)),
        parent=ParentRun(str(uuid.UUID(int=2)), "run"),
        lifecycle=True,
        clock=clock,
    )
    recorder.started(Stage.OPEN, {})
    parent = event(log, 0)["run"]["facets"]["parent"]
    assert parent["root"]["run"]["runId"] == parent["run"]["runId"] == str(uuid.UUID(int=2))
    assert event(log, 0)["run"]["facets"]["processing_engine"]["name"] == "governance"


def test_a_store_that_fails_fails_the_stage(recorder, log, run_key, evidence) -> None:
    log.broken = True
    for act in (
        lambda: recorder.record(evidence(Stage.CONSENT), run_key),
        lambda: recorder.started(Stage.CONSENT, CONTEXT),
    ):
        with pytest.raises(LogError, match="GOV-501") as caught:
            act()
        assert "no space" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_the_environment_cannot_turn_evidence_off(recorder, log, run_key, evidence, monkeypatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    monkeypatch.setenv("OPENLINEAGE__FILTERS", '[{"type":"regex","regex":".*"}]')
    assert recorder.record(evidence(Stage.CONSENT), run_key) == 0
    assert log.size() == 1


@pytest.mark.parametrize("value", [2**60, float("nan"), float("inf")])
def test_facts_without_a_canonical_form_are_refused(recorder, log, run_key, value) -> None:
    record = StageRecord(Evidence(Stage.CONSENT, {"rows": value}), CONTEXT)
    with pytest.raises(LogError, match="GOV-508"):
        recorder.record(record, run_key)
    assert log.size() == 0


def test_column_lineage_needs_an_input(recorder, run_key, evidence) -> None:
    made_up = DatasetLineage("gov", "d", columns=(ColumnEdge("a", ("a",), "keep", False),))
    with pytest.raises(ValueError, match="without an input"):
        recorder.record(evidence(Stage.PROTECT, outputs=(made_up,)), run_key)


def test_run_ids_are_deterministic_uuids() -> None:
    of: Callable[..., str] = lambda **other: openlineage_run_id(
        **{
            "namespace": "n",
            "dataset": "d",
            "run_id": "r",
            "map_index": -1,
            "stage": "open",
            "attempt": "1",
            **other,
        }
    )
    assert of() == of()
    assert uuid.UUID(of()).version == 5
    assert len({of(), of(namespace="m"), of(map_index=0), of(attempt="2"), of(stage="consent")}) == 5


def test_what_was_recorded_verifies(recorder, log, root_key, run_key: Key, evidence) -> None:
    opened = recorder.record(evidence(Stage.OPEN, inputs=(SOURCE,)), root_key)
    protected = recorder.record(evidence(Stage.PROTECT, inputs=(SOURCE,), outputs=(RELEASED,)), run_key)
    text = base64.b64encode(run_key.public_key).decode()
    for index in (opened, protected):
        verdict = verify_evidence(
            log.entry(index), evidence_public_key=root_key.public_key, run_public_key=text
        )
        assert verdict, verdict
