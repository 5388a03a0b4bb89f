"""A real Airflow on this machine: ``python -m governance.airflow.standalone up|down HOME DAGS``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from governance.airflow.environment import airflow_environment, set_passwords, write_secret
from governance.config import Settings
from governance.contracts import load_policy
from governance.pipeline.workspace import Workspace
from governance.server.tokens import create_token

_START_SECONDS = 180
_STOP_SECONDS = 60
_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def up(settings: Settings, dags: Path, port: int, password: str, database: str = "") -> None:
    """Start ``airflow standalone`` in the background and wait until all its parts are healthy.

    It listens on 127.0.0.1 only, so a known password is no default one on a network. The policy's approvers
    are users beside ``admin``, so that approvals can be tried. ``database`` is ``postgresql://…`` for Airflow's own data.
    """
    pid_file = settings.home / "airflow" / "standalone.pid"
    if _running(pid_file):
        _say(f"already running (process {pid_file.read_text()}); `make down` stops it")
        return
    approvers = load_policy(settings.policy).approvers
    set_passwords(settings, password, approvers)
    own = airflow_environment(settings, dags, port=port, approvers=approvers, database=database)
    environment = {**os.environ, **own}
    if not environment.get("GOVERNANCE_SERVER"):
        environment |= _serve(settings, environment)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment.get('PATH', '')}"
    log = settings.home / "airflow" / "standalone.log"
    with log.open("ab") as output:
        # Shells start background jobs with SIGINT ignored, and SIGINT is what stops standalone cleanly.
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _EXEC, str(Path(sys.executable).parent / "airflow")],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    pid_file.write_text(str(process.pid))
    _say(f"starting Airflow on http://localhost:{port} (log: {log}) …")
    deadline = time.monotonic() + _START_SECONDS
    while not _healthy(port):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"Airflow did not become healthy; see {log}")
        time.sleep(0.5)
    _say(f"Airflow is up: http://localhost:{port}   user admin   password {password}")
    if approvers:
        _say(f"approvers, with the same password: {', '.join(approvers)}")


def down(settings: Settings) -> None:
    """Stop it: SIGINT to the parent, which stops its children; SIGTERM would orphan them."""
    _end(settings.home / "airflow" / "lineage.pid")
    pid_file = settings.home / "airflow" / "standalone.pid"
    if not _running(pid_file):
        _say("Airflow is not running")
        return
    pid = int(pid_file.read_text())
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + _STOP_SECONDS
    while _running(pid_file):
        if time.monotonic() > deadline:
            os.killpg(pid, signal.SIGKILL)
            break
        time.sleep(0.25)
    pid_file.unlink(missing_ok=True)
    _say("Airflow stopped")


def _serve(settings: Settings, environment: dict[str, str]) -> dict[str, str]:
    """Start the lineage service beside Airflow, on a free port of this machine, for the Governance tab to ask."""
    folder = settings.home / "airflow"
    _end(folder / "lineage.pid")
    token = folder / "lineage-token"
    if not token.exists():
        log = Workspace.open(settings).log
        made = create_token(
            log,
            name="airflow",
            scopes=("read", "audit"),
            namespaces=None,
            expires_at=None,
            principal="admin:up",
        )
        log.close()
        write_secret(token, made)
    with (folder / "lineage.log").open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "governance.cli", "serve", "--home", str(settings.home), "--port", "0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=output,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
    (folder / "lineage.pid").write_text(str(process.pid))
    url = process.stdout.readline().strip() if process.stdout else ""
    if not url:
        sys.exit(f"the lineage service did not start; see {folder / 'lineage.log'}")
    return {"GOVERNANCE_SERVER": url, "GOVERNANCE_SERVER_TOKEN_FILE": str(token)}


def _end(pid_file: Path) -> None:
    if _running(pid_file, b"serve"):
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while _running(pid_file, b"serve") and time.monotonic() < deadline:
            time.sleep(0.1)
    pid_file.unlink(missing_ok=True)


_EXEC = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "os.execv(sys.argv[1], [sys.argv[1], 'standalone'])"
)


def _running(pid_file: Path, named: bytes = b"airflow") -> bool:
    if not pid_file.exists():
        return False
    try:
        pid = int(pid_file.read_text())
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    except ValueError:
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return named in command


def _healthy(port: int) -> bool:
    url = f"http://127.0.0.1:{port}/api/v2/monitor/health"
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            health: dict[str, Any] = json.load(answer)
    except (urllib.error.URLError, OSError, ValueError):
        return False
    return all((health.get(part) or {}).get("status") == "healthy" for part in _PARTS)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """``up HOME DAGS PORT PASSWORD [DATABASE]`` or ``down HOME``; the demo's key lies in its home, others are named."""
    action, home = sys.argv[1], Path(sys.argv[2]).resolve()
    own = home / "secrets" / "kek.json"
    settings = (
        Settings.at(home, kek=f"file:{own}") if own.exists() else Settings.from_environment(home=str(home))
    )
    if action == "up":
        up(settings, Path(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:7])
    else:
        down(settings)


if __name__ == "__main__":
    main()
