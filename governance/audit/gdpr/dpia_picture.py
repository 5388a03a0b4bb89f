"""The picture of data flows: SVG from the layout of lineage, a pure function of the cell. The table beside it says the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from governance.lineage.graph.layout import layered

_HEIGHT, _LETTER, _MOST, _MARGIN = 40.0, 6.2, 44, 8.0
_FILL = {"governed dataset": "#dce6f2", "recipient": "#f7e3cf", "source": "#eef0f2"}


def picture(flows: Mapping[str, Any]) -> str:
    """An ``svg`` element; text from the log is escaped."""
    labels = {node["node"]: (_short(node["node"]), node["kind"]) for node in flows["nodes"]}
    sizes = {node: (_width(*said), _HEIGHT) for node, said in labels.items()}
    edges = [(edge["from"], edge["to"]) for edge in flows["edges"]]
    made = layered(sizes, edges)
    width, height = made.width + 2 * _MARGIN, made.height + 2 * _MARGIN
    drawn = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" style="max-width:100%;height:auto" '
        f"aria-label={quoteattr('Data flows: ' + '; '.join(f'{a} to {b}' for a, b in edges))} "
        'font-family="sans-serif" font-size="11">'
    ]
    for route, edge in zip(made.routes, flows["edges"], strict=True):
        points = " ".join(f"{x + _MARGIN:.1f},{y + _MARGIN:.1f}" for x, y in route.points)
        dashed = ' stroke-dasharray="4 3"' if edge["known"] != "observed" else ""
        drawn.append(f'<polyline points="{points}" fill="none" stroke="#565e68"{dashed}/>')
        x, y = route.points[-1]
        drawn.append(f'<circle cx="{x + _MARGIN:.1f}" cy="{y + _MARGIN:.1f}" r="3" fill="#565e68"/>')
    for node, place in made.places.items():
        (text, kind), (w, _) = labels[node], sizes[node]
        x, y = place.x + _MARGIN, place.y + _MARGIN
        drawn.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{_HEIGHT:.0f}" rx="3" '
            f'fill="{_FILL.get(kind, "#fff")}" stroke="#1f3a5f"/>'
            f'<text x="{x + 8:.1f}" y="{y + 17:.1f}">{escape(text)}</text>'
            f'<text x="{x + 8:.1f}" y="{y + 31:.1f}" fill="#565e68">{escape(kind)}</text>'
        )
    return "\n".join([*drawn, "</svg>"])


def _short(text: str) -> str:
    return text if len(text) <= _MOST else f"…{text[1 - _MOST :]}"


def _width(text: str, kind: str) -> float:
    return max(len(text), len(kind)) * _LETTER + 16
