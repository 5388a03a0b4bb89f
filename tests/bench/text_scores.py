"""How well texts are classified by rules alone, beside Presidio on the same texts.

    python -m tests.bench.text_scores [--peer PYTHON MODEL] [--show SET]

Sets are those of ``GOVERNANCE_TEST_DATA`` (default ``../shared/data``). Findings of a type that a set does not label
are dropped for F1 and count for character recall, ours and the peer's alike. Adds lines to ``out/bench.json`` and
writes confusions by type to ``out/text-confusion.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from governance.detect import classify_text
from governance.detect.learned.labelled import Span
from governance.detect.learned.scoring import Scores, measure
from tests.bench.experiment import ROOT

DATA = (
    Path(os.environ.get("GOVERNANCE_TEST_DATA", ROOT.parent / "shared" / "data")) / "classification" / "text"
)
SETS = ("presidio_synth_v2", "presidio_generated_large", "wnut17_train", "meddocan_dev")

OURS = {
    "person_name": "PERSON", "given_name": "PERSON", "family_name": "PERSON", "email": "EMAIL", "phone": "PHONE",
    "credit_card": "CARD", "iban": "IBAN", "ssn": "SSN", "ip_address": "IP", "url": "URL", "date": "DATE",
    "date_of_birth": "DATE", "street_address": "ADDRESS", "city": "LOCATION", "jurisdiction": "LOCATION",
    "country": "LOCATION", "postal_code": "ZIP", "age": "AGE", "driver_license": "LICENSE", "national_id": "ID",
    "medical_record_number": "ID", "health_plan_id": "ID", "organization": "ORGANISATION", "nationality": "NRP",
    "religion": "NRP", "political_opinion": "NRP", "ethnicity": "NRP", "gender": "SEX",
}  # fmt: skip
"""Our classifications in the types of the comparison."""
PEER = {
    "PERSON": "PERSON", "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "CREDIT_CARD": "CARD", "IBAN_CODE": "IBAN",
    "US_SSN": "SSN", "IP_ADDRESS": "IP", "URL": "URL", "DATE_TIME": "DATE", "LOCATION": "LOCATION", "NRP": "NRP",
    "US_DRIVER_LICENSE": "LICENSE", "AGE": "AGE", "ORGANIZATION": "ORGANISATION", "ADDRESS": "ADDRESS",
}  # fmt: skip
_PRESIDIO_SETS = {
    **PEER, "STREET_ADDRESS": "ADDRESS", "GPE": "LOCATION", "DOMAIN_NAME": "URL", "ZIP_CODE": "ZIP", "TITLE": "TITLE",
    "PREFIX": "TITLE",
}  # fmt: skip
LABELS: Mapping[str, Mapping[str, str]] = {
    "presidio_synth_v2": _PRESIDIO_SETS,
    "presidio_generated_large": _PRESIDIO_SETS,
    "wnut17_train": {
        "person": "PERSON", "location": "LOCATION", "group": "ORGANISATION", "corporation": "ORGANISATION",
        "product": "PRODUCT", "creative-work": "WORK",
    },
    "meddocan_dev": {
        "TERRITORIO": "LOCATION", "PAIS": "LOCATION", "FECHAS": "DATE", "EDAD_SUJETO_ASISTENCIA": "AGE",
        "NOMBRE_SUJETO_ASISTENCIA": "PERSON", "NOMBRE_PERSONAL_SANITARIO": "PERSON", "SEXO_SUJETO_ASISTENCIA": "SEX",
        "CALLE": "ADDRESS", "ID_SUJETO_ASISTENCIA": "ID", "CORREO_ELECTRONICO": "EMAIL",
        "ID_TITULACION_PERSONAL_SANITARIO": "LICENSE", "ID_ASEGURAMIENTO": "ID", "HOSPITAL": "ORGANISATION",
        "INSTITUCION": "ORGANISATION", "CENTRO_SALUD": "ORGANISATION", "NUMERO_TELEFONO": "PHONE",
        "NUMERO_FAX": "PHONE",
    },
}  # fmt: skip


def labelled(name: str) -> tuple[list[str], list[list[Span]]]:
    """The texts of a set and their spans in the types of the comparison."""
    texts, spans = [], []
    with (DATA / f"{name}.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            texts.append(row["text"])
            spans.append([(start, end, LABELS[name].get(kind, kind)) for start, end, kind in row["spans"]])
    return texts, spans


def ours(texts: Sequence[str]) -> list[list[Span]]:
    return [
        [(f.start, f.end, OURS.get(f.classification, f.classification)) for f in findings]
        for findings in classify_text(texts)
    ]


def peer(python: str, model: str, texts: Sequence[str]) -> tuple[list[list[Span]], float]:
    """Presidio's spans and the seconds of processor time it took, in a process of its own."""
    done = subprocess.run(
        [python, str(Path(__file__).with_name("presidio_peer.py")), model],
        input=json.dumps(list(texts)),
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    return [
        [(start, end, PEER.get(kind, kind)) for start, end, kind in _best(spans)] for spans in said["spans"]
    ], float(said["seconds"])


def _best(spans: Sequence[Any]) -> list[Any]:
    # Presidio reports overlapping spans of several types; its anonymizer keeps the longest, as here.
    kept: list[Any] = []
    for span in sorted(spans, key=lambda s: s[0] - s[1]):
        if all(span[1] <= k[0] or k[1] <= span[0] for k in kept):
            kept.append(span)
    return sorted(kept)


def confusion(truth: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]) -> dict[str, dict[str, int]]:
    """For each labelled type what was found over its spans, ``missed`` where nothing was; ``none`` for findings alone."""
    table: dict[str, Counter[str]] = {}
    types = {kind for spans in truth for _, _, kind in spans}
    for gold, spans in zip(truth, found, strict=True):
        for start, end, kind in gold:
            hits = [k for s, e, k in spans if s < end and start < e]
            table.setdefault(kind, Counter())[kind if kind in hits else hits[0] if hits else "missed"] += 1
        for start, end, kind in spans:
            if kind in types and not any(s < end and start < e for s, e, _ in gold):
                table.setdefault("none", Counter())[kind] += 1
    return {kind: dict(counts.most_common()) for kind, counts in sorted(table.items())}


