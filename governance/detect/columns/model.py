"""The trained model of columns: probabilities of the classifications of all columns of a table, in numpy.

A conditional logit with a small hidden layer. The score of a candidate is its pair row times weights that all candidates
share, plus the column row times weights of that candidate alone, plus what the hidden layer makes of the evidence
together (five digits beside a town are a postal code); the latter two none for a classification that the model was not
trained on. A softmax over the candidates, divided by a temperature, gives the probabilities. ``data/column_model.npz`` holds the
weights, ``data/column_model.json`` what they were learned from and how well they do; both are written by
``python -m governance.detect.training.train_columns``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from governance.detect.columns.evidence import ValueEvidence
from governance.detect.columns.features import (
    PAIR,
    Claims,
    Name,
    beside,
    candidates,
    claims,
    column_row,
    weighed_together,
    width,
)
from governance.detect.detectors.registry import ColumnRegistry

_NEVER = -1e9


@dataclass(frozen=True, slots=True)
class ColumnModel:
    """``classes``: the k names that have weights of their own. ``pair``: (``len(PAIR)``,). ``own``: (width, k).

    ``hidden``: (places that :func:`weighed_together` names, h); ``shown``: (h, k).
    """

    classes: tuple[str, ...]
    pair: NDArray[np.float32]
    own: NDArray[np.float32]
    hidden: NDArray[np.float32]
    shown: NDArray[np.float32]
    temperature: float

    def scores(self, keys: NDArray[np.int64], numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of one column row, given by its (position, value) pairs, shape (k,)."""
        row = np.zeros(len(self.own), np.float32)
        row[keys] = numbers
        together = np.tanh(row[weighed_together(len(self.classes))] @ self.hidden)
        return np.asarray(numbers @ self.own[keys] + together @ self.shown, np.float32)


@dataclass(frozen=True, slots=True)
class Read:
    """A table as the model saw it. ``probabilities``: (columns, candidates); a row sums to 1."""

    candidates: tuple[str, ...]
    probabilities: NDArray[np.float64]
    claims: tuple[Claims, ...]


@cache
def column_model() -> ColumnModel:
    """The model this package ships."""
    with (
        as_file(files("governance.detect").joinpath("data/column_model.npz")) as path,
        np.load(path) as stored,
    ):
        classes = tuple(str(name) for name in stored["classes"])
        pair, own, hidden, shown = (
            stored[name].astype(np.float32) for name in ("pair", "own", "hidden", "shown")
        )
        temperature = float(stored["temperature"])
    if pair.shape != (len(PAIR),) or own.shape != (width(len(classes)), len(classes)):
        raise ValueError(
            "the stored model is of other features: run governance.detect.training.train_columns"
        )
    return ColumnModel(classes, pair, own, hidden, shown, temperature)


@cache
def model_card() -> dict[str, Any]:
    """Inputs with their licences, settings and scores of the model this package ships."""
    card: dict[str, Any] = json.loads(
        files("governance.detect").joinpath("data/column_model.json").read_text("utf-8")
    )
    return card


@lru_cache(maxsize=8)
def _places(registry: ColumnRegistry, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Where the model's classes stand among the registry's candidates; the place after the last where they do not."""
    order = candidates(registry)
    place = {name: index for index, name in enumerate(order)}
    return np.array([place.get(name, len(order)) for name in classes])


def read_table(
    names: Sequence[Name],
    values: Sequence[ValueEvidence],
    registry: ColumnRegistry,
    model: ColumnModel | None = None,
) -> Read:
    """Score every column against every candidate, with what the other columns of the table say."""
    model = model or column_model()
    order = candidates(registry)
    if not names:
        return Read(order, np.zeros((0, len(order))), ())
    found = [claims(name, value, registry) for name, value in zip(names, values, strict=True)]
    total = np.sum([each.strengths for each in found], axis=0)
    places = _places(registry, model.classes)
    known = places < len(order)
    scores = np.zeros((len(names), len(order)))
    for index in range(len(names)):
        scores[index] = beside(found, index, total) @ model.pair
        keys, numbers = column_row(names, values[index], found, index, total, places)
        scores[index, places[known]] += model.scores(keys, numbers)[known]
        for place, name in enumerate(order):
            claim = found[index].by_name.get(name)
            if claim is not None and claim.impossible:
                scores[index, place] = _NEVER
    scores /= model.temperature
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return Read(order, scores / scores.sum(axis=1, keepdims=True), tuple(found))
