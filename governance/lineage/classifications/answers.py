"""What a column holds and why, in words and places: the answers of ``governance classification explain``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from governance.lineage.classifications import propagation_rows as rows_of
from governance.lineage.classifications.propagation import Bits, Classifications, Finding, Label, Rows
from governance.lineage.classifications.sensitivity_levels import Levels
from governance.lineage.graph.adjacency import Adjacency, Edges, Ids, Indexes, Mask
from governance.lineage.graph.node_names import NodeName
from governance.model.correction import Column, Correction

FOUND, DECLARED, CORRECTED = "found", "declared", "corrected"
DERIVED, UNVERIFIED = "derived", "derived, not verified"

_LISTED = 100
Answer = dict[str, Any]


class Explainer:
    """Explains columns of what was settled.

    Args:
        known: what every column holds.
        levels: of the policy.
    """

    def __init__(self, known: Classifications, levels: Levels) -> None:
        self._known, self._flow, self._levels = known, known.flow, levels

    def column(self, where: Column) -> Answer:
        """Effective classifications of a column with the way each came, what was stopped, what was corrected."""
        node = self._flow.node(where)
        held = [] if node is None else [self._held(where, node, n, label) for n, label in self._labels(node)]
        correction = self._known.corrections.get(where)
        return {
            "column": where[2],
            "sensitivity": self._levels.most(entry["classification"] for entry in held),
            "known": node is not None,
            "classifications": held,
            "stopped": [] if node is None else self._stopped(node),
            "correction": None if correction is None else said(correction) | self._contested(correction),
            "overruled": [] if correction is None or node is None else self._overruled(where, node),
            "indirect": self._indirect(where),
        }

    def classifications(self, where: Column) -> list[str]:
        """The names alone, sorted."""
        node = self._flow.node(where)
        return [] if node is None else sorted({label.classification for _, label in self._labels(node)})

    def columns(self, namespace: str, name: str) -> list[str]:
        """The columns of a dataset that an edge, a finding or a correction names."""
        facts, found = self._flow.facts, set()
        for side in ("input", "output"):
            own = pc.and_(
                pc.equal(facts[f"{side}_namespace"], namespace), pc.equal(facts[f"{side}_name"], name)
            )
            found |= set(pc.unique(facts[f"{side}_column"].filter(own)).to_pylist())
        spoken = (*self._known.findings, *self._known.corrections)
        return sorted((found | {c for s, n, c in spoken if (s, n) == (namespace, name)}) - {""})

    def every_column(self) -> set[Column]:
        """Every column that an edge, a finding or a correction names."""
        facts, found = self._flow.facts, {*self._known.findings, *self._known.corrections}
        for side in ("input", "output"):
            named = [f"{side}_{part}" for part in ("namespace", "name", "column")]
            rows = facts.select(named).group_by(named).aggregate([]).to_pydict()
            found |= set(zip(*(rows[name] for name in named), strict=True))
        return {where for where in found if where[2]}

    def overruled(self, where: Column) -> list[str]:
        """What would stand at a column if nobody had corrected it; nothing of one that nobody corrected."""
        node = self._flow.node(where)
        if node is None or where not in self._known.corrections:
            return []
        return [entry["classification"] for entry in self._overruled(where, node)]

    def sources(self, namespace: str, name: str) -> set[tuple[str, str]]:
        """The datasets from which column edges lead to a dataset."""
        facts = self._flow.facts
        into = pc.and_(pc.equal(facts["output_namespace"], namespace), pc.equal(facts["output_name"], name))
        rows = facts.filter(into).select(["input_namespace", "input_name"]).to_pylist()
        return {(row["input_namespace"], row["input_name"]) for row in rows}

    def _contested(self, correction: Correction) -> Answer:
        """The entry of the scan that contradicts a correction, ``None`` where none does."""
        return {"contested_by": self._known.contested.get(correction.index)}

    def _labels(self, node: int) -> list[tuple[int, Label]]:
        return self._flow.held(self._flow.bits[node])

    def _held(self, where: Column, node: int, number: int, label: Label) -> Answer:
        said_here = {
            "classification": label.classification,
            "contained": label.contained,
            "sensitivity": self._levels.level(label.classification),
        }
        if _has(self._flow.own[node : node + 1], number)[0]:
            origin = self._origin(where, label)
            masks = [
                self._step(position, label)
                for position in self._into(node).tolist()
                if self._masking[position] and self._carries(position, number)
            ]
            rest = {"origin": origin, "path": [], "despite": masks}
            return said_here | {"status": origin["status"], **rest}
        way = self._way_back(node, number, self._plain)
        status = DERIVED if way else UNVERIFIED
        way = way or self._way_back(node, number, self._every)
        path = [self._step(position, label) for position in way]
        first = path[-1]["from"]
        origin = self._origin((first["namespace"], first["dataset"], first["column"]), label)
        rest = {"origin": origin, "path": path, "despite": []}
        return said_here | {"status": status, **rest}

    def _origin(self, where: Column, label: Label) -> Answer:
        namespace, name, column = where
        place = {"namespace": namespace, "dataset": name, "column": column}
        correction = self._known.corrections.get(where)
        if correction is not None:
            return (
                place
                | {"status": CORRECTED, "by": correction.by, "basis": "corrected"}
                | {"log_index": correction.index}
            )
        found = [finding for finding in self._known.findings[where] if finding.label == label]
        best = max(found, key=_trust)
        status = FOUND if best.basis == "observed" else DECLARED
        return place | {"status": status, "by": best.by, "basis": best.basis, "log_index": best.index}

    def _step(self, position: int, label: Label) -> Answer:
        row = self._flow.facts.slice(int(self._flow.row[position]), 1).to_pylist()[0]
        return {
            "from": {
                "namespace": row["input_namespace"], "dataset": row["input_name"], "column": row["input_column"]
            },
            "to": {
                "namespace": row["output_namespace"],
                "dataset": row["output_name"],
                "column": row["output_column"],
            },
            "by": row["description"] or row["transformation"],
            "job": row["job_name"],
            "masking": row["masking"],
            "basis": "observed" if row["observed"] else "declared",
            "log_index": row["log_index"],
            "verdict": self._verdict(row, label),
        }  # fmt: skip

    def _verdict(self, row: Mapping[str, Any], label: Label) -> str:
        rescan = self._known.rescans.get(row["log_index"], {}).get(row["output_column"])
        near = (row["input_namespace"], row["input_name"], row["input_column"])
        before = self._known.detected.get(near, frozenset())
        if not row["masking"]:
            if rescan is not None and rescan.clears(label, before):
                return (
                    f"carries values: the re-scan in entry {rescan.index} found none, "
                    "but nothing says that the transform masks"
                )
            return "carries values"
        if not row["observed"]:
            return "declared to mask: not verified"
        if rescan is None:
            return "masks, but no re-scan of its output is in the log: not verified"
        if label.classification not in before:
            return f"masks, but detectors had not seen it before either (entry {rescan.index}): not verified"
        if rescan.clears(label, before):
            return f"masks, and the re-scan in entry {rescan.index} did not find it"
        return f"masks, but the re-scan in entry {rescan.index} does not rule it out: not verified"

    def _stopped(self, node: int) -> list[Answer]:
        """What edges into a column brought and did not let through."""
        flow, found = self._flow, []
        for position in self._into(node).tolist():
            near = int(flow.forward.edges.near[position])
            for _, label in flow.held(flow.bits[near] & ~flow.passes[position]):
                step = self._step(position, label)
                rescan = self._known.rescans[step["log_index"]][step["to"]["column"]]
                found.append(
                    {
                        "classification": label.classification,
                        "contained": label.contained,
                        "at": step,
                        "rescan": {
                            "log_index": rescan.index,
                            "values_read": rescan.values_read,
                            "miss_bound": rescan.miss_bound,
                        },
                    }
                )
        return found

    def _overruled(self, where: Column, node: int) -> list[Answer]:
        """What would stand at a corrected column; ``seen``: the person knew of it."""
        flow, correction = self._flow, self._known.corrections[where]
        arrived = {
            label
            for position in self._into(node).tolist()
            for _, label in flow.held(
                flow.bits[int(flow.forward.edges.near[position])] & flow.passes[position]
            )
        } | {finding.label for finding in self._known.findings.get(where, ())}
        return [
            {
                "classification": label.classification,
                "contained": label.contained,
                "seen": label.classification in correction.overruled,
            }
            for label in sorted(arrived)
            if label.classification != correction.to
        ]

    def _indirect(self, where: Column) -> list[Answer]:
        """Columns that decided which rows there are, or their order, and whose values are not in it."""
        namespace, name, column = where
        facts = self._flow.facts
        into = pc.and_(pc.equal(facts["output_namespace"], namespace), pc.equal(facts["output_name"], name))
        rows = facts.filter(into)
        here = pc.is_in(rows["output_column"], pa.array([column, ""]))
        whole = pc.and_(pc.equal(rows["output_column"], ""), pc.is_null(rows["type"]))
        rows = rows.filter(pc.and_(here, pc.or_(pc.equal(pc.fill_null(rows["type"], ""), "INDIRECT"), whole)))
        return [
            {
                "namespace": row["input_namespace"],
                "dataset": row["input_name"],
                "column": row["input_column"],
                "by": row["transformation"],
                "log_index": row["log_index"],
                "classifications": self.classifications(
                    (row["input_namespace"], row["input_name"], row["input_column"])
                ),
            }
            for row in rows.slice(0, _LISTED).to_pylist()
        ]

    @cached_property
    def _backward(self) -> Adjacency:
        """Edges turned round; ``first`` is each one's place among the forward edges."""
        edges = self._flow.forward.edges
        turned = Edges(edges.far, edges.near, np.arange(len(edges)))
        return Adjacency.of(self._flow.forward.nodes, turned.where(turned.order()))

    @cached_property
    def _masking(self) -> Mask:
        masking = self._flow.facts["masking"].to_numpy()
        return np.asarray(masking[self._flow.row], bool)

    @cached_property
    def _plain(self) -> Mask:
        return ~self._masking

    @cached_property
    def _every(self) -> Mask:
        return np.ones(len(self._flow.row), bool)

    def _carries(self, position: int, number: int) -> bool:
        """Whether the column that an edge reads holds a label."""
        near = self._flow.forward.edges.near[position : position + 1]
        return bool(_has(self._flow.bits[near], number)[0])

    def _into(self, node: int) -> Indexes:
        backward = self._backward
        return backward.edges.first[backward.start[node] : backward.start[node + 1]]

    def _way_back(self, node: int, number: int, usable: Mask) -> list[int]:
        """The edges from a column back to the nearest one at which a label stands; none if there is no way."""
        flow, backward = self._flow, self._backward
        came: Indexes = np.full(len(flow.bits), -1)
        seen = np.zeros(len(flow.bits), bool)
        front: Ids = np.array([node], np.int32)
        seen[front] = True
        while len(front):
            at = backward.positions(front)
            position, near = backward.edges.first[at], backward.edges.far[at]
            live = ~seen[near] & usable[position]
            position, near = position[live], near[live]
            live = _has(flow.bits[near], number) & _has(flow.passes[position], number)
            near, first = np.unique(near[live], return_index=True)
            came[near], seen[near] = position[live][first], True
            found = near[_has(flow.own[near], number)]
            if len(found):
                way: list[int] = []
                place = self._by_name(found)
                while place != node:
                    way.append(int(came[place]))
                    place = int(flow.forward.edges.far[way[-1]])
                return way[::-1]
            front = near[~flow.fixed[near]]
        return []

    def _by_name(self, nodes: Ids) -> int:
        named: Sequence[NodeName] = self._flow.names.names(nodes)
        return int(nodes[min(range(len(named)), key=lambda place: named[place])])


