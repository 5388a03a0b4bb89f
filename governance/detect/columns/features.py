"""The features of a column for the model: what its name, its values and its neighbours say of each classification.

Two kinds. A *pair* row describes a column together with one candidate classification by what the detectors of
that classification found; its weights are shared by all classifications, so that one nobody had labelled columns
for, or that a team added, is judged by the same evidence. A *column* row describes the column alone; its weights
belong to single classifications.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from governance.detect.columns.evidence import (
    SHAPE_BUCKETS,
    STATISTICS,
    WORD_BUCKETS,
    Outcome,
    ValueEvidence,
    bucket,
)
from governance.detect.columns.headers import HeaderEvidence, HeaderMatch, read_header, words
from governance.detect.detectors.registry import ColumnDetector, ColumnRegistry
from governance.model.classification import HARMLESS

NAME_BUCKETS = 2_048
NEIGHBOUR_BUCKETS = 512
NEIGHBOURS = 3
"""Columns on either side whose evidence is read."""
UNTOLD = 1
"""Place in a column row that says that its name says nothing."""
_INSIDE = 0.95
_IMPOSSIBLE = 0.5
"""Share of the rows within a detector's range below which the column cannot be of its classification."""
_ROWS_PER_DISTINCT = 2.0
"""A test that passes on a share of the distinct values counts no more than so many times its share of the rows."""
_UNTOLD = re.compile(
    r"(?i)(?:c|col|column|field|f|v|var|x|unnamed|attr|attribute|spalte|feld|campo|champ)?[ _.:-]*[0-9]*"
)

US_STATE = "us_state"
LATENT = {
    US_STATE: HARMLESS,
    "organization": HARMLESS,
    "job_title": HARMLESS,
    "language": HARMLESS,
}
"""What the model tells apart though the taxonomy does not, and what it is called there."""
_LATENT_BY_REASON = {
    "a US state, which HIPAA permits": US_STATE,
    "names of organisations": "organization",
    "occupations": "job_title",
    "languages": "language",
}

PAIR = (
    "any", "harmless", "decisive", "decisive, whole", "decisive, last", "decisive, several words", "decisive, then another",
    "decisive, all", "supporting", "supporting, whole", "denied by the last word", "another is named", "another is named later",
    "nothing is named", "name says nothing",
    "alone", "alone reached", "alone reached, distinct", "alone reached, unnamed", "alone reached, another named",
    "alone reached, named", "alone half", "agree", "agrees", "disagrees", "agrees, named", "agrees, unnamed",
    "disagrees, named", "no test, named", "no value, named", "alone, supporting", "agrees, supporting", "disagrees, supporting",
    "no test, supporting", "out of range, named", "in range, named", "number", "number, named", "number, alone reached",
    "tests", "best alone", "alone behind another", "contained", "contained, most",
    "beside", "beside, named", "beside, alone reached", "in table", "in table, named", "few values, named",
)  # fmt: skip
_AT = {name: index for index, name in enumerate(PAIR)}

MEASURED = frozenset(
    {
        "person_name", "given_name", "family_name", US_STATE, "jurisdiction", "city", "street_address", "postal_code", "phone",
        "email", "url", "geo_coordinates", "gender", "organization", "ethnicity", "job_title", "country", "age", "language",
        "vehicle_id", "date", "free_text", HARMLESS,
    }
)  # fmt: skip
"""What the model learned from real columns; of the rest it saw made-up ones only."""


def name_of(detector: ColumnDetector) -> str:
    """What the model calls the detector's classification: harmless columns of a known kind have a name of their own."""
    latent = _LATENT_BY_REASON.get(detector.reason, HARMLESS)
    return latent if detector.classification == HARMLESS else detector.classification


@lru_cache(maxsize=8)
def candidates(registry: ColumnRegistry) -> tuple[str, ...]:
    """Every classification a column can get, by the model's names: :data:`HARMLESS` first, then as the registry has them."""
    return tuple(dict.fromkeys((HARMLESS, *map(name_of, registry.detectors), *LATENT)))


