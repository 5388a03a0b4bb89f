"""What an outsider does: pin a key, follow it through rotations, ask who else saw the log."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from governance.audit import verify_bundle
from governance.audit.checking import container
from governance.cli import cli
from governance.config import Settings
from governance.errors import GovernanceError, LogError
from governance.keys.providers.file import create_file_key
from governance.log.witnesses.trust import FILE, Trust
from governance.pipeline.open import pin_root
from governance.pipeline.workspace import OPERATOR, Workspace

MAIN = "import sys; from governance.cli import main; sys.argv[0] = 'governance'; main()"


class Home:
    """One governance home; each workspace is opened anew, as another process would."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "secrets").mkdir(mode=0o700, parents=True)
        self.kek = path / "secrets" / "kek.json"
        create_file_key(self.kek)
        self.settings = Settings.at(path / "home", kek=f"file:{self.kek}")
        Workspace.create(self.settings, origin="governance.example/test")

    def open(self) -> Workspace:
        return Workspace.open(self.settings)

    @property
    def key(self) -> str:
        return self.open().vkey

    @property
    def environment(self) -> dict[str, str]:
        return {"GOVERNANCE_HOME": str(self.settings.home), "GOVERNANCE_KEK": self.settings.kek}

    def cli(self, *arguments: str) -> Result:
        return CliRunner(env=self.environment).invoke(cli, list(arguments))

    def json(self, *arguments: str) -> Any:
        done = self.cli(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def append(self, number: int) -> None:
        self.open().append_json({"number": number}, "application/json", OPERATOR)

    def bundle(self, name: str, *more: str) -> Path:
        out = self.path / name
        return Path(self.json("report", "make", "gdpr-art30", "--out", str(out), "--bundle", *more)["bundle"])


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_rotation_from_end_to_end(home: Home) -> None:
    old = home.key
    rotated = home.json("log", "rotate-key")
    assert (rotated["former"], rotated["public_key"]) == (old, home.key)
    home.append(1)
    new = home.json("log", "status")["public_key"]
    assert new == home.key != old
    for pinned in (old, new):
        report = home.json("log", "verify", "--key", pinned)
        assert report["ok"] and report["keys"] == [old, new]
    assert "the log is signed by" in home.cli("log", "rotate-key").stdout
    assert home.json("log", "verify", "--key", old)["keys"] == [old, new, home.key]
    home.json("keys", "rotate")
    assert home.json("log", "verify", "--key", old)["ok"]
    bundle, tiles = home.bundle("reports"), str(home.path / "tiles")
    home.json("log", "export", "--out", tiles)
    offline = ("log", "verify", "--tiles", tiles, "--key", old)
    assert "GOV-506" in str(home.cli(*offline).exception)
    assert home.json(*offline, "--report", str(bundle))["ok"]


def test_roots_and_homes_from_before_a_rotation_stay_bound(home: Home, tmp_path: Path) -> None:
    workspace = home.open()
    storage = workspace.dataset_storage("people")
    pin_root(workspace, storage, "people")
    root = storage.read("root.json")
    workspace.rotate_log_key()
    pin_root(workspace, storage, "people")
    pin_root(home.open(), storage, "people")
    assert storage.read("root.json") == root
    stranger = Home(tmp_path / "other").open()
    with pytest.raises(LogError, match="GOV-502"):
        pin_root(stranger, storage, "people")
    stranger.rotate_log_key()
    with pytest.raises(LogError, match="GOV-502"):
        pin_root(stranger, storage, "people")


def test_the_key_store_from_before_a_rotation_signs_nothing(home: Home, tmp_path: Path) -> None:
    shutil.copytree(home.settings.home / "keys", tmp_path / "backup")
    home.json("log", "rotate-key")
    shutil.rmtree(home.settings.home / "keys")
    shutil.copytree(tmp_path / "backup", home.settings.home / "keys")
    with pytest.raises(LogError, match="GOV-511"):
        home.open()


STAGES = {
    "before the leaf": ("governance.log.rotation", "_signed_statement"),
    "after the leaf": ("governance.log.signer", "CheckpointSigner._signed"),
    "before the memory is replaced": ("governance.log.signer", "CheckpointSigner._remember"),
    "before the store has the checkpoint": ("governance.log.sqlite", "SqliteStorage.save_checkpoint"),
    "before the key store has the new key": ("governance.keys.store", "Keyring.promote_log_signer"),
}
KILLED = """
import importlib, os, signal, sys
from pathlib import Path
from governance.config import Settings
from governance.pipeline.workspace import Workspace
workspace = Workspace.open(Settings.at(Path(sys.argv[1]), kek=sys.argv[2]))
owner = importlib.import_module(sys.argv[3])
*path, name = sys.argv[4].split(".")
for part in path:
    owner = getattr(owner, part)
setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
workspace.rotate_log_key()
"""


@pytest.mark.parametrize(("module", "name"), STAGES.values(), ids=STAGES.keys())
def test_killed_at_any_step_the_old_key_signs_or_the_new_one(home: Home, module: str, name: str) -> None:
    old = home.key
    home.append(1)
    arguments = [str(home.settings.home), home.settings.kek, module, name]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], timeout=60)
    assert done.returncode == -signal.SIGKILL
    # Somebody else opens the home, appends and signs, before anyone thinks of the rotation again.
    home.append(2)
    between = home.open()
    between.log.checkpoint()
    assert (between.vkey == old) == (module in ("governance.log.rotation", "governance.log.signer"))
    assert home.json("log", "verify", "--key", old)["ok"]
    assert home.json("log", "verify", "--key", between.vkey)["ok"]
    home.json("log", "rotate-key")
    home.append(3)
    home.open().log.checkpoint()
    report = home.json("log", "verify", "--key", old)
    assert report["ok"] and report["keys"][0] == old and report["keys"][-1] == home.key


