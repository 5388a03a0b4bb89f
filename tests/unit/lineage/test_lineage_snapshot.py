"""An index kept and opened again: equal to a rebuild, refused where it does not fit, whole at any point."""

from __future__ import annotations

import base64
import json
import logging
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lineage_samples import PRODUCER, RELEASED, SOURCE, VERSION
from projected import MACROS, projected
from test_lineage_index import columns, dataset, event

from governance.errors import LogError
from governance.lineage.index import schemas, snapshot
from governance.lineage.index.index import Index
from governance.lineage.index.snapshot import MANIFEST, open_snapshot, write_snapshot
from governance.lineage.naming import EVENT_MEDIA_TYPE
from governance.lineage.recorder import OpenLineageRecorder
from governance.log import GENESIS, Log, NewEntry, open_storage
from governance.model.evidence import Stage
from tests.signing_key import Key


def opened(place: Path, origin: str = "example.org/log") -> Log:
    storage = open_storage(str(place), create=True, origin=origin)
    return Log(storage, signer=None, clock=lambda: datetime(2026, 11, 24, 12, tzinfo=UTC))


def put(log: Log, *events: dict[str, Any]) -> None:
    log.append([NewEntry(json.dumps(e).encode(), EVENT_MEDIA_TYPE, "ingest:test") for e in events])


def written(at: int, name: str = "b") -> dict[str, Any]:
    output = dataset(name, columnLineage=columns(("x", "a", "z")), schema={"fields": []})
    return event("COMPLETE", at, f"r{at}", inputs=[dataset("a")], outputs=[output])


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = opened(tmp_path / "store")
    put(log, written(1), written(2), event("START", 3, "r3"))
    yield log
    log.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "home" / "snapshots"


def reason(caplog: pytest.LogCaptureFixture, folder: Path, log: Log, key: bytes | None = None) -> str:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert open_snapshot(folder, log, key) is None
    [record] = caplog.records
    assert record.getMessage().startswith("GOV-523")
    return record.getMessage()


