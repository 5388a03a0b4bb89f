"""What counts as naming a subject: in text by whole words, in rows by pseudonym or suppression mark."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.rights.holdings import Wanted
from governance.rights.searching import _Named

PSEUDONYM = "0123456789abcdef" * 2
IDENTIFIERS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=4, max_size=12).map(str.strip)


@settings(max_examples=60, deadline=None)
@given(IDENTIFIERS.filter(lambda text: len(text) >= 4), st.booleans())
def test_an_identifier_is_found_however_json_wrote_it(identifier: str, ascii_only: bool) -> None:
    body = json.dumps({"job": {"name": f"for {identifier}, again"}}, ensure_ascii=ascii_only).encode()
    assert _Named([identifier], ())(body)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"id": "MRN-0017"}', True),
        (b"MRN-0017", True),
        (b'{"id": "MRN-00171"}', False),
        (b'{"id": "XMRN-0017"}', False),
        (b'{"id": "MRN-0018"}', False),
        (b'{"id": "mrn-0017"}', False),
        (f'{{"p": "{PSEUDONYM}"}}'.encode(), True),
        (f'{{"digest": "sha256:{PSEUDONYM}{PSEUDONYM}"}}'.encode(), False),
        (b"", False),
    ],
)
def test_only_whole_words_and_whole_pseudonyms_count(body: bytes, named: bool) -> None:
    assert _Named(["MRN-0017", "a.b*c(d"], [PSEUDONYM])(body) is named


def test_thousands_of_identifiers_are_looked_for_at_once() -> None:
    match = _Named([f"C-{number:06d}" for number in range(3_000)], ())
    assert match(b'"C-002999"')
    assert not match(b'"C-003000"')


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=30), st.sets(st.integers(0, 9)), st.booleans()
)
def test_rows_of_wanted_subjects_and_no_others(
    rows: list[int | None], wanted: set[int], encoded: bool
) -> None:
    def pseudonym(number: int) -> bytes:
        return bytes([number]) * 16

    order = sorted(wanted)
    released = np.frombuffer(b"".join(map(pseudonym, order)), np.uint8).reshape(-1, 16)
    subjects = Wanted("patient", released, released)
    column = pa.array([None if row is None else pseudonym(row).hex() for row in rows], pa.string())
    places = subjects.places(column.dictionary_encode() if encoded else column)
    assert places.tolist() == [order.index(row) if row in wanted else -1 for row in rows]
    named = subjects.named(
        pa.array([None if row is None else f"id{row}" for row in rows], pa.string()),
        lambda _domain, unique: np.array(
            [[int(text[2:])] * 16 for text in unique.to_pylist()], np.uint8
        ).reshape(-1, 16),
        {"patient"},
    )
    assert named.tolist() == places.tolist()
