"""`governance outbox`: counts, owners, dead letters, draining to either destination, exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from emission_samples import Consumer, consumer, run_event
from openlineage.client.serde import Serde

from governance.cli import cli
from governance.errors import GovernanceError
from governance.lineage.emission.outbox import Outbox
from governance.log import open_storage


@pytest.fixture
def store(tmp_path: Path) -> Path:
    open_storage(str(tmp_path / "store"), create=True, origin="example.org/log").close()
    return tmp_path / "store"


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    made = Outbox(tmp_path / "outbox")
    for name in ("a", "b"):
        made.keep(Serde.to_json(run_event(name)).encode(), "ingest:airflow")
    made.release()
    return made


@pytest.fixture
def service() -> Iterator[Consumer]:
    with consumer() as made:
        yield made


def ran(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["outbox", *map(str, arguments)])


def told(*arguments: object) -> dict[str, object]:
    return dict(json.loads(ran(*arguments, "--json").stdout))


def code(result: Result) -> str:
    assert isinstance(result.exception, GovernanceError)
    return result.exception.code


def test_status_counts_and_names_owners(outbox: Outbox) -> None:
    status = told("status", "--outbox", outbox.directory)
    assert (status["waiting"], status["damaged"], status["dead_letters"]) == (2, 0, {})
    assert str(status["oldest"]).startswith("20")
    text = ran("status", "--outbox", outbox.directory)
    assert "2 events wait, the oldest since" in text.stdout
    assert "left behind" in text.stdout
    outbox.keep(b"{}", "ingest:airflow")
    assert "held by a living process" in ran("status", "--outbox", outbox.directory).stdout
    outbox.release()


def test_check_fails_while_events_wait(outbox: Outbox, store: Path) -> None:
    assert code(ran("status", "--outbox", outbox.directory, "--check")) == "GOV-528"
    ran("drain", "--outbox", outbox.directory, "--store", store)
    assert ran("status", "--outbox", outbox.directory, "--check").exit_code == 0


def test_an_outbox_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert told("status", "--outbox", tmp_path / "none")["waiting"] == 0


def test_it_drains_a_home_without_its_keys(outbox: Outbox, store: Path, tmp_path: Path) -> None:
    done = told("drain", "--home", tmp_path)
    assert (done["sent"], done["refused"], done["copied"]) == (2, 0, 0)
    assert open_storage(str(store)).size() == 2
    assert told("status", "--home", tmp_path)["size"] == 0


def test_it_drains_to_the_service(outbox: Outbox, service: Consumer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("sesame")
    done = told(
        "drain", "--outbox", outbox.directory, "--url", service.url, "--token-file", tmp_path / "token"
    )
    assert done["sent"] == 2
    assert service.names() == ["a", "b"]
    assert service.requests[0][1]["Authorization"] == "Bearer sesame"


def test_a_destination_that_is_down_is_an_error_and_keeps_all(outbox: Outbox, service: Consumer) -> None:
    service.default = 503
    assert code(ran("drain", "--outbox", outbox.directory, "--url", service.url)) == "GOV-527"
    assert outbox.status().waiting == 2
    gone = ran("drain", "--outbox", outbox.directory, "--store", outbox.directory / "none")
    assert code(gone) == "GOV-501"
    assert outbox.status().waiting == 2


def test_dead_letters_are_reported_and_tried_again_when_asked(outbox: Outbox, service: Consumer) -> None:
    service.refuse = lambda b: 400 if b'"a"' in b else None
    drain = ("drain", "--outbox", outbox.directory, "--url", service.url)
    assert code(ran(*drain)) == "GOV-528"
    assert "dead letters, refused: 1" in ran("status", "--outbox", outbox.directory).stdout
    service.refuse = lambda _: None
    assert told(*drain)["sent"] == 0
    assert told(*drain, "--dead-letters")["sent"] == 1
    assert service.names() == ["b", "a"]
    assert told("status", "--outbox", outbox.directory)["dead_letters"] == {}


@pytest.mark.parametrize(
    "options", [("--url", "http://h", "--store", "s"), ("--store", "s", "--token-file", "t")]
)
def test_two_destinations_are_one_too_many(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert ran("drain", "--outbox", tmp_path, *options).exit_code == 2
