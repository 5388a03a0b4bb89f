"""Columns on hosts the model never saw: scores against the labels as they came and after the review, with a confusion table.

The peers' figures are not run here: they are those of ``reference`` in each line's context, measured elsewhere at 50
rows a column on the same tables, and cited as such.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.bench.experiment import OUT, ROOT, Call, Experiment, Figure, Goal, Result
from tests.bench.measuring import measure

CITED = {
    "cited, not run here": "50 rows a column, six types: macro-F1 / false alarms",
    "datahub-classify 0.0.12": ".755 / 3.2%",
    "OpenMetadata heuristic": ".488 / 18.7%",
    "DataProfiler 0.14": ".398 / 2.8%",
    "presidio-structured": ".316 / 12.0%",
    "logistic regression baseline": ".958 / 0.9%; 17 types .848",
}


def held_out(every: int, folds: int) -> dict[str, Any]:
    """Cross-validation by host over one table in ``every``; also writes ``out/column_confusion.md``."""
    from governance.detect.training import examples, fitting, train_columns
    from governance.detect.training.reviewed_labels import Labels

    folder = train_columns.default_folder()

    def work() -> dict[str, Any]:
        files = Labels(folder).tables[::every]
        variants = examples.open_examples(folder, examples.read_open(folder, files), train_columns.SEED)
        made = max(20, train_columns.SYNTHETIC_TABLES // every)
        synthetic = examples.synthetic_examples(examples.read_synthetic(made, train_columns.SEED))
        held = fitting.held_out(variants, synthetic, folds)
        plain = "as they are"
        divisor = fitting.temperature(held[plain], variants[plain].allowed)
        scores = train_columns.judged(held, variants, divisor)
        _write_confusion(scores[plain]["labels after review"].confusion)
        figures = {
            f"{variant}, {against}": each.figures()
            for variant, both in scores.items()
            for against, each in both.items()
        }
        return {"scores": figures, "columns": len(variants[plain].labels)}

    return measure(work)


def _write_confusion(confusion: Any) -> None:
    kinds = sorted({kind or "harmless" for pair in confusion for kind in pair})
    head = "| label ↓ found → | " + " | ".join(kinds) + " |"
    lines = ["# Columns of held-out hosts, labels after review", "", head, "|---" * (len(kinds) + 1) + "|"]
    for label in kinds:
        row = [confusion[_none(label), _none(found)] for found in kinds]
        lines.append(f"| {label} | " + " | ".join(str(n or "") for n in row) + " |")
    (OUT.parent / "column_confusion.md").write_text("\n".join(lines) + "\n", "utf-8")


def _none(kind: str) -> str | None:
    return None if kind == "harmless" else kind


def _score(which: str, figure: str) -> Any:
    def read(result: Result) -> float:
        return float(result["scores"][which][figure])

    return read


def experiments(quick: bool) -> list[Experiment]:
    """None where the labelled tables are not there."""
    root = Path(os.environ.get("GOVERNANCE_TEST_DATA", ROOT / "../shared/data"))
    if not (root / "classification/table/semantic_types").is_dir():
        return []
    figures = []
    for against in ("labels as they came", "labels after review"):
        short = "labelled" if against.endswith("came") else "reviewed"
        plain = f"as they are, {against}"
        for name, figure, limit, at_most in (
            ("macro_f1", "macro_f1", 0.9, False),
            ("false_alarms", "false_alarms", 0.01, True),
            ("calibration_error", "calibration_error", 0.02, True),
            ("precision_p90", "precision_when_certain", 0.97, False),
        ):
            goal = Goal("value", limit, at_most=at_most)
            figures.append(Figure(f"columns.{short}.{name}", "", _score(plain, figure), goal))
        removed = _score(f"headers removed, {against}", "macro_f1")
        figures.append(
            Figure(f"columns.{short}.no_header.macro_f1", "", removed, Goal("value", 0.75, at_most=False))
        )
        for variant, name in (("headers removed", "no_header"), ("headers shuffled", "shuffled")):
            wrong = _score(f"{variant}, {against}", "wrong_and_certain")
            figures.append(Figure(f"columns.{short}.{name}.wrong_p90", "", wrong))
    arguments = {"every": 8, "folds": 2} if quick else {"every": 1, "folds": 5}
    context = {**arguments, "reference": CITED}
    return [
        Experiment("columns", Call("column_scores:held_out", arguments), figures, pairs=1, context=context)
    ]
