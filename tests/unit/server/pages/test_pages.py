"""Pages over the API's own fixture: who may see them, what they say, and what hostile names do to them."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi.testclient import TestClient

from governance.errors import SettingError
from governance.server.access import COOKIE
from governance.server.app import build_app
from governance.server.served import ServedStore
from governance.server.settings import ServerSettings

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}"
RUN = "01a20b6a-c323-7f68-b456-23cd917a82a0"
NS = "postgres://h:5432"


def event(job: str, inputs: list[Any], outputs: list[Any], run: str = RUN, **more: Any) -> dict[str, Any]:
    return {
        "eventType": "COMPLETE",
        "eventTime": "2026-11-24T08:00:00Z",
        "run": {"runId": run, "facets": more.get("facets", {})},
        "job": {"namespace": more.get("namespace", "etl"), "name": job, "facets": {}},
        "inputs": inputs,
        "outputs": outputs,
        "producer": "https://example.com/test",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


def dataset(name: str, namespace: str = NS, **facets: Any) -> dict[str, Any]:
    return {"namespace": namespace, "name": name, "facets": facets}


SCHEMA = {"fields": [{"name": "mail", "type": "TEXT"}]}
CLASSIFIED = {"columns": {"mail": {"classification": "email", "sensitivity": "confidential"}}}
COLUMNS = {
    "fields": {
        "mail": {
            "inputFields": [
                {
                    "namespace": NS,
                    "name": "raw/people",
                    "field": "mail",
                    "transformations": [
                        {"type": "DIRECT", "subtype": "HASH", "description": "salted", "masking": True}
                    ],
                }
            ]
        }
    }
}


@pytest.fixture
def told(client: TestClient) -> TestClient:
    sent = [
        event(
            "load:people",
            [dataset("raw/people")],
            [
                dataset(
                    "core.people",
                    schema=SCHEMA,
                    governance_classifications=CLASSIFIED,
                    columnLineage=COLUMNS,
                )
            ],
        ),
        event(
            HOSTILE,
            [dataset("core.people")],
            [dataset(HOSTILE, "secret", documentation={"description": HOSTILE})],
            run=RUN[:-1] + "1",
            namespace="secret",
            facets={HOSTILE: {"body": HOSTILE}},
        ),
    ]
    for one in sent:
        assert client.post("/api/v1/lineage", json=one).status_code == 201
    return client


class Parsed(HTMLParser):
    """Elements and attributes as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    @property
    def links(self) -> list[str]:
        return [a["href"] or "" for tag, a in self.tags if tag == "a" and "href" in a]


PATHS = (
    ("/pages/", {}),
    ("/pages/search", {"q": "alert"}),
    ("/pages/datasets", {}),
    ("/pages/jobs", {}),
    ("/pages/runs", {"state": "COMPLETE"}),
    ("/pages/dataset", {"namespace": "secret", "name": HOSTILE}),
    ("/pages/dataset", {"namespace": NS, "name": "core.people"}),
    ("/pages/job", {"namespace": "secret", "name": HOSTILE}),
    ("/pages/run", {"id": RUN[:-1] + "1"}),
    ("/pages/graph", {"node": f"dataset:secret:{HOSTILE}"}),
    ("/pages/log", {}),
    ("/pages/entry", {"index": "2"}),
    ("/pages/airflow/etl", {}),
    ("/pages/airflow/etl/manual__2026-11-24T09:38:18+00:00", {}),
    ("/pages/airflow-task/etl/load/-1/manual__2026-11-24T09:38:18+00:00", {}),
    ("/pages/airflow-task/etl/load/%7BMAP_INDEX%7D/manual__2026-11-24T09:38:18+00:00", {}),
    ("/pages/sign-in", {"next": HOSTILE}),
)


