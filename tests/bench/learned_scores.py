"""How well models find identifiers in text: rules, rules with the NER model, and a CRF fitted on each set's own notes.

A CRF learns from four fifths of a set and is measured on the fifth, or on the set's own test part where it has one.
Presidio is measured beside them, on the same texts, where ``GOVERNANCE_PEER_PYTHON`` is an interpreter that has
presidio-analyzer and ``GOVERNANCE_PEER_MODEL`` the folder of its spaCy pipeline; the limits are what it reached with
en_core_web_md. Scores by type go to ``out/learned/``.
"""

from __future__ import annotations

import json
import os
from itertools import islice
from pathlib import Path
from typing import Any

from tests.bench.experiment import OUT, ROOT, Call, Experiment, Figure, Goal, per_cpu_second, value_of
from tests.bench.measuring import measure

PRESIDIO = {
    "presidio_synth_v2": (0.479, 0.549, 0.649),
    "presidio_generated_large": (0.504, 0.555, 0.649),
    "wnut17_train": (0.282, 0.340, 0.591),
    "meddocan_dev": (0.264, 0.264, 0.724),
}
"""Presidio 2.2.366 with en_core_web_md 3.8.0, threshold 0.35: strict, overlap, characters; the better one of the
reference's figures and of those measured here."""
SETS = tuple(PRESIDIO)
QUICK = {("ner", "presidio_synth_v2"), ("ner", "wnut17_train"), ("crf", "meddocan_dev")} | {
    ("rules", name) for name in SETS
}
PATTERNS = {
    "presidio_synth_v2": 0.200,
    "presidio_generated_large": 0.228,
    "wnut17_train": 0.0,
    "meddocan_dev": 0.225,
}
"""Strict F1 of Presidio's patterns alone, blank English model, measured once by ``tests.bench.text_scores``."""
TRAINED = {
    "PERSON": "person_name", "LOCATION": "city", "ORGANISATION": "organization", "ADDRESS": "street_address",
    "NRP": "ethnicity", "DATE": "date", "AGE": "age", "EMAIL": "email", "PHONE": "phone", "CARD": "credit_card",
    "IBAN": "iban", "SSN": "ssn", "IP": "ip_address", "URL": "url", "ZIP": "postal_code", "LICENSE": "driver_license",
    "ID": "medical_record_number", "SEX": "gender",
}  # fmt: skip
"""The comparison's types as classifications; others are learned under their own names."""


