"""Events that say where columns came from, corrections of them, and what columns hold then."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lineage_samples import MemoryLog

from governance.lineage.classifications.answers import Explainer, explained
from governance.lineage.classifications.propagation import Classifications
from governance.lineage.classifications.sensitivity_levels import Levels
from governance.lineage.index.index import Index
from governance.model.correction import CORRECTION, Correction

NS = "ds"
LEVELS = Levels(("public", "internal", "confidential"), {"email": "confidential", "city": "internal"})
OUT = "clinical_encounters"


def field(dataset: str, column: str, **how: Any) -> dict[str, Any]:
    said = {"type": "DIRECT", "subtype": "TRANSFORMATION", **how}
    return {"namespace": NS, "name": dataset, "field": column, "transformations": [said]}


def event(at: int, output: str, job: str = "j", whole: Sequence[Any] = (), **columns: Any) -> bytes:
    fields = {column: {"inputFields": inputs} for column, inputs in columns.items()}
    body = {
        "eventTime": f"2026-11-24T10:00:{at:02d}Z",
        "producer": "https://example.org/p",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": "01a20b6a-c323-7f68-b456-23cd917a82a4"},
        "job": {"namespace": "jobs", "name": job},
        "outputs": [
            {
                "namespace": NS,
                "name": output,
                "facets": {"columnLineage": {"fields": fields, "dataset": list(whole)}},
            }
        ],
    }
    return json.dumps(body).encode()


def declared(dataset: str, **columns: str) -> bytes:
    facet = {"columns": {column: {"classification": found} for column, found in columns.items()}}
    body = {
        "eventTime": "2026-11-24T10:00:00Z",
        "producer": "https://example.org/p",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/DatasetEvent",
        "dataset": {"namespace": NS, "name": dataset, "facets": {"governance_classifications": facet}},
    }
    return json.dumps(body).encode()


def corrected(
    log: MemoryLog, dataset: str, column: str, to: str | None, principal: str = "admin:cli", **more: Any
) -> int:
    namespace = more.pop("namespace", NS)
    said = Correction(namespace, dataset, column, to, "data steward", "because", f"t{log.size()}", **more)
    return log.put(json.dumps(said.to_json()).encode(), principal, CORRECTION)


def held(index: Index, dataset: str, column: str, as_of: int | None = None, namespace: str = NS) -> list[str]:
    known = Classifications.of(index, as_of)
    return Explainer(known, LEVELS).classifications((namespace, dataset, column))


def column_of(index: Index, dataset: str, column: str, namespace: str = NS, as_of: int | None = None) -> Any:
    known = Classifications.of(index, as_of)
    return explained(index, known, LEVELS, namespace, dataset, column)["columns"][0]
