import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from lineage_samples import RELEASED, SOURCE, MemoryEntry

from governance.lineage import Declared, Observed, RunKeys, verify_event, verify_evidence
from governance.model.evidence import Stage
from tests.signing_key import Key, new_key

PIPELINE = "evidence:pipeline"


@pytest.fixture
def opening(recorder, log, root_key, evidence) -> dict[str, Any]:
    return json.loads(log.entry(recorder.record(evidence(Stage.OPEN, inputs=(SOURCE,)), root_key)).body)


@pytest.fixture
def protected(recorder, log, run_key, evidence) -> dict[str, Any]:
    record = evidence(Stage.PROTECT, inputs=(SOURCE,), outputs=(RELEASED,))
    return json.loads(log.entry(recorder.record(record, run_key)).body)


@pytest.fixture
def keys(opening, root_key) -> RunKeys:
    keys = RunKeys()
    verdict = verify_event(opening, principal=PIPELINE, root_key=root_key.public_key, run_keys=keys)
    assert isinstance(verdict, Observed)
    keys.admit(verdict)
    return keys


def judged(event: dict[str, Any], root: Key, keys: RunKeys | None, principal: str = PIPELINE):
    return verify_event(event, principal=principal, root_key=root.public_key, run_keys=keys)


def test_the_chain_holds(protected, root_key, run_key, keys) -> None:
    verdict = judged(protected, root_key, keys)
    assert isinstance(verdict, Observed)
    assert verdict.basis == "observed"
    assert verdict.public_key == run_key.public_key
    assert verdict.facts["rows_out"] == 7


def test_only_evidence_principals_are_believed(protected, root_key, keys) -> None:
    verdict = judged(protected, root_key, keys, "ingest:airflow")
    assert verdict == Declared("it did not arrive from an evidence principal", Stage.PROTECT)
    assert verdict.basis == "declared"
    assert not verdict


def at(event: dict[str, Any], path: str) -> tuple[Any, Any]:
    *parents, last = [int(p) if p.isdigit() else p for p in path.split("/")]
    for parent in parents:
        event = event[parent]
    return event, last


@pytest.mark.parametrize(
    "path",
    [
        "run/facets/governance_protect/facts/rows_out",
        "run/facets/governance_protect/context/version",
        "run/facets/governance_protect/stage",
        "run/runId",
        "outputs/0/facets/columnLineage/fields/age/inputFields/0/transformations/0/masking",
        "outputs/0/facets/governance_classifications/columns/email/classification",
        "outputs/0/facets/schema/fields/0/type",
        "outputs/0/name",
        "inputs/0/namespace",
        "inputs/0/inputFacets/inputStatistics/rowCount",
    ],
)
def test_whatever_is_exchanged_under_a_signature_is_declared(protected, root_key, keys, path) -> None:
    altered = copy.deepcopy(protected)
    parent, last = at(altered, path)
    parent[last] = "another"
    assert isinstance(judged(altered, root_key, keys), Declared)


def test_datasets_cannot_be_removed_or_added(protected, root_key, keys) -> None:
    assert not judged(protected | {"outputs": []}, root_key, keys)
    assert not judged(protected | {"inputs": protected["inputs"] * 2}, root_key, keys)


def test_another_key_does_not_sign(recorder, log, root_key, evidence, keys) -> None:
    for stage, signer in ((Stage.CONSENT, root_key), (Stage.CONSENT, new_key()), (Stage.DISCLOSE, new_key())):
        event = json.loads(log.entry(recorder.record(evidence(stage), signer)).body)
        verdict = judged(event, root_key, keys)
        assert isinstance(verdict, Declared)
        assert verdict.reason.startswith("it is not signed by")


def test_the_root_signs_disclosures(recorder, log, root_key, evidence) -> None:
    event = json.loads(log.entry(recorder.record(evidence(Stage.DISCLOSE), root_key)).body)
    assert judged(event, root_key, None)


def test_a_run_that_was_not_opened_proves_nothing(protected, root_key) -> None:
    assert judged(protected, root_key, RunKeys()) == Declared("the run was not opened", Stage.PROTECT)
    assert judged(protected, root_key, None) == Declared("the run was not opened", Stage.PROTECT)


def test_the_run_key_signs_one_run_only(protected, root_key, run_key, keys) -> None:
    for name, value, reason in (
        ("attempt", "a2", "the run was not opened"),
        ("consent_position", 9, "the context is not what the run pinned"),
    ):
        other = copy.deepcopy(protected)
        other["run"]["facets"]["governance_protect"]["context"][name] = value
        assert judged(other, root_key, keys) == Declared(reason, Stage.PROTECT)


def test_an_opening_by_another_root_opens_nothing(opening, protected) -> None:
    keys, stranger = RunKeys(), new_key()
    assert judged(opening, stranger, keys) == Declared(
        "it is not signed by the evidence root key", Stage.OPEN
    )


def test_nothing_is_observed_without_a_pinned_root(opening, keys) -> None:
    verdict = verify_event(opening, principal=PIPELINE, root_key=None, run_keys=keys)
    assert verdict == Declared("no evidence root key is pinned", Stage.OPEN)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.pop("signature"),
        lambda f: f.update(signature="text"),
        lambda f: f["signature"].update(algorithm="none"),
        lambda f: f["signature"].update(value="%%%"),
        lambda f: f["signature"].update(value=""),
        lambda f: f["signature"].update(public_key=base64.b64encode(b"short").decode()),
        lambda f: f["signature"].update(public_key=7),
        lambda f: f.update(facts=[]),
        lambda f: f.update(context=None),
        lambda f: f["facts"].update(rows_out=2**70),
    ],
)
def test_malformed_evidence_is_declared(protected, root_key, keys, change: Callable) -> None:
    change(protected["run"]["facets"]["governance_protect"])
    assert isinstance(judged(protected, root_key, keys), Declared)


@pytest.mark.parametrize("facets", [None, [], {"governance_protect": 3}, {"governance_made_up": {}}, {}])
def test_strange_facets_are_declared(protected, root_key, keys, facets) -> None:
    protected["run"]["facets"] = facets
    assert isinstance(judged(protected, root_key, keys), Declared)


def test_one_event_carries_one_evidence_facet(protected, opening, root_key, keys) -> None:
    protected["run"]["facets"] |= opening["run"]["facets"]
    assert judged(protected, root_key, keys).reason.endswith("this one carries 2")


def test_entries_that_cannot_be_parsed_are_declared(protected, root_key) -> None:
    leaf = json.dumps({"principal": PIPELINE}).encode()
    body = json.dumps(protected).encode()
    twice = body.replace(b'"rows_out": 7', b'"rows_out": 8, "rows_out": 7')
    assert twice != body
    for entry in (
        MemoryEntry(0, leaf, None),
        MemoryEntry(0, leaf, b"{"),
        MemoryEntry(0, leaf, b"[]"),
        MemoryEntry(0, leaf, b"\xff"),
        MemoryEntry(0, leaf, b"[" * 200_000),
        MemoryEntry(0, b"[]", body),
        MemoryEntry(0, b'{"principal": 1}', body),
        MemoryEntry(0, leaf, twice),
    ):
        assert not verify_evidence(entry, evidence_public_key=root_key.public_key)
