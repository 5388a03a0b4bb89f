"""FF1, format-preserving encryption, over arrays: ten AES calls a chunk instead of ten a value.

Source: NIST SP 800-38G Revision 1 (second draft, February 2025), algorithms 7 and 8. A value is *n*
numerals of a *radix*; its halves travel as two integers, so the ten Feistel rounds of a whole chunk
are array arithmetic around one ECB call a round. The halves must fit 62 bits, which bounds *n* (36
digits, 22 characters of ``0-9a-z``); the domain must hold a million values, which the revision
requires and below which every token could be listed and counted.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from governance.errors import ProtectionError

Numerals: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint64]

SMALLEST_DOMAIN: Final = 1_000_000
"""SP 800-38G Rev. 1, section 5.1: ``radix ** minlen`` is at least this."""

_ROUNDS: Final = 10
_BLOCK: Final = 16
_BITS: Final = 62
_CHUNK: Final = 3 << 11
"""As in :mod:`governance.keys.cmac`: arrays of a chunk stay in the second cache."""


def shortest(radix: int) -> int:
    """The least numerals of a value whose domain is large enough."""
    length = 1
    while radix**length < SMALLEST_DOMAIN:
        length += 1
    return length


def longest(radix: int) -> int:
    """The most numerals of a value whose halves fit a word."""
    half = 1
    while radix ** (half + 1) < 1 << _BITS:
        half += 1
    return 2 * half


class FF1:
    """One key, radix, length and tweak.

    Args:
        key: 16, 24 or 32 bytes.
        radix: 2 to 256.
        length: numerals of every value.
        tweak: at most 255 bytes; need not be secret.

    Raises:
        ProtectionError: GOV-316, the domain is smaller than :data:`SMALLEST_DOMAIN`.
        ValueError: radix, length or tweak outside what this implementation takes.
    """

    __slots__ = ("_encryptor", "_fixed", "_keyed", "_moduli", "_radix", "_split", "_wide", "length")

    def __init__(self, key: bytes, radix: int, length: int, tweak: bytes = b"") -> None:
        if not 2 <= radix <= 256 or len(tweak) > 255 or not 2 <= length <= longest(radix):
            raise ValueError(
                "FF1 takes a radix of 2 to 256, halves below 62 bits and a tweak of at most 255 bytes"
            )
        if radix**length < SMALLEST_DOMAIN:
            raise ProtectionError(
                "GOV-316",
                f"{length} numerals of radix {radix} make fewer than {SMALLEST_DOMAIN:,} values",
                "a domain this small can be listed and counted; use pseudonym, drop or a longer value",
            )
        self._encryptor = Cipher(AES(key), ECB()).encryptor()  # noqa: S305
        # ECB is the bare block cipher here; FF1 is the mode.
        self.length = length
        self._radix = radix
        self._split = length // 2
        upper = length - self._split
        self._moduli = (radix**self._split, radix**upper)
        width = ((radix**upper - 1).bit_length() + 7) // 8
        self._wide = 4 * ((width + 3) // 4) + 4 > 8
        fixed = (
            bytes((1, 2, 1))
            + radix.to_bytes(3, "big")
            + bytes((_ROUNDS, self._split % 256))
            + length.to_bytes(4, "big")
            + len(tweak).to_bytes(4, "big")
        )
        # Q = tweak ‖ 0… ‖ round ‖ NUM(B), right-aligned; all blocks but the last are the same in every round.
        padded = tweak + bytes((-len(tweak) - width - 1) % _BLOCK + 1 + width)
        blocks = [fixed, *(padded[i : i + _BLOCK] for i in range(0, len(padded), _BLOCK))]
        chained = bytes(_BLOCK)
        for block in blocks[:-1]:
            chained = self._one(bytes(a ^ b for a, b in zip(chained, block, strict=True)))
        mixed = bytes(a ^ b for a, b in zip(chained, blocks[-1], strict=True))
        self._fixed = int.from_bytes(mixed[:8], "big"), int.from_bytes(mixed[8:], "big")
        self._keyed = 8 * width

    def __repr__(self) -> str:
        return f"<FF1 of {self.length} numerals of radix {self._radix}, key redacted>"

    def encrypt(self, numerals: Numerals) -> Numerals:
        """(length, n) numerals below the radix, most significant first → the same shape, encrypted.

        Numerals are the rows, so that each is contiguous over the values.
        """
        return self._chunked(numerals, decrypting=False)

    def decrypt(self, numerals: Numerals) -> Numerals:
        """The inverse of :meth:`encrypt`."""
        return self._chunked(numerals, decrypting=True)

    def _chunked(self, numerals: Numerals, *, decrypting: bool) -> Numerals:
        if numerals.ndim != 2 or len(numerals) != self.length:
            raise ValueError(f"FF1 takes {self.length} rows of numerals, not an array of {numerals.shape}")
        out = np.empty(numerals.shape, np.uint8)
        for first in range(0, numerals.shape[1], _CHUNK):
            part = numerals[:, first : first + _CHUNK]
            left, right = self._number(part[: self._split]), self._number(part[self._split :])
            left, right = self._rounds(left, right, decrypting=decrypting)
            target = out[:, first : first + _CHUNK]
            self._spell(left, target[: self._split])
            self._spell(right, target[self._split :])
        return out

    def _number(self, numerals: Numerals) -> Words:
        number: Words = numerals[0].astype(np.uint64)
        radix = np.uint64(self._radix)
        for row in numerals[1:]:
            number *= radix
            number += row
        return number

    def _spell(self, number: Words, out: Numerals) -> None:
        radix = np.uint64(self._radix)
        for place in range(len(out) - 1, 0, -1):
            # Division by a scalar is vectorised, the remainder is not.
            quotient = number // radix
            np.subtract(number, quotient * radix, out=out[place], casting="unsafe")
            number = quotient
        out[0] = number

    def _rounds(self, left: Words, right: Words, *, decrypting: bool) -> tuple[Words, Words]:
        block = np.empty((len(left), 2), np.uint64)
        sealed = np.empty(block.nbytes + _BLOCK - 1, np.uint8)
        answer = sealed[: block.nbytes].view(np.uint64).reshape(block.shape)
        high, low = self._fixed
        for number in reversed(range(_ROUNDS)) if decrypting else range(_ROUNDS):
            modulus = np.uint64(self._moduli[number % 2])
            keyed = number << self._keyed
            block[:, 0] = np.uint64(high ^ (keyed >> 64)).byteswap()
            np.bitwise_xor(
                left if decrypting else right, np.uint64(low ^ (keyed & (1 << 64) - 1)), out=block[:, 1]
            )
            block[:, 1].byteswap(inplace=True)
            # update_into asks for a block less one byte of slack.
            self._encryptor.update_into(block.data.cast("B"), sealed.data)
            drawn = self._drawn(answer, modulus)
            if decrypting:
                drawn = np.subtract(right, drawn)
                # Below zero it wrapped around.
                np.minimum(drawn, drawn + modulus, out=drawn)
                left, right = drawn, left
            else:
                drawn += left
                np.minimum(drawn, drawn - modulus, out=drawn)
                left, right = right, drawn
        return left, right

    def _drawn(self, answer: Words, modulus: np.uint64) -> Words:
        """The first *d* bytes of each block, as a number, modulo ``modulus``: d is 8, or 12 here."""
        drawn: Words = answer[:, 0].byteswap()
        drawn -= drawn // modulus * modulus
        if self._wide:
            left = 32
            low = answer[:, 1].byteswap() >> np.uint64(32)
            room = 64 - int(modulus).bit_length()
            while left:
                step = min(room, left)
                left -= step
                drawn <<= np.uint64(step)
                drawn |= (low >> np.uint64(left)) & np.uint64((1 << step) - 1)
                drawn -= drawn // modulus * modulus
        return drawn

    def _one(self, block: bytes) -> bytes:
        # A fresh copy of the context is not needed: ECB keeps no state between blocks.
        return bytes(self._encryptor.update(block))
