"""Keeping a log for years, as a person types it: export, archive, retention, prune, redact, verify."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from governance.cli import cli
from governance.config import Settings
from governance.keys.providers.file import create_file_key
from governance.log import OPENLINEAGE_EVENT, NewEntry
from governance.log.tiles import resources
from governance.model.resources import schemas
from governance.pipeline.workspace import Workspace

EVENTS = 300


def event(number: int) -> bytes:
    return json.dumps({"eventType": "COMPLETE", "run": {"runId": str(number)}}).encode()


class Home:
    """A home whose log holds events recorded in 2019."""

    def __init__(self, path: Path) -> None:
        self.path = path
        create_file_key(path / "kek.json")
        self.settings = Settings.at(path / "home", kek=f"file:{path / 'kek.json'}")

        def clock() -> datetime:
            return datetime(2019, 6, 1, tzinfo=UTC)

        workspace = Workspace.create(self.settings, origin="governance.example/test", clock=clock)
        shutil.copy(schemas() / "examples" / "policy.yaml", self.settings.policy)
        workspace.log.append(
            [NewEntry(event(number), OPENLINEAGE_EVENT, "ingest:airflow") for number in range(EVENTS)]
        )
        workspace.log.checkpoint()
        self.key = workspace.vkey
        workspace.log.close()

    def run(self, *arguments: str) -> Result:
        environment = {"GOVERNANCE_HOME": str(self.settings.home), "GOVERNANCE_KEK": self.settings.kek}
        return CliRunner(env=environment).invoke(cli, ["log", *arguments])

    def json(self, *arguments: str, code: int = 0) -> Any:
        done = self.run(*arguments, "--json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.exit_code != 0
        return done.output + str(done.exception)

    def verify(self, code: int = 0) -> Any:
        return self.json("verify", "--key", self.key, code=code)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_an_export_is_extended_and_checked_offline(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = home.json("export", "--out", str(out))
    assert (first["size"], first["before"]) == (EVENTS + 1, 0)
    assert first["files"] == 2 + sum(1 for _ in resources(EVENTS + 1))
    older = tmp_path / "older.txt"
    older.write_text(first["checkpoint"])
    home.json("redact", "5", "--ground", "GDPR Art. 17(1)(b)", "--authoriser", "rights:dpo")
    assert "1 new" in home.run("export", "--out", str(out)).output
    (tmp_path / "home").rename(tmp_path / "gone")
    arguments = ["log", "verify", "--tiles", str(out), "--key", home.key, "--checkpoint", str(older)]
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["size"], said["checkpoints_compared"]) == (EVENTS + 2, 2)
    assert "--key" in CliRunner().invoke(cli, ["log", "verify", "--tiles", str(out)]).output
    bundle = out / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b"ingest:airflow", b"ingest:anybody", 1))
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 1
    assert "not verified" in done.output


def test_a_lost_memory_goes_on_from_a_checkpoint_that_is_given(home: Home, tmp_path: Path) -> None:
    note = home.json("status")["checkpoint"]
    given = tmp_path / "checkpoint.txt"
    given.write_text(note)
    [memory] = (home.settings.home / "signer").glob("*.note")
    memory.unlink()
    assert "governance log adopt" in home.refused("status")
    given.write_text(note.replace("governance.example/test", "governance.example/other"))
    assert "GOV-506" in home.refused("adopt", str(given))
    assert not memory.exists()
    given.write_text(note)
    assert f"{EVENTS + 1}" in home.run("adopt", str(given)).output
    assert home.json("status")["size"] == EVENTS + 1
    given.write_text("nothing signed")
    assert "GOV-506" in home.refused("adopt", str(given))


def test_the_life_of_a_body(home: Home, tmp_path: Path) -> None:
    for wrong in ([], ["--before", "2020-01-01", "--older-than", "P1D"]):
        assert "give one of" in home.refused("archive", *wrong)
    assert "no file" in home.run("archive", "--before", "2018-01-01").output
    [made] = home.json("archive", "--older-than", "P1Y", "--ground", "a year old")["archives"]
    assert (made["first"], made["last"]) == (0, EVENTS)
    assert Path(made["file"]).parent == tmp_path / "home" / "store" / "archive"
    assert event(7).decode() in home.run("show", "8").output
    said = home.verify()
    assert (said["archived"], said["pruned"], said["redacted"]) == (EVENTS, 0, 0)

    home.json("redact", "8", "--ground", "GDPR Art. 17(1)(b)", "--authoriser", "rights:dpo")
    assert event(7).decode() not in home.run("show", "8").output
    assert "redacted or pruned" in home.run("show", "8").output

    # Recorded in 2019: HIPAA's six years are over, the ten of the GDPR's cap are not.
    said = home.json("retention")
    assert [(a["regime"], a["at_least"], a["at_most"]) for a in said["asks"]] == [
        ("HIPAA", "P6Y", None),
        ("GDPR", None, "P10Y"),
    ]
    assert [a["state"] for a in said["archives"]] == ["may go"]
    who = ["--ground", "GDPR Art. 5(1)(e)", "--authoriser", "admin:dpo"]
    assert "nothing is due" in home.run("prune", *who).output
    [gone] = home.json("prune", "--before", "2020-01-01", *who)["pruned"]
    assert (gone["first"], gone["last"]) == (0, EVENTS)
    said = home.verify()
    assert (said["archived"], said["pruned"], said["redacted"]) == (0, EVENTS - 1, 1)
    assert said["ok"]
    assert home.json("retention")["archives"] == []


def test_going_below_the_policy_needs_a_ground(home: Home) -> None:
    home.settings.policy.write_text(
        home.settings.policy.read_text().replace("HIPAA: {atLeast: P6Y}", "HIPAA: {atLeast: P60Y}")
    )
    home.json("archive", "--older-than", "P1Y")
    said = home.json("retention")
    assert "HIPAA wins" in said["conflicts"][0]
    assert said["archives"][0]["state"] == "kept"
    arguments = ["prune", "--before", "2020-01-01", "--ground", "why", "--authoriser", "admin:dpo"]
    assert "GOV-518" in home.refused(*arguments)
    [gone] = home.json(*arguments, "--shorten", "order of the court")["pruned"]
    assert (
        '"shortened":{"below":["HIPAA"],"ground":"order of the court"}'
        in home.run("show", str(gone["entry"])).output
    )
    assert home.verify()["ok"]


def test_a_policy_without_periods_prunes_nothing(home: Home) -> None:
    policy = home.settings.policy.read_text()
    home.settings.policy.write_text(policy[: policy.index("retention:")])
    home.json("archive", "--older-than", "P1Y")
    assert "nothing may be pruned" in home.run("retention").output
    arguments = ["prune", "--before", "2020-01-01", "--ground", "why", "--authoriser", "admin:dpo"]
    assert "sets no period" in home.refused(*arguments)


def test_archives_that_moved(home: Home, tmp_path: Path) -> None:
    home.json("archive", "--older-than", "P1Y", "--dir", str(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "tape")
    assert "--moved-to" in home.refused("show", "8")
    assert home.verify(code=1)["first_bad"] == 1
    assert home.json("verify", "--key", home.key, "--archives", str(tmp_path / "tape"))["ok"]
    unread = home.json("verify", "--key", home.key, "--no-archives")
    assert any("were not read" in line for line in unread["cannot_know"])
    [moved] = home.json("archive", "--moved-to", str(tmp_path / "tape"))["archives"]
    assert Path(moved["file"]).parent == tmp_path / "tape"
    assert event(7).decode() in home.run("show", "8").output
    assert home.verify()["ok"]


def test_a_report_is_held_against_the_log(home: Home, tmp_path: Path) -> None:
    store = tmp_path / "home" / "store"
    shutil.copytree(store, tmp_path / "older")
    environment = {"GOVERNANCE_HOME": str(home.settings.home), "GOVERNANCE_KEK": home.settings.kek}
    home.json("redact", "5", "--ground", "ground", "--authoriser", "rights:dpo")
    done = CliRunner(env=environment).invoke(
        cli, ["report", "make", "gdpr-art30", "--out", str(tmp_path / "r"), "--bundle", "--json"]
    )
    assert done.exit_code == 0, done.output
    bundle = json.loads(done.stdout)["bundle"]
    assert home.json("verify", "--key", home.key, "--report", bundle)["ok"]
    # The auditor has the key, the report, and a copy of a store that was rolled back: no home.
    arguments = ["log", "verify", "--home", str(tmp_path / "none"), "--store", str(tmp_path / "older")]
    done = CliRunner().invoke(cli, [*arguments, "--key", home.key, "--json"])
    assert done.exit_code == 0, done.output
    assert any("rolled back" in line for line in json.loads(done.stdout)["cannot_know"])
    done = CliRunner().invoke(cli, [*arguments, "--key", home.key, "--report", bundle, "--json"])
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert "truncated, or an older store restored" in said["faults"][0]
    assert said["first_bad"] == EVENTS + 1
    (tmp_path / "no.zip").write_bytes(b"x")
    assert "GOV-801" in home.refused("verify", "--key", home.key, "--report", str(tmp_path / "no.zip"))


@pytest.mark.parametrize("when", ["soon", "2026-13-01", "2026-01-31T12:00:00"])
def test_an_instant_is_clear(home: Home, when: str) -> None:
    assert "2026-01-31" in home.refused("archive", "--before", when)


def test_an_authoriser_is_a_principal(home: Home) -> None:
    assert "GOV-508" in home.refused("redact", "5", "--ground", "ground", "--authoriser", "me")
    assert "GOV-508" in home.refused("archive", "--older-than", "P1Y", "--authoriser", "me")
    assert "GOV-508" in home.refused("prune", "--ground", "ground", "--authoriser", "me")
    assert home.verify()["ok"]
