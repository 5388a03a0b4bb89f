"""Where the nodes of a picture go: layers from left to right, few crossings, straight long edges.

After Sugiyama, Tagawa and Toda (IEEE SMC-11, 1981) and Gansner et al. (IEEE TSE 19(3), 1993): break cycles,
rank, put dummy nodes on long edges, order by barycentre, align by median. Pure and deterministic: the same
nodes and edges in the same order give the same picture. Plain lists, because at the size of a picture an
array per layer costs more than it saves.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_SWEEPS: Final = 8
_DUMMIES: Final = 4_000
"""Beyond so many dummy nodes the longest edges are drawn straight instead of around what is between."""

Size = tuple[float, float]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Place:
    """The top left corner of a node, and its layer counted from the left."""

    x: float
    y: float
    layer: int


@dataclass(frozen=True, slots=True)
class Route:
    """The points of an edge from origin to target; ``back`` if it runs against the layers, as in a cycle."""

    origin: str
    target: str
    points: tuple[Point, ...]
    back: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """A picture: every node's place, every edge's route in the order given, and the size of it all."""

    places: Mapping[str, Place]
    routes: tuple[Route, ...]
    width: float
    height: float


def layered(
    nodes: Mapping[str, Size],
    edges: Sequence[tuple[str, str]],
    *,
    layer_gap: float = 64.0,
    node_gap: float = 16.0,
) -> Layout:
    """Lay out a directed graph from left to right.

    Args:
        nodes: width and height of each node by its id, in any unit.
        edges: origin and target ids; cycles, loops and duplicates are fine.
        layer_gap: between the widest nodes of neighbouring layers.
        node_gap: between nodes of a layer.

    Raises:
        KeyError: an edge names a node that is not there.
    """
    number = {node: i for i, node in enumerate(nodes)}
    sizes = list(nodes.values())
    pairs = [(number[a], number[b]) for a, b in edges]
    turned = _turned(len(sizes), pairs)
    forward = sorted({(b, a) if (a, b) in turned else (a, b) for a, b in pairs if a != b})
    layer = _layers(len(sizes), forward)
    drawing = _Drawing(sizes, layer, forward, node_gap)
    drawing.order()
    top = drawing.align()
    left, width = _columns(sizes, layer, layer_gap)
    places = {node: Place(left[layer[i]], top[i], layer[i]) for node, i in number.items()}

    def centre(dummy: int) -> Point:
        return left[drawing.layer[dummy]], top[dummy]

    routes = []
    for (origin, target), (a, b) in zip(edges, pairs, strict=True):
        back = a == b or (a, b) in turned
        first, last = (b, a) if back else (a, b)
        start = (left[layer[first]] + sizes[first][0], top[first] + sizes[first][1] / 2)
        end = (left[layer[last]], top[last] + sizes[last][1] / 2)
        points = [start, *(centre(dummy) for dummy in drawing.between.get((first, last), ())), end]
        routes.append(Route(origin, target, tuple(reversed(points) if back else points), back))
    height = max((top[i] + size[1] for i, size in enumerate(sizes)), default=0.0)
    return Layout(places, tuple(routes), width, height)


def _neighbours(count: int, pairs: Sequence[tuple[int, int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Before and after each node."""
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for a, b in pairs:
        after[a].append(b)
        before[b].append(a)
    return before, after


