"""AES-CMAC over a whole Arrow array, a few EVP calls a chunk instead of one a value.

Source: RFC 4493 §2 (AES-128) and NIST SP 800-38B §6 (AES-192 and AES-256). CMAC is CBC-MAC whose
last block is padded with ``10…0`` if it is short and masked with one of two subkeys. The values of
a chunk advance through their blocks together: block *j* of every value that has one is gathered
into one contiguous buffer and encrypted with one ECB call, so the chaining stays per value while
the cost of a call is shared. Values that ended keep their state and leave the working set.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

Bytes: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint64]
Lengths: TypeAlias = npt.NDArray[np.int64]

BLOCK = 16
_LONGER = BLOCK + 1
_CHUNK = 3 << 11
"""Values that advance together. A chunk's arrays fit the second cache and stay below the size from which
an allocator asks the system for fresh pages; at 2^14 it was half as fast."""
_POLYNOMIAL = 0x87


def cmac(key: bytes, values: pa.Array) -> Bytes:
    """The AES-CMAC of every value.

    Args:
        key: 16, 24 or 32 bytes.
        values: string, large string, binary or large binary, sliced or not; a null counts as empty.

    Returns:
        Shape (n, 16), one tag a row, in the order of ``values``.

    Raises:
        TypeError: ``values`` has another type. The message names the type only.
    """
    rows = len(values)
    tags = np.empty((rows, 2), np.uint64)
    if rows:
        starts, lengths, windows = _layout(values)
        kernel = _Kernel(key)
        for first in range(0, rows, _CHUNK):
            part = slice(first, first + _CHUNK)
            kernel.run(windows, starts[part], lengths[part], tags[part])
    return tags.view(np.uint8).reshape(rows, BLOCK)


def _layout(values: pa.Array) -> tuple[Lengths, Lengths, npt.NDArray[np.void]]:
    """Each value's start and length, and the data as overlapping 16-byte windows, one a byte."""
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        width: type[np.signedinteger[Any]] = np.int32
    elif pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        width = np.int64
    else:
        raise TypeError(f"AES-CMAC takes string or binary arrays, not {kind}")
    _, offset_buffer, data_buffer = values.buffers()
    bounds = np.frombuffer(offset_buffer, width)[values.offset : values.offset + len(values) + 1]
    starts = bounds[:-1].astype(np.int64)
    lengths = bounds[1:].astype(np.int64) - starts
    if values.null_count:
        # The format lets a null slot span bytes.
        lengths[np.asarray(values.is_null())] = 0
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
    low, high = int(bounds[0]), int(bounds[-1])
    if high + BLOCK > data.size:
        # A window may reach past the last value; only this slice's bytes are copied to make room.
        data = np.concatenate([data[low:high], np.zeros(BLOCK, np.uint8)])
        starts -= low
    windows = np.ndarray((data.size - BLOCK + 1,), np.dtype("V16"), data, strides=(1,))
    return starts, lengths, windows


class _Kernel:
    """One key's cipher, subkeys and padding tables, indexed by how many bytes a value has left.

    0 to 16 bytes left: this is the last block (an empty value has one block, of padding only).
    17: it is not, and the block stays as it is.
    """

    __slots__ = ("_encryptor", "_keep", "_tail")

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(AES(key), ECB()).encryptor()  # noqa: S305
        # ECB is the bare block cipher here; CMAC is the mode.
        first = _doubled(self._encrypted(np.zeros(2, np.uint64)).tobytes())
        second = _doubled(first)
        keep = np.zeros((_LONGER + 1, BLOCK), np.uint8)
        tail = np.zeros((_LONGER + 1, BLOCK), np.uint8)
        for left in range(BLOCK):
            keep[left, :left] = 0xFF
            tail[left] = np.frombuffer(second, np.uint8)
            tail[left, left] ^= 0x80
        tail[BLOCK] = np.frombuffer(first, np.uint8)
        keep[BLOCK:] = 0xFF
        self._keep = keep.view("V16").reshape(-1)
        self._tail = tail.view("V16").reshape(-1)

    def __repr__(self) -> str:
        return "<AES-CMAC kernel, key redacted>"

    def run(self, windows: npt.NDArray[np.void], starts: Lengths, lengths: Lengths, state: Words) -> None:
        """Fill ``state``, shape (n, 2), with the tags of the values at ``starts``."""
        active: npt.NDArray[np.intp] | None = None
        block = 0
        while starts.size:
            words = windows[starts].view(np.uint64).reshape(-1, 2)
            if int(lengths.min()) <= BLOCK:
                left = np.minimum(lengths, _LONGER)
                words &= self._keep.take(left).view(np.uint64).reshape(-1, 2)
                words ^= self._tail.take(left).view(np.uint64).reshape(-1, 2)
            if active is None:
                if block:
                    words ^= state
                state[:] = self._encrypted(words)
            else:
                words ^= state[active]
                state[active] = self._encrypted(words)
            going = np.flatnonzero(lengths > BLOCK)
            if going.size < starts.size:
                active = going if active is None else active[going]
                starts, lengths = starts[going], lengths[going]
            starts, lengths = starts + BLOCK, lengths - BLOCK
            block += 1

    def _encrypted(self, words: Words) -> Words:
        # update_into asks for a block less one byte of slack.
        out = np.empty(words.nbytes + BLOCK - 1, np.uint8)
        self._encryptor.update_into(words.data.cast("B"), out.data)
        return out[: words.nbytes].view(np.uint64).reshape(words.shape)


def _doubled(block: bytes) -> bytes:
    """Multiplication by x in GF(2^128) (RFC 4493 §2.3)."""
    number = int.from_bytes(block, "big") << 1
    if number >> 128:
        number = (number & ((1 << 128) - 1)) ^ _POLYNOMIAL
    return number.to_bytes(BLOCK, "big")
