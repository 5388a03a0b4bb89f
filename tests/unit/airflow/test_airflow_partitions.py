"""Partitions, a segment each: mapped over a list, one a run by an asset's key, and beside one another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

EXAMPLES = Path(__file__).resolve().parents[3] / "schemas" / "examples"
REGIONS = ("north", "south", "west")
READERS = ("ann", "bob", "cem", "dea")
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: regional-readers
version: 1.0.0
status: active
customProperties:
  - property: governance
    value:
      kind: training
      purposes: [model_training]
      subject: {column: email, domain: customer}
      jurisdiction: DE
      loadMode: replace-partition
schema:
  - name: regional_readers
    properties:
      - {name: email, logicalType: string, classification: email, customProperties: [{property: protection, value: pseudonym}]}
      - {name: region, logicalType: string, classification: none, partitioned: true, partitionKeyPosition: 1}
      - {name: articles_read, logicalType: integer, classification: none}
"""
RULE = """
      - name: articles_read
        logicalType: integer
        classification: none
        quality:
          - name: few rows
            type: custom
            engine: greatExpectations
            implementation: {type: expect_table_row_count_to_be_between, kwargs: {max_value: 8}}
            customProperties: [{property: scope, value: protected}]
"""
NAME = "regional_readers"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Any]:
    from governance.airflow.testing import GovernedHome

    contract = tmp_path / f"{NAME}.odcs.yaml"
    contract.write_text(CONTRACT, "utf-8")
    with GovernedHome(EXAMPLES / "policy.yaml", [contract]) as made:
        consent(made, *READERS)
        for region in REGIONS:
            write(made, region, *READERS)
        yield made


def write(home: Any, region: str, *names: str, read: int = 1) -> str:
    rows = [{"email": f"{n}@example.org", "region": region, "articles_read": read} for n in names]
    return str(home.rows(region, rows))


def consent(home: Any, *names: str, **changed: Any) -> None:
    common = {"domain": "customer", "purpose": "model_training"}
    home.consents([{"subject_id": f"{name}@example.org", **common, **changed} for name in names])


def mapped(*regions: str) -> Any:
    from airflow.sdk import DAG, task, task_group

    from governance.airflow import governed_dataset

    with DAG("regions", schedule=None) as made:

        @task
        def listed() -> list[str]:
            return [f"input/{region}.parquet" for region in regions]

        @task_group
        def region(source: str) -> None:
            governed_dataset(f"{NAME}.odcs.yaml", purpose="model_training", source=source)

        region.expand(source=listed())
    return made


def by_region(home: Any, outcome: Any) -> dict[str, int]:
    table = outcome.released[NAME].group_by("region").aggregate([("articles_read", "sum")])
    return dict(zip(table["region"].to_pylist(), table["articles_read_sum"].to_pylist(), strict=True))


def test_mapped_partitions_are_released_one_after_the_other_and_none_is_lost(home: Any) -> None:
    outcome = home.run(mapped(*REGIONS))
    assert outcome.errors == {}
    assert outcome.states[f"region.{NAME}.release[2]"] == "success"
    assert by_region(home, outcome) == dict.fromkeys(REGIONS, 4)
    manifest, links = released(home), []
    assert [s.partition for s in manifest.segments] == [{"region": region} for region in REGIONS]
    for facts in (f["facts"] for f in outcome.evidence("release")):
        links.append((facts["state"], facts.get("previous_version")))
    versions = [f["context"]["version"] for f in outcome.evidence("open")]
    assert [link for state, link in links if state == "released"] == [None, *versions[:2]]


