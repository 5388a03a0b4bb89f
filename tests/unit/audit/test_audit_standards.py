"""OSCAL, DPV, in-toto and Croissant: the structure that each standard asks for.

Their schemas are in no package of ours, so the structure is held here by hand. OSCAL's was compared once with NIST's
model by oscal-bindings 0.3.1, Croissant's by mlcroissant 1.1.1; neither is run here.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from audit_world import World
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from governance.audit import MadeReport, make_report
from governance.audit.forms import form
from governance.audit.languages import words
from governance.audit.making import describe_version
from governance.errors import AuditError

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
VERSION = "vf742ef392b708ceeb5e7abf0"


def made(name: str, report: MadeReport) -> Any:
    return json.loads(form(name)(report.record, words("en"), None))


@pytest.fixture(scope="module")
def described(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return describe_version(world, "clinical_encounters", VERSION, tmp_path_factory.mktemp("described"))


def _nodes(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(node for inner in value.values() for node in _nodes(inner))]
    return [node for inner in value for node in _nodes(inner)] if isinstance(value, list) else []


def test_oscal_has_every_exception_and_unknown(art30: MadeReport, accounting: MadeReport) -> None:
    for report in (art30, accounting):
        root = made("oscal", report)["assessment-results"]
        assert set(root) == {"uuid", "metadata", "import-ap", "results", "back-matter"}
        assert {"title", "last-modified", "version", "oscal-version"} == set(root["metadata"])
        [result] = root["results"]
        assert {"uuid", "title", "description", "start", "reviewed-controls"} <= set(result)
        assert len(result["observations"]) == len(report.record["exceptions"]) + len(
            report.record["unknowns"]
        )
        assert len(result["findings"]) == len(report.record["exceptions"])
        uuids = [node["uuid"] for node in _nodes(root) if "uuid" in node]
        assert len(set(uuids)) == len(uuids) and all(UUID.fullmatch(each) for each in uuids)
        for observation in result["observations"]:
            assert {"uuid", "description", "methods", "collected"} <= set(observation)
        seen = {observation["uuid"] for observation in result["observations"]}
        for finding in result["findings"]:
            assert {"uuid", "title", "description", "target", "related-observations"} == set(finding)
            assert TOKEN.fullmatch(finding["target"]["target-id"])
            assert {r["observation-uuid"] for r in finding["related-observations"]} <= seen
        assert root["import-ap"]["href"] == "#" + root["back-matter"]["resources"][0]["uuid"]


def test_dpv_has_a_process_for_every_row(art30: MadeReport, accounting: MadeReport) -> None:
    said = made("dpv", art30)
    assert said["@type"] == "dpv:RegisterOfProcessingActivities"
    assert [p["dct:title"] for p in said["dpv:hasProcess"]] == [r["title"] for r in art30.record["rows"]]
    prefixes = {name + ":" for name in said["@context"]}
    for node in _nodes(said):
        names = [key for key in node if not key.startswith("@") and ":" in key]
        assert all(any(key.startswith(p) for p in prefixes) for key in names)
    first = next(p for p in said["dpv:hasProcess"] if "clinical" in p["dct:title"])
    assert [b["@type"][1] for b in first["dpv:hasLegalBasis"]] == ["eu-gdpr:A6-1-a", "eu-gdpr:A9-2-a"]
    assert first["dpv:hasDataController"][0]["dpv:hasName"] == "Meridian Health System, Inc."
    assert {d["@type"] for d in first["dpv:hasPersonalData"]} >= {"dpv:SpecialCategoryPersonalData"}
    with pytest.raises(AuditError) as refused:
        made("dpv", accounting)
    assert refused.value.code == "GOV-804"


def test_dpv_has_consent_by_purpose_and_the_batches_it_rests_on(world: World, tmp_path: Path) -> None:
    report = make_report(world, "consent-evidence", tmp_path, forms=["dpv"])
    [path] = report.forms
    said = json.loads(path.read_bytes())
    assert (path.name, said["@type"]) == ("consent-evidence.dpv.jsonld", "dpv:RecordsOfActivities")
    rows = {row["title"]: row["cells"] for row in report.record["rows"]}
    assert [p["dct:title"] for p in said["dpv:hasProcess"]] == list(rows)
    for process in said["dpv:hasProcess"]:
        cells = rows[process["dct:title"]]
        batches = cells["records"]["value"] if cells["records"]["basis"] == "observed" else []
        records = process["dpv:hasRecordOfActivity"]
        assert [r["gov:records"] for r in records] == [b["records"] for b in batches]
        assert {r["@type"] for r in records} <= {"dpv:ConsentRecord"}
        for basis in process["dpv:hasLegalBasis"]:
            assert ("dpv:Consent" in basis["@type"]) == (cells["basis"]["value"]["basis"] == "consent")
        assert ("gov:decisions" in process) == (cells["decisions"]["basis"] == "observed")
    assert any(p["dpv:hasRecordOfActivity"] for p in said["dpv:hasProcess"])


def test_an_attestation_is_signed_by_the_evidence_key(world: World, described: tuple[Path, Path]) -> None:
    envelope = json.loads(described[0].read_bytes())
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    [signature] = envelope["signatures"]
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    key = Ed25519PublicKey.from_public_bytes(world.root.public_key)
    key.verify(base64.b64decode(signature["sig"]), message)
    said = json.loads(payload)
    assert kind == b"application/vnd.in-toto+json" and said["_type"] == "https://in-toto.io/Statement/v1"
    [subject] = said["subject"]
    assert subject["name"] == f"clinical_encounters@{VERSION}" and len(subject["digest"]["sha256"]) == 64
    assert said["predicate"]["rows"] == 64 and said["predicate"]["consent"]["denied"] == 30
    opened = world.log.entry(said["predicate"]["log"]["entries"][0])
    assert opened.body is not None and VERSION.encode() in opened.body


def test_croissant_has_files_with_digests_and_columns(described: tuple[Path, Path]) -> None:
    said = json.loads(described[1].read_bytes())
    assert said["conformsTo"] == "http://mlcommons.org/croissant/1.1" and said["@type"] == "sc:Dataset"
    assert all(re.fullmatch("[0-9a-f]{64}", file["sha256"]) for file in said["distribution"])
    files = {file["@id"] for file in said["distribution"]}
    [rows] = said["recordSet"]
    assert rows["field"] and all(field["source"]["fileObject"]["@id"] in files for field in rows["field"])
    assert all(field["@id"] == f"rows/{field['name']}" for field in rows["field"])


def test_what_was_never_released_is_not_described(world: World, tmp_path: Path) -> None:
    for dataset, version in (("clinical_encounters", "v0"), ("../x", VERSION), ("customer_profiles", "v1")):
        with pytest.raises(AuditError) as refused:
            describe_version(world, dataset, version, tmp_path / "out")
        assert refused.value.code == "GOV-804" and not (tmp_path / "out").exists()
