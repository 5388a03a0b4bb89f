"""What is reached, held against the plainest search there is; names and their numbers."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.lineage.graph.adjacency import Adjacency, Edges, closure
from governance.lineage.graph.node_names import DATASET, FIELD, JOB, NodeName, NodeNames

NODES = 12
Pairs = list[tuple[int, int, int]]

node = st.integers(0, NODES - 1)
pairs = st.lists(st.tuples(node, node, st.integers(0, 30)), max_size=40)


def edges_of(rows: Pairs) -> Edges:
    near, far, first = zip(*rows, strict=True) if rows else ((), (), ())
    return Edges(np.array(near, np.int32), np.array(far, np.int32), np.array(first, np.int64))


def searched(rows: Pairs, sources: list[int], depth: int, as_of: int | None) -> dict[int, int]:
    reached, queue = dict.fromkeys(sources, 0), deque(sources)
    while queue:
        here = queue.popleft()
        for near, far, first in rows:
            if (
                near == here
                and far not in reached
                and reached[here] < depth
                and (as_of is None or first < as_of)
            ):
                reached[far] = reached[here] + 1
                queue.append(far)
    return reached


@given(pairs, st.lists(node, min_size=1, max_size=3), st.integers(0, 6), st.none() | st.integers(0, 31))
def test_a_closure_is_what_a_plain_search_finds(
    rows: Pairs, sources: list[int], depth: int, as_of: int | None
) -> None:
    way = Adjacency.of(NODES, edges_of(rows).once())
    reached, depths = closure((way,), np.array(sources, np.int32), depth, as_of)
    assert dict(zip(reached.tolist(), depths.tolist(), strict=True)) == searched(rows, sources, depth, as_of)
    assert len(set(reached.tolist())) == len(reached)
    assert list(zip(depths, reached, strict=True)) == sorted(zip(depths, reached, strict=True))


@given(pairs, node, st.integers(0, 6))
def test_both_ways_at_once_forget_the_direction(rows: Pairs, source: int, depth: int) -> None:
    edges = edges_of(rows)
    ways = (Adjacency.of(NODES, edges.once()), Adjacency.of(NODES, edges.turned().once()))
    reached, depths = closure(ways, np.array([source], np.int32), depth)
    either = [*rows, *((far, near, first) for near, far, first in rows)]
    assert dict(zip(reached.tolist(), depths.tolist(), strict=True)) == searched(
        either, [source], depth, None
    )


@given(pairs, pairs)
def test_merging_edges_is_building_from_all_of_them(old: Pairs, new: Pairs) -> None:
    later = [(near, far, first + 31) for near, far, first in new]
    merged = Adjacency.of(NODES, edges_of(old).once()).merged(NODES + 3, edges_of(later))
    whole = Adjacency.of(NODES + 3, edges_of([*old, *later]).once())
    for one, other in (
        (merged.start, whole.start),
        (merged.edges.near, whole.edges.near),
        (merged.edges.far, whole.edges.far),
        (merged.edges.first, whole.edges.first),
    ):
        assert one.tolist() == other.tolist()


def test_a_search_stops_after_the_step_that_found_enough() -> None:
    chain = Adjacency.of(9, edges_of([(i, i + 1, 0) for i in range(8)]))
    reached, _ = closure((chain,), np.array([0], np.int32), 20, stop_after=3)
    assert reached.tolist() == [0, 1, 2, 3]


part = st.text(alphabet="a:/#é", min_size=1, max_size=4)
named = st.tuples(part, part)


@settings(deadline=None)
@given(st.lists(named, max_size=20), st.lists(named, max_size=20), st.booleans())
def test_every_name_has_one_number_and_keeps_it(
    one: list[tuple[str, str]], other: list[tuple[str, str]], colliding: bool
) -> None:
    names = NodeNames.empty()
    if colliding:
        names = replace(names, hasher=lambda texts: np.full(len(texts), 7, np.uint64))  # type: ignore[arg-type]
    names, first = names.with_rows(DATASET, *columns(one))
    names, second = names.with_rows(JOB, *columns(other))
    names, again = names.with_rows(DATASET, *columns(one))
    assert first.tolist() == again.tolist()
    assert len(names) == len(set(one)) + len(set(other))
    expected = [NodeName(DATASET, *n, "") for n in one] + [NodeName(JOB, *n, "") for n in other]
    numbers = np.concatenate([first, second])
    assert names.names(numbers) == expected
    assert names.text_of(numbers).to_pylist() == [name.text for name in expected]
    assert names.of(expected) == numbers.tolist()
    assert names.of([NodeName(DATASET, "z", "z", "")]) == [None]


def columns(rows: list[tuple[str, str]]) -> tuple[pa.Array, pa.Array]:
    return pa.array([r[0] for r in rows], pa.string()), pa.array([r[1] for r in rows], pa.string())


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("dataset:postgres://h:5432:db.public.orders", ("postgres://h:5432", "db.public.orders", "")),
        ("dataset:s3://bucket:a:b", ("s3://bucket:a", "b", "")),
        ("dataset:s3://bucket:only", ("s3://bucket", "only", "")),
        ("datasetField:postgres://h:5432:db.t:x:y", ("postgres://h:5432", "db.t", "x:y")),
    ],
)
def test_a_node_id_means_the_longest_namespace_that_is_known(asked: str, found: tuple[str, ...]) -> None:
    names, _ = NodeNames.empty().with_rows(
        DATASET,
        *columns(
            [("postgres://h:5432", "db.public.orders"), ("s3://bucket", "a:b"), ("s3://bucket:a", "b"),
             ("s3://bucket", "only")]
        ),
    )  # fmt: skip
    names, _ = names.with_rows(FIELD, *columns([("postgres://h:5432", "db.t")]), pa.array(["x:y"]))
    number = names.find(asked)
    assert number is not None
    assert names.name(number)[1:] == found


@pytest.mark.parametrize(
    "asked", ["", ":", "dataset", "dataset:", "dataset:a", "run:a:b", "dataset:a:b", "::::"]
)
def test_a_node_id_that_names_nothing_finds_nothing(asked: str) -> None:
    names, _ = NodeNames.empty().with_rows(JOB, *columns([("a", "b")]))
    assert names.find(asked) is None
