"""The sieves of the text engine hold no row back: counts equal those of every detector on every row."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.detect import lexicon, sieves
from governance.detect.text import REPORTED_SCORE, byte_lookup, engine

PIECES = (
    *(text for detector in engine().detectors for text, must in detector.examples if must),
    "Élodie Durand", "J. Smith", "Smith, Anna", "Anna-Lena", "April", "will May", "New York", "–Maria Lopez’s", "José",
    "http://a", "www.b.org", "AA-BB-CC-DD-EE-FF", "fe80::beef:1", "sk-abcdefghijklmnopqrstu", "xoxb-abcdefghijklmnop",
    "AKIAABCDEFGHIJKLMNOP", "k8Fz2LpQ9sVb3XyW7tRm1NcA", "-----BEGIN RSA PRIVATE KEY-----", "Hauptstraße 12", "Überweg 3",
    "po box 12", "name:Jane", "Dr. X", "und", "é", "🙂", "\u05d3\u05d5\u05d3", "محمد",
    "x" * 40, "\n", ".", ",", "-", "'", ":", "=", "@", "9",
)  # fmt: skip


def _naive(rows: list[str | None]) -> Counter[str]:
    matcher, counted = engine(), Counter[str]()
    for row in rows:
        if row is None:
            continue
        data, found = row.encode(), set()
        for index, detector in enumerate(matcher.detectors):
            if detector.score < REPORTED_SCORE or (
                detector.sieve == "capitals" and not any(c.isupper() or c > "\u0590" for c in row)
            ):
                continue
            if next(matcher.found(index, data, unchecked=detector.redact_unchecked), None) is not None:
                found.add(detector.classification)
        if any(kind == lexicon.PERSON for _, _, kind in byte_lookup(data)):
            found.add("person_name")
        counted.update(found)
    return counted


_ROW = st.none() | st.lists(st.sampled_from(PIECES), max_size=4).flatmap(
    lambda pieces: st.sampled_from([" ", "", ", ", ". "]).map(lambda by: by.join(pieces))
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_ROW, max_size=12), st.sampled_from([pa.string(), pa.large_string()]), st.integers(0, 3))
def test_counts_equal_those_without_sieves(rows: list[str | None], kind: pa.DataType, skipped: int) -> None:
    array = pa.array(rows, kind)[skipped:]
    assert engine().contained(array) == _naive(rows[skipped:])


@pytest.mark.parametrize("window", [64, 100, 1 << 12])
def test_a_row_may_lie_in_several_windows(monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    rows = [" ".join(PIECES[n : n + 9]) for n in range(len(PIECES))]
    rows += ["", None, "x" * 300 + " Maria Lopez", "Maria Lopez", ""]
    once = sieves.rows(pa.array(rows)).tolist()
    monkeypatch.setattr(sieves, "WINDOW", window)
    assert sieves.rows(pa.array(rows)).tolist() == once


def test_rows_without_anything_are_not_flagged() -> None:
    plain = [
        "the patient was given new orders",
        "",
        None,
        "Stable today",
        "ongoing follow up, billing address change",
    ]
    assert sieves.rows(pa.array(plain)).tolist() == [0] * len(plain)
    assert sieves.rows(pa.array([], pa.string())).tolist() == []
    assert sieves.rows(pa.nulls(2, pa.string())).tolist() == [0, 0]


def test_a_word_ends_with_its_row() -> None:
    flags = sieves.rows(pa.array(["met Maria", "lopez", "Lopez saw Maria", "Lopez"]))
    assert [bool(flag & sieves.LEXICON) for flag in flags] == [True, False, True, False]
