"""Names that evidence goes by, and the JSON it is made of. Loads no client."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from enum import Enum
from typing import Any

from governance.model.canonical import canonical
from governance.model.evidence import Stage

PREFIX = "governance_"
"""What every facet key of ours begins with. Only evidence principals are believed under it."""

CLASSIFICATIONS_KEY = "governance_classifications"
"""The key of the dataset facet."""

EVENT_MEDIA_TYPE = "application/vnd.openlineage.event+json"
"""The media type of every OpenLineage event in the log."""

EVIDENCE_PRINCIPAL = "evidence:"
"""What the principal of a leaf begins with when it may report evidence."""

_RUN_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:airflow-governance:run")


def facet_key(stage: Stage) -> str:
    """The key under which a stage's evidence stands in ``run.facets``."""
    return PREFIX + stage.value


_VERSIONS = {"GovernanceDiscloseRunFacet": "1-0-1"}
"""SchemaVer of the schemas that have grown; each accepts what its former versions did."""


def schema_urn(class_name: str) -> str:
    """The immutable ``_schemaURL`` of one of our facets."""
    return f"urn:airflow-governance:facet:{class_name}:{_VERSIONS.get(class_name, '1-0-0')}"


def openlineage_run_id(
    *, namespace: str, dataset: str, run_id: str, map_index: int, stage: str, attempt: str
) -> str:
    """A deterministic run id (UUIDv5, RFC 9562 §5.5): the same attempt always reports the same run."""
    name = canonical([namespace, dataset, run_id, map_index, stage, attempt])
    return str(uuid.uuid5(_RUN_NAMESPACE, name.decode("utf-8")))


def as_sent(value: Any) -> Any:
    """JSON as the OpenLineage client sends it: no nulls, and no empty objects in lists.

    What is signed, stored and verified has this form. Comparing facts with what the log holds means
    comparing ``as_sent(facts)``.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): as_sent(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [sent for sent in (as_sent(v) for v in value if v is not None) if sent != {}]
    return value
