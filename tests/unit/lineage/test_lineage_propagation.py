"""Classifications flow along column lineage, stop where two proofs stand, and obey a person's correction."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from flowing import LEVELS, NS, OUT, column_of, corrected, declared, event, field, held
from lineage_samples import CONTEXT, RELEASED, SOURCE, MemoryLog, facts_of

from governance.lineage.classifications.answers import explained
from governance.lineage.classifications.propagation import Classifications
from governance.lineage.index.index import Index
from governance.model.correction import CORRECTION
from governance.model.evidence import ColumnEdge, Evidence, Stage, StageRecord
from tests.signing_key import Key, new_key


def rescan(
    column: str, found: Sequence[str] = (), contains: Sequence[str] = (), read: int = 7
) -> dict[str, Any]:
    return {
        "column": column,
        "found": list(found),
        "contains": list(contains),
        "values_read": read,
        "miss_bound": 0.35,
    }


@pytest.fixture
def governed(log: MemoryLog, root_key: Key) -> MemoryLog:
    genesis = {"v": 1, "evidence_public_key": base64.b64encode(root_key.public_key).decode()}
    log.put(json.dumps(genesis).encode(), "admin:cli", "application/vnd.governance.genesis+json")
    return log


Run = Callable[..., None]


@pytest.fixture
def run(governed, recorder, root_key, run_key, evidence) -> Run:
    """Records a governed pass: e-mail is masked, age kept."""

    def record(*rescans: dict[str, Any], masking: bool = True, signed: bool = True) -> None:
        recorder.record(evidence(Stage.OPEN, inputs=(SOURCE,)), root_key)
        found = replace(SOURCE, classifications={"email": "email", "age": "age"})
        recorder.record(evidence(Stage.CLASSIFY, inputs=(found,)), run_key)
        edges = (ColumnEdge("email", ("email",), "mask", masking), ColumnEdge("age", ("age",), "keep", False))
        written = replace(RELEASED, columns=edges)
        recorder.record(evidence(Stage.PROTECT, inputs=(SOURCE,), outputs=(written,)), run_key)
        facts = facts_of(Stage.VALIDATE, b"") | {"rescan": list(rescans)}
        judged = StageRecord(Evidence(Stage.VALIDATE, facts), CONTEXT)
        recorder.record(judged, run_key if signed else new_key())

    return record


def test_a_classification_flows_to_everything_derived() -> None:
    log = MemoryLog()
    log.put(declared("a", mail="email"))
    log.put(event(1, "b", x=[field("a", "mail")]))
    log.put(event(2, "c", y=[field("b", "x"), field("b", "other")], z=[field("b", "other")]))
    index = Index.build(log)
    assert held(index, "c", "y") == ["email"]
    assert held(index, "c", "z") == []
    assert held(index, "c", "y", as_of=2) == []
    answer = column_of(index, "c", "y")
    assert answer["sensitivity"] == "confidential"
    [entry] = answer["classifications"]
    assert entry["status"] == "derived"
    assert [(s["from"]["dataset"], s["from"]["column"], s["log_index"]) for s in entry["path"]] == [
        ("b", "x", 2),
        ("a", "mail", 1),
    ]
    assert entry["origin"] == {
        "namespace": NS, "dataset": "a", "column": "mail", "status": "declared", "by": "declared",
        "basis": "declared", "log_index": 0,
    }  # fmt: skip


def test_indirect_edges_carry_nothing_and_are_listed() -> None:
    log = MemoryLog()
    log.put(declared("a", mail="email"))
    log.put(event(1, "b", x=[field("a", "mail", type="INDIRECT", subtype="FILTER")], y=[]))
    log.put(event(2, "c", whole=[field("a", "mail", type="INDIRECT", subtype="JOIN")], x=[field("b", "y")]))
    index = Index.build(log)
    for dataset in "bc":
        answer = column_of(index, dataset, "x")
        assert answer["classifications"] == []
        assert [(i["dataset"], i["classifications"]) for i in answer["indirect"]] == [("a", ["email"])]


def test_what_a_whole_dataset_was_made_from_reaches_each_of_its_columns() -> None:
    log = MemoryLog()
    log.put(declared("a", mail="email"))
    log.put(event(1, "b", whole=[field("a", "mail")], x=[field("a", "other")]))
    log.put(declared("b", z="city"))
    index = Index.build(log)
    assert held(index, "b", "x") == ["email"]
    assert held(index, "b", "z") == ["city", "email"]
    assert held(index, "a", "other") == []


def test_cycles_and_self_edges_end() -> None:
    log = MemoryLog()
    log.put(declared("a", x="email"))
    log.put(declared("c", x="city"))
    log.put(event(1, "b", x=[field("a", "x"), field("b", "x")]))
    log.put(event(2, "a", x=[field("b", "x")]))
    log.put(event(3, "b", "k", x=[field("c", "x")]))
    index = Index.build(log)
    assert held(index, "a", "x") == held(index, "b", "x") == ["city", "email"]
    assert held(index, "c", "x") == ["city"]
    [city] = [e for e in column_of(index, "a", "x")["classifications"] if e["classification"] == "city"]
    assert [step["from"]["dataset"] for step in city["path"]] == ["b", "c"]


def test_an_alias_is_its_dataset() -> None:
    log = MemoryLog()
    link = {"identifiers": [{"namespace": NS, "name": "alias", "type": "TABLE"}]}
    body = json.loads(declared("a", mail="email"))
    body["dataset"]["facets"]["symlinks"] = link
    log.put(json.dumps(body).encode())
    log.put(event(1, "b", x=[field("alias", "mail")]))
    log.put(declared("alias", city="city"))
    index = Index.build(log)
    assert held(index, "b", "x") == ["email"]
    assert held(index, "a", "city") == ["city"]


def test_a_verified_mask_stops_and_says_by_what(governed: MemoryLog, run: Run) -> None:
    run(rescan("email"), rescan("age", ["age"]))
    index = Index.build(governed)
    assert held(index, OUT, "email", namespace="gov") == []
    answer = column_of(index, OUT, "email", "gov")
    # What its text contains is a classification of its own.
    assert [(s["classification"], s["contained"]) for s in answer["stopped"]] == [
        ("email", False),
        ("phone", True),
    ]
    stop = answer["stopped"][0]
    assert stop["rescan"] == {"log_index": 4, "values_read": 7, "miss_bound": 0.35}
    assert stop["at"]["log_index"] == 3
    assert stop["at"]["verdict"] == "masks, and the re-scan in entry 4 did not find it"
    kept = column_of(index, OUT, "age", "gov")["classifications"]
    assert [(entry["status"], entry["origin"]["by"]) for entry in kept] == [("found", "re-scan")]
    # As of a size without the re-scan, nothing is verified.
    [before] = column_of(index, OUT, "email", "gov", as_of=4)["classifications"][:1]
    assert before["status"] == "derived, not verified"


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        ({}, "masks, but no re-scan of its output is in the log: not verified"),
        ({"rescans": [rescan("email", ["email"])]}, None),
        (
            {"rescans": [rescan("email", ["unclassified"])]},
            "masks, but the re-scan in entry 4 does not rule it out: not verified",
        ),
        (
            {"rescans": [rescan("email", read=0)]},
            "masks, but the re-scan in entry 4 does not rule it out: not verified",
        ),
        (
            {"rescans": [rescan("email")], "signed": False},
            "masks, but no re-scan of its output is in the log: not verified",
        ),
    ],
)
def test_one_proof_of_the_two_stops_nothing(
    governed: MemoryLog, run: Run, how: dict[str, Any], verdict: str | None
) -> None:
    run(*how.pop("rescans", ()), **how)
    [entry] = [
        e
        for e in column_of(Index.build(governed), OUT, "email", "gov")["classifications"]
        if e["classification"] == "email"
    ]
    if verdict is None:
        assert (entry["status"], entry["origin"]["by"]) == ("found", "re-scan")
    else:
        assert entry["status"] == "derived, not verified"
        assert entry["path"][0]["verdict"] == verdict


def test_what_detectors_had_not_seen_before_the_mask_is_not_verified(governed: MemoryLog, run: Run) -> None:
    """A contract declares it, no detector knows it: that it is not found afterwards shows nothing."""
    run(rescan("email"))
    governed.put(declared("x"))
    corrected(governed, SOURCE.name, "email", "city", namespace=SOURCE.namespace)
    [entry] = column_of(Index.build(governed), OUT, "email", "gov")["classifications"]
    assert (entry["classification"], entry["status"]) == ("city", "derived, not verified")
    assert entry["path"][0]["verdict"] == (
        "masks, but detectors had not seen it before either (entry 4): not verified"
    )


def test_a_rescan_without_a_mask_stops_nothing(governed: MemoryLog, run: Run) -> None:
    run(rescan("email"), masking=False)
    entry = column_of(Index.build(governed), OUT, "email", "gov")["classifications"][0]
    assert entry["status"] == "derived"
    assert entry["path"][0]["verdict"] == (
        "carries values: the re-scan in entry 4 found none, but nothing says that the transform masks"
    )


def test_a_declared_mask_stops_nothing_and_repeats_of_evidence_change_nothing(
    governed: MemoryLog, run: Run
) -> None:
    run(rescan("email"), rescan("age"))
    # Airflow's provider repeats what the evidence said, without it.
    repeated = json.loads(governed.entry(3).body or b"")
    del repeated["run"]["facets"], repeated["outputs"][0]["facets"]["governance_classifications"]
    governed.put(json.dumps(repeated).encode(), "ingest:airflow")
    assert held(Index.build(governed), OUT, "email", namespace="gov") == []
    another = json.loads(event(9, OUT, "another", email=[field("email", "email", masking=True)]))
    another["outputs"][0]["namespace"] = "gov"
    source = another["outputs"][0]["facets"]["columnLineage"]["fields"]["email"]["inputFields"][0]
    source |= {"namespace": SOURCE.namespace, "name": SOURCE.name}
    governed.put(json.dumps(another).encode(), "ingest:stranger")
    entry = column_of(Index.build(governed), OUT, "email", "gov")["classifications"][0]
    assert entry["status"] == "derived, not verified"
    assert entry["path"][0]["verdict"] == "declared to mask: not verified"


def test_what_comes_after_a_stop_is_stopped_too(governed: MemoryLog, run: Run) -> None:
    run(rescan("email"), rescan("age", ["age"]))
    onward = json.loads(event(9, "d", x=[field(OUT, "email")], y=[field(OUT, "age")]))
    for column in "xy":
        inputs = onward["outputs"][0]["facets"]["columnLineage"]["fields"][column]["inputFields"]
        inputs[0]["namespace"] = "gov"
    governed.put(json.dumps(onward).encode())
    index = Index.build(governed)
    assert held(index, "d", "x") == []
    assert held(index, "d", "y") == ["age"]


def test_a_correction_wins_in_both_directions_and_downstream() -> None:
    log = MemoryLog()
    log.put(declared("a", code="email", note="none"))
    log.put(event(1, "b", x=[field("a", "code")], y=[field("a", "note")]))
    index = corrected(log, "a", "code", "none", overruled={"email": 0.7})
    corrected(log, "a", "note", "city")
    built = Index.build(log)
    assert held(built, "a", "code") == held(built, "b", "x") == []
    assert held(built, "a", "note") == held(built, "b", "y") == ["city"]
    assert held(built, "b", "x", as_of=2) == ["email"]
    answer = column_of(built, "a", "code")
    assert answer["correction"]["log_index"] == index
    assert answer["correction"]["by"] == "data steward"
    assert answer["overruled"] == [{"classification": "email", "contained": False, "seen": True}]
    [entry] = column_of(built, "b", "y")["classifications"]
    assert (entry["origin"]["status"], entry["origin"]["by"]) == ("corrected", "data steward")


def test_the_newest_correction_counts_and_can_be_withdrawn() -> None:
    log = MemoryLog()
    log.put(declared("a", x="email"))
    corrected(log, "a", "x", "none")
    corrected(log, "a", "x", "city")
    assert held(Index.build(log), "a", "x") == ["city"]
    corrected(log, "a", "x", None)
    assert held(Index.build(log), "a", "x") == ["email"]
    assert held(Index.build(log), "a", "x", as_of=3) == ["city"]


def test_a_correction_of_one_version_ends_with_it() -> None:
    log = MemoryLog()
    body = json.loads(declared("a", x="email"))
    for version in "12":
        body["eventTime"] = f"2026-11-24T10:00:0{version}Z"
        body["dataset"]["facets"]["version"] = {"datasetVersion": version}
        log.put(json.dumps(body).encode())
        if version == "1":
            corrected(log, "a", "x", "none", version="1")
            assert held(Index.build(log), "a", "x") == []
    assert held(Index.build(log), "a", "x") == ["email"]


def test_a_pattern_means_every_dataset_that_begins_so() -> None:
    log = MemoryLog()
    for day in ("lake/2026-01", "lake/2026-02", "pond/2026-01"):
        log.put(declared(day, x="email", y="email"))
    log.put(event(1, "b", x=[field("lake/2026-02", "x")]))
    corrected(log, "lake/*", "x", "none")
    corrected(log, "lake/2026-01", "x", "city")
    index = Index.build(log)
    assert [held(index, f"{name}/2026-01", "x") for name in ("lake", "pond")] == [["city"], ["email"]]
    assert held(index, "lake/2026-02", "x") == held(index, "b", "x") == []
    assert held(index, "lake/2026-02", "y") == ["email"]


@pytest.mark.parametrize("principal", ["ingest:x", "evidence:pipeline", "read:x", "audit:x"])
def test_who_may_not_correct_corrects_nothing(principal: str) -> None:
    log = MemoryLog()
    log.put(declared("a", x="email"))
    corrected(log, "a", "x", "none", principal)
    assert held(Index.build(log), "a", "x") == ["email"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b'{"v":2}', b'{"v":1,"dataset":3}', b"\xff"])
def test_a_malformed_correction_is_none(body: bytes) -> None:
    log = MemoryLog()
    log.put(declared("a", x="email"))
    log.put(body, "admin:cli", CORRECTION)
    assert held(Index.build(log), "a", "x") == ["email"]


def test_a_redacted_correction_is_none() -> None:
    log = MemoryLog()
    log.put(declared("a", x="email"))
    place = corrected(log, "a", "x", "none")
    index = Index.build(log)
    log.redact(place)
    index.catch_up(log)
    assert held(index, "a", "x") == ["email"]


def test_answers_hold_until_something_that_matters_is_said() -> None:
    log = MemoryLog()
    log.put(declared("a", x="email"))
    index = Index.build(log)
    known = Classifications.of(index)
    log.put(b'{"not": "an event"}')
    index.catch_up(log)
    assert known.still_holds(index)
    log.put(event(1, "b", x=[field("a", "x")]))
    index.catch_up(log)
    assert not known.still_holds(index)
    assert known.still_holds(index, 1)


def test_sources_without_column_lineage_are_named() -> None:
    log = MemoryLog()
    log.put(event(1, "b", x=[field("a", "x")]))
    index = Index.build(log)
    answer = explained(index, Classifications.of(index), LEVELS, NS, "b", sources=[(NS, "a"), (NS, "c")])
    assert answer["without_column_lineage"] == [{"namespace": NS, "dataset": "c"}]
