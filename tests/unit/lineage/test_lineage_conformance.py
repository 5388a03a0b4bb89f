"""Conformance, compiled from the client's classes, says what the official JSON Schemas say."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lineage_samples import test_data
from official_schemas import OfficialSchemas, official_instant, placed

from governance.lineage.conformance import conformance, facet_classes, is_instant, is_uri, is_uuid

PRODUCER = "https://example.com/producer"
FACET = {"_producer": PRODUCER, "_schemaURL": f"{PRODUCER}/schema.json"}
EXTREMES: list[Any] = [
    None, True, 0, 1, -1, 1.0, 1.5, 2**70, "", "x", "a:b", "JOB", "DATASET", "START", "not a date", [], {}, [{}],
    [None], {"x": {}}, {"x": None}, dict(FACET), "2026-11-24T08:00:00Z", "0198c0de-0000-7000-8000-000000000001",
]  # fmt: skip


@pytest.fixture(scope="module")
def official() -> OfficialSchemas:
    return OfficialSchemas(test_data() / "spec")


def events(folder: Path) -> Iterator[Any]:
    """Every event, and every example of a facet put where it belongs."""
    for file in sorted((folder / "captured").glob("*.ndjson")):
        for line in file.read_bytes().splitlines():
            yield json.loads(line)
    for place in ("consumer-scenarios", "malformed"):
        for file in sorted((folder / place).rglob("*.json")):
            found = json.loads(file.read_bytes())
            if "eventTime" in found:
                yield found
    yield json.loads((folder / "spec-examples" / "example_full_event.json").read_bytes())
    for file in sorted((folder / "spec-examples").glob("*/*.json")):
        for key, facet in json.loads(file.read_bytes()).items():
            yield from with_facet(key, facet)


def with_facet(key: str, facet: Any) -> Iterator[Any]:
    dataset = {"namespace": "n", "name": "d", "facets": {key: facet}}
    run_event = {
        "eventTime": "2026-11-24T08:00:00Z",
        "producer": PRODUCER,
        "schemaURL": PRODUCER,
        "run": {"runId": "0198c0de-0000-7000-8000-000000000001", "facets": {key: facet}},
        "job": {"namespace": "n", "name": "j", "facets": {key: facet}},
        "inputs": [dataset | {"inputFacets": {key: facet}}],
        "outputs": [dataset | {"outputFacets": {key: facet}}],
    }
    yield run_event
    for place in ("run", "job"):
        yield run_event | {place: {k: v for k, v in run_event[place].items() if k != "facets"}}
    yield {k: v for k, v in run_event.items() if k not in ("run", "job", "inputs", "outputs")} | {
        "dataset": dataset
    }


def test_every_event_and_example_gets_the_official_verdict(official: OfficialSchemas) -> None:
    verdicts = []
    for event in events(test_data()):
        faults = conformance(event)
        assert (not faults) == official.conforms(event), (faults, event)
        verdicts.append(not faults)
    assert {True, False} == set(verdicts)
    assert len(verdicts) > 500


def test_the_client_ships_every_facet_of_the_spec_at_its_place(official: OfficialSchemas) -> None:
    ours = {kind: sorted(classes) for kind, classes in facet_classes().items()}
    assert ours == {kind: sorted(facets) for kind, facets in official.facets.items()}


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value in a document."""
    if here:
        yield here
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from paths(child, (*here, key))


def mutated(event: Any, draw: Any) -> Any:
    event = copy.deepcopy(event)
    for _ in range(draw(st.integers(1, 3))):
        found = list(paths(event))
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        owner = event
        for step in way:
            owner = owner[step]
        kind = draw(st.sampled_from(["replace", "remove", "add", "edit"]))
        if kind == "remove":
            del owner[last]
        elif kind == "add" and isinstance(owner, dict):
            name = draw(st.sampled_from(["_deleted", "type", "inputs", "dataset", "facets", "run", "extra"]))
            owner[name] = copy.deepcopy(draw(st.sampled_from(EXTREMES)))
        elif kind == "edit" and isinstance(owner[last], str) and owner[last]:
            at = draw(st.integers(0, len(owner[last]) - 1))
            owner[last] = (
                owner[last][:at] + draw(st.sampled_from(list(" :/%é[]{}0Zz+-T#?"))) + owner[last][at + 1 :]
            )
        else:
            owner[last] = copy.deepcopy(draw(st.sampled_from(EXTREMES)))
    return event


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutations_get_the_official_verdict(official: OfficialSchemas, data: st.DataObject) -> None:
    samples = SAMPLES or SAMPLES.extend(events(test_data())) or SAMPLES
    event = mutated(data.draw(st.sampled_from(samples)), data.draw)
    faults = conformance(event)
    assert (not faults) == official.conforms(event), (faults, event)


