"""Trains the model of columns and writes it with its card.

``python -m governance.detect.training.train_columns FOLDER`` with the ``demo`` extra and scipy installed; FOLDER holds
the labelled open tables (``labels.json`` and CSV files), by default those under ``GOVERNANCE_TEST_DATA``. Takes about
ten minutes on one core. Writes ``governance/detect/data/column_model.npz`` and ``column_model.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from governance.detect.columns.decision import CERTAIN_ENOUGH, CERTAIN_WITHOUT_HEADER
from governance.detect.columns.features import UNTOLD, candidates
from governance.detect.detectors.registry import column_registry
from governance.detect.training import fitting
from governance.detect.training.examples import (
    Examples,
    open_examples,
    read_open,
    read_synthetic,
    synthetic_examples,
)
from governance.detect.training.reviewed_labels import Labels

SEED = 20_261_124
SYNTHETIC_TABLES = 600
DATA = Path(__file__).parents[1] / "data"
INPUTS = (
    {
        "name": "semantic-types: 529 open-data tables, labelled columns",
        "from": "https://github.com/tsegall/semantic-types at 782d912",
        "licence": "data CC0-1.0, labels Apache-2.0",
        "used": "header words, hashed shapes and hashed words of values, shares; no value is stored",
    },
    {
        "name": "reviewed_columns.json: what columns that the set calls not sensitive are learned as",
        "from": "written for this project",
        "licence": "as the project",
        "used": "labels",
    },
    {
        "name": "synthetic tables in 14 locales, values made up by Faker and seeded generators",
        "from": "governance/detect/training/synthetic_tables.py",
        "licence": "as the project; Faker is MIT",
        "used": "classifications without labelled tables, and harmless columns that look like them",
    },
)


def default_folder() -> Path:
    """The labelled tables under ``GOVERNANCE_TEST_DATA``."""
    root = Path(os.environ.get("GOVERNANCE_TEST_DATA", "../shared/data"))
    return root / "classification" / "table" / "semantic_types"


def prepare(folder: Path, cache: Path | None = None) -> tuple[dict[str, Examples], Examples]:
    """The labelled columns in every variant, and the synthetic ones.

    ``cache`` is a file of this function's own: what was read of the tables, written where it does not exist.
    """
    if cache is not None and cache.exists():
        tables, made = pickle.loads(cache.read_bytes())  # noqa: S301
    else:
        tables = list(read_open(folder, Labels(folder).tables))
        made = list(read_synthetic(SYNTHETIC_TABLES, SEED))
        if cache is not None:
            cache.write_bytes(pickle.dumps((tables, made)))
    return open_examples(folder, tables, SEED), synthetic_examples(made)


def judged(
    held: Mapping[str, NDArray[np.float64]], variants: Mapping[str, Examples], divisor: float
) -> dict[str, dict[str, fitting.Scores]]:
    """For each variant, scores against the labels as they came and after the review."""
    order = candidates(column_registry())
    result: dict[str, dict[str, fitting.Scores]] = {}
    for name, examples in variants.items():
        probabilities = fitting.softmax(held[name] / divisor)
        labels = [label for label in examples.labels if label is not None]
        kept = np.array([label.reviewed != "SKIP" for label in labels])
        untold = examples.column[:, [UNTOLD]].toarray()[:, 0] > 0
        least = np.where(untold, CERTAIN_WITHOUT_HEADER, CERTAIN_ENOUGH)
        result[name] = {
            "labels as they came": fitting.judge(probabilities, order, [x.label for x in labels], least),
            "labels after review": fitting.judge(
                probabilities[kept],
                order,
                [x.reviewed for x in labels if x.reviewed != "SKIP"],
                least[kept],
            ),
        }
    return result


def train(folder: Path, keep: Path, cache: Path | None = None) -> dict[str, Any]:
    """Train, write the model and its card to ``keep``, and return the card."""
    variants, synthetic = prepare(folder, cache)
    held = fitting.held_out(variants, synthetic)
    plain = variants["as they are"]
    divisor = fitting.temperature(held["as they are"], plain.allowed)
    weights = fitting.fit(fitting.learning(variants, synthetic))
    weights.own[np.abs(weights.own) < 5e-4] = 0
    model = keep / "column_model.npz"
    np.savez_compressed(
        model,
        classes=np.array(candidates(column_registry())),
        **{name: each.astype(np.float16) for name, each in vars(weights).items()},
        temperature=np.float32(divisor),
    )
    scores = judged(held, variants, divisor)
    detectors = files("governance.detect").joinpath("column_detectors.yaml").read_bytes()
    card = {
        "model": "conditional logit with a small hidden layer over detector evidence and hashed words; see governance/detect/columns/model.py",
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "detectors_sha256": hashlib.sha256(detectors).hexdigest(),
        "inputs": list(INPUTS),
        "columns": {"open tables": len(plain.labels), "synthetic": len(synthetic.labels)},
        "hosts": len({label.host for label in plain.labels if label is not None}),
        "settings": {
            "seed": SEED, "pair_penalty": fitting.PAIR_PENALTY, "own_penalty": fitting.OWN_PENALTY,
            "hidden_penalty": fitting.HIDDEN_PENALTY, "hidden": fitting.HIDDEN,
            "iterations": fitting.ITERATIONS, "weights": {**fitting.WEIGHTS, "synthetic": fitting.SYNTHETIC_WEIGHT},
            "temperature": divisor, "named_from": {"header": CERTAIN_ENOUGH, "no header": CERTAIN_WITHOUT_HEADER},
        },
        "how_scored": f"{fitting.FOLDS}-fold cross-validation by host: no host on both sides; synthetic columns on one side only",
        "scores": {
            variant: {against: each.figures() for against, each in both.items()} for variant, both in scores.items()
        },
        "f1_by_type": {
            against: {kind: round(value, 3) for kind, value in each.by_type.items()}
            for against, each in scores["as they are"].items()
        },
        "not_known": [
            "classifications other than the 17 types of the set are learned from made-up columns: their probabilities are not measured on real ones",
            "headers in languages other than English, German, French and Spanish, and less so Italian, Portuguese, Dutch, Polish and Swedish, are read by parts of words only",
            "headers that name another column: see the scores of shuffled headers",
        ],
    }  # fmt: skip
    (keep / "column_model.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return card


def main() -> None:
    """Train from the folder of the command line and write to ``governance/detect/data``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=default_folder())
    parser.add_argument(
        "--keep", type=Path, default=DATA, help="folder the model and its card are written to"
    )
    parser.add_argument("--cache", type=Path, help="file that keeps what was read of the tables between runs")
    asked = parser.parse_args()
    card = train(asked.folder, asked.keep, asked.cache)
    print(json.dumps(card["scores"], indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
