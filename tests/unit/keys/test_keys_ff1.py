"""FF1 against NIST's examples, its inverse and its own definition in Python integers."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given
from hypothesis import strategies as st

from governance.errors import ProtectionError
from governance.keys.ff1 import FF1, SMALLEST_DOMAIN, longest, shortest

AES_128 = "2B7E151628AED2A6ABF7158809CF4F3C"
AES_192 = AES_128 + "EF4359D8D580AA4F"
AES_256 = AES_192 + "7F036D6F04FC6A94"
DIGITS = "0123456789"
WORD = "0123456789abcdefghi"
SAMPLES = [  # NIST, "FF1samples" (SP 800-38G example values), samples 1 to 9
    (AES_128, 10, "", DIGITS, "2433477484"),
    (AES_128, 10, "39383736353433323130", DIGITS, "6124200773"),
    (AES_128, 36, "3737373770717273373737", WORD, "a9tv40mll9kdu509eum"),
    (AES_192, 10, "", DIGITS, "2830668132"),
    (AES_192, 10, "39383736353433323130", DIGITS, "2496655549"),
    (AES_192, 36, "3737373770717273373737", WORD, "xbj3kv35jrawxv32ysr"),
    (AES_256, 10, "", DIGITS, "6657667009"),
    (AES_256, 10, "39383736353433323130", DIGITS, "1001623463"),
    (AES_256, 36, "3737373770717273373737", WORD, "xs8a0azh2avyalyzuwd"),
]


def numerals(text: str) -> np.ndarray:
    return np.array([[int(c, 36)] for c in text], np.uint8)


@pytest.mark.parametrize(("key", "radix", "tweak", "plain", "sealed"), SAMPLES)
def test_the_samples_of_nist(key: str, radix: int, tweak: str, plain: str, sealed: str) -> None:
    cipher = FF1(bytes.fromhex(key), radix, len(plain), bytes.fromhex(tweak))
    assert cipher.encrypt(numerals(plain)).tolist() == numerals(sealed).tolist()
    assert cipher.decrypt(numerals(sealed)).tolist() == numerals(plain).tolist()
    assert key.lower() not in repr(cipher).lower()


def by_definition(key: bytes, radix: int, tweak: bytes, value: list[int]) -> list[int]:
    """SP 800-38G, algorithm 7, one value at a time."""

    def number(digits: list[int]) -> int:
        total = 0
        for digit in digits:
            total = total * radix + digit
        return total

    n, u = len(value), len(value) // 2
    v = n - u
    b = ((radix**v - 1).bit_length() + 7) // 8
    d = 4 * ((b + 3) // 4) + 4
    p = bytes((1, 2, 1)) + radix.to_bytes(3, "big") + bytes((10, u)) + n.to_bytes(4, "big")
    p += len(tweak).to_bytes(4, "big")
    left, right = value[:u], value[u:]
    for i in range(10):
        q = tweak + bytes((-len(tweak) - b - 1) % 16) + bytes((i,)) + number(right).to_bytes(b, "big")
        mac = Cipher(AES(key), CBC(bytes(16))).encryptor()
        y = int.from_bytes(mac.update(p + q)[-16:][:d], "big")
        m = v if i % 2 else u
        c = (number(left) + y) % radix**m
        left, right = right, [c // radix**j % radix for j in reversed(range(m))]
    return left + right


@given(st.data())
def test_it_is_its_definition_and_invertible(data: st.DataObject) -> None:
    radix = data.draw(st.sampled_from([2, 10, 16, 36, 62, 256]))
    length = data.draw(st.integers(shortest(radix), longest(radix)))
    tweak = data.draw(st.binary(max_size=40))
    key = data.draw(st.binary(min_size=16, max_size=16))
    values = data.draw(
        st.lists(st.lists(st.integers(0, radix - 1), min_size=length, max_size=length), max_size=3)
    )
    given_ = np.array(values, np.uint8).reshape(-1, length).T
    cipher = FF1(key, radix, length, tweak)
    sealed = cipher.encrypt(given_)
    assert sealed.T.tolist() == [by_definition(key, radix, tweak, v) for v in values]
    assert (sealed < radix).all() if radix < 256 else True
    assert cipher.decrypt(sealed).tolist() == given_.tolist()


def test_a_permutation_over_many_chunks() -> None:
    values = np.random.default_rng(1).permutation(SMALLEST_DOMAIN)[:40_000]
    digits = np.stack([values // 10**p % 10 for p in reversed(range(6))]).astype(np.uint8)
    cipher = FF1(bytes(16), 10, 6)
    sealed = cipher.encrypt(digits)
    weights = 10 ** np.arange(5, -1, -1)
    assert len(np.unique(weights @ sealed)) == len(values)
    assert (cipher.decrypt(sealed) == digits).all()


@pytest.mark.parametrize(("radix", "length"), [(10, 5), (36, 3), (2, 19), (256, 2)])
def test_a_small_domain_is_refused(radix: int, length: int) -> None:
    with pytest.raises(ProtectionError) as caught:
        FF1(bytes(16), radix, length)
    assert caught.value.code == "GOV-316"
    assert radix**length < SMALLEST_DOMAIN <= radix ** shortest(radix)


@pytest.mark.parametrize(
    ("radix", "length", "tweak"), [(1, 9, b""), (257, 9, b""), (10, 37, b""), (10, 9, bytes(256))]
)
def test_what_does_not_fit_is_refused(radix: int, length: int, tweak: bytes) -> None:
    with pytest.raises(ValueError, match="FF1 takes"):
        FF1(bytes(16), radix, length, tweak)
