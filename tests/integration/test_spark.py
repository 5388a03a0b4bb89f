"""A real Spark: the same rows and evidence as the local pass, nothing left in clear, nothing written twice."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from before_and_after import german_subjects, withdraw
from canary_search import Search
from governed_home import DATASETS, PURPOSES, Home, refused
from test_pass_canaries import canaries

from governance.access import read_with_spark
from governance.model.evidence import Stage
from governance.pipeline.classify import classify
from governance.pipeline.consent import consent
from governance.pipeline.protect import protect
from governance.pipeline.spark import engine, grants, handover, session, task

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("java") is None, reason="there is no Java runtime: Spark cannot start"),
    pytest.mark.skipif(shutil.which("javac") is None, reason="there is no Java compiler for the key client"),
]

ENCOUNTERS, CUSTOMERS, PROMPTS = DATASETS
MASTER = "local[2,3]"
ROWS, SEED = 1500, 11


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Spark writes: its event log and its local directories."""
    made = tmp_path_factory.mktemp("spark")
    for name in ("events", "local"):
        (made / name).mkdir()
    return made


@pytest.fixture(scope="module")
def spark(scratch: Path) -> Iterator[SparkSession]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(MASTER).config(map=session.read_settings(scratch, MASTER))
    builder = builder.config("spark.eventLog.enabled", "true").config("spark.eventLog.compress", "false")
    builder = builder.config("spark.eventLog.dir", (scratch / "events").as_uri())
    builder = builder.config("spark.local.dir", str(scratch / "local")).config("spark.driver.memory", "1g")
    builder = builder.config("spark.sql.shuffle.partitions", "2")
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("OFF")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def issued() -> Iterator[list[bytes]]:
    """Every key that was handed to a process of Spark, or lay in what was."""
    seen: list[bytes] = []
    answer, seal = grants._Handler._answer, handover.Handover.seal

    def answered(self: Any, line: bytes) -> dict[str, Any]:
        said = answer(self, line)
        seen.extend([base64.b64decode(said["key"])] if "key" in said else [])
        return said

    def sealed(self: Any, key: bytes, path: str) -> bytes:
        seen.extend([bytes(key), self.subjects.key, *map(bytes, self.token_keys.values())])
        return seal(self, key, path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(grants._Handler, "_answer", answered)
        patched.setattr(handover.Handover, "seal", sealed)
        yield seen


@pytest.fixture(scope="module")
def world(
    spark: SparkSession, issued: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Home, dict[tuple[str, str], tuple[dict[str, Any], pa.Table]]]:
    """A home in which every dataset was released on Spark and then locally: facts and rows of both."""
    from governance.demo.home import prepare

    home = Home(
        prepare(tmp_path_factory.mktemp("on") / "home", rows=ROWS, seed=SEED, say=lambda _: None).home
    )
    found = {}
    for where in ("spark", "local"):
        for dataset in DATASETS:
            on(home, dataset, where)
            facts = home.run(dataset).facts[Stage.PROTECT]
            found[dataset, where] = (facts, home.rows(dataset))
    return home, found


def on(home: Home, dataset: str, where: str) -> None:
    lines = home.contract(dataset).read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("      engine: ")]
    at = next(i for i, line in enumerate(kept) if line.startswith("      onLateWithdrawal:"))
    home.contract(dataset).write_text("".join([*kept[:at], f"      engine: {where}\n", *kept[at:]]), "utf-8")


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_rows_and_the_facts_are_the_local_ones(world: Any, dataset: str) -> None:
    (on_spark, rows), (local, expected) = world[1][dataset, "spark"], world[1][dataset, "local"]
    assert (on_spark["engine"], local["engine"]) == ("spark", "local")
    same = ("rows_in", "rows_out", "rows_denied", "rows_quarantined", "quarantined_by_rule", "schema")
    assert {k: on_spark[k] for k in same} == {k: local[k] for k in same}
    assert on_spark["rows_out"] and on_spark["rows_denied"]
    assert [{**c, "verified_rows": 0} for c in on_spark["columns"]] == [
        {**c, "verified_rows": 0} for c in local["columns"]
    ]
    for facts in (on_spark, local):
        assert (facts["quarantine"] or {"rows": 0})["rows"] == facts["rows_quarantined"]
    # Subjects that the pass on Spark made known are the ones that the local pass then met.
    assert difference(rows, expected) == (0, 0)
    assert rows.num_rows == on_spark["rows_out"]


def difference(left: pa.Table, right: pa.Table) -> tuple[int, int]:
    """Rows of one that the other has not, as multisets, both ways."""
    with duckdb.connect(":memory:") as connection:
        connection.register("a", left)
        connection.register("b", right)
        counted = "SELECT count(*) FROM (SELECT * FROM {} EXCEPT ALL SELECT * FROM {})"
        one, other = (connection.sql(counted.format(*pair)).fetchall() for pair in (("a", "b"), ("b", "a")))
    return one[0][0], other[0][0]


