"""A team's own detectors: their examples are their tests, bad ones are refused with the line and the reason."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner
from stdnum.be import nn

from governance.cli import cli
from governance.detect import Detectors, classify_table, classify_text, load_detectors, redact
from governance.detect.detectors.custom import examine
from governance.detect.detectors.detector import DetectorFault
from governance.detect.detectors.pattern_speed import corpora, require_fast, require_rare
from governance.errors import ContractError
from governance.model.classification import HARMLESS

DOCS = Path(__file__).resolve().parents[3] / "docs" / "detection.md"
NUMBERS = [
    number
    for day in range(1, 29)
    for order in range(1, 20)
    if nn.is_valid(number := f"8507{day:02d}{order:03d}{97 - int(f'8507{day:02d}{order:03d}') % 97:02d}")
]


@pytest.fixture
def documented(tmp_path: Path) -> Path:
    """The file of the walkthrough, exactly as documented."""
    shown = re.search(r"<!-- (\S+\.yaml) -->\n```yaml\n(.*?)```", DOCS.read_text("utf-8"), re.S)
    assert shown
    path = tmp_path / shown.group(1)
    path.write_text(shown.group(2), "utf-8")
    return path


def _written(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text, "utf-8")
    return path


def test_the_documented_file_finds_the_national_id(documented: Path) -> None:
    table = pa.table(
        {"insz": NUMBERS, "c1": NUMBERS, "c2": [int(n) for n in NUMBERS], "plan": ["A"] * len(NUMBERS)}
    )
    found = classify_table(table, detectors=str(documented))
    assert {name: found[name].classification for name in ("insz", "c1", "plan")} == {
        "insz": "be_national_number",
        "c1": "be_national_number",
        "plan": HARMLESS,
    }
    assert found["insz"].confidence >= 0.9
    text = "Mijn rijksregisternummer is 85.07.30-033.28, mail a.b@example.org."
    spans = [
        (text[f.start : f.end], f.classification) for f in classify_text([text], detectors=[documented])[0]
    ]
    assert ("85.07.30-033.28", "be_national_number") in spans
    assert ("a.b@example.org", "email") in spans
    assert redact(pa.array([text]), detectors=documented)[0].as_py().count("[ID]") == 1
    assert "be_national_number" not in {f.classification for f in classify_text([text])[0]}


def test_the_documented_commands_run(documented: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(documented.parent)
    Path("people.csv").write_text("insz,plan\n" + "\n".join(f"{n},A" for n in NUMBERS), "utf-8")
    tried = CliRunner().invoke(cli, ["detect", "check", documented.name], catch_exceptions=False)
    assert tried.exit_code == 0
    assert "6 of 6 examples hold" in tried.output
    scanned = CliRunner().invoke(
        cli, ["classify", "people.csv", "--detectors", documented.name, "--json"], catch_exceptions=False
    )
    answer = json.loads(scanned.output)
    assert answer["columns"]["insz"]["classification"] == "be_national_number"
    assert answer["columns"]["insz"]["title"] == "Belgian national register number"
    assert answer["detectors"] == [{"name": "be.yaml", "digest": load_detectors("be.yaml").files[0].digest}]


def test_detectors_are_compiled_once_and_read_again_when_they_change(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        "dictionaries: {wards: {file: wards.txt}}\ncolumns: [{classification: city, header: {decisive: [ward]}}]",
    )
    (tmp_path / "wards.txt").write_text("North\nSouth\n")
    first = load_detectors(path)
    assert isinstance(first, Detectors)
    assert load_detectors(path) is first
    (tmp_path / "wards.txt").write_text("North\nEast\n")
    assert load_detectors(path).files[0].digest != first.files[0].digest


def test_a_dictionary_of_a_file_classifies(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        """
classifications: {ward: {description: A ward, sensitivity: internal}}
dictionaries: {wards: [Nord, "Süd", no, 0123]}
columns:
  - classification: ward
    tests: [{dictionary: wards, alone: 0.8, minimum: 3}]
    examples: {match: [SUD, no, 0123], no_match: [West]}
