"""Release: only on evidence, all or nothing, and never half, whatever is killed or forged."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from governed_home import Home, edited, refused
from killed_release import POINTS
from test_pass_bad_input import Before, ledger_rows

from governance.errors import LogError
from governance.lineage.index import Index
from governance.log import OPENLINEAGE_EVENT, Log, NewEntry
from governance.model.canonical import canonical, parse
from governance.model.evidence import Stage
from governance.pipeline import release as release_module
from governance.pipeline.classify import classify
from governance.pipeline.consent import consent
from governance.pipeline.ledger import import_consent
from governance.pipeline.protect import protect
from governance.pipeline.release import release
from governance.pipeline.step import RunContext, RunReference
from governance.pipeline.validate import validate

CUSTOMERS = "customer_profiles"
EVIDENT = (Stage.OPEN, Stage.CLASSIFY, Stage.CONSENT, Stage.PROTECT, Stage.VALIDATE)

Validated = tuple[Home, RunContext]


def log_database(home: Home) -> sqlite3.Connection:
    return sqlite3.connect(home.path / "store" / "log.sqlite", isolation_level=None)


def staged(home: Home, context: RunContext, stage: Stage) -> Path:
    return home.root(CUSTOMERS) / context.reference.folder / f"{stage}.json"


# --- evidence -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", EVIDENT)
def test_without_one_stages_evidence_nothing_is_released(stage: Stage, validated: Validated) -> None:
    home, context = validated
    before = Before(home, CUSTOMERS)
    with log_database(home) as database:
        body = database.execute(
            "SELECT body FROM entry WHERE idx = ?", (context.log_index(stage),)
        ).fetchone()[0]
        altered = body.replace(b'"run_id": "', b'"run_id": "x', 1)
        assert altered != body
        database.execute("UPDATE entry SET body = ? WHERE idx = ?", (altered, context.log_index(stage)))
    with refused("GOV-507", "GOV-504"):
        release(context)
    assert home.pointer(CUSTOMERS) == before.pointer
    code, out, _ = home.cli("log", "verify", "--json")
    assert code == 1
    assert parse(out.encode())["first_bad"] == context.log_index(stage)


@pytest.mark.parametrize(
    ("attack", "noticed_by_release"),
    [
        ("DELETE FROM entry WHERE idx = ?", True),
        ("UPDATE entry SET leaf = CAST(replace(leaf, 'evidence:', 'evidencf:') AS BLOB) WHERE idx = ?", True),
        (
            "UPDATE entry SET leaf = CAST(replace(leaf, '\"size\":', '\"size\":1') AS BLOB) WHERE idx = ?",
            True,
        ),
        ("UPDATE entry SET body = CAST('{}' AS BLOB) WHERE idx = ?", True),
        # Neither is what evidence stands on, but verification finds both.
        ("UPDATE entry SET nodes = zeroblob(length(nodes)) WHERE idx = ?", False),
        ("UPDATE entry SET salt = zeroblob(length(salt)) WHERE idx = ?", False),
    ],
)
def test_an_edited_or_deleted_entry_stops_the_release(
    attack: str, noticed_by_release: bool, validated: Validated
) -> None:
    home, context = validated
    pointer = home.pointer(CUSTOMERS)
    index = context.log_index(Stage.CONSENT)
    with log_database(home) as database:
        assert database.execute(attack, (index,)).rowcount == 1
    if noticed_by_release:
        with refused("GOV-507", "GOV-504", "GOV-503"):
            release(context)
        assert home.pointer(CUSTOMERS) == pointer
    code, out, err = home.cli("log", "verify", "--key", home.workspace().vkey, "--json")
    assert code == 1, err
    assert parse(out.encode())["first_bad"] == index


def test_a_log_cut_back_to_an_older_state_is_not_signed(validated: Validated) -> None:
    home, context = validated
    pointer = home.pointer(CUSTOMERS)
    with log_database(home) as database:
        cut = home.evidence(Stage.OPEN)[0]["facts"]["contract"]["log_index"]
        tables = [n for (n,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [c[1] for c in database.execute(f"PRAGMA table_info({table})")]
            if "idx" in columns:
                database.execute(f"DELETE FROM {table} WHERE idx >= ?", (cut,))
            elif "size" in columns:
                database.execute(f"DELETE FROM {table} WHERE size > ?", (cut,))
    with refused("GOV-503", "GOV-504", "GOV-507"):
        release(home.again(context))
    with refused("GOV-503", "GOV-504", "GOV-507"):
        home.run(CUSTOMERS)
    assert home.pointer(CUSTOMERS) == pointer


def forged(home: Home, context: RunContext, stage: Stage, principal: str) -> int:
    """Evidence of ``stage`` with friendlier facts, appended by somebody else."""
    workspace = home.workspace()
    event = parse(workspace.log.entry(context.log_index(stage)).body or b"{}")
    event["run"]["facets"][f"governance_{stage}"]["facts"]["rows"] = 1
    entry = NewEntry(canonical(event), OPENLINEAGE_EVENT, principal)
    return workspace.log.append([entry])[0]


@pytest.mark.parametrize("principal", ["ingest:airflow", "evidence:pipeline"])
def test_forged_evidence_is_only_declared_and_releases_nothing(principal: str, validated: Validated) -> None:
    home, context = validated
    before = Before(home, CUSTOMERS)
    index = forged(home, context, Stage.CONSENT, principal)
    left = parse(staged(home, context, Stage.CONSENT).read_bytes())
    staged(home, context, Stage.CONSENT).write_bytes(
        canonical({"facts": {**left["facts"], "rows": 1}, "log_index": index})
    )
    with refused("GOV-507", "GOV-741"):
        release(context)
    workspace = home.workspace()
    rows = Index.build(workspace.log, evidence_public_key=workspace.evidence_public_key).evidence(
        dataset=CUSTOMERS
    )
    basis = {row["log_index"]: row["basis"] for row in rows}
    assert basis[index] == "declared"
    assert basis[context.log_index(Stage.VALIDATE)] == "observed"
    assert home.pointer(CUSTOMERS) == before.pointer


def test_facts_edited_in_staging_release_nothing(validated: Validated) -> None:
    home, context = validated
    left = parse(staged(home, context, Stage.VALIDATE).read_bytes())
    left["facts"]["rows"] += 1
    staged(home, context, Stage.VALIDATE).write_bytes(canonical(left))
    with refused("GOV-507"):
        release(context)


def test_evidence_of_another_attempt_does_not_count(validated: Validated) -> None:
    home, context = validated
    other = home.open(CUSTOMERS)
    classify(other)
    ours = staged(home, context, Stage.CLASSIFY)
    ours.write_bytes((home.root(CUSTOMERS) / other.reference.folder / "classify.json").read_bytes())
    with refused("GOV-507", "GOV-741"):
        release(context)


def test_a_refused_classification_marked_as_done_by_hand_releases_nothing(released: Home) -> None:
    mask = "classification: email\n        customProperties: [{property: protection, value: mask}]"
    contract = edited(released.contract(CUSTOMERS), lambda t: t.replace(mask, "classification: none", 1))
    context = released.open(CUSTOMERS, contract_path=contract)
    with refused("GOV-107"):
        classify(context)
    consent(context)
    with refused("GOV-107"):
        protect(context)


def test_a_failed_validation_marked_as_done_by_hand_releases_nothing(released: Home) -> None:
    contract = edited(released.contract(CUSTOMERS), lambda t: t.replace("max_value: 4}", "max_value: 1}", 1))
    before = Before(released, CUSTOMERS)
    context = released.open(CUSTOMERS, contract_path=contract)
    for step in (classify, consent, protect):
        step(context)
    with refused("GOV-402"):
        validate(context)
    with refused("GOV-402"):
        release(context)
    assert released.pointer(CUSTOMERS) == before.pointer
    states = [f["facts"]["state"] for f in released.evidence(Stage.RELEASE, CUSTOMERS)]
    assert states[-1] == "quarantined"


def test_a_version_protected_again_must_be_validated_again(validated: Validated) -> None:
    home, context = validated
    segments = {s["segment_id"] for s in context.facts(Stage.PROTECT)["segments"]}
    protect(context)
    assert not segments & {p.name for p in (home.root(CUSTOMERS) / "segments").iterdir()}
    with refused("GOV-741"):
        release(context)
    validate(context)
    release(context)
    assert home.manifest(CUSTOMERS).version == context.run.version


def test_a_file_altered_between_validate_and_release_is_seen_by_readers(validated: Validated) -> None:
    home, context = validated
    facts = context.facts(Stage.PROTECT)
    data = home.root(CUSTOMERS) / facts["segments"][0]["files"][0]["path"]
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    release(context)
    with refused("GOV-723"):
        home.rows(CUSTOMERS)


@pytest.mark.parametrize("nth", range(1, 5))
def test_a_store_that_goes_away_during_release_publishes_nothing_unsaid(
    nth: int, validated: Validated, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, context = validated
    before = Before(home, CUSTOMERS)
    real, calls = Log.append, iter(range(1, 100))

    def failing(log: Log, entries: list[NewEntry]) -> list[int]:
        if next(calls) >= nth:
            raise LogError("GOV-501", "the store cannot be reached", "bring it back")
        return real(log, entries)

    with monkeypatch.context() as patched:
        patched.setattr(Log, "append", failing)
        with refused("GOV-501"):
            release(context)
    assert home.rows(CUSTOMERS).num_rows == before.rows.num_rows
    if nth < 3:
        assert home.pointer(CUSTOMERS) == before.pointer
    facts = release(home.again(context))
    assert facts["state"] == "released"
    assert home.manifest(CUSTOMERS).version == context.run.version
    said = [f["facts"] for f in home.evidence(Stage.RELEASE, CUSTOMERS)]
    ours = [f for f in said if f["state"] == "released" and f["manifest_digest"] == facts["manifest_digest"]]
    assert len(ours) == 1
    assert not list((home.root(CUSTOMERS) / "quarantine").glob(f"{context.run.version}.*"))


def test_a_store_that_is_not_there_is_refused(released: Home) -> None:
    store = released.path / "store"
    store.rename(store.with_name("away"))
    with refused("GOV-501"):
        released.workspace()
    store.with_name("away").rename(store)
    assert released.rows(CUSTOMERS).num_rows


# --- killed -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(
    validated_once: tuple[Path, RunReference], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Home]:
    """A home for each point at which its release was killed."""
    path, reference = validated_once
    homes = {p: Home.copied(path, tmp_path_factory.mktemp("killed") / "home") for p in POINTS}
    driver = Path(__file__).with_name("killed_release.py")
    arguments = [reference.version, reference.attempt, *(str(h.path) for h in homes.values())]
    subprocess.run([sys.executable, "-W", "ignore", str(driver), *arguments], check=True)
    return homes


@pytest.mark.xdist_group("killed")
@pytest.mark.parametrize("next_step", ["retry", "another run"])
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_release_is_whole_or_not_there_and_finished_once(
    point: str,
    next_step: str,
    killed: dict[str, Home],
    validated_once: tuple[Path, RunReference],
    tmp_path: Path,
) -> None:
    home = Home.copied(killed[point].path, tmp_path / "home")
    reference = validated_once[1]
    moved = POINTS.index(point) >= POINTS.index("after the swap")
    previous = Home(validated_once[0]).manifest(CUSTOMERS).version
    assert home.manifest(CUSTOMERS).version == (reference.version if moved else previous)
    assert home.rows(CUSTOMERS).num_rows == Home(validated_once[0]).rows(CUSTOMERS).num_rows
    if next_step == "retry":
        assert release(home.resumed(reference))["state"] == "released"
        assert home.manifest(CUSTOMERS).version == reference.version
    else:
        assert home.run(CUSTOMERS).reference.version == home.manifest(CUSTOMERS).version
    said = [
        f["facts"]
        for f in home.evidence(Stage.RELEASE, CUSTOMERS)
        if (f["context"]["version"], f["context"]["attempt"]) == (reference.version, reference.attempt)
    ]
    released = [f for f in said if f["state"] == "released"]
    assert len(released) == (1 if moved or next_step == "retry" else 0)
    assert "quarantined" not in {f["state"] for f in said}
    if released:
        unsaid = point == "after the swap"
        assert [f["recovered"] for f in released] == [unsaid]
    assert home.cli("log", "verify", "--json")[0] == 3


# --- late withdrawal ----------------------------------------------------------------------------


def withdraw(home: Home, subject: str, tmp_path: Path, purpose: str = "model_training") -> None:
    import pyarrow.parquet as pq

    file = tmp_path / f"withdrawal-{subject}.parquet"
    pq.write_table(ledger_rows(subject, (purpose, "withdraw", datetime.now(UTC), None)), file)
    import_consent(home.workspace(), file)


def german_subjects(home: Home) -> dict[str, int]:
    """Customers under the GDPR whose rows are in the release, with how many rows they have there."""
    import pyarrow.csv as pa_csv

    from governance.pipeline.consent import audience

    table = pa_csv.read_csv(
        home.source(CUSTOMERS), convert_options=pa_csv.ConvertOptions(strings_can_be_null=True)
    )
    places = dict(zip(table["customer_id"].to_pylist(), table["jurisdiction"].to_pylist(), strict=True))
    vault = home.workspace().vault
    ids = [i for i, place in places.items() if i and place in ("DE", "FR", "ES", "GB")]
    import pyarrow as pa

    ordinals = vault.resolve("customer", pa.array(ids), create=False)
    names = vault.pseudonyms("customer", audience("customer"), ordinals)
    counts: dict[str, int] = {}
    for value in home.rows(CUSTOMERS)["customer_pseudonym"].to_pylist():
        counts[value] = counts.get(value, 0) + 1
    return {
        i: counts[n.tobytes().hex()] for i, n in zip(ids, names, strict=True) if n.tobytes().hex() in counts
    }


def test_a_withdrawal_during_the_run_is_rewritten_out(validated: Validated, tmp_path: Path) -> None:
    home, context = validated
    before = home.rows(CUSTOMERS).num_rows
    old_segments = {s["segment_id"] for s in context.facts(Stage.PROTECT)["segments"]}
    subject, rows = next(iter(german_subjects(home).items()))
    withdraw(home, subject, tmp_path)
    facts = release(context)
    assert facts["late_withdrawals"] == 1
    assert facts["consent_position"] == 2
    assert context.run.consent_position == 1
    manifest = home.manifest(CUSTOMERS)
    assert manifest.body["late_withdrawals"] == 1
    counts = manifest.body["counts"]
    assert counts["rows_out"] == before - rows == home.rows(CUSTOMERS).num_rows
    assert counts["rows_in"] == counts["rows_out"] + counts["rows_denied"] + counts["rows_quarantined"]
    assert not old_segments & {p.name for p in (home.root(CUSTOMERS) / "segments").iterdir()}


def test_a_withdrawal_that_concerns_nobody_in_the_dataset_changes_nothing(
    validated: Validated, tmp_path: Path
) -> None:
    home, context = validated
    segments = context.facts(Stage.PROTECT)["segments"]
    withdraw(home, "C-0000000000", tmp_path)
    facts = release(context)
    assert (facts["late_withdrawals"], facts["consent_position"]) == (0, 2)
    assert context.facts(Stage.PROTECT)["segments"] == segments


def test_a_contract_may_ask_for_quarantine_instead(released: Home, tmp_path: Path) -> None:
    contract = edited(
        released.contract(CUSTOMERS),
        lambda t: t.replace("onLateWithdrawal: rewrite", "onLateWithdrawal: quarantine"),
    )
    subject = next(iter(german_subjects(released)))
    context = released.open(CUSTOMERS, contract_path=contract)
    for step in (classify, consent, protect, validate):
        step(context)
    pointer = released.pointer(CUSTOMERS)
    withdraw(released, subject, tmp_path)
    with refused("GOV-204"):
        release(context)
    assert released.pointer(CUSTOMERS) == pointer
    folder = released.root(CUSTOMERS) / "quarantine" / f"{context.run.version}.{context.run.attempt}"
    assert parse((folder / "reasons.json").read_bytes())["reasons"][0]["code"] == "GOV-204"


def test_withdrawals_that_keep_coming_end_in_quarantine(
    validated: Validated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, context = validated
    pointer = home.pointer(CUSTOMERS)
    subjects = iter(german_subjects(home))
    withdraw(home, next(subjects), tmp_path)
    rewrites = 0
    real: Callable[..., object] = release_module.protect

    def and_another(*arguments: object, **options: object) -> object:
        nonlocal rewrites
        rewrites += 1
        done = real(*arguments, **options)
        withdraw(home, next(subjects), tmp_path)
        return done

    monkeypatch.setattr(release_module, "protect", and_another)
    with refused("GOV-204"):
        release(context)
    assert rewrites == context.policy.late_withdrawal_rewrites + 1
    assert home.pointer(CUSTOMERS) == pointer
    monkeypatch.setattr(release_module, "protect", real)
    assert home.run(CUSTOMERS).reference.version == home.manifest(CUSTOMERS).version


def test_a_withdrawal_after_the_release_restricts_reads_at_once(released: Home, tmp_path: Path) -> None:
    subject, rows = next(iter(german_subjects(released).items()))
    before = released.rows(CUSTOMERS).num_rows
    withdraw(released, subject, tmp_path)
    assert released.rows(CUSTOMERS).num_rows == before - rows
    withdraw(released, "C-0000000000", tmp_path)
    assert released.rows(CUSTOMERS).num_rows == before - rows
