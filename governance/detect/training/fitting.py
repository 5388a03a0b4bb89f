"""The conditional logit: fitting, cross-validation by host, calibration and scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from governance.detect.columns.features import weighed_together
from governance.detect.training.examples import Examples, together
from governance.detect.training.reviewed_labels import TYPES

PAIR_PENALTY, OWN_PENALTY, HIDDEN_PENALTY = 2e-5, 1e-4, 2e-4
HIDDEN, ITERATIONS, FOLDS = 24, 90, 4
WEIGHTS: Mapping[str, float] = {
    "as they are": 1.0, "typed": 0.4, "headers removed": 0.6, "some headers removed": 0.4, "headers shuffled": 0.15,
}  # fmt: skip
SYNTHETIC_WEIGHT = 0.3
CERTAIN = 0.9
_BINS = 15


@dataclass(frozen=True)
class Weights:
    """As :class:`governance.detect.columns.model.ColumnModel` has them."""

    pair: NDArray[np.float32]
    own: NDArray[np.float32]
    hidden: NDArray[np.float32]
    shown: NDArray[np.float32]


def scores(examples: Examples, weights: Weights) -> NDArray[np.float64]:
    """(n, candidates), before the softmax."""
    shared = (examples.pair @ weights.pair).reshape(examples.allowed.shape)
    read = examples.column[:, weighed_together(examples.allowed.shape[1])].toarray()
    return np.asarray(
        shared + examples.column @ weights.own + np.tanh(read @ weights.hidden) @ weights.shown, np.float64
    )


def softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities by row."""
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit(examples: Examples, seed: int = 7) -> Weights:
    """The weights that make the allowed classes most likely, with ridge penalties; L-BFGS."""
    features, wide, many = examples.pair.shape[1], examples.column.shape[1], examples.allowed.shape[1]
    turned_pair, turned_column = examples.pair.T.tocsr(), examples.column.T.tocsr()
    weight = examples.weight / examples.weight.sum()
    read = examples.column[:, weighed_together(many)].toarray()
    shapes = ((features,), (wide, many), (read.shape[1], HIDDEN), (HIDDEN, many))
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def parts(theta: NDArray[np.float64]) -> Weights:
        cut = np.split(theta.astype(np.float32), ends[:-1])
        return Weights(*(part.reshape(shape) for part, shape in zip(cut, shapes, strict=True)))

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = parts(theta)
        together = np.tanh(read @ w.hidden)
        raised = (
            (examples.pair @ w.pair).reshape(examples.allowed.shape)
            + examples.column @ w.own
            + together @ w.shown
        )
        raised = np.exp(raised - raised.max(axis=1, keepdims=True))
        total = raised.sum(axis=1, keepdims=True)
        right = np.where(examples.allowed, raised, 0)
        likely = np.maximum(right.sum(axis=1, keepdims=True), 1e-30)
        value = -float((weight * np.log(likely / total)[:, 0]).sum())
        slope = (raised / total - right / likely) * weight[:, None]
        inner = (slope @ w.shown.T) * (1 - together * together)
        slopes = (turned_pair @ slope.ravel(), turned_column @ slope, read.T @ inner, together.T @ slope)
        penalties = (PAIR_PENALTY, OWN_PENALTY, HIDDEN_PENALTY, HIDDEN_PENALTY)
        each = (w.pair, w.own, w.hidden, w.shown)
        value += sum(p * float((x * x).sum()) for p, x in zip(penalties, each, strict=True))
        whole = [(s + 2 * p * x).ravel() for s, p, x in zip(slopes, penalties, each, strict=True)]
        return value, np.concatenate(whole).astype(np.float64)

    start = np.zeros(ends[-1])
    # Units that all start alike stay alike.
    start[ends[1] : ends[2]] = np.random.default_rng(seed).normal(0, 0.2, ends[2] - ends[1])
    return parts(minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x)


def folds(hosts: Sequence[str], number: int = FOLDS) -> NDArray[np.int64]:
    """A fold for each row: hosts whole, largest first to the smallest fold."""
    sizes, filled, fold = Counter(hosts), [0] * number, {}
    for host, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        fold[host] = filled.index(min(filled))
        filled[fold[host]] += size
    return np.array([fold[host] for host in hosts])


