"""Classifications along column lineage: what a column holds because of what it came from.

A classification flows over every edge that carries values. It stops at an edge only where two proofs stand in
the log: the evidence of a rewriting pass that its transform masks, and a re-scan of what that pass wrote in
which detectors no longer find what they had found before. What a person corrected counts instead of both. Sets of classifications
are bits, so a step of the search is a few array operations whatever the number of edges.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.lineage.classifications import propagation_rows as rows_of
from governance.lineage.graph.adjacency import Adjacency, Edges, Ids, Indexes, Mask
from governance.lineage.graph.node_names import DATASET, FIELD, NodeName, NodeNames
from governance.model.classification import HARMLESS, UNCLASSIFIED
from governance.model.correction import Column, Correction, read_correction, standing

Bits = NDArray[np.uint64]
"""Sets of labels, one row each, 64 labels a word."""


class Label(NamedTuple):
    """A classification, and whether the column is that or its text only contains it."""

    classification: str
    contained: bool = False


class Rows(Protocol):
    """What propagation needs of :class:`governance.lineage.index.index.Index`."""

    @property
    def size(self) -> int:
        """How many log entries were read."""

    def arrow(self, sql: str, parameters: dict[str, Any]) -> pa.Table:
        """The rows of one SELECT."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in a column: by whom (``classify``, ``re-scan``, ``declared``), and where in the log."""

    label: Label
    by: str
    basis: str
    index: int