@dataclass(frozen=True, slots=True)
class Name:
    """A column's name as evidence. ``told``: whether it has a word that could say something."""

    header: HeaderEvidence
    words: tuple[str, ...]
    told: bool


def read_name(name: str, registry: ColumnRegistry) -> Name:
    """The last part of a nested name; all of it where the last part says nothing."""
    last = name.rsplit(".", 1)[-1]
    header, tokens = read_header(last, registry), words(last, registry)
    if not header.matches and "." in name:
        header, tokens = read_header(name, registry), words(name, registry)
    return Name(header, tuple(tokens), not _UNTOLD.fullmatch(last.strip()))


@dataclass(frozen=True, slots=True)
class Claim:
    """What one classification's detectors say of a column: ``strength`` in [0, 1], with its best test and match.

    ``impossible``: its numbers lie outside what the classification can be.
    """

    strength: float
    match: HeaderMatch | None
    outcome: Outcome | None
    contradicted: bool
    impossible: bool


@dataclass(frozen=True, slots=True)
class Claims:
    """The pair rows of a column before its neighbours are read: (candidates, ``len(PAIR)``), and the claims."""

    rows: NDArray[np.float32]
    strengths: NDArray[np.float32]
    by_name: Mapping[str, Claim]


def claims(name: Name, values: ValueEvidence, registry: ColumnRegistry) -> Claims:
    """Join a name and the values' evidence for every candidate."""
    order = candidates(registry)
    rows = np.zeros((len(order), len(PAIR)), np.float32)
    place = {each: index for index, each in enumerate(order)}
    negated = name.header.negated is not None
    named = {name_of(m.detector): m for m in name.header.matches if m.decisive}
    rows[1:, _AT["any"]] = 1
    rows[0, _AT["harmless"]] = 1
    found: dict[str, Claim] = {}
    for number, detector in enumerate(registry.detectors):
        called = name_of(detector)
        matches = [m for m in name.header.matches if m.detector is detector]
        match = max(matches, key=lambda m: (m.decisive, m.words, m.end), default=None)
        row, claim = _pair(match, negated, name, values, number)
        at = place[called]
        earlier = found.get(called)
        if earlier is None or claim.strength >= earlier.strength:
            found[called] = claim
        rows[at] = np.maximum(rows[at], row)
    strengths = np.array([found[c].strength if c in found else 0.0 for c in order], np.float32)
    if negated:
        named = {}
    for called, at in place.items():
        others = [m for other, m in named.items() if other != called]
        own = named.get(called)
        rows[at, _AT["another is named"]] = bool(others)
        rows[at, _AT["nothing is named"]] = not named
        rows[at, _AT["name says nothing"]] = not name.told
        if own is not None:
            later = any(m.end > own.end for m in others)
            rows[at, _AT["decisive, then another"]] = later
        elif others:
            rows[at, _AT["another is named later"]] = 1
            rows[at, _AT["alone reached, another named"]] = rows[at, _AT["alone reached"]]
    _best(rows)
    total = max(values.contains.values(), default=0.0)
    for called, share in values.contains.items():
        if called in place:
            rows[place[called], _AT["contained"]] = share
            rows[place[called], _AT["contained, most"]] = share if share == total else 0.0
    return Claims(rows, strengths, found)


def _best(rows: NDArray[np.float32]) -> None:
    reached = rows[:, _AT["alone reached"]]
    top = reached.max()
    if top > 0:
        rows[:, _AT["best alone"]] = reached == top
        rows[:, _AT["alone behind another"]] = reached < top


