"""One operator a step. Tasks hand each other a reference to the run, never data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from governance.airflow.recording import TaskRecorder
    from governance.lineage.recorder import OpenLineageRecorder
    from governance.model.key_grant import TaskTry
    from governance.pipeline.step import RunContext
    from governance.pipeline.workspace import Workspace


class GovernedOperator(BaseOperator):  # type: ignore[misc]
    """Opens the home, runs one step, and hands OpenLineage what the step read and wrote."""

    _recorder: TaskRecorder | None = None

    def execute(self, context: Context) -> Any:
        workspace, recorder = self.opened(context)
        return self.step(workspace, recorder, context)

    def opened(self, context: Context) -> tuple[Workspace, TaskRecorder]:
        """The home, opened for this try of the task, and a recorder bound to it."""
        from governance.airflow.connections import airflow_settings
        from governance.airflow.recording import task_recorder
        from governance.pipeline.workspace import Workspace

        workspace = Workspace.open(replace(airflow_settings(), task=_task_try(context["ti"])))
        self._recorder = task_recorder(workspace, context["ti"])
        return workspace, self._recorder

    def step(self, workspace: Workspace, recorder: OpenLineageRecorder, context: Context) -> Any:
        """The step itself."""
        raise NotImplementedError

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> Any:
        """Inputs and outputs of the provider's COMPLETE event."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        recorder = self._recorder
        if recorder is None or recorder.last is None:
            return OperatorLineage()
        inputs, outputs = recorder.datasets(recorder.last)
        return OperatorLineage(inputs=inputs, outputs=outputs)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """What was read before the failure."""
        return self.get_openlineage_facets_on_complete(task_instance)


