"""Statutory clocks, connections with their test buttons, and settings in Airflow's configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from governance.config import VARIABLES
from governance.errors import GovernanceError
from governance.model.canonical import parse

pytestmark = pytest.mark.airflow

EXAMPLES = Path(__file__).resolve().parents[3] / "schemas" / "examples"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from governance.airflow.testing import GovernedHome

    policy = tmp_path_factory.mktemp("policy") / "policy.yaml"
    policy.write_text((EXAMPLES / "policy.yaml").read_text("utf-8"), "utf-8")
    with GovernedHome(policy, [EXAMPLES / "minimal.odcs.yaml"]) as made:
        yield made


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable of ours, and none left behind by what the test exports."""
    for variable in VARIABLES:
        # Set first, so that what a test exports is taken away again.
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    return monkeypatch


def connection(patched: pytest.MonkeyPatch, name: str, **given: Any) -> None:
    patched.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps({"conn_type": name, **given}))


def test_every_setting_is_an_option_of_airflow_with_words() -> None:
    from governance.airflow.connections import NOT_OPTIONS
    from governance.airflow.provider import get_provider_info

    options = get_provider_info()["config"]["governance"]["options"]
    expected = {v.removeprefix("GOVERNANCE_").lower() for v in VARIABLES.keys() - NOT_OPTIONS}
    assert set(options) == expected | {"store_conn_id", "kms_conn_id"}
    assert all(len(option["description"]) > 20 and option["example"] for option in options.values())


def test_the_provider_says_what_airflow_understands() -> None:
    import airflow
    import jsonschema

    from governance.airflow.provider import get_provider_info

    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text("utf-8"))
    jsonschema.validate(get_provider_info(), schema)


def test_a_task_finds_its_home_by_configuration_and_connections(home: Any, clean: pytest.MonkeyPatch) -> None:
    from governance.airflow.connections import airflow_settings

    clean.setenv("AIRFLOW__GOVERNANCE__HOME", str(home.path))
    clean.setenv("AIRFLOW__GOVERNANCE__STORE_CONN_ID", "governance_store")
    clean.setenv("AIRFLOW__GOVERNANCE__KMS_CONN_ID", "governance_kms")
    connection(clean, "governance_store", host="db", login="gov", password="p@ss", schema="lineage")
    connection(clean, "governance_kms", host="broker+https://keys:5000", extra={"token_file": "/t"})
    clean.setenv("GOVERNANCE_NAMESPACE", "mine")
    clean.setenv("AIRFLOW__GOVERNANCE__NAMESPACE", "configured")
    found = airflow_settings()
    assert (found.home, found.namespace) == (home.path, "mine")
    assert found.store == "postgresql://gov:p%40ss@db:5432/lineage"
    assert (found.keys, str(found.keys_token), found.kek) == ("broker+https://keys:5000", "/t", "")


def test_the_test_buttons_say_what_is_there_and_what_is_not(home: Any, clean: pytest.MonkeyPatch) -> None:
    from governance.airflow.connections import KmsHook, StoreHook

    settings = home.workspace.settings
    connection(clean, "governance_store", host=settings.store)
    assert StoreHook().test_connection()[0] and "testing.example/home" in StoreHook().test_connection()[1]
    connection(clean, "governance_kms", host=settings.kek)
    assert KmsHook().test_connection() == (True, "the key provider answers")
    connection(clean, "governance_store", host=str(home.path / "elsewhere"))
    assert StoreHook().test_connection()[1].startswith("GOV-501")
    for uri, code in (("file:/nowhere/kek.json", "GOV-301"), ("broker+https://keys:1", "GOV-901")):
        connection(clean, "governance_kms", host=uri)
        passed, said = KmsHook().test_connection()
        assert not passed and said.startswith(code)


def test_statutory_clocks_are_deadlines_and_what_ran_out_stands_in_the_log(
    home: Any, clean: pytest.MonkeyPatch
) -> None:
    from airflow.sdk import DAG, DeadlineReference

    from governance.airflow import statutory_deadline
    from governance.airflow.deadlines import CLOCK, clock_named, ran_out

    with DAG("request", schedule=None, deadline=statutory_deadline("gdpr-breach")) as dag:
        pass
    (alert,) = dag.deadline if isinstance(dag.deadline, list) else [dag.deadline]
    assert alert.interval == timedelta(hours=72)
    shortest = {
        "gdpr-request": 28, "gdpr-erasure": 28, "hipaa-access": 30, "hipaa-accounting": 60, "hipaa-breach": 60,
        "ccpa-request": 45, "ccpa-opt-out": 19,
    }  # fmt: skip
    assert {name: clock_named(name).shortest.days for name in shortest} == shortest
    received = datetime(2026, 1, 31, tzinfo=UTC)
    fixed = statutory_deadline("hipaa-access", received_at=received, before=timedelta(days=5))
    assert fixed.reference == DeadlineReference.FIXED_DATETIME(received)
    assert fixed.interval == timedelta(days=25)
    # A month from the end of January ends with February.
    month = statutory_deadline("gdpr-request", received_at=received)
    assert month.interval == timedelta(days=28)
    received = datetime(2026, 3, 1, tzinfo=UTC)
    assert statutory_deadline("gdpr-request", received_at=received).interval == timedelta(days=31)
    for wrong in (
        {"clock": "gdpr"},
        {"clock": "gdpr-breach", "before": timedelta(days=3)},
        {"clock": "gdpr-breach", "received_at": datetime(2026, 1, 1)},
    ):
        with pytest.raises(GovernanceError, match="GOV-901"):
            statutory_deadline(**wrong)
    clean.setenv("GOVERNANCE_HOME", str(home.path))
    clean.setenv("GOVERNANCE_KEK", home.workspace.settings.kek)
    ran_out("gdpr-breach", {"dag_run": {"dag_id": "request", "run_id": "r1"}, "deadline": {}})
    entry = home.workspace.log.entry(home.workspace.log.size() - 1)
    assert entry.envelope.media_type == CLOCK
    assert parse(entry.body)["law"] == "GDPR Art. 33(1)" and parse(entry.body)["run_id"] == "r1"


def test_nothing_leaks_from_here() -> None:
    assert not {v for v in VARIABLES if v in os.environ} & {"GOVERNANCE_STORE", "GOVERNANCE_KEYS"}
