"""Batched AES-CMAC against RFC 4493 and against the library's one-value implementation."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given, settings
from hypothesis import strategies as st

from governance.keys.cmac import cmac

_RFC_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
_RFC_MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
_RFC_TAGS = {
    0: "bb1d6929e95937287fa37d129b756746",
    16: "070a16b46b4d4144f79bdd9dd04a287c",
    40: "dfa66747de9ae63030ca32611497c827",
    64: "51f0bebf7e3b9d92fc49741779363cfe",
}


def _one(key: bytes, value: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(value)
    return mac.finalize()


def _expected(key: bytes, values: list[bytes]) -> np.ndarray:
    joined = b"".join(_one(key, value) for value in values)
    return np.frombuffer(joined, np.uint8).reshape(-1, 16)


@pytest.mark.parametrize("length", sorted(_RFC_TAGS))
def test_rfc_4493_vectors(length: int) -> None:
    assert cmac(_RFC_KEY, pa.array([_RFC_MESSAGE[:length]])).tobytes().hex() == _RFC_TAGS[length]


_near_blocks = st.sampled_from([0, 1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 200]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)


@given(
    values=st.lists(st.one_of(st.none(), st.binary(max_size=70), _near_blocks), max_size=40),
    key=st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    kind=st.sampled_from([pa.binary(), pa.large_binary()]),
    cut=st.tuples(st.integers(0, 10), st.integers(0, 50)),
)
@settings(max_examples=300, deadline=None)
def test_equals_the_library(
    values: list[bytes | None], key: bytes, kind: pa.DataType, cut: tuple[int, int]
) -> None:
    array = pa.array(values, kind).slice(*cut)
    plain = [value or b"" for value in values[cut[0] : cut[0] + cut[1]]]
    np.testing.assert_array_equal(cmac(key, array), _expected(key, plain))


@given(st.lists(st.text(max_size=30), max_size=20), st.sampled_from([pa.string(), pa.large_string()]))
def test_strings_are_their_utf8(values: list[str], kind: pa.DataType) -> None:
    tags = cmac(_RFC_KEY, pa.array(values, kind))
    np.testing.assert_array_equal(tags, _expected(_RFC_KEY, [value.encode() for value in values]))


def test_chunk_boundaries() -> None:
    generator = np.random.default_rng(7)
    values = [generator.bytes(int(size)) for size in generator.integers(0, 60, 40_000)]
    tags = cmac(_RFC_KEY, pa.array(values, pa.binary()))
    sample = [*generator.integers(0, 40_000, 500).tolist(), 16_383, 16_384, 32_767, 32_768, 39_999]
    np.testing.assert_array_equal(tags[sample], _expected(_RFC_KEY, [values[row] for row in sample]))


def test_a_buffer_that_ends_with_the_last_value() -> None:
    data = pa.py_buffer(b"abcdef")
    offsets = pa.py_buffer(np.array([0, 2, 6], np.int32).tobytes())
    array = pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])
    np.testing.assert_array_equal(cmac(_RFC_KEY, array), _expected(_RFC_KEY, [b"ab", b"cdef"]))


def test_a_null_that_spans_bytes_is_empty() -> None:
    validity = pa.py_buffer(b"\x02")
    offsets = pa.py_buffer(np.array([0, 2, 6], np.int32).tobytes())
    array = pa.Array.from_buffers(pa.string(), 2, [validity, offsets, pa.py_buffer(b"abcdef")])
    np.testing.assert_array_equal(cmac(_RFC_KEY, array), _expected(_RFC_KEY, [b"", b"cdef"]))


def test_nothing_and_only_nulls() -> None:
    assert cmac(_RFC_KEY, pa.array([], pa.string())).shape == (0, 16)
    np.testing.assert_array_equal(
        cmac(_RFC_KEY, pa.nulls(3, pa.string())), _expected(_RFC_KEY, [b"", b"", b""])
    )


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        cmac(_RFC_KEY, pa.array([1]))
