"""The arrays of propagation say what its definition says, whatever the order and repetition of events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from flowing import NS, declared, event, field, held
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lineage_samples import MemoryLog

from governance.lineage.classifications.propagation import Finding, Flow, Label, Rescan
from governance.lineage.index.index import Index
from governance.model.correction import Correction

SPACE = [(NS, d, c) for d in "abc" for c in "xy"]
LABELS = [Label("email"), Label("city"), Label("phone", contained=True)]
edge = st.tuples(
    st.sampled_from(SPACE),
    st.sampled_from(SPACE),
    st.sampled_from(["DIRECT", "INDIRECT", None]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2),
)
edges = st.lists(edge, max_size=12)
findings = st.dictionaries(st.sampled_from(SPACE), st.sets(st.sampled_from(LABELS), min_size=1), max_size=3)
corrections = st.dictionaries(st.sampled_from(SPACE), st.sampled_from(["none", "city", "iban"]), max_size=2)
rescans = st.dictionaries(
    st.integers(0, 2),
    st.dictionaries(st.sampled_from("xy"), st.sets(st.sampled_from(LABELS), max_size=2), max_size=2),
    max_size=3,
)


def table(rows: Sequence[Any]) -> pa.Table:
    columns = {
        "input_namespace": [r[0][0] for r in rows],
        "input_name": [r[0][1] for r in rows],
        "input_column": [r[0][2] for r in rows],
        "output_namespace": [r[1][0] for r in rows],
        "output_name": [r[1][1] for r in rows],
        "output_column": [r[1][2] for r in rows],
        "type": [r[2] for r in rows],
    }
    made = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    for name, place in (("masking", 3), ("observed", 4)):
        made = made.append_column(name, pa.array([r[place] for r in rows], pa.bool_()))
    return made.append_column("log_index", pa.array([r[5] for r in rows], pa.int64()))


SEEN = {(NS, "a", "x"): frozenset({"email", "phone"}), (NS, "b", "y"): frozenset({"email", "city"})}


def flowed(rows: Sequence[Any], found: Any, scans: Any, people: Any) -> dict[Any, set[Label]]:
    flow = Flow.of(
        table(rows),
        {w: [Finding(label, "x", "declared", 0) for label in sorted(each)] for w, each in found.items()},
        {i: {c: Rescan(9, frozenset(f), 5, None) for c, f in by.items()} for i, by in scans.items()},
        {w: Correction(*w, to, "b", "w", "t") for w, to in people.items()},
        SEEN,
    )
    nodes = {where: flow.node(where) for where in SPACE}
    return {w: set() if n is None else {x for _, x in flow.held(flow.bits[n])} for w, n in nodes.items()}


def plainly(rows: Sequence[Any], found: Any, scans: Any, people: Any) -> dict[Any, set[Label]]:
    """The definition, written down as it is said."""
    holds = {where: set(found.get(where, ())) for where in SPACE}
    for where, to in people.items():
        holds[where] = set() if to == "none" else {Label(to)}
    changed = True
    while changed:
        changed = False
        for near, far, kind, masking, observed, index in rows:
            if kind == "INDIRECT" or far in people:
                continue
            arrives = set(holds[near])
            if masking and observed and far[2] in scans.get(index, {}):
                again = {label.classification for label in scans[index][far[2]]}
                gone = SEEN.get(near, frozenset()) - again
                arrives = {label for label in arrives if label.classification not in gone}
            changed |= not arrives <= holds[far]
            holds[far] |= arrives
    return holds


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(edges, findings, rescans, corrections, edge, st.randoms())
def test_arrays_say_what_the_definition_says(rows, found, scans, people, more, random) -> None:
    expected = plainly(rows, found, scans, people)
    assert flowed(rows, found, scans, people) == expected
    shuffled = [*rows, *rows[:3]]
    random.shuffle(shuffled)
    assert flowed(shuffled, found, scans, people) == expected
    # Adding an edge never removes a classification.
    grown = flowed([*rows, more], found, scans, people)
    assert all(expected[where] <= grown[where] for where in SPACE)
    # A re-scan removes only what came through its edges: without them it changes nothing.
    through = [r for r in rows if not (r[3] and r[4])]
    assert flowed(through, found, scans, people) == flowed(through, found, {}, people)


def test_more_labels_than_a_word_holds() -> None:
    chain = [((NS, "a", "x"), (NS, "b", "x"), "DIRECT", False, False, 0)]
    many = {Label(f"c{n:03}") for n in range(150)}
    flow = Flow.of(
        table(chain), {(NS, "a", "x"): [Finding(label, "x", "declared", 0) for label in many]}, {}, {}, {}
    )
    node = flow.node((NS, "b", "x"))
    assert node is not None
    assert {label for _, label in flow.held(flow.bits[node])} == many
    assert flow.bits.dtype == np.uint64


events = st.lists(
    st.builds(
        lambda at, output, job, x, y: event(at, output, job, x=x, y=y),
        st.integers(0, 59),
        st.sampled_from("abc"),
        st.sampled_from("jk"),
        st.lists(st.builds(field, st.sampled_from("abc"), st.sampled_from("xy")), max_size=2),
        st.lists(st.builds(field, st.sampled_from("abc"), st.sampled_from("xy")), max_size=2),
    ),
    max_size=4,
    unique=True,
)


@settings(deadline=None, max_examples=3)
@given(events, st.randoms())
def test_the_order_and_repetition_of_events_change_nothing(bodies: list[bytes], random: Any) -> None:
    def answers(said: Sequence[bytes]) -> Any:
        log = MemoryLog()
        log.put(declared("a", x="email"))
        log.put(declared("b", y="city"))
        for number, body in enumerate(said):
            log.put(body, f"ingest:{number % 2}")
        index = Index.build(log)
        return [held(index, d, c) for _, d, c in SPACE]

    shuffled = [*bodies, *bodies]
    random.shuffle(shuffled)
    assert answers(bodies) == answers(shuffled)