SAMPLES: list[Any] = []

BITS = ["a", "Z", "0", "9", ":", "/", "//", "?", "#", "[", "]", "@", "%", "%41", "%4", ".", "-", "+", " ", "é", "::1", "v1.x",
        "http", "urn:", "\\", "|", "\n", "T", "2026-11-24", "08:00:60", "23:59:60", "Z", "+05:30", "0000-02-29", "_"]  # fmt: skip


@pytest.mark.parametrize(("ours", "form"), [(is_uri, "uri"), (is_instant, "date-time"), (is_uuid, "uuid")])
def test_formats_are_those_of_the_rfcs(ours: Any, form: str) -> None:
    official_format = jsonschema_rs.Draft202012Validator(
        {"format": form}, validate_formats=True, formats={"date-time": official_instant}
    )
    seeds = {
        "uri": ["https://u:p@h:80/a/b?c#d", "urn:x:y", "a:", "http://[::1]/", "file:///x", "", "x"],
        "date-time": ["2026-11-24T08:00:00Z", "2026-11-24t08:00:00.123+01:00", "2024-02-29T23:59:60Z"],
        "uuid": ["0198c0de-0000-7000-8000-000000000001", "{0198c0de000070008000000000000001}", ""],
    }[form]

    @settings(max_examples=600, deadline=None)
    @given(
        st.sampled_from(seeds),
        st.integers(0, 40),
        st.integers(0, 2),
        st.lists(st.sampled_from(BITS), max_size=3),
    )
    def compared(seed: str, at: int, cut: int, bits: list[str]) -> None:
        text = seed[:at] + "".join(bits) + seed[at + cut :]
        assert ours(text) == official_format.is_valid(text), text

    compared()


def test_an_official_scenario_without_uuid_and_uri_is_flagged() -> None:
    event = json.loads(
        (test_data() / "consumer-scenarios/simple_run_event/events/simple_run_event.json").read_bytes()
    )
    assert conformance(event) == ["$.producer: is not a URI", "$.run.runId: is not a UUID"]


@pytest.mark.parametrize(
    ("members", "faults"),
    [
        ({"run", "job", "dataset"}, []),
        ({"run", "dataset"}, []),
        ({"job", "dataset"}, ["$: is a DatasetEvent and a JobEvent at once"]),
        ({"job"}, []),
        ({"run"}, ["$.job: is missing"]),
        (set(), ["$.job: is missing"]),
    ],
)
def test_the_kind_is_told_by_the_keys(
    official: OfficialSchemas, members: set[str], faults: list[str]
) -> None:
    whole = {
        "run": {"runId": "0198c0de-0000-7000-8000-000000000001"},
        "job": {"namespace": "n", "name": "j"},
        "dataset": {"namespace": "n", "name": "d"},
    }
    event = {"eventTime": "2026-11-24T08:00:00Z", "producer": PRODUCER, "schemaURL": PRODUCER}
    event |= {name: whole[name] for name in members}
    assert conformance(event) == faults
    assert official.conforms(event) == (not faults)


@pytest.mark.parametrize("event", [None, [], "x", 1])
def test_what_is_no_object_does_not_conform(event: Any) -> None:
    assert conformance(event) == ["$: is not an object"]


def test_endless_nesting_is_a_fault_and_no_crash() -> None:
    condition: Any = {"type": "location", "locations": []}
    for _ in range(5_000):
        condition = {"type": "binary", "operator": "AND", "left": condition, "right": condition}
    facet = FACET | {"inputCondition": condition}
    event = next(with_facet("subset", facet))
    assert conformance(event) == ["$: is nested too deeply"]


def test_where_facets_stand_is_walked(official: OfficialSchemas) -> None:
    event = next(with_facet("tags", FACET | {"tags": []}))
    assert {kind for kind, _, _ in placed(event)} == set(official.facets)
