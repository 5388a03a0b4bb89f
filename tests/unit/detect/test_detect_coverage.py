"""Every HIPAA identifier and special category has detectors that fire; the table in docs/detection.md says which."""

from __future__ import annotations

import base64
import os
import re
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import pyarrow as pa
import pytest

from governance.detect import classify_table, classify_text, taxonomy
from governance.detect.classifications import HIPAA_IDENTIFIERS, SPECIAL_CATEGORIES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "detection.md"
ROWS = 60
PNG = "iVBORw0KGgoAAAANSUhEU"
TEMPLATES = [base64.b64encode(b"FMR\0 20\0" + bytes(range(n, n + 40))).decode() for n in (1, 9)]
"""Finger minutiae records (ISO/IEC 19794-2)."""

# classification: (header, values, text)
EXAMPLES: dict[str, tuple[str, list[str], str]] = {
    "person_name": ("patient_name", ["Maria Gonzalez", "Smith, John", "Anna Schmidt", "Peter Müller"], "Ms. Anna Schmidt called"),
    "given_name": ("first_name", ["Maria", "John", "Anna", "Peter"], ""),
    "family_name": ("last_name", ["Gonzalez", "Smith", "Schmidt", "Müller"], ""),
    "email": ("email", ["a@example.org", "b.c@example.com"], "write to jane.doe@example.org"),
    "phone": ("phone", ["(415) 555-2671", "415-555-2672"], "call 415-555-2671"),
    "street_address": ("street_address", ["123 Main Street", "9 Oak Avenue"], "lives at 123 Main Street Apt 4."),
    "city": ("city", ["Berlin", "Chicago", "Madrid"], "She moved to San Francisco last year"),
    "postal_code": ("zip_code", ["90210", "10115-1234", "60601"], "zip code: 90210"),
    "geo_coordinates": ("latitude", ["41.8781", "52.5200"], "at 41.87811, -87.62981 today"),
    "date_of_birth": ("date_of_birth", ["1980-02-29", "1975-03-04"], "DOB 03/04/1975"),
    "date": ("admission_date", ["2024-01-31", "2024-02-11"], "seen on 2024-01-31."),
    "age": ("age", ["42", "93", "71"], "a 93 years old man"),
    "ssn": ("ssn", ["123-45-6789", "219-09-9999"], "SSN 123-45-6789."),
    "national_id": ("dni", ["12345678Z", "87654321X"], "DNI 12345678Z"),
    "passport": ("passport_number", ["C01234567", "X9876543"], "passport number: C01234567"),
    "driver_license": ("certificate_number", ["B-1234567", "B-7654321"], "birth certificate number 2004-118832"),
    "medical_record_number": ("mrn", ["MRN-00123456", "MRN-00123457"], "(MRN-00123456)"),
    "health_plan_id": ("insurance_member_id", ["1EG4-TE5-MK73", "XYZ123456789"], "member ID: XYZ123456789"),
    "account_number": ("account_number", ["00123456789", "00987654321"], "account number 12345678"),
    "npi": ("npi", ["1234567893", "1245319599"], "NPI: 1234567893"),
    "iban": ("iban", ["DE89370400440532013000", "GB29NWBK60161331926819"], "pay DE89 3704 0044 0532 0130 00 now"),
    "credit_card": ("card_number", ["4111111111111111", "5500005555555559"], "card 4111 1111 1111 1111, thanks"),
    "ip_address": ("ip_address", ["192.168.0.1", "10.20.30.40"], "from 10.20.30.40."),
    "mac_address": ("mac_address", ["00:1B:44:11:3A:B7", "00:1B:44:11:3A:B8"], "device 00:1B:44:11:3A:B7 seen"),
    "device_id": ("device_serial_number", ["SN-77812345", "SN-77812346"], "serial number: SN-77812345"),
    "vehicle_id": ("license_plate", ["ABC 1234", "XYZ 9876"], "VIN 1HGCM82633A004352"),
    "url": ("website", ["https://example.org/a", "https://example.com/b"], "see https://example.org/p/1 now"),
    "username": ("username", ["jdoe42", "asmith7"], "ask @jane_doe about it"),
    "customer_id": ("customer_id", ["C-0012345", "C-0012346"], "customer number C-0012345"),
    "secret": ("api_key", ["AKIAIOSFODNN7EXAMPLE", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"], "key AKIAIOSFODNN7EXAMPLE here"),
    "ethnicity": ("ethnicity", ["Asian", "Hispanic or Latino", "White"], "Ethnicity: Hispanic or Latino"),
    "religion": ("philosophical_belief", ["Humanist", "Roman Catholic", "Muslim"], "Religion: Roman Catholic"),
    "political_opinion": ("party_affiliation", ["Democrat", "Republican"], "Party affiliation: Democrat"),
    "sexual_orientation": ("sexual_orientation", ["heterosexual", "bisexual"], "Sexual orientation: bisexual"),
    "trade_union": ("trade_union_membership", ["ver.di", "IG Metall", "UAW"], "she is a member of IG Metall since 2019"),
    "health_condition": ("diagnosis", ["Type 2 diabetes mellitus", "Asthma", "Hypertension"], "Diagnosis: type 2 diabetes"),
    "medication": ("medication", ["Metformin 500 mg", "lisinopril"], "takes metformin 500 mg"),
    "genetic": ("genetic_variant", ["rs1234567", "rs7654321"], "carries rs1234567."),
    "biometric": ("fingerprint_template", TEMPLATES, "fingerprint ID: FP-883421"),
    "photo": ("patient_photo", [f"data:image/png;base64,{PNG}g==", f"data:image/png;base64,{PNG}h=="], "photo: IMG_2231.jpg"),
    "criminal_record": ("criminal_conviction", ["fraud", "none", "theft"], "convicted of fraud in 2019"),
}  # fmt: skip
CASES = {"E": ("fax_number", ["(415) 555-2671", "415-555-2672"], "Fax: 415 555 2671")}
"""Letters whose classification has others too: shown by a case of their own."""


@cache
def _in_columns() -> frozenset[str]:
    table = pa.table({header: list(islice(cycle(values), ROWS)) for header, values, _ in EXAMPLES.values()})
    found = classify_table(table)
    return frozenset(
        name for name, (header, _, _) in EXAMPLES.items() if found[header].classification == name
    )


@cache
def _in_text() -> frozenset[str]:
    names = [name for name, (_, _, text) in EXAMPLES.items() if text]
    found = classify_text([EXAMPLES[name][2] for name in names])
    return frozenset(
        name for name, row in zip(names, found, strict=True) if name in {f.classification for f in row}
    )


def _cell(names: list[str], fired: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in names if name in fired) or "–"


def _table() -> str:
    entries = [e for e in taxonomy().values() if e.name in EXAMPLES]
    rows = [
        (f"HIPAA ({letter}) {title}", [e.name for e in entries if letter in e.hipaa])
        for letter, title in HIPAA_IDENTIFIERS.items()
    ]
    rows += [
        (f"GDPR Art. 9(1) {category}", [e.name for e in entries if e.special_category == category])
        for category in SPECIAL_CATEGORIES
    ]
    rows.append(
        ("GDPR Art. 10 criminal convictions and offences", [e.name for e in entries if "10" in e.gdpr])
    )
    lines = ["| identifier | in columns | in text |", "|---|---|---|"]
    lines += [
        f"| {title} | {_cell(names, _in_columns())} | {_cell(names, _in_text())} |" for title, names in rows
    ]
    return "\n".join(lines)


def test_every_classification_of_law_has_an_example() -> None:
    of_law = {e.name for e in taxonomy().values() if e.hipaa or e.special_category or "10" in e.gdpr}
    assert of_law <= set(EXAMPLES)


def test_every_identifier_and_category_is_found_in_columns_and_in_text() -> None:
    entries = taxonomy().values()
    for fired in (_in_columns(), _in_text()):
        assert {letter for e in entries if e.name in fired for letter in e.hipaa} == set(HIPAA_IDENTIFIERS)
        assert {e.special_category for e in entries if e.name in fired} - {None} == set(SPECIAL_CATEGORIES)
        assert "criminal_record" in fired


@pytest.mark.parametrize("letter", list(CASES))
def test_a_letter_that_shares_its_classification_is_found_by_itself(letter: str) -> None:
    header, values, text = CASES[letter]
    column = classify_table(pa.table({header: list(islice(cycle(values), ROWS))}))[header]
    assert letter in taxonomy()[column.classification].hipaa
    assert any(letter in taxonomy()[f.classification].hipaa for f in classify_text([text])[0])


def test_the_page_has_the_table() -> None:
    page = PAGE.read_text("utf-8")
    head, rest = page.split("<!-- coverage -->\n")
    expected = f"{head}<!-- coverage -->\n{_table()}\n{rest[rest.index('<!-- end coverage -->') :]}"
    if os.environ.get("GOVERNANCE_REGENERATE"):
        PAGE.write_text(expected, "utf-8")
        page = PAGE.read_text("utf-8")
    assert page == expected
    assert not re.search(r"\| – \|$", _table(), re.M)
