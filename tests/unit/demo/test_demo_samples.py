"""The sample input: the same for a seed, realistic, dirty, and with every canary in its place."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from stdnum import iban, luhn
from stdnum.us import ssn

from governance.demo.samples import MINIMUM_ROWS, SampleFiles, make_samples


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleFiles:
    return make_samples(tmp_path_factory.mktemp("sample"), rows=6_000, seed=3)


@pytest.fixture(scope="module")
def encounters(sample: SampleFiles) -> pa.Table:
    return pq.read_table(sample.clinical_encounters)


@pytest.fixture(scope="module")
def profiles(sample: SampleFiles) -> pa.Table:
    strings = {"postal_code": pa.string(), "birth_date": pa.string(), "phone": pa.string()}
    convert = pa_csv.ConvertOptions(column_types=strings, strings_can_be_null=True)
    return pa_csv.read_csv(sample.customers, convert_options=convert)


@pytest.fixture(scope="module")
def talk(sample: SampleFiles) -> pa.Table:
    lines = gzip.decompress(sample.support_conversations.read_bytes()).decode().splitlines()
    return pa.Table.from_pylist([json.loads(line) for line in lines])


def test_the_same_seed_gives_the_same_values(sample: SampleFiles, tmp_path: Path) -> None:
    again = make_samples(tmp_path, rows=6_000, seed=3)
    other = make_samples(tmp_path / "other", rows=6_000, seed=4)
    for name in ("customers", "support_conversations", "canaries"):
        assert getattr(sample, name).read_bytes() == getattr(again, name).read_bytes()
        assert getattr(sample, name).read_bytes() != getattr(other, name).read_bytes()
    for name in ("clinical_encounters", "consent_ledger"):
        assert pq.read_table(getattr(sample, name)).equals(pq.read_table(getattr(again, name)))


def test_counts_are_what_the_files_hold(
    sample: SampleFiles, encounters: pa.Table, profiles: pa.Table, talk: pa.Table
) -> None:
    assert sample.rows == {
        "clinical_encounters": encounters.num_rows,
        "customer_profiles": profiles.num_rows,
        "support_prompts": talk.num_rows,
        "consent_ledger": pq.read_table(sample.consent_ledger).num_rows,
    }
    assert len(list(sample.clinical_encounters.glob("*.parquet"))) == 2


@pytest.mark.parametrize("rows", [MINIMUM_ROWS, MINIMUM_ROWS + 1, 1_003])
def test_small_samples_hold_every_canary_row(tmp_path: Path, rows: int) -> None:
    files = make_samples(tmp_path, rows=rows)
    listing = json.loads(files.canaries.read_text())
    notes = "\n".join(pq.read_table(files.clinical_encounters)["clinical_note"].drop_null().to_pylist())
    assert all(canary in notes for canary in listing["clinical_encounters"]["clinical_note"])


def test_every_canary_is_in_its_column(
    sample: SampleFiles, encounters: pa.Table, profiles: pa.Table, talk: pa.Table
) -> None:
    tables = {"clinical_encounters": encounters, "customer_profiles": profiles, "support_prompts": talk}
    for dataset, columns in json.loads(sample.canaries.read_text()).items():
        for column, values in columns.items():
            text = "\n".join(tables[dataset][column].drop_null().to_pylist())
            assert len(values) >= 6
            assert all(value in text for value in values), (dataset, column)
    details = json.loads((sample.directory / "canary_details.json").read_text())
    assert {d["subject_allowed"] for d in details} == {True, False}


def test_identifiers_have_valid_check_digits(encounters: pa.Table, profiles: pa.Table) -> None:
    assert all(ssn.is_valid(v) for v in encounters["ssn"].drop_null().to_pylist())
    assert all(luhn.is_valid("80840" + v) for v in encounters["attending_npi"].drop_null().to_pylist())
    assert all(iban.is_valid(v) for v in profiles["iban"].drop_null().to_pylist() if v)


def test_the_input_is_dirty(encounters: pa.Table, profiles: pa.Table, talk: pa.Table) -> None:
    for column in ("mrn", "patient_name", "email", "ssn", "jurisdiction", "clinical_note"):
        assert encounters[column].null_count > 0, column
    assert encounters.num_rows > encounters.group_by(encounters.column_names).aggregate([]).num_rows
    assert pc.any(pc.greater(encounters["age"], 150)).as_py()
    assert pc.any(pc.less(encounters["total_charge"], 0)).as_py()
    assert not set(encounters["sex"].drop_null().unique().to_pylist()) <= {"F", "M", "U"}
    assert pc.any(pc.equal(encounters["jurisdiction"], "ZZ")).as_py()
    assert pc.any(pc.equal(talk["prompt"], "")).as_py()
    assert pc.max(talk["satisfaction"]).as_py() > 5
    dates = profiles["birth_date"].drop_null()
    assert {len(v.split(s)) for v in dates.to_pylist()[:200] for s in "-./ "} >= {1, 3}


def test_the_ledger_has_every_kind_of_record(sample: SampleFiles) -> None:
    ledger = pq.read_table(sample.consent_ledger)
    assert set(ledger["action"].unique().to_pylist()) == {
        *("grant", "withdraw", "authorize", "revoke", "opt_out", "opt_in", "restrict", "unrestrict", "object")
    }
    assert ledger["record_id"].unique().__len__() == ledger.num_rows
    lag = pc.days_between(ledger["valid_from"], ledger["collected_at"])
    assert pc.any(pc.greater(lag, 300)).as_py()
    assert ledger["valid_to"].null_count not in (0, ledger.num_rows)


def test_progress_is_told_to_the_end(tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int]] = {}
    make_samples(
        tmp_path, rows=MINIMUM_ROWS, progress=lambda what, done, total: seen.update({what: (done, total)})
    )
    assert len(seen) >= 4
    assert all(done == total for done, total in seen.values())


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        make_samples(tmp_path, rows=10)
