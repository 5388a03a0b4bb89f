"""The lineage graph as a picture: drawn here, moved by the reader's browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from markupsafe import Markup

from governance.lineage.graph.graph import View
from governance.lineage.graph.layout import Layout, Point, layered
from governance.lineage.graph.node_names import DATASET, JOB
from governance.server.graph.graph_data import classified, facets_of
from governance.server.graph.graph_data import drawn as from_graph
from governance.server.marquez.asking import Asking, Asks, Row, answer, malformed, unknown
from governance.server.pages.frame import HEADERS, HERE, Links, page, page_routes, render, short
from governance.server.served import ServedStore

_MOST = 500
_LEVELS = ("public", "internal", "confidential", "restricted")
_WIDTH, _HEIGHT = 236.0, 52.0

Node = Annotated[str, Query(min_length=1, max_length=4_096)]
Direction = Literal["both", "upstream", "downstream"]
Depth = Annotated[int, Query(ge=0, le=100)]
Expand = Annotated[list[str] | None, Query(max_length=100)]


@dataclass(frozen=True, slots=True)
class Picture:
    """Nodes with their places, edges with their lines, and the size of it all."""

    nodes: list[Row]
    edges: list[Row]
    layout: Layout
    truncated: bool


def router(served: ServedStore) -> APIRouter:
    """The routes."""
    routes = page_routes()

    def drawn(
        request: Request, ask: Asking, node: str, direction: str, depth: int, expand: list[str] | None
    ) -> Row:
        ask, view = from_graph(served, ask)
        picture = _picture(view, ask, node, direction, depth, expand or [])
        link = Links(request)
        asked: Row = {"node": node, "direction": direction, "depth": depth, "expand": expand or []}
        for one in picture.nodes:
            one["link"] = (link.job if one["kind"] == JOB else link.dataset)(one["namespace"], one["name"])
            one["centre"] = link("graph", node=one["id"], direction=direction, depth=depth)
            more = [*asked["expand"], one["id"]]
            one["grow"] = link("graph", **asked | {"expand": more}) if one["more"] else None
        return {"picture": picture, "levels": _LEVELS, "asked": asked}

    @routes.get("/graph")
    def graph(
        request: Request,
        ask: Asks,
        node: Node,
        direction: Direction = "both",
        depth: Depth = 3,
        expand: Expand = None,
    ) -> Response:
        data = drawn(request, ask, node, direction, depth, expand)
        return page(request, "graph.html", ask, title="Lineage graph", standalone=None, **data)

    @routes.get("/graph.json")
    def parts(
        request: Request,
        ask: Asks,
        node: Node,
        direction: Direction = "both",
        depth: Depth = 3,
        expand: Expand = None,
    ) -> Response:
        data = drawn(request, ask, node, direction, depth, expand)
        made = answer(
            {
                "svg": render("picture.svg", standalone=None, **data),
                "edges": render("edges.html", **data),
                "download": Links(request)("graph.svg", **data["asked"]),
                "truncated": data["picture"].truncated,
            }
        )
        made.headers.update(HEADERS)
        return made

    @routes.get("/graph.svg")
    def alone(
        request: Request,
        ask: Asks,
        node: Node,
        direction: Direction = "both",
        depth: Depth = 3,
        expand: Expand = None,
    ) -> Response:
        data = drawn(request, ask, node, direction, depth, expand)
        style = Markup((HERE / "static" / "graph.css").read_text())  # noqa: S704 - a file of this package
        security = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
        headers = {
            **HEADERS,
            "content-security-policy": security,
            "content-disposition": 'attachment; filename="lineage.svg"',
        }
        return Response(
            render("picture.svg", standalone=style, **data), media_type="image/svg+xml", headers=headers
        )

    return routes


def _picture(view: View, ask: Asking, node_id: str, direction: str, depth: int, expand: list[str]) -> Picture:
    hidden = None if ask.caller.namespaces is None else view.hidden(ask.caller.sees)
    centre = _found(view, ask, node_id)
    if direction == "both":
        nodes, _, truncated = view.around(centre, depth, _MOST, hidden)
    else:
        reached, _ = view.closure(centre, direction, depth, hidden=hidden)
        nodes, truncated = reached[:_MOST], len(reached) > _MOST
    for grown in expand:
        near, _, _ = view.around(_found(view, ask, grown), 1, _MOST, hidden)
        nodes = np.concatenate([nodes, near[~np.isin(near, nodes)]])
    truncated, nodes = truncated or len(nodes) > _MOST, nodes[:_MOST]
    names = dict(zip(nodes.tolist(), view.names.names(nodes), strict=True))
    shown = set(names)
    more = {number: len(set(view.around(number, 1, 10_000, hidden)[0].tolist()) - shown) for number in names}
    edges = view.edges_among(nodes)
    pairs = sorted(set(zip(edges.near.tolist(), edges.far.tolist(), strict=True)))
    layout = layered(
        {str(number): (_WIDTH, _HEIGHT) for number in names}, [(str(a), str(b)) for a, b in pairs]
    )
    levels = _sensitive(ask, view, {n: name for n, name in names.items() if name.kind == DATASET})
    drawn = [
        {
            "id": name.text,
            "kind": JOB if name.kind == JOB else DATASET,
            "namespace": name.namespace,
            "name": name.name,
            "label": short(name.name, 25),
            "below": short(name.namespace, 22),
            "x": round(layout.places[str(number)].x, 1),
            "y": round(layout.places[str(number)].y, 1),
            "level": levels.get(number, (None, []))[0],
            "classes": levels.get(number, (None, []))[1],
            "more": more[number],
            "centred": number == centre,
        }
        for number, name in names.items()
    ]
    lines = [
        {
            "d": _line(route.points),
            "back": route.back,
            "origin": names[int(route.origin)],
            "target": names[int(route.target)],
        }
        for route in layout.routes
    ]
    return Picture(drawn, lines, layout, truncated)


def _found(view: View, ask: Asking, node_id: str) -> int:
    if not node_id.startswith((f"{DATASET}:", f"{JOB}:")):
        raise malformed(
            "this names neither a dataset nor a job", "use dataset:NAMESPACE:NAME or job:NAMESPACE:NAME"
        )
    node = view.find(node_id)
    if node is None or not ask.caller.sees(view.names.name(node).namespace):
        raise unknown("node")
    return node


def _sensitive(ask: Asking, view: View, names: Any) -> dict[int, tuple[str, list[str]]]:
    """The highest sensitivity in each dataset, and what was found in it."""
    said = facets_of(ask, view, names, ("governance_classifications",), "dataset") if names else {}
    found = {}
    for number, facets in said.items():
        rows = classified(facets.get("governance_classifications"))
        levels = [row["sensitivity"] for row in rows if row["sensitivity"] in _LEVELS]
        if levels:
            classes = sorted({row["classification"] for row in rows} - {"none"})
            found[number] = (max(levels, key=_LEVELS.index), classes)
    return found


def _line(points: Sequence[Point]) -> str:
    """A smooth path through a route: horizontal where it leaves and arrives."""
    (x, y), *rest = points
    parts = [f"M{x:.1f},{y:.1f}"]
    for to_x, to_y in rest:
        bend = (to_x - x) / 2
        parts.append(f"C{x + bend:.1f},{y:.1f} {to_x - bend:.1f},{to_y:.1f} {to_x:.1f},{to_y:.1f}")
        x, y = to_x, to_y
    return " ".join(parts)
