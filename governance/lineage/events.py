"""OpenLineage events (2-0-2) for stages, built with the classes of the OpenLineage client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    data_quality_assertions_dataset,
    dataset_version_dataset,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    output_statistics_output_dataset,
    parent_run,
    processing_engine_run,
    schema_dataset,
)

import governance
from governance.lineage.facets import GovernanceClassificationsDatasetFacet
from governance.lineage.naming import CLASSIFICATIONS_KEY
from governance.model.evidence import Assertion, DatasetLineage

_UNCHANGED = frozenset({"keep", "identity"})


@dataclass(frozen=True, slots=True)
class ParentRun:
    """The run that spawned this one: a DAG run, or the command that runs all stages."""

    run_id: str
    job: str


def input_dataset(lineage: DatasetLineage, producer: str) -> InputDataset:
    """What a stage read, with its quality assertions and statistics."""
    facets: dict[str, Any] = {}
    if lineage.assertions:
        facets["dataQualityAssertions"] = _assertions(lineage.assertions, producer)
    if lineage.rows is not None or lineage.size is not None:
        facets["inputStatistics"] = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
            rowCount=lineage.rows, size=lineage.size, producer=producer
        )
    return InputDataset(
        lineage.namespace, lineage.name, inputFacets=facets, facets=_dataset_facets(lineage, producer)
    )


def output_dataset(lineage: DatasetLineage, inputs: Sequence[DatasetLineage], producer: str) -> OutputDataset:
    """What a stage wrote, with its column lineage from the first of ``inputs``.

    Raises:
        ValueError: there is column lineage but nothing was read.
    """
    facets = _dataset_facets(lineage, producer)
    if lineage.columns:
        if not inputs:
            raise ValueError("column lineage without an input")
        facets["columnLineage"] = _column_lineage(lineage, inputs[0], producer)
    if lineage.assertions:
        facets["dataQualityAssertions"] = _assertions(lineage.assertions, producer)
    statistics: dict[str, Any] = {}
    if lineage.rows is not None or lineage.size is not None:
        statistics["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=lineage.rows, size=lineage.size, producer=producer
        )
    return OutputDataset(lineage.namespace, lineage.name, outputFacets=statistics, facets=facets)


def parent_facet(parent: ParentRun, namespace: str, producer: str, *, root: bool) -> Any:
    """The ``parent`` run facet; ``root`` says that the parent has no parent itself."""
    return parent_run.ParentRunFacet(
        run=parent_run.Run(parent.run_id),
        job=parent_run.Job(namespace, parent.job),
        root=parent_run.Root(
            run=parent_run.RootRun(parent.run_id), job=parent_run.RootJob(namespace, parent.job)
        )
        if root
        else None,
        producer=producer,
    )


def engine_facet(producer: str) -> Any:
    """The ``processing_engine`` run facet."""
    return processing_engine_run.ProcessingEngineRunFacet(
        version=governance.__version__, name="governance", producer=producer
    )


def error_facet(code: str, message: str, producer: str) -> Any:
    """The ``errorMessage`` run facet, without a stack trace: a trace may quote a value."""
    return error_message_run.ErrorMessageRunFacet(
        message=f"{code} {message}", programmingLanguage="PYTHON", producer=producer
    )


def job_type_facet(producer: str) -> Any:
    """The ``jobType`` job facet of a stage."""
    return job_type_job.JobTypeJobFacet(
        processingType="BATCH",
        integration="GOVERNANCE",
        jobType="STAGE",
        emissionPattern=job_type_job.EmissionPattern("EVENT_BASED", "ACCUMULATIVE"),
        producer=producer,
    )


def _dataset_facets(lineage: DatasetLineage, producer: str) -> dict[str, Any]:
    facets: dict[str, Any] = {}
    if lineage.fields:
        facets["schema"] = schema_dataset.SchemaDatasetFacet(
            fields=[
                schema_dataset.SchemaDatasetFacetFields(name, kind, ordinal_position=position)
                for position, (name, kind) in enumerate(lineage.fields, start=1)
            ],
            producer=producer,
        )
    if lineage.version is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(
            datasetVersion=lineage.version, producer=producer
        )
    if lineage.classifications:
        facet_class: Any = GovernanceClassificationsDatasetFacet
        facets[CLASSIFICATIONS_KEY] = facet_class(
            columns={
                column: {"classification": classification}
                | ({"sensitivity": lineage.sensitivities[column]} if column in lineage.sensitivities else {})
                for column, classification in lineage.classifications.items()
            },
            producer=producer,
        )
    return facets


def _assertions(assertions: Sequence[Assertion], producer: str) -> Any:
    return data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
        assertions=[
            data_quality_assertions_dataset.Assertion(a.assertion, a.success, a.column) for a in assertions
        ],
        producer=producer,
    )


def _column_lineage(output: DatasetLineage, source: DatasetLineage, producer: str) -> Any:
    fields: dict[str, Any] = {}
    for edge in output.columns:
        unchanged = edge.transformation.lower() in _UNCHANGED
        fields[edge.output] = column_lineage_dataset.Fields(
            inputFields=[
                column_lineage_dataset.InputField(
                    source.namespace,
                    source.name,
                    column,
                    transformations=[
                        column_lineage_dataset.Transformation(
                            type="DIRECT",
                            subtype="IDENTITY" if unchanged else "TRANSFORMATION",
                            description=edge.transformation,
                            masking=edge.masking,
                        )
                    ],
                )
                for column in edge.inputs
            ]
        )
    return column_lineage_dataset.ColumnLineageDatasetFacet(fields=fields, producer=producer)