def _pair(
    match: HeaderMatch | None,
    negated: bool,
    name: Name,
    values: ValueEvidence,
    number: int,
) -> tuple[NDArray[np.float32], Claim]:
    """The row of one detector, and its claim."""
    row = np.zeros(len(PAIR), np.float32)
    outcomes = values.outcomes[number]
    numeric = values.kind in ("integer", "number")

    def put(feature: str, value: float = 1.0) -> None:
        row[_AT[feature]] = value

    if match is not None and negated:
        put("denied by the last word")
        match = None
    shares = {id(o): min(o.share, _ROWS_PER_DISTINCT * o.rows) for o in outcomes}
    decisive = match is not None and match.decisive
    supporting = match is not None and not match.decisive
    length = len(name.words)
    while length > 1 and name.words[length - 1].isdecimal():
        length -= 1
    whole = match is not None and match.words >= length
    last = match is not None and match.end >= length
    alone = max((shares[id(o)] for o in outcomes if o.test.alone is not None), default=None)
    reached = max(
        (
            o.share
            for o in outcomes
            if o.test.alone is not None
            and o.share >= o.test.alone
            and o.rows >= 0.5 * o.test.alone
            and values.distinct >= o.test.minimum
        ),
        default=0.0,
    )
    demanding = [o for o in outcomes if o.test.agree is not None]
    agreeing = [o for o in outcomes if o.share >= min(_or(o.test.agree, 2.0), _or(o.test.alone, 2.0))]
    agrees = max((shares[id(o)] for o in agreeing), default=0.0)
    disagrees = bool(demanding) and not agreeing and values.distinct > 0
    untested = not outcomes and values.distinct > 0
    inside = values.inside[number]
    outside = inside is not None and inside < _INSIDE
    shown = max(agreeing or outcomes, key=lambda o: o.share, default=None)

    put("tests", float(bool(outcomes)))
    put("agree", max((shares[id(o)] for o in demanding), default=0.0))
    put("agrees", agrees)
    put("disagrees", float(disagrees))
    if alone is not None:
        put("alone", alone)
        put("alone half", float(alone >= 0.5))
    if reached:
        put("alone reached", reached)
        put("alone reached, distinct", min(1.0, float(np.log1p(values.distinct)) / 6))
        put("alone reached, unnamed" if match is None else "alone reached, named")
        put("number, alone reached", float(numeric))
    if agrees and match is None:
        put("agrees, unnamed", agrees)
    put("number", float(numeric))
    if decisive:
        put("decisive")
        put("decisive, whole", float(whole))
        put("decisive, last", float(last))
        put("decisive, several words", float(match is not None and match.words > 1))
        put("decisive, all", float(whole and agrees > 0))
        put("agrees, named", agrees)
        put("disagrees, named", float(disagrees))
        put("no test, named", float(untested))
        put("no value, named", float(not values.distinct))
        put("out of range, named", float(outside))
        put("in range, named", float(inside is not None and not outside))
        put("number, named", float(numeric))
        put("few values, named", float(0 < values.distinct < 5))
    if supporting:
        put("supporting")
        put("supporting, whole", float(whole))
        put("alone, supporting", alone or 0.0)
        put("agrees, supporting", agrees)
        put("disagrees, supporting", float(disagrees))
        put("no test, supporting", float(untested))
    contradicted = disagrees or outside
    strength = 0.0
    if decisive and not contradicted:
        strength = 0.9 + 0.1 * agrees
    elif reached:
        strength = reached
    elif supporting and not contradicted and alone is not None and alone >= 0.5:
        strength = alone
    return row, Claim(strength, match, shown, contradicted, inside is not None and inside < _IMPOSSIBLE)


def _or(stated: float | None, otherwise: float) -> float:
    return otherwise if stated is None else stated