def learning(
    variants: Mapping[str, Examples], synthetic: Examples, mask: NDArray[np.bool_] | None = None
) -> Examples:
    """All that is learned from: the weighted variants of the rows of a mask, and the synthetic columns."""
    parts = []
    for name, weight in WEIGHTS.items():
        part = variants[name] if mask is None else variants[name].where(mask)
        parts.append(part.weighing(weight))
    return together([*parts, synthetic.weighing(SYNTHETIC_WEIGHT)])


def held_out(
    variants: Mapping[str, Examples], synthetic: Examples, number: int = FOLDS
) -> dict[str, NDArray[np.float64]]:
    """Scores (n, candidates) of every variant's rows by models that saw no table of the row's host."""
    plain = variants["as they are"]
    fold = folds([label.host for label in plain.labels if label is not None], number)
    result = {name: np.zeros(each.allowed.shape) for name, each in variants.items()}
    for held in range(number):
        weights = fit(learning(variants, synthetic, fold != held))
        for name, each in variants.items():
            result[name][fold == held] = scores(each.where(fold == held), weights)
    return result


def temperature(values: NDArray[np.float64], allowed: NDArray[np.bool_]) -> float:
    """The divisor of the scores under which the held-out rows are most likely."""
    usable = allowed.any(axis=1)

    def loss(divisor: float) -> float:
        right = np.where(allowed[usable], softmax(values[usable] / divisor), 0).sum(axis=1)
        return -float(np.log(np.maximum(right, 1e-12)).mean())

    return min((round(0.6 + 0.05 * step, 2) for step in range(40)), key=loss)


@dataclass(frozen=True)
class Scores:
    """``by_type`` has F1 of each type; shares are in [0, 1].

    ``wrong_and_certain`` is of all columns; ``…_and_named`` of the columns that are given one of the types.
    """

    macro_f1: float
    by_type: dict[str, float]
    false_alarms: float
    harmless: int
    calibration_error: float
    precision_when_certain: float
    precision_when_certain_and_named: float
    certain: float
    wrong_and_certain: float
    confusion: Counter[tuple[str | None, str | None]]

    def figures(self) -> dict[str, float]:
        """What is written down, rounded."""
        return {
            "macro_f1": round(self.macro_f1, 3),
            "false_alarms": round(self.false_alarms, 4),
            "calibration_error": round(self.calibration_error, 4),
            "precision_when_certain": round(self.precision_when_certain, 4),
            "precision_when_certain_and_named": round(self.precision_when_certain_and_named, 4),
            "certain": round(self.certain, 3),
            "wrong_and_certain": round(self.wrong_and_certain, 4),
        }


def judge(
    probabilities: NDArray[np.float64],
    order: Sequence[str],
    labels: Sequence[str | None],
    least: NDArray[np.float64],
) -> Scores:
    """Scores over the types of the set; a type is named from a row's ``least`` probability. A classification without a type counts as harmless, as in the set."""
    right: Counter[str] = Counter()
    said: Counter[str] = Counter()
    true: Counter[str] = Counter()
    confusion: Counter[tuple[str | None, str | None]] = Counter()
    best, certainty = probabilities.argmax(axis=1), probabilities.max(axis=1)
    hits = np.zeros(len(labels), bool)
    alarms = certain_right = certain_named = 0
    for row, label in enumerate(labels):
        name = order[best[row]]
        found = TYPES.get(name)
        hits[row] = found == label
        if certainty[row] >= CERTAIN and found is not None:
            certain_named += 1
            certain_right += int(hits[row])
        if certainty[row] < least[row]:
            found = None
        confusion[label, found] += 1
        alarms += label is None and found is not None
        said[found or ""] += 1
        true[label or ""] += 1
        right[label or ""] += found == label
    by_type = {
        kind: 2 * right[kind] / (said[kind] + true[kind])
        for kind in sorted(set(TYPES.values()))
        if true[kind]
    }
    bins = np.minimum((certainty * _BINS).astype(int), _BINS - 1)
    gaps = sum(abs(float(certainty[bins == b].sum()) - float(hits[bins == b].sum())) for b in range(_BINS))
    sure = certainty >= CERTAIN
    return Scores(
        macro_f1=float(np.mean(list(by_type.values()))),
        by_type=by_type,
        false_alarms=alarms / max(1, true[""]),
        harmless=true[""],
        calibration_error=gaps / max(1, len(labels)),
        precision_when_certain=float(hits[sure].mean()) if sure.any() else 1.0,
        precision_when_certain_and_named=certain_right / max(1, certain_named),
        certain=float(sure.mean()),
        wrong_and_certain=float((sure & ~hits).mean()),
        confusion=confusion,
    )
