"""A picture places every node once, apart from the others, and its edges run to the right."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.lineage.graph.layout import Layout, layered

Graph = tuple[dict[str, tuple[float, float]], list[tuple[str, str]]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(0, 16))
    size = st.sampled_from([(40.0, 20.0), (120.0, 60.0), (10.0, 100.0)])
    nodes = {f"n{i}": draw(size) for i in range(count)}
    node = st.sampled_from(list(nodes) or ["none"])
    edges = draw(st.lists(st.tuples(node, node), max_size=30)) if nodes else []
    return nodes, edges


@settings(deadline=None)
@given(graphs())
def test_a_picture_keeps_its_promises(graph: Graph) -> None:
    nodes, edges = graph
    picture = layered(nodes, edges, layer_gap=30, node_gap=8)
    assert list(picture.places) == list(nodes)
    assert [(route.origin, route.target) for route in picture.routes] == edges
    apart(nodes, picture, 8)
    for route in picture.routes:
        (x, y), (u, v) = route.points[0], route.points[-1]
        start, end = (route.target, route.origin) if route.back else (route.origin, route.target)
        if route.back:
            (x, y), (u, v) = (u, v), (x, y)
        assert (x, y) == (picture.places[start].x + nodes[start][0], middle(nodes, picture, start))
        assert (u, v) == (picture.places[end].x, middle(nodes, picture, end))
        if route.origin != route.target:
            assert x + 30 <= u + 1e-6
            assert all(a[0] < b[0] for a, b in pairwise(sorted(route.points)))
    assert layered(nodes, edges, layer_gap=30, node_gap=8) == picture


def middle(nodes: dict[str, tuple[float, float]], picture: Layout, node: str) -> float:
    return picture.places[node].y + nodes[node][1] / 2


def apart(nodes: dict[str, tuple[float, float]], picture: Layout, gap: float) -> None:
    boxes = [(p.x, p.y, p.x + nodes[n][0], p.y + nodes[n][1]) for n, p in picture.places.items()]
    for box in boxes:
        assert (
            box[0] >= 0
            and box[1] >= -1e-6
            and box[2] <= picture.width + 1e-6
            and box[3] <= picture.height + 1e-6
        )
    for number, a in enumerate(boxes):
        for b in boxes[number + 1 :]:
            beside = a[2] <= b[0] or b[2] <= a[0]
            assert beside or a[3] + gap <= b[1] + 1e-6 or b[3] + gap <= a[1] + 1e-6


@settings(deadline=None)
@given(graphs())
def test_without_a_cycle_no_edge_runs_back(graph: Graph) -> None:
    nodes, edges = graph
    forward = [(a, b) for a, b in edges if int(a[1:]) < int(b[1:])]
    assert not any(route.back for route in layered(nodes, forward).routes)


def box(*names: str) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(names, (40.0, 20.0))


def test_a_chain_is_a_straight_line() -> None:
    picture = layered(box("a", "b", "c"), [("a", "b"), ("b", "c")], layer_gap=10)
    assert [(p.x, p.y, p.layer) for p in picture.places.values()] == [(0, 0, 0), (50, 0, 1), (100, 0, 2)]
    assert (picture.width, picture.height) == (140, 20)


def test_edges_that_need_not_cross_do_not() -> None:
    picture = layered(box("a", "b", "x", "y"), [("a", "y"), ("b", "x")])
    a, b, x, y = picture.places.values()
    assert (a.y < b.y) == (y.y < x.y)


def test_a_cycle_has_one_edge_that_runs_back() -> None:
    picture = layered(box("a", "b", "c"), [("a", "b"), ("b", "c"), ("c", "a"), ("b", "b")])
    assert [route.back for route in picture.routes] == [False, False, True, True]
    assert [p.layer for p in picture.places.values()] == [0, 1, 2]


def test_a_long_edge_goes_around_what_is_between() -> None:
    picture = layered(box("a", "b", "c"), [("a", "b"), ("b", "c"), ("a", "c")])
    (route,) = (r for r in picture.routes if (r.origin, r.target) == ("a", "c"))
    assert len(route.points) == 3
    b = picture.places["b"]
    assert not b.y < route.points[1][1] < b.y + 20


def test_a_source_of_something_late_stands_next_to_it() -> None:
    picture = layered(box("a", "b", "c", "d"), [("a", "b"), ("b", "c"), ("d", "c")])
    assert picture.places["d"].layer == 1


def test_a_picture_of_nothing_is_empty() -> None:
    picture = layered({}, [])
    assert (picture.places, picture.routes, picture.width, picture.height) == ({}, (), 0, 0)


def test_an_edge_to_nowhere_is_refused() -> None:
    with pytest.raises(KeyError):
        layered(box("a"), [("a", "b")])


def test_many_long_edges_are_drawn_all_the_same() -> None:
    nodes = box(*(f"n{i}" for i in range(300)))
    chain = list(pairwise(nodes))
    picture = layered(nodes, [*chain, *(("n0", f"n{i}") for i in range(2, 300))])
    apart(nodes, picture, 16)
    assert not any(route.back for route in picture.routes)
