"""Tags of redacted text carry what they stand for, and only its own key takes it out again."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import ProtectionError
from governance.keys.text_tokens import ALPHABET, TextKey, text_keys
from governance.protect.transforms import transform
from governance.protect.transforms.text_tokens import RowKeys, with_tokens, without_tokens

KEY, OTHER = TextKey(bytes(range(64))), TextKey(bytes(64))
PIECE = st.text("ab [].:NAME@é1", max_size=4)


def of(key: TextKey | None) -> RowKeys:
    return lambda rows: [key] * len(rows)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(PIECE, st.text("ab 1é@", min_size=1, max_size=5)), min_size=1, max_size=4), PIECE)
def test_what_was_taken_out_comes_back_whatever_stands_around_it(
    spans: list[tuple[str, str]], last: str
) -> None:
    text = "".join(kept + taken for kept, taken in spans) + last
    redacted = "".join(f"{kept}[NAME]" for kept, _ in spans) + last
    before = pa.array([None, "nothing found", text], pa.large_string())
    tagged = with_tokens(before, pa.array([None, "nothing found", redacted], pa.large_string()), of(KEY))
    assert tagged[:2].equals(before[:2])
    if "[NAME:" in text:
        return
    assert "[NAME]" not in tagged[2].as_py() or "[NAME]" in text
    assert without_tokens(tagged, of(KEY)).equals(before)
    assert without_tokens(tagged, of(OTHER)).equals(tagged)


def test_a_token_is_letters_hides_its_values_length_and_opens_under_its_tag_only() -> None:
    short, long = KEY.seal("Bo", "NAME"), KEY.seal("Bartholomew Yu", "NAME")
    assert len(short) == len(long)
    assert re.fullmatch(f"[{ALPHABET}]+", short + long)
    assert KEY.seal("Bo", "NAME") == short
    assert KEY.open(long, "NAME") == "Bartholomew Yu"
    assert KEY.open(long, "EMAIL") is None
    for token in ("", "b", short[:-2], ("b" if short[0] != "b" else "c") + short[1:], short + "bbbbbbbb"):
        assert KEY.open(token, "NAME") is None


def test_a_text_that_its_tags_do_not_fit_and_a_row_without_a_key_keep_plain_tags() -> None:
    before, other = pa.array(["call Ann", "call Bob"]), pa.array(["[NAME], call", "call [NAME]"])
    assert with_tokens(before, other, lambda _: [KEY, None]).equals(other)


def test_everybody_of_a_row_has_a_part_in_its_key() -> None:
    secrets = np.frombuffer(bytes(range(96)) + bytes(32), np.uint8).reshape(4, 32)
    rows = np.array([[0, -1], [0, 1], [1, 0], [-1, 0], [0, -2], [0, 3], [0, 1]])
    keys = text_keys(b"s" * 32, rows, lambda ordinals: secrets[ordinals], "customer", "letters", "letter")
    assert [key is None for key in keys] == [False, False, False, True, True, True, False]
    tokens = [key.seal("Ann", "NAME") for key in keys if key is not None]
    assert tokens[1] == tokens[3]
    assert len(set(tokens)) == 3
    (elsewhere,) = text_keys(b"s" * 32, rows[:1], lambda o: secrets[o], "customer", "letters", "note")
    assert elsewhere is not None
    assert elsewhere.open(tokens[0], "NAME") is None
    with pytest.raises(TypeError):
        elsewhere.__reduce__()


def test_the_argument_is_a_switch() -> None:
    with pytest.raises(ProtectionError) as caught:
        transform("redact").output_type(pa.string(), {"reversible": "yes"})
    assert caught.value.code == "GOV-305"
