"""A server over an empty store, called without a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from governance.log import Log, open_storage
from governance.server.app import build_app
from governance.server.served import ServedStore
from governance.server.tokens import create_token


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def served(tmp_path: Path) -> ServedStore:
    storage = open_storage(str(tmp_path / "store"), create=True, origin="governance.example/test")
    return ServedStore(Log(storage, signer=None, clock=now), clock=now)


@pytest.fixture
def token(served: ServedStore) -> Callable[..., str]:
    """Makes a token with the scopes given: ``token("read", namespaces=["a*"])``."""

    def make(*scopes: str, namespaces: list[str] | None = None, name: str = "test") -> str:
        made = create_token(
            served.log,
            name=name,
            scopes=scopes,
            namespaces=namespaces,
            expires_at=None,
            principal="admin:test",
        )
        served.fresh()
        return made

    return make


@pytest.fixture
def client(served: ServedStore, token: Callable[..., str]) -> Iterator[TestClient]:
    """A client whose token may do everything."""
    with TestClient(build_app(served), raise_server_exceptions=False) as client:
        everything = token("ingest", "evidence", "read", "audit", "rights", "admin", name="all")
        client.headers["authorization"] = f"Bearer {everything}"
        yield client
