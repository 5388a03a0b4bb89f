"""Bad sources: a stable code, no value of the data in what is shown, nothing lost, and the next run works."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from before_and_after import (
    CANARY,
    CUSTOMERS,
    Before,
    logged_text,
)
from governed_home import Home, refused

from governance.model.evidence import Stage
from governance.pipeline.classify import classify
from governance.pipeline.consent import consent
from governance.pipeline.run import STEPS


def truncated_parquet(home: Home) -> tuple[str, Path]:
    part = home.source("clinical_encounters") / "part-1.parquet"
    part.write_bytes(part.read_bytes()[: part.stat().st_size * 2 // 3])
    return "clinical_encounters", home.source("clinical_encounters")


def ragged_row(home: Home) -> tuple[str, Path]:
    path = home.source(CUSTOMERS)
    lines = path.read_text("utf-8").splitlines()
    lines.insert(100, f'"{CANARY}","one","two"')
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return CUSTOMERS, path


def invalid_utf8(home: Home) -> tuple[str, Path]:
    path = home.source(CUSTOMERS)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(
        b"".join([*lines[:50], lines[50].replace(b'"C-', CANARY.encode().join([b'"\xff', b"-"]))])
    )
    return CUSTOMERS, path


def invalid_utf8_lines(home: Home) -> tuple[str, Path]:
    path = home.source("support_prompts")
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    lines[40] = lines[40].replace(b'"prompt":"', b'"prompt":"' + CANARY.encode() + b"\xc3\x28")
    path.write_bytes(gzip.compress(b"".join(lines)))
    return "support_prompts", path


def malformed_json(home: Home) -> tuple[str, Path]:
    path = home.source("support_prompts")
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    lines[40] = b'{"conversation_id":"' + CANARY.encode() + b'",,}\n'
    path.write_bytes(gzip.compress(b"".join(lines)))
    return "support_prompts", path


def truncated_gzip(home: Home) -> tuple[str, Path]:
    path = home.source("support_prompts")
    path.write_bytes(path.read_bytes()[:-2000])
    return "support_prompts", path


def wrong_type(home: Home) -> tuple[str, Path]:
    path = home.source(CUSTOMERS)
    table = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types={}))
    values = [CANARY, *map(str, table["lifetime_value"].to_pylist()[1:])]
    index = table.schema.get_field_index("lifetime_value")
    pa_csv.write_csv(table.set_column(index, "lifetime_value", pa.array(values)), path)
    return CUSTOMERS, path


def no_rows(home: Home) -> tuple[str, Path]:
    path = home.source(CUSTOMERS)
    path.write_text(path.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    return CUSTOMERS, path


def no_rows_parquet(home: Home) -> tuple[str, Path]:
    for part in home.source("clinical_encounters").glob("*.parquet"):
        pq.write_table(pq.read_schema(part).empty_table(), part)
    return "clinical_encounters", home.source("clinical_encounters")


def no_bytes(home: Home) -> tuple[str, Path]:
    home.source(CUSTOMERS).write_bytes(b"")
    return CUSTOMERS, home.source(CUSTOMERS)


def no_subject_column(home: Home) -> tuple[str, Path]:
    path = home.source(CUSTOMERS)
    pa_csv.write_csv(pa_csv.read_csv(path).drop_columns(["customer_id"]), path)
    return CUSTOMERS, path


def column_gone(home: Home) -> tuple[str, Path]:
    path = home.source(CUSTOMERS)
    pa_csv.write_csv(pa_csv.read_csv(path).drop_columns(["loyalty_tier"]), path)
    return CUSTOMERS, path


def undeclared_column(home: Home) -> tuple[str, Path]:
    path = home.source(CUSTOMERS)
    table = pa_csv.read_csv(path)
    pa_csv.write_csv(table.append_column("nickname", pa.array([CANARY] * table.num_rows)), path)
    return CUSTOMERS, path


def nothing_there(home: Home) -> tuple[str, Path]:
    home.source(CUSTOMERS).unlink()
    return CUSTOMERS, home.source(CUSTOMERS)


Spoiler = Callable[[Home], tuple[str, Path]]


SPOILERS: dict[Spoiler, str] = {
    truncated_parquet: "GOV-701",
    ragged_row: "GOV-702",
    invalid_utf8: "GOV-703",
    invalid_utf8_lines: "GOV-703",
    malformed_json: "GOV-702",
    truncated_gzip: "GOV-701",
    wrong_type: "GOV-702",
    no_rows: "GOV-704",
    no_rows_parquet: "GOV-704",
    no_bytes: "GOV-704",
    no_subject_column: "GOV-105",
    column_gone: "GOV-103",
    undeclared_column: "GOV-103",
    nothing_there: "GOV-701",
}


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda x: x.__name__)
def test_a_bad_source_is_refused_and_nothing_is_lost(spoil: Spoiler, released: Home, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(released.path / "input", kept)
    dataset, _ = spoil(released)
    before = Before(released, dataset)
    with refused(SPOILERS[spoil], free_of=(CANARY,)):
        released.run(dataset)
    before.is_untouched()
    assert CANARY not in logged_text(released)
    shutil.rmtree(released.path / "input")
    kept.rename(released.path / "input")
    before.and_a_good_run_succeeds()


def test_the_command_says_code_and_remedy_and_no_value(released: Home) -> None:
    ragged_row(released)
    arguments = ("run", released.contract(CUSTOMERS), "--purpose", "model_training")
    code, out, err = released.cli(*arguments, "--source", released.source(CUSTOMERS))
    assert code == 1
    assert "GOV-702" in err
    assert "→" in err
    assert CANARY not in out + err
    code, out, err = released.cli(*arguments, "--source", released.source(CUSTOMERS), "--json")
    assert code == 1
    assert json.loads(err)["error"]["code"] == "GOV-702"
    assert CANARY not in out + err


@pytest.mark.parametrize("after", [Stage.OPEN, Stage.CLASSIFY, Stage.CONSENT])
def test_a_source_that_changes_between_stages_stops_the_run(after: Stage, released: Home) -> None:
    before = Before(released, CUSTOMERS)
    original = released.source(CUSTOMERS).read_bytes()
    context = released.open(CUSTOMERS)
    steps = [s for s in STEPS if s not in (Stage.VALIDATE, Stage.RELEASE)]
    with refused("GOV-705", free_of=(CANARY,)):
        for stage in (Stage.OPEN, *steps):
            if stage in STEPS:
                STEPS[stage](context)
            if stage is after:
                released.source(CUSTOMERS).write_bytes(original.replace(b"bronze", b"silver", 1))
    before.is_untouched()
    released.source(CUSTOMERS).write_bytes(original)
    before.and_a_good_run_succeeds()


def test_a_file_added_to_the_source_stops_the_run(released: Home) -> None:
    before = Before(released, "clinical_encounters")
    context = released.open("clinical_encounters")
    classify(context)
    parts = released.source("clinical_encounters")
    shutil.copy(parts / "part-0.parquet", parts / "part-2.parquet")
    with refused("GOV-705"):
        consent(context)
    before.is_untouched()
