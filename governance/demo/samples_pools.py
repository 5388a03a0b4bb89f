"""Pools of realistic values by locale, drawn once from Faker and sampled by numpy afterwards."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from faker import Faker
from numpy.typing import NDArray
from stdnum import iban as stdnum_iban
from stdnum import luhn
from stdnum.es import ccc

LOCALES = ("en_US", "de_DE", "fr_FR", "es_ES")
"""Position in this tuple is the locale index used by every array of this package."""

_DOMAINS = ("example.org", "example.com", "example.net", "mail.example.com", "post.example.org")
_US_AREAS = (201, 202, 212, 213, 305, 312, 404, 415, 503, 512, 602, 617, 702, 713, 718, 818, 917)


@dataclass(frozen=True, slots=True)
class Pools:
    """Values of one locale. All arrays are ``string``; ``given``, ``family`` and ``name`` are parallel."""

    name: pa.Array
    handle: pa.Array
    street: pa.Array
    city: pa.Array
    postal_code: pa.Array
    phone: pa.Array
    iban: pa.Array


def locale_pools(seed: int, size: int) -> tuple[Pools, ...]:
    """Pools for :data:`LOCALES`, ``size`` names each. The same seed gives the same values."""
    return tuple(_pools(locale, seed * 10 + i, size) for i, locale in enumerate(LOCALES))


def npi_pool(rng: np.random.Generator, size: int) -> pa.Array:
    """National Provider Identifiers with a valid check digit (45 CFR 162.406: Luhn over 80840 + NPI)."""
    bodies = rng.integers(10**8, 2 * 10**8, size)
    return pa.array([f"{body}{luhn.calc_check_digit(f'80840{body}')}" for body in bodies], pa.string())


def social_security_numbers(rng: np.random.Generator, size: int) -> pa.Array:
    """Numbers that the Social Security Administration could have issued: never 000, 666, 9xx, 00, 0000."""
    area = rng.integers(1, 899, size)
    area = np.where(area >= 666, area + 1, area)
    return joined(
        padded(area, 3),
        "-",
        padded(rng.integers(1, 100, size), 2),
        "-",
        padded(rng.integers(1, 10_000, size), 4),
    )


def phones(rng: np.random.Generator, locale: int, size: int) -> pa.Array:
    """Dialable numbers in the formats people type, mixed."""
    tail = rng.integers(0, 10**8, size)
    out: list[str] = []
    for number, style in zip(tail.tolist(), rng.integers(0, 5, size).tolist(), strict=True):
        out.append(_PHONES[locale](number, style))
    return pa.array(out, pa.string())


def padded(numbers: NDArray[np.int64], width: int) -> pa.Array:
    """Decimal strings of ``width`` digits, zero-filled."""
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")


def joined(*parts: pa.Array | str) -> pa.Array:
    """Element-wise concatenation; a null part makes the element null."""
    return pc.binary_join_element_wise(*parts, "")


def _pools(locale: str, seed: int, size: int) -> Pools:
    fake = Faker(locale)
    fake.seed_instance(seed)
    rng = np.random.default_rng(seed)
    given = [fake.first_name() for _ in range(size)]
    family = [fake.last_name() for _ in range(size)]
    index = LOCALES.index(locale)
    return Pools(
        name=pa.array([f"{g} {f}" for g, f in zip(given, family, strict=True)], pa.string()),
        handle=pa.array(
            [f"{_ascii(g)}.{_ascii(f)}" for g, f in zip(given, family, strict=True)], pa.string()
        ),
        street=_drawn(lambda: fake.street_address().replace("\n", ", "), size // 2),
        city=_drawn(fake.city, size // 4),
        postal_code=_drawn(fake.postcode, size // 2),
        phone=phones(rng, index, size),
        iban=pa.array([_iban(locale, rng) for _ in range(size // 2)], pa.string()),
    )


def _drawn(draw: Callable[[], str], size: int) -> pa.Array:
    return pa.array([draw() for _ in range(size)], pa.string())


def _ascii(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return "".join(c for c in folded.lower() if c.isalnum()) or "x"


def emails(handle: pa.Array, rng: np.random.Generator) -> pa.Array:
    """Addresses under the domains RFC 2606 reserves."""
    number = pa.array(rng.integers(1, 1_000, len(handle))).cast(pa.string())
    domain = pa.array(_DOMAINS).take(pa.array(rng.integers(0, len(_DOMAINS), len(handle))))
    return joined(handle, number, "@", domain)


def _iban(locale: str, rng: np.random.Generator) -> str:
    digits = "".join(map(str, rng.integers(0, 10, 24).tolist()))
    if locale == "de_DE":
        country, bban = "DE", digits[:18]
    elif locale == "fr_FR":
        key = 97 - (89 * int(digits[:5]) + 15 * int(digits[5:10]) + 3 * int(digits[10:21])) % 97
        country, bban = "FR", f"{digits[:21]}{key:02d}"
    elif locale == "es_ES":
        country, bban = (
            "ES",
            digits[:8] + ccc.calc_check_digits(digits[:8] + "00" + digits[8:18]) + digits[8:18],
        )
    else:
        country, bban = "GB", "NWBK" + digits[:14]
    check: str = stdnum_iban.calc_check_digits(country + "00" + bban)
    return country + check + bban


def _us(number: int, style: int) -> str:
    area = _US_AREAS[number % len(_US_AREAS)]
    exchange = 220 + number // 10_000 % 680
    exchange += exchange % 100 == 11
    line = number % 10_000
    return (
        f"+1 {area} {exchange} {line:04d}",
        f"({area}) {exchange}-{line:04d}",
        f"{area}-{exchange}-{line:04d}",
        f"{area}.{exchange}.{line:04d}",
        f"+1{area}{exchange}{line:04d}",
    )[style]


def _de(number: int, style: int) -> str:
    block = (151, 160, 170, 171, 175)[number % 5]
    return (
        f"+49 {block} {number:08d}",
        f"0{block} {number:08d}",
        f"0{block}/{number:08d}",
        f"+49{block}{number:08d}",
        f"0049 {block} {number:08d}",
    )[style]


def _fr(number: int, style: int) -> str:
    a, b, c, d = (f"{number:08d}"[i : i + 2] for i in (0, 2, 4, 6))
    return (
        f"+33 6 {a} {b} {c} {d}",
        f"06 {a} {b} {c} {d}",
        f"06.{a}.{b}.{c}.{d}",
        f"06{a}{b}{c}{d}",
        f"+336{a}{b}{c}{d}",
    )[style]


def _es(number: int, style: int) -> str:
    text = f"{number:08d}"
    return (
        f"+34 6{text[:2]} {text[2:5]} {text[5:]}",
        f"6{text[:2]} {text[2:5]} {text[5:]}",
        f"6{text[:2]}-{text[2:5]}-{text[5:]}",
        f"+346{text}",
        f"0034 6{text}",
    )[style]


_PHONES: tuple[Callable[[int, int], str], ...] = (_us, _de, _fr, _es)
