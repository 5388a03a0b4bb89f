"""What Marquez gets wrong: late events, deleted facets, owners, tags, masking, totals, the past."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sent_events import dataset, event, run

from governance.server.served import ServedStore

Send, Read = Callable[..., None], Callable[..., Any]


def test_a_late_event_does_not_revert_a_finished_run(send: Send, read: Read) -> None:
    send(
        event("START", at="2026-11-24T08:00:00Z"),
        event("COMPLETE", at="2026-11-24T08:00:02.500Z"),
        event("RUNNING", at="2026-11-24T08:00:01Z"),
    )
    found = read(f"/jobs/runs/{run(1)}")
    assert (found["state"], found["durationMs"]) == ("COMPLETED", 2500)
    assert (found["startedAt"], found["endedAt"]) == ("2026-11-24T08:00:00Z", "2026-11-24T08:00:02.500000Z")
    job = read("/namespaces/jobs/jobs/load")
    assert job["latestRun"]["state"] == "COMPLETED"
    assert [r["id"] for r in job["latestRuns"]] == [run(1)]


@pytest.mark.parametrize(
    ("sent", "state"),
    [
        ("START", "RUNNING"),
        ("RUNNING", "RUNNING"),
        ("OTHER", "NEW"),
        ("FAIL", "FAILED"),
        ("ABORT", "ABORTED"),
    ],
)
def test_states_have_marquez_names(send: Send, read: Read, sent: str, state: str) -> None:
    send(event(sent))
    assert read(f"/jobs/runs/{run(1)}")["state"] == state
    assert [j["name"] for j in read("/jobs", lastRunStates=state)["jobs"]] == ["load"]
    others = [s for s in ("NEW", "RUNNING", "COMPLETED", "FAILED", "ABORTED") if s != state]
    assert read("/jobs", lastRunStates=others) == {"jobs": [], "totalCount": 0}


def test_times_of_the_store_come_from_the_log(send: Send, read: Read, served: ServedStore) -> None:
    send(event("START", outputs=[dataset("t")]), event("COMPLETE", outputs=[dataset("t")]))
    size = served.log.size()
    first, last = (served.log.entry(size - back).envelope.received_at for back in (2, 1))
    for found in (
        read(f"/jobs/runs/{run(1)}"),
        read("/namespaces/jobs/jobs/load"),
        read("/namespaces/db/datasets/t"),
    ):
        assert (found["createdAt"], found["updatedAt"]) == (first, last)


def test_a_deleted_facet_is_gone_and_an_earlier_one_does_not_return(send: Send, read: Read) -> None:
    docs = {"documentation": {"description": "one"}}
    send(
        event(job_facets=docs, outputs=[dataset("t", **docs)], at="2026-11-24T08:00:00Z"),
        event(
            job_facets={"documentation": {"_deleted": True}},
            outputs=[dataset("t", documentation={"_deleted": True})],
            at="2026-11-24T08:00:01Z",
        ),
    )
    for path in ("/namespaces/jobs/jobs/load", "/namespaces/db/datasets/t"):
        found = read(path)
        assert (found["description"], found["facets"]) == (None, {})


def test_owners_tags_fields_and_source_are_shown(send: Send, read: Read) -> None:
    owners = {"owners": [{"name": "team:privacy", "type": "OWNER"}]}
    tags = {
        "tags": [
            {"key": "gold", "value": "true"},
            {"key": "tier", "value": "1", "source": "CATALOG"},
            {"key": "pii", "value": "true", "field": "email"},
        ]
    }
    schema = {"fields": [{"name": "email", "type": "VARCHAR", "description": "mail"}, {"name": "id"}]}
    send(
        event(
            job_facets={
                "ownership": owners,
                "tags": {"tags": [{"key": "nightly"}]},
                "jobType": {"processingType": "STREAMING", "integration": "FLINK"},
                "sourceCodeLocation": {"type": "git", "url": "https://example.com/repo"},
            },
            outputs=[
                dataset(
                    "t",
                    ownership=owners,
                    tags=tags,
                    schema=schema,
                    datasetType={"datasetType": "TOPIC"},
                    dataSource={"name": "warehouse", "uri": "postgres://h:5432/db"},
                )
            ],
        )
    )
    found = read("/namespaces/db/datasets/t")
    assert found["owners"] == [{"name": "team:privacy", "type": "OWNER"}]
    assert (found["tags"], found["type"], found["sourceName"]) == (["gold", "tier:1"], "STREAM", "warehouse")
    assert found["fields"] == [
        {"name": "email", "type": "VARCHAR", "tags": ["pii"], "description": "mail"},
        {"name": "id", "type": None, "tags": [], "description": ""},
    ]
    job = read("/namespaces/jobs/jobs/load")
    assert (job["tags"], job["type"], job["location"]) == (["nightly"], "STREAM", "https://example.com/repo")
    assert job["owners"] == [{"name": "team:privacy", "type": "OWNER"}]
    names = [tag["name"] for tag in read("/tags")["tags"]]
    assert names == ["gold", "nightly", "pii", "tier:1"]
    assert read("/sources/warehouse")["type"] == "POSTGRES"
    assert [s["name"] for s in read("/sources")["sources"]] == ["warehouse"]


def test_every_transformation_and_its_masking_is_shown(send: Send, read: Read) -> None:
    lineage = {
        "fields": {
            "mail": {
                "inputFields": [
                    {
                        "namespace": "db",
                        "name": "raw",
                        "field": "email",
                        "transformations": [
                            {
                                "type": "DIRECT",
                                "subtype": "TRANSFORMATION",
                                "description": "hash",
                                "masking": True,
                            },
                            {"type": "INDIRECT", "subtype": "FILTER", "description": "", "masking": False},
                        ],
                    }
                ]
            }
        }
    }
    send(event(inputs=[dataset("raw")], outputs=[dataset("t", columnLineage=lineage)]))
    (column,) = read("/namespaces/db/datasets/t")["columnLineage"]
    (source,) = column["inputFields"]
    assert (column["name"], source["dataset"], source["field"]) == ("mail", "raw", "email")
    assert [(t["subtype"], t["masking"]) for t in source["transformations"]] == [
        ("TRANSFORMATION", True),
        ("FILTER", False),
    ]
    assert read("/namespaces/db/datasets/raw")["columnLineage"] is None


def test_totals_count_what_the_list_lists(send: Send, read: Read) -> None:
    send(*(event(number=i, job=f"job{i % 5}", outputs=[dataset(f"t{i}")]) for i in range(12)))
    for path, member, total in (
        ("/namespaces/db/datasets", "datasets", 12),
        ("/namespaces/jobs/jobs", "jobs", 5),
        ("/namespaces/jobs/jobs/job1/runs", "runs", 3),
        ("/namespaces/jobs/jobs/job1/versions", "versions", 3),
        ("/namespaces", "namespaces", 2),
        ("/events/lineage", "events", 12),
        ("/search?q=t1", "results", 3),
    ):
        whole = read(path)
        assert (len(whole[member]), whole["totalCount"]) == (total, total), path
        joint = "&" if "?" in path else "?"
        paged = [read(f"{path}{joint}limit=2&offset={at}") for at in range(0, total + 2, 2)]
        assert [page["totalCount"] for page in paged] == [total] * len(paged), path
        assert [row for page in paged for row in page[member]] == whole[member], path


def test_the_past_is_there_as_it_was(send: Send, read: Read, served: ServedStore, client: TestClient) -> None:
    send(event("START", outputs=[dataset("t", documentation={"description": "one"})]))
    then = served.log.size()
    send(event("FAIL", outputs=[dataset("t", documentation={"description": "two"}), dataset("u")]))
    assert read("/namespaces/db/datasets/t")["description"] == "two"
    assert read("/namespaces/db/datasets/t", as_of=then)["description"] == "one"
    assert read(f"/jobs/runs/{run(1)}", as_of=then)["state"] == "RUNNING"
    assert read("/namespaces/db/datasets", as_of=then)["totalCount"] == 1
    assert read("/jobs", as_of=then, lastRunStates="RUNNING")["totalCount"] == 1
    assert read("/jobs", lastRunStates="RUNNING")["totalCount"] == 0
    assert read("/events/lineage", as_of=then)["totalCount"] == 1
    assert client.get("/api/v1/namespaces/db/datasets/u", params={"as_of": then}).status_code == 404
    ahead = client.get("/api/v1/namespaces", params={"as_of": served.log.size() + 1})
    assert (ahead.status_code, ahead.json()["error"]["code"]) == (400, "GOV-613")


def test_an_alias_leads_to_its_dataset(send: Send, read: Read) -> None:
    link = {"identifiers": [{"namespace": "s3://b", "name": "path/t", "type": "TABLE"}]}
    send(
        event(outputs=[dataset("t", symlinks=link)]),
        event(
            number=2, at="2026-11-24T09:00:00Z", inputs=[dataset("path/t", "s3://b", schema={"fields": []})]
        ),
    )
    assert read("/namespaces/s3%3A%2F%2Fb/datasets/path%2Ft")["id"] == {"namespace": "db", "name": "t"}
    assert read("/namespaces/s3%3A%2F%2Fb/datasets")["totalCount"] == 0
    assert set(read("/namespaces/db/datasets/t")["facets"]) == {"symlinks", "schema"}


def test_a_dropped_dataset_is_marked(send: Send, read: Read) -> None:
    drop = {"lifecycleStateChange": {"lifecycleStateChange": "DROP"}}
    send(event(outputs=[dataset("t", **drop)]))
    found = read("/namespaces/db/datasets/t")
    assert (found["deleted"], found["lastLifecycleState"]) == (True, "DROP")
    (version,) = read("/namespaces/db/datasets/t/versions")["versions"]
    assert version["lifecycleState"] == "DROP"


def test_a_run_says_which_versions_it_read_and_wrote(send: Send, read: Read) -> None:
    send(
        event(
            number=1, at="2026-11-24T08:00:00Z", outputs=[dataset("t", schema={"fields": [{"name": "a"}]})]
        ),
        event(
            number=2,
            at="2026-11-24T09:00:00Z",
            job="report",
            inputs=[dataset("t") | {"inputFacets": {"inputStatistics": {"rowCount": 3}}}],
            outputs=[dataset("r", version={"datasetVersion": "v7"})],
        ),
    )
    (made,) = read("/namespaces/db/datasets/t/versions")["versions"]
    assert made["createdByRun"]["id"] == run(1)
    assert [f["name"] for f in made["fields"]] == ["a"]
    assert read(f"/namespaces/db/datasets/t/versions/{made['version']}") == made
    reading = read(f"/jobs/runs/{run(2)}")
    (used,), (wrote,) = reading["inputDatasetVersions"], reading["outputDatasetVersions"]
    assert used["datasetVersionId"] == {"namespace": "db", "name": "t", "version": made["version"]}
    assert used["facets"] == {"inputStatistics": {"rowCount": 3}}
    assert wrote["datasetVersionId"]["version"] == "v7"
    job = read("/namespaces/jobs/jobs/report")
    assert (job["inputs"], job["outputs"]) == (
        [{"namespace": "db", "name": "t"}],
        [{"namespace": "db", "name": "r"}],
    )
    assert reading["jobVersion"]["version"] == job["currentVersion"]
    found = read(f"/namespaces/jobs/jobs/report/versions/{job['currentVersion']}")
    assert (found["inputs"], found["latestRun"]["id"]) == (job["inputs"], run(2))


def test_facets_of_a_run_are_its_own(send: Send, read: Read) -> None:
    one, two = ({"sql": {"query": f"select {n}"}} for n in "12")
    send(
        event(
            number=1, job_facets=one, run_facets={"nominalTime": {"nominalStartTime": "2026-11-24T00:00:00Z"}}
        ),
        event(number=2, at="2026-11-24T09:00:00Z", job_facets=two),
    )
    assert read(f"/jobs/runs/{run(1)}/facets", type="job") == {"runId": run(1), "facets": one}
    assert read(f"/jobs/runs/{run(2)}/facets", type="job")["facets"] == two
    assert set(read(f"/jobs/runs/{run(1)}/facets", type="run")["facets"]) == {"nominalTime"}
    assert read(f"/jobs/runs/{run(1)}")["nominalStartTime"] == "2026-11-24T00:00:00Z"
    assert read("/namespaces/jobs/jobs/load")["facets"] == two


def test_a_task_has_the_name_its_parent_leaves_it(send: Send, read: Read) -> None:
    parent = {"parent": {"run": {"runId": run(9)}, "job": {"namespace": "jobs", "name": "dag"}}}
    send(event(job="dag.task", run_facets=parent))
    job = read("/namespaces/jobs/jobs/dag.task")
    assert (job["simpleName"], job["parentJobName"]) == ("task", "dag")
