"""Drift: how a column's distribution moved since an earlier version, from profiles that hold no one's value.

A profile is a histogram. Numbers and dates fall into bins with round edges, open at both ends, and no bin is told
with fewer than :data:`SMALLEST` rows; categories stand under a keyed hash, the rare ones together. PSI is
``Σ (p − q) · ln(p / q)`` over the bins or categories, KS the largest difference of the binned distribution
functions (a lower bound of the unbinned one), category shift half the sum of ``|p − q|`` (total variation).
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from governance.errors import ValidationError
from governance.model.contract import Rule
from governance.validate.columns import Family, Unfit, family, normalized

DRIFT = "drift"
"""The name of a drift rule in a contract, beside the expectations of Great Expectations."""

SMALLEST = 20
"""Rows that a bin or category told in a profile has at least."""

_BINS = 20
MOST_CATEGORIES = 10_000
"""Distinct values that a column with a drift rule has at most."""

_REST = "rest"
_FLOOR = 1e-4
_MEASURES = ("psi", "ks", "null_rate", "category_shift")


@dataclass(frozen=True)
class DriftRule:
    """Limits on how far one column may move. ``against`` is ``previous`` or the id of a version."""

    rule: Rule
    column: str
    limits: Mapping[str, float]
    against: str
    warns: bool

    @classmethod
    def of(cls, rule: Rule, schema: pa.Schema | None = None) -> DriftRule:
        """A rule, checked. Raises :class:`Unfit`."""
        arguments = dict(rule.arguments)
        column, against = arguments.pop("column", None), arguments.pop("against", "previous")
        reaction = arguments.pop("on_drift", "fail")
        if not isinstance(column, str) or not isinstance(against, str):
            raise Unfit("'column' and 'against' are names")
        if reaction not in ("fail", "warn"):
            raise Unfit("'on_drift' is fail or warn")
        if not arguments or arguments.keys() - set(_MEASURES):
            raise Unfit(f"it limits one or more of {', '.join(_MEASURES)}")
        for name, limit in arguments.items():
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
                raise Unfit(f"{name!r} is a number above 0")
        drift = cls(rule, column, arguments, against, reaction == "warn")
        if schema is not None:
            drift.check(schema)
        return drift

    def check(self, schema: pa.Schema) -> None:
        """Require that the column is there and of a type that has a profile. Raises :class:`Unfit`."""
        if schema.get_field_index(self.column) < 0:
            raise Unfit(f"there is no column {self.column!r}")
        kind = family(schema.field(self.column).type)
        if kind is Family.OTHER:
            raise Unfit(
                f"column {self.column!r} holds {schema.field(self.column).type}, which has no profile"
            )
        ordered = kind in (Family.NUMBER, Family.DATE, Family.TIMESTAMP)
        wrong = "category_shift" if ordered else "ks"
        if wrong in self.limits:
            raise Unfit(f"{wrong!r} has no meaning for a column of {kind}")


class Drift:
    """Profiles the columns of drift rules as a version streams by, then compares.

    Args:
        rules: all rules; others than drift rules are passed over.
        baseline: a version's id, or ``previous``, → that version's id and profiles by column, or ``None``.
        key: what categories are hashed under.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        schema: pa.Schema,
        baseline: Callable[[str], tuple[str, Mapping[str, Any]] | None],
        key: Callable[[], bytes],
    ) -> None:
        self._rules = [DriftRule.of(rule, schema) for rule in rules if rule.expectation == DRIFT]
        self._baselines = {against: baseline(against) for against in {r.against for r in self._rules}}
        secret = key() if self._rules else b""
        self._profiled = {r.column: _counting(schema.field(r.column).type, secret) for r in self._rules}
        self._compared = {
            (r.column, r.against): _Bins(before["edges"])
            for r in self._rules
            if (before := self._before(r)) is not None and "edges" in before
        }

    def see(self, batch: pa.RecordBatch) -> None:
        arrays = {name: normalized(batch.column(name)) for name in self._profiled}
        for name, counting in self._profiled.items():
            counting.add(arrays[name])
        for (name, _), bins in self._compared.items():
            bins.add(arrays[name])

    def finish(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The profiles by column, to keep, and one result a rule in Great Expectations' shape.

        Raises:
            ValidationError: GOV-402 for a column with too many categories.
        """
        profiles = {name: counting.profile() for name, counting in self._profiled.items()}
        return profiles, [self._result(rule, profiles[rule.column]["rows"]) for rule in self._rules]

    def _before(self, rule: DriftRule) -> Mapping[str, Any] | None:
        found = self._baselines[rule.against]
        return found[1].get(rule.column) if found else None

    def _measured(self, rule: DriftRule) -> dict[str, float] | None:
        before, now = self._before(rule), self._profiled[rule.column]
        if before is None:
            return None
        if "edges" in before:
            return measures(before, self._compared[rule.column, rule.against].all())
        return (
            measures(before, now.all()) if isinstance(now, _Categories) and "categories" in before else None
        )

    def _result(self, rule: DriftRule, rows: int) -> dict[str, Any]:
        found, measured = self._baselines[rule.against], self._measured(rule)
        observed: dict[str, float] | None = None
        if measured is not None and all(name in measured for name in rule.limits):
            observed = {name: measured[name] for name in rule.limits}
            success = all(observed[name] <= limit for name, limit in rule.limits.items())
        else:
            # The first version has nothing to be compared with; a pinned one has to be there.
            success = rule.against == "previous"
        return {
            "rule": rule.rule.name,
            "expectation": DRIFT,
            "column": rule.column,
            "success": success,
            "expectation_config": {"type": DRIFT, "kwargs": dict(rule.rule.arguments), "meta": {}},
            "result": {"observed_value": observed, "element_count": rows},
            "exception_info": {
                "raised_exception": False,
                "exception_message": None,
                "exception_traceback": None,
            },
            "meta": {
                "severity": "warning" if rule.warns else "critical",
                "compared_with": found[0] if found and observed is not None else None,
            },
        }


def measures(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, float]:
    """PSI, KS or category shift, and the change of the null rate.

    Args:
        before: a profile as it was kept.
        now: every count, of numbers between the same edges.
    """
    moved = abs(_share(now["nulls"], now["rows"]) - _share(before["nulls"], before["rows"]))
    if "edges" in before:
        q, p = _shares(before["counts"]), _shares(now["counts"])
        return {"psi": _psi(p, q), "ks": float(np.abs(np.cumsum(p) - np.cumsum(q)).max()), "null_rate": moved}
    # What was too rare to be told is compared together, and so is what is new.
    known = [*(name for name in before["categories"] if name != _REST), _REST]
    told = [now["categories"].get(name, 0) for name in known[:-1]]
    q = _shares([before["categories"].get(name, 0) for name in known])
    p = _shares([*told, sum(now["categories"].values()) - sum(told)])
    return {"psi": _psi(p, q), "category_shift": float(np.abs(p - q).sum() / 2), "null_rate": moved}


class _Bins:
    """Counts of numbers or dates between edges."""

    def __init__(self, edges: Sequence[float] | None) -> None:
        self._edges = None if edges is None else np.array(edges, np.float64)
        self._counts = np.zeros(0 if edges is None else len(edges) + 1, np.int64)
        self._rows = self._nulls = 0

    def add(self, array: pa.Array) -> None:
        self._rows += len(array)
        self._nulls += array.null_count
        values = _numbers(array.drop_null())
        if not len(values):
            return
        if self._edges is None:
            self._edges = _round_edges(values)
            self._counts = np.zeros(len(self._edges) + 1, np.int64)
        places = np.searchsorted(self._edges, values, side="right")
        self._counts += np.bincount(places, minlength=len(self._counts))

    def all(self) -> dict[str, Any]:
        """Every count, the small ones too: to compare, never to tell."""
        return {"rows": self._rows, "nulls": self._nulls, "counts": self._counts.tolist()}

    def profile(self) -> dict[str, Any]:
        edges: list[float] = []
        counts: list[int] = []
        gathered = 0
        every = [] if self._edges is None else self._edges.tolist()
        for edge, count in zip([*every, None], self._counts.tolist() or [0], strict=False):
            gathered += count
            if edge is None:
                counts.append(gathered)
            elif gathered >= SMALLEST:
                edges.append(edge)
                counts.append(gathered)
                gathered = 0
        if edges and counts[-1] < SMALLEST:
            edges.pop()
            counts[-2:] = [counts[-2] + counts[-1]]
        return {"rows": self._rows, "nulls": self._nulls, "edges": edges, "counts": counts}


class _Categories:
    """Counts of texts under a keyed hash."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._counts: Counter[Any] = Counter()
        self._rows = self._nulls = 0

    def add(self, array: pa.Array) -> None:
        self._rows += len(array)
        self._nulls += array.null_count
        counted = pc.value_counts(array.drop_null())
        self._counts.update(
            dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))
        )
        if len(self._counts) > MOST_CATEGORIES:
            raise ValidationError(
                "GOV-402",
                f"a column with a drift rule has more than {MOST_CATEGORIES:,} categories",
                "limit the drift of columns with fewer values, or their null rate by an expectation",
            )

    def all(self) -> dict[str, Any]:
        """Every count, the small ones too: to compare, never to tell."""
        named = {self._name(str(value)): count for value, count in self._counts.items()}
        return {"rows": self._rows, "nulls": self._nulls, "categories": named}

    def profile(self) -> dict[str, Any]:
        every = self.all()
        told = {name: count for name, count in sorted(every["categories"].items()) if count >= SMALLEST}
        if rest := sum(every["categories"].values()) - sum(told.values()):
            told[_REST] = rest
        return {**every, "categories": told}

    def _name(self, value: str) -> str:
        return hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()[:16]


