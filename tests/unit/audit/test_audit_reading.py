"""Records read back: shown as text, and what changed between two said in words."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audit_world import World
from click.testing import CliRunner

from governance.audit import MadeReport, make_report
from governance.audit.reading import changes, read_record, told
from governance.cli import cli
from governance.errors import AuditError
from governance.model.canonical import canonical

Edit = Callable[[dict[str, Any]], Any]


def test_a_record_is_read_from_its_file_and_from_its_bundle(art30: MadeReport) -> None:
    assert art30.bundle is not None
    one, other = read_record(art30.json), read_record(art30.bundle)
    assert one == other and list(changes(one, other)) == []
    said = list(told(one))
    assert f"exceptions: {len(one['exceptions'])}" in said
    assert sum(line.startswith("row ") for line in said) == len(one["rows"])


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda r: r["rows"].pop(0), "Row gone: Northlake Institute for Clinical Research, 2026-03-02."),
        (lambda r: r["as_of"].update(size=150), "The log grew by 6 entries."),
        (
            lambda r: r["rows"][0]["cells"]["address"].update(basis="unknown", value=None, note="redacted"),
            "address, if known: was declared, is unknown; said “45 Lakeshore Road, Madison, WI 53703, USA”, says “(redacted)”.",
        ),
        (
            lambda r: r["rows"][0]["cells"]["extent"]["value"].update(subjects=13),
            "rows and individuals: no longer says “12 individuals”; now says “13 individuals”.",
        ),
        (lambda r: r["rows"][0]["cells"]["address"]["cites"].append(3), "rests on 1 more entry."),
        (lambda r: r["exceptions"].pop(0), "Exception gone, "),
        (lambda r: r["unknowns"].append({"code": "x", "text": "y"}), "New unknown, x: y"),
    ],
)
def test_what_changed_is_said_in_words(accounting: MadeReport, edit: Edit, says: str) -> None:
    changed = copy.deepcopy(accounting.record)
    edit(changed)
    [line] = changes(accounting.record, changed)
    assert says.lower() in line.lower()
    assert list(changes(changed, changed)) == []


def test_two_checkpoints_of_one_log(world: World, tmp_path: Path, art30: MadeReport) -> None:
    earlier = make_report(world, "gdpr-art30", tmp_path, as_of=60)
    said = CliRunner().invoke(cli, ["report", "diff", str(earlier.json), str(art30.json)])
    assert said.exit_code == 0 and said.output.startswith("The log grew by ") and "New row: " in said.output
    same = CliRunner().invoke(cli, ["report", "diff", str(art30.json), str(art30.json)])
    assert same.output == "Nothing changed.\n"


def test_two_kinds_are_not_compared_and_what_is_no_record_is_refused(
    art30: MadeReport, accounting: MadeReport, tmp_path: Path
) -> None:
    with pytest.raises(AuditError) as refused:
        list(changes(art30.record, accounting.record))
    assert refused.value.code == "GOV-804"
    for number, junk in enumerate(
        (b"", b"[]", b"{}", b'{"format":"governance-report/1"}', b"\xff", b"[" * 5000)
    ):
        path = tmp_path / f"{number}.json"
        path.write_bytes(junk)
        with pytest.raises(AuditError) as refused:
            read_record(path)
        assert refused.value.code == "GOV-801"


def test_the_commands(accounting: MadeReport, tmp_path: Path) -> None:
    record = json.loads(accounting.json.read_bytes())
    record["rows"][0]["title"] = "\x1b[2Jgone"
    path = tmp_path / "record.json"
    path.write_bytes(canonical(record))
    shown = CliRunner().invoke(cli, ["report", "show", str(path)])
    assert shown.exit_code == 0 and "row 1: \ufffd[2Jgone" in shown.output and "\x1b" not in shown.output
    listed = CliRunner().invoke(cli, ["report", "list", "--kinds", "--json"])
    assert {"gdpr-art30", "hipaa-528"} <= {kind["kind"] for kind in json.loads(listed.output)}
