"""Bodies go when every period has passed, or with a stated ground; the log verifies as before."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.errors import LogError
from governance.log import OPENLINEAGE_EVENT, Log, NewEntry, verify_log
from governance.log.archives.archive import Selection, archive
from governance.log.archives.archives import PRUNE, Archives
from governance.log.archives.retention import Limits, kept, prune
from governance.model.retention import Period, Retention

HIPAA = Retention("HIPAA", Period(years=6), None)
GDPR = Retention("GDPR", None, Period(years=10))
RECORDED = datetime(2026, 1, 31, 12, tzinfo=UTC)
WHO = "admin:dpo"


def event(number: int) -> NewEntry:
    return NewEntry(json.dumps({"event": number}).encode(), OPENLINEAGE_EVENT, "ingest:airflow")


def at(years: float, *retention: Retention) -> Limits:
    return Limits.of(retention or (HIPAA, GDPR), RECORDED + timedelta(days=365.25 * years))


@pytest.fixture
def archived(log: Log, tmp_path: Path) -> Log:
    """Two archives of 16 entries each."""
    log.append([event(number) for number in range(32)])
    chosen = Selection(RECORDED + timedelta(days=1))
    archive(log, tmp_path / "archive", chosen, ground="old", authoriser=WHO, rows=16)
    return log


def take(log: Log, limits: Limits, **more: Any) -> list[Any]:
    return prune(log, limits, ground="storage limitation", authoriser=WHO, policy_digest="sha256:0", **more)


@pytest.mark.parametrize(
    ("years", "retention", "may_go", "due"),
    [
        (5.9, (HIPAA, GDPR), False, False),
        (6.1, (HIPAA, GDPR), True, False),
        (10.1, (HIPAA, GDPR), True, True),
        (6.1, (HIPAA,), True, True),
        (5.9, (GDPR,), False, False),
        (10.1, (GDPR,), True, True),
        (99, (), False, False),
        # A minimum that is longer than another regime's maximum wins.
        (3, (HIPAA, Retention("GDPR", None, Period(years=2))), False, False),
        (6.1, (HIPAA, Retention("GDPR", None, Period(years=2))), True, True),
    ],
)
def test_when_bodies_may_and_should_go(
    archived: Log, years: float, retention: tuple[Retention, ...], may_go: bool, due: bool
) -> None:
    limits = Limits.of(retention, RECORDED + timedelta(days=365.25 * years))
    found = kept(archived, limits)
    assert [(item.bodies, item.may_go, item.due) for item in found] == [(16, may_go, due)] * 2
    assert bool(limits.conflicts) == (len(retention) == 2 and retention[1] != GDPR)


def test_nothing_goes_before_its_time(archived: Log) -> None:
    size = archived.size()
    assert take(archived, at(9)) == []
    assert take(archived, Limits.of((), datetime(2999, 1, 1, tzinfo=UTC))) == []
    for limits in (at(5.9), Limits.of((), datetime(2999, 1, 1, tzinfo=UTC))):
        with pytest.raises(LogError) as caught:
            take(archived, limits, before=RECORDED + timedelta(days=9))
        assert caught.value.code == "GOV-518"
        assert "--shorten" in caught.value.remedy
    assert archived.size() == size
    assert all(row.path.exists() for row in archived.storage.archives())


def test_what_is_due_goes_with_a_leaf_and_everything_verifies(
    archived: Log, open_log: Callable[..., Log], sql: Callable[..., Any]
) -> None:
    paths = [row.path for row in archived.storage.archives()]
    pruned = take(archived, at(10.1))
    assert [(row.first, row.stop) for row in pruned] == [(0, 16), (16, 32)]
    assert not any(path.exists() for path in paths)
    assert sql("SELECT count(*) FROM {leftover}") == [(0,)]
    for log in (archived, open_log()):
        assert [entry.body for entry in log.entries(0, 32)] == [None] * 32
        assert log.entry(4).envelope.media_type == OPENLINEAGE_EVENT
    said = json.loads(archived.entry(pruned[0].pruned).body or b"")
    assert archived.entry(pruned[0].pruned).envelope.media_type == PRUNE
    assert (said["ground"], said["authoriser"], said["policy"]) == ("storage limitation", WHO, "sha256:0")
    assert said["periods"] == {
        "HIPAA": {"atLeast": "P6Y", "atMost": None},
        "GDPR": {"atLeast": None, "atMost": "P10Y"},
    }
    assert (said["bodies"], said["shortened"]) == (16, None)
    report = verify_log(archived.storage, archived._signer.vkey)  # type: ignore[union-attr]
    assert report.ok, report.reason
    assert (report.pruned, report.archived, report.redacted, report.unsigned) == (32, 0, 0, 0)
    assert any("32 pruned bodies" in unknown for unknown in report.unknown)
    # A late repetition is still recognised, and there is nothing left to redact.
    assert archived.append([event(5)]) == [5]
    with pytest.raises(LogError) as caught:
        archived.redact(5, "ground", WHO)
    assert caught.value.code == "GOV-509"
    assert take(archived, at(11)) == []


def test_earlier_than_due_is_allowed_once_every_minimum_has_passed(archived: Log) -> None:
    pruned = take(archived, at(6.1), before=RECORDED + timedelta(days=9))
    assert len(pruned) == 2
    assert json.loads(archived.entry(pruned[0].pruned).body or b"")["shortened"] is None


def test_shortening_needs_a_ground_that_stays_in_the_log(archived: Log) -> None:
    pruned = take(archived, at(1), before=RECORDED + timedelta(days=9), shorten="GDPR Art. 17(1)(d)")
    said = json.loads(archived.entry(pruned[1].pruned).body or b"")
    assert said["shortened"] == {"ground": "GDPR Art. 17(1)(d)", "below": ["HIPAA"]}
    report = verify_log(archived.storage, archived._signer.vkey)  # type: ignore[union-attr]
    assert report.ok, report.reason


def test_shortening_without_a_policy_is_stated_too(archived: Log) -> None:
    limits = Limits.of((), RECORDED + timedelta(days=30))
    pruned = take(archived, limits, before=RECORDED + timedelta(days=9), shorten="test data")
    said = json.loads(archived.entry(pruned[0].pruned).body or b"")
    assert said["shortened"] == {"ground": "test data", "below": []}


def test_redacted_and_pruned_and_kept_side_by_side(archived: Log) -> None:
    archived.redact(3, "ground", WHO)
    pruned = take(archived, at(10.1))
    assert len(pruned) == 2
    report = verify_log(archived.storage, archived._signer.vkey)  # type: ignore[union-attr]
    assert report.ok, report.reason
    assert (report.redacted, report.pruned) == (1, 31)


def test_archives_that_moved_are_pruned_where_they_are(archived: Log, tmp_path: Path) -> None:
    (tmp_path / "archive").rename(tmp_path / "tape")
    size = archived.size()
    with pytest.raises(LogError, match="GOV-516"):
        take(archived, at(10.1))
    assert archived.size() == size, "a pruning was stated and could not be carried out"
    archived.archives = Archives(archived.storage, [tmp_path / "tape"])
    take(archived, at(10.1))
    assert not list((tmp_path / "tape").glob("*.parquet"))
    assert archived.storage.leftovers() == []


@pytest.mark.parametrize("column", ["pruned", "stop"])
def test_a_pruning_that_no_leaf_names_is_found(archived: Log, sql: Callable[..., Any], column: str) -> None:
    sql(f"UPDATE {{archive}} SET {column} = 3 WHERE first = 16")
    for row in archived.storage.archives()[1:]:
        row.path.unlink()
    report = verify_log(archived.storage, archived._signer.vkey)  # type: ignore[union-attr]
    assert not report.ok
    assert report.first_bad == 16
