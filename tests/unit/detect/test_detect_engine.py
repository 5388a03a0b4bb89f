"""Columns, texts and redaction: the detectors' own examples, the sample's truth, and hostile input."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from governance import sources
from governance.demo.samples import SampleFiles, make_samples
from governance.detect import TableScanner, classify_table, classify_text, redact, taxonomy
from governance.detect.detectors.registry import column_registry, text_detectors
from governance.model.classification import FREE_TEXT, HARMLESS
from governance.model.resources import schemas


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleFiles:
    return make_samples(tmp_path_factory.mktemp("sample"), rows=2_000)


def declared(name: str) -> dict[str, str]:
    contract = yaml.safe_load((schemas() / "examples" / f"{name}.odcs.yaml").read_text("utf-8"))
    return {
        p.get("physicalName", p["name"]): p.get("classification", "none")
        for p in contract["schema"][0]["properties"]
    }


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("clinical_encounters", "clinical_encounters"),
        ("customer_profiles", "customers.csv"),
        ("support_prompts", "support_conversations.jsonl.gz"),
    ],
)
def test_the_sample_is_classified_as_its_contracts_declare(sample: SampleFiles, name: str, path: str) -> None:
    snapshot = sources.pin(str(sample.directory / path))
    scanner = TableScanner(sources.schema(snapshot))
    for batch in sources.read(snapshot):
        scanner.update(batch)
    found = scanner.finish()
    truth = declared(name)
    # An identifier of a row or conversation is declared stricter than it looks.
    wrong = {
        column: (expected, found[column].classification)
        for column, expected in truth.items()
        if found[column].classification != expected and expected not in ("account_number", "jurisdiction")
    }
    assert wrong == {}
    assert all(0 <= f.confidence <= 1 and f.evidence for f in found.values())
    texts = [f for f in found.values() if f.classification == FREE_TEXT]
    assert all(f.contains for f in texts if f.column in ("clinical_note", "prompt", "agent_reply"))


def test_evidence_quotes_no_value(sample: SampleFiles) -> None:
    snapshot = sources.pin(str(sample.customers))
    batches = list(sources.read(snapshot))
    table = pa.Table.from_batches(batches)
    for name, finding in classify_table(table).items():
        words = " ".join(finding.evidence)
        for value in table[name].drop_null().unique().to_pylist()[:300]:
            assert len(str(value)) < 6 or str(value) not in words


def test_every_detector_names_a_classification_of_the_taxonomy() -> None:
    known = set(taxonomy())
    assert {d.classification for d in text_detectors()} <= known
    assert column_registry() is not None
    assert {"email", "ssn", "medical_record_number", "health_condition", "religion", "biometric"} <= known


@pytest.mark.parametrize(
    ("text", "classification"),
    [
        ("Write to anna.schmidt@example.org today", "email"),
        ("SSN 536-22-8726 on file", "ssn"),
        ("Card 4111 1111 1111 1111 was charged", "credit_card"),
        ("IBAN DE89 3704 0044 0532 0130 00", "iban"),
        ("Seen from 192.168.10.44 yesterday", "ip_address"),
        ("Chart MRN-3867688754 reviewed", "medical_record_number"),
        ("Call me at (503) 672-7975 please", "phone"),
    ],
)
def test_identifiers_in_text(text: str, classification: str) -> None:
    (findings,) = classify_text([text])
    assert classification in {f.classification for f in findings}
    assert all(0 <= f.start < f.end <= len(text) for f in findings)
    (redacted,) = redact(pa.array([text])).to_pylist()
    for finding in findings:
        if finding.classification == classification:
            assert text[finding.start : finding.end] not in redacted


def test_what_the_row_knows_is_removed_from_its_text() -> None:
    texts = pa.array(["Zqxv Wnbh asked again", "Nothing here", None])
    known = {"person_name": pa.array(["Zqxv Wnbh", "Zqxv Wnbh", "Zqxv Wnbh"])}
    first, second, third = redact(texts, known).to_pylist()
    assert "Zqxv" not in first and "Wnbh" not in first
    assert second == "Nothing here"
    assert third is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("count", list(range(500))),
        ("price", [n * 1.37 for n in range(500)]),
        ("status", ["open", "closed"] * 250),
        ("sku", [f"AB-{n:05d}" for n in range(500)]),
    ],
)
def test_harmless_columns_stay_harmless(name: str, values: list[object]) -> None:
    assert classify_table(pa.table({name: values}))[name].classification == HARMLESS


@pytest.mark.parametrize(
    "column",
    [
        pa.nulls(5),
        pa.array([], pa.string()),
        pa.array([b"\xff\xfe", None], pa.binary()),
        pa.array([{"a": {"email": "x@example.org"}}]),
        pa.array([["a"], None]),
        pa.array(["x"] * 3).dictionary_encode(),
        pa.array(["é" * 1_000_000, "😀" * 1_000, "مرحبا"]),
    ],
    ids=["null", "empty", "binary", "nested", "list", "dictionary", "long"],
)
def test_any_column_gets_an_answer(column: pa.Array) -> None:
    found = classify_table(pa.table({"column": column}))
    assert found
    assert all(f.classification for f in found.values())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=60)), max_size=20))
def test_redaction_keeps_length_and_nulls(texts: list[str | None]) -> None:
    clean = [None if t is None else t.encode("utf-8", "replace").decode() for t in texts]
    out = redact(pa.array(clean, pa.string()))
    assert len(out) == len(clean)
    assert out.is_null().to_pylist() == [t is None for t in clean]


def test_a_directory_is_not_needed(tmp_path: Path) -> None:
    assert classify_table(pa.table({})) == {}