@pytest.mark.parametrize(("path", "query"), PATHS)
def test_every_page_escapes_what_strangers_named(told: TestClient, path: str, query: dict[str, str]) -> None:
    answer = told.get(path, params=query)
    assert answer.status_code == 200, answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = Parsed(answer.text)
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert all((script.get("src") or "").startswith("/pages/static/") for script in scripts)
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not [a for _, a in page.tags if any(name.startswith("on") or name == "style" for name in a)]
    if path != "/pages/sign-in":
        assert re.search(r"As of entry \d+", answer.text)


def test_links_lead_to_pages_that_are_there(told: TestClient) -> None:
    seen: dict[str, int] = {}
    waiting = ["/pages/"]
    while waiting and len(seen) < 120:
        path = waiting.pop()
        if path in seen or path.startswith("#"):
            continue
        answer = told.get(path)
        seen[path] = answer.status_code
        if answer.headers["content-type"].startswith("text/html"):
            waiting += [link for link in Parsed(answer.text).links if link.startswith("/pages/")]
    assert set(seen.values()) == {200}, seen
    assert len(seen) > 20


def test_a_dataset_says_what_it_holds_and_where_it_came_from(told: TestClient) -> None:
    text = told.get("/pages/dataset", params={"namespace": NS, "name": "core.people"}).text
    for said in ("email", "confidential", "declared", "salted", "masked", "raw/people", "load:people"):
        assert said in text


def test_the_picture_stands_alone(told: TestClient) -> None:
    import xml.etree.ElementTree as ET

    answer = told.get("/pages/graph.svg", params={"node": f"dataset:{NS}:core.people"})
    assert answer.headers["content-type"].startswith("image/svg+xml")
    drawn = ET.fromstring(answer.text)  # noqa: S314 - our own
    titles = [e.text or "" for e in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert any(HOSTILE in title for title in titles)
    assert not list(drawn.iter("{http://www.w3.org/2000/svg}script"))
    assert not list(drawn.iter("{http://www.w3.org/2000/svg}a"))


def test_a_node_at_the_rim_can_be_expanded(told: TestClient) -> None:
    asked = {"node": f"dataset:{NS}:raw/people", "depth": "1"}
    before = told.get("/pages/graph.json", params=asked).json()
    assert "core.people" not in before["svg"]
    assert "expand=job%3Aetl%3Aload%3Apeople" in before["svg"]
    after = told.get("/pages/graph.json", params={**asked, "expand": "job:etl:load:people"}).json()
    assert "core.people" in after["svg"]
    assert "core.people" in after["edges"]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/pages/dataset", {"namespace": NS, "name": "none"}, 404),
        ("/pages/job", {"namespace": NS, "name": "none"}, 404),
        ("/pages/run", {"id": "none"}, 404),
        ("/pages/entry", {"index": "999"}, 404),
        ("/pages/graph", {"node": "dataset:none:none"}, 404),
        ("/pages/graph", {"node": "what"}, 400),
        ("/pages/dataset", {"namespace": NS}, 400),
        ("/pages/runs", {"state": "BETTER"}, 400),
        ("/pages/datasets", {"at": "0"}, 400),
        ("/pages/", {"as_of": "999999"}, 400),
        ("/pages/static/none.css", {}, 404),
        ("/pages/static/..%2fframe.py", {}, 404),
    ],
)
def test_what_is_not_there_or_not_understood_is_a_page(
    told: TestClient, path: str, query: dict[str, str], status: int
) -> None:
    assert told.get(path, params=query).status_code == status


def test_who_sees_some_namespaces_learns_of_no_other(told: TestClient, token: Callable[..., str]) -> None:
    some = {"authorization": f"Bearer {token('read', namespaces=['etl', 'postgres*'])}"}
    for path, query in PATHS[:5] + PATHS[6:7] + (("/pages/graph", {"node": f"dataset:{NS}:core.people"}),):
        answer = told.get(path, params={**query, "q": "people"}, headers=some)
        assert answer.status_code == 200
        assert "alert(1)" not in answer.text, path
        assert "secret" not in answer.text, path
    for path, query in (PATHS[5], PATHS[7], PATHS[8], PATHS[9], ("/pages/entry", {"index": "2"})):
        assert told.get(path, params=query, headers=some).status_code == 404, path


