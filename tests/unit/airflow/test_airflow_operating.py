"""What operators do to governed runs: fill in past days, upgrade workers, edit contracts while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

EXAMPLES = Path(__file__).resolve().parents[3] / "schemas" / "examples"
NAME = "newsletter_readers"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
MONTHS = tuple(range(1, 11))
READERS = ("ann", "bob", "cem", "dea")


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Loads add up, a month each."""
    path = tmp_path_factory.mktemp("contract") / f"{NAME}.odcs.yaml"
    text = (EXAMPLES / "minimal.odcs.yaml").read_text("utf-8")
    path.write_text(text.replace("jurisdiction: DE", "jurisdiction: DE, loadMode: append"), "utf-8")
    return path


@pytest.fixture
def home(contract: Path) -> Iterator[Any]:
    from governance.airflow.testing import GovernedHome

    with GovernedHome(EXAMPLES / "policy.yaml", [contract], at=NOW) as made:
        yield made


def recorded(home: Any, name: str, action: str, month: int, **changed: Any) -> None:
    at = datetime(2026, month, 15, tzinfo=UTC)
    record = {"subject_id": f"{name}@example.org", "domain": "customer", "purpose": "model_training"}
    home.consents([{**record, "action": action, "valid_from": at, "collected_at": at, **changed}])


def monthly() -> Any:
    from airflow.sdk import DAG

    from governance.airflow import governed_dataset

    with DAG("monthly", schedule="@monthly", start_date=datetime(2026, 1, 1, tzinfo=UTC)) as made:
        governed_dataset(
            f"{NAME}.odcs.yaml", purpose="model_training", source="input/{{ logical_date.month }}.parquet"
        )
    return made


def test_a_backfill_decides_by_what_is_known_now_and_not_on_the_days_it_fills_in(
    home: Any, tmp_path: Path
) -> None:
    """Each month's rows name all four: one withdrew before the backfill, one while it goes on."""
    for name in READERS[:3]:
        recorded(home, name, "grant", 1)
    recorded(home, "dea", "grant", 1, valid_from=datetime(2025, 12, 1, tzinfo=UTC))
    recorded(home, "ann", "withdraw", 4)
    for month in MONTHS:
        home.rows(str(month), [{"email": f"{n}@example.org", "articles_read": month} for n in READERS])
    dag = monthly()
    for month in MONTHS:
        if month == 6:
            # While the backfill goes on; what it has filled in so far is written again.
            recorded(home, "bob", "withdraw", 10)
        outcome = home.run(dag, logical_date=datetime(2026, month, 1, tzinfo=UTC))
        assert outcome.errors == {}
        [consent] = outcome.evidence("consent")
        denied = 1 if month < 6 else 2
        assert (consent["facts"]["allowed"], consent["facts"]["denied"]) == (4 - denied, denied)
        assert consent["context"]["opened_at"].startswith("2026-11-01")
        rows = outcome.released[NAME]
        assert rows.num_rows == month * (4 - denied)
    assert len(set(rows["email"].to_pylist())) == 2

    the_report_says_as_of_when(home, tmp_path)


def the_report_says_as_of_when(home: Any, folder: Path) -> None:
    """Ten runs, all of the day on which they decided; who withdrew is counted in the last of them."""
    from governance.audit import make_report

    record = make_report(home.workspace, "compliance", folder).record
    assert (record["period"]["from"][:10], record["period"]["to"][:10]) == ("2026-11-01", "2026-11-01")
    [row] = record["rows"]
    assert row["cells"]["runs"]["value"] == {"released": len(MONTHS)}
    assert row["cells"]["denied"]["value"] == {"consent_withdrawn": 2}


def test_an_expired_consent_does_not_live_again_in_a_backfill(home: Any) -> None:
    recorded(home, "ann", "grant", 1, valid_to=datetime(2026, 6, 1, tzinfo=UTC))
    home.rows("3", [{"email": "ann@example.org", "articles_read": 3}])
    outcome = home.run(monthly(), logical_date=datetime(2026, 3, 1, tzinfo=UTC))
    assert outcome.facts[NAME]["consent"]["allowed"] == 0
    assert "ann" not in str(outcome.released)


def test_a_stage_of_another_release_of_the_package_is_refused(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from governance.pipeline import opened_by

    recorded(home, "ann", "grant", 1)
    home.rows("1", [{"email": "ann@example.org", "articles_read": 1}])
    monkeypatch.setattr(opened_by, "installed", lambda _name: "0.0.1")
    outcome = home.run(monthly(), logical_date=datetime(2026, 1, 1, tzinfo=UTC))
    fault = outcome.errors[f"{NAME}.classify"]
    assert fault.code == "GOV-742" and "0.0.1" in fault.message and "install one release" in fault.remedy
    assert outcome.states[f"{NAME}.release"] == "upstream_failed" and outcome.released == {}
    monkeypatch.undo()
    assert home.run(monthly(), logical_date=datetime(2026, 1, 1, tzinfo=UTC)).errors == {}


def test_a_dag_and_its_contract_edited_while_it_runs_do_not_reach_the_run(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was pinned is worked by; the next run goes by the new one."""
    from governance.model.evidence import Stage
    from governance.pipeline import run as steps

    recorded(home, "ann", "grant", 1)
    home.rows("1", [{"email": "ann@example.org", "articles_read": 1}])
    file = home.path / "contracts" / f"{NAME}.odcs.yaml"
    before = file.read_text("utf-8")
    protect = steps.STEPS[Stage.PROTECT]

    def protecting(context: Any) -> Any:
        file.write_text(
            before.replace("articles_read, logicalType: integer", "articles_read, logicalType: string")
        )
        return protect(context)

    monkeypatch.setitem(steps.STEPS, Stage.PROTECT, protecting)
    dag = monthly()
    outcome = home.run(dag, logical_date=NOW - timedelta(days=300))
    assert outcome.errors == {}
    [opened] = outcome.evidence("open")
    [protected] = outcome.evidence("protect")
    assert protected["context"]["contract_digest"] == opened["context"]["contract_digest"]
    again = home.run(dag, logical_date=NOW - timedelta(days=300))
    assert again.evidence("open")[0]["context"]["contract_digest"] != opened["context"]["contract_digest"]
