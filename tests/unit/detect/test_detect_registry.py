"""The YAML tables: their examples are their tests, and a bad detector is refused with the reason."""

from __future__ import annotations

import pyarrow as pa
import pytest
import re2

from governance.detect import dictionaries, registry, taxonomy
from governance.detect.registry import (
    ColumnDetector,
    TextDetector,
    ValueTest,
    column_registry,
    text_detectors,
)
from governance.detect.text import engine
from governance.detect.validators import VALIDATORS
from governance.errors import SettingError
from governance.model.classification import FREE_TEXT, HARMLESS, UNCLASSIFIED

PAPER = """person_name given_name family_name email phone street_address city postal_code country jurisdiction date_of_birth
date age ssn national_id passport driver_license medical_record_number health_plan_id account_number npi iban credit_card
ip_address mac_address device_id vehicle_id url username customer_id gender ethnicity religion political_opinion
sexual_orientation trade_union health_condition medication genetic biometric photo geo_coordinates secret free_text"""


def _passes(test: ValueTest, value: str) -> bool:
    return (
        (test.pattern is None or re2.fullmatch(test.pattern, value) is not None)
        and (test.dictionary is None or dictionaries.contains(test.dictionary, value))
        and (test.validator is None or VALIDATORS[test.validator](value))
    )


@pytest.mark.parametrize(
    ("detector", "value", "expected"),
    [
        pytest.param(d, value, expected, id=f"{d.classification}-{number}")
        for d in column_registry().detectors
        for number, (value, expected) in enumerate(d.examples)
    ],
)
def test_column_examples(detector: ColumnDetector, value: str, expected: bool) -> None:
    assert any(_passes(test, value) for test in detector.tests) is expected


@pytest.mark.parametrize(
    ("detector", "text", "expected"),
    [
        pytest.param(d, text, expected, id=f"{d.name}-{number}")
        for d in text_detectors()
        for number, (text, expected) in enumerate(d.examples)
    ],
)
def test_text_examples(detector: TextDetector, text: str, expected: bool) -> None:
    index = engine().detectors.index(detector)
    assert bool(list(engine().found(index, text.encode()))) is expected
    if expected:
        hits = engine().hits(pa.array([text]))
        assert hits.detectors and index in hits.detectors[0], "its sieve keeps its own example out"


def test_every_detector_has_a_text_that_matches_or_a_test_of_its_own() -> None:
    stated = {d.classification for d in column_registry().detectors}
    assert stated | {UNCLASSIFIED} == set(taxonomy())


def test_taxonomy_covers_the_paper_and_all_eighteen_identifiers() -> None:
    assert set(PAPER.split()) | {HARMLESS, UNCLASSIFIED} == set(taxonomy())
    letters = {entry.hipaa for entry in taxonomy().values()} - {None}
    # Fax numbers, letter E, are phones.
    assert letters == set("ABCDFGHIJKLMNOPQR")
    special = {name for name, entry in taxonomy().items() if entry.special_category}
    assert all(taxonomy()[name].gdpr == "9(1)" for name in special)
    assert {"health_condition", "ethnicity", "genetic", "biometric", "religion", "trade_union"} <= special
    assert taxonomy()[FREE_TEXT].sensitivity == "restricted"


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "not RE2"),
        ("a*", "empty string"),
        (r"(?:[\p{L}]{1,60}\d{1,60}){1,9}", "too large"),
        (r"(?=a)b", "not RE2"),
    ],
)
def test_a_bad_pattern_is_refused_with_the_reason(pattern: str, reason: str) -> None:
    with pytest.raises(SettingError) as caught:
        registry._checked(pattern, "detectors.yaml: entry 7 (email)")
    assert caught.value.code == "GOV-901"
    assert "entry 7" in caught.value.message
    assert reason in caught.value.message


def test_an_unknown_validator_or_classification_is_refused() -> None:
    with pytest.raises(SettingError, match="no validator is named luck"):
        registry._value_test({"validator": "luck"}, "here")
    with pytest.raises(SettingError, match="no classification"):
        registry._known("shoe_size", "here")
