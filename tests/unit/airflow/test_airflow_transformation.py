"""`@task.governed`: an engineer's function between governed inputs and outputs that pass the stages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from governance.errors import GovernanceError

pytestmark = pytest.mark.airflow

EXAMPLES = Path(__file__).resolve().parents[3] / "schemas" / "examples"
READERS = ("ann", "bob", "cem", "dea", "eli", "fay")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Any]:
    """Readers, and habits that are derived from them, under contracts of the same subjects."""
    from governance.airflow.testing import GovernedHome

    text = (EXAMPLES / "minimal.odcs.yaml").read_text("utf-8")
    readers, habits = tmp_path / "newsletter_readers.odcs.yaml", tmp_path / "habits.odcs.yaml"
    readers.write_text(text, "utf-8")
    habits.write_text(
        text.replace("newsletter_readers", "habits").replace("newsletter-readers", "habits")
        .replace("name: articles_read, logicalType: integer", "name: keen, logicalType: boolean"), "utf-8",
    )  # fmt: skip
    with GovernedHome(EXAMPLES / "policy.yaml", [readers, habits]) as made:
        made.rows(
            "readers",
            [{"email": f"{name}@example.org", "articles_read": n} for n, name in enumerate(READERS)],
        )
        common = {"domain": "customer", "purpose": "model_training"}
        made.consents([{"subject_id": f"{name}@example.org", **common} for name in READERS[:5]])
        yield made


def released(home: Any) -> None:
    from airflow.sdk import DAG

    from governance.airflow import governed_dataset

    with DAG("readers", schedule=None) as dag:
        governed_dataset(
            "newsletter_readers.odcs.yaml", purpose="model_training", source="input/readers.parquet"
        )
    assert home.run(dag).errors == {}


def derived(function: Any, purpose: str = "model_training", **given: Any) -> Any:
    from airflow.sdk import DAG, task

    from governance.airflow import governed_dataset

    with DAG("derived", schedule=None) as dag:
        made = task.governed(purpose=purpose, inputs=["newsletter_readers"], outputs=["habits"], **given)(
            function
        )
        governed_dataset("habits.odcs.yaml", purpose="model_training", source=made())
    return dag


def keen(newsletter_readers: pa.RecordBatchReader) -> pa.Table:
    rows = newsletter_readers.read_all()
    return pa.table({"email": rows["email"], "keen": pc.greater(rows["articles_read"], 2)})


def test_what_is_derived_goes_through_the_stages_under_the_same_pseudonyms(home: Any) -> None:
    released(home)
    seen = []

    def recording(newsletter_readers: pa.RecordBatchReader) -> pa.Table:
        made = keen(newsletter_readers)
        seen.extend(made["email"].to_pylist())
        return made

    outcome = home.run(derived(recording, lineage={"keen": ["newsletter_readers.articles_read"]}))
    assert outcome.errors == {}
    rows = outcome.released["habits"]
    assert rows["email"].to_pylist() == seen and len(seen) == 5
    assert sorted(rows["keen"].to_pylist()) == [False, False, False, True, True]
    (opened,) = [f for f in outcome.evidence("open") if f["context"]["dataset"] == "habits"]
    assert opened["facts"]["source"]["kind"] == "derived"
    # Taken in and released: nothing of the landing stays.
    assert not list((home.path / "datasets" / "habits").glob("quarantine/*/*"))


def test_between_landing_and_release_a_withdrawal_and_a_stranger_count(home: Any) -> None:
    released(home)

    def meanwhile(newsletter_readers: pa.RecordBatchReader) -> pa.Table:
        made = keen(newsletter_readers)
        home.consents(
            [{"subject_id": "ann@example.org", "domain": "customer", "purpose": "model_training",
              "action": "withdraw"}]
        )  # fmt: skip
        strangers = pa.table({"email": ["0" * 32, "ann@example.org"], "keen": [True, True]})
        return pa.concat_tables([made, strangers])

    outcome = home.run(derived(meanwhile))
    assert outcome.errors == {}
    assert outcome.facts["habits"]["consent"]["by_reason"] == {
        "allowed": 4,
        "consent_withdrawn": 1,
        "erased": 2,
    }
    assert outcome.released["habits"].num_rows == 4


def test_no_row_lies_in_clear_and_an_erasure_finds_what_was_landed(home: Any) -> None:
    from governance.access import read_released
    from governance.pipeline.landing import land
    from governance.rights import plan_erasure

    released(home)
    (batch,) = read_released(home.workspace, "newsletter_readers", purpose="model_training")
    rows = pa.table({"email": batch["email"], "keen": [True] * 5})
    inputs = [{"dataset": "newsletter_readers", "version": "v", "manifest_digest": "d"}]
    source = land(home.workspace, "habits", rows.to_reader(), purpose="model_training", inputs=inputs)
    (file,) = (home.path / "datasets" / "habits" / "quarantine").glob("*/*.parquet")
    assert file.read_bytes()[:4] == b"PARE"
    from governance.pipeline.local import local_recorder
    from governance.pipeline.run import open_pass

    def opened(purpose: str = "model_training", source: str = source) -> Any:
        return open_pass(
            home.workspace, local_recorder(home.workspace, "habits", "r"), run_id="r", purpose=purpose,
            contract_path=home.path / "contracts" / "habits.odcs.yaml", source=source,
        )  # fmt: skip

    with pytest.raises(GovernanceError, match="GOV-704"):
        opened(source=source.rpartition("/")[0] + "/0")
    assert opened().dataset == "habits"
    plan = plan_erasure(home.workspace, "customer", pa.array(["ann@example.org"]))
    assert {row["dataset"] for row in plan.facts["datasets"]} == {"newsletter_readers", "habits"}
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(GovernanceError, match="GOV-705"):
        opened()


@pytest.mark.parametrize(
    ("function", "purpose", "code"),
    [
        (lambda newsletter_readers: None, "model_training", "GOV-648"),
        (lambda newsletter_readers: newsletter_readers.read_all().slice(0, 0), "model_training", "GOV-704"),
        (lambda newsletter_readers: int(newsletter_readers.read_all()["email"][0].as_py()[:3] + "@"),
         "model_training", "GOV-999"),
        (keen, "treatment", "GOV-602"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_said_without_a_value_and_nothing_is_landed(
    home: Any, function: Any, purpose: str, code: str
) -> None:
    released(home)
    if function.__name__ == "<lambda>":
        function.__name__ = "made"
    outcome = home.run(derived(function, purpose))
    (error,) = outcome.errors.values()
    assert error.code == code and "@" not in str(error)
    assert error.__context__ is None or error.__suppress_context__
    assert outcome.states["habits.release"] == "upstream_failed"
    assert not list((home.path / "datasets").glob("habits/quarantine/*/*"))


def test_what_a_derived_run_set_aside_is_replayed_under_its_pseudonyms(home: Any) -> None:
    from governance.access import read_released
    from governance.pipeline.local import local_recorder
    from governance.pipeline.run import replay

    released(home)
    path = home.path / "contracts" / "habits.odcs.yaml"
    loose = path.read_text("utf-8")
    rule = (
        "quality: [{name: keen only, type: custom, engine: greatExpectations, "
        "implementation: {type: expect_column_values_to_be_in_set, kwargs: {value_set: [true]}}, "
        "customProperties: [{property: scope, value: source}]}]"
    )
    strict = loose.replace("classification: none}", f"classification: none, {rule}}}")
    path.write_text(strict, "utf-8")
    outcome = home.run(derived(keen))
    assert outcome.errors == {} and outcome.released["habits"].num_rows == 2
    (evidence,) = [e for e in outcome.evidence("protect") if e["context"]["dataset"] == "habits"]
    version = evidence["context"]["version"]
    path.write_text(loose, "utf-8")
    recorder = local_recorder(home.workspace, "habits", "again")
    again = replay(home.workspace, recorder, contract_path=path, version=version)
    assert again.facts["consent"]["by_reason"] == {"allowed": 3}
    rows = pa.Table.from_batches(read_released(home.workspace, "habits", purpose="model_training"))
    before = pa.Table.from_batches(
        read_released(home.workspace, "newsletter_readers", purpose="model_training")
    )
    assert sorted(rows["email"].to_pylist()) == sorted(before["email"].to_pylist())


def mapped(function: Any, limits: list[int]) -> Any:
    from airflow.sdk import DAG, task

    from governance.airflow import governed_dataset

    with DAG("derived_in_parts", schedule=None) as dag:
        made = task.governed(purpose="model_training", inputs=["newsletter_readers"], outputs=["habits"])(
            function
        )
        governed_dataset("habits.odcs.yaml", purpose="model_training", source=made.expand(limit=limits))
    return dag


def share(newsletter_readers: pa.RecordBatchReader, limit: int) -> pa.Table:
    rows = newsletter_readers.read_all()
    part = rows.filter(pc.equal(pc.bit_wise_and(rows["articles_read"], 1), limit % 2))
    return pa.table(
        {"email": part["email"], **({"keen": pc.greater(part["articles_read"], 2)} if limit < 9 else {})}
    )


def test_one_dataset_takes_in_what_every_instance_of_a_mapped_task_made(home: Any) -> None:
    from governance.airflow.enforcement.known import Known
    from governance.airflow.enforcement.rules import violations

    released(home)
    dag = mapped(share, [0, 1])
    assert violations(dag, Known(home.workspace.settings)) == []
    outcome = home.run(dag)
    assert outcome.errors == {}
    assert sorted(outcome.released["habits"]["keen"].to_pylist()) == [False, False, False, True, True]
    (opened,) = [f for f in outcome.evidence("open") if f["context"]["dataset"] == "habits"]
    assert len(opened["facts"]["source"]["files"]) == 2
    assert not list((home.path / "datasets" / "habits").glob("quarantine/*/*"))
    # Made in two shapes, or by nobody, they are none.
    for limits in ([0, 9], []):
        outcome = home.run(mapped(share, limits))
        assert outcome.errors["habits.open"].code == "GOV-648"  # type: ignore[attr-defined]


def test_of_several_outputs_each_is_governed_by_its_name(home: Any) -> None:
    from airflow.sdk import DAG, task

    from governance.airflow import governed_dataset

    released(home)

    def both(newsletter_readers: pa.RecordBatchReader) -> dict[str, pa.Table]:
        rows = keen(newsletter_readers)
        return {"habits": rows, "newsletter_readers": rows}

    with DAG("derived_twice", schedule=None) as dag:
        made = task.governed(
            purpose="model_training", inputs=["newsletter_readers"], outputs=["habits", "newsletter_readers"]
        )(both)()
        governed_dataset("habits.odcs.yaml", purpose="model_training", source=made["habits"])
        governed_dataset(
            "habits.odcs.yaml", purpose="model_training", source=made, group_id="not_one_of_them"
        )
    outcome = home.run(dag)
    assert outcome.states["habits.release"] == "success"
    fault: Any = outcome.errors["not_one_of_them.open"]
    assert (fault.code, "['NAME']" in fault.remedy) == ("GOV-704", True)
