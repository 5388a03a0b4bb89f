"""Cosignatures against what public witnesses signed, and against whoever replays or alters one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import LogError
from governance.log.note import (
    VerifierKey,
    add_signatures,
    checkpoint_text,
    read_checkpoint,
    read_signatures,
    sign_note,
    split_note,
)
from governance.log.witnesses.cosignature import Cosignature, WitnessKey, cosign, cosignatures, time_of
from tests.signing_key import Key

# A checkpoint of a public Certificate Transparency log (staging) of 2026-05-23 with the lines of four public
# witnesses; the log's own two lines are of types this package does not speak.
REAL = """\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQ\
IgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8E\
i59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4Asc\
ylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqm\
NWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0\
DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiO\
vKFYe/TmN9DAg==
"""
# The first is in transparency-dev/formats, note/note_cosigv1_test.go; all three are in public lists of witnesses.
WITNESSES = (
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
)
# The example of c2sp.org/tlog-cosignature, whose keys are not published: its form is the vector.
EXAMPLE = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xe\
McTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe\
+mbIUBkBIfZ+qnA==
"""


LOG, WITNESS = Key(b"\x01" * 32), Key(b"\x02" * 32)
NAME = "witness.example/w1"
PINNED = WitnessKey.of(NAME, WITNESS.public_key)
TEXT = checkpoint_text("example.com/log", 7, bytes(32))
NOTE = add_signatures(sign_note(TEXT, "example.com/log", LOG), [cosign(TEXT, NAME, WITNESS, 1_800_000_000)])


@pytest.mark.parametrize("vkey", WITNESSES)
def test_public_witnesses_verify(vkey: str) -> None:
    key = WitnessKey.parse(vkey)
    assert str(key) == vkey
    assert cosignatures(REAL, [key]) == [Cosignature(key, 1_779_573_024)]


def test_one_pinned_witness_is_enough_to_find_an_altered_checkpoint() -> None:
    with pytest.raises(LogError, match="GOV-512"):
        cosignatures(REAL.replace("1432088532", "1432088533"), [WitnessKey.parse(WITNESSES[0])])


def test_the_example_of_the_specification() -> None:
    assert read_checkpoint(EXAMPLE).size == 20_852_163
    _, line = split_note(EXAMPLE)[1]
    assert (line.name, len(line.value), time_of(line.value)) == ("witness.example.com/w1", 72, 1_679_315_147)
    # transparency-dev/formats, TestCoSigV1Timestamp.
    published = "ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOworDcFiEBYJXORmnFBOBA=="
    [signature] = read_signatures(f"— a.example {published}\n")
    assert time_of(signature.value) == 1_727_964_367


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # type 0x01: signs notes
        "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
        # transparency-dev/formats, TestCoSigV1NewVerifier.
        "bananas.sigstore.dev+12344556",
        "rekor.sigstore.dev+12345678+THIS_IS_NOT_BASE64!",
        "rekor.sigstore.dev+12345678+AwEB",
        "remora.n621.de+da77ade8+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
        "",
    ],
)
def test_other_keys_are_refused(vkey: str) -> None:
    with pytest.raises(LogError, match="GOV-506"):
        WitnessKey.parse(vkey)


def test_a_witness_key_is_no_log_key() -> None:
    with pytest.raises(LogError, match="GOV-506"):
        VerifierKey.parse(WITNESSES[0])


def test_a_cosignature_travels_in_the_note() -> None:
    assert cosignatures(NOTE, [PINNED]) == [Cosignature(PINNED, 1_800_000_000)]
    assert cosignatures(NOTE, [WitnessKey.of("other.example", WITNESS.public_key)]) == []
    assert cosignatures(sign_note(TEXT, "example.com/log", LOG), [PINNED]) == []


def test_it_covers_extension_lines() -> None:
    text = TEXT + "an extension\n"
    note = sign_note(text, "example.com/log", LOG)
    note = add_signatures(note, [cosign(text, NAME, WITNESS, 1)])
    assert cosignatures(note, [PINNED]) == [Cosignature(PINNED, 1)]
    with pytest.raises(LogError, match="GOV-512"):
        cosignatures(note.replace("an ext", "no ext"), [PINNED])


def test_a_replayed_cosignature_is_found() -> None:
    later = checkpoint_text("example.com/log", 8, bytes(32))
    replayed = add_signatures(sign_note(later, "example.com/log", LOG), split_note(NOTE)[1][1:])
    with pytest.raises(LogError, match="GOV-512"):
        cosignatures(replayed, [PINNED])


def test_another_time_is_found() -> None:
    _, line = split_note(NOTE)[1]
    value = (1_900_000_000).to_bytes(8, "big") + line.value[8:]
    forged = base64.b64encode(line.key_id + value).decode()
    note = sign_note(TEXT, "example.com/log", LOG) + f"— {NAME} {forged}\n"
    with pytest.raises(LogError, match="GOV-512"):
        cosignatures(note, [PINNED])


def test_times_beyond_63_bits_do_not_verify() -> None:
    line = cosign(TEXT, NAME, WITNESS, 1 << 63)
    assert not PINNED.verifies(TEXT, line.value)
    assert PINNED.verifies(TEXT, cosign(TEXT, NAME, WITNESS, (1 << 63) - 1).value)


def test_one_key_under_two_names_is_one_witness() -> None:
    twice = add_signatures(NOTE, [cosign(TEXT, "second.example", WITNESS, 5)])
    both = [PINNED, WitnessKey.of("second.example", WITNESS.public_key)]
    assert len(cosignatures(twice, both)) == 1


def test_a_newer_line_takes_the_place_of_the_witnesses_older_one() -> None:
    newer = add_signatures(NOTE, [cosign(TEXT, NAME, WITNESS, 1_800_000_001)])
    assert cosignatures(newer, [PINNED]) == [Cosignature(PINNED, 1_800_000_001)]
    assert newer.count(NAME) == 1


@given(st.binary(max_size=80))
def test_no_value_crashes_the_verifier(value: bytes) -> None:
    assert not PINNED.verifies(TEXT, value)
