"""Where Airflow says how governance is set up: its configuration, and the connections that name store and keys.

``[governance]`` of Airflow's configuration has an option for every ``GOVERNANCE_*`` variable; a variable that is
set wins, then the configuration, then the connection. A connection holds no key: any task may read any connection.
"""

from __future__ import annotations

import os
from urllib.parse import quote

from airflow.sdk import BaseHook

from governance.config import VARIABLES, Settings
from governance.errors import GovernanceError

SECTION = "governance"
NOT_OPTIONS = frozenset({"GOVERNANCE_PASSPHRASE", "GOVERNANCE_DEBUG"})
"""Variables without an option: one holds a secret, one is for a process a person looks at."""


def export_settings(*, connections: bool = True) -> None:
    """Give this process the variables that Airflow's configuration and connections set and its environment does not.

    Args:
        connections: read them too, which asks Airflow's API; parsing a DAG must not.

    Raises:
        AirflowNotFoundException: a connection that the configuration names does not exist.
    """
    from airflow.sdk.configuration import conf

    for variable in VARIABLES.keys() - NOT_OPTIONS:
        option = variable.removeprefix("GOVERNANCE_").lower()
        if variable not in os.environ and (value := conf.get(SECTION, option, fallback=None)):
            os.environ[variable] = value
    if not connections:
        return
    if "GOVERNANCE_STORE" not in os.environ and (name := conf.get(SECTION, "store_conn_id", fallback=None)):
        os.environ["GOVERNANCE_STORE"] = StoreHook(name).location()
    named = {"GOVERNANCE_KEK", "GOVERNANCE_KEYS"} & os.environ.keys()
    if not named and (name := conf.get(SECTION, "kms_conn_id", fallback=None)):
        os.environ.update(KmsHook(name).variables())


def airflow_settings() -> Settings:
    """The settings of this process, after :func:`export_settings`.

    Raises:
        SettingError: GOV-901 when no home is named.
    """
    export_settings()
    return Settings.from_environment()


class StoreHook(BaseHook):  # type: ignore[misc]
    """The connection type ``governance_store``: where the lineage store is.

    ``host`` is a directory, or the host of a PostgreSQL, whose database is ``schema``.
    """

    conn_name_attr = "store_conn_id"
    default_conn_name = "governance_store"
    conn_type = "governance_store"
    hook_name = "Governance lineage store"

    def __init__(self, store_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.store_conn_id = store_conn_id

    def location(self) -> str:
        """A directory or a ``postgresql://`` URL."""
        given = self.get_connection(self.store_conn_id)
        host = str(given.host or "")
        if host.startswith("/") or not given.schema:
            return host
        secret = f":{quote(given.password, safe='')}" if given.password else ""
        user = f"{quote(given.login, safe='')}{secret}@" if given.login else ""
        return f"postgresql://{user}{host}:{given.port or 5432}/{quote(given.schema, safe='')}"

    def test_connection(self) -> tuple[bool, str]:
        """Whether the store opens; with its name and size."""
        from governance.log import open_storage

        try:
            storage = open_storage(self.location())
            try:
                return True, f"log {storage.origin}, {storage.size():,} entries"
            finally:
                storage.close()
        except GovernanceError as fault:
            return False, str(fault)


class KmsHook(BaseHook):  # type: ignore[misc]
    """The connection type ``governance_kms``: the key-encryption key's URI, or the key broker's.

    It names a place. What opens it (a passphrase file, a cloud identity, a workload token) stays with the
    process.
    """

    conn_name_attr = "kms_conn_id"
    default_conn_name = "governance_kms"
    conn_type = "governance_kms"
    hook_name = "Governance keys"

    def __init__(self, kms_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.kms_conn_id = kms_conn_id

    def variables(self) -> dict[str, str]:
        """The variables that name the keys."""
        given = self.get_connection(self.kms_conn_id)
        uri, extra = str(given.host or ""), given.extra_dejson
        broker = uri.startswith("broker+")
        found = {"GOVERNANCE_KEYS" if broker else "GOVERNANCE_KEK": uri}
        if broker and extra.get("token_file"):
            found["GOVERNANCE_KEYS_TOKEN_FILE"] = str(extra["token_file"])
        if not broker and extra.get("passphrase_file"):
            found["GOVERNANCE_PASSPHRASE_FILE"] = str(extra["passphrase_file"])
        return found

    def test_connection(self) -> tuple[bool, str]:
        """Whether the provider or the broker answers. No key is fetched."""
        from pathlib import Path

        from governance.keys.broker_service import BrokerService
        from governance.keys.providers.provider import provider_for

        named = self.variables()
        try:
            if "GOVERNANCE_KEYS" in named:
                token = named.get("GOVERNANCE_KEYS_TOKEN_FILE")
                BrokerService(named["GOVERNANCE_KEYS"], Path(token) if token else None).ask("GET", "", None)
                return True, "the broker answers"
            settings = Settings.from_environment(home="/", environment=named)
            provider_for(settings.kek, settings.passphrase).epochs("connection-test")
        except GovernanceError as fault:
            return False, str(fault)
        return True, "the key provider answers"
