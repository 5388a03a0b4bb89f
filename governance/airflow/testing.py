"""Unit tests of governed DAGs: a home in memory, a fixed clock, ten rows, no Airflow database.

    from governance.airflow.testing import GovernedHome

    with GovernedHome("policy.yaml", ["contracts/newsletter_readers.odcs.yaml"]) as home:
        home.consents([{"subject_id": "a@example.org", "domain": "customer", "purpose": "model_training", …}])
        home.rows("readers", [{"email": "a@example.org", "articles_read": 3}, …])
        outcome = home.run(dag, params={"source": "input/readers.parquet"})
        assert outcome.released["newsletter_readers"].num_rows == 1
        assert outcome.facts["newsletter_readers"]["consent"]["by_reason"] == {"allowed": 1, "withdrawn": 1}

Tasks run in this process, in the order of the DAG and by their trigger rules, every instance of a mapped one; stages
are the real ones over real stores. What is left out is Airflow's scheduler, its XCom backend and its OpenLineage
provider.
"""

from __future__ import annotations

import copy
import itertools
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any
from unittest import mock

import yaml

from governance.airflow.expansion import UNMAPPED, index_before, map_indexes, named
from governance.config import Settings
from governance.errors import AccessError, GovernanceError
from governance.keys.providers.file import create_file_key
from governance.model.canonical import parse
from governance.model.evidence import Stage
from governance.pipeline.approval import approval_request, approve
from governance.pipeline.ledger import import_consent
from governance.pipeline.local import local_recorder
from governance.pipeline.step import RunReference, resume
from governance.pipeline.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.sdk import DAG

_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory that only its owner enters is made in it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a DAG.

    ``states`` is by task: ``success``, ``failed``, ``skipped`` or ``upstream_failed``; ``errors`` by failed
    task. A mapped task's instances are named ``TASK[INDEX]``. ``facts`` is by dataset and stage what the stage proved,
    of a mapped one the last instance's; ``released`` by dataset the rows as a governed reader gets them. ``events``
    are the OpenLineage events of the run, in log order.
    """

    states: Mapping[str, str]
    errors: Mapping[str, BaseException]
    facts: Mapping[str, Mapping[str, Any]]
    released: Mapping[str, pa.Table]
    events: Sequence[Mapping[str, Any]] = field(repr=False)

    def evidence(self, stage: str) -> list[Mapping[str, Any]]:
        """The signed facets of one stage, with ``stage``, ``context``, ``facts`` and ``signature``."""
        facets = [e["run"]["facets"].get(f"governance_{stage}") for e in self.events if "run" in e]
        return [facet for facet in facets if facet]


class GovernedHome:
    """A governance home for one test, removed at its end. A context.

    Args:
        policy: the policy file; files beside it that it names are copied along.
        contracts: contract files.
        at: what the clock says, always; aware.
    """

    def __init__(
        self, policy: Path | str, contracts: Iterable[Path | str], *, at: datetime | None = None
    ) -> None:
        self._policy = Path(policy)
        self._contracts = [Path(c) for c in contracts]
        self._at = at or datetime(2026, 1, 1, tzinfo=UTC)
        self._runs = itertools.count(1)
        self._folder = Path()

    def __enter__(self) -> GovernedHome:
        self._folder = Path(tempfile.mkdtemp(prefix="governance-", dir=_MEMORY if _MEMORY.is_dir() else None))
        home = self._folder / "home"
        shutil.copytree(self._policy.parent, home, ignore=_only_beside(self._policy))
        shutil.copy(self._policy, home / "policy.yaml")
        (home / "contracts").mkdir(exist_ok=True)
        for contract in self._contracts:
            shutil.copy(contract, home / "contracts")
        kek = self._folder / "kek.json"
        create_file_key(kek)
        self._settings = Settings.at(home, kek=f"file:{kek}")
        self.workspace = Workspace.create(self._settings, origin="testing.example/home", clock=self._now)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.workspace.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def path(self) -> Path:
        """The home: relative sources are looked up below it."""
        return self._settings.home

    def consents(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Import consent records. What is not said: a running ``record_id``, ``action`` grant, given now.

        Raises:
            ConsentError: GOV-201, GOV-202.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        number = next(self._runs)
        defaults = {"action": "grant", "valid_from": self._at, "collected_at": self._at}
        rows = [
            {"record_id": f"test-{number}-{n}", **defaults, **record} for n, record in enumerate(records, 1)
        ]
        path = self._folder / f"consents-{number}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        import_consent(self.workspace, path)

    def rows(self, name: str, rows: pa.Table | Sequence[Mapping[str, Any]]) -> str:
        """Write a source and return what a DAG names it by: ``input/NAME.parquet``."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist([dict(row) for row in rows])
        (self.path / "input").mkdir(exist_ok=True)
        pq.write_table(table, self.path / "input" / f"{name}.parquet")
        return f"input/{name}.parquet"

    def run(
        self,
        dag: DAG,
        *,
        params: Mapping[str, Any] | None = None,
        approver: str | None = None,
        triggered_by: str | None = None,
        logical_date: datetime | None = None,
        partition_key: str | None = None,
    ) -> Outcome:
        """Run every task of a DAG once.

        Args:
            params: over the DAG's own.
            approver: answers every request for approval; without one such tasks fail with GOV-646.
            triggered_by: the user who starts the run.
            logical_date: of a scheduled or backfilled run, for templates; the clock is another thing.
            partition_key: of a run over one partition of an asset.
        """
        first = self.workspace.log.size()
        started = _Started(f"test-{next(self._runs)}", approver, triggered_by, logical_date, partition_key)
        run = _Run(self, dag, started, params or {})
        run.go()
        entries = self.workspace.log.entries(first)
        events = [parse(e.body or b"{}") for e in entries if "openlineage" in e.envelope.media_type]
        return Outcome(run.states, run.errors, run.facts(events), run.released(), events)

    def _now(self) -> datetime:
        return self._at


