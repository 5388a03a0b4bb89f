"""Puts a stage's evidence into the log, as OpenLineage.

Events go from the client's classes through its serializer straight to our transport, not through
``OpenLineageClient``: that one reads the environment and configuration files, and
``OPENLINEAGE_DISABLED=true`` or a filter would silently turn evidence off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.serde import Serde

from governance.errors import LogError
from governance.lineage.emission.destination import AppendOnly
from governance.lineage.events import (
    ParentRun,
    engine_facet,
    error_facet,
    input_dataset,
    job_type_facet,
    output_dataset,
    parent_facet,
)
from governance.lineage.facets import EVIDENCE_FACETS
from governance.lineage.naming import PREFIX, as_sent, facet_key
from governance.lineage.signatures import sign, statement
from governance.lineage.transport import LogConfig, LogTransport
from governance.model.canonical import timestamp
from governance.model.evidence import DatasetLineage, Signer, Stage, StageRecord

PIPELINE_PRINCIPAL = "evidence:pipeline"
"""The principal of what the pipeline itself appends."""


class OpenLineageRecorder:
    """Implements :class:`governance.model.evidence.Recorder` over a log.

    Args:
        log: where events are appended; each call returns when its event is durable.
        producer: the URI of ``producer`` and ``_producer``.
        namespace: the job namespace.
        job: the job name of a stage.
        run_id: the OpenLineage run id (a UUID) of a stage; the same at every call for one attempt.
        parent: the run that spawned the stages.
        lifecycle: true emits START, COMPLETE and FAIL here. False leaves them, and what describes
            the job, to Airflow's provider; evidence then rides on a RUNNING event of the task's run.
        clock: an aware instant; the ``eventTime`` of events.
    """

    def __init__(
        self,
        log: AppendOnly,
        *,
        producer: str,
        namespace: str,
        job: Callable[[Stage], str],
        run_id: Callable[[Stage], str],
        parent: ParentRun | None = None,
        lifecycle: bool,
        clock: Callable[[], datetime],
        principal: str = PIPELINE_PRINCIPAL,
    ) -> None:
        self._transport = LogTransport(LogConfig(store="", principal=principal), log)
        self._producer = producer
        self._namespace = namespace
        self._job = job
        self._run_id = run_id
        self._parent = parent
        self._lifecycle = lifecycle
        self._clock = clock

    def started(self, stage: Stage, context: Mapping[str, Any]) -> None:
        """Append START.

        Raises:
            LogError: it was not durably appended.
        """
        del context
        if self._lifecycle:
            self._emit(RunState.START, stage)

    def record(self, record: StageRecord, signer: Signer) -> int:
        """Append signed evidence on a RUNNING event and return its log index.

        Raises:
            LogError: it was not durably appended; GOV-508 if the facts are not plain JSON.
        """
        stage, run_id = record.evidence.stage, self._run_id(record.evidence.stage)
        inputs, outputs = self._datasets(record)
        context, facts = as_sent(record.context), as_sent(record.evidence.facts)
        try:
            signed = statement(
                stage=stage.value,
                context=context,
                facts=facts,
                openlineage_run_id=run_id,
                inputs=[Serde.to_dict(dataset) for dataset in inputs],
                outputs=[Serde.to_dict(dataset) for dataset in outputs],
            )
        except ValueError as error:
            raise LogError(
                "GOV-508",
                f"the evidence of stage {stage.value} cannot be signed: {error}",
                "this is a fault of the stage: its facts must be JSON with integers within ±2^53",
            ) from None
        facet_class: Any = EVIDENCE_FACETS[stage]
        facet = facet_class(
            stage=stage.value,
            context=context,
            facts=facts,
            signature=sign(signed, signer),
            producer=self._producer,
        )
        evidence = {facet_key(stage): facet}
        return self._emit(RunState.RUNNING, stage, evidence, inputs, outputs)

    def completed(self, stage: Stage, context: Mapping[str, Any], record: StageRecord) -> None:
        """Append COMPLETE with what was read and written, for consumers that look at it alone.

        Raises:
            LogError: it was not durably appended.
        """
        del context
        if self._lifecycle:
            self._emit(RunState.COMPLETE, stage, {}, *self.datasets(record))

    def failed(self, stage: Stage, context: Mapping[str, Any], code: str, message: str) -> None:
        """Append FAIL with the code and message.

        Raises:
            LogError: it was not durably appended.
        """
        del context
        if self._lifecycle:
            fault = {"errorMessage": error_facet(code, message, self._producer)}
            self._emit(RunState.FAIL, stage, fault)

    def datasets(self, record: StageRecord) -> tuple[list[Any], list[Any]]:
        """Inputs and outputs of a record for an event without evidence: none of our facets on them."""
        inputs, outputs = self._datasets(record)
        for dataset in (*inputs, *outputs):
            dataset.facets = {k: v for k, v in dataset.facets.items() if not k.startswith(PREFIX)}
        return inputs, outputs

    def _datasets(self, record: StageRecord) -> tuple[list[Any], list[Any]]:
        inputs: Sequence[DatasetLineage] = record.inputs
        return (
            [input_dataset(lineage, self._producer) for lineage in inputs],
            [output_dataset(lineage, inputs, self._producer) for lineage in record.outputs],
        )

    def _emit(
        self,
        state: RunState,
        stage: Stage,
        facets: Mapping[str, Any] | None = None,
        inputs: list[Any] | None = None,
        outputs: list[Any] | None = None,
    ) -> int:
        run_facets = dict(facets or {})
        if self._parent is not None:
            run_facets["parent"] = parent_facet(
                self._parent, self._namespace, self._producer, root=self._lifecycle
            )
        if self._lifecycle:
            run_facets["processing_engine"] = engine_facet(self._producer)
        job_facets = {"jobType": job_type_facet(self._producer)} if self._lifecycle else {}
        event = RunEvent(
            eventType=state,
            eventTime=timestamp(self._clock()),
            producer=self._producer,
            run=Run(self._run_id(stage), facets=run_facets),
            job=Job(self._namespace, self._job(stage), facets=job_facets),
            inputs=inputs or [],
            outputs=outputs or [],
        )
        return self._transport.emit(event)
