"""Signed notes against the vectors of golang.org/x/mod/sumdb/note and of the C2SP specifications."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import LogError
from governance.log import note
from governance.log.note import VerifierKey, open_note, parse_checkpoint, read_checkpoint, sign_note, vkey_of
from tests.signing_key import Key

# golang.org/x/mod/sumdb/note, note_test.go.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = (
    TEXT + "\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# The example of c2sp.org/tlog-checkpoint, whose key is not published: its form is the vector.
EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)


ORIGIN = "example.com/log"
KEY = Key(bytes(range(32)))
PINNED = vkey_of(ORIGIN, KEY.public_key)


def checkpoint(text: str, key: Key = KEY, name: str = ORIGIN) -> str:
    return sign_note(text, name, key)


def test_signs_and_verifies_the_published_note() -> None:
    key = Key(SEED)
    assert vkey_of("PeterNeumann", key.public_key) == VKEY
    assert sign_note(TEXT, "PeterNeumann", key) == NOTE
    assert open_note(NOTE, [VerifierKey.parse(VKEY)]) == TEXT


def test_reads_the_checkpoint_of_the_specification() -> None:
    found = read_checkpoint(EXAMPLE)
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert note.checkpoint_text(found.origin, found.size, found.root) == found.text
    (signature,) = note.split_note(EXAMPLE)[1]
    assert signature.name == found.origin
    assert len(signature.value) == 64


def test_a_checkpoint_travels() -> None:
    signed = checkpoint(note.checkpoint_text(ORIGIN, 7, bytes(32)))
    found = parse_checkpoint(signed, PINNED)
    assert (found.origin, found.size, found.root, found.note) == (ORIGIN, 7, bytes(32), signed)


@given(st.integers(0, len(VKEY) - 1), st.integers(1, 127))
def test_a_mangled_key_is_refused(position: int, change: int) -> None:
    mangled = VKEY[:position] + chr(ord(VKEY[position]) ^ change) + VKEY[position + 1 :]
    with pytest.raises(LogError) as caught:
        VerifierKey.parse(mangled)
    assert caught.value.code == "GOV-506"


@pytest.mark.parametrize("start", range(len(VKEY)))
def test_a_cut_key_is_refused(start: int) -> None:
    for part in (VKEY[start + 1 :], VKEY[:start]):
        with pytest.raises(LogError, match="GOV-506"):
            VerifierKey.parse(part)


def test_keys_of_other_algorithms_and_lengths_are_refused() -> None:
    for vkey in (
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ):
        with pytest.raises(LogError, match="GOV-506"):
            VerifierKey.parse(vkey)


@given(st.integers(0, len(NOTE) - 1), st.characters(codec="utf-8"))
def test_one_changed_character_is_found(position: int, character: str) -> None:
    mangled = NOTE[:position] + character + NOTE[position + 1 :]
    if mangled != NOTE:
        with pytest.raises(LogError) as caught:
            open_note(mangled, [VerifierKey.parse(VKEY)])
        assert caught.value.code == "GOV-506"


@given(st.text(max_size=200))
def test_no_text_crashes_the_parser(text: str) -> None:
    for candidate in (text, text + "\n\n" + text + "\n", TEXT + "\n" + text + "\n"):
        with pytest.raises(LogError):
            parse_checkpoint(candidate, PINNED)


def test_unknown_signatures_are_ignored_and_wrong_ones_are_not() -> None:
    text = note.checkpoint_text(ORIGIN, 3, bytes(32))
    signed = checkpoint(text)
    witness = sign_note(text, "witness.example/w", Key(bytes(32))).removeprefix(text + "\n")
    assert parse_checkpoint(signed + witness, PINNED).size == 3
    assert parse_checkpoint(text + "\n" + witness + signed.removeprefix(text + "\n"), PINNED).size == 3
    with pytest.raises(LogError, match="not signed by the pinned key"):
        parse_checkpoint(text + "\n" + witness, PINNED)
    forged = VerifierKey.of(ORIGIN, KEY.public_key).key_id + bytes(64)
    with pytest.raises(LogError, match="altered"):
        parse_checkpoint(signed + f"— {ORIGIN} {base64.b64encode(forged).decode()}\n", PINNED)


def test_the_same_name_with_another_key_is_another_signer() -> None:
    text = note.checkpoint_text(ORIGIN, 3, bytes(32))
    with pytest.raises(LogError, match="not signed by the pinned key"):
        parse_checkpoint(checkpoint(text, Key(bytes(32))), PINNED)


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n3\n",
        f"{ORIGIN}\n03\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n-3\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n3\n{base64.b64encode(bytes(31)).decode()}\n",
        f"{ORIGIN}\n3\n{base64.b64encode(bytes(32)).decode()} \n",
        f"{ORIGIN}\n3\n{base64.b64encode(bytes(32)).decode()}\n\nmore\n",
        f"other.example\n3\n{base64.b64encode(bytes(32)).decode()}\n",
    ],
)
def test_signed_text_that_is_no_checkpoint_of_this_log_is_refused(text: str) -> None:
    with pytest.raises(LogError) as caught:
        parse_checkpoint(checkpoint(text), PINNED)
    assert caught.value.code == "GOV-506"


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb", "x" * 256])
def test_names_that_are_not_allowed(name: str) -> None:
    with pytest.raises(LogError, match="GOV-506"):
        vkey_of(name, bytes(32))


def test_text_that_cannot_be_a_note_is_not_signed() -> None:
    for text in ("no newline", "a\rb\n"):
        with pytest.raises(ValueError, match="note"):
            sign_note(text, ORIGIN, KEY)


def test_a_note_with_too_many_signatures_is_refused() -> None:
    line = NOTE.removeprefix(TEXT + "\n")
    assert open_note(TEXT + "\n" + line * 16, [VerifierKey.parse(VKEY)]) == TEXT
    with pytest.raises(LogError, match="more than 64"):
        open_note(TEXT + "\n" + line * 65, [VerifierKey.parse(VKEY)])
