import attr
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from lineage_samples import CONTEXT, DIGEST, PRODUCER, facts_of
from openlineage.client.serde import Serde

from governance.lineage import as_sent
from governance.lineage.facets import (
    EVIDENCE_FACETS,
    AirflowTaskTriesRunFacet,
    EvidenceRunFacet,
    GovernanceClassificationsDatasetFacet,
    facet_schema,
    nonconformities,
)
from governance.model.evidence import Stage

ALL = [*EVIDENCE_FACETS.values(), GovernanceClassificationsDatasetFacet, AirflowTaskTriesRunFacet]
SIGNATURE = {"algorithm": "ed25519", "public_key": "A" * 43 + "=", "value": "A" * 86 + "=="}


def built(stage: Stage) -> EvidenceRunFacet:
    return EVIDENCE_FACETS[stage](
        stage=stage.value,
        # An erasure is of no run: it says which requests it serves. A sign-off is of a report.
        context={
            Stage.ERASURE: {"requests": ["R-1"], "policy_digest": DIGEST},
            Stage.SIGN_OFF: {},
        }.get(stage, CONTEXT),
        facts=facts_of(stage, bytes(32)),
        signature=SIGNATURE,
        producer=PRODUCER,
    )


def test_every_stage_has_a_facet() -> None:
    assert set(EVIDENCE_FACETS) == set(Stage)


@pytest.mark.parametrize("facet", ALL, ids=lambda c: c.__name__)
def test_schema_and_class_have_the_same_fields(facet: type) -> None:
    schema = facet_schema(facet.__name__)
    Draft202012Validator.check_schema(schema)
    assert set(schema["properties"]) == {field.name for field in attr.fields(facet)}
    url = schema["properties"]["_schemaURL"]
    assert schema["$id"] == facet._get_schema() in url.get("enum", [url.get("const")])
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("facet", EVIDENCE_FACETS.values(), ids=lambda c: c.__name__)
def test_signature_is_one_definition(facet: type) -> None:
    assert (
        facet_schema(facet.__name__)["$defs"]["Signature"]
        == (facet_schema("GovernanceOpenRunFacet")["$defs"]["Signature"])
    )


@pytest.mark.parametrize("stage", Stage)
def test_facets_conform_before_and_after_serialization(stage: Stage) -> None:
    facet = built(stage)
    assert nonconformities(Serde.to_dict(facet)) == []
    assert nonconformities(attr.asdict(facet)) == []


def test_nothing_undeclared_slips_into_facts() -> None:
    facet = Serde.to_dict(built(Stage.CONSENT))
    facet["facts"]["subject_id"] = "somebody"
    facet["context"]["consent_position"] = -1
    assert nonconformities(facet) == ["/context/consent_position: minimum", "/facts: additionalProperties"]


@pytest.mark.parametrize("url", ["", "urn:airflow-governance:facet:../../secret:1-0-0", "urn:other:X:1"])
def test_foreign_facets_are_not_ours(url: str) -> None:
    assert nonconformities({"_schemaURL": url}) == ["/_schemaURL: not one of our facets"]


def test_a_facet_of_a_former_version_conforms() -> None:
    facet = Serde.to_dict(built(Stage.DISCLOSE))
    assert facet["_schemaURL"].endswith(":1-0-1")
    facet["_schemaURL"] = facet["_schemaURL"].replace("1-0-1", "1-0-0")
    assert nonconformities(facet) == []
    facet["_schemaURL"] = facet["_schemaURL"].replace("1-0-0", "1-0-2")
    assert nonconformities(facet) == ["/_schemaURL: enum"]


def test_facet_of_classifications_conforms() -> None:
    facet = GovernanceClassificationsDatasetFacet(
        columns={"email": {"classification": "email", "sensitivity": "confidential"}}, producer=PRODUCER
    )
    assert nonconformities(Serde.to_dict(facet)) == []


def test_airflow_does_not_mask_what_is_signed() -> None:
    assert {"stage", "context", "facts", "signature"} <= set(built(Stage.OPEN).skip_redact)
    assert DIGEST in str(built(Stage.OPEN))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_as_sent_is_what_the_client_sends(value: dict[str, object]) -> None:
    assert as_sent(value) == Serde.remove_nulls_and_enums(value)
    assert as_sent(as_sent(value)) == as_sent(value)
