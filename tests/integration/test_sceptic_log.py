"""What a sceptic asks about the log: tests 5, 6 and 7 of twelve.

5. Clocks are wrong. 6. A report for a past date. 7. Entries are edited, deleted, cut off.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from before_and_after import CUSTOMERS, german_subjects
from governed_home import Home, refused
from sceptic_reports import cell, record, remarks
from test_erasure import erase

from governance.audit import make_report, verify_bundle
from governance.log import OPENLINEAGE_EVENT, NewEntry


def event(state: str, run: int, minute: int, job: str = "nightly.load") -> NewEntry:
    """What a scheduler tells of somebody else's task."""
    said = {
        "eventType": state,
        "eventTime": f"2026-11-24T10:{minute:02}:00Z",
        "run": {"runId": str(uuid.UUID(int=run))},
        "job": {"namespace": "airflow", "name": job},
        "producer": "https://example.com",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json",
    }
    return NewEntry(json.dumps(said).encode(), OPENLINEAGE_EVENT, "ingest:airflow")


def test_5_the_log_orders_and_a_wrong_clock_is_flagged(released: Home) -> None:
    workspace = released.workspace()
    ahead = replace(workspace, clock=lambda: workspace.clock() + timedelta(days=3))
    size = workspace.log.size()
    early = released.run(CUSTOMERS, workspace=ahead)
    proofs = sum(
        any(k.startswith("governance_") for k in e["run"]["facets"])
        for e in released.events()
        if e["index"] >= size
    )
    later = released.run(CUSTOMERS)
    log = released.workspace().log
    first = log.append(
        [event("START", 1, 30), event("COMPLETE", 1, 10), event("START", 2, 0), event("FAIL", 2, 1)]
    )[0]
    said = record(released, "compliance")
    [skewed] = remarks(said, "clock-skew")
    assert skewed["count"] == proofs and "ordered by the log" in skewed["text"]
    [backwards] = remarks(said, "negative-duration")
    assert (backwards["cites"], backwards["count"]) == ([first + 1], 1)
    assert "airflow.nightly.load" in backwards["text"] and "2026-11-24T10:10:00" in backwards["text"]
    # The one released last by the log is in use, whatever the clock of the other said.
    assert cell(said, CUSTOMERS, "version")["value"]["version"] == later.reference.version
    assert early.reference.version != later.reference.version


def test_6_a_report_for_a_past_date_is_the_same_bytes_and_says_what_was_redacted(
    released: Home, tmp_path: Path
) -> None:
    workspace = released.workspace()
    [open_task] = workspace.log.append([event("START", 7, 0, "load.C-0000000007")])
    size = workspace.log.checkpoint().size

    def made(folder: str) -> tuple[bytes, bytes, dict[str, Any]]:
        found = make_report(released.workspace(), "compliance", tmp_path / folder, bundle=True, as_of=size)
        assert found.bundle is not None
        verdict = verify_bundle(found.bundle, released.workspace().vkey)
        assert verdict.ok, verdict.first_failure
        return found.json.read_bytes(), found.bundle.read_bytes(), found.record

    then = made("then")
    released.run(CUSTOMERS)
    erase(released, "LATER", next(iter(german_subjects(released))))
    assert made("again")[:2] == then[:2], "later facts are in a new report only"
    newest = record(released, "compliance")
    assert newest["rows"] != then[2]["rows"]
    released.workspace().log.redact(open_task, "GDPR Art. 17(1)(d)", "rights:dpo")
    _, _, after = made("after")
    [redacted] = remarks(after, "entry-redacted")
    assert redacted["cites"] == [open_task]
    assert after["rows"] == then[2]["rows"] and after["as_of"] == then[2]["as_of"]
    assert not any("C-0000000007" in r["text"] for r in after["unknowns"])


@pytest.mark.parametrize("what", ["edited", "deleted", "truncated"])
def test_7_an_entry_that_was_touched_is_named_and_nothing_is_reported(what: str, released: Home) -> None:
    index = released.workspace().log.checkpoint().size - 4
    with closing(sqlite3.connect(released.path / "store" / "log.sqlite", isolation_level=None)) as store:
        if what == "edited":
            [body] = store.execute("SELECT body FROM entry WHERE idx = ?", (index,)).fetchone()
            store.execute("UPDATE entry SET body = ? WHERE idx = ?", (body[:-1] + b" ", index))
        else:
            store.execute(f"DELETE FROM entry WHERE idx {'=' if what == 'deleted' else '>='} ?", (index,))
    with refused("GOV-503", "GOV-504") as caught:
        record(released, "compliance")
    if what != "truncated":
        assert f"entry {index} " in caught[0].message
    code, out, _ = released.cli("log", "verify", "--json")
    assert (code, json.loads(out)["first_bad"]) == (1, index)
