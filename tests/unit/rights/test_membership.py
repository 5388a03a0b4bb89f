"""The sealed membership index: exact answers, one page a question, and nothing opens that was altered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.errors import StorageError
from governance.pipeline.membership import Members, seal_members

KEY, BOUND = bytes(range(32)), "sha256:" + "0" * 64


def pseudonyms(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), np.uint8)


def opened(sealed: bytes, key: bytes = KEY, bound: str = BOUND) -> Members:
    return Members(lambda offset, size: sealed[offset : offset + size], key, bound)


@pytest.mark.parametrize("count", [0, 1, 255, 256, 511, 512, 5_000])
def test_who_is_held_is_found_and_nobody_else(count: int) -> None:
    held, others = pseudonyms(count), pseudonyms(300, seed=1)
    members = opened(seal_members(held, KEY, BOUND))
    assert members.count == count
    assert members.contains(held).all()
    assert not members.contains(others).any()


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.binary(min_size=16, max_size=16), max_size=40), st.sets(st.binary(min_size=16, max_size=16))
)
def test_pseudonyms_of_any_bytes(held: set[bytes], asked: set[bytes]) -> None:
    wanted = sorted(asked | held)
    array = np.frombuffer(b"".join(held), np.uint8).reshape(-1, 16)
    members = opened(seal_members(array, KEY, BOUND))
    found = members.contains(np.frombuffer(b"".join(wanted), np.uint8).reshape(-1, 16))
    assert found.tolist() == [each in held for each in wanted]


def test_one_question_reads_one_page() -> None:
    held, read = pseudonyms(100_000), []
    sealed = seal_members(held, KEY, BOUND)

    def counted(offset: int, size: int) -> bytes:
        read.append(size)
        return sealed[offset : offset + size]

    assert Members(counted, KEY, BOUND).contains(held[:1]).all()
    assert len(read) == 3
    assert sum(read) < 16_000 < len(sealed) / 50


def test_nothing_of_a_pseudonym_is_readable() -> None:
    held = pseudonyms(2_000)
    sealed = seal_members(held, KEY, BOUND)
    assert not any(row.tobytes()[4:12] in sealed for row in held[:200])
    assert sealed != seal_members(held, KEY, BOUND)


def test_an_altered_byte_another_key_and_another_segment_are_refused() -> None:
    held = pseudonyms(600)
    sealed = seal_members(held, KEY, BOUND)
    for at in (*range(0, 60, 3), len(sealed) // 2, len(sealed) - 1):
        altered = bytearray(sealed)
        altered[at] ^= 1
        if 25 <= at < 32:
            continue  # padding of the head
        with pytest.raises(StorageError, match="GOV-723"):
            opened(bytes(altered)).contains(held)
    for size in (0, 7, 40, 50, len(sealed) - 1):
        with pytest.raises(StorageError, match="GOV-723"):
            opened(sealed[:size]).contains(held)
    with pytest.raises(StorageError, match="GOV-723"):
        opened(sealed, key=bytes(32)).contains(held)
    with pytest.raises(StorageError, match="GOV-723"):
        opened(sealed, bound=BOUND[:-1] + "1").contains(held)
