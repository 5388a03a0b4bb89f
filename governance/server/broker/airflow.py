"""Asking Airflow whether a try runs, and whether it carries what it claims (REST API v2, Airflow 3.3)."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from typing import Any

from governance.errors import LogError
from governance.model.key_grant import Claim, Operation, TaskTry
from governance.server.broker.rules import Refused
from governance.server.broker.settings import AirflowSettings

_TIMEOUT_S = 5.0
_LARGEST = 1 << 20


class AirflowTries:
    """What Airflow says of task instances."""

    def __init__(self, settings: AirflowSettings) -> None:
        self._settings = settings
        self._tls = ssl.create_default_context() if settings.url.startswith("https:") else None

    def confirm(self, task: TaskTry, claim: Claim) -> None:
        """Return when Airflow says that this try runs and was rendered for this claim.

        An opening must have been given the claim's contract and purpose, a stage the reference of the claimed
        run, a disclosure the claim's recipient and purpose. A task that Airflow shows none of these for is
        refused.

        Raises:
            Refused: ``airflow``, it says otherwise.
            LogError: GOV-510 when it does not answer.
        """
        found = self.instance(task)
        if found is None:
            raise _contradicted("Airflow knows no such task instance")
        if found.get("state") != "running" or found.get("try_number") != task.try_number:
            raise _contradicted(f"Airflow says that try {task.try_number} of {task.task_id} is not running")
        rendered = found.get("rendered_fields")
        if not isinstance(rendered, dict) or not carries(rendered, claim):
            raise _contradicted(f"task {task.task_id} does not carry the contract or run that it claims")

    def instance(self, task: TaskTry) -> dict[str, Any] | None:
        """The task instance as Airflow has it, None where it has none. Raises GOV-510."""
        names = ("dags", task.dag_id, "dagRuns", task.run_id, "taskInstances", task.task_id)
        path = "/api/v2/" + "/".join(urllib.parse.quote(name, safe="") for name in names)
        if task.map_index >= 0:
            path += f"/{task.map_index}"
        parts = urllib.parse.urlsplit(self._settings.url)
        try:
            token = self._settings.token_file.read_text("ascii").strip()
            connection = (
                http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=_TIMEOUT_S)
                if self._tls is None
                else http.client.HTTPSConnection(
                    str(parts.hostname), parts.port, timeout=_TIMEOUT_S, context=self._tls
                )
            )
            try:
                connection.request(
                    "GET", parts.path.rstrip("/") + path, headers={"Authorization": f"Bearer {token}"}
                )
                response = connection.getresponse()
                status, body = response.status, response.read(_LARGEST)
            finally:
                connection.close()
            if status == 404:
                return None
            document = json.loads(body) if status == 200 else None
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as fault:
            raise _silent(type(fault).__name__) from None
        if not isinstance(document, dict):
            raise _silent(f"HTTP {status}")
        return document


def carries(rendered: dict[str, Any], claim: Claim) -> bool:
    """Whether a task's rendered fields are those of this claim's step."""
    if claim.operation is Operation.OPEN:
        contract = rendered.get("contract")
        named = isinstance(contract, str) and contract.rpartition("/")[2].split(".")[0]
        return bool(named == claim.dataset and rendered.get("purpose") == claim.purpose)
    if claim.operation is Operation.SEAL:
        own = {"dataset": claim.dataset, "version": claim.version, "attempt": claim.attempt}
        return bool(_as_mapping(rendered.get("reference")) == own)
    asked = {"recipient": claim.recipient, "purpose": claim.purpose}
    return claim.operation is Operation.DISCLOSE and asked.items() <= rendered.items()


def _as_mapping(value: Any) -> Any:
    # Airflow shows a rendered mapping as one, or as its text.
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value.replace("'", '"'))
    except ValueError:
        return None


def _contradicted(message: str) -> Refused:
    return Refused("airflow", message, "ask from the running task whose contract, run or recipient it is")


def _silent(why: str) -> LogError:
    return LogError(
        "GOV-510",
        f"Airflow does not confirm the try: {why}",
        "check `airflow` of the broker's settings, its token's rights and that the API server is up",
    )
