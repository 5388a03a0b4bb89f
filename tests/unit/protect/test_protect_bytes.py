"""Masks and stand-ins judged and read by their bytes say what judging them value by value says."""

from __future__ import annotations

import random
import re

import numpy as np
import pyarrow as pa
import pytest

from governance.protect.transforms import transform
from governance.protect.transforms.identity import blocks_of, hexadecimal

_ARGUMENTS = ({}, {"keep_last": 2}, {"keep_first": 1}, {"keep_last": 3, "with": "#"}, {"with": "é"})


def _is_masked(before: str, after: str, kept: int, character: str, at_end: bool) -> bool:
    sign = re.escape(character)
    partly = f"{sign}+.{{{kept}}}" if at_end else f".{{{kept}}}{sign}+"
    return len(before) == len(after) and re.fullmatch(f"{sign}*|{partly}", after, re.DOTALL) is not None


@pytest.mark.parametrize("arguments", _ARGUMENTS)
def test_a_mask_is_verified_as_its_values_are(arguments: dict[str, object]) -> None:
    choice = random.Random(str(arguments))
    mask = transform("mask")
    kept = int(str(arguments.get("keep_last", arguments.get("keep_first", 0))))
    character = str(arguments.get("with", "*"))
    for round_ in range(250):
        alphabet = f"ab*#-1{'é' if round_ % 5 == 0 else ''}"
        before = [
            None if round_ % 3 == 0 and choice.random() < 0.1 else "".join(choice.choices(alphabet, k=choice.randint(0, 6)))
            for _ in range(choice.randint(1, 5))
        ]  # fmt: skip
        after = [
            value
            and "".join(choice.choices(f"{character}{character}a", k=len(value) + (choice.random() < 0.05)))
            for value in before
        ]
        kind = choice.choice([pa.string(), pa.large_string()])
        given, written = (pa.array(["x", *values], kind).slice(1) for values in (before, after))
        expected = all(
            b is None or (a is not None and _is_masked(b, a, kept, character, "keep_first" not in arguments))
            for b, a in zip(before, after, strict=True)
        )
        assert mask.verify(given, written, arguments) == expected, (before, after)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_blocks_are_read_back_from_their_digits(kind: pa.DataType) -> None:
    generator = np.random.default_rng(3)
    blocks, valid = generator.integers(0, 256, (600, 16)).astype(np.uint8), generator.random(600) < 0.8
    written = hexadecimal(blocks, valid).cast(kind)
    for start, number in ((0, 600), (7, 100), (599, 1), (3, 0)):
        read, known = blocks_of(written.slice(start, number))
        assert known.tolist() == valid[start : start + number].tolist()
        assert (read[known] == blocks[start : start + number][known]).all()
        assert not read[~known].any()
    assert (blocks_of(hexadecimal(blocks, np.ones(600, bool)).cast(kind))[0] == blocks).all()


def test_what_is_no_block_is_none() -> None:
    values = ["0" * 32, "G" + "0" * 31, "ab" * 16, None, "AB" * 16, "é" * 16, "ab", "", "0" * 33]
    read, known = blocks_of(pa.array(values))
    assert known.tolist() == [True, False, True, *[False] * 6]
    assert read[2].tolist() == [0xAB] * 16
    pseudonym = transform("pseudonym")
    for value in values:
        array = pa.array([value, "0" * 32], pa.string())
        fits = value is None or re.fullmatch("[0-9a-f]{32}", value) is not None
        assert pseudonym.verify(pa.array([None if value is None else 1, 2]), array, {}) == fits