def _only_beside(policy: Path) -> Any:
    """Of the policy's folder take files that it names, such as keys and detectors, and nothing else of a home."""
    try:
        tokens = [t for t in yaml.scan(policy.read_text("utf-8")) if isinstance(t, yaml.ScalarToken)]
        named = {token.value.removeprefix("./") for token in tokens}
    except yaml.YAMLError:
        named = set()  # what is wrong with it is said where it is loaded

    def left_out(folder: str, names: list[str]) -> list[str]:
        if Path(folder) != policy.parent:
            return []
        return [
            name
            for name in names
            if not any(text == name and Path(folder, name).is_file() for text in named)
            and not any(text.startswith(f"{name}/") for text in named)
        ]

    return left_out


def _all_of(xcom_arg: Any, ti: Any) -> Any:
    """What every instance of a mapped task returned; Airflow asks its API server for them one by one."""
    return ti.xcom_pull(task_ids=xcom_arg.operator.task_id, key=xcom_arg.key)


@dataclass(frozen=True, slots=True)
class _Started:
    """What Airflow knows of a run."""

    run_id: str
    approver: str | None
    triggered_by: str | None
    logical_date: datetime | None
    partition_key: str | None


class _Run:
    """One walk over the DAG."""

    def __init__(self, home: GovernedHome, dag: DAG, started: _Started, params: Mapping[str, Any]) -> None:
        self._home, self._dag, self._started = home, dag, started
        self._run_id = started.run_id
        self._params = {**{name: dag.params[name] for name in dag.params}, **params}
        self._results: dict[tuple[str, int], Any] = {}
        self._indexes: dict[str, range] = {}
        self._references: dict[str, list[RunReference]] = defaultdict(list)
        self.states: dict[str, str] = {}
        self.errors: dict[str, BaseException] = {}

    def go(self) -> None:
        with mock.patch("airflow.sdk.definitions.xcom_arg.LazyXComSequence", _all_of):
            self._walk()

    def _walk(self) -> None:
        for task in self._dag.topological_sort():
            try:
                self._indexes[task.task_id] = map_indexes(task, self._context(task, UNMAPPED))
            except Exception:
                # What it is mapped over was never returned.
                self._indexes[task.task_id] = range(UNMAPPED, 0)
            for map_index in self._indexes[task.task_id]:
                self._go(task, map_index)

    def _go(self, task: Any, map_index: int) -> None:
        from airflow.sdk.exceptions import AirflowSkipException

        name = named(task.task_id, map_index)
        if (barred := self._barred(task, map_index)) is not None:
            self.states[name] = barred
            return
        try:
            self._results[task.task_id, map_index] = self._executed(task, map_index)
            self.states[name] = "success"
        except AirflowSkipException:
            self.states[name] = "skipped"
        except Exception as error:
            self.errors[name] = error
            self.states[name] = "failed"

    def _barred(self, task: Any, map_index: int) -> str | None:
        """The state of a task whose trigger rule does not let it run; other rules than two always do."""
        rule = getattr(task.trigger_rule, "value", task.trigger_rule)
        if rule not in ("all_success", "none_failed"):
            return None
        before = set()
        for name in task.upstream_task_ids:
            own = index_before(task, map_index, self._dag.task_dict[name])
            for index in self._indexes[name] if own is None else [own]:
                before.add(self.states[named(name, index)])
        if before & {"failed", "upstream_failed"}:
            return "upstream_failed"
        return "skipped" if rule == "all_success" and "skipped" in before else None

    def _executed(self, task: Any, map_index: int) -> Any:
        from airflow.providers.standard.operators.hitl import ApprovalOperator

        from governance.airflow.approval import GovernedApprovalOperator
        from governance.airflow.operators import GovernedOperator

        task, context = copy.copy(task), self._context(task, map_index)
        task.render_template_fields(context)
        task = context["task"] if task.is_mapped else task
        if isinstance(task, GovernedApprovalOperator):
            return self._approved(RunReference.from_json(task.reference))
        if isinstance(task, ApprovalOperator):
            return self._answered(task)
        if not isinstance(task, GovernedOperator):
            return task.execute(context)
        workspace = self._home.workspace
        recorder = local_recorder(workspace, task.task_id.rpartition(".")[0] or task.task_id, self._run_id)
        result = task.step(workspace, recorder, context)
        if isinstance(result, dict) and set(result) == {"dataset", "version", "attempt"}:
            self._references[result["dataset"]].append(RunReference.from_json(result))
        return result

    def _approved(self, reference: RunReference) -> None:
        from airflow.sdk.exceptions import AirflowSkipException

        workspace = self._home.workspace
        context = resume(workspace, reference, local_recorder(workspace, reference.dataset, self._run_id))
        if reference.dataset in workspace.policy.observed:
            raise AirflowSkipException("the policy only observes this dataset: nothing is released")
        request = approval_request(context, triggered_by=self._started.triggered_by)
        if request is None:
            raise AirflowSkipException("the policy asks for no approval of this version")
        approve(
            context,
            digest=request.digest,
            approver=self._started.approver or "nobody",
            triggered_by=self._started.triggered_by,
            decided_at=workspace.clock(),
            reason="",
            by_way_of="test",
        )

    def _answered(self, task: Any) -> None:
        """Another approval than a release's: given by an approver of the policy who did not start the run."""
        if (
            self._started.approver == self._started.triggered_by
            or self._started.approver not in self._home.workspace.policy.approvers
        ):
            raise AccessError(
                "GOV-646",
                f"nobody who may answered {task.task_id}",
                "name one of the policy's approvers, not who started the run: run(dag, approver=…)",
            )

    def _context(self, task: Any, map_index: int) -> Any:
        def pulled(
            task_ids: str, map_indexes: Any = None, key: str = "return_value", default: Any = None, **_: Any
        ) -> Any:
            own = [map_indexes] if isinstance(map_indexes, int) else self._indexes[task_ids]
            found = [self._results[task_ids, i] for i in own if (task_ids, i) in self._results]
            values = [one if key == "return_value" else one[key] for one in found]
            single = isinstance(map_indexes, int) or self._indexes[task_ids] == range(UNMAPPED, 0)
            return (values[0] if values else default) if single else values

        def before(upstream: Any, **_: Any) -> int | None:
            return index_before(task, map_index, upstream)

        started, dag_id = self._started, self._dag.dag_id
        instance = SimpleNamespace(
            task=task, task_id=task.task_id, dag_id=dag_id, run_id=self._run_id, map_index=map_index, try_number=1,
            xcom_pull=pulled, xcom_push=lambda *_, **__: None, get_relevant_upstream_map_indexes=before,
        )  # fmt: skip
        run = SimpleNamespace(
            run_id=self._run_id, conf=self._params, triggering_user_name=started.triggered_by,
            logical_date=started.logical_date, partition_key=started.partition_key,
        )  # fmt: skip
        date = started.logical_date
        return {
            "dag": self._dag,
            "dag_run": run,
            "task": task,
            "ti": instance,
            "task_instance": instance,
            "params": self._params,
            "run_id": self._run_id,
            "ts_nodash": self._home.workspace.clock().strftime("%Y%m%dT%H%M%S"),
            "partition_key": started.partition_key,
            "outlet_events": defaultdict(lambda: SimpleNamespace(extra={}, add_partitions=lambda *_: None)),
            "inlet_events": defaultdict(list),
            **({"logical_date": date, "ds": f"{date:%Y-%m-%d}"} if date else {}),
        }

    def facts(self, events: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """By dataset and stage. A release leaves its facts in the log only."""
        found: dict[str, dict[str, Any]] = {}
        for dataset, references in self._references.items():
            workspace = self._home.workspace
            context = resume(workspace, references[-1], local_recorder(workspace, dataset, self._run_id))
            found[dataset] = {str(s): context.facts(s) for s in Stage if context.has_run(s)}
        for event in events:
            facet = event.get("run", {}).get("facets", {}).get("governance_release")
            if facet and facet["context"]["dataset"] in found:
                found[facet["context"]["dataset"]]["release"] = facet["facts"]
        return found

    def released(self) -> dict[str, pa.Table]:
        """By dataset the rows of what this run released."""
        import pyarrow as pa

        from governance.access import read_released
        from governance.pipeline.pointer import released_manifest
        from governance.protect.types import schema_of

        found = {}
        for dataset, references in self._references.items():
            workspace = self._home.workspace
            try:
                manifest = released_manifest(workspace, dataset)
            except GovernanceError:
                continue
            if manifest.version in {reference.version for reference in references}:
                purpose = manifest.body["run"]["purpose"]
                rows = list(read_released(workspace, dataset, purpose=purpose))
                schema = None if rows else schema_of(manifest.body["schema"])
                found[dataset] = pa.Table.from_batches(rows, schema)
        return found
