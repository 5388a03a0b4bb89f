"""Lineage of an engineer's own function: as declared, or as its SQL says."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from governance.model.evidence import DatasetLineage, Evidence, Stage, StageRecord
from governance.pipeline.open import DATASETS
from governance.pipeline.workspace import PRODUCER

if TYPE_CHECKING:
    from governance.model.dataset import Manifest


def lineage_of(
    read: Mapping[str, Manifest], landed: Mapping[str, tuple[str, Sequence[tuple[str, str]]]]
) -> StageRecord:
    """Released versions as inputs; landings as outputs, under the name that the run which takes one in reads it by.

    Args:
        landed: by output its reference and its columns with their types; a model has none.
    """
    inputs = tuple(
        DatasetLineage(
            DATASETS,
            name,
            fields=tuple((str(c["name"]), str(c["type"])) for c in manifest.body["schema"]),
            version=manifest.version,
        )
        for name, manifest in read.items()
    )
    outputs = []
    for name, (reference, fields) in landed.items():
        kind, _, where = reference.partition(":")
        if fields:
            outputs.append(DatasetLineage(kind, where, fields=tuple(fields)))
        else:
            outputs.append(DatasetLineage(DATASETS, name, version=reference))
    return StageRecord(Evidence(Stage.OPEN), {}, inputs=inputs, outputs=tuple(outputs))


def column_edges(
    declared: Mapping[str, Sequence[str]], sql: str | None, read: Mapping[str, Manifest]
) -> dict[str, tuple[str, ...]]:
    """Output column → ``DATASET.COLUMN``. What is declared wins over what the SQL says."""
    found = {column: tuple(inputs) for column, inputs in declared.items()}
    if sql is None or importlib.util.find_spec("openlineage_sql") is None:
        return found
    parsed = importlib.import_module("openlineage_sql").parse([sql], dialect="duckdb")
    for edge in parsed.column_lineage if parsed is not None else ():
        inputs = tuple(
            f"{column.origin.name}.{column.name}"
            for column in edge.lineage
            if column.origin is not None and column.origin.name in read
        )
        if inputs:
            found.setdefault(edge.descendant.name, inputs)
    return found


def column_facet(output: Any, edges: Mapping[str, Sequence[str]]) -> Any:
    """The facet of an OpenLineage output whose schema has columns among the edges; ``None`` for none."""
    from openlineage.client.facet_v2 import column_lineage_dataset as facet

    schema = output.facets.get("schema")
    names = {field.name for field in schema.fields} if schema is not None else set()
    fields = {}
    for column, inputs in edges.items():
        if column in names:
            pairs = [name.rpartition(".") for name in inputs]
            fields[column] = facet.Fields(
                inputFields=[facet.InputField(DATASETS, dataset, source) for dataset, _, source in pairs]
            )
    return facet.ColumnLineageDatasetFacet(fields=fields, producer=PRODUCER) if fields else None