def explained(
    index: Rows,
    known: Classifications,
    levels: Levels,
    namespace: str,
    name: str,
    column: str | None = None,
    sources: Iterable[tuple[str, str]] = (),
) -> Answer:
    """What the columns of a dataset hold at a log size.

    Args:
        column: only this one.
        sources: the datasets it was made from. Those from which no column edge leads here are listed as
            ``without_column_lineage``: what came from them nobody knows, so the dataset counts as ``unresolved``, of the
            policy's highest sensitivity.
    """
    explainer = Explainer(known, levels)
    columns = explainer.columns(namespace, name)
    asked = {"as_of": known.size, "namespace": namespace, "name": name}
    fields = index.arrow(rows_of.FIELDS, asked)["field"].to_pylist()
    listed = sorted({*columns, *fields}) if column is None else [column]
    silent = sorted(set(sources) - explainer.sources(namespace, name) - {(namespace, name)})
    return {
        "namespace": namespace,
        "dataset": name,
        "as_of": known.size,
        "columns": [explainer.column((namespace, name, each)) for each in listed],
        "without_column_lineage": [{"namespace": space, "dataset": source} for space, source in silent],
        "unresolved": {"sensitivity": levels.order[-1] if levels.order else None} if silent else None,
    }


def said(correction: Correction) -> Answer:
    """A correction with who sent it and its place in the log."""
    return correction.to_json() | {"principal": correction.principal, "log_index": correction.index}


def _trust(finding: Finding) -> tuple[bool, bool, int]:
    return finding.basis == "observed", finding.by == "classify", finding.index


def _has(bits: Bits, number: int) -> Mask:
    """Of each row of bits, whether it holds a label."""
    return np.asarray(bits[:, number // 64] >> np.uint64(number % 64) & np.uint64(1), bool)
