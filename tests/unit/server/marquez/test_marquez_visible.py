"""A token with namespaces learns no name from any other: as an entity, as a neighbour or in a facet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sent_events import dataset, event, run

from governance.server.marquez.visible import parsed, visible, visible_bound
from governance.server.served import ServedStore
from governance.server.tokens import Caller

Send = Callable[..., None]
SECRET = "hidden-name"


def caller(*namespaces: str) -> Caller:
    return Caller("test", "0" * 16, frozenset({"read"}), namespaces)


@pytest.fixture
def read(client: TestClient, token: Callable[..., str], send: Send) -> Callable[..., Any]:
    """Reads under a token that sees ``jobs`` and ``open*``."""
    lineage = {
        "fields": {
            "c": {
                "inputFields": [
                    {"namespace": "shut", "name": SECRET, "field": "x"},
                    {"namespace": "open1", "name": "a", "field": "x"},
                ]
            }
        }
    }
    parent = {"run": {"runId": run(9)}, "job": {"namespace": "shut", "name": SECRET}}
    send(
        event(
            run_facets={"parent": parent},
            inputs=[dataset(SECRET, "shut"), dataset("a", "open1")],
            outputs=[dataset("b", "open1", columnLineage=lineage), dataset(f"{SECRET}2", "shut")],
        ),
        event(number=2, job=f"{SECRET}3", namespace="shut", inputs=[dataset("a", "open1")]),
        {
            "eventTime": "2026-11-24T08:00:00Z",
            "dataset": dataset(f"{SECRET}4", "shut", tags={"tags": [{"key": SECRET}]}),
            "producer": "https://example.com/test",
            "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/DatasetEvent",
        },
    )
    headers = {"authorization": f"Bearer {token('read', namespaces=['jobs', 'open*'])}"}

    def read(path: str) -> Any:
        return client.get(path, headers=headers)

    return read


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces",
        "/api/v1/jobs",
        "/api/v1/namespaces/jobs/jobs",
        "/api/v1/namespaces/jobs/jobs/load",
        "/api/v1/namespaces/jobs/jobs/load/runs",
        "/api/v1/namespaces/jobs/jobs/load/versions",
        "/api/v1/namespaces/open1/datasets",
        "/api/v1/namespaces/open1/datasets/b",
        "/api/v1/namespaces/open1/datasets/b/versions",
        f"/api/v1/jobs/runs/{run(1)}",
        f"/api/v1/jobs/runs/{run(1)}/facets?type=run",
        "/api/v1/events/lineage",
        "/api/v1/events",
        "/api/v1/sources",
        "/api/v1/tags",
        f"/api/v1/search?q={SECRET}",
        "/api/v2beta/search/jobs?q=load",
        "/api/v2beta/search/datasets?q=b",
    ],
)
def test_no_name_of_a_hidden_namespace_is_shown(read: Callable[..., Any], path: str) -> None:
    answer = read(path)
    assert answer.status_code == 200
    assert SECRET not in answer.text
    assert "shut" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/namespaces/shut",
        f"/namespaces/shut/datasets/{SECRET}",
        f"/namespaces/shut/datasets/{SECRET}/versions",
        f"/namespaces/shut/jobs/{SECRET}3",
        f"/namespaces/shut/jobs/{SECRET}3/runs",
        f"/jobs/runs/{run(2)}",
        f"/jobs/runs/{run(2)}/facets?type=job",
        "/sources/shut",
    ],
)
def test_what_is_hidden_is_as_if_it_were_not_there(read: Callable[..., Any], path: str) -> None:
    answer = read(f"/api/v1{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "GOV-612")


def test_what_is_seen_is_counted(read: Callable[..., Any]) -> None:
    assert read("/api/v1/namespaces").json()["totalCount"] == 2
    assert read("/api/v1/events").json()["totalCount"] == 1
    assert read("/api/v1/namespaces/shut/datasets").json() == {"datasets": [], "totalCount": 0}
    assert read("/api/v1/stats/datasets?period=DAY").json()[-1]["count"] == 2
    assert read("/api/v1/stats/lineage-events?period=WEEK").json()[-1]["complete"] in (0, 1)
    (column,) = read("/api/v1/namespaces/open1/datasets/b").json()["columnLineage"]
    assert [source["dataset"] for source in column["inputFields"]] == ["a"]


def test_nothing_is_read_without_a_token_or_its_scope(client: TestClient, token: Callable[..., str]) -> None:
    ingest = client.get("/api/v1/namespaces", headers={"authorization": f"Bearer {token('ingest')}"})
    assert ingest.status_code == 403
    del client.headers["authorization"]
    for path in ("/api/v1/namespaces", "/api/v1/events/lineage", "/api/v2beta/search/jobs?q=a"):
        assert client.get(path).status_code == 401
    assert client.put("/api/v1/namespaces/x").status_code == 401


@pytest.mark.parametrize(
    ("patterns", "seen"),
    [
        ((), []),
        (("a",), ["a"]),
        (("a*",), ["a", "ab"]),
        (("*",), ["a", "ab", "b%", "b"]),
        (("b*", "a"), ["a", "b%", "b"]),
    ],
)
def test_the_condition_sees_what_the_caller_sees(
    client: TestClient, served: ServedStore, patterns: tuple[str, ...], seen: list[str]
) -> None:
    assert client.app.state.served is served  # the client closes it
    who = caller(*patterns)
    names = ["a", "ab", "b%", "b"]
    rows = served.fresh().query(
        f"SELECT n FROM (SELECT unnest($names) AS n) WHERE {visible(who, 'n')}",
        {"names": names, **visible_bound(who)},
    )
    assert [row["n"] for row in rows] == seen == [name for name in names if who.sees(name)]


def test_hidden_objects_leave_nested_lists_and_members() -> None:
    body = '{"a":[[{"namespace":"x","name":"1"},{"namespace":"y"}]],"b":{"namespace":"y"},"c":{"d":[{"namespace":"y"}]}}'
    assert parsed(caller("x"), body) == {"a": [[{"namespace": "x", "name": "1"}]], "c": {"d": []}}
    assert parsed(caller("x"), '{"namespace":"y"}') is None
    assert parsed(caller("x"), '[{"namespace":"y"},1]') == [1]
