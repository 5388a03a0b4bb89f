"""Columns: what the demo holds, dirty data, odd types, false alarms, bounded streams."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import luhn

from governance.detect import TableScanner, classify_table
from governance.model.classification import ColumnClassification

ROWS = 300
RANDOM = random.Random(5)
GIVEN = ["Maria", "José", "Anna", "Jürgen", "Elena", "Pierre", "Michael", "Sarah", "Thomas", "Laura"]
FAMILY = [
    "García",
    "Müller",
    "Smith",
    "Dupont",
    "Petrova",
    "Johnson",
    "Schneider",
    "Martin",
    "López",
    "Brown",
]


def _column(make: Any, rows: int = ROWS) -> list[Any]:
    return [make(i) for i in range(rows)]


def _one(name: str, values: Any, kind: pa.DataType | None = None) -> ColumnClassification:
    return classify_table(pa.table({name: pa.array(values, kind)}))[name]


def _npi(i: int) -> str:
    body = f"1{RANDOM.randrange(10**8):08d}"
    return body + luhn.calc_check_digit("80840" + body)


def _ssn(i: int) -> str:
    return f"{RANDOM.randrange(1, 665):03d}-{RANDOM.randrange(1, 99):02d}-{RANDOM.randrange(1, 9999):04d}"


def _name(i: int) -> str:
    return f"{GIVEN[i % 10]} {FAMILY[(i // 10) % 10]}"


def _note(i: int) -> str:
    return f"Patient {_name(i)} (MRN-{i:08d}) was seen today and reports no new pain; call 415-555-{i:04d} with the results."


def _written_date(i: int) -> str:
    form = ["1975-03-04", "04.03.1975", "03/04/1975", "4 March 1975"][i % 4]
    return form.replace("75", f"{i % 90 + 10}")


def _street(i: int) -> str:
    return [f"{i + 1} Main Street", f"Hauptstraße {i + 1}", f"{i + 1}, rue de Lille"][i % 3]


DEMO: dict[str, tuple[Any, str]] = {
    "encounter_id": (lambda i: f"ENC-{i:09d}", "none"),
    "mrn": (lambda i: f"MRN-{i:08d}", "medical_record_number"),
    "patient_name": (_name, "person_name"),
    "full_name": (_name, "person_name"),
    "date_of_birth": (lambda i: dt.date(1950, 1, 1) + dt.timedelta(days=i * 17), "date_of_birth"),
    "birth_date": (_written_date, "date_of_birth"),
    "age": (lambda i: i % 100, "age"),
    "sex": (lambda i: "MF"[i % 2], "gender"),
    "phone": (lambda i: [f"(415) 555-{i:04d}", f"+49 151 {i:08d}", f"06 12 34 {i % 100:02d} 78"][i % 3], "phone"),
    "email": (lambda i: f"user{i}@example.org", "email"),
    "ssn": (_ssn, "ssn"),
    "street_address": (_street, "street_address"),
    "city": (lambda i: ["Berlin", "North Xville", "Paris", "Sevilla"][i % 4], "city"),
    "state": (lambda i: ["CA", "TX", "NY", None][i % 4], "none"),
    "postal_code": (lambda i: f"{10000 + i * 17}", "postal_code"),
    "country": (lambda i: ["US", "DE", "FR", "ES"][i % 4], "country"),
    "jurisdiction": (lambda i: ["US-CA", "US-TX", "DE", "FR"][i % 4], "jurisdiction"),
    "insurance_member_id": (lambda i: f"HX{i:09d}", "health_plan_id"),
    "admitted_at": (lambda i: dt.datetime(2024, 1, 1) + dt.timedelta(hours=i), "date"),
    "signup_date": (lambda i: str(dt.date(2020, 1, 1) + dt.timedelta(days=i)), "date"),
    "diagnosis_code": (lambda i: ["E11.9", "I10", "J45.909", "F32.9"][i % 4], "health_condition"),
    "diagnosis": (lambda i: ["Type 2 diabetes mellitus", "Essential hypertension", "Low back pain"][i % 3], "health_condition"),
    "medication": (lambda i: ["metformin", "lisinopril 10 mg", "sertraline"][i % 3], "medication"),
    "attending_npi": (_npi, "npi"),
    "clinical_note": (_note, "free_text"),
    "prompt": (lambda i: f"Hi, I cannot log in since yesterday, can you please check my account number {i:08d}?", "free_text"),
    "customer_id": (lambda i: f"C-{i:07d}", "customer_id"),
    "iban": (lambda i: ["DE89370400440532013000", "GB29NWBK60161331926819"][i % 2], "iban"),
    "ip_address": (lambda i: f"10.0.{i % 256}.{i % 199}", "ip_address"),
    "department": (lambda i: ["Cardiology", "Oncology", "Emergency"][i % 3], "none"),
    "loyalty_tier": (lambda i: ["gold", "silver"][i % 2], "none"),
    "topic": (lambda i: ["billing", "delivery", "login"][i % 3], "none"),
    "channel": (lambda i: ["email", "chat", "phone"][i % 3], "none"),
    "language": (lambda i: ["en", "de", "fr"][i % 3], "none"),
    "marketing_segment": (lambda i: ["new", "lapsed", "loyal"][i % 3], "none"),
    "lifetime_value": (lambda i: i * 13.37, "none"),
    "satisfaction": (lambda i: i % 5 + 1, "none"),
    "length_of_stay_days": (lambda i: i % 30, "none"),
    "total_charge": (lambda i: i * 101.5, "none"),
}  # fmt: skip


@pytest.fixture(scope="module")
def demo() -> dict[str, ColumnClassification]:
    columns = {}
    for name, (make, _) in DEMO.items():
        values = _column(make)
        values[7] = None
        values[11] = "N/A" if isinstance(values[11], str) else values[11]
        columns[name] = pa.array(values)
    return classify_table(pa.table(columns))


@pytest.mark.parametrize("name", list(DEMO))
def test_demo_columns(demo: dict[str, ColumnClassification], name: str) -> None:
    found = demo[name]
    assert (found.classification, found.column, found.rows) == (DEMO[name][1], name, ROWS), found.evidence
    assert found.values_read <= ROWS
    assert found.miss_bound is None


def test_evidence_is_in_words_and_without_values(demo: dict[str, ColumnClassification]) -> None:
    assert 'header says "email"' in demo["email"].evidence
    assert any("valid as email" in line for line in demo["email"].evidence)
    values = {str(make(i)) for make, _ in DEMO.values() for i in range(ROWS)}
    long = {value for value in values if len(value) > 6 and value not in DEMO}
    for found in demo.values():
        assert not any(value in line for line in found.evidence for value in long)


def test_free_text_says_what_it_contains(demo: dict[str, ColumnClassification]) -> None:
    contained = {c.classification: c.rows for c in demo["clinical_note"].contains}
    assert contained["person_name"] > 0.95 * ROWS
    assert contained["phone"] > 0.95 * ROWS
    assert contained["medical_record_number"] > 0.95 * ROWS


@pytest.mark.parametrize(
    ("values", "classification"),
    [
        (_column(lambda i: f"user{i}@example.org"), "email"),
        (_column(_ssn), "ssn"),
        (_column(_npi), "npi"),
        (_column(_name), "person_name"),
        (_column(lambda i: f"10.1.{i % 256}.7"), "ip_address"),
        (_column(lambda i: f"{i + 1} Main Street"), "street_address"),
        (_column(lambda i: f"+49 151 2{i:07d}"), "phone"),
        (_column(lambda i: f"https://example.org/{i}"), "url"),
        (_column(lambda i: str(dt.date(2020, 1, 1) + dt.timedelta(days=i))), "date"),
        (_column(lambda i: ["73211009", "38341003", "195967001", "22298006", "44054006", "13645005", "84114007", "56265001",
                            "35489007", "48694002", "40930008", "235595009"][i % 12]), "health_condition"),
        (_column(lambda i: f"AKIA{i:04d}ABCDEFGHIJKL"), "secret"),
    ],
)  # fmt: skip
def test_values_decide_without_a_header(values: list[str], classification: str) -> None:
    assert _one("c17", values).classification == classification


@pytest.mark.parametrize(
    "values",
    [
        _column(lambda i: i),
        _column(lambda i: RANDOM.randrange(10**9)),
        _column(lambda i: RANDOM.randrange(10**15, 10**16)),
        _column(lambda i: RANDOM.randrange(10**9, 10**10)),
        _column(lambda i: round(RANDOM.random() * 1000, 2)),
        _column(lambda i: str(RANDOM.randrange(10**9))),
        _column(lambda i: str(RANDOM.randrange(10**15, 10**16))),
        _column(lambda i: str(uuid.UUID(int=RANDOM.getrandbits(128)))),
        _column(lambda i: f"{i:012x}"),
        _column(lambda i: f"A-{i}"),
        _column(lambda i: f"{RANDOM.random() * 90:.1f}%"),
        _column(lambda i: "constant"),
        _column(lambda i: i % 2 == 0),
    ],
)
def test_harmless_columns_raise_no_alarm(values: list[Any]) -> None:
    assert _one("c17", values).classification == "none"


@pytest.mark.parametrize(
    ("name", "values", "classification"),
    [
        ("ssn", _column(lambda i: int(_ssn(i).replace("-", ""))), "ssn"),
        ("phone", _column(lambda i: 4155550000 + i), "phone"),
        ("zip", _column(lambda i: 10001 + i), "postal_code"),
        ("zip", _column(lambda i: float(10001 + i)), "postal_code"),
        ("npi", _column(lambda i: int(_npi(i))), "npi"),
        ("mrn", _column(lambda i: 1000000 + i), "medical_record_number"),
        ("age", _column(lambda i: Decimal(i % 100)), "age"),
        ("latitude", _column(lambda i: 40 + i / 997), "geo_coordinates"),
        ("hiv_status", _column(lambda i: i % 7 == 0), "health_condition"),
        ("email", _column(lambda i: i), "none"),
        ("age", _column(lambda i: 100000 + i), "none"),
        ("email", _column(lambda i: "yes"), "none"),
        ("state", _column(lambda i: ["Bayern", "Hessen", "Berlin"][i % 3]), "jurisdiction"),
    ],
)
def test_header_and_numbers(name: str, values: list[Any], classification: str) -> None:
    assert _one(name, values).classification == classification


def test_columns_without_values() -> None:
    assert _one("foo", [None] * 9, pa.string()).classification == "unclassified"
    assert _one("foo", [None] * 9).classification == "unclassified"
    assert _one("foo", ["", "N/A", "-"]).classification == "unclassified"
    decisive = _one("social_security_number", [None] * 9, pa.string())
    assert decisive.classification == "ssn"
    assert "there is no value to check" in decisive.evidence


def test_nested_dictionary_and_binary_columns() -> None:
    emails = _column(lambda i: f"user{i}@example.org", 50)
    table = pa.table(
        {
            "contact": pa.array(
                [{"email": e, "tags": ["a"], "deep": {"ssn": "123-45-6789"}} for e in emails]
            ),
            "mails": pa.array([[e, e] for e in emails]),
            "coded": pa.array(emails).dictionary_encode(),
            "attributes": pa.array([[("k", e)] for e in emails], pa.map_(pa.string(), pa.string())),
            "raw": pa.array([e.encode() for e in emails], pa.binary()),
            "picture": pa.array([b"\xff\xd8\xff\xe0" + bytes([i, 255, 254]) for i in range(50)], pa.binary()),
            "blob": pa.array([bytes([255, i, 254, 0]) for i in range(50)], pa.binary()),
            "wide": pa.array(emails, pa.large_string()),
            "view": pa.array(emails, pa.string_view()),
        }
    )
    found = {name: c.classification for name, c in classify_table(table).items()}
    assert found == {
        "contact.email": "email",
        "contact.tags": "none",
        "contact.deep.ssn": "ssn",
        "mails": "email",
        "coded": "email",
        "attributes.key": "none",
        "attributes.value": "email",
        "raw": "email",
        "picture": "photo",
        "blob": "unclassified",
        "wide": "email",
        "view": "email",
    }


def test_what_is_nested_too_deep_or_too_wide_is_unclassified() -> None:
    kind: pa.DataType = pa.string()
    value: Any = "x"
    for _ in range(12):
        kind, value = pa.struct([("a", kind)]), {"a": value}
    wide = pa.struct([(f"f{i}", pa.int8()) for i in range(6_000)])
    table = pa.table({"deep": pa.array([value], kind), "wide": pa.nulls(1, wide)})
    assert {c.classification for c in classify_table(table).values()} == {"unclassified"}


def test_empty_table_zero_columns_and_duplicate_names() -> None:
    assert classify_table(pa.table({})) == {}
    assert (
        classify_table(pa.schema([("email", pa.string())]).empty_table())["email"].classification == "email"
    )
    twice = pa.Table.from_arrays([pa.array(["a@b.org"] * 9), pa.array([1] * 9)], names=["x", "x"])
    assert list(classify_table(twice)) == ["x", "x#2"]


def test_invalid_utf8_huge_values_emoji_and_rtl() -> None:
    broken = pa.array([b"caf\xe9 user@example.org", b"\xff\xfe"] * 20, pa.binary()).view(pa.string())
    table = pa.table(
        {
            "broken": broken,
            "huge": pa.array(["x" * 10_000_000] + ["A1b2" * 5] * 39),
            "emoji": pa.array(["🎉🎊 مرحبا بالعالم"] * 40),
        }
    )
    assert set(classify_table(table)) == {"broken", "huge", "emoji"}


def test_identifiers_hidden_in_a_short_column_are_reported() -> None:
    values = _column(lambda i: "billing" if i % 10 else f"user{i}@example.org")
    found = _one("topic", values)
    assert found.classification == "free_text"
    assert [(c.classification, c.rows) for c in found.contains] == [("email", 30)]


def test_a_sentence_among_short_values_is_searched_like_prose() -> None:
    values = _column(lambda i: "great product" if i % 4 else "late again, my name is Anna Schmidt")
    found = _one("comment", values)
    assert [c.classification for c in found.contains] == ["person_name"]


def test_streaming_equals_the_whole_and_settles_early() -> None:
    emails = [f"user{i}@example.org" for i in range(20_000)]
    table = pa.table({"email": emails, "n": list(range(20_000))})
    scanner = TableScanner(table.schema)
    for batch in table.to_batches(max_chunksize=2_000):
        scanner.update(batch)
    found = scanner.finish()
    assert {n: c.classification for n, c in found.items()} == {"email": "email", "n": "none"}
    assert found["n"].values_read == found["n"].rows == 20_000
    assert found["email"].rows == 20_000
    whole = classify_table(table)
    assert whole["email"].classification == "email"


def test_a_settled_column_says_how_much_it_read() -> None:
    table = pa.table({"email": [f"user{i}@example.org" for i in range(60_000)]})
    scanner = TableScanner(table.schema)
    for batch in table.to_batches(max_chunksize=30_000):
        scanner.update(batch)
    found = scanner.finish()["email"]
    assert 30_000 <= found.values_read < found.rows == 60_000
    assert found.miss_bound == pytest.approx(1 - 0.05 ** (1 / found.values_read))


def test_a_sample_states_its_bound() -> None:
    table = pa.table({"email": [f"user{i}@example.org" for i in range(5_000)]})
    scanner = TableScanner(table.schema, sample=1_000)
    for batch in table.to_batches(max_chunksize=700):
        scanner.update(batch)
    found = scanner.finish()["email"]
    assert (found.classification, found.values_read, found.rows) == ("email", 1_000, 5_000)
    assert found.miss_bound == pytest.approx(0.003, abs=1e-4)


def test_a_sample_is_spread_over_the_stream() -> None:
    table = pa.table({"n": np.arange(100_000)})
    scanner = TableScanner(table.schema, sample=2_000)
    for batch in table.to_batches(max_chunksize=9_000):
        scanner.update(batch)
    drawn = scanner._reservoir.column("n").to_numpy()
    assert abs(drawn.mean() - 50_000) < 3_000


_CELLS = st.one_of(
    st.none(), st.text(max_size=40), st.sampled_from(["a@b.org", "123-45-6789", "+49 30 1234567"])
)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30), st.lists(_CELLS, max_size=60))
def test_any_column_gets_an_answer(name: str, cells: list[str | None]) -> None:
    found = classify_table(pa.table([pa.array(cells, pa.string())], names=[name]))
    assert len(found) == 1
    assert 0.0 <= next(iter(found.values())).confidence <= 1.0


def test_numbers_that_only_look_like_identifiers_are_harmless() -> None:
    table = pa.table(
        {
            "gtin": [f"0{RANDOM.randrange(10**13):013d}" for _ in range(200)],
            "app_version": [f"{i % 4}.{i % 20}.{i % 9}.{i % 6}" for i in range(200)],
            "order_no": [RANDOM.randrange(10**9, 10**10) for _ in range(200)],
        }
    )
    assert {name: found.classification for name, found in classify_table(table).items()} == dict.fromkeys(
        table.column_names, "none"
    )
