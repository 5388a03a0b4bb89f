"""Search, statistics, events, tags, sources, and the writes that there are none of."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sent_events import dataset, event, run

from governance.errors import AccessError
from governance.server.marquez.stats import intervals
from governance.server.served import ServedStore

Send, Read = Callable[..., None], Callable[..., Any]


def test_search_finds_by_name_filters_and_sorts(send: Send, read: Read) -> None:
    send(
        event(job="orders_load", outputs=[dataset("public.Orders"), dataset("menus", "shop")]),
        event(number=2, job="menus_load", namespace="etl"),
    )

    def names(**query: Any) -> list[str]:
        found = read("/search", **query)
        assert found["totalCount"] == len(found["results"])
        return [result["name"] for result in found["results"]]

    assert names(q="ORDERS") == ["orders_load", "public.Orders"]
    assert names(q="load", sort="UPDATE_AT") == ["menus_load", "orders_load"]
    assert names(q="menus", filter="DATASET") == names(q="menus", filter="dataset") == ["menus"]
    assert names(q="menus", filter="JOB") == ["menus_load"]
    assert names(q="menus", namespace="etl") == ["menus_load"]
    assert names(q="%") == names(q="_x") == names(q=" ") == []
    today = datetime.now(UTC).date()
    assert names(q="orders", after=str(today + timedelta(days=2))) == []
    assert (
        len(names(q="orders", before=str(today + timedelta(days=2)), after=str(today - timedelta(days=2))))
        == 2
    )
    (first,) = read("/search", q="public")["results"]
    assert (first["nodeId"], first["type"]) == ("dataset:db:public.Orders", "DATASET")
    assert read("/search", q="load", limit=1)["totalCount"] == 2


def test_the_search_field_finds_columns_and_code(send: Send, client: TestClient) -> None:
    send(
        event(
            job="load",
            job_facets={"sourceCode": {"language": "python", "sourceCode": "print('needle')"}},
            run_facets={"processing_engine": {"name": "spark", "version": "4"}},
            outputs=[
                dataset("t", schema={"fields": [{"name": "needle_id", "type": "INT"}]}),
                dataset("other"),
            ],
        )
    )
    jobs = client.get("/api/v2beta/search/jobs", params={"q": "Needle"}).json()
    (job,) = jobs["hits"]
    assert (job["name"], job["run_id"], job["eventType"]) == ("load", run(1), "COMPLETE")
    assert job["runFacets"]["processing_engine"]["name"] == "spark"
    assert jobs["highlights"] == [{}]
    (found,) = client.get("/api/v2beta/search/datasets", params={"q": "needle"}).json()["hits"]
    assert found["name"] == "t"
    named = client.get("/api/v2beta/search/datasets", params={"q": "THE"}).json()
    assert named["highlights"] == [{"name": ["o<em>the</em>r"]}]
    assert client.get("/api/v2beta/search/jobs", params={"q": " "}).json() == {"hits": [], "highlights": []}


def test_events_are_shown_in_order_and_within_bounds(send: Send, read: Read) -> None:
    for hour in (9, 8, 10):
        send(event("OTHER", at=f"2026-11-24T{hour:02}:00:00+00:00", number=hour))

    def hours(**query: Any) -> list[int]:
        found = read("/events/lineage", **query)
        assert found["totalCount"] == len(found["events"])
        return [int(e["eventTime"][11:13]) for e in found["events"]]

    assert hours() == hours(before="", after="") == [10, 9, 8]
    assert hours(sortDirection="asc") == [8, 9, 10]
    assert hours(before="2026-11-24T09:00:00Z") == [8]
    assert hours(after="2026-11-24T10:00:00+01:00") == [10, 9]
    assert read("/events/lineage?after=2026-11-24T10:00:00+01:00")["totalCount"] == 2
    assert hours(before="2026-11-24") == []


def test_events_of_every_kind_are_shown_as_they_were_sent(send: Send, read: Read) -> None:
    about = event(outputs=[dataset("t")])
    of_job = {name: about[name] for name in ("eventTime", "producer", "schemaURL", "job")}
    of_dataset = {name: about[name] for name in ("eventTime", "producer", "schemaURL")} | {
        "dataset": dataset("t", "a/b")
    }
    bare = {name: about[name] for name in ("eventTime", "producer", "schemaURL")} | {
        "run": {"runId": run(5)},
        "job": {"namespace": "jobs", "name": "bare"},
    }
    send(about, of_job, of_dataset, bare)
    assert sorted(map(json.dumps, read("/events")["events"])) == sorted(
        map(json.dumps, (about, of_job, of_dataset, bare))
    )
    shown = read("/events/lineage")
    assert shown["totalCount"] == 2
    assert all(
        e["inputs"] is not None
        and e["outputs"] is not None
        and e["run"]["facets"] == e["job"]["facets"] == {}
        for e in shown["events"]
    )
    assert read("/events/jobs")["totalCount"] == 3
    assert read("/events/a/b")["events"] == read("/events/a%2Fb")["events"] == [of_dataset]


def test_a_redacted_event_is_not_shown_and_not_counted(send: Send, read: Read, served: ServedStore) -> None:
    send(event(number=1, outputs=[dataset("secret")]), event(number=2, outputs=[dataset("t")]))
    served.log.redact(served.log.size() - 2, "personal data", "admin:test")
    assert read("/events")["totalCount"] == read("/events/lineage")["totalCount"] == 1
    assert [e["run"]["runId"] for e in read("/events")["events"]] == [run(2)]
    assert [d["name"] for d in read("/namespaces/db/datasets")["datasets"]] == ["t"]


def test_statistics_count_events_by_hour_and_entities_so_far(send: Send, read: Read) -> None:
    now = datetime.now(UTC)
    send(
        event("START", at=now.isoformat(), outputs=[dataset("t"), dataset("u", dataSource={"name": "s"})]),
        event("COMPLETE", at=now.isoformat()),
        event("FAIL", at=(now - timedelta(days=3)).isoformat(), number=2, job="other"),
        event("ABORT", at=(now - timedelta(days=40)).isoformat(), number=3),
    )

    def sums(period: str) -> dict[str, int]:
        found = read("/stats/lineage-events", period=period, timezone="Asia/Kathmandu")
        return {kind: sum(i[kind] for i in found) for kind in ("start", "complete", "fail", "abort")}

    assert sums("DAY") == {"start": 1, "complete": 1, "fail": 0, "abort": 0}
    assert sums("WEEK") == {"start": 1, "complete": 1, "fail": 1, "abort": 0}
    for asset, count in (("jobs", 2), ("datasets", 2), ("sources", 2)):
        for period, length in (("DAY", 24), ("WEEK", 7)):
            found = read(f"/stats/{asset}", period=period, timezone="America/New_York")
            assert (len(found), found[0]["count"], found[-1]["count"]) == (length, 0, count)


def test_days_are_those_of_the_time_zone_and_clocks_change() -> None:
    now = datetime(2026, 3, 30, 12, tzinfo=UTC)
    week = intervals(now, "WEEK", "Europe/Berlin")
    lengths = [(until - begin).total_seconds() / 3600 for begin, until in week]
    assert (len(week), lengths) == (7, [24, 24, 24, 24, 24, 23, 24])
    assert week[-1] == (datetime(2026, 3, 29, 22), datetime(2026, 3, 30, 22))
    assert all(begin == until for (_, begin), (until, _) in pairwise(week))
    day = intervals(now, "DAY", "Europe/Berlin")
    assert (len(day), day[-1]) == (24, (datetime(2026, 3, 30, 12), datetime(2026, 3, 30, 13)))
    for zone in ("Nowhere/City", "../../etc/passwd", "", "\x00"):
        with pytest.raises(AccessError, match="GOV-613"):
            intervals(now, "DAY", zone)


@pytest.mark.parametrize(
    "path",
    [
        "/stats/jobs?period=YEAR",
        "/stats/jobs",
        "/stats/jobs?period=DAY&timezone=X",
        "/jobs?limit=-1",
        "/jobs?limit=10001",
        "/jobs?offset=x",
        "/jobs?lastRunStates=DONE",
        "/search",
        "/search?q=a&sort=SIZE",
        "/events?before=yesterday",
        "/events?before=0001-01-01T00:00:00%2B14:00",
        "/search?q=a&after=9999-12-31T23:59:59-14:00",
        "/events?sortDirection=up",
        f"/jobs/runs/{run(1)}/facets",
        f"/jobs/runs/{run(1)}/facets?type=dataset",
        "/jobs?as_of=-1",
    ],
)
def test_what_cannot_be_understood_is_refused(client: TestClient, path: str) -> None:
    answer = client.get(f"/api/v1{path}")
    # FastAPI's own checks answer 422, ours 400.
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["code"] == "GOV-613"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/namespaces/a%2Fb"),
        ("DELETE", "/namespaces/a"),
        ("PUT", "/sources/s"),
        ("PUT", "/namespaces/a/datasets/d"),
        ("DELETE", "/namespaces/a/datasets/d/e"),
        ("POST", "/namespaces/a/datasets/d/tags/t"),
        ("DELETE", "/namespaces/a/datasets/d/tags/t"),
        ("POST", "/namespaces/a/datasets/d/fields/f/tags/t"),
        ("DELETE", "/namespaces/a/datasets/d/fields/f/tags/t"),
        ("PUT", "/namespaces/a/jobs/j"),
        ("DELETE", "/namespaces/a/jobs/j"),
        ("POST", "/namespaces/a/jobs/j/tags/t"),
        ("DELETE", "/namespaces/a/jobs/j/tags/t"),
        ("POST", "/namespaces/a/jobs/j/runs"),
        ("POST", f"/jobs/runs/{run(1)}/start?at=2026-11-24T08:00:00Z"),
        ("POST", f"/jobs/runs/{run(1)}/complete"),
        ("POST", f"/jobs/runs/{run(1)}/fail"),
        ("POST", f"/jobs/runs/{run(1)}/abort"),
        ("PUT", "/tags/t"),
    ],
)
def test_marquez_writes_are_refused_with_what_to_do_instead(
    client: TestClient, served: ServedStore, method: str, path: str
) -> None:
    size = served.log.size()
    answer = client.request(method, f"/api/v1{path}", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.json()["error"]["code"] == "GOV-617"
    error = answer.json()["error"]
    assert error["code"].startswith("GOV-")
    assert "POST /api/v1/lineage" in error["remedy"] or "stays" in error["remedy"]
    assert served.log.size() == size


def test_odd_facets_break_nothing(send: Send, client: TestClient) -> None:
    odd: list[Any] = [
        None,
        1,
        "x",
        [],
        [1, None],
        {"tags": 1},
        {"tags": [1, {"key": 2}]},
        {"fields": {"a": 1}},
    ]
    odd += [
        {"fields": [1, {"name": 3}, {"name": "a", "tags": 4, "fields": "b"}]},
        {"owners": [{"name": {}}, 1]},
    ]
    odd += [{"big": 10**30, "far": 1e308}, {"deep": json.loads("[" * 300 + "]" * 300)}]
    names = (
        "schema",
        "tags",
        "ownership",
        "documentation",
        "dataSource",
        "sourceCodeLocation",
        "symlinks",
        "jobType",
    )
    send(
        *(
            event(
                number=i,
                job=f"j{i}",
                job_facets=dict.fromkeys(names, value),
                run_facets=dict.fromkeys(names, value),
                outputs=[dataset(f"d{i}", **dict.fromkeys(names, value))],
            )
            for i, value in enumerate(odd)
        )
    )
    paths = ["/jobs", "/namespaces/db/datasets", "/sources", "/tags", "/events/lineage", "/search?q=d"]
    paths += [f"/namespaces/db/datasets/d{i}/versions" for i in range(len(odd))]
    paths += [f"/namespaces/jobs/jobs/j{i}/runs" for i in range(len(odd))]
    for path in paths:
        assert client.get(f"/api/v1{path}").status_code == 200, path
