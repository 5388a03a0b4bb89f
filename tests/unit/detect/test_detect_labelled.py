"""Labelled notes: what is read, what is refused, and how findings are compared with them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.detect.learned.labelled import read_labelled
from governance.detect.learned.merging import merged
from governance.detect.learned.scoring import measure
from governance.detect.text.engine import TextFinding
from governance.errors import ContractFindings

NOTE = "Seen by Zebulon Quist today"


def file_of(folder: Path, *lines: Any) -> Path:
    file = folder / "notes.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    return file


def test_types_are_of_the_taxonomy_or_mapped_or_left_out(tmp_path: Path) -> None:
    spans = [[16, 21, "family_name"], [8, 15, "VORNAME"], [22, 27, "WHEN"]]
    file = file_of(tmp_path, {"text": NOTE, "spans": spans, "id": 7}, "", {"text": "nothing", "spans": []})
    notes = read_labelled(file, {"VORNAME": "given_name", "WHEN": ""})
    assert notes[0].spans == ((8, 15, "given_name"), (16, 21, "family_name"))
    assert notes[1].spans == ()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "no JSON document"),
        ("[" * 100_000, "no JSON document"),
        ("[]", 'no object with a string "text"'),
        ({"text": 5, "spans": []}, 'no object with a string "text"'),
        ({"text": NOTE}, 'no list "spans"'),
        ({"text": NOTE, "spans": [[0, 4]]}, "span 1 is not"),
        ({"text": NOTE, "spans": [[0, 4, None]]}, "span 1 is not"),
        ({"text": NOTE, "spans": [[0.5, 4, "email"]]}, "no integers"),
        ({"text": NOTE, "spans": [[True, 4, "email"]]}, "no integers"),
        ({"text": NOTE, "spans": [[8, 28, "email"]]}, "leaves the 27 characters"),
        ({"text": NOTE, "spans": [[-1, 4, "email"]]}, "leaves the 27 characters"),
        ({"text": NOTE, "spans": [[4, 4, "email"]]}, "is empty"),
        ({"text": NOTE, "spans": [[0, 10**400, "email"]]}, "leaves the 27 characters"),
        ({"text": NOTE, "spans": [[8, 21, "person_name"], [16, 27, "date"]]}, "overlap at character 16"),
        ({"text": NOTE, "spans": [[8, 21, "HERO"]]}, "the type HERO is no classification"),
        ({"text": NOTE, "spans": [[8, 21, "Zebulon Quist"]]}, "withheld"),
    ],
)
def test_a_bad_line_is_named_and_not_quoted(tmp_path: Path, line: Any, fault: str) -> None:
    file = file_of(tmp_path, {"text": NOTE, "spans": [[8, 21, "person_name"]]}, line)
    with pytest.raises(ContractFindings, match="line 2: ") as caught:
        read_labelled(file)
    assert caught.value.code == "GOV-122"
    assert fault in caught.value.message
    assert "Zebulon" not in str(caught.value)


def test_every_fault_is_told_at_once_and_not_without_end(tmp_path: Path) -> None:
    with pytest.raises(ContractFindings) as caught:
        read_labelled(file_of(tmp_path, *["{"] * 500))
    assert len(caught.value.faults) == 21


@pytest.mark.parametrize("lines", [(), ("", ""), ({"text": NOTE, "spans": []},)])
def test_a_file_without_labels_is_refused(tmp_path: Path, lines: tuple[Any, ...]) -> None:
    with pytest.raises(ContractFindings, match="no line has a labelled span"):
        read_labelled(file_of(tmp_path, *lines))


def test_a_missing_file_and_a_wrong_mapping_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractFindings, match="cannot be read"):
        read_labelled(tmp_path / "absent.jsonl")
    with pytest.raises(ContractFindings, match="hero, which is no classification"):
        read_labelled(file_of(tmp_path, {"text": NOTE, "spans": []}), {"X": "hero"})


def test_scores_of_a_known_case() -> None:
    labelled = [[(0, 4, "city"), (10, 20, "person_name")], [(0, 8, "date")]]
    found = [[(0, 4, "city"), (12, 20, "person_name"), (30, 33, "email")], [(2, 4, "age")]]
    scores = measure(labelled, found)
    assert (scores.overall.labelled, scores.overall.found) == (3, 2), "no text labels e-mail or age"
    assert (scores.overall.strict, scores.overall.overlap) == (1, 2)
    assert scores.overall.f1(scores.overall.strict) == pytest.approx(0.4)
    assert scores.character_recall == pytest.approx((4 + 8 + 2) / 22)
    assert scores.by_type["person_name"].strict == 0


KINDS = st.sampled_from(["person_name", "city", "email", "organization", "date"])
FINDINGS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 12), KINDS, st.floats(0, 1)), max_size=12
).map(lambda drawn: [TextFinding(start, start + size, kind, score) for start, size, kind, score in drawn])


@given(rules=FINDINGS, model=FINDINGS)
def test_merged_findings_never_overlap_and_formal_ones_stay(
    rules: list[TextFinding], model: list[TextFinding]
) -> None:
    apart: list[TextFinding] = []
    for finding in rules:
        if all(finding.end <= f.start or f.end <= finding.start for f in apart):
            apart.append(finding)
    both = merged(apart, model)
    assert all(a.end <= b.start for a, b in pairwise(both))
    assert {f for f in apart if f.classification in ("email", "date")} <= set(both)
    assert {at for f in [*apart, *model] for at in range(f.start, f.end)} >= {
        at for f in both for at in range(f.start, f.end)
    }


def test_the_longer_name_wins_and_agreement_raises_its_score() -> None:
    rules = [TextFinding(4, 8, "given_name", 0.5), TextFinding(20, 40, "email", 0.99)]
    model = [TextFinding(4, 14, "person_name", 0.72), TextFinding(18, 30, "organization", 0.9)]
    assert merged(rules, model) == [TextFinding(4, 14, "person_name", 0.95), rules[1]]


def test_of_what_a_model_was_trained_on_only_its_findings_count() -> None:
    rules = [
        TextFinding(0, 4, "city", 0.9),
        TextFinding(10, 20, "phone", 0.9),
        TextFinding(30, 34, "iban", 0.99),
        TextFinding(40, 44, "given_name", 0.6),
    ]
    model = [TextFinding(10, 24, "person_name", 0.6)]
    assert merged(rules, model, {"city", "person_name"}) == [model[0], rules[2]]
