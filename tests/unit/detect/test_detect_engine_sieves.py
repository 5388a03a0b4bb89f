"""The sieves of the text engine hold no row back: counts equal those of every detector on every row."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.detect import classify_text, redact
from governance.detect.text import lexicon, sieves
from governance.detect.text.engine import REPORTED_SCORE, engine

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
        harmless = [span for index in matcher.harmless for span in matcher.found(index, data)]
        for index, detector in enumerate(matcher.detectors):
            if (
                index in matcher.harmless
                or detector.score < REPORTED_SCORE
                or (detector.sieve == "capitals" and not any(c.isupper() or c > "\u0590" for c in row))
            ):
                continue
            spans = matcher.found(index, data, unchecked=detector.redact_unchecked)
            if any(all(e <= a or b <= s for a, b in harmless) for s, e in spans):
                found.add(detector.classification)
        if any(kind == lexicon.PERSON for _, _, kind in lexicon.byte_lookup(data)):
            found.add("person_name")
        counted.update(found)
    return counted


_ROW = st.none() | st.lists(st.sampled_from(PIECES), max_size=4).flatmap(
    lambda pieces: st.sampled_from([" ", "", ", ", ". "]).map(lambda by: by.join(pieces))
)


@pytest.mark.parametrize("loud", [0.0, 1.0])
def test_counts_equal_those_without_sieves(monkeypatch: pytest.MonkeyPatch, loud: float) -> None:
    # Once every byte of every row is classed, once only those of rows that are not all small letters and blanks.
    monkeypatch.setattr(sieves, "_WORTH", loud)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(_ROW, max_size=12), st.sampled_from([pa.string(), pa.large_string()]), st.integers(0, 3))
    def counted(rows: list[str | None], kind: pa.DataType, skipped: int) -> None:
        array = pa.array(rows, kind)[skipped:]
        assert engine().contained(array) == _naive(rows[skipped:])

    counted()


def test_ends_of_sentences_let_no_row_through() -> None:
    prose = ["it was seen. all is well.", "nothing new.", "why? (see above)"] * 3
    assert sieves.rows(pa.array(prose)).tolist() == [0] * len(prose)
    assert sieves.rows(pa.array(["see example.org now", *prose]))[0] & sieves.MARKS


@pytest.mark.parametrize("window", [64, 100, 1 << 12])
@pytest.mark.parametrize("loud", [0.0, 1.0])
def test_a_row_may_lie_in_several_windows(monkeypatch: pytest.MonkeyPatch, window: int, loud: float) -> None:
    monkeypatch.setattr(sieves, "_WORTH", loud)
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


HOSTILE = {
    "zeros": "\x00" * 3_000_000,
    "digits": "1 " * 1_500_000,
    "dashes": "-" * 3_000_000,
    "dots": "a." * 1_500_000,
    "ats": "a@" * 1_500_000,
    "colons": "12:" * 1_000_000,
    "capitals": "Mr. A " * 500_000,
    "names": "Maria Lopez " * 20_000,
    "digits and blanks": ("1" * 40 + " ") * 70_000,
    "emoji": "🙂" * 750_000,
    "right to left": "محمد " * 300_000,
    "joiners": "👩‍⚕️ Ana\u202e Lopez\u202c " * 5_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_long_values_of_one_kind_end(name: str) -> None:
    array = pa.array([HOSTILE[name], "mail a@b.org"])
    counts = engine().contained(array)
    assert counts["email"] >= 1
    assert all(0 < rows <= 2 for rows in counts.values())


def test_many_findings_in_one_text_are_not_compared_with_one_another() -> None:
    text = "a@b.org 2024-01-31 Maria Lopez " * 20_000
    assert len(classify_text([text])[0]) == 60_000
    assert redact(pa.array([text]))[0].as_py() == "[EMAIL] [DATE] [NAME] " * 20_000


def test_a_value_of_a_hundred_megabytes_takes_no_more_memory_than_a_few_of_it() -> None:
    import tracemalloc

    array = pa.array(["word and 12 words. " * (100 * 1024 * 1024 // 19), "mail a@b.org"], pa.large_string())
    sieves.rows(array.slice(1))
    tracemalloc.start()
    flags = sieves.rows(array)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert flags.tolist()[1] & sieves.MARKS
    assert peak < 32 * sieves.WINDOW
    assert engine().contained(array) == {"email": 1}


def test_invalid_utf8_counts_as_unknown_characters() -> None:
    broken = [
        b"\xff\xfe a@b.org",
        b"caf\xe9 Maria Lopez",
        b"\xf0\x9f a 4111 1111 1111 1111",
        b"\xed\xa0\x80 10.0.0.1",
        b"\xc3",
    ]
    counts = engine().contained(pa.array(broken, pa.binary()).view(pa.string()))
    assert counts == {"email": 1, "person_name": 1, "credit_card": 1, "ip_address": 1}
