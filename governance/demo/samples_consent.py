"""A consent ledger for the sample subjects: granted, missing, expired, backdated, withdrawn, restricted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from governance.demo.samples_people import CANARY_SUBJECTS, JURISDICTIONS, People, allowed
from governance.demo.samples_pools import joined, padded

_DAY = 86_400_000_000
_STAMP = pa.timestamp("us", tz="UTC")
_FUTURE = np.datetime64("2036-01-01T00:00:00", "us").astype(np.int64)
_PAST = np.datetime64("2021-01-01T00:00:00", "us").astype(np.int64)
_OPEN = np.int64(-1)

# Shares of what a subject's record of one purpose looks like. Everything past lies before 2026 and
# everything future after 2035, so that a decision does not depend on the day the sample is used.
_SCENARIOS = ("open", "limited", "backdated", "again", "missing", "expired", "future", "withdrawn")
_CONSENT = (0.55, 0.08, 0.04, 0.06, 0.10, 0.05, 0.03, 0.09)
_AUTHORIZATION = (0.70, 0.08, 0.03, 0.05, 0.05, 0.03, 0.01, 0.05)

# The canary subjects of the second half are denied in four ways, the first half never.
_CANARY_SCENARIOS = (0, 0, 0, 0, 4, 7, 7, 4)


@dataclass(frozen=True, slots=True)
class _Records:
    domain: str
    purpose: str
    action: str
    subjects: NDArray[np.int64]
    valid_from: NDArray[np.int64]
    valid_to: NDArray[np.int64]
    collected_at: NDArray[np.int64]


def consent_records(
    people: Sequence[tuple[str, People, Sequence[str]]], rng: np.random.Generator
) -> pa.Table:
    """The ledger as a table in the import format of ``docs/consent.md``.

    Args:
        people: (domain, subjects, purposes) triples; patients (domain ``patient``) also authorize.

    Returns:
        A table without overlapping intervals, ordered by collection.
    """
    made: list[_Records] = []
    for domain, subjects, purposes in people:
        for purpose in purposes:
            made += _lifecycles(domain, purpose, "grant", "withdraw", _CONSENT, len(subjects), rng)
            if domain == "patient":
                made += _lifecycles(
                    domain, purpose, "authorize", "revoke", _AUTHORIZATION, len(subjects), rng
                )
            made += _opt_outs(domain, purpose, subjects, rng)
            made += _rights(domain, purpose, len(subjects), rng)
    return _table(made, {domain: subjects for domain, subjects, _ in people}, rng)


def _lifecycles(
    domain: str,
    purpose: str,
    opening: str,
    closing: str,
    shares: tuple[float, ...],
    size: int,
    rng: np.random.Generator,
) -> list[_Records]:
    scenario = rng.choice(len(_SCENARIOS), size, p=shares)
    scenario[:CANARY_SUBJECTS] = _CANARY_SCENARIOS
    start = _PAST + rng.integers(0, 900, size) * _DAY + rng.integers(0, _DAY // 1_000, size) * 1_000

    def records(
        action: str, names: tuple[str, ...], frm: int = 0, to: int | None = None, late: int = 0
    ) -> _Records:
        who = np.flatnonzero(np.isin(scenario, [_SCENARIOS.index(n) for n in names]))
        begin = start[who] + frm * _DAY
        end = np.full(len(who), _OPEN) if to is None else begin + to * _DAY
        return _Records(domain, purpose, action, who, begin, end, begin + late * _DAY + 3_600_000_000)

    future = records(opening, ("future",))
    begin = _FUTURE + rng.integers(0, 300, len(future.subjects)) * _DAY
    limited = records(opening, ("limited",))
    until = np.full(len(limited.subjects), _FUTURE)
    return [
        records(opening, ("open", "again", "withdrawn")),
        replace(limited, valid_to=until),
        records(opening, ("backdated",), late=400),
        records(opening, ("expired",), to=365),
        replace(future, valid_from=begin),
        records(closing, ("again", "withdrawn"), frm=200),
        records(opening, ("again",), frm=420),
    ]


def _opt_outs(domain: str, purpose: str, people: People, rng: np.random.Generator) -> list[_Records]:
    californian = people.jurisdiction == JURISDICTIONS.index("US-CA")
    out = californian & (rng.random(len(people)) < 0.12)
    out[:CANARY_SUBJECTS] = [c and not allowed(i) for i, c in enumerate(californian[:CANARY_SUBJECTS])]
    who = np.flatnonzero(out)
    back = who[(rng.random(len(who)) < 0.15) & (who >= CANARY_SUBJECTS)]
    begin = _PAST + rng.integers(0, 1_000, len(people)) * _DAY
    made = [
        _Records(
            domain, purpose, "opt_out", who, begin[who], np.full(len(who), _OPEN), begin[who] + 60_000_000
        )
    ]
    later = begin[back] + 430 * _DAY
    made.append(
        _Records(domain, purpose, "opt_in", back, later, np.full(len(back), _OPEN), later + 60_000_000)
    )
    return made


def _rights(domain: str, purpose: str, size: int, rng: np.random.Generator) -> list[_Records]:
    """Art. 18 restrictions (some lifted) and Art. 21 objections."""
    draw = rng.random(size)
    draw[:CANARY_SUBJECTS] = 1.0
    restricted, objected = np.flatnonzero(draw < 0.006), np.flatnonzero((draw >= 0.006) & (draw < 0.014))
    begin = _PAST + rng.integers(0, 1_200, size) * _DAY
    lifted = restricted[::3]
    end = begin[lifted] + 90 * _DAY

    def opened(who: NDArray[np.int64], action: str, at: NDArray[np.int64]) -> _Records:
        return _Records(domain, purpose, action, who, at, np.full(len(who), _OPEN), at + 3_600_000_000)

    return [
        opened(restricted, "restrict", begin[restricted]),
        opened(lifted, "unrestrict", end),
        opened(objected, "object", begin[objected]),
    ]


def _table(made: list[_Records], people: dict[str, People], rng: np.random.Generator) -> pa.Table:
    made = [r for r in made if len(r.subjects)]
    sizes = [len(r.subjects) for r in made]
    rows = sum(sizes)

    def repeated(values: list[str]) -> pa.Array:
        return pa.array(values).take(pa.array(np.repeat(np.arange(len(values)), sizes)))

    valid_to = np.concatenate([r.valid_to for r in made])
    collected = np.concatenate([r.collected_at for r in made])
    notices = pa.array(["privacy-notice-2.0", "privacy-notice-2.1", "privacy-notice-3.0"])
    channels = pa.array(["web", "paper", "phone", "app"])
    table = pa.table(
        {
            "record_id": joined("CR-", padded(rng.permutation(rows), 9)),
            "domain": repeated([r.domain for r in made]),
            "subject_id": pa.concat_arrays(
                [people[r.domain].subject.take(pa.array(r.subjects)) for r in made]
            ),
            "purpose": repeated([r.purpose for r in made]),
            "action": repeated([r.action for r in made]),
            "valid_from": pa.array(np.concatenate([r.valid_from for r in made])).cast(_STAMP),
            "valid_to": pa.array(valid_to, mask=valid_to == _OPEN).cast(_STAMP),
            "collected_at": pa.array(collected).cast(_STAMP),
            "notice_version": notices.take(pa.array(np.clip((collected - _PAST) // (600 * _DAY), 0, 2))),
            "channel": channels.take(pa.array(rng.choice(4, rows, p=(0.5, 0.15, 0.1, 0.25)))),
        }
    )
    return table.take(pa.array(np.argsort(collected, kind="stable")))