def _counting(kind: pa.DataType, key: bytes) -> _Bins | _Categories:
    return _Categories(key) if family(kind) in (Family.TEXT, Family.BOOLEAN) else _Bins(None)


def _numbers(array: pa.Array) -> npt.NDArray[np.float64]:
    kind = family(array.type)
    if kind is Family.DATE:
        array = array.cast(pa.date32()).view(pa.int32())
    elif kind is Family.TIMESTAMP:
        array = array.cast(pa.timestamp("us", array.type.tz), safe=False).view(pa.int64())
    return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _round_edges(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Multiples of 1, 2 or 5 · 10ᵏ over the middle 98% of the first values: near no one's value in particular."""
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [0.01, 0.99]) if len(finite) else (0.0, 0.0)
    if not high > low:
        return np.array([math.floor(low), math.floor(low) + 1.0])
    rough = (high - low) / _BINS
    unit = 10.0 ** math.floor(math.log10(rough))
    width = next(unit * step for step in (1, 2, 5, 10) if unit * step >= rough)
    return np.arange(math.floor(low / width), math.ceil(high / width) + 1) * width


def _shares(counts: Sequence[int]) -> npt.NDArray[np.float64]:
    array = np.array(counts, np.float64)
    total = array.sum()
    return array / total if total else array


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _psi(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    p, q = np.maximum(p, _FLOOR), np.maximum(q, _FLOOR)
    return float(((p - q) * np.log(p / q)).sum())
