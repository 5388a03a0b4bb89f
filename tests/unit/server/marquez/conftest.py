"""Events are posted to a server and read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sent_events import Event


@pytest.fixture
def send(client: TestClient) -> Callable[..., None]:
    """Posts events, in the order given."""

    def send(*events: Event) -> None:
        for sent in events:
            answer = client.post("/api/v1/lineage", content=json.dumps(sent).encode())
            assert answer.status_code == 201, answer.text

    return send


@pytest.fixture
def read(client: TestClient) -> Callable[..., Any]:
    """What a path below /api/v1 answers; other than 200 fails."""

    def read(path: str, **query: Any) -> Any:
        answer = client.get(f"/api/v1{path}", params=query or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return read
