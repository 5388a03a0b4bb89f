"""The YAML tables: their examples are their tests, and a bad detector is refused with the reason."""

from __future__ import annotations

import pyarrow as pa
import pytest
import re2

from governance.detect import taxonomy
from governance.detect.classifications import HIPAA_IDENTIFIERS, SPECIAL_CATEGORIES
from governance.detect.detectors import dictionaries
from governance.detect.detectors.detector import DetectorFault, checked_pattern, column_detector, value_test
from governance.detect.detectors.registry import (
    ColumnDetector,
    TextDetector,
    ValueTest,
    column_registry,
    text_detectors,
)
from governance.detect.detectors.validators import named
from governance.detect.text.engine import engine
from governance.model.classification import FREE_TEXT, HARMLESS, UNCLASSIFIED
from governance.protect import transform_names
from governance.protect.safe_harbor import IDENTIFIERS

PAPER = """person_name given_name family_name email phone street_address city postal_code country jurisdiction date_of_birth
date age ssn national_id passport driver_license medical_record_number health_plan_id account_number npi iban credit_card
ip_address mac_address device_id vehicle_id url username customer_id gender ethnicity religion political_opinion
sexual_orientation trade_union health_condition medication genetic biometric criminal_record photo geo_coordinates secret
free_text organization"""


def _passes(test: ValueTest, value: str) -> bool:
    return (
        (test.pattern is None or re2.fullmatch(test.pattern, value) is not None)
        and (test.dictionary is None or dictionaries.contains(test.dictionary, value))
        and (test.validator is None or named(test.validator)(value))
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
    # Organisations stand in text only, and only a model tells them.
    assert stated | {UNCLASSIFIED, "organization"} == set(taxonomy())


def test_taxonomy_covers_the_paper_and_all_eighteen_identifiers() -> None:
    assert set(PAPER.split()) | {HARMLESS, UNCLASSIFIED} == set(taxonomy())
    entries = taxonomy().values()
    assert {letter for entry in entries for letter in entry.hipaa} == set(HIPAA_IDENTIFIERS)
    assert {entry.special_category for entry in entries} - {None} == set(SPECIAL_CATEGORIES)
    assert all(("9(1)" in entry.gdpr) == (entry.special_category is not None) for entry in entries)
    assert "10" in taxonomy()["criminal_record"].gdpr
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
    with pytest.raises(DetectorFault, match=reason) as caught:
        checked_pattern(pattern)
    assert caught.value.code == "GOV-114"


def test_an_unknown_validator_or_classification_is_refused() -> None:
    with pytest.raises(DetectorFault, match="no validator is named luck"):
        value_test({"validator": "luck"}, {})
    with pytest.raises(DetectorFault, match="no classification"):
        column_detector({"classification": "shoe_size"}, taxonomy())


def test_every_classification_has_its_crosswalk_and_a_known_protection() -> None:
    for entry in taxonomy().values():
        assert entry.protect in transform_names(), entry.name
        if entry.name not in (HARMLESS, UNCLASSIFIED):
            assert entry.dpv and all(term.startswith(("pd:", "dpv:")) for term in entry.dpv), entry.name
            assert entry.fides and all(key.split(".")[0] == "user" for key in entry.fides), entry.name
            assert entry.gdpr, entry.name


def test_safe_harbor_and_the_taxonomy_name_the_same_letters() -> None:
    for name, letter in IDENTIFIERS.items():
        assert letter in taxonomy()[name].hipaa, name
