"""Our OpenLineage facets (OpenLineage 2-0-2, custom facet rules).

One run facet a stage, and a dataset facet with the classification of each column. Their JSON
Schemas stand in ``schemas/facets/<class name>.json``; ``_schemaURL`` is the schema's ``$id`` and
never changes for a released version.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import attr
from openlineage.client.facet_v2 import DatasetFacet, RunFacet

from governance.lineage.naming import schema_urn
from governance.model.evidence import Stage


@attr.define(kw_only=True)
class EvidenceRunFacet(RunFacet):  # type: ignore[misc]
    """What a stage proves: JSON facts, the pinned context, and a signature over both.

    ``facts`` and ``context`` hold no value from a dataset. ``signature`` is described in
    :mod:`governance.lineage.signatures`. Airflow's secret masking must leave all four alone,
    otherwise what is stored is no longer what was signed.
    """

    stage: str
    context: dict[str, Any]
    facts: dict[str, Any]
    signature: dict[str, str]

    _additional_skip_redact: ClassVar[list[str]] = ["stage", "context", "facts", "signature"]

    @classmethod
    def _get_schema(cls) -> str:
        return schema_urn(cls.__name__)


@attr.define(kw_only=True)
class GovernanceOpenRunFacet(EvidenceRunFacet):
    """The run was opened: source, contract, policy, consent position and run key are pinned."""


@attr.define(kw_only=True)
class GovernanceClassifyRunFacet(EvidenceRunFacet):
    """Every column was read and named."""


@attr.define(kw_only=True)
class GovernanceConsentRunFacet(EvidenceRunFacet):
    """Every row was decided by its subject's consent."""


@attr.define(kw_only=True)
class GovernanceProtectRunFacet(EvidenceRunFacet):
    """The source was rewritten once, into sealed segments."""


@attr.define(kw_only=True)
class GovernanceValidateRunFacet(EvidenceRunFacet):
    """The protected version was read back and judged."""


@attr.define(kw_only=True)
class GovernanceApproveRunFacet(EvidenceRunFacet):
    """A person approved the release of a validated version."""


@attr.define(kw_only=True)
class GovernanceReleaseRunFacet(EvidenceRunFacet):
    """The version is about to be published, was published, or was held back."""


@attr.define(kw_only=True)
class GovernanceDiscloseRunFacet(EvidenceRunFacet):
    """A released version, or some of its columns, left to a named recipient."""


@attr.define(kw_only=True)
class GovernanceErasureRunFacet(EvidenceRunFacet):
    """The erasure of subjects was asked for, or went a step further."""


@attr.define(kw_only=True)
class GovernanceKeyGrantRunFacet(EvidenceRunFacet):
    """The key broker granted keys to a workload, handed them out, refused them or ended a grant."""


@attr.define(kw_only=True)
class GovernanceSignOffRunFacet(EvidenceRunFacet):
    """A person reviewed an audit report and signed off its record."""


@attr.define(kw_only=True)
class GovernanceClassificationsDatasetFacet(DatasetFacet):  # type: ignore[misc]
    """The classification and sensitivity of each column of a dataset.

    ``columns`` maps a column to ``{"classification": …, "sensitivity": …}``; the sensitivity is
    left out where the recorder does not know it.
    """

    columns: dict[str, dict[str, str]]

    _additional_skip_redact: ClassVar[list[str]] = ["columns"]

    @classmethod
    def _get_schema(cls) -> str:
        return schema_urn(cls.__name__)


@attr.define(kw_only=True)
class AirflowTaskTriesRunFacet(RunFacet):  # type: ignore[misc]
    """What Airflow says of each try of each task of a DAG run, on the DAG run.

    A try has ``task``, ``mapIndex`` (-1 where unmapped), ``try``, its ``state``, the ``run`` under which its
    events go, whether it ``ran`` in a worker, and whether it is the task's ``last``. It proves nothing: it is
    what :mod:`governance.lineage.completeness` compares events with.
    """

    tries: list[dict[str, Any]]

    _additional_skip_redact: ClassVar[list[str]] = ["tries"]

    @classmethod
    def _get_schema(cls) -> str:
        return schema_urn(cls.__name__)


EVIDENCE_FACETS: Mapping[Stage, type[EvidenceRunFacet]] = MappingProxyType(
    {
        Stage.OPEN: GovernanceOpenRunFacet,
        Stage.CLASSIFY: GovernanceClassifyRunFacet,
        Stage.CONSENT: GovernanceConsentRunFacet,
        Stage.PROTECT: GovernanceProtectRunFacet,
        Stage.VALIDATE: GovernanceValidateRunFacet,
        Stage.APPROVE: GovernanceApproveRunFacet,
        Stage.RELEASE: GovernanceReleaseRunFacet,
        Stage.DISCLOSE: GovernanceDiscloseRunFacet,
        Stage.ERASURE: GovernanceErasureRunFacet,
        Stage.KEY_GRANT: GovernanceKeyGrantRunFacet,
        Stage.SIGN_OFF: GovernanceSignOffRunFacet,
    }
)
"""The facet class of each stage."""


def facet_schema(class_name: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one of our facets, as shipped.

    Raises:
        KeyError: there is no such facet.
    """
    import json

    from governance.model.resources import schemas

    path = schemas() / "facets" / f"{class_name}.json"
    if not path.is_file():
        raise KeyError(class_name)
    schema: dict[str, Any] = json.loads(path.read_bytes())
    return schema


def nonconformities(facet: Mapping[str, Any]) -> list[str]:
    """What is wrong with a serialized facet of ours, each as ``path: rule``; empty if it conforms.

    Values of the facet are not repeated: the messages name JSON pointers and schema keywords.
    """
    from jsonschema import Draft202012Validator

    class_name = str(facet.get("_schemaURL", "")).removeprefix("urn:airflow-governance:facet:").split(":")[0]
    try:
        schema = facet_schema(class_name) if class_name.isalnum() else None
    except KeyError:
        schema = None
    if schema is None:
        return ["/_schemaURL: not one of our facets"]
    faults = Draft202012Validator(schema).iter_errors(dict(facet))
    return sorted(f"/{'/'.join(map(str, f.absolute_path))}: {f.validator}" for f in faults)