def beside(all_claims: Sequence[Claims], index: int, total: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pair rows of one column of a table, completed by what the other columns say: (candidates, ``len(PAIR)``).

    ``total`` is the sum of the strengths of all columns of the table.
    """
    own = all_claims[index]
    rows = own.rows.copy()
    near = (*all_claims[max(0, index - NEIGHBOURS) : index], *all_claims[index + 1 : index + 1 + NEIGHBOURS])
    if near:
        next_to = np.max([c.strengths for c in near], axis=0)
        rows[:, _AT["beside"]] = next_to
        rows[:, _AT["beside, named"]] = next_to * (rows[:, _AT["decisive"]] > 0)
        rows[:, _AT["beside, alone reached"]] = next_to * (rows[:, _AT["alone reached"]] > 0)
    if len(all_claims) > 1:
        table = (total - own.strengths) / (len(all_claims) - 1)
        rows[:, _AT["in table"]] = table
        rows[:, _AT["in table, named"]] = table * (rows[:, _AT["decisive"]] > 0)
    return rows


def _grams(word: str) -> list[str]:
    framed = f"^{word}$"
    return [framed[i : i + n] for n in (3, 4) for i in range(len(framed) - n + 1)] if len(word) > 2 else []


def column_row(
    names: Sequence[Name],
    values: ValueEvidence,
    all_claims: Sequence[Claims],
    index: int,
    total: NDArray[np.float32],
    order: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The column row as (position, value) pairs without zeros; positions run to :func:`width`.

    ``order``: the places of the model's classifications among the candidates, one past the last for none.
    """
    row: dict[int, float] = {0: 1.0, UNTOLD: float(not names[index].told)}
    at = 2

    def put(block: int, pairs: Mapping[int, float]) -> None:
        nonlocal at
        for key, value in pairs.items():
            if value:
                row[at + key] = row.get(at + key, 0.0) + value
        at += block

    put(len(STATISTICS), dict(enumerate(values.statistics.tolist())))
    put(SHAPE_BUCKETS, values.shapes)
    put(WORD_BUCKETS, {k: 2 * v for k, v in values.words.items()})
    name = names[index]
    own: dict[int, float] = {}
    if name.told:
        tokens = name.words[:12]
        pieces = (
            [f"w:{t}" for t in tokens]
            + [f"l:{t}" for t in tokens[-1:]]
            + [f"b:{a} {b}" for a, b in pairwise(tokens)]
        )
        for piece in pieces:
            own[bucket(piece, NAME_BUCKETS)] = 1.0
        grams = {g for t in tokens for g in _grams(t)}
        for gram in grams:
            key = bucket(f"g:{gram}", NAME_BUCKETS)
            own[key] = own.get(key, 0.0) + 1.5 / np.sqrt(len(grams))
    put(NAME_BUCKETS, own)
    for step in (-1, 1):
        near: dict[int, float] = {}
        if 0 <= index + step < len(names) and names[index + step].told:
            for token in names[index + step].words[:12]:
                near[bucket(token, NEIGHBOUR_BUCKETS)] = 0.5
        put(NEIGHBOUR_BUCKETS, near)

    def put_all(numbers: NDArray[np.float32]) -> None:
        chosen = np.append(numbers, np.float32(0))[order]
        put(len(order), {int(k): float(chosen[k]) for k in np.flatnonzero(chosen)})

    mine = all_claims[index]
    put_all(mine.strengths)
    put_all(mine.rows[:, _AT["agree"]])
    put_all(mine.rows[:, _AT["alone"]])
    for step in (-1, 1):
        if 0 <= index + step < len(names):
            put_all(0.5 * all_claims[index + step].strengths)
        else:
            put(len(order), {})
    put_all(0.25 * np.minimum(total - mine.strengths, 2.0))
    keys = np.fromiter(row, np.int64, len(row))
    return keys, np.fromiter(row.values(), np.float32, len(row))


def width(classes: int) -> int:
    """The length of a column row for a model of so many classifications."""
    return (
        2
        + len(STATISTICS)
        + SHAPE_BUCKETS
        + WORD_BUCKETS
        + NAME_BUCKETS
        + 2 * NEIGHBOUR_BUCKETS
        + 6 * classes
    )


def weighed_together(classes: int) -> NDArray[np.int64]:
    """The places of a column row that the hidden layer reads: whether the name says anything, the statistics, and what
    the detectors say of the column and of its neighbours."""
    return np.concatenate(
        (np.arange(2 + len(STATISTICS)), np.arange(width(classes) - 6 * classes, width(classes)))
    )
