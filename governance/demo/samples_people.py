"""The people in the sample input: patients and customers with their identifiers, and the canaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from governance.demo.samples_pools import Pools, emails, joined, padded, social_security_numbers

JURISDICTIONS = ("US-CA", "US-TX", "US-NY", "DE", "FR", "ES", "GB")
_SHARES = (0.27, 0.18, 0.17, 0.14, 0.10, 0.07, 0.07)
_LOCALE = np.array([0, 0, 0, 1, 2, 3, 0])
_COUNTRY = pa.array(["US", "US", "US", "DE", "FR", "ES", "GB"])
_STATE = pa.array(["CA", "TX", "NY", None, None, None, None], pa.string())

CANARY_JURISDICTIONS = ("US-TX", "DE", "US-CA", "FR", "US-CA", "DE", "ES", "FR")
"""By position of the canary subject. The first half may go everywhere, the second half nowhere."""

CANARY_SUBJECTS = len(CANARY_JURISDICTIONS)
_ALPHABET = np.array(list("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"))


@dataclass(frozen=True, slots=True)
class People:
    """One row per subject. ``locale`` and ``jurisdiction`` are indexes, the rest Arrow arrays."""

    subject: pa.Array
    locale: NDArray[np.int64]
    jurisdiction: NDArray[np.int64]
    columns: Mapping[str, pa.Array]
    canaries: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.subject)

    def take(self, column: str, rows: pa.Array) -> pa.Array:
        """``column`` for the subjects at ``rows``."""
        return self.columns[column].take(rows)


def allowed(canary: int) -> bool:
    """Whether the canary subject at this position may be processed for every purpose."""
    return canary < CANARY_SUBJECTS // 2


def token(rng: np.random.Generator, length: int = 16) -> str:
    """A high-entropy word: about 5.8 bits a character, so it does not occur by chance."""
    return "".join(_ALPHABET[rng.integers(0, len(_ALPHABET), length)].tolist())


def make_people(pools: tuple[Pools, ...], size: int, prefix: str, rng: np.random.Generator) -> People:
    """``size`` subjects with identifiers ``prefix`` and ten digits; the first are canaries."""
    jurisdiction = rng.choice(len(JURISDICTIONS), size, p=_SHARES)
    jurisdiction[:CANARY_SUBJECTS] = [JURISDICTIONS.index(j) for j in CANARY_JURISDICTIONS]
    locale = _LOCALE[jurisdiction]
    names, handles = _by_locale(pools, ("name", "handle"), locale, rng)
    apart = ("street", "city", "postal_code", "iban", "phone")
    streets, cities, codes, ibans, numbers = (_by_locale(pools, (c,), locale, rng)[0] for c in apart)
    births = _birth_dates(rng, size)
    american = (
        pa.array(_LOCALE[jurisdiction] == 0) if prefix == "MRN-" else pa.array(np.zeros(size, dtype=bool))
    )
    columns = {
        "subject": joined(prefix, padded(_identifiers(rng, size), 10)),
        "name": names,
        "email": emails(handles, rng),
        "phone": numbers,
        "ssn": pc.if_else(american, social_security_numbers(rng, size), pa.scalar(None, pa.string())),
        "street": streets,
        "city": cities,
        "postal_code": codes,
        "country": _COUNTRY.take(pa.array(jurisdiction)),
        "state": _STATE.take(pa.array(jurisdiction)),
        "jurisdiction": pa.array(JURISDICTIONS).take(pa.array(jurisdiction)),
        "iban": pc.if_else(pa.array(jurisdiction >= 3), ibans, pa.scalar(None, pa.string())),
        "member": joined("HP", padded(rng.integers(0, 10**9, size), 9)),
        "birth": births,
        "sex": pa.array(["F", "M", "U"]).take(pa.array(rng.choice(3, size, p=(0.5, 0.48, 0.02)))),
        "ip": _addresses(rng, size),
    }
    canaries = _canaries(rng, columns)
    for column, values in canaries.items():
        kept = columns[column].slice(CANARY_SUBJECTS)
        columns[column] = pa.concat_arrays([pa.array(values, pa.string()), kept])
    return People(columns["subject"], locale, jurisdiction, columns, canaries)


def _canaries(rng: np.random.Generator, columns: Mapping[str, pa.Array]) -> dict[str, tuple[str, ...]]:
    subjects = range(CANARY_SUBJECTS)
    made = {
        "name": tuple(f"Zqxv{token(rng, 10)} Wn{token(rng, 10)}" for _ in subjects),
        "email": tuple(f"canary-{token(rng).lower()}@example.org" for _ in subjects),
        "street": tuple(f"{int(rng.integers(10, 99))} Zqxv{token(rng, 12)} Street" for _ in subjects),
        "city": tuple(f"Zqxv{token(rng, 12)}" for _ in subjects),
        "member": tuple(f"HPZQ{token(rng, 12).upper()}" for _ in subjects),
        "phone": tuple(
            f"+1 212 {rng.integers(200, 900):03d} {rng.integers(0, 10_000):04d}" for _ in subjects
        ),
        "ssn": tuple(social_security_numbers(rng, CANARY_SUBJECTS).to_pylist()),
        "iban": tuple(v or "" for v in columns["iban"].slice(0, CANARY_SUBJECTS).to_pylist()),
        "subject": tuple(columns["subject"].slice(0, CANARY_SUBJECTS).to_pylist()),
        "ip": tuple(f"2001:db8:{':'.join(f'{p:x}' for p in rng.integers(4096, 65536, 6))}" for _ in subjects),
    }
    spare = [v for v in columns["iban"].slice(CANARY_SUBJECTS, 4_000).to_pylist() if v]
    made["iban"] = tuple(v or spare[i] for i, v in enumerate(made["iban"]))
    return made


def _identifiers(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """``size`` distinct ten-digit numbers in random order."""
    step = 9_000_000_000 // size
    return rng.permutation(1_000_000_000 + np.arange(size) * step + rng.integers(0, step, size))


def _birth_dates(rng: np.random.Generator, size: int) -> pa.Array:
    youngest = np.datetime64("2020-01-01").astype("datetime64[D]").astype(np.int64)
    lived = np.abs(rng.normal(44, 22, size)).clip(0, 104) * 365.2425
    return pa.array((youngest - lived).astype(np.int32), pa.int32()).cast(pa.date32())


def _addresses(rng: np.random.Generator, size: int) -> pa.Array:
    blocks = pa.array(["192.0.2.", "198.51.100.", "203.0.113."]).take(pa.array(rng.integers(0, 3, size)))
    four = joined(blocks, pa.array(rng.integers(1, 255, size)).cast(pa.string()))
    groups = pa.array([f"{p:x}" for p in range(4096, 8192)])
    third, fourth = (groups.take(pa.array(rng.integers(0, 4096, size))) for _ in range(2))
    six = joined("2001:db8::", third, ":", fourth)
    return pc.if_else(pa.array(rng.random(size) < 0.8), four, six)


def _by_locale(
    pools: tuple[Pools, ...],
    columns: tuple[str, ...],
    locale: NDArray[np.int64],
    rng: np.random.Generator,
) -> list[pa.Array]:
    """Draw parallel ``columns`` (same pool position for all) for each subject's locale."""
    lengths = np.array([len(getattr(pool, columns[0])) for pool in pools])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    at = pa.array(starts[locale] + (rng.random(len(locale)) * lengths[locale]).astype(np.int64))
    return [pa.concat_arrays([getattr(pool, column) for pool in pools]).take(at) for column in columns]
