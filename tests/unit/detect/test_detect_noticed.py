"""Redaction that goes on from a scan gives what redaction alone gives, and a row's own values are never missed."""

from __future__ import annotations

import random
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from governance.detect import TableScanner
from governance.detect.detectors.registry import builtin
from governance.detect.text.noticed import Noticed, NoticedTexts
from governance.detect.text.redaction import known_tags, redact

ROWS = 700
_WORDS = "the patient reported mild pain İ ſ K straße and was given new order for follow up called about naïve café".split()  # noqa: SIM905


def _rows(seed: int) -> dict[str, list[Any]]:
    """Notes that hold nothing, the row's own values as they are or otherwise written, or somebody else's."""
    choice = random.Random(seed)
    columns: dict[str, list[Any]] = {
        name: [] for name in ("email", "phone", "ssn", "name", "born", "id", "note")
    }
    for _ in range(ROWS):
        n = choice.randrange(10**6)
        given, family = (
            choice.choice(["Maria", "Li", "José", "O"]),
            choice.choice(["Muster", "van Dyk", "Łuk"]),
        )
        own: dict[str, Any] = {
            "email": choice.choice(
                [f"User{n}@mail.com", "noone@example.org", " pad@ded.net ", "not an address", ""]
            ),
            "phone": f"+1-{choice.randrange(201, 989)}-555-{n % 10000:04d}",
            "ssn": f"{choice.randrange(1, 666):03d}-{n % 99 + 1:02d}-{n % 9998 + 1:04d}",
            "name": choice.choice([f"{given} {family}", f"{family}, {given}", given]),
            "born": date(1930, 1, 1) + timedelta(days=n % 30_000),
            "id": n,
        }
        day = own["born"]
        shown = choice.choice(
            [
                "", "", "", own["email"].upper(), own["phone"], re.sub("[^0-9]", "", own["phone"]), own["ssn"],
                own["ssn"].replace("-", ""), own["name"].lower(), given, family, str(n), f"x{n}y",
                f"{day:%d.%m.%Y}", f"{day.day}.{day.month}.{day.year}", f"{day:%B} {day.day}, {day.year}",
                f"{day:%d %b %Y}", f"{day:%Y%m%d}", f"{day:%m/%d/%y}", "card 4111 1111 1111 1111",
                "ip 10.1.2.3", "mail a.b@corp.com", "Anna Schmidt said", "İ@", "日本 123",
            ]
        )  # fmt: skip
        words = [choice.choice(_WORDS) for _ in range(choice.randrange(3, 9))]
        words.insert(choice.randrange(len(words) + 1), shown)
        own["note"] = " ".join(words)
        for name, value in own.items():
            columns[name].append(None if choice.random() < 0.04 else value)
    return columns


def _batch(seed: int, wide: bool = False) -> pa.RecordBatch:
    text = pa.large_string() if wide else pa.string()
    columns = _rows(seed)
    kinds = {"born": pa.date32(), "id": pa.int64()}
    arrays = {name: pa.array(values, kinds.get(name, text)) for name, values in columns.items()}
    if wide:
        stamps = [
            None if d is None else datetime(d.year, d.month, d.day, 13, tzinfo=UTC) for d in columns["born"]
        ]
        arrays["born"] = pa.array(stamps, pa.timestamp("us", "UTC"))
    return pa.RecordBatch.from_pydict(arrays)


def _known(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    names = {"person_name": "name", "date_of_birth": "born", "customer_id": "id"}
    return {
        c: batch[names.get(c, c)]
        for c in ("email", "phone", "ssn", "person_name", "date_of_birth", "customer_id")
    }


@pytest.mark.parametrize("wide", [False, True])
def test_redaction_from_what_a_scan_noticed_is_redaction(wide: bool) -> None:
    batches = [_batch(seed, wide) for seed in range(3)]
    batches.insert(1, batches[0].slice(0, 0))
    batches.append(batches[0].slice(11, 333))
    noticed = NoticedTexts()
    scanner = TableScanner(batches[0].schema, noticed=noticed)
    for batch in batches:
        scanner.update(batch)
    kept = np.random.default_rng(1).random(ROWS) < 0.6
    for number, batch in enumerate(b for b in batches if b.num_rows):
        found = noticed.of("note", number, batch["note"])
        assert found is not None
        assert redact(batch["note"], _known(batch), noticed=found) == redact(batch["note"], _known(batch))
        mask = kept[: batch.num_rows]
        part = batch.filter(pa.array(mask))
        assert redact(part["note"], _known(part), noticed=found.among(mask)) == redact(
            part["note"], _known(part)
        )
        assert noticed.of("note", number + 1, batch["note"]) is None
        assert noticed.of("email", number, batch["email"]) is None  # no prose


@pytest.mark.parametrize("wide", [False, True])
def test_a_rows_own_values_go_however_they_are_written(wide: bool) -> None:
    """Held against a search in Python of every row for every way of writing its values."""
    batch = _batch(7, wide)
    redacted = redact(batch["note"], _known(batch)).to_pylist()
    rows = batch.to_pylist()
    for row, after in zip(rows, redacted, strict=True):
        if row["note"] is None:
            assert after is None
            continue
        values = [row["email"], row["phone"], row["ssn"], str(row["id"])]
        values += [re.sub(r"\W", "", v) for v in (row["phone"], row["ssn"]) if v]
        if (day := row["born"]) is not None:
            values += [
                f"{day:%d.%m.%Y}",
                f"{day:%Y%m%d}",
                f"{day:%d %b %Y}",
                f"{day.day}.{day.month}.{day.year}",
            ]
        for value in values:
            value = (value or "").strip()
            if len(value) >= 3 and value != "None":
                assert value.lower() not in after.lower()


def test_each_row_is_redacted_as_it_is_alone() -> None:
    batch = _batch(9)
    together = redact(batch["note"], _known(batch))
    for at in range(0, ROWS, 9):
        row = batch.slice(at, 1)
        assert together[at] == redact(row["note"], _known(row))[0]


def test_other_texts_are_not_taken_for_those_that_were_noticed() -> None:
    noticed, texts = NoticedTexts(), pa.array(["one mail a@b.com here", "two", None])
    noticed.keep("note", 0, texts, Noticed(np.array([0]), np.array([2], np.uint8), [(3,)]))
    found = noticed.of("note", 0, pa.concat_arrays([pa.array(["x"]), texts]).slice(1))
    assert found is not None
    assert (found.rows.tolist(), list(found.detectors)) == ([0], [(3,)])
    assert noticed.of("note", 0, pa.array(["one mail a@b.com herf", "two", None])) is None
    assert noticed.of("note", 0, pa.array(["one mail a@b.com here", "two"])) is None
    assert noticed.of("note", 0, pa.array(["one mail a@b.com", " heretwo", None])) is None


def test_what_finds_no_room_is_not_kept() -> None:
    noticed, texts = NoticedTexts(limit=20), pa.array(["a@b.com"] * 2)
    found = Noticed(np.arange(2), np.full(2, 2, np.uint8), [(14,)] * 2)
    noticed.keep("note", 0, texts, found)
    noticed.keep("note", 1, texts, found)
    assert noticed.of("note", 0, texts) is not None
    assert noticed.of("note", 1, texts) is None


def test_known_values_are_those_of_the_tags() -> None:
    assert {"email", "phone", "ssn", "person_name", "date_of_birth", "customer_id"} <= set(
        known_tags(builtin())
    )