def test_a_bundle_is_verified_with_the_key_pinned_before_a_rotation(home: Home) -> None:
    old = home.key
    before = home.bundle("before")
    past = home.open().log.checkpoint().size
    home.json("log", "rotate-key")
    middle = home.key
    home.append(1)
    home.json("log", "rotate-key")
    home.append(2)
    after = home.bundle("after")
    for pinned in (old, middle, home.key):
        verdict = verify_bundle(after, pinned)
        assert verdict.ok, verdict.first_failure
        assert any("was rotated" in line for line in verdict.lines) == (pinned != home.key)
    older = zipfile.ZipFile(before).read("checkpoint.txt").decode()
    assert verify_bundle(after, old, older_checkpoint=older).ok
    # A report as of the past is the one that was made then, byte for byte, under the key of then.
    again = home.bundle("again", "--as-of", str(past))
    assert again.read_bytes() == before.read_bytes()
    assert verify_bundle(again, old).ok
    verdict = verify_bundle(before, home.key)
    assert not verdict.ok and "If the log's key was rotated since" in (verdict.first_failure or "")


def repacked(bundle: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    members = dict(container.read(bundle).members)
    change(members)
    target.write_bytes(container.pack(members))
    return target


def test_a_bundle_whose_rotations_were_touched_is_refused(home: Home, tmp_path: Path) -> None:
    old = home.key
    home.json("log", "rotate-key")
    home.append(1)
    bundle = home.bundle("after")
    stranger = Home(tmp_path / "stranger")
    stranger.json("log", "rotate-key")
    foreign = zipfile.ZipFile(stranger.bundle("x")).read("rotations.json")

    def drop(members: dict[str, bytes]) -> None:
        del members["rotations.json"]

    def swap(members: dict[str, bytes]) -> None:
        members["rotations.json"] = foreign

    def rewrite(text: bytes) -> Callable[[dict[str, bytes]], None]:
        return lambda members: members.update({"rotations.json": text})

    for number, change in enumerate(
        (drop, swap, rewrite(b""), rewrite(b"[]"), rewrite(b"[{}]"), rewrite(b"{}"), rewrite(b"\xff"))
    ):
        for pinned in (old, home.key):
            verdict = verify_bundle(repacked(bundle, tmp_path / f"{number}.zip", change), pinned)
            assert not verdict.ok and verdict.first_failure


@contextmanager
def served(folder: Path, log: str) -> Iterator[tuple[str, str]]:
    """`governance witness serve` as a process of its own: its public key and URL."""
    folder.mkdir(exist_ok=True)
    key = folder / "witness.key"
    if not key.exists():
        made = CliRunner().invoke(cli, ["witness", "keygen", str(key), "--name", "witness.example/w1"])
        assert made.exit_code == 0, made.output
    command = [sys.executable, "-c", MAIN, "witness", "serve", "--key", str(key), "--port", "0"]
    with subprocess.Popen(
        [*command, "--memory", str(folder / "memory"), "--log", log], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process.stdout.readline().strip()
        finally:
            process.kill()


def witnesses(home: Home, key: str, url: str) -> None:
    (home.settings.home / FILE).write_text(f"timeout: 20\nwitnesses:\n- key: {key}\n  url: {url}\n")


def test_a_witnessed_log(home: Home, tmp_path: Path) -> None:
    pinned = home.key
    with served(tmp_path / "witness", pinned) as (key, url):
        witnesses(home, key, url)
        home.append(1)
        report = home.json("log", "witness")
        assert [a["outcome"] for a in report["answers"]] == ["cosigned"]
        assert [c["witness"] for c in home.json("log", "witness", "--show")["cosignatures"]] == [
            "witness.example/w1"
        ]
        home.append(2)
        bundle = home.bundle("witnessed")
    verdict = home.json("log", "verify", "--key", pinned, "--witness", key)
    assert verdict["verdict"] == f"verified, witnessed by witness.example/w1 up to entry {verdict['size']}"
    assert home.json("log", "verify", "--key", pinned)["verdict"] == "verified, self-attested"
    checked = home.cli("verify", str(bundle), "--key", pinned, "--witness", key)
    assert "VERIFIED, witnessed by witness.example/w1" in checked.stdout, checked.output
    assert "VERIFIED, self-attested" in home.cli("verify", str(bundle), "--key", pinned).stdout
    assert not verify_bundle(bundle, pinned, trust=Trust.pinned([key], None)).self_attested
    # The witness is down: the log goes on, and says so.
    home.append(3)
    assert home.json("log", "status")["size"] == verdict["size"] + 1
    assert home.cli("log", "witness").exception.code == "GOV-512"  # type: ignore[union-attr]
    report = home.json("log", "verify", "--key", pinned, "--witness", key)
    assert any("the newest 1 entries" in line for line in report["cannot_know"])


def test_a_store_that_was_rolled_back_is_contradicted_by_its_witness(home: Home, tmp_path: Path) -> None:
    """The attacker restores store and signer's memory alike; only the witness remembers."""
    kept = tmp_path / "kept"
    shutil.copytree(home.settings.home, kept)
    with served(tmp_path / "witness", home.key) as (key, url):
        witnesses(home, key, url)
        home.append(1)
        home.json("log", "witness")
        shutil.rmtree(home.settings.home)
        shutil.copytree(kept, home.settings.home)
        witnesses(home, key, url)
        for number in (7, 8):
            refused = home.cli("log", "witness")
            assert isinstance(refused.exception, GovernanceError)
            assert "another history" in refused.exception.message
            home.append(number)


def test_a_witness_killed_and_started_again_remembers(home: Home, tmp_path: Path) -> None:
    for number in range(3):
        with served(tmp_path / "witness", home.key) as (key, url):
            witnesses(home, key, url)
            home.append(number)
            assert home.json("log", "witness")["answers"][0]["outcome"] == "cosigned"


@pytest.mark.parametrize(
    "text", ["", "PRIVATE+KEY+w+00000000+BAAA", "PRIVATE+KEY+w+zz", "x" * 100, "\x00\x01"], ids=range(5)
)
def test_a_wrong_witness_key_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)
    arguments = ["witness", "serve", "--key", str(path), "--memory", str(tmp_path / "m"), "--log"]
    log = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    for broken in (lambda: None, lambda: path.chmod(0o644), path.unlink):
        broken()
        refused = CliRunner().invoke(cli, [*arguments, log])
        assert getattr(refused.exception, "code", None) == "GOV-514"
    made = CliRunner().invoke(cli, ["witness", "keygen", str(path), "--name", "w.example"])
    assert made.exit_code == 0 and path.stat().st_mode & 0o077 == 0
    again = CliRunner().invoke(cli, ["witness", "keygen", str(path), "--name", "w.example"])
    assert getattr(again.exception, "code", None) == "GOV-514"


def test_without_the_file_nobody_can_be_asked(home: Home) -> None:
    for command in ("witness", "timestamp"):
        assert home.cli("log", command).exception.code == "GOV-901"  # type: ignore[union-attr]