def test_what_another_run_read_back_is_not_read_again(home: Any) -> None:
    from governance.lineage.facets import nonconformities

    outcome = home.run(mapped(*REGIONS))
    # Each was validated when nothing was released, and again as it stood on what came before it.
    read = [(f["facts"]["rows"], f["facts"].get("carried")) for f in outcome.evidence("validate")]
    versions = [f["context"]["version"] for f in outcome.evidence("open")]
    assert read[:3] == [(4, None)] * 3
    assert read[3:] == [
        (4, {"version": versions[0], "segments": 1, "rows": 4}),
        (4, {"version": versions[1], "segments": 2, "rows": 8}),
    ]
    for facet in outcome.evidence("validate"):
        assert not nonconformities(facet)


def test_a_rule_about_the_whole_version_reads_all_of_it(home: Any) -> None:
    whole = home.path / "contracts" / f"{NAME}.odcs.yaml"
    whole.write_text(CONTRACT[: CONTRACT.rindex("      - {name: articles")] + RULE.lstrip("\n"), "utf-8")
    outcome = home.run(mapped(*REGIONS))
    assert [f["facts"]["rows"] for f in outcome.evidence("validate")] == [4, 4, 4, 8, 12]
    assert outcome.errors[f"region.{NAME}.release[2]"].code == "GOV-402"
    assert released(home).body["rows"] == 8


def test_two_runs_of_one_partition_are_in_each_others_way(home: Any) -> None:
    outcome = home.run(mapped("north", "north", "south"))
    assert set(outcome.errors) == {f"region.{NAME}.release[1]"}
    fault = outcome.errors[f"region.{NAME}.release[1]"]
    assert fault.code == "GOV-721" and "region=north" in fault.message and "clear" in fault.remedy
    assert by_region(home, outcome) == {"north": 4, "south": 4}
    # A run that opens on it replaces it.
    write(home, "north", *READERS, read=2)
    assert by_region(home, home.run(mapped("north"))) == {"north": 8, "south": 4}


def test_who_withdrew_is_in_none_of_the_partitions_that_are_carried(home: Any) -> None:
    assert by_region(home, home.run(mapped("north", "south"))) == {"north": 4, "south": 4}
    before = {s.segment_id for s in released(home).segments}
    consent(home, "ann", action="withdraw")
    outcome = home.run(mapped("west"))
    assert by_region(home, outcome) == {"north": 3, "south": 3, "west": 3}
    assert not before & {s.segment_id for s in released(home).segments}
    assert outcome.evidence("validate")[-1]["facts"]["rows"] == 9


