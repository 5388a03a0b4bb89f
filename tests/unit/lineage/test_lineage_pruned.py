"""What retention deleted from the log is gone from everything that was made of it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from projected import MACROS, projected
from test_lineage_snapshot import put, written

from governance.lineage.graph.graph import Graph
from governance.lineage.index.current import Current
from governance.lineage.index.index import Index
from governance.lineage.index.snapshot import MANIFEST, open_snapshot, write_snapshot
from governance.log import CheckpointSigner, Log, open_storage
from governance.log.archives.archive import Selection, archive
from governance.log.archives.retention import Limits, prune
from tests.signing_key import new_key

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
OFFICER = "admin:officer"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Two events in an archive, about ``a`` and ``old``; one beside it, about ``b``."""
    storage = open_storage(str(tmp_path / "store"), create=True, origin="example.org/log")
    signer = CheckpointSigner(new_key(), storage.origin, tmp_path / "signer" / "memory.json")
    log = Log(storage, signer=signer, clock=lambda: NOW)
    put(log, written(1, "old"), written(2, "old"))
    before = Selection(NOW + timedelta(seconds=1))
    archive(log, tmp_path / "archive", before, ground="old", authoriser=OFFICER)
    put(log, written(3))
    return log


def pruned(log: Log) -> Log:
    limits = Limits.of((), NOW)
    later, why = NOW + timedelta(days=1), "asked for"
    assert prune(
        log,
        limits,
        ground="storage limitation",
        authoriser=OFFICER,
        policy_digest=None,
        before=later,
        shorten=why,
    )
    put(log, written(4))
    return log


def test_what_was_pruned_is_gone_from_the_index_as_from_a_rebuilt_one(log: Log) -> None:
    lived = Index.build(log)
    current, graph = Current(lived), Graph.of(lived)
    assert {row["name"] for row in lived.datasets()} == {"a", "b", "old"}
    assert graph.view().find("dataset:ds:old") is not None
    assert current.query("SELECT name FROM kept.datasets WHERE name = 'old'", {})
    lived.catch_up(pruned(log))
    graph.catch_up()
    rebuilt = Index.build(log)
    assert projected(lived, MACROS) == projected(rebuilt, MACROS)
    assert {row["name"] for row in lived.datasets()} == {"a", "b"}
    assert not current.query("SELECT name FROM kept.datasets WHERE name = 'old'", {})
    assert graph.view().find("dataset:ds:old") is None
    faults = lived.query("SELECT fault, redacted FROM entries WHERE log_index < 2")
    assert faults == [{"fault": "its body was archived and pruned", "redacted": False}] * 2


def test_a_snapshot_that_holds_what_was_pruned_is_deleted(
    log: Log, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "snapshots"
    place = write_snapshot(Index.build(log), folder, log)
    pruned(log)
    with caplog.at_level(logging.WARNING):
        assert open_snapshot(folder, log) is None
    assert "was pruned since" in caplog.text
    assert not place.exists()
    assert not (folder / MANIFEST).exists()
