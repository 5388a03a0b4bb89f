"""What went into a model or training set: backwards along training leaves, landings, versions and lineage.

A task that trains states what it read; no run key signs that, so the link is *declared*, while the versions it names
stand on their own evidence. Lineage of other producers names datasets, not versions: then every released version counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from governance.audit.activity import pinned
from governance.audit.breach.closure import GOVERNED
from governance.audit.declarations import ContractLeaf, PolicyLeaf, items, part, words
from governance.audit.newest import newest_policy
from governance.audit.trail import GovernedRun, Node, Statement, Trail
from governance.model.evidence import Stage
from governance.model.statements import LANDING, TRAINED

MODELS = "models/"
"""How a model is asked for beside datasets."""

PIPELINE = "evidence:pipeline"
"""The sender of what a governed task states."""


@dataclass(slots=True)
class Used:
    """A version that went into a system. ``run`` is the one that made it; ``ways`` say how it got there."""

    dataset: str
    version: str | None
    run: GovernedRun | None
    ways: dict[str, list[int]] = field(default_factory=dict)

    @property
    def released(self) -> bool:
        return self.run is not None and self.run.release("released") is not None

    @property
    def name(self) -> str:
        return f"{self.dataset} {self.version}" if self.version else self.dataset

    @property
    def cites(self) -> list[int]:
        return [
            *(i for cited in self.ways.values() for i in cited),
            *(self.run.indexes() if self.run else ()),
        ]


@dataclass(slots=True)
class System:
    """A model, or a training set on its own. ``outside`` are inputs that no governed run made.

    ``unproven`` are training leaves that somebody else than the pipeline wrote: they count for nothing.
    """

    name: str
    is_model: bool
    used: list[Used] = field(default_factory=list)
    trainings: list[Statement] = field(default_factory=list)
    unproven: list[Statement] = field(default_factory=list)
    outside: dict[str, list[int]] = field(default_factory=dict)
    jobs: dict[str, list[int]] = field(default_factory=dict)
    policy: PolicyLeaf | None = None

    @property
    def declared(self) -> dict[str, Any]:
        """What the newest pinned policy says of it."""
        return part(self.policy.root if self.policy else None, "aiSystems", self.name.removeprefix(MODELS))

    @property
    def policy_cite(self) -> list[int]:
        return [self.policy.index] if self.policy else []

    @property
    def cites(self) -> list[int]:
        found = [t.index for t in (*self.trainings, *self.unproven)]
        found += [i for cited in (*self.outside.values(), *self.jobs.values()) for i in cited]
        return [*found, *(i for used in self.used for i in used.cites)]


def systems(trail: Trail, asked: str | None) -> list[System]:
    """The system asked for; without, every model that a task trained and every training set with a released version."""
    sources = _Sources(trail)
    if asked is not None:
        return [sources.system(asked)]
    models = dict.fromkeys(
        MODELS + name for leaf in trail.statements.get(TRAINED, ()) if (name := words(leaf.body, "model"))
    )
    sets = [
        name
        for name, runs in sorted(sources.released.items())
        if any(run.opened.context.get("kind") == "training" for run in runs)
    ]
    return [*(sources.system(name) for name in sorted(models)), *(sources.system(name) for name in sets)]


def contract_of(trail: Trail, run: GovernedRun | None) -> ContractLeaf | None:
    """The contract leaf that a run pinned."""
    return trail.contract(pinned(run, "contract")) if run else None


def said_in_contract(contract: ContractLeaf | None) -> dict[str, Any]:
    """What the contract declares under the AI Act."""
    return part(contract.governance if contract else None, "aiAct")


def supports(trail: Trail, found: Iterable[System]) -> Iterable[int]:
    """What the systems rest on, for a checker. Without everything that may name a system, another answer is possible."""
    for media_type in (TRAINED, LANDING):
        yield from (leaf.index for leaf in trail.statements.get(media_type, ()))
    for run in trail.runs:
        yield from (run.opened.index, *(p.index for p in run.releases))
    for system in found:
        yield from system.cites
        for used in system.used:
            for what in ("policy", "contract"):
                index = pinned(used.run, what).get("log_index") if used.run else None
                if isinstance(index, int) and 0 <= index < trail.size:
                    yield index


class _Sources:
    """The log's answers to: what was this made from?"""

    def __init__(self, trail: Trail) -> None:
        self.trail = trail
        self.runs = {(run.dataset, run.version): run for run in trail.runs}
        self.released: dict[str, list[GovernedRun]] = {}
        for run in trail.runs:
            if run.release("released"):
                self.released.setdefault(run.dataset, []).append(run)
        self.landings = {
            leaf.index: leaf for leaf in trail.statements.get(LANDING, ()) if leaf.principal == PIPELINE
        }
        self.writers: dict[Node, dict[Node, int]] = {}
        for job, written in trail.writes.items():
            for node, index in written.items():
                self.writers.setdefault(node, {})[job] = index
        self.read_by: dict[Node, dict[Node, int]] = {}
        for node, jobs in trail.reads.items():
            for job, index in jobs.items():
                self.read_by.setdefault(job, {})[node] = index

    def system(self, asked: str) -> System:
        known = {run.dataset for run in self.trail.runs}
        found = System(asked, asked not in known, policy=newest_policy(self.trail))
        if not found.is_model:
            runs = self.released.get(asked) or [run for run in self.trail.runs if run.dataset == asked]
            newest = max(runs, key=_order)
            self._close(
                found, deque([(newest.dataset, newest.version, "the set itself", [newest.opened.index])])
            )
            return found
        name = asked.removeprefix(MODELS)
        for leaf in self.trail.statements.get(TRAINED, ()):
            if words(leaf.body, "model") == name:
                (found.trainings if leaf.principal == PIPELINE else found.unproven).append(leaf)
        first: deque[tuple[str, str, str, list[int]]] = deque()
        for leaf in found.trainings:
            first.extend(_inputs(leaf, f"{asked} was trained on it"))
        if not found.trainings:
            first.extend(self._by_lineage(found, asked))
        self._close(found, first)
        return found

    def _by_lineage(self, found: System, asked: str) -> Iterable[tuple[str, str, str, list[int]]]:
        """Governed versions that jobs outside made the model from, through whatever lay between."""
        front = [node for node in self.writers if asked in (node[1], "/".join(node))]
        seen = set(front)
        while front:
            following: list[Node] = []
            for node in front:
                for job, wrote in sorted(self.writers.get(node, {}).items()):
                    name = "/".join(job)
                    found.jobs.setdefault(name, []).append(wrote)
                    for source, read in sorted(self.read_by.get(job, {}).items()):
                        governed = source[0] == GOVERNED and source[1] in self.released
                        if governed and source not in seen:
                            for run in self.released[source[1]]:
                                yield run.dataset, run.version, f"{name} read the dataset", [wrote, read]
                        elif not governed and source not in seen:
                            if source in self.writers:
                                following.append(source)
                            else:
                                found.outside.setdefault("/".join(source), []).extend([wrote, read])
                        seen.add(source)
            front = following

    def _close(self, found: System, front: deque[tuple[str, str, str, list[int]]]) -> None:
        """Versions, and what they were made from, each once with every way it got there."""
        used: dict[tuple[str, str], Used] = {}
        while front:
            dataset, version, way, cites = front.popleft()
            before = used.get((dataset, version))
            if before is not None:
                before.ways.setdefault(way, []).extend(cites)
                continue
            run = self.runs.get((dataset, version))
            used[dataset, version] = Used(dataset, version, run, {way: list(cites)})
            if run is not None:
                front.extend(self._made_from(run))
        found.used = list(used.values())

    def _made_from(self, run: GovernedRun) -> Iterable[tuple[str, str, str, list[int]]]:
        source = part(run.opened.facts, "source")
        number = str(source.get("uri")).rpartition("/")[2]
        landing = self.landings.get(int(number)) if number.isdecimal() and len(number) < 16 else None
        if landing is not None and str(source.get("uri")).endswith(f"{landing.body.get('name')}/{number}"):
            yield from _inputs(landing, f"{run.dataset} {run.version} was made from it", run.opened.index)
        # A partition may have joined a version that was released after its run opened.
        released = run.release("released")
        joined = words(released.facts, "previous_version") if released else None
        previous = joined or words(run.opened.facts, "previous_version")
        mode = contract_of(self.trail, run)
        loaded = words(mode.governance if mode else None, "loadMode")
        if previous and (
            source.get("kind") == "governed_version" or loaded in ("append", "replace-partition")
        ):
            carried = [p.index for p in (run.opened, run.stages.get(Stage.PROTECT)) if p]
            yield run.dataset, previous, f"{run.dataset} {run.version} carries segments of it", carried


def _order(run: GovernedRun) -> int:
    released = run.release("released")
    return released.index if released else run.opened.index


def _inputs(leaf: Statement, way: str, *more: int) -> Iterable[tuple[str, str, str, list[int]]]:
    for said in map(part, items(leaf.body, "inputs")):
        dataset, version = words(said, "dataset"), words(said, "version")
        if dataset and version:
            yield dataset, version, way, [leaf.index, *more]


def told_digest(leaf: Statement, used: Used) -> Mapping[str, Any]:
    """What a training leaf says of a version: ``dataset``, ``version``, ``manifest_digest``."""
    said = map(part, items(leaf.body, "inputs"))
    return next((s for s in said if (s.get("dataset"), s.get("version")) == (used.dataset, used.version)), {})
