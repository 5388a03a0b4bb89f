"""A model of a team's own notes: that it learns, what its file holds, and which files are refused."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from governance.cli import cli
from governance.detect import classify_text
from governance.detect.detectors.dictionaries import fold
from governance.detect.learned.crf import FORMAT, digest_of, load_model, tags_of
from governance.detect.learned.features import common_words, lines_of
from governance.detect.learned.labelled import LabelledText
from governance.detect.learned.training import Trained, train
from governance.errors import ContractError, SettingError

pytest.importorskip("pycrfsuite", reason="the extra train is not installed")

SYLLABLES = ["zor", "quel", "mip", "tarn", "vosk", "lumb", "drax", "fenn", "gryt", "hask", "plim", "wrob"]


def name(chance: random.Random) -> str:
    return "".join(chance.sample(SYLLABLES, 2)).capitalize()


def notes(number: int, seed: int) -> list[LabelledText]:
    """Notes in which names that no dictionary has stand in forms and in sentences."""
    chance = random.Random(seed)
    made = []
    for _ in range(number):
        given, family, ward = name(chance), name(chance), str(chance.randint(100, 999))
        parts = chance.choice(
            [
                [
                    "Patient: ",
                    (f"{given} {family}", "person_name"),
                    ". Ward ",
                    (f"W-{ward}", "customer_id"),
                    ".",
                ],
                ["Seen by nurse ", (f"{given} {family}", "person_name"), " on the ward, no fever today."],
                ["Ward ", (f"W-{ward}", "customer_id"), "\nThe patient slept well and took the tablets."],
                ["Transferred to ward 12 in bed 3, blood pressure 120 over 80, no fever."],
            ]
        )
        text, spans = "", []
        for part in parts:
            if isinstance(part, tuple):
                spans.append((len(text), len(text) + len(part[0]), part[1]))
                text += part[0]
            else:
                text += part
        made.append(LabelledText(text, tuple(spans)))
    return made


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(notes(300, 1), notes(100, 2), "en")


@pytest.fixture(scope="module")
def model(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "ward.crf"
    file.write_bytes(trained.file)
    return file


def test_it_learns_what_no_rule_knows(trained: Trained, model: Path) -> None:
    assert trained.scores.overall.f1(trained.scores.overall.strict) > 0.97
    text = "Seen by nurse Brontu Kavelis on the ward, no fever today. Mail: a.b@example.org"
    found = classify_text([text], crf=model)[0]
    assert [(text[f.start : f.end], f.classification) for f in found] == [
        ("Brontu Kavelis", "person_name"),
        ("a.b@example.org", "email"),
    ]
    assert all(0 < f.score <= 1 for f in found)


def test_a_handful_of_notes_is_refused_unless_there_are_others_to_measure_on() -> None:
    with pytest.raises(ContractError, match="9 notes are too few") as caught:
        train(notes(9, 1))
    assert caught.value.code == "GOV-122"
    assert train(notes(9, 1), notes(9, 2)).scores.texts == 9


def test_the_same_notes_give_the_same_file(trained: Trained) -> None:
    assert train(notes(300, 1), notes(100, 2), "en").digest == trained.digest


def test_no_name_of_the_notes_is_readable_in_the_file(trained: Trained) -> None:
    names = {
        word
        for note in notes(300, 1)
        for start, end, kind in note.spans
        if kind == "person_name"
        for word in note.text[start:end].split()
    }
    readable = fold(trained.file.decode("utf-8", "replace"))
    assert len(names) > 100
    assert [word for word in names if fold(word) in readable] == []
    wards = {n.text[s:e] for n in notes(300, 1) for s, e, k in n.spans if k == "customer_id"}
    assert [ward for ward in wards if fold(ward) in readable] == []
    assert "patient" in readable, "words that name no one are features"


def test_names_and_rare_words_are_no_features() -> None:
    public = LabelledText("Calle Mayor in Madrid", ((0, 11, "street_address"), (15, 21, "city")))
    one = LabelledText("Mayor came, and a syndrome was found by De Rosa", ((40, 47, "person_name"),))
    rare = LabelledText("Zwickau has a hospital", ((0, 7, "city"),))
    many = [LabelledText(f"the ward had {n} beds and Fiebelkorn slept", ()) for n in range(12)]
    common = common_words([*[public] * 12, one, rare, *many])
    assert {"calle", "ward", "de"} <= common.words
    assert not {"rosa", "zwickau", "syndrome"} & common.words
    # A name that nobody labelled is common property only where no dictionary of names has it.
    assert "fiebelkorn" in common.words


def test_a_span_over_two_lines_is_one_finding() -> None:
    text = "12 Long Street\nSmallville"
    lines = list(lines_of(text))
    tags = [tag for line in lines for tag in tags_of(line, [(0, len(text), "street_address")])]
    assert tags == ["B-street_address", *["I-street_address"] * 3]
    assert [line.tokens for line in lines] == [("12", "Long", "Street"), ("Smallville",)]


def test_the_card_holds_counts_and_scores_and_no_text(trained: Trained, model: Path) -> None:
    card = load_model(model).card
    assert card["labels"].keys() == {"customer_id", "person_name"}
    assert card["scores"]["overall"]["strict"] > 0.97
    assert card["language"] == "en"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", card["training_sha256"])
    assert set(card) == {
        "classifications", "labels", "language", "measured_on", "model_sha256", "notes", "package", "readable_words",
        "scores", "settings", "training_sha256",
    }  # fmt: skip


def test_an_altered_truncated_or_foreign_file_is_refused(
    trained: Trained, model: Path, tmp_path: Path
) -> None:
    head, body = trained.file.split(b"\n", 2)[:2], trained.file.split(b"\n", 2)[2]
    cases = {
        "was altered": trained.file[:-100] + bytes([trained.file[-100] ^ 1]) + trained.file[-99:],
        "was altered after": trained.file[: len(trained.file) // 2],
        "no model of this format": b"PK\x03\x04" + trained.file,
        "no readable card": FORMAT + b"{\n" + body,
        "no complete card": FORMAT + b"{}\n" + body,
    }
    assert head[0] + b"\n" == FORMAT
    for number, (reason, data) in enumerate(cases.items()):
        file = tmp_path / f"{number}.crf"
        file.write_bytes(data)
        with pytest.raises(SettingError, match=reason) as caught:
            classify_text(["x"], crf=file)
        assert caught.value.code == "GOV-121"
    with pytest.raises(SettingError, match="cannot be read"):
        classify_text(["x"], crf=tmp_path / "absent.crf")


def test_a_pinned_model_is_the_one_that_was_meant(trained: Trained, model: Path) -> None:
    assert load_model(f"{model}@{digest_of(trained.file)}").digest == trained.digest
    with pytest.raises(SettingError, match="not the pinned one"):
        load_model(f"{model}@sha256:{'0' * 64}")


def test_hostile_texts_are_tagged_in_bounded_pieces(model: Path) -> None:
    texts = ["", "a" * 200_000, "9" * 100_000, "\ud800\x00", "x " * 20_000, "Seen by nurse " * 2_000]
    found = classify_text(texts, crf=model)
    assert [len(row) for row in found[:1]] == [0]
    assert all(0 <= f.start < f.end <= len(t) for t, row in zip(texts, found, strict=True) for f in row)
    assert max(len(line.tokens) for line in lines_of(texts[4])) <= 400


def test_the_commands_train_measure_and_use_a_model(tmp_path: Path) -> None:
    for file, made in (("train.jsonl", notes(200, 1)), ("test.jsonl", notes(60, 2))):
        lines = [
            json.dumps(
                {"text": n.text, "spans": [[s, e, {"person_name": "WHO"}.get(k, k)] for s, e, k in n.spans]}
            )
            for n in made
        ]
        (tmp_path / file).write_text("\n".join(lines), "utf-8")
    table = tmp_path / "table.csv"
    rows = [f'{n},"{note.text}"' for n, note in enumerate(notes(200, 3)) if "\n" not in note.text]
    table.write_text("\n".join(["id,note", *rows]), "utf-8")
    run = CliRunner()
    out = tmp_path / "models" / "ward.crf"
    mapped = ["--map", "WHO=person_name", "--json"]
    done = run.invoke(cli, ["detect", "train", str(tmp_path / "train.jsonl"), "--out", str(out), *mapped])
    assert done.exit_code == 0, done.output
    stated = json.loads(done.output)
    assert stated["scores"]["overall"]["strict"] > 0.9
    pinned = f"{out}@{stated['digest']}"
    done = run.invoke(cli, ["detect", "scores", str(tmp_path / "test.jsonl"), "--model", pinned, *mapped])
    assert json.loads(done.output)["overall"]["strict"] > 0.9
    done = run.invoke(cli, ["classify", str(table), "--model", pinned, "--json"])
    assert done.exit_code == 0, done.output
    contents = {c["classification"] for c in json.loads(done.output)["columns"]["note"]["contains"]}
    assert {"person_name", "customer_id"} <= contents
    done = run.invoke(
        cli, ["detect", "train", str(tmp_path / "train.jsonl"), "--out", str(out), "--map", "WHO"]
    )
    assert done.exit_code == 2