def test_an_earlier_log_size_is_shown_and_kept_in_links(told: TestClient) -> None:
    size = int(re.search(r"As of entry (\d+)", told.get("/pages/").text)[1])  # type: ignore[index]
    answer = told.get("/pages/datasets", params={"as_of": size - 1})
    assert "alert(1)" not in answer.text
    assert f"as_of={size - 1}" in answer.text
    assert (
        told.get("/pages/job", params={"namespace": "secret", "name": HOSTILE, "as_of": size - 1}).status_code
        == 404
    )


def test_airflow_s_prefix_is_the_base_of_every_link(told: TestClient) -> None:
    page = Parsed(told.get("/pages/", headers={"x-forwarded-prefix": "/air/governance"}).text)
    local = [link for link in page.links if not link.startswith("#")]
    assert local and all(link.startswith("/air/governance/") for link in local)
    for bad in ("//evil.example", "https://evil.example", '/a"b', "/a//b"):
        assert "evil" not in told.get("/pages/", headers={"x-forwarded-prefix": bad}).text
        assert "/pages/datasets" in told.get("/pages/", headers={"x-forwarded-prefix": bad}).text


def test_signing_in_and_out(told: TestClient, token: Callable[..., str]) -> None:
    del told.headers["authorization"]
    turned = told.get(
        "/pages/dataset", params={"namespace": NS, "name": "core.people"}, follow_redirects=False
    )
    assert turned.status_code == 303
    assert turned.headers["location"].startswith("/pages/sign-in?next=dataset%3F")
    wrong = told.post("/pages/sign-in", data={"token": "gov_0000000000000000_" + "x" * 43})
    assert wrong.status_code == 401 and "unknown, revoked or expired" in wrong.text
    assert told.post("/pages/sign-in", data={"token": token("ingest")}).status_code == 401
    made = token("read")
    said = told.post("/pages/sign-in", data={"token": made, "next": "datasets?at=1"}, follow_redirects=False)
    assert said.status_code == 303 and said.headers["location"] == "/pages/datasets?at=1"
    cookie = said.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and made not in said.headers["location"]
    assert told.get("/pages/datasets").status_code == 200
    out = told.post("/pages/sign-out", follow_redirects=False)
    assert out.status_code == 303 and COOKIE not in told.cookies


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)"],
)
def test_signing_in_leads_nowhere_else(told: TestClient, token: Callable[..., str], target: str) -> None:
    said = told.post("/pages/sign-in", data={"token": token("read"), "next": target}, follow_redirects=False)
    assert said.headers["location"] == "/pages/"


def test_without_a_token_only_signing_in_is_shown(told: TestClient) -> None:
    del told.headers["authorization"]
    for path, query in PATHS[:-1]:
        assert told.get(path, params=query, follow_redirects=False).status_code == 303, path
    assert told.get("/pages/graph.json?node=dataset:a:b", follow_redirects=False).status_code == 303
    assert told.get("/pages/", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert told.get("/pages/static/pages.css").status_code == 200


@pytest.mark.parametrize("more", [(), ("https://portal.example:8443", "https://*.example")])
def test_only_named_origins_may_frame_a_page(served: ServedStore, more: tuple[str, ...]) -> None:
    said = " ".join(["; frame-ancestors 'self'", *ServerSettings(frame_ancestors=more).frame_ancestors])
    with TestClient(build_app(served, frame_ancestors=more)) as client:
        for path in ("sign-in", "static/pages.css", "datasets", "graph"):
            answer = client.get(f"/pages/{path}", headers={"authorization": "Bearer none"})
            assert answer.headers["content-security-policy"].endswith(said), path


@pytest.mark.parametrize(
    "origin", ["portal.example", "https://portal.example/", "*", "https://a; script-src *"]
)
def test_what_is_no_origin_may_frame_nothing(origin: str) -> None:
    with pytest.raises(SettingError, match="GOV-901"):
        ServerSettings(frame_ancestors=(origin,))