""",
    )
    found = classify_table(pa.table({"x": ["Nord", "Süd", "NO", "0123"] * 9}), detectors=path)
    assert found["x"].classification == "ward"


REFUSED = [
    (
        "columns: [{classification: shoe_size, header: {decisive: [shoe]}}]",
        "GOV-113",
        1,
        "no classification shoe_size",
    ),
    (
        "text: [{classification: email, pattern: 'a(?=b)', examples: {match: [ab], no_match: [b]}}]",
        "GOV-114",
        1,
        "not RE2",
    ),
    (
        "text: [{classification: email, pattern: 'a*', examples: {match: [ab], no_match: [b]}}]",
        "GOV-114",
        1,
        "empty string",
    ),
    (
        "text: [{classification: email, pattern: '(?:\\p{L}{1,60}\\d{1,60}){1,9}', examples: {match: [ab], no_match: [b]}}]",
        "GOV-114",
        1,
        "too large",
    ),
    (
        "text: [{classification: email, pattern: '[a-z]+', examples: {match: [ab], no_match: ['1']}}]",
        "GOV-114",
        1,
        "ordinary",
    ),
    (
        "text: [{classification: email, pattern: '(a)b', examples: {match: [ab], no_match: [b]}}]",
        "GOV-114",
        1,
        "groups",
    ),
    (
        "text:\n  - classification: email\n    pattern: '[0-9]{6}'\n    examples:\n      match: [x]\n      no_match: ['123456']",
        "GOV-115",
        5,
        "does not match",
    ),
    (
        "columns:\n  - classification: email\n    tests: [{validator: luck}]\n    examples: {match: [x], no_match: [y]}",
        "GOV-113",
        2,
        "no validator is named luck",
    ),
    (
        "columns: [{classification: email, tests: [{validator: email}]}]",
        "GOV-113",
        1,
        "`examples` is missing",
    ),
    ("columns: [{classification: email, hedder: {decisive: [a]}}]", "GOV-113", 1, "did you mean `header`?"),
    (
        "columns: [{classification: email, tests: [{dictionary: x}], examples: {match: [x], no_match: [y]}}]",
        "GOV-113",
        1,
        "no dictionary",
    ),
    ("classifications: {email: {description: mine, sensitivity: public}}", "GOV-113", 1, "exists already"),
    ("classifications: {x1: {description: mine, sensitivity: secret}}", "GOV-113", 1, "write one of public"),
    ("dictionaries: {words: {file: ../etc/passwd}}", "GOV-113", 1, "relative path"),
    ("dictionaries: {words: {file: missing.txt}}", "GOV-113", 1, "cannot be read"),
    ("columns: &a [*a]", "GOV-113", 1, "aliases"),
    ("columns: [", "GOV-113", 2, "not YAML"),
    ("- a", "GOV-113", 1, "no mapping"),
    ("columns: " + "[" * 40, "GOV-113", 1, "nested"),
    ("text: []\ntext: []", "GOV-113", 2, "written twice"),
    ("a: 1\n---\nb: 2", "GOV-113", 2, "second document"),
]


@pytest.mark.parametrize(("text", "code", "line", "reason"), REFUSED)
def test_a_bad_file_is_refused_with_code_line_and_reason(
    tmp_path: Path, text: str, code: str, line: int, reason: str
) -> None:
    path = _written(tmp_path, text)
    with pytest.raises(ContractError) as caught:
        load_detectors(path)
    assert caught.value.code == code
    assert reason in caught.value.message
    assert f"own.yaml:{line}:" in caught.value.message


def test_every_fault_is_said_at_once(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        "columns:\n  - {classification: nothing, header: {decisive: [a]}}\n"
        "text:\n  - {classification: email, pattern: '(', examples: {match: [a], no_match: [b]}}\n",
    )
    faults = examine(path).faults
    assert [(f.line, f.code) for f in faults] == [(2, "GOV-113"), (4, "GOV-114")]
    with pytest.raises(ContractError, match="2 problems"):
        load_detectors(path)


@pytest.mark.parametrize("kind", ["missing", "folder", "binary", "large"])
def test_what_is_no_file_of_detectors_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.yaml"
    if kind == "folder":
        path = tmp_path / "empty"
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"columns: \xff\xfe")
    elif kind == "large":
        path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ContractError) as caught:
        load_detectors(path)
    assert caught.value.code == "GOV-113"


def test_a_pinned_file_that_changed_is_refused(documented: Path) -> None:
    digest = load_detectors(documented).files[0].digest
    assert load_detectors(documented, pinned={str(documented): digest}).files[0].digest == digest
    documented.write_text(documented.read_text("utf-8") + "\n# changed\n", "utf-8")
    with pytest.raises(ContractError) as caught:
        load_detectors(documented, pinned={str(documented): digest})
    assert caught.value.code == "GOV-112"


def test_a_folder_of_files_builds_on_one_another(documented: Path) -> None:
    (documented.parent / "z.yaml").write_text(
        "columns: [{classification: be_national_number, header: {decisive: [klantcode]}}]", "utf-8"
    )
    found = classify_table(pa.table({"klantcode": ["a1", "b2"]}), detectors=documented.parent)
    assert found["klantcode"].classification == "be_national_number"


def test_speed_is_measured_on_texts_that_are_hard(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"base64", "UUIDs", "upper case", "one long value"} <= set(corpora())
    assert require_fast("[0-9]{3}-[0-9]{2}").slowest > 0
    # Its program is far beyond RE2's automaton, which falls back to simulating states.
    with pytest.raises(DetectorFault, match="too slow"):
        require_fast(r"(?:[\p{L}]{1,50}[0-9]{0,5}){1,4}")
    with pytest.raises(DetectorFault, match="ordinary sentences"):
        require_rare(r"\w+")


def test_check_says_which_example_is_wrong_and_fails(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        "text: [{classification: email, pattern: '[0-9]{6}', examples: {match: [x], no_match: [y]}}]",
    )
    result = CliRunner().invoke(cli, ["detect", "check", str(path), "--json"])
    assert isinstance(result.exception, ContractError)
    entry = json.loads(result.stdout)["files"][0]["entries"][0]
    assert [e["holds"] for e in entry["examples"]] == [False, True]
    shown = CliRunner().invoke(cli, ["detect", "check", str(path)])
    assert "WRONG" in shown.stdout


def test_a_file_of_bombs_ends_early(tmp_path: Path) -> None:
    bombs = "\n".join(
        "  - {classification: email, pattern: '(?:[a-f0-9]{1,40}x){9}[0-9]', examples: {match: [a], no_match: [b]}}".replace(
            "{9}", f"{{{n}}}"
        )
        for n in range(40, 90)
    )
    faults = examine(_written(tmp_path, f"text:\n{bombs}\n")).faults
    assert {fault.code for fault in faults} == {"GOV-114"}
    assert len(faults) == 11
    assert "was not tried" in faults[0].reason
    many = "columns:\n" + "  - {classification: email, header: {decisive: [a]}}\n" * 501
    with pytest.raises(ContractError, match="more than 500 detectors"):
        load_detectors(_written(tmp_path, many))


@pytest.mark.parametrize(
    "pattern", ["(?:[\\p{L}\\d]{1,30}){1,8}!", "(?i:" + "|".join(f"word{n}" for n in range(1500)) + ")"]
)
def test_what_arrow_has_no_memory_for_is_refused_or_runs(tmp_path: Path, pattern: str) -> None:
    path = _written(
        tmp_path,
        json.dumps(
            {
                "text": [
                    {
                        "classification": "email",
                        "pattern": pattern,
                        "examples": {"match": ["word7"], "no_match": ["b"]},
                    }
                ]
            }
        ),
    )
    assert {fault.code for fault in examine(path).faults} <= {"GOV-114", "GOV-115"}


def test_what_a_column_of_a_team_knows_leaves_the_text_of_its_row(tmp_path: Path) -> None:
    path = _written(
        tmp_path,
        """
classifications:
  staff_code: {description: Staff code, sensitivity: confidential}
  ward: {description: A ward, sensitivity: internal}
columns:
  - {classification: staff_code, header: {decisive: [staff code]}}
  - {classification: ward, header: {decisive: [ward]}}
""",
    )
    known = {"staff_code": pa.array(["wolfram"]), "ward": pa.array(["North wing"])}
    redacted = redact(pa.array(["seen by Wolfram in north wing"]), known, detectors=path)
    assert redacted.to_pylist() == ["seen by [ID] in north wing"]