def test_several_tasks_share_the_work_and_quarantine_stays_one(world: Any) -> None:
    home, found = world
    facts = found[ENCOUNTERS, "spark"][0]
    assert facts["rows_quarantined"] > 1
    assert len(facts["segments"]) == 2
    left = {path.parent.name for path in home.root(ENCOUNTERS).glob("*/*/*.parquet")}
    both = [found[ENCOUNTERS, where][0] for where in ("spark", "local")]
    named = {s["segment_id"] for facts in both for s in facts["segments"]}
    assert left == named | {facts["quarantine"]["segment_id"] for facts in both}
    assert not list(home.root(ENCOUNTERS).glob("staging/*/*/spark-*"))


@pytest.mark.parametrize("dataset", DATASETS)
def test_spark_reads_what_a_governed_reader_reads(world: Any, spark: SparkSession, dataset: str) -> None:
    home, found = world
    with read_with_spark(home.workspace(), spark, dataset, purpose=PURPOSES[dataset]) as frame:
        got = frame.toArrow()
    assert difference(got.cast(found[dataset, "local"][1].schema), found[dataset, "local"][1]) == (0, 0)


def test_a_read_is_for_its_purpose_and_recorded(world: Any, spark: SparkSession) -> None:
    home = world[0]
    with refused("GOV-602"), read_with_spark(home.workspace(), spark, CUSTOMERS, purpose="research"):
        pass
    before = home.workspace().log.size()
    purpose = PURPOSES[CUSTOMERS]
    with read_with_spark(
        home.workspace(), spark, CUSTOMERS, purpose=purpose, columns=["loyalty_tier"]
    ) as frame:
        # Recorded, though nothing was computed yet.
        assert home.workspace().log.size() == before + 1
        assert frame.columns == ["loyalty_tier"]
        keyless = spark.read.option("governance.grant.socket", "/nowhere").parquet
    with pytest.raises(Exception, match="GOV-311"):
        frame.count()
    path = str(next(home.root(CUSTOMERS).glob("segments/*/*.parquet")))
    with pytest.raises(Exception, match=r"(?i)encrypt|footer"):
        keyless(path)


def test_a_late_withdrawal_is_left_out(world: Any, spark: SparkSession, tmp_path: Path) -> None:
    home = Home.copied(world[0].path, tmp_path / "home")
    withdraw(home, next(iter(german_subjects(home))), tmp_path)
    expected = home.rows(CUSTOMERS)
    assert expected.num_rows < world[1][CUSTOMERS, "local"][1].num_rows
    with read_with_spark(home.workspace(), spark, CUSTOMERS, purpose=PURPOSES[CUSTOMERS]) as frame:
        assert difference(frame.toArrow().cast(expected.schema), expected) == (0, 0)


def test_an_altered_version_is_refused_before_and_while_it_is_read(
    world: Any, spark: SparkSession, tmp_path: Path
) -> None:
    home = Home.copied(world[0].path, tmp_path / "home")
    current = {s.segment_id for s in home.manifest(CUSTOMERS).segments}
    one = next(p for p in home.root(CUSTOMERS).glob("segments/*/*.parquet") if p.parent.name in current)
    other = next(p for p in home.root(CUSTOMERS).glob("segments/*/*.parquet") if p.parent.name not in current)
    purpose = PURPOSES[CUSTOMERS]
    with read_with_spark(home.workspace(), spark, CUSTOMERS, purpose=purpose) as frame:
        for left, right in ((other, one), (material(other), material(one))):
            shutil.copy(left, right)
        with pytest.raises(Exception, match="GOV-308"):
            frame.count()
    with refused("GOV-723"), read_with_spark(home.workspace(), spark, CUSTOMERS, purpose=purpose):
        pass


def material(path: Path) -> Path:
    return path.with_name(f"_KEY_MATERIAL_FOR_{path.name}.json")


def opened(home: Home, dataset: str) -> Any:
    on(home, dataset, "spark")
    context = home.open(dataset)
    classify(context)
    consent(context)
    return context


def written(home: Home, dataset: str) -> set[str]:
    return {
        p.parent.name
        for folder in ("segments", "quarantine")
        for p in home.root(dataset).glob(f"{folder}/*/*")
    }


