"""The compiled decoder says what the careful reader says, or nothing."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lineage_samples import test_data
from test_lineage_index import columns, dataset, event

from governance.errors import LogError
from governance.lineage.index.event_parts import EventParts, QuickReader, parts_of
from governance.lineage.index.facet_facts import FacetSet, _odd_edges, _plain_edges
from governance.lineage.reading import read_event


def plain(parts: EventParts) -> Any:
    def facets(found: FacetSet) -> Any:
        return {key: (f.text, f.deleted, f.said) for key, f in found.by_key.items()}, found.ours

    members = {name: getattr(parts, name) for name in parts.__struct_fields__}
    members |= {"run_facets": facets(parts.run_facets), "job_facets": facets(parts.job_facets)}
    return members | {"datasets": [(*d[:3], facets(d[3]), facets(d[4])) for d in parts.datasets]}


def said_alike(body: bytes) -> bool:
    """Whether the quick reader took it; then it says the same, read anew and out of what it remembers."""
    reader = QuickReader()
    quick = reader.read(body)
    again = reader.read(body)
    if quick is None:
        assert again is None
        return False
    assert again is not None
    careful = plain(parts_of(read_event(body)))
    assert plain(quick) == careful
    assert plain(again) == careful
    return True


def every_file() -> list[bytes]:
    folder = test_data()
    lines = [
        line for p in sorted((folder / "captured").glob("*.ndjson")) for line in p.read_bytes().splitlines()
    ]
    names = ("consumer-scenarios", "malformed", "spec-examples")
    return lines + [p.read_bytes() for name in names for p in sorted((folder / name).rglob("*.json"))]


def test_over_all_real_events() -> None:
    bodies = every_file()
    taken = [said_alike(body) for body in bodies]
    events = [body for body in bodies if b'"eventTime"' in body]
    assert sum(taken) > 0.75 * len(events), "nearly everything that conforms goes the quick way"


def test_facets_that_one_reader_remembers_do_not_mix() -> None:
    reader = QuickReader()
    for body in every_file():
        quick = reader.read(body)
        if quick is not None:
            assert plain(quick) == plain(parts_of(read_event(body)))


def test_facets_of_two_names_that_say_the_same() -> None:
    said = {"datasetVersion": "1", "fields": columns(("x", "a", "z"))["fields"]}
    facets = dict.fromkeys(("version", "schema", "columnLineage", "tags"), said)
    reader = QuickReader()
    for outputs in ([dataset("a", **facets)], [dataset("b", **dict(reversed(facets.items())))]):
        body = json.dumps(event(outputs=outputs)).encode()
        quick = reader.read(body)
        assert quick is not None
        assert plain(quick) == plain(parts_of(read_event(body)))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("governance.lineage.index.event_parts._CACHED", 2_000)
    reader = QuickReader()
    for at in range(50):
        body = json.dumps(event(at=at, outputs=[dataset("a", schema={"v": at, "pad": "x" * 100})])).encode()
        quick = reader.read(body)
        assert quick is not None
        assert plain(quick) == plain(parts_of(read_event(body)))
        assert reader._held <= 2_000


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["", "2026-11-24T10:00:00+02:00", "2026-11-24T10:00:00", "START", "😀"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
CONFORMING = event(
    "COMPLETE",
    1,
    inputs=[dataset("a", schema={"fields": [{"name": "x"}]})],
    outputs=[dataset("b", columnLineage=columns(("x", "a", "z")), version={"datasetVersion": "1"})],
    facets={
        "parent": {"run": {"runId": "p"}, "job": {"namespace": "n", "name": "j"}},
        "nominalTime": {"nominalStartTime": "2026-11-24T00:00:00Z"},
    },
    job_facets={"lineage": {"entries": [{"type": "JOB", "inputs": [{"type": "JOB"}]}]}},
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, child in inner for place in places(child, (*here, key)))]


def put_at(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[place[0]] = put_at(value[place[0]], place[1:], new)
    return copied


@given(st.sampled_from(places(CONFORMING)[1:]), JSON, st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_member_of_another_shape(place: tuple[Any, ...], new: Any, ascii_only: bool) -> None:
    body = json.dumps(put_at(CONFORMING, place, new), ensure_ascii=ascii_only)
    try:
        said_alike(body.encode())
    except LogError as error:
        # It must not take what the careful reader refuses.
        raise AssertionError(body) from error


EDGES = columns(("x", "a", "z"), ("y", "b", "z"))["fields"]


@given(st.sampled_from(places(EDGES)), JSON)
@settings(max_examples=150, deadline=None)
def test_column_edges_of_the_usual_shape_are_those_read_carefully(place: tuple[Any, ...], new: Any) -> None:
    fields = put_at(EDGES, place, new)
    if isinstance(fields, dict):
        try:
            plain_edges = _plain_edges(fields)
        except msgspec.ValidationError:
            return
        assert plain_edges == _odd_edges(fields)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_bytes_that_are_damaged(data: st.DataObject) -> None:
    body = bytearray(json.dumps(CONFORMING).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        new = data.draw(st.sampled_from(list(b'"\\{}[],:0ae.u-\x00\x01\x7f\xff ')))
        if data.draw(st.booleans()):
            body[at] = new
        else:
            body.insert(at, new)
    try:
        said_alike(bytes(body))
    except LogError as error:
        raise AssertionError(bytes(body)) from error


@pytest.mark.parametrize(
    "change",
    [
        (b'"run":', b'"run": {"runId": "x"}, "run":'),
        (b'"name": "b"', b'"name": "c", "name": "b"'),
        (b'"fields":', b'"fields": 1, "fields":'),
    ],
)
def test_a_repeated_member_is_read_alike(change: tuple[bytes, bytes]) -> None:
    body = json.dumps(CONFORMING).encode()
    assert change[0] in body
    assert said_alike(body.replace(*change, 1)) in (True, False)


@pytest.mark.parametrize("name", ["governance_open", "governance_\\u006fpen", "\\u0067overnance_open"])
def test_evidence_never_goes_the_quick_way(name: str) -> None:
    body = json.dumps(event(facets={"NAME": {}})).replace("NAME", name).encode()
    assert read_event(body)
    assert QuickReader().read(body) is None
    twice = body.replace(b'"runId"', b'"runId": "x", "runId"', 1)
    with pytest.raises(LogError) as refused:
        read_event(twice)
    assert refused.value.code == "GOV-508"


def test_a_number_beyond_a_double_is_null() -> None:
    body = json.dumps(event(outputs=[dataset("a", x={"n": 1})])).replace('"n": 1', '"n": 1e999').encode()
    assert QuickReader().read(body) is None
    [(*_, facets, _)] = parts_of(read_event(body)).datasets
    assert facets.by_key["x"].text == b'{"n":null}'
