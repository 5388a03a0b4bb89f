"""The measures of a class, over all classes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from governance.model.anonymity import Anonymity
from governance.protect.anonymity.frequencies import Classes, Codes

Numbers = npt.NDArray[np.float64]
Kept = npt.NDArray[np.bool_]

_CELLS = 4_000_000
_TOLERANCE = 1e-9
_ROUNDS = 25


@dataclass(frozen=True, slots=True)
class Measured:
    """The least and greatest over the classes that stay; ``None`` where nothing stays or was asked.

    ``l_entropy`` is the exponential of the least entropy, so that it compares with a number of values.
    """

    classes: int
    rows: int
    k: int | None
    l_distinct: tuple[int, ...]
    l_entropy: tuple[float, ...]
    t: tuple[float, ...]


def distinct(pairs: tuple[Codes, Codes, Codes], classes: int) -> Codes:
    """(c,) how many values stand in each class. Null is none."""
    return np.bincount(pairs[0][pairs[1] > 0], minlength=classes).astype(np.int64)


def entropy(pairs: tuple[Codes, Codes, Codes], classes: int) -> Numbers:
    """(c,) Shannon entropy in nats of the values in each class, nulls left out."""
    told = pairs[1] > 0
    of, counts = pairs[0][told], pairs[2][told].astype(np.float64)
    share = counts / np.bincount(of, counts, classes)[of]
    return np.asarray(-np.bincount(of, share * np.log(share), classes), np.float64)


def distance(pairs: tuple[Codes, Codes, Codes], classes: int, stays: Kept, *, ordered: bool) -> Numbers:
    """(c,) earth mover's distance between each class and all rows that stay; null is a value, the least.

    Equal distances: half the sum of differences. Ordered: the cumulated differences over m − 1 steps.
    """
    of, value, counts = pairs
    here = stays[of]
    width = int(value.max(initial=0)) + 1
    whole = np.bincount(value[here], counts[here], width)
    present = np.flatnonzero(whole)
    if not present.size:
        return np.zeros(classes)
    whole = whole / whole.sum()
    share = counts / np.bincount(of, counts, classes)[of]
    if not ordered:
        shared = np.bincount(of, np.abs(share - whole[value]) - whole[value], classes)
        return np.asarray(0.5 * (shared + 1.0), np.float64)
    if present.size == 1:
        return np.zeros(classes)
    rank = np.full(width, -1)
    rank[present] = np.arange(present.size)
    ends = np.searchsorted(of, np.arange(classes + 1))
    found = np.zeros(classes)
    step = max(_CELLS // present.size, 1)
    for first in range(0, classes, step):
        last = min(first + step, classes)
        part = slice(ends[first], ends[last])
        told = rank[value[part]] >= 0
        dense = np.zeros((last - first, present.size))
        dense[of[part][told] - first, rank[value[part]][told]] = share[part][told]
        found[first:last] = np.abs(np.cumsum(dense - whole[present], axis=1)).sum(axis=1) / (present.size - 1)
    return found


def kept(classes: Classes, asked: Anonymity) -> Kept:
    """(c,) the classes that meet what is asked when the others are left out.

    t-closeness compares with the rows that stay, so leaving some out may disqualify others: what is
    left out only grows, until nothing changes.
    """
    count = len(classes.rows)
    stays = classes.subjects >= asked.k
    for pairs in classes.values:
        if asked.l_distinct is not None:
            stays &= distinct(pairs, count) >= asked.l_distinct
        if asked.l_entropy is not None:
            stays &= entropy(pairs, count) >= np.log(asked.l_entropy) - _TOLERANCE
    if asked.t is None:
        return stays
    for _ in range(_ROUNDS):
        close = _close(classes, asked, stays)
        if (close | ~stays).all():
            return stays
        stays = stays & close
    return np.zeros(count, bool)


def _close(classes: Classes, asked: Anonymity, stays: Kept) -> Kept:
    near = np.ones(len(stays), bool)
    for column, pairs in zip(asked.sensitive, classes.values, strict=True):
        near &= distance(pairs, len(stays), stays, ordered=column.ordered) <= (asked.t or 0) + _TOLERANCE
    return near


def measure(classes: Classes, asked: Anonymity, stays: Kept | None = None) -> Measured:
    """What holds of the classes that stay, all of them by default."""
    count = len(classes.rows)
    stays = np.ones(count, bool) if stays is None else stays
    if not stays.any():
        return Measured(0, 0, None, (), (), ())

    def each(values: Sequence[npt.NDArray[np.generic]]) -> list[npt.NDArray[np.generic]]:
        return [found[stays] for found in values]

    return Measured(
        classes=int(stays.sum()),
        rows=int(classes.rows[stays].sum()),
        k=int(classes.subjects[stays].min()),
        l_distinct=tuple(int(f.min()) for f in each([distinct(p, count) for p in classes.values])),
        l_entropy=tuple(float(np.exp(f.min())) for f in each([entropy(p, count) for p in classes.values])),
        t=tuple(
            float(f.max())
            for f in each(
                [
                    distance(p, count, stays, ordered=c.ordered)
                    for c, p in zip(asked.sensitive, classes.values, strict=True)
                ]
            )
        ),
    )


def meets(found: Measured, asked: Anonymity) -> bool:
    """Whether measured values satisfy what was asked."""
    return found.k is None or (
        found.k >= asked.k
        and (asked.l_distinct is None or all(value >= asked.l_distinct for value in found.l_distinct))
        and (asked.l_entropy is None or all(v >= asked.l_entropy * (1 - 1e-6) for v in found.l_entropy))
        and (asked.t is None or all(value <= asked.t + 1e-6 for value in found.t))
    )
