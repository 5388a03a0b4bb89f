"""Bad input: a stable code, no value of the data in what is shown, nothing lost, and the next run works."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from governed_home import PURPOSES, Home, edited, refused, shown_by

from governance.errors import GovernanceError
from governance.model.canonical import canonical, parse
from governance.model.evidence import Stage
from governance.pipeline import release as release_module
from governance.pipeline.classify import classify
from governance.pipeline.consent import consent
from governance.pipeline.ledger import import_consent
from governance.pipeline.open import open_run
from governance.pipeline.protect import protect
from governance.pipeline.release import release
from governance.pipeline.run import STEPS, PassResult
from governance.pipeline.validate import validate

CANARY = "Zqxv7Gh2KmWn9Rt4"
CUSTOMERS = "customer_profiles"


def leftovers(home: Home) -> list[str]:
    """Files below the dataset roots that look like half of something."""
    names = [p.name for p in (home.path / "datasets").rglob("*")]
    return [n for n in names if ".tmp" in n or ".trash" in n or "partial" in n]


def unreferenced(home: Home, dataset: str) -> set[str]:
    """Segments that no manifest of the dataset names."""
    root = home.root(dataset)
    present = {p.name for p in (root / "segments").glob("*")} if root.exists() else set()
    named: set[str] = set()
    for manifest in root.glob("versions/*/*.manifest.json"):
        import base64

        payload = base64.b64decode(json.loads(manifest.read_bytes())["payload"])
        named |= {s["segment_id"] for s in json.loads(payload)["segments"]}
    return present - named


class Before:
    """What was released before something went wrong, and that it is still so afterwards."""

    def __init__(self, home: Home, dataset: str) -> None:
        self.home, self.dataset = home, dataset
        self.pointer = home.pointer(dataset)
        self.rows = home.rows(dataset)

    def is_untouched(self) -> None:
        assert self.home.pointer(self.dataset) == self.pointer
        assert self.home.rows(self.dataset).equals(self.rows)
        assert not leftovers(self.home)
        assert not unreferenced(self.home, self.dataset)

    def and_a_good_run_succeeds(self) -> PassResult:
        result = self.home.run(self.dataset)
        assert self.home.manifest(self.dataset).version == result.reference.version
        assert self.home.rows(self.dataset).num_rows == self.rows.num_rows
        return result


def logged_text(home: Home) -> str:
    return "\n".join((e.body or b"").decode("utf-8", "replace") for e in home.workspace().log.entries())


def refuse_run(home: Home, dataset: str, *codes: str, **changed: object) -> GovernanceError:
    """A run that fails with one of ``codes``; the previous version stays, and a good run follows."""
    before = Before(home, dataset)
    with refused(*codes, free_of=(CANARY,)) as caught:
        home.run(dataset, **changed)
    before.is_untouched()
    assert CANARY not in logged_text(home)
    before.and_a_good_run_succeeds()
    return caught[0]


# --- sources ------------------------------------------------------------------------------------


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


# --- contract and policy ------------------------------------------------------------------------


def test_an_unknown_purpose_is_refused(released: Home) -> None:
    refuse_run(released, CUSTOMERS, "GOV-104", purpose="world_peace")


def test_a_purpose_the_contract_does_not_allow_is_refused(released: Home) -> None:
    refuse_run(released, CUSTOMERS, "GOV-104", purpose="treatment")


def changed_contract(home: Home, old: str, new: str) -> Path:
    copy = home.path / "contracts" / "changed.odcs.yaml"
    shutil.copy(home.contract(CUSTOMERS), copy)
    return edited(copy, lambda text: text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("name: loyalty_tier", "name: loyalty_rank", "GOV-103"),
        ("subject: {column: customer_id", "subject: {column: client_id", "GOV-105"),
        ("customProperties: [{property: protection, value: mask}]", "", "GOV-102"),
        (
            "classification: email\n        customProperties: [{property: protection, value: mask}]",
            "classification: none",
            "GOV-107",
        ),
        (
            "classification: email\n        customProperties: [{property: protection, value: mask}]",
            "classification: email\n        customProperties: [{property: protection, value: keep}]",
            "GOV-108",
        ),
        (
            "classification: iban\n        customProperties: [{property: protection, value: drop}]",
            "classification: none",
            "GOV-107",
        ),
        ("apiVersion: v3.1.0", "apiVersion: [", "GOV-101"),
        ("kind: training", "kind: guessing", "GOV-102"),
        ("purposes: [model_training]", "purposes: [fortune_telling]", "GOV-104"),
    ],
)
def test_a_wrong_contract_stops_the_run(old: str, new: str, code: str, released: Home) -> None:
    contract = changed_contract(released, old, new)
    fault = refuse_run(released, CUSTOMERS, code, contract_path=contract)
    assert fault.remedy


def test_a_policy_or_contract_edited_during_the_run_stops_it(released: Home) -> None:
    before = Before(released, CUSTOMERS)
    context = released.open(CUSTOMERS)
    classify(context)
    policy = released.path / "policy.yaml"
    original = policy.read_text("utf-8")
    edited(policy, lambda text: text.replace("lateWithdrawalRewrites: 3", "lateWithdrawalRewrites: 4"))
    with refused("GOV-112"):
        released.again(context)
    policy.write_text(original, "utf-8")
    copy = released.root(CUSTOMERS) / context.reference.folder / "contract.odcs.yaml"
    edited(copy, lambda text: text.replace("value: mask", "value: drop"))
    with refused("GOV-112"):
        released.again(context)
    before.is_untouched()
    before.and_a_good_run_succeeds()


def test_editing_the_contract_file_does_not_reach_a_run_that_is_under_way(released: Home) -> None:
    context = released.open(CUSTOMERS)
    edited(released.contract(CUSTOMERS), lambda text: text.replace("value: mask", "value: drop"))
    for step in STEPS.values():
        step(released.again(context))
    assert "email" in released.rows(CUSTOMERS).column_names


# --- consent ledger -----------------------------------------------------------------------------


def ledger_rows(subject: str, *records: tuple[str, str, datetime, datetime | None]) -> pa.Table:
    stamp = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "record_id": [f"{subject}-{i}-{action}" for i, (_, action, _, _) in enumerate(records)],
            "domain": ["customer"] * len(records),
            "subject_id": [subject] * len(records),
            "purpose": [purpose for purpose, _, _, _ in records],
            "action": [action for _, action, _, _ in records],
            "valid_from": pa.array([start for _, _, start, _ in records], stamp),
            "valid_to": pa.array([end for _, _, _, end in records], stamp),
            "collected_at": pa.array([start for _, _, start, _ in records], stamp),
        }
    )


def test_overlapping_intervals_are_refused_and_the_ledger_stays(released: Home, tmp_path: Path) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    file = tmp_path / "overlap.parquet"
    grants = [("model_training", "grant", start + timedelta(days=n), None) for n in (0, 30)]
    pq.write_table(ledger_rows(CANARY, *grants), file)
    before = Before(released, CUSTOMERS)
    position = released.workspace().ledger.position
    with refused("GOV-202", free_of=(CANARY,)):
        import_consent(released.workspace(), file)
    assert released.workspace().ledger.position == position
    code, out, err = released.cli("consent", "import", file)
    assert (code, "GOV-202" in err, CANARY in out + err) == (1, True, False)
    before.is_untouched()
    pq.write_table(ledger_rows(CANARY, grants[0]), file)
    assert import_consent(released.workspace(), file).position == position + 1
    before.and_a_good_run_succeeds()


# --- keys and stores ----------------------------------------------------------------------------


def test_without_a_key_nothing_runs_and_nothing_is_lost(released: Home) -> None:
    kek = released.path / "secrets" / "kek.json"
    before = Before(released, CUSTOMERS)
    kek.rename(kek.with_suffix(".away"))
    with refused("GOV-301"):
        released.workspace()
    code, _, err = released.cli("keys", "show")
    assert (code, "GOV-301" in err) == (1, True)
    kek.with_suffix(".away").rename(kek)
    before.is_untouched()
    before.and_a_good_run_succeeds()


def test_another_key_is_refused(released: Home, prepared_home: Path) -> None:
    from governance.keys.file import create_file_key

    kek = released.path / "secrets" / "kek.json"
    kek.rename(kek.with_suffix(".away"))
    create_file_key(kek)
    with refused("GOV-301", "GOV-302", "GOV-303"):
        released.workspace()


def test_a_wrong_passphrase_is_refused(tmp_path: Path) -> None:
    from governance.config import Settings
    from governance.keys.file import create_file_key
    from governance.pipeline.workspace import Workspace

    kek = tmp_path / "kek.json"
    create_file_key(kek, passphrase=lambda: "correct horse")

    def settings(passphrase: str) -> Settings:
        return Settings.from_environment(
            environment={
                "GOVERNANCE_HOME": str(tmp_path / "home"),
                "GOVERNANCE_KEK": f"file:{kek}",
                "GOVERNANCE_PASSPHRASE": passphrase,
            }
        )

    Workspace.create(settings("correct horse"), origin="test.example/passphrase")
    with refused("GOV-302", free_of=(CANARY, "correct horse")):
        Workspace.open(settings(CANARY))
    assert Workspace.open(settings("correct horse")).log.size() == 1


def test_another_homes_store_is_refused(released: Home, tmp_path: Path) -> None:
    from governance.keys.file import create_file_key
    from governance.pipeline.workspace import Workspace

    other = Home(tmp_path / "other")
    (other.path / "secrets").mkdir(parents=True)
    create_file_key(other.path / "secrets" / "kek.json")
    Workspace.create(other.settings, origin="governance.example/meridian")
    before = Before(released, CUSTOMERS)
    code, _, err = released.cli(
        "run",
        released.contract(CUSTOMERS),
        *("--purpose", "model_training", "--source", released.source(CUSTOMERS)),
        GOVERNANCE_STORE=str(other.path / "store"),
    )
    assert code == 1
    assert "GOV-502" in err
    before.is_untouched()
    before.and_a_good_run_succeeds()


def test_a_dataset_root_of_another_log_is_refused(released: Home) -> None:
    before = Before(released, CUSTOMERS)
    root = released.root(CUSTOMERS) / "root.json"
    original = root.read_bytes()
    root.write_bytes(canonical({**parse(original), "log_origin": "elsewhere.example/log"}))
    with refused("GOV-502"):
        released.run(CUSTOMERS)
    root.write_bytes(original)
    before.is_untouched()
    before.and_a_good_run_succeeds()


# --- order, races, retries ----------------------------------------------------------------------


@pytest.mark.parametrize("step", [protect, validate, release], ids=lambda s: s.__name__)
def test_a_step_out_of_order_is_refused(step: Callable[..., object], released: Home) -> None:
    before = Before(released, CUSTOMERS)
    with refused("GOV-741"):
        step(released.open(CUSTOMERS))
    before.is_untouched()


def test_a_step_of_a_run_that_was_never_opened_is_refused(released: Home) -> None:
    from dataclasses import replace

    context = released.open(CUSTOMERS)
    with refused("GOV-741"):
        released.again(replace(context, reference=replace(context.reference, attempt="0" * 8)))


def test_of_two_runs_at_once_one_wins_and_the_other_is_quarantined(released: Home) -> None:
    first, second = released.open(CUSTOMERS), released.open(CUSTOMERS)
    for stage, step in STEPS.items():
        if stage is not Stage.RELEASE:
            step(first)
            step(second)
    release(first)
    with refused("GOV-721"):
        release(second)
    assert released.manifest(CUSTOMERS).version == first.run.version
    reasons = released.root(CUSTOMERS) / "quarantine" / f"{second.run.version}.{second.run.attempt}"
    assert parse((reasons / "reasons.json").read_bytes())["reasons"][0]["code"] == "GOV-721"
    states = [f["facts"]["state"] for f in released.evidence(Stage.RELEASE, CUSTOMERS)]
    assert states.count("released") == 2  # the fixture's and the first
    assert states[-1] == "quarantined"


def test_a_pointer_that_moves_at_the_last_moment_is_not_overwritten(
    released: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = released.open(CUSTOMERS), released.open(CUSTOMERS)
    for stage, step in STEPS.items():
        if stage is not Stage.RELEASE:
            step(first)
            step(second)
    real = type(first.storage).swap_pointer
    raced: list[bool] = []

    def overtaken(storage: object, name: str, expected: bytes | None, new: bytes) -> None:
        if not raced:
            raced.append(True)
            release(second)
        real(storage, name, expected, new)  # type: ignore[arg-type]

    monkeypatch.setattr(type(first.storage), "swap_pointer", overtaken)
    with refused("GOV-721"):
        release(first)
    assert released.manifest(CUSTOMERS).version == second.run.version


def test_a_retry_of_a_released_attempt_does_not_publish_twice(released: Home) -> None:
    context = released.open(CUSTOMERS)
    for step in STEPS.values():
        step(context)
    pointer, size = released.pointer(CUSTOMERS), len(released.evidence(Stage.RELEASE))
    facts = release(released.again(context))
    assert facts["state"] == "released"
    assert released.pointer(CUSTOMERS) == pointer
    assert len(released.evidence(Stage.RELEASE)) == size


def test_a_retry_of_an_attempt_that_was_released_and_followed_changes_nothing(released: Home) -> None:
    context = released.open(CUSTOMERS)
    for step in STEPS.values():
        step(context)
    newer = released.run(CUSTOMERS)
    assert release(released.again(context))["state"] == "released"
    assert released.manifest(CUSTOMERS).version == newer.reference.version
    assert not (
        released.root(CUSTOMERS) / "quarantine" / f"{context.run.version}.{context.run.attempt}"
    ).exists()


def test_an_earlier_version_stays_readable_by_id(released: Home) -> None:
    before = released.manifest(CUSTOMERS)
    released.run(CUSTOMERS)
    assert released.manifest(CUSTOMERS, before.version).digest == before.digest
    with refused("GOV-603"):
        released.manifest(CUSTOMERS, "v" + "0" * 24)


def test_an_unexpected_exception_shows_its_type_and_place_only(
    released: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choke(_: object) -> object:
        raise ValueError(f"cannot parse {CANARY}")

    monkeypatch.setattr(release_module, "_require_evidence", choke)
    before = Before(released, CUSTOMERS)
    with refused("GOV-999", free_of=(CANARY,)) as caught:
        released.run(CUSTOMERS)
    assert "ValueError" in shown_by(caught[0])
    assert CANARY not in logged_text(released)
    assert before.pointer == released.pointer(CUSTOMERS)


def test_opening_reports_the_failure_of_a_run_that_never_opened(released: Home) -> None:
    workspace = released.workspace()
    from governance.pipeline.local import local_recorder

    with refused("GOV-104"):
        open_run(
            workspace,
            local_recorder(workspace, CUSTOMERS, "never"),
            contract_path=released.contract(CUSTOMERS),
            source=str(released.source(CUSTOMERS)),
            purpose="world_peace",
            run_id="never",
        )
    assert [e["eventType"] for e in released.events()][-2:] == ["START", "FAIL"]
    assert PURPOSES[CUSTOMERS] != "world_peace"