def _turned(count: int, pairs: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Edges that close a cycle in a depth-first walk from the sources on; without them there is none."""
    before, after = _neighbours(count, pairs)
    state, turned = [0] * count, set()
    for root in sorted(range(count), key=lambda node: bool(before[node])):
        if state[root]:
            continue
        state[root] = 1
        stack = [(root, iter(after[root]))]
        while stack:
            node, rest = stack[-1]
            for target in rest:
                if state[target] == 1:
                    turned.add((node, target))
                elif not state[target]:
                    state[target] = 1
                    stack.append((target, iter(after[target])))
                    break
            else:
                state[node] = 2
                stack.pop()
    return turned


def _layers(count: int, forward: Sequence[tuple[int, int]]) -> list[int]:
    """The longest way to each node, then nodes pulled towards the side where most of their edges are."""
    before, after = _neighbours(count, forward)
    waiting = [len(found) for found in before]
    walk = [node for node in range(count) if not waiting[node]]
    for node in walk:
        for target in after[node]:
            waiting[target] -= 1
            if not waiting[target]:
                walk.append(target)
    layer = [0] * count
    for node in walk:
        layer[node] = max((layer[b] + 1 for b in before[node]), default=0)
    for node in reversed(walk):
        if len(after[node]) > len(before[node]):
            layer[node] = min(layer[a] for a in after[node]) - 1
    return layer


def _columns(sizes: Sequence[Size], layer: Sequence[int], gap: float) -> tuple[list[float], float]:
    """The left edge of each layer, and the width of all."""
    widest = [0.0] * (max(layer, default=-1) + 1)
    for size, column in zip(sizes, layer, strict=True):
        widest[column] = max(widest[column], size[0])
    left, at = [], 0.0
    for width in widest:
        left.append(at)
        at += width + gap
    return left, max(at - gap, 0.0)


class _Drawing:
    """Nodes and dummies in layers. Components keep apart: they never change places within a layer."""

    def __init__(
        self, sizes: Sequence[Size], layer: Sequence[int], forward: Sequence[tuple[int, int]], gap: float
    ) -> None:
        self.layer = list(layer)
        self.gap = gap
        self.between: dict[tuple[int, int], list[int]] = {}
        self.heights = [size[1] for size in sizes]
        self.component = _components(len(sizes), forward)
        segments = []
        left = _DUMMIES
        for a, b in sorted(forward, key=lambda e: layer[e[1]] - layer[e[0]]):
            left -= layer[b] - layer[a] - 1
            if left < 0:
                break
            here = a
            for column in range(layer[a] + 1, layer[b]):
                dummy = len(self.layer)
                self.layer.append(column)
                self.heights.append(0.0)
                self.component.append(self.component[a])
                self.between.setdefault((a, b), []).append(dummy)
                segments.append((here, dummy))
                here = dummy
            segments.append((here, b))
        self.real = len(sizes)
        self.before, self.after = _neighbours(len(self.layer), segments)
        self.rows: list[list[int]] = [[] for _ in range(max(self.layer, default=-1) + 1)]
        for node in self._walk():
            self.rows[self.layer[node]].append(node)
        self.place = [0] * len(self.layer)
        self._number()

    def order(self) -> None:
        """Sweep to and fro, each node to the barycentre of its neighbours; the best of all sweeps counts."""
        best, fewest = [row[:] for row in self.rows], self._crossings()
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            down = sweep % 2 == 0
            near = self.before if down else self.after
            for row in self.rows if down else reversed(self.rows):
                place = self.place

                def centre(
                    node: int, near: list[list[int]] = near, place: list[int] = place
                ) -> tuple[int, float]:
                    met = near[node]
                    mean = sum(place[other] for other in met) / len(met) if met else float(place[node])
                    return self.component[node], mean

                row.sort(key=centre)
                for at, node in enumerate(row):
                    place[node] = at
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [row[:] for row in self.rows], crossings
        self.rows = best
        self._number()

    def align(self) -> list[float]:
        """The top of each node: as near to the median of its neighbours as order and gaps allow."""
        centre = [0.0] * len(self.layer)
        for row in self.rows:
            at = 0.0
            for node in row:
                centre[node] = at + self.heights[node] / 2
                at += self.heights[node] + self.gap
        ways = (self.before, self.after)
        for sweep in range(_SWEEPS):
            near = ways[sweep % 2]
            for row in self.rows if sweep % 2 == 0 else reversed(self.rows):
                self._settle(row, near, centre)
        top = [at - height / 2 for at, height in zip(centre, self.heights, strict=True)]
        highest = min(top[: self.real], default=0.0)
        return [at - highest for at in top]

    def _settle(self, row: list[int], near: list[list[int]], centre: list[float]) -> None:
        """Least squares under the order of the row: pool adjacent violators, with the gaps taken out."""
        blocks: list[tuple[float, float, int]] = []
        offset = 0.0
        offsets: list[float] = []
        for node in row:
            half = self.heights[node] / 2
            if offsets:
                offset += half + self.gap
            offsets.append(offset)
            offset += half
            met = sorted(centre[other] for other in near[node])
            middle = len(met) // 2
            wanted = (met[middle] + met[~middle]) / 2 if met else centre[node]
            # A dummy pulls harder, so that a long edge bends little.
            weight = (1.0 if met else 0.25) if node < self.real else 4.0
            mean, count = wanted - offsets[-1], 1
            while blocks and blocks[-1][0] >= mean:
                other, heavy, many = blocks.pop()
                mean, weight = (mean * weight + other * heavy) / (weight + heavy), weight + heavy
                count += many
            blocks.append((mean, weight, count))
        at = 0
        for mean, _, count in blocks:
            for node, shift in zip(row[at : at + count], offsets[at : at + count], strict=True):
                centre[node] = mean + shift
            at += count

    def _walk(self) -> list[int]:
        """All nodes, component by component, each reached from one that was before it."""
        found, seen = [], [False] * len(self.layer)
        for root in sorted(range(len(self.layer)), key=lambda n: (self.component[n], self.layer[n], n)):
            if seen[root]:
                continue
            seen[root] = True
            stack = [root]
            while stack:
                node = stack.pop()
                found.append(node)
                for other in reversed(self.after[node]):
                    if not seen[other]:
                        seen[other] = True
                        stack.append(other)
        return sorted(found, key=lambda node: self.component[node])

    def _number(self) -> None:
        for row in self.rows:
            for at, node in enumerate(row):
                self.place[node] = at

    def _crossings(self) -> int:
        """How many pairs of edges between neighbouring layers cross."""
        crossings, place = 0, self.place
        for row in self.rows:
            ends: list[int] = []
            for node in row:
                targets = sorted(place[other] for other in self.after[node])
                crossings += sum(len(ends) - bisect_right(ends, target) for target in targets)
                for target in targets:
                    insort(ends, target)
        return crossings


def _components(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """The smallest node that each is connected with."""
    root = list(range(count))

    def find(node: int) -> int:
        while root[node] != node:
            root[node] = root[root[node]]
            node = root[node]
        return node

    for a, b in pairs:
        low, high = sorted((find(a), find(b)))
        root[high] = low
    return [find(node) for node in range(count)]