def _line(label: str, scores: Scores, rate: float) -> str:
    overall = scores.overall
    return (
        f"{label:34} strict {overall.f1(overall.strict):.3f}  overlap {overall.f1(overall.overlap):.3f}  "
        f"characters {scores.character_recall:.3f}  {rate:8.3f} MB/s"
    )


def _types(scores: Mapping[str, Scores]) -> str:
    names = sorted({kind for each in scores.values() for kind in each.by_type})
    rows = []
    for kind in names:
        cells = []
        for each in scores.values():
            agreement = each.by_type[kind]
            cells.append(f"{agreement.f1(agreement.strict):.3f}/{agreement.f1(agreement.overlap):.3f}")
        number = next(iter(scores.values())).by_type[kind].labelled
        rows.append(f"    {kind:14} {number:6}  " + "  ".join(cells))
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", nargs=2, metavar=("PYTHON", "MODEL"), action="append", default=[])
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    results: dict[str, dict[str, Any]] = {}
    confusions = {}
    for name in SETS:
        if options.only not in name:
            continue
        texts, truth = labelled(name)
        size = sum(len(text.encode()) for text in texts)
        classify_text(texts[:1])
        begun = time.process_time()
        found = ours(texts)
        spent = time.process_time() - begun
        scores = {"rules": measure(truth, found)}
        rates = {"rules": size / spent / 1e6}
        confusions[name] = confusion(truth, found)
        for python, model in options.peer:
            label = f"presidio {Path(model).name}"
            spans, seconds = peer(python, model, texts)
            scores[label], rates[label] = measure(truth, spans), size / seconds / 1e6
        print(f"{name}: {len(texts)} texts, {scores['rules'].overall.labelled} spans")
        for label, each in scores.items():
            print("  " + _line(label, each, rates[label]))
            results |= {line["name"]: line for line in _entries(name, label, each, rates[label])}
        print(f"    {'strict/overlap':14} labels  " + "  ".join(f"{label[:11]:>11}" for label in scores))
        print(_types(scores), flush=True)
    (ROOT / "out").mkdir(exist_ok=True)
    (ROOT / "out" / "text-confusion.json").write_text(json.dumps(confusions, indent=1, ensure_ascii=False))
    file = ROOT / "out" / "bench.json"
    kept = json.loads(file.read_text()) if file.exists() else []
    kept = [line for line in kept if line["name"] not in results]
    file.write_text(json.dumps(kept + list(results.values()), indent=1))


def _entries(name: str, label: str, scores: Scores, rate: float) -> Iterator[dict[str, Any]]:
    overall = scores.overall
    for what, value in (
        ("strict", overall.f1(overall.strict)),
        ("overlap", overall.f1(overall.overlap)),
        ("characters", scores.character_recall),
    ):
        yield {
            "name": f"text.{name}.{what}.{label.replace(' ', '.')}", "value": round(value, 3), "unit": "share",
            "floor": None, "peer": None, "ratio": None, "spread": None, "goal": None, "holds": None,
            "context": {"texts": scores.texts, "labels": overall.labelled, "mb_per_cpu_s": round(rate, 3)},
        }  # fmt: skip


if __name__ == "__main__":
    main()
