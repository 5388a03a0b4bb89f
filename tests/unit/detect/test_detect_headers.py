"""Column names: whole words in several languages, never substrings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.detect.columns.headers import read_header, words


def _says(header: str) -> set[str]:
    evidence = read_header(header)
    return set() if evidence.negated else {m.detector.classification for m in evidence.matches if m.decisive}


@pytest.mark.parametrize(
    ("header", "classification"),
    [
        ("dateOfBirth", "date_of_birth"),
        ("Geburtsdatum", "date_of_birth"),
        ("date_de_naissance", "date_of_birth"),
        ("Fecha de Nacimiento", "date_of_birth"),
        ("IPAddress", "ip_address"),
        ("mailingzipcode", "postal_code"),
        ("agentprincipalcity", "city"),
        ("correo_electr_nico", "email"),
        ("Teléfono", "phone"),
        ("STRASSE", "street_address"),
        ("ssn", "ssn"),
        ("address1", "street_address"),
        ("patientId", "medical_record_number"),
        ("Kundennummer", "customer_id"),
        ("insurance_member_id", "health_plan_id"),
        ("n° sécu", "national_id"),
        ("Nº tel", "phone"),
        ("Krankheitstage", "health_condition"),
        ("Schwerbehinderung", "health_condition"),
    ],
)
def test_names_in_four_languages(header: str, classification: str) -> None:
    assert classification in _says(header)


@pytest.mark.parametrize(
    "header", ["acid", "cid", "covid", "passage", "package", "manage_flag", "email_opt_in_count", "phone_type", "age_group",
               "mean_age", "assn", "zippered", "spin", "stage", "capacity"]
)  # fmt: skip
def test_no_substrings_and_no_counts(header: str) -> None:
    assert not _says(header) - {"none"}


def test_a_longer_phrase_hides_a_shorter_one() -> None:
    assert "street_address" not in _says("email_address")
    assert "person_name" not in _says("file_name")


def test_words() -> None:
    assert words("HTTPServerName2") == ["http", "server", "name", "2"]
    assert words("mailingzipcode") == ["mailing", "zipcode"]


@given(st.text(max_size=300))
def test_any_header_is_read(header: str) -> None:
    read_header(header)
