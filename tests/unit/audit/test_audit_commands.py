"""`governance report` and `governance verify`: exit codes, what they print, and what they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from audit_world import World
from click.testing import CliRunner

from governance.audit import REPORTS, MadeReport, make_report
from governance.cli import cli

MAIN = "from governance.cli import main; main()"


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(words))
    return result.exit_code, result.output


@pytest.fixture
def bundle(accounting: MadeReport) -> str:
    return str(accounting.bundle)


def test_the_list_names_every_kind() -> None:
    code, output = run("report", "list", "--kinds", "--json")
    kinds = {k["kind"]: k for k in json.loads(output)}
    assert code == 0 and list(kinds) == list(REPORTS)
    for name, kind in REPORTS.items():
        assert kinds[name]["parameters"] == sorted(kind.parameters)
        assert (kinds[name]["period"], kinds[name]["for_one_subject"]) == (kind.takes_period, kind.personal)
    code, output = run("report", "list")
    assert code == 0 and "45 CFR 164.528" in output


def test_a_good_bundle_exits_0(world: World, bundle: str, tmp_path: Path) -> None:
    code, output = run("verify", bundle, "--key", world.vkey)
    assert code == 0 and output.startswith("VERIFIED, self-attested")
    (tmp_path / "key.txt").write_text(world.vkey + "\n")
    (tmp_path / "older.txt").write_text(world.log.storage.checkpoints()[0])
    code, output = run(
        "verify",
        bundle,
        "--key",
        str(tmp_path / "key.txt"),
        "--checkpoint",
        str(tmp_path / "older.txt"),
        "--json",
    )
    said = json.loads(output)
    assert code == 0 and said["ok"] and said["rows_checked"] == 2 and said["code"] is None


def test_what_an_audience_is_not_given_is_said(world: World, tmp_path: Path) -> None:
    made = make_report(world, "gdpr-art17", tmp_path, bundle=True, audience="partner")
    code, output = run("verify", str(made.bundle), "--key", world.vkey)
    assert code == 0 and "Made for a recipient or a customer (audience partner)." in output
    assert "Body withheld for this audience: " in output
    code, output = run("verify", str(made.bundle), "--key", world.vkey, "--json")
    said = json.loads(output)
    assert (said["audience"], said["bodies_withheld"]) == ("partner", made.record["audience"]["withheld"])


def test_without_a_key_it_exits_3(bundle: str) -> None:
    code, output = run("verify", bundle)
    assert code == 3 and "GOV-803" in output and not output.startswith("VERIFIED")
    code, output = run("verify", bundle, "--json")
    assert code == 3 and json.loads(output)["ok"] is False


def test_an_altered_bundle_exits_1_and_names_the_row(world: World, bundle: str, tmp_path: Path) -> None:
    raw = Path(bundle).read_bytes()
    at = raw.index(b"entries/82.json") + 200
    altered = tmp_path / "altered.zip"
    altered.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    for key in (["--key", world.vkey], []):
        code, output = run("verify", str(altered), *key)
        assert code == 1 and "NOT VERIFIED  GOV-802 entries/82.json" in output
        assert "row 1 (Northlake Institute for Clinical Research, 2026-03-02)" in output


def test_verifying_needs_no_home_and_no_network(world: World, bundle: str, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "verify", bundle, "--key", world.vkey],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "verify", __file__],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1 and "GOV-801" in done.stderr


def test_a_report_of_a_real_home(tmp_path: Path) -> None:
    from governance.config import Settings
    from governance.keys.providers.file import create_file_key
    from governance.pipeline.workspace import Workspace

    (tmp_path / "secrets").mkdir(mode=0o700)
    key = tmp_path / "secrets" / "kek.json"
    create_file_key(key)
    home = tmp_path / "home"
    workspace = Workspace.create(Settings.at(home, kek=f"file:{key}"), origin="governance.example/test")
    environment = {"GOVERNANCE_HOME": str(home), "GOVERNANCE_KEK": f"file:{key}"}
    runner = CliRunner(env=environment)
    made = runner.invoke(
        cli, ["report", "make", "gdpr-art30", "--out", str(tmp_path / "out"), "--bundle", "--json"]
    )
    assert made.exit_code == 0, made.output
    said = json.loads(made.output)
    assert said["as_of"]["size"] == 1 and said["verdict"]["rows"] == 0
    checked = runner.invoke(cli, ["verify", said["bundle"], "--key", workspace.vkey])
    assert checked.exit_code == 0, checked.output
    refused = runner.invoke(cli, ["report", "make", "gdpr-art99", "--out", str(tmp_path / "out")])
    assert refused.exit_code == 1 and getattr(refused.exception, "code", None) == "GOV-804"
    shown = runner.invoke(
        cli, ["report", "make", "hipaa-528", "--out", str(tmp_path / "out"), "--as-of", "1"]
    )
    assert shown.exit_code == 0 and "hipaa-528-1.html" in shown.output