@dataclass(frozen=True, slots=True)
class Rescan:
    """What a scan of written values found in one column. ``miss_bound`` is ``None`` after a full read."""

    index: int
    found: frozenset[Label]
    values_read: int
    miss_bound: float | None

    def clears(self, label: Label, before: Collection[str]) -> bool:
        """Whether it shows that a classification is not there any more.

        Detectors that cannot name the column now, or had not found the classification ``before``, show nothing.
        """
        said = {found.classification for found in self.found}
        gone = label.classification in before and label.classification not in said
        return gone and self.values_read > 0 and UNCLASSIFIED not in said


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Edges that carry values, both ways, what each lets through, and what is found at each column.

    ``row`` is each forward edge's row in ``facts``. ``own`` and ``bits`` are per column: what stands there
    itself, and with what arrived. ``fixed`` are the columns a person corrected.
    """

    names: NodeNames
    labels: tuple[Label, ...]
    forward: Adjacency
    row: Indexes
    passes: Bits
    own: Bits
    bits: Bits
    fixed: Mask
    facts: pa.Table

    @classmethod
    def of(
        cls,
        facts: pa.Table,
        findings: Mapping[Column, Sequence[Finding]],
        rescans: Mapping[int, Mapping[str, Rescan]],
        corrections: Mapping[Column, Correction],
        detected: Mapping[Column, frozenset[str]],
    ) -> Flow:
        """Settle what every column holds.

        Args:
            facts: rows of :data:`governance.lineage.classifications.propagation_rows.EDGES`.
            findings: by column.
            rescans: by the log index of a rewriting pass's evidence, then by column of its output.
            corrections: those that stand.
            detected: what detectors, and not only people, found in each column that they scanned.
        """
        spoken = [*findings, *corrections]
        named = [
            pa.chunked_array([*facts[f"input_{part}"].chunks, *facts[f"output_{part}"].chunks, more])
            for part, more in zip(("namespace", "name", "column"), _columns(spoken), strict=True)
        ]
        names, nodes = NodeNames.empty().with_rows(FIELD, *named)
        near, far, at = np.split(nodes, [facts.num_rows, 2 * facts.num_rows])
        labels = _labels(findings, corrections)
        words = len(labels) // 64 + 1
        place = {label: number for number, label in enumerate(labels)}
        own, fixed = np.zeros((len(names), words), np.uint64), np.zeros(len(names), bool)
        for node, where in zip(at.tolist(), spoken, strict=True):
            if where in corrections:
                fixed[node], to = True, corrections[where].to
                own[node] = _bits([place[Label(to)]] if to and to != HARMLESS else [], words)
            else:
                own[node] |= _bits([place[finding.label] for finding in findings[where]], words)
        edges = _carrying(facts, near, far, nodes, named)
        edges = edges.where(edges.order())
        passes = _passes(facts, edges.first, labels, rescans, detected)
        forward = Adjacency.of(len(names), edges)
        bits = settled(forward, passes, own, fixed)
        return cls(names, labels, forward, edges.first, passes, own, bits, fixed, facts)

    def node(self, where: Column) -> int | None:
        """The number of a column, ``None`` if nothing speaks of it."""
        return self.names.of([NodeName(FIELD, *where)])[0]

    def held(self, bits: Bits) -> list[tuple[int, Label]]:
        """The labels of one row of bits, each with its number."""
        return [(n, label) for n, label in enumerate(self.labels) if int(bits[n // 64]) >> n % 64 & 1]

    def into(self, node: int) -> Indexes:
        """The forward edges that end at a column."""
        return np.flatnonzero(self.forward.edges.far == node)


def settled(forward: Adjacency, passes: Bits, own: Bits, fixed: Mask) -> Bits:
    """The least sets that hold what stands at each column and what every edge lets through to it.

    Cycles end because sets only grow. Columns that are ``fixed`` take nothing in.

    Args:
        forward: edges from the column that is read to the one that is written.
        passes: per edge, what it lets through.
        own: per column, what stands there.
        fixed: columns that keep what stands there.
    """
    bits = own.copy()
    front = np.flatnonzero(bits.any(axis=1)).astype(np.int32)
    while len(front):
        at = forward.positions(front)
        near, far = forward.edges.near[at], forward.edges.far[at]
        new = bits[near] & passes[at] & ~bits[far]
        live = new.any(axis=1) & ~fixed[far]
        far, new = far[live], new[live]
        if not len(far):
            break
        order = np.argsort(far, kind="stable")
        far, new = far[order], new[order]
        starts = np.flatnonzero(np.concatenate([[True], far[1:] != far[:-1]]))
        front = far[starts]
        bits[front] |= np.bitwise_or.reduceat(new, starts, axis=0)
    return bits


def _labels(
    findings: Mapping[Column, Sequence[Finding]], corrections: Mapping[Column, Correction]
) -> tuple[Label, ...]:
    found = {finding.label for each in findings.values() for finding in each}
    said = {Label(c.to) for c in corrections.values() if c.to and c.to != HARMLESS}
    return tuple(sorted(found | said))


def _bits(numbers: Iterable[int], words: int) -> Bits:
    row = np.zeros(words, np.uint64)
    for number in numbers:
        row[number // 64] |= np.uint64(1 << number % 64)
    return row


def _columns(of: Sequence[Column]) -> list[pa.Array]:
    return [pa.array([where[part] for where in of], pa.string()) for part in range(3)]


def _carrying(facts: pa.Table, near: Ids, far: Ids, nodes: Ids, named: Sequence[pa.ChunkedArray]) -> Edges:
    """Edges that carry values, each with its row. Filters, joins and sorts (``INDIRECT``) carry none; what
    concerns a whole dataset counts as such unless it says ``DIRECT``, and then reaches each of its columns."""
    kind = pc.fill_null(facts["type"], "")
    indirect = pc.equal(kind, "INDIRECT").to_numpy()
    whole = pc.equal(facts["output_column"], "").to_numpy()
    edges = Edges(near, far, np.arange(len(near)))
    carrying = edges.where(~whole & ~indirect)
    at = np.flatnonzero(whole & pc.equal(kind, "DIRECT").to_numpy())
    if not len(at):
        return carrying
    _, owner = NodeNames.empty().with_rows(DATASET, *named[:2])
    nodes, first = np.unique(nodes, return_index=True)
    members = np.argsort(owner[first], kind="stable")
    owners, wanted = owner[first][members], owner[len(near) + at]
    low, high = (np.searchsorted(owners, wanted, side=side) for side in ("left", "right"))
    reached = [nodes[members[start:stop]] for start, stop in zip(low, high, strict=True)]
    counts = high - low
    every = Edges(np.repeat(near[at], counts), np.concatenate(reached), np.repeat(at, counts))
    return Edges.joined(carrying, every)


def _passes(
    facts: pa.Table,
    row: Indexes,
    labels: Sequence[Label],
    rescans: Mapping[int, Mapping[str, Rescan]],
    detected: Mapping[Column, frozenset[str]],
) -> Bits:
    words = len(labels) // 64 + 1
    passes = np.full((len(row), words), ~np.uint64(0))
    proven = pc.and_(facts["masking"], facts["observed"]).to_numpy()[row]
    at = np.flatnonzero(proven)
    for place, edge in zip(at.tolist(), facts.take(pa.array(row[at])).to_pylist(), strict=True):
        rescan = rescans.get(edge["log_index"], {}).get(edge["output_column"])
        before = detected.get(
            (edge["input_namespace"], edge["input_name"], edge["input_column"]), frozenset()
        )
        if rescan is not None:
            stopped = [n for n, label in enumerate(labels) if rescan.clears(label, before)]
            passes[place] &= ~_bits(stopped, words)
    return passes


@dataclass(frozen=True, slots=True, eq=False)
class Classifications:
    """What every column holds at one log size, and why.

    ``detected`` and ``probabilities`` are of the newest scan of each column. ``contested`` maps the log index of
    a correction to that of the scan that contradicts it.
    """

    size: int
    flow: Flow
    findings: Mapping[Column, Sequence[Finding]]
    rescans: Mapping[int, Mapping[str, Rescan]]
    corrections: Mapping[Column, Correction]
    detected: Mapping[Column, frozenset[str]]
    probabilities: Mapping[Column, Mapping[str, float]]
    contested: Mapping[int, int]

    @classmethod
    def of(cls, index: Rows, as_of: int | None = None) -> Classifications:
        """Read the index and settle."""
        size = index.size if as_of is None else min(as_of, index.size)
        asked: dict[str, Any] = {"as_of": size}
        facts = index.arrow(rows_of.EDGES, asked)
        observed = pc.unique(facts["log_index"].filter(facts["observed"])).to_pylist()
        written = index.arrow(rows_of.RESCANS, asked | {"edges": observed}).to_pylist() if observed else []
        rescans = {row["edge_index"]: _rescans(row) for row in written}
        scans = index.arrow(rows_of.CONTAINED, asked).to_pylist()
        findings = _findings(index.arrow(rows_of.FINDINGS, asked).to_pylist(), scans)
        for where, finding in _rescanned(facts, rescans):
            findings.setdefault(where, []).append(finding)
        said = index.arrow(rows_of.CORRECTIONS, asked).to_pylist()
        read = (read_correction(row["body"].encode(), row["principal"], row["log_index"]) for row in said)
        versions = {
            (row["namespace"], row["name"]): row["version"]
            for row in index.arrow(rows_of.VERSIONS, asked).to_pylist()
        }
        people = [correction for correction in read if correction is not None]
        corrections = standing(people, _meant(people, facts, findings), versions)
        detected, probabilities = _detected(scans)
        flow = Flow.of(facts, findings, rescans, corrections, detected)
        contested = {
            column["correction"]["log_index"]: scan["log_index"]
            for scan in scans
            for column in json.loads(scan["facts"])["columns"]
            if column.get("correction", {}).get("contested")
        }
        return cls(size, flow, findings, rescans, corrections, detected, probabilities, contested)

    def still_holds(self, index: Rows, as_of: int | None = None) -> bool:
        """Whether nothing that matters was said between this log size and another."""
        size = index.size if as_of is None else min(as_of, index.size)
        since, until = sorted((self.size, size))
        changed = index.arrow(rows_of.CHANGED, {"since": since, "as_of": until})
        return not changed["changed"][0].as_py()


def _meant(corrections: Iterable[Correction], facts: pa.Table, findings: Iterable[Column]) -> set[Column]:
    """The columns that patterns of corrections may mean."""
    wanted = sorted({correction.column for correction in corrections if correction.name.endswith("*")})
    if not wanted:
        return set()
    columns = {where for where in findings if where[2] in wanted}
    for side in ("input", "output"):
        named = [f"{side}_{part}" for part in ("namespace", "name", "column")]
        rows = facts.filter(pc.is_in(facts[named[2]], pa.array(wanted))).select(named)
        rows = rows.group_by(named).aggregate([]).to_pydict()
        columns |= set(zip(*(rows[name] for name in named), strict=True))
    return columns


def _findings(
    said: Iterable[Mapping[str, Any]], scans: Iterable[Mapping[str, Any]]
) -> dict[Column, list[Finding]]:
    findings: dict[Column, list[Finding]] = {}
    for row in said:
        where = (row["namespace"], row["name"], row["field"])
        by = (row["stage"] or "observed") if row["basis"] == "observed" else "declared"
        label = Label(row["classification"])
        findings.setdefault(where, []).append(Finding(label, by, row["basis"], row["log_index"]))
    for scan in scans:
        for column in json.loads(scan["facts"])["columns"]:
            where = (scan["namespace"], scan["name"], column["column"])
            for contained in column.get("contains", ()):
                label = Label(contained["classification"], contained=True)
                found = Finding(label, "classify", "observed", scan["log_index"])
                findings.setdefault(where, []).append(found)
    return findings


def _detected(
    scans: Iterable[Mapping[str, Any]],
) -> tuple[dict[Column, frozenset[str]], dict[Column, dict[str, float]]]:
    """What detectors found in each scanned column, and how sure they were of what it is."""
    found: dict[Column, frozenset[str]] = {}
    sure: dict[Column, dict[str, float]] = {}
    for scan in scans:
        for column in json.loads(scan["facts"])["columns"]:
            where = (scan["namespace"], scan["name"], column["column"])
            named = column.get("found", HARMLESS)
            found[where] = frozenset({named, *(each["classification"] for each in column["contains"])})
            sure[where] = {named: column["confidence"]}
    return found, sure


def _rescans(row: Mapping[str, Any]) -> dict[str, Rescan]:
    return {
        column["column"]: Rescan(
            row["log_index"],
            frozenset(
                [Label(found) for found in column["found"] if found != HARMLESS]
                + [Label(contained, contained=True) for contained in column["contains"]]
            ),
            column["values_read"],
            column.get("miss_bound"),
        )
        for column in json.loads(row["facts"]).get("rescan", ())
    }


def _rescanned(
    facts: pa.Table, rescans: Mapping[int, Mapping[str, Rescan]]
) -> Iterable[tuple[Column, Finding]]:
    """What re-scans found in the columns that passes wrote."""
    written = facts.filter(facts["observed"]).select(
        ["log_index", "output_namespace", "output_name", "output_column"]
    )
    for row in written.group_by(written.column_names).aggregate([]).to_pylist():
        rescan = rescans.get(row["log_index"], {}).get(row["output_column"])
        if rescan is not None:
            where = (row["output_namespace"], row["output_name"], row["output_column"])
            for label in sorted(rescan.found):
                yield where, Finding(label, "re-scan", "observed", rescan.index)