class OpenRunOperator(GovernedOperator):
    """Pins source, contract, policy and consent position; returns the run's reference.

    Args:
        contract: ODCS file; a relative path is looked up in ``HOME/contracts``.
        source: what to read; a relative path is looked up in the home. Or what a ``@task.governed`` returned, of a
            mapped one what all of its instances did.
        purpose: a purpose of the policy that the contract allows.
    """

    template_fields: Sequence[str] = ("contract", "source", "purpose")
    ui_color = "#dbeafe"

    def __init__(self, *, contract: str, source: Any, purpose: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.contract = contract
        self.source = source
        self.purpose = purpose

    def step(self, workspace: Workspace, recorder: OpenLineageRecorder, context: Context) -> dict[str, str]:
        from governance.airflow.observing import observing
        from governance.pipeline.pinned import SEALED
        from governance.pipeline.run import open_pass

        home, dataset = workspace.settings.home, self.contract.split("/")[-1].split(".")[0]
        with observing(workspace, dataset, "open", context):
            source = _one_source(workspace, dataset, self.source)
            if "://" not in source and not source.startswith(tuple(f"{kind}:" for kind in SEALED)):
                source = str(home / source)
            reference = open_pass(
                workspace,
                recorder,
                contract_path=home / "contracts" / self.contract,
                source=source,
                purpose=self.purpose,
                run_id=context["run_id"],
                map_index=context["ti"].map_index if context["ti"].map_index is not None else -1,
            )
        return reference.to_json()


def _one_source(workspace: Workspace, dataset: str, source: Any) -> str:
    """What a run reads: as it was given, or one landing of what the instances of a mapped task landed."""
    from governance.errors import SourceError
    from governance.pipeline.landing import gather

    if isinstance(source, str):
        return source
    given = list(source) if isinstance(source, Iterable) and not isinstance(source, Mapping) else [source]
    if not all(isinstance(one, str) for one in given):
        raise SourceError(
            "GOV-704",
            f"the source of {dataset} is no path and nothing that a @task.governed landed",
            "of a task with several outputs, hand on one: source=made['NAME']",
        )
    return gather(workspace, dataset, given)


class GovernedStageOperator(GovernedOperator):
    """One stage of an opened run: classify, consent, protect, validate or release.

    Args:
        stage: the stage's name.
        reference: what :class:`OpenRunOperator` returned.
    """

    template_fields: Sequence[str] = ("reference",)
    ui_color = "#e0e7ff"

    def __init__(self, *, stage: str, reference: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.reference = reference

    def step(self, workspace: Workspace, recorder: OpenLineageRecorder, context: Context) -> None:
        from airflow.sdk.exceptions import AirflowSkipException

        from governance.airflow.observing import observing
        from governance.model.evidence import Stage
        from governance.pipeline.landing import discard
        from governance.pipeline.opened_by import require_same_package
        from governance.pipeline.pointer import released_manifest
        from governance.pipeline.run import STEPS
        from governance.pipeline.step import RunReference, resume

        if self.reference is None:
            # The opening was skipped: the dataset is only observed.
            raise AirflowSkipException("there is no opened run")
        reference = RunReference.from_json(self.reference)
        with observing(workspace, reference.dataset, self.stage, context):
            require_same_package(workspace, reference)
            run = resume(workspace, reference, recorder, _logged_progress(self.log))
            facts = STEPS[Stage(self.stage)](run)
        self.log.info("%s %s: %s", self.stage, reference.dataset, _counts(facts))
        if self.stage != Stage.RELEASE:
            return
        discard(workspace, reference.dataset, run.run.source)
        manifest = released_manifest(workspace, reference.dataset, reference.version)
        for asset in self.outlets:
            if getattr(context["dag"].timetable, "partitioned_at_runtime", False):
                # Elsewhere an event with a key would not set off DAGs that wait for the asset as a whole.
                context["outlet_events"][asset].add_partitions(_partitions(run))
            context["outlet_events"][asset].extra = {
                "version": reference.version,
                "manifest_digest": facts["manifest_digest"],
                "rows": facts["rows"],
                "purpose": run.run.purpose,
                "classifications": {c["column"]: c["classification"] for c in manifest.body["columns"]},
                "checkpoint": facts["checkpoint"],
            }


class DiscloseOperator(GovernedOperator):
    """Writes a released version for a recipient of the policy, sealed to its key and recorded, or sends it to an AI service.

    Args:
        dataset: a released dataset.
        recipient: who receives it, by its name in the policy.
        purpose: what for; the policy must allow it to this recipient.
        description: what stands in the accounting of disclosures.
        directory: a new directory; a relative path is looked up in the home.
        destination: in its place a bucket of the recipient's, such as ``s3://…``. An AI service needs neither.
        columns: only these columns; all it may have when left out.

    Returns by XCom ``disclosure_id``, ``log_index`` and ``jobs``, an AI service's own names of its batches.
    """

    template_fields: Sequence[str] = ("recipient", "purpose", "description", "directory", "destination")
    ui_color = "#fef3c7"

    def __init__(
        self,
        *,
        dataset: str,
        recipient: str,
        purpose: str,
        description: str,
        directory: str | None = None,
        destination: str | None = None,
        columns: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.recipient = recipient
        self.purpose = purpose
        self.description = description
        self.directory = directory
        self.destination = destination
        self.columns = columns

    def step(self, workspace: Workspace, recorder: OpenLineageRecorder, _context: Context) -> dict[str, Any]:
        from governance.access import disclose

        done = disclose(
            workspace,
            recorder,
            dataset=self.dataset,
            recipient=self.recipient,
            purpose=self.purpose,
            directory=None if self.directory is None else workspace.settings.home / Path(self.directory),
            destination=self.destination,
            description=self.description,
            columns=self.columns,
        )
        return {
            "disclosure_id": done.facts["disclosure_id"],
            "log_index": done.log_index,
            "jobs": list(done.jobs),
        }


def _task_try(task_instance: Any) -> TaskTry:
    from governance.model.key_grant import TaskTry

    unmapped = task_instance.map_index is None
    return TaskTry(
        dag_id=task_instance.dag_id,
        run_id=task_instance.run_id,
        task_id=task_instance.task_id,
        map_index=-1 if unmapped else task_instance.map_index,
        try_number=task_instance.try_number,
    )


def _logged_progress(log: Any, step: int = 1_000_000) -> Any:
    said: dict[str, int] = {}

    def progress(stage: str, rows: int) -> None:
        if rows // step > said.get(stage, 0):
            said[stage] = rows // step
            log.info("%s: %s rows", stage, f"{rows:,}")

    return progress


def _partitions(run: RunContext) -> list[str]:
    """What a run wrote, as keys of the asset's partitions: the values in key order, ``DE/2026`` for two columns."""
    from governance.model.evidence import Stage

    written = run.facts(Stage.PROTECT)["segments"]
    columns = run.contract.partition_by
    return ["/".join(segment["partition"][c] for c in columns) for segment in written if columns]


def _counts(facts: dict[str, Any]) -> str:
    named = ("rows", "rows_in", "allowed", "denied", "rows_denied", "rows_quarantined", "rows_out", "state")
    return ", ".join(
        f"{k} {facts[k]:,}" if isinstance(facts[k], int) else f"{k} {facts[k]}" for k in named if k in facts
    )
