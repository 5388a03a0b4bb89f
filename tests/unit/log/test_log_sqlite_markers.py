"""Duplicates are recognised wherever their markers lie and whoever moved them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from governance.errors import LogError
from governance.log import FaultKind, Log, NewEntry, open_storage, sqlite_markers, verify_log, vkey_of


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Log]]:
    """Open the same store as another process would; markers move after eight entries."""
    monkeypatch.setattr(sqlite_markers, "RECENT", 8)
    logs: list[Log] = []

    def open_it() -> Log:
        storage = open_storage(str(tmp_path / "store"), create=True)
        logs.append(Log(storage, signer=None, clock=lambda: datetime.now(UTC)))
        return logs[-1]

    yield open_it
    for log in logs:
        log.close()


def entries(*numbers: int) -> list[NewEntry]:
    return [NewEntry(b"%d" % number, "text/plain", "ingest:test") for number in numbers]


def kept(folder: Path) -> tuple[int, int]:
    connection = sqlite3.connect(folder / "store" / "log.sqlite")
    [moved] = connection.execute("SELECT count(*) FROM marker").fetchone()
    [recent] = connection.execute("SELECT count(*) FROM recent").fetchone()
    connection.close()
    return moved, recent


def fault(log: Log) -> FaultKind | None:
    found = verify_log(log.storage, vkey_of(log.origin, bytes(31) + b"\x01")).faults[0]
    # No checkpoint was signed here: that alone is no fault of a marker.
    return None if found.kind is FaultKind.UNSIGNED else found.kind


def test_markers_move_and_stay_known(opened: Callable[[], Log], tmp_path: Path) -> None:
    log = opened()
    for number in range(20):
        assert log.append(entries(number)) == [number]
    assert kept(tmp_path) == (18, 2)
    assert log.append(entries(*range(20))) == list(range(20))
    assert opened().append(entries(*range(20), 20)) == list(range(21))
    assert log.storage.marker_count() == 21
    assert fault(log) is None


def test_writers_learn_what_others_added_and_moved(opened: Callable[[], Log]) -> None:
    logs = [opened(), opened(), opened()]
    for number in range(60):
        assert logs[number % 3].append(entries(number)) == [number]
        again = list(range(max(0, number - 12), number + 1))
        assert logs[number % 2].append(entries(*again)) == again
    assert all(len(log.storage._recent._places) <= 10 for log in logs)  # type: ignore[attr-defined]
    assert fault(logs[0]) is None


def test_what_a_failed_turn_wrote_is_not_remembered(opened: Callable[[], Log], tmp_path: Path) -> None:
    log = opened()
    log.append(entries(*range(5)))
    connection = sqlite3.connect(tmp_path / "store" / "log.sqlite")
    connection.execute("CREATE TRIGGER full BEFORE INSERT ON marker BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(LogError, match="GOV-501"):
        log.append(entries(*range(5, 20)))
    connection.execute("DROP TRIGGER full")
    connection.close()
    assert log.append(entries(3, 7, 8)) == [3, 5, 6]
    assert log.append(entries(*range(5, 20)))[:4] == [7, 8, 5, 6]
    assert fault(log) is None


@pytest.mark.parametrize("index", [2, 18])
def test_a_redacted_body_is_refused_wherever_its_marker_lay(
    opened: Callable[[], Log], tmp_path: Path, index: int
) -> None:
    log, other = opened(), opened()
    for number in range(20):
        log.append(entries(number))
    other.append(entries(*range(20)))
    log.redact(index, "ground", "rights:dpo")
    for writer in (log, other, opened()):
        with pytest.raises(LogError, match="GOV-505"):
            writer.append(entries(index))
    assert log.storage.marker_count() == 20 == sum(kept(tmp_path))
    assert fault(log) is None


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM recent WHERE idx = 18", FaultKind.REPLACED),
        ("UPDATE recent SET digest = zeroblob(32) WHERE idx = 18", FaultKind.REPLACED),
        ("INSERT INTO recent VALUES (zeroblob(32), 99)", FaultKind.MARKER),
        ("DELETE FROM marker WHERE idx = 3", FaultKind.REPLACED),
    ],
)
def test_an_altered_marker_is_found_in_either_table(
    opened: Callable[[], Log], tmp_path: Path, statement: str, kind: FaultKind
) -> None:
    log = opened()
    for number in range(20):
        log.append(entries(number))
    assert fault(log) is None
    connection = sqlite3.connect(tmp_path / "store" / "log.sqlite", isolation_level=None)
    connection.execute(statement)
    connection.close()
    assert fault(log) is kind


def test_a_store_of_the_first_schema_goes_on(opened: Callable[[], Log], tmp_path: Path) -> None:
    log = opened()
    log.append(entries(*range(5)))
    connection = sqlite3.connect(tmp_path / "store" / "log.sqlite", isolation_level=None)
    connection.execute("INSERT INTO marker SELECT digest, idx FROM recent")
    connection.execute("DROP TABLE recent")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    again = opened()
    assert again.append(entries(*range(7))) == list(range(7))
    assert kept(tmp_path) == (5, 2)
    assert fault(again) is None
