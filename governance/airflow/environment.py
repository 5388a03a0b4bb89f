"""The environment of an Airflow that governs: its home, its DAGs, lineage into our log."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from governance.config import Settings


def airflow_environment(
    settings: Settings,
    dags: Path,
    *,
    port: int = 8080,
    approvers: Sequence[str] = (),
    database: str = "",
) -> dict[str, str]:
    """Variables for Airflow with LocalExecutor, beside a governance home.

    ``approvers`` are users beside ``admin`` that may answer requests for approval. ``database`` is where Airflow
    keeps its own data, ``postgresql://…``; without it a SQLite file in the home.

    The provider's events go through the outbox transport: sent to the log first, kept on disk when
    that fails, because a task's process ends before a thread behind it could drain. An emit waits a
    bounded time at most, and not at all once the log is known to be down.
    """
    home = settings.home / "airflow"
    transport = {
        "type": "governance.lineage.transport.OutboxTransport",
        "store": settings.store,
        "outbox": str(settings.home / "outbox"),
        "mode": "send-first",
    }
    return {
        **settings.environment(),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags.resolve()),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            ["admin:admin", *(f"{a}:op" for a in approvers)]
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        **_database(database or f"sqlite:///{home}/airflow.db"),
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": _kept_secret(home / "jwt-secret"),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__OPENLINEAGE__NAMESPACE": settings.namespace,
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD": "true",
    }


def _database(url: str) -> dict[str, str]:
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url}
    # Without a driver's name Airflow would look for psycopg2, and for asyncpg beside it.
    conn = f"postgresql+psycopg://{rest}"
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": conn, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": conn}


def set_passwords(settings: Settings, password: str, approvers: Sequence[str] = ()) -> None:
    """Give Airflow's simple auth manager one password for its users, in a file only its owner reads."""
    path = settings.home / "airflow" / "passwords.json"
    path.unlink(missing_ok=True)
    write_secret(path, json.dumps(dict.fromkeys(["admin", *approvers], password)))


def _kept_secret(path: Path) -> str:
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(48))
    return path.read_text("utf-8")


def write_secret(path: Path, text: str) -> None:
    """Write a new file that only its owner reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
