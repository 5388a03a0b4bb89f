"""What an engineer tests a governed DAG with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

EXAMPLES = Path(__file__).resolve().parents[3] / "schemas" / "examples"
READERS = ("ann", "bob", "cem", "dea", "eli", "fay", "gus", "hal", "ida", "jon")


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """The shortest contract there is, under the name that its dataset has."""
    path = tmp_path / "newsletter_readers.odcs.yaml"
    path.write_text((EXAMPLES / "minimal.odcs.yaml").read_text("utf-8"), "utf-8")
    return path


@pytest.fixture
def home(contract: Path) -> Iterator[Any]:
    from governance.airflow.testing import GovernedHome

    with GovernedHome(EXAMPLES / "policy.yaml", [contract]) as made:
        made.rows(
            "readers",
            [{"email": f"{name}@example.org", "articles_read": n} for n, name in enumerate(READERS)],
        )
        yield made


def consented(home: Any, *names: str, **changed: Any) -> None:
    common = {"domain": "customer", "purpose": "model_training"}
    home.consents([{"subject_id": f"{name}@example.org", **common, **changed} for name in names])


def dag() -> Any:
    from airflow.sdk import DAG, task

    from governance.airflow import governed_dataset

    with DAG("newsletter", schedule=None, params={"purpose": "model_training"}) as made:

        @task
        def after(_: Any = None) -> str:
            return "done"

        group = governed_dataset(
            "newsletter_readers.odcs.yaml", purpose="{{ params.purpose }}", source="input/readers.parquet"
        )
        group >> after()
    return made


def test_a_policy_that_lies_in_a_home_brings_nothing_else_of_it(contract: Path, tmp_path: Path) -> None:
    from governance.airflow.testing import GovernedHome

    text = (EXAMPLES / "policy.yaml").read_text("utf-8")
    (tmp_path / "policy.yaml").write_text(f"{text}# vault\n", "utf-8")
    for folder in ("vault", "consent", "datasets"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "vault.db").write_bytes(b"somebody's")
    with GovernedHome(tmp_path / "policy.yaml", [contract]) as made:
        assert not list(made.path.glob("datasets/*"))


def test_ten_rows_are_decided_and_released(home: Any) -> None:
    consented(home, *READERS[:4])
    outcome = home.run(dag())
    assert outcome.errors == {}
    assert outcome.states["newsletter_readers.approve"] == "skipped"
    assert outcome.states["newsletter_readers.release"] == "success"
    facts = outcome.facts["newsletter_readers"]
    assert (facts["consent"]["allowed"], facts["consent"]["denied"]) == (4, 6)
    assert facts["release"]["rows"] == 4
    released = outcome.released["newsletter_readers"]
    assert sorted(released["articles_read"].to_pylist()) == [0, 1, 2, 3]
    assert "@" not in str(released["email"].to_pylist())
    (evidence,) = outcome.evidence("consent")
    assert evidence["context"]["opened_at"].startswith("2026-01-01T00:00:00")
    assert evidence["facts"]["by_reason"]["allowed"] == 4


def test_a_refusal_is_an_outcome_not_a_crash(home: Any) -> None:
    consented(home, *READERS)
    outcome = home.run(dag(), params={"purpose": "treatment"})
    assert outcome.errors["newsletter_readers.open"].code == "GOV-104"
    assert outcome.states["newsletter_readers.release"] == "upstream_failed"
    assert outcome.released == {}


@pytest.mark.parametrize(
    ("approver", "triggered_by", "passes"),
    [("ines.alvarado", None, True), ("ines.alvarado", "ines.alvarado", False), (None, None, False)],
)
def test_approvals_are_given_by_name(
    contract: Path, tmp_path: Path, approver: str | None, triggered_by: str | None, passes: bool
) -> None:
    from governance.airflow.testing import GovernedHome

    policy = tmp_path / "policy.yaml"
    policy.write_text((EXAMPLES / "policy.yaml").read_text("utf-8") + "\napprovalFrom: public\n", "utf-8")
    with GovernedHome(policy, [contract]) as home:
        consented(home, *READERS)
        home.rows("readers", [{"email": "ann@example.org", "articles_read": 1}])
        outcome = home.run(dag(), approver=approver, triggered_by=triggered_by)
    assert (outcome.states["newsletter_readers.release"] == "success") == passes
    if not passes:
        assert outcome.errors["newsletter_readers.approve"].code == "GOV-646"


def test_nothing_remains(contract: Path) -> None:
    from governance.airflow.testing import GovernedHome

    with GovernedHome(EXAMPLES / "policy.yaml", [contract]) as home:
        path = home.path
        assert path.is_dir()
    assert not path.exists()