def test_a_task_that_is_killed_after_it_wrote_leaves_nothing(
    world: Any, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark import cloudpickle

    home = Home.copied(world[0].path, tmp_path / "home")
    before = written(home, CUSTOMERS)
    context = opened(home, CUSTOMERS)
    mark = tmp_path / "killed"

    def killed_once(share: Any, batches: Any) -> Any:
        from governance.pipeline.spark.task import run_tasks

        for result in run_tasks(share, batches):
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield result

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(engine, "run_tasks", killed_once)
    facts = protect(context)
    assert mark.exists()
    kept = {s["segment_id"] for s in facts["segments"]} | {facts["quarantine"]["segment_id"]}
    assert written(home, CUSTOMERS) - before == kept
    assert facts["rows_in"] == world[1][CUSTOMERS, "local"][0]["rows_in"]


def test_an_attempt_that_outlives_its_pass_removes_what_it_wrote(
    world: Any, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tasks run in this process, so that the pass can be made to end under one of them."""
    home = Home.copied(world[0].path, tmp_path / "home")
    before = written(home, CUSTOMERS)
    context = opened(home, CUSTOMERS)
    real = task.rewrite

    def slow(*arguments: Any, **named: Any) -> Any:
        result = real(*arguments, **named)
        assert written(home, CUSTOMERS) > before
        for path in context.storage.list(context.reference.folder):
            if "/spark-" in path:
                context.storage.remove_tree(path)
        return result

    monkeypatch.setattr(task, "rewrite", slow)
    monkeypatch.setattr(engine, "_sweep", lambda *_: None)
    monkeypatch.setattr(engine, "_collected", lambda _, share: [task.stated(task.Pass(share).run(0))])
    with refused("GOV-310"):
        protect(context)
    assert written(home, CUSTOMERS) == before
    # A driver that was killed leaves its hand-over; the try after it takes that away before it begins.
    monkeypatch.undo()
    stale = f"{context.reference.folder}/spark-stale"
    context.storage.write(stale, b"")
    assert protect(home.again(context))["rows_out"] == world[1][CUSTOMERS, "local"][0]["rows_out"]
    assert not context.storage.exists(stale)


def test_a_refusal_comes_back_as_it_is_and_leaves_nothing(
    world: Any, spark: SparkSession, tmp_path: Path
) -> None:
    home = Home.copied(world[0].path, tmp_path / "home")
    before = written(home, CUSTOMERS)
    source = home.source(CUSTOMERS)
    context = opened(home, CUSTOMERS)
    rows = source.read_bytes()
    # A stranger in the place of a customer, after consent was decided.
    monkey = engine.gathered

    def gathered(*arguments: Any) -> Any:
        table = monkey(*arguments)
        source.write_bytes(rows + rows.splitlines(keepends=True)[-1])
        return table

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine, "gathered", gathered)
        with refused("GOV-705"):
            protect(context)
    assert written(home, CUSTOMERS) == before


def test_an_unexpected_fault_is_a_type_and_a_place(
    world: Any, spark: SparkSession, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark import cloudpickle

    home = Home.copied(world[0].path, tmp_path / "home")
    before = written(home, CUSTOMERS)
    context = opened(home, CUSTOMERS)

    def choking(share: Any, batches: Any) -> Any:
        from governance.pipeline.spark import task

        def rewrite(*_: Any, **__: Any) -> Any:
            raise ValueError("cannot read " + "-".join(("Zqxv", "4711", "0815")))

        task.rewrite = rewrite
        try:
            yield from task.run_tasks(share, batches)
        finally:
            # The worker serves other tests.
            from governance.protect import rewrite as real

            task.rewrite = real

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(engine, "run_tasks", choking)
    with refused("GOV-999", free_of=("Zqxv-4711-0815",)):
        protect(context)
    logged = "".join(p.read_text("utf-8") for p in (scratch / "events").rglob("*") if p.is_file())
    assert "ValueError at test_spark.py" in logged
    assert "Zqxv-4711-0815" not in logged
    assert written(home, CUSTOMERS) == before


def test_no_key_and_no_value_is_in_conf_plan_event_log_or_spill(
    world: Any, spark: SparkSession, scratch: Path, issued: list[bytes]
) -> None:
    home = world[0]
    with read_with_spark(home.workspace(), spark, CUSTOMERS, purpose=PURPOSES[CUSTOMERS]) as frame:
        # A shuffle of everything, so that there is something to spill.
        shuffled = frame.repartition(3).sort(frame.columns[0])
        plan = shuffled._jdf.queryExecution().toString()
        assert shuffled.count() > 0
        shown = plan + str(spark.sparkContext.getConf().getAll()) + str(spark.conf.getAll)
    shown += "".join(p.read_text("utf-8") for p in (scratch / "events").rglob("*") if p.is_file())
    local = b"".join(p.read_bytes() for p in (scratch / "local").rglob("*") if p.is_file())
    assert "MapInArrow" in shown and local
    assert len(issued) > 20
    secret = {form for key in issued for form in forms(key)}
    everything = shown.encode() + local
    assert not [form for form in secret if form in everything]
    assert not Search(canaries(home)).data(everything)
    assert not Search(world[1][CUSTOMERS, "local"][1]["customer_pseudonym"].to_pylist()[:50]).data(local)


def forms(key: bytes) -> Iterator[bytes]:
    yield key
    yield key.hex().encode()
    for shift in range(3):
        # Where the key begins within a group of three bytes, without the characters it shares with others.
        yield base64.b64encode(b"\0" * shift + key)[4 * bool(shift) : -4]


@pytest.mark.parametrize("lacking", ["spark.network.crypto.enabled", "spark.jars"])
def test_a_session_that_is_not_fit_is_refused(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    if lacking == "spark.jars":
        monkeypatch.setattr(session, "JAR", "another-")
    else:
        monkeypatch.setitem(session.REQUIRED, lacking, "true")
    with refused("GOV-901") as caught:
        session.require_fit(spark, reads=True)
    assert lacking in caught[0].message