def labelled(name: str, limit: int | None) -> tuple[list[str], list[Any]]:
    """The first texts of a set and their spans, in the types of the comparison."""
    from tests.bench.text_scores import DATA, LABELS

    types = LABELS.get(name, LABELS["meddocan_dev"])
    with (DATA / f"{name}.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, limit)]
    return [r["text"] for r in rows], [[(s, e, types.get(k, k)) for s, e, k in r["spans"]] for r in rows]


def found(system: str, name: str, limit: int | None) -> dict[str, Any]:
    """``rules`` or ``ner`` over a set, or its first ``limit`` texts."""
    from governance.detect import classify_text

    texts, truth = labelled(name, limit)
    # Automata, dictionaries and weights load at first use.
    classify_text(texts[:2], ner=system == "ner")
    spans: list[Any] = []

    def work() -> dict[str, Any]:
        spans.extend(classify_text(texts, ner=system == "ner"))
        return {"texts": len(texts)}

    cost = measure(work)
    return {**cost, **_scored(system, name, truth, spans)}


def trained(name: str, limit: int | None) -> dict[str, Any]:
    """A CRF fitted on a set's own notes; the cost is that of the fitting."""
    from governance.detect import classify_text
    from governance.detect.learned.crf import CrfModel, digest_of
    from governance.detect.learned.labelled import LabelledText
    from governance.detect.learned.training import fit

    if name == "meddocan_dev":
        learned, tested = labelled("meddocan_train", limit), labelled(name, limit)
    else:
        texts, spans = labelled(name, limit)
        held = [place % 5 == 4 for place in range(len(texts))]
        learned, tested = (
            ([t for t, h in zip(texts, held, strict=True) if h is out], [s for s, h in zip(spans, held, strict=True) if h is out])
            for out in (False, True)
        )  # fmt: skip
    notes = [
        LabelledText(text, tuple(sorted((s, e, TRAINED.get(k, k)) for s, e, k in spans)))
        for text, spans in zip(*learned, strict=True)
    ]
    rules = classify_text(learned[0])
    made: list[bytes] = []

    def work() -> dict[str, Any]:
        made.append(fit(notes, rules)[0])
        return {"texts": len(notes), "bytes": len(made[0])}

    cost = measure(work)
    classifications = sorted({kind for note in notes for _, _, kind in note.spans})
    model = CrfModel(made[0], {"classifications": classifications}, digest_of(made[0]))
    return {**cost, **_scored("crf", name, tested[1], classify_text(tested[0], crf=model))}


def presidio(name: str, limit: int | None) -> dict[str, Any]:
    """Presidio over the same texts, in a process of its own."""
    from tests.bench.text_scores import peer

    texts, truth = labelled(name, limit)
    spans, seconds = peer(os.environ["GOVERNANCE_PEER_PYTHON"], os.environ["GOVERNANCE_PEER_MODEL"], texts)
    return {
        "texts": len(texts), "cpu_s": seconds, "wall_s": seconds, "peak_mib": 0.0,
        **_kept("presidio", name, truth, spans),
    }  # fmt: skip


def _scored(system: str, name: str, truth: Any, findings: Any) -> dict[str, Any]:
    from tests.bench.text_scores import OURS

    types = {**OURS, "organization": "ORGANISATION"}
    spans = [
        [(f.start, f.end, types.get(f.classification, f.classification)) for f in row] for row in findings
    ]
    return _kept(system, name, truth, spans)


def _kept(system: str, name: str, truth: Any, spans: Any) -> dict[str, Any]:
    from governance.detect.learned.scoring import measure as scored

    scores = scored(truth, spans)
    folder = OUT.parent / "learned"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{system}.{name}.json").write_text(json.dumps(scores.as_dict(), indent=1), "utf-8")
    overall = scores.overall
    return {
        "strict": overall.f1(overall.strict),
        "overlap": overall.f1(overall.overlap),
        "characters": scores.character_recall,
    }


def experiments(quick: bool) -> list[Experiment]:
    data = Path(os.environ.get("GOVERNANCE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (data / "classification" / "text").is_dir():
        return []
    limit = 150 if quick else None
    made = []
    for name in SETS:
        beside = bool(os.environ.get("GOVERNANCE_PEER_PYTHON")) and not quick
        for system in ("rules", "ner", "crf"):
            few = None if system == "rules" else limit if not quick or name != "meddocan_dev" else 40
            if quick and (system, name) not in QUICK:
                continue
            call = (
                Call("learned_scores:trained", {"name": name, "limit": few})
                if system == "crf"
                else Call("learned_scores:found", {"system": system, "name": name, "limit": few})
            )
            # A subsample says that it runs; whether it is better than the peer, only the whole set.
            goals: list[Goal | None] = [None, None, None]
            if system == "rules":
                goals[0] = Goal("value", PATTERNS[name], at_most=False, unit="of 1")
            elif system == "ner" and not quick:
                goals = [Goal("value", least, at_most=False, unit="of 1") for least in PRESIDIO[name]]
            elif system == "crf" and name == "meddocan_dev" and not quick:
                goals[0] = Goal("value", 0.95, at_most=False, unit="of 1")
            figures = [
                Figure(f"learned.{system}.{name}.{what}", "of 1", value_of(what), goal, peer=value_of(what))
                for what, goal in zip(("strict", "overlap", "characters"), goals, strict=True)
            ]
            speed = per_cpu_second("texts")
            figures.append(
                Figure(f"learned.crf.{name}.training", "texts/s", speed)
                if system == "crf"
                else Figure(f"learned.{system}.{name}.speed", "texts/s", speed, peer=speed)
            )
            peer = Call("learned_scores:presidio", {"name": name, "limit": few})
            made.append(
                Experiment(
                    f"learned.{system}.{name}",
                    call,
                    figures,
                    peer=peer if beside and system == "ner" else None,
                    pairs=1,
                    context={"texts": few or "all"},
                )
            )
    return made