def test_there_is_none_at_first(log: Log, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert open_snapshot(folder, log) is None
    assert not caplog.records


def test_an_opened_index_equals_a_rebuild(log: Log, folder: Path) -> None:
    write_snapshot(Index.build(log), folder, log)
    put(log, written(4), written(5, "c"))
    index = open_snapshot(folder, log)
    assert index is not None
    assert index.size == 3
    assert index.catch_up(log) == 2
    assert projected(index, MACROS) == projected(Index.build(log), MACROS)
    assert projected(index, MACROS, as_of=2) == projected(Index.build(log, upto=2), MACROS)
    # And what was opened can be kept again.
    write_snapshot(index, folder, log)
    again = open_snapshot(folder, log)
    assert again is not None
    assert projected(again, MACROS) == projected(index, MACROS)
    assert len([p for p in folder.iterdir() if p.is_dir()]) == 2, "the former one is still open"
    index.close()
    write_snapshot(again, folder, log)
    again.close()


def test_files_are_for_this_user_only(log: Log, folder: Path) -> None:
    place = write_snapshot(Index.build(log), folder, log)
    assert folder.stat().st_mode & 0o777 == place.stat().st_mode & 0o777 == 0o700
    files = [*place.iterdir(), folder / MANIFEST]
    assert len(files) == len(schemas.SCHEMAS) + 2
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_former_snapshots_go(log: Log, folder: Path) -> None:
    index = Index.build(log)
    write_snapshot(index, folder, log)
    (folder / ".manifest.json.abcd").write_text("left by a killed writer")
    place = write_snapshot(index, folder, log)
    assert {p.name for p in folder.iterdir()} == {place.name, MANIFEST, ".writing"}


def test_deleting_the_folder_loses_nothing(log: Log, folder: Path) -> None:
    index = Index.build(log)
    write_snapshot(index, folder, log)
    shutil.rmtree(folder)
    assert open_snapshot(folder, log) is None
    assert projected(Index.build(log), MACROS) == projected(index, MACROS)


def test_evidence_after_a_snapshot_verifies(
    tmp_path: Path, folder: Path, root_key: Key, run_key: Key, evidence: Any
) -> None:
    log = opened(tmp_path / "governed")
    genesis = {"evidence_public_key": base64.b64encode(root_key.public_key).decode()}
    log.append([NewEntry(json.dumps(genesis).encode(), GENESIS, "admin:cli")])
    recorder = OpenLineageRecorder(
        log,
        producer=PRODUCER,
        namespace="governance",
        job=lambda stage: f"clinical_encounters.{stage}",
        run_id=lambda stage: f"00000000-0000-4000-8000-{list(Stage).index(stage):012}",
        lifecycle=False,
        clock=lambda: datetime(2026, 11, 24, 11, tzinfo=UTC),
    )
    recorder.record(evidence(Stage.OPEN, inputs=(SOURCE,)), root_key)
    write_snapshot(Index.build(log), folder, log)
    recorder.record(evidence(Stage.PROTECT, inputs=(SOURCE,), outputs=(RELEASED,)), run_key)
    index = open_snapshot(folder, log)
    assert index is not None
    index.catch_up(log)
    assert [e["basis"] for e in index.evidence(version=VERSION)] == ["observed", "observed"]
    index.close()
    log.close()


def test_a_snapshot_of_another_log_is_refused(
    log: Log, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_snapshot(Index.build(log), folder, log)
    other = opened(tmp_path / "other", "example.org/another")
    put(other, written(1), written(2), event("START", 3, "r3"))
    assert "it is of another log" in reason(caplog, folder, other)
    other.close()


def test_a_snapshot_of_another_history_is_refused(
    log: Log, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_snapshot(Index.build(log), folder, log)
    # The same events under the same name, but never the same salts.
    forked = opened(tmp_path / "forked")
    put(forked, written(1), written(2))
    assert "another root at its size" in reason(caplog, folder, forked)
    put(forked, event("START", 3, "r3"))
    assert "another root at its size" in reason(caplog, folder, forked)
    forked.close()


def test_a_snapshot_under_another_key_is_refused(
    log: Log, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_snapshot(Index.build(log), folder, log)
    assert "another evidence key" in reason(caplog, folder, log, bytes(32))


def test_a_snapshot_of_other_tables_is_refused(
    log: Log, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_snapshot(Index.build(log), folder, log)
    monkeypatch.setattr(schemas, "VERSION", "another")
    assert "another version of governance" in reason(caplog, folder, log)


def test_a_redaction_makes_an_end_of_it(log: Log, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = write_snapshot(Index.build(log), folder, log)
    log.redact(1, "GDPR Art. 17(1)(b)", "admin:officer")
    assert "was redacted since" in reason(caplog, folder, log)
    assert not place.exists()
    assert not (folder / MANIFEST).exists()
    index = Index.build(log)
    write_snapshot(index, folder, log)
    again = open_snapshot(folder, log)
    assert again is not None
    assert [r["run_id"] for r in again.runs()] == ["r1", "r3"]
    again.close()


def test_a_redaction_is_taken_out_of_an_opened_snapshot(log: Log, folder: Path) -> None:
    write_snapshot(Index.build(log), folder, log)
    index = open_snapshot(folder, log)
    assert index is not None
    log.redact(1, "GDPR Art. 17(1)(b)", "admin:officer")
    assert index.catch_up(log) == 1
    assert projected(index, MACROS) == projected(Index.build(log), MACROS)
    assert [r["run_id"] for r in index.runs()] == ["r1", "r3"]
    index.close()


def cut(place: Path, folder: Path) -> None:
    file = place / "events.parquet"
    file.write_bytes(file.read_bytes()[:-10])


def flip(place: Path, folder: Path) -> None:
    file = place / "facet_bodies.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path, Path], None]] = {
    "cut": cut,
    "bit": flip,
    "file gone": lambda place, folder: (place / "mentions.parquet").unlink(),
    "folder gone": lambda place, folder: shutil.rmtree(place),
    "lock gone": lambda place, folder: (place / "lock").unlink(),
    "manifest cut": lambda place, folder: (folder / MANIFEST).write_text("{"),
    "manifest empty": lambda place, folder: (folder / MANIFEST).write_text("{}"),
    "manifest a list": lambda place, folder: (folder / MANIFEST).write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_snapshot_is_refused(
    damage: str, log: Log, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = write_snapshot(Index.build(log), folder, log)
    DAMAGE[damage](place, folder)
    assert reason(caplog, folder, log)
    # The next one heals it.
    write_snapshot(Index.build(log), folder, log)
    index = open_snapshot(folder, log)
    assert index is not None
    index.close()


@pytest.mark.parametrize("name", ["next_id", "run_keys", "size", "folder", "files", "root"])
def test_a_manifest_without_a_member_is_refused(
    name: str, log: Log, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_snapshot(Index.build(log), folder, log)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    del manifest[name]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert "damaged" in reason(caplog, folder, log)


def test_where_nothing_can_be_written(log: Log, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError) as refused:
        write_snapshot(Index.build(log), tmp_path / "file" / "snapshots", log)
    assert refused.value.code == "GOV-524"


def _killed_before(step: str, store: Path, folder: Path) -> None:
    log = opened(store)
    index = Index.build(log)

    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(snapshot, step, die)
    write_snapshot(index, folder, log)


@pytest.mark.parametrize("step", ["sync", "_digest", "_publish", "_sweep"])
@pytest.mark.parametrize("former", [False, True])
def test_killed_while_writing(step: str, former: bool, log: Log, folder: Path, tmp_path: Path) -> None:
    if former:
        write_snapshot(Index.build(log, upto=1), folder, log)
    child = multiprocessing.get_context("spawn").Process(
        target=_killed_before, args=(step, tmp_path / "store", folder)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    index = open_snapshot(folder, log)
    size = 3 if step == "_sweep" else 1 if former else None
    assert (index and index.size) == size
    if index is not None:
        index.catch_up(log)
        assert projected(index, MACROS) == projected(Index.build(log), MACROS)
        index.close()
    place = write_snapshot(Index.build(log), folder, log)
    assert {p.name for p in folder.iterdir()} == {place.name, MANIFEST, ".writing"}
