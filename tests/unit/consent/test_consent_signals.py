"""Opt-outs by signal: what a browser repeats is one opt-out, and one after an opt-in is another."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from test_consent_ledger import DAY, T0, Book, internal

from governance.consent.heads import Batch
from governance.errors import ConsentFindings
from governance.model.decision import Reason, Regime


def signal(subject: str, day: float, **more: str) -> dict[str, str]:
    at = (T0 + timedelta(days=day)).isoformat()
    return {"domain": "patient", "subject_id": subject, "collected_at": at, "signal": "gpc", **more}


def opt_in(subject: str, day: float, purpose: str) -> dict[str, str]:
    at = (T0 + timedelta(days=day)).isoformat()
    said = {"record_id": f"in-{subject}", "domain": "patient", "subject_id": subject, "purpose": purpose}
    return {**said, "action": "opt_in", "valid_from": at, "collected_at": at}


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    return path


def take(book: Book, path: Path, rows: list[dict[str, str]], day: int) -> Batch:
    return book.ledger.import_file(
        write(path, rows),
        internal=internal,
        record=book.record,
        recorded_at=T0 + day * DAY,
        purposes=["training"],
    )


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_a_signal_is_an_opt_out_of_everything_and_its_repetition_is_nothing(
    tmp_path: Path, suffix: str
) -> None:
    book = Book(tmp_path)
    rows = [signal("ann", 2), signal("ann", 1), signal("ann", 1.5), signal("bob", 1)]
    batch = take(book, tmp_path / f"s.{suffix}", rows, 3)
    assert (batch.rows, batch.duplicates, batch.actions) == (2, 2, {"opt_out": 2})
    assert book.leaves[0]["opt_outs"] == {"*": {"opened": 2, "gpc": 2, "ending": 0, "closed": 0}}
    assert take(book, tmp_path / f"again.{suffix}", [signal("bob", 4)], 5).rows == 0

    take(book, tmp_path / f"in.{suffix}", [opt_in("ann", 6, "*")], 6)
    assert take(book, tmp_path / f"later.{suffix}", [signal("ann", 7), signal("bob", 7)], 8).rows == 1
    assert [leaf["opt_outs"]["*"]["closed"] for leaf in book.leaves] == [0, 1, 0]
    out = {
        day: [
            name
            for name, reason in book.reasons(
                T0 + (day + 0.5) * DAY, book.ledger.position, Regime.CCPA
            ).items()
            if reason == Reason.OPTED_OUT.label
        ]
        for day in (1, 6, 7)
    }
    assert out == {1: ["ann", "bob"], 6: ["bob"], 7: ["ann", "bob"]}


def test_a_signal_against_an_opt_in_for_one_purpose_is_not_swallowed(tmp_path: Path) -> None:
    book = Book(tmp_path)
    take(book, tmp_path / "one.csv", [signal("ann", 1)], 2)
    take(book, tmp_path / "two.csv", [opt_in("ann", 3, "training")], 3)
    with pytest.raises(ConsentFindings, match="GOV-202"):
        take(book, tmp_path / "three.csv", [signal("ann", 4)], 5)


@pytest.mark.parametrize(
    "row",
    [
        signal("ann", 1, signal="0"),
        signal("ann", 1, signal=""),
        signal("ann", 1, purpose="training"),
        signal("ann", 1, collected_at="yesterday"),
        signal("", 1),
    ],
)
def test_a_file_of_strange_signals_is_refused_whole(tmp_path: Path, row: dict[str, Any]) -> None:
    book = Book(tmp_path)
    rows = [signal("bob", 1) | dict.fromkeys(row.keys() - set(signal("b", 1)), "training"), row]
    with pytest.raises(ConsentFindings) as refused:
        take(book, tmp_path / "s.csv", rows, 2)
    assert refused.value.code == "GOV-201" and "ann" not in str(refused.value)
    assert book.ledger.position == 0 and not book.leaves