def test_who_withdraws_between_the_mapped_releases_is_carried_by_none_of_the_later(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from governance.model.evidence import Stage
    from governance.pipeline import run as steps

    release, calls = steps.STEPS[Stage.RELEASE], []

    def releasing(context: Any) -> Any:
        calls.append(context)
        if len(calls) == 3:
            consent(home, "bob", action="withdraw")
        return release(context)

    monkeypatch.setitem(steps.STEPS, Stage.RELEASE, releasing)
    outcome = home.run(mapped(*REGIONS))
    assert outcome.errors == {}
    assert by_region(home, outcome) == dict.fromkeys(REGIONS, 3)
    assert released(home).body["rows"] == 9
    assert outcome.evidence("release")[-1]["facts"]["late_withdrawals"] == 1


def validated(home: Any, *regions: str) -> list[Any]:
    """A run for each region, all opened on what is released now, ready to be released."""
    from governance.model.evidence import Stage
    from governance.pipeline.local import local_recorder
    from governance.pipeline.run import STEPS, open_pass
    from governance.pipeline.step import resume
    from governance.pipeline.workspace import Workspace

    ready = []
    for number, region in enumerate(regions):
        workspace = Workspace.open(home.workspace.settings, clock=home.workspace.clock)
        recorder = local_recorder(workspace, NAME, "at-once")
        reference = open_pass(
            workspace,
            recorder,
            contract_path=home.path / "contracts" / f"{NAME}.odcs.yaml",
            source=str(home.path / "input" / f"{region}.parquet"),
            purpose="model_training",
            run_id="at-once",
            map_index=number,
        )
        context = resume(workspace, reference, recorder)
        for stage in (Stage.CLASSIFY, Stage.CONSENT, Stage.PROTECT, Stage.VALIDATE):
            STEPS[stage](context)
        ready.append(context)
    return ready


def test_releases_at_the_same_time_lose_nothing(home: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from governance.pipeline.release import release

    regions = [*REGIONS, "east", "centre"]
    for region in regions:
        write(home, region, *READERS)
    ready = validated(home, *regions)
    with ThreadPoolExecutor(len(ready)) as together:
        ends = list(together.map(release, ready))
    for context in ready:
        context.workspace.close()
    assert [end["state"] for end in ends] == ["released"] * len(regions)
    manifest = released(home)
    assert sorted(s.partition["region"] for s in manifest.segments) == sorted(regions)
    assert manifest.body["rows"] == len(regions) * len(READERS)


def test_notes_in_staging_that_the_run_did_not_sign_release_nothing(home: Any) -> None:
    """Whoever may write to storage says that all was decided and read back already, and that nobody came between."""
    from governance.errors import StorageError
    from governance.model.canonical import canonical, parse
    from governance.pipeline.pointer import current_version
    from governance.pipeline.release import release
    from governance.pipeline.standing import DECIDED_ON, VALIDATED_ON

    north, again, south = validated(home, "north", "north", "south")
    release(north)
    consent(home, "bob", action="withdraw")
    pointer = current_version(home.workspace, NAME)
    assert pointer is not None
    for context in (again, south):
        folder, storage = context.reference.folder, context.storage
        forged = {
            DECIDED_ON: {"manifest_digest": pointer.manifest_digest, "rewritten": []},
            VALIDATED_ON: {"manifest_digest": pointer.manifest_digest, "rewritten": []},
            "consent-again.json": {
                "position": home.workspace.ledger.position, "tombstones": 0, "withdrawn": 0,
                "validated": context.log_index("validate"),
            },
            "opened-on.json": pointer.link,
        }  # fmt: skip
        for name, said in forged.items():
            # Bare, and under a signature that is another note's.
            path = f"{folder}/{name}"
            own = parse(storage.read(path)) if storage.exists(path) else {"signature": ""}
            storage.write(path, canonical({**said, "said": said, "signature": own["signature"]}))
    for context in (again, south):
        with pytest.raises(StorageError) as refused:
            release(context)
        assert refused.value.code == "GOV-721"
    assert current_version(home.workspace, NAME) == pointer
    # What forged notes could not do, an honest run does: it leaves out who withdrew.
    (honest,) = validated(home, "south")
    release(honest)
    for context in (north, again, south, honest):
        context.workspace.close()
    assert released(home).body["rows"] == 6


def test_an_approval_counts_though_another_partition_was_released_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what it approved nothing changed; where protect wrote it anew, without who withdrew, it is asked for again."""
    from governance.airflow.testing import GovernedHome
    from governance.model.evidence import Stage
    from governance.pipeline import run as steps

    contract, policy = tmp_path / f"{NAME}.odcs.yaml", tmp_path / "policy.yaml"
    contract.write_text(CONTRACT, "utf-8")
    policy.write_text((EXAMPLES / "policy.yaml").read_text("utf-8") + "\napprovalFrom: internal\n", "utf-8")
    with GovernedHome(policy, [contract]) as home:
        consent(home, *READERS)
        for region in REGIONS:
            write(home, region, *READERS)
        outcome = home.run(mapped(*REGIONS), approver="ines.alvarado")
        assert outcome.errors == {}
        assert by_region(home, outcome) == dict.fromkeys(REGIONS, 4)
        given = [f["facts"]["manifest_digest"] for f in outcome.evidence("approve")]
        assert len(set(given)) == len(REGIONS)
        # What the released version rests on, by its signed manifest, is the last one's approval.
        entry = home.workspace.log.entry(released(home).body["evidence"]["approve"])
        assert given[-1].encode() in entry.body

        release, calls = steps.STEPS[Stage.RELEASE], []

        def releasing(context: Any) -> Any:
            calls.append(context)
            if len(calls) == 2:
                consent(home, "bob", action="withdraw")
            return release(context)

        monkeypatch.setitem(steps.STEPS, Stage.RELEASE, releasing)
        errors = home.run(mapped("north", "south"), approver="ines.alvarado").errors
        assert {task: fault.code for task, fault in errors.items()} == {
            f"region.{NAME}.release[1]": "GOV-647"
        }


def released(home: Any) -> Any:
    from governance.pipeline.pointer import released_manifest

    return released_manifest(home.workspace, NAME)


def test_one_partition_of_an_asset_is_one_run_and_the_keys_are_what_was_written(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk import DAG, PartitionedAssetTimetable, PartitionedAtRuntime

    from governance.airflow import dataset_asset, governed_dataset
    from governance.airflow.testing import _Run

    context_of = _Run._context

    class Event:
        def __init__(self) -> None:
            self.keys: list[str] = []
            self.extra: dict[str, Any] = {}

        def add_partitions(self, keys: list[str]) -> None:
            self.keys += keys

    events: dict[Any, Event] = {dataset_asset(NAME): Event()}
    monkeypatch.setattr(_Run, "_context", lambda *a: {**context_of(*a), "outlet_events": events})

    def dag(schedule: Any, source: str) -> Any:
        with DAG("by_key", schedule=schedule) as made:
            governed_dataset(f"{NAME}.odcs.yaml", purpose="model_training", source=source)
        return made

    raw = dataset_asset("raw_readers")
    keyed = dag(PartitionedAssetTimetable(assets=raw), "input/{{ partition_key }}.parquet")
    for region in ("south", "north"):
        assert home.run(keyed, partition_key=region).errors == {}
    # The run's own key stands in the event, Airflow sees to that.
    assert events[dataset_asset(NAME)].keys == []
    assert home.run(dag(PartitionedAtRuntime(), "input/west.parquet")).errors == {}
    assert events[dataset_asset(NAME)].keys == ["west"]
    assert {s.partition["region"]: s.rows for s in released(home).segments} == dict.fromkeys(REGIONS, 4)


def test_the_cluster_policy_has_nothing_against_a_mapped_group(home: Any) -> None:
    from governance.airflow.enforcement.known import Known
    from governance.airflow.enforcement.rules import violations

    assert violations(mapped(*REGIONS), Known(home.workspace.settings)) == []


@pytest.mark.parametrize("stage", ["protect", "validate"])
def test_a_release_killed_while_it_decides_again_what_it_carries_goes_on_with_its_next_try(
    home: Any, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Somebody withdraws after the run opened beside another; of the two steps that follow one is not survived."""
    from governance.lineage.recorder import OpenLineageRecorder
    from governance.model.evidence import Stage
    from governance.pipeline import run as steps

    class Killed(BaseException):
        pass

    release, record, calls = steps.STEPS[Stage.RELEASE], OpenLineageRecorder.record, []

    def releasing(context: Any) -> Any:
        calls.append(context)
        if len(calls) == 1:
            return release(context)
        consent(home, "bob", action="withdraw")

        def recording(self: Any, said: Any, signer: Any) -> int:
            if str(said.evidence.stage) == stage:
                raise Killed
            return record(self, said, signer)

        monkeypatch.setattr(OpenLineageRecorder, "record", recording)
        with pytest.raises(Killed):
            release(context)
        monkeypatch.setattr(OpenLineageRecorder, "record", record)
        return release(context)

    monkeypatch.setitem(steps.STEPS, Stage.RELEASE, releasing)
    outcome = home.run(mapped("north", "south"))
    assert outcome.errors == {}
    assert by_region(home, outcome) == {"north": 3, "south": 3}
    assert released(home).body["rows"] == 6
