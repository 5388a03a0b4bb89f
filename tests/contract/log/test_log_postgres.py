"""What only the PostgreSQL storage promises."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import psycopg
import pytest

from governance.errors import GovernanceError, LogError
from governance.log import Log, NewEntry, open_storage
from governance.log.storage import migrations


@pytest.fixture
def url(postgres: str) -> str:
    """A schema of its own, dropped by whoever drops the server's folder."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS only_postgres CASCADE")
        connection.execute("CREATE SCHEMA only_postgres")
    return f"{postgres}{'&' if '?' in postgres else '?'}options=-csearch_path%3Donly_postgres"


def opened(url: str) -> Log:
    return Log(open_storage(url, create=True), signer=None, clock=lambda: datetime.now(UTC))


def entry(number: int) -> NewEntry:
    return NewEntry(b"%d" % number, "text/plain", "ingest:test")


def test_a_server_that_does_not_answer() -> None:
    with pytest.raises(LogError) as caught:
        open_storage("postgresql://someone:hunter2@127.0.0.1:1/lineage", create=True)
    assert caught.value.code == "GOV-501"
    assert "127.0.0.1:1/lineage" in caught.value.message
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(LogError, match="GOV-501"):
        open_storage("postgresql://[")


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(GovernanceError) as caught:
        open_storage("postgresql://localhost/lineage")
    assert caught.value.code == "GOV-902"
    assert "airflow-governance[postgres]" in caught.value.remedy


def test_a_lost_connection_is_opened_again(url: str) -> None:
    log = opened(url)
    assert log.append([entry(1)]) == [0]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'governance-log'"
        )
    with pytest.raises(LogError) as caught:
        log.append([entry(2)])
    assert caught.value.code == "GOV-501"
    assert log.append([entry(2)]) == [1]
    log.close()


def test_commits_are_synchronous_whatever_the_role_says(url: str) -> None:
    storage = open_storage(f"{url}%20-csynchronous_commit%3Doff", create=True)
    with storage._connected() as connection:  # type: ignore[attr-defined]
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    storage.close()


def test_a_log_that_has_grown_is_looked_up_by_key(url: str) -> None:
    log = opened(url)
    for number in range(20):
        log.append([entry(number)])
    with log.storage._connected() as connection:  # type: ignore[attr-defined]
        plan = connection.execute(
            "EXPLAIN SELECT digest, idx FROM governance_log_marker WHERE digest = ANY(ARRAY['\\x00'::bytea])"
        ).fetchall()
    assert "Seq Scan" not in str(plan)
    log.close()


def test_migrations_run_once(url: str) -> None:
    opened(url).close()
    opened(url).close()
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT number FROM governance_log_migration ORDER BY number").fetchall()
    assert found == [(number,) for number, _ in migrations("postgres")]


def test_an_append_needs_a_snapshot_for_each_statement(url: str) -> None:
    """Under any stricter isolation it would not see what was appended while it waited for its turn."""
    log = opened(url)
    log.append([entry(1)])
    with log.storage._connected(log.storage._writing) as connection:  # type: ignore[attr-defined]
        connection.execute("SET default_transaction_isolation = 'repeatable read'")
    with pytest.raises(LogError, match="GOV-501"):
        log.append([entry(2)])
    assert log.size() == 1
    log.close()
