"""The only reader of the environment: where things live and which keys and store a process uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from governance.errors import SettingError
from governance.model.key_grant import TaskTry

VARIABLES = {
    "GOVERNANCE_HOME": "directory of keys, vault, consent ledger and datasets",
    "GOVERNANCE_STORE": "lineage store: a directory or postgresql://…; default HOME/store",
    "GOVERNANCE_KEK": "key-encryption key by URI, e.g. file:/secure/kek.json or aws-kms:eu-central-1/governance",
    "GOVERNANCE_KEYS": "key broker in place of a KEK, e.g. broker+https://keys:5000; then no key lies in HOME",
    "GOVERNANCE_KEYS_TOKEN_FILE": "file with the workload's token for the broker, read at each request",
    "GOVERNANCE_PASSPHRASE_FILE": "file with the passphrase of a file: key that asks for one",
    "GOVERNANCE_PASSPHRASE": "the passphrase itself, where a file will not do: listings of environments show it",
    "GOVERNANCE_POLICY": "governance policy file; default HOME/policy.yaml",
    "GOVERNANCE_DATASETS": "where dataset versions live, a directory or s3://BUCKET/PREFIX; default HOME/datasets",
    "GOVERNANCE_NAMESPACE": "OpenLineage namespace of jobs run outside Airflow; default governance",
    "GOVERNANCE_SERVER": "URL of the lineage server whose pages Airflow shows, e.g. https://lineage:5000",
    "GOVERNANCE_SERVER_TOKEN_FILE": "file with the token, scope read, that Airflow shows them with",
    "GOVERNANCE_AUDITORS": "who sees them of those who may read audit logs, e.g. role:admin,user:ines; default role:admin",
    "GOVERNANCE_SPARK_MASTER": "Spark master of passes on Spark, e.g. spark://host:7077 or k8s://…; default local[*]",
    "GOVERNANCE_SPARK_FROM": "bytes of source from which a contract's `engine: auto` takes Spark; default 4294967296",
    "GOVERNANCE_DEBUG": "show the text of unexpected errors; it may quote data",
}


def debugging() -> bool:
    """Whether the operator asked to see the text of unexpected errors."""
    return bool(os.environ.get("GOVERNANCE_DEBUG"))


_SPARK_FROM = 4 << 30


def spark_master() -> str:
    """Where a pass on Spark runs when the process has no Spark session of its own."""
    return os.environ.get("GOVERNANCE_SPARK_MASTER") or "local[*]"


def spark_from() -> int:
    """Bytes of source from which `engine: auto` takes Spark.

    Raises:
        SettingError: GOV-901 when it is no whole number.
    """
    stated = os.environ.get("GOVERNANCE_SPARK_FROM") or str(_SPARK_FROM)
    if not stated.isdecimal():
        raise SettingError("GOV-901", "GOVERNANCE_SPARK_FROM is no whole number", "write a number of bytes")
    return int(stated)


def key_broker() -> tuple[str, Path | None]:
    """The key broker's URL, empty where there is none, and the file with the token to ask it with."""
    token = os.environ.get("GOVERNANCE_KEYS_TOKEN_FILE")
    return os.environ.get("GOVERNANCE_KEYS") or "", Path(token) if token else None


@dataclass(frozen=True, slots=True)
class AwsService:
    """Where an AWS service, or another one of its protocol, is; None is left to the SDK."""

    endpoint: str | None
    region: str | None


def aws_service(name: str) -> AwsService:
    """What the variables of AWS's SDKs say of a service, for libraries that do not read all of them."""
    endpoint = os.environ.get(f"AWS_ENDPOINT_URL_{name.upper()}") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return AwsService(endpoint or None, region or None)


@dataclass(frozen=True, slots=True)
class LineageServer:
    """Where the lineage server is, and the file that holds the token to ask it with."""

    url: str
    token_file: Path

    def token(self) -> str:
        """The token, read anew each time so that it can be replaced while Airflow runs."""
        return self.token_file.read_text("utf-8").strip()


def lineage_server(environment: Mapping[str, str] | None = None) -> LineageServer | None:
    """The lineage server that ``GOVERNANCE_SERVER`` names, None when it names none.

    Raises:
        SettingError: GOV-901 when it is no http(s) URL or comes without a token file.
    """
    env = os.environ if environment is None else environment
    url = (env.get("GOVERNANCE_SERVER") or "").rstrip("/")
    if not url:
        return None
    token_file = env.get("GOVERNANCE_SERVER_TOKEN_FILE")
    if not url.startswith(("https://", "http://")) or not token_file:
        raise SettingError(
            "GOV-901",
            "GOVERNANCE_SERVER is no http(s) URL, or GOVERNANCE_SERVER_TOKEN_FILE is missing",
            "set both; `governance token create --scopes read` makes the token",
        )
    return LineageServer(url, Path(token_file))


def auditors() -> frozenset[tuple[str, str]]:
    """Who sees governance in Airflow: pairs of ``user`` or ``role`` and a name, the role's in lower case.

    Raises:
        SettingError: GOV-901 when ``GOVERNANCE_AUDITORS`` names something else.
    """
    named = [part.strip() for part in (os.environ.get("GOVERNANCE_AUDITORS") or "role:admin").split(",")]
    found = set()
    for part in filter(None, named):
        kind, _, name = part.partition(":")
        if kind not in ("user", "role") or not name:
            raise SettingError(
                "GOV-901", "GOVERNANCE_AUDITORS names neither users nor roles", "write user:NAME,role:NAME"
            )
        found.add((kind, name.casefold() if kind == "role" else name))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process must be told. ``passphrase`` is asked for only where the key needs it.

    ``keys`` names a key broker, which then takes the place of ``kek``; ``keys_token`` is the file with the
    token to ask it with, ``task`` the Airflow task that asks, where there is one.
    """

    home: Path
    store: str
    kek: str
    policy: Path
    datasets: str
    namespace: str = "governance"
    passphrase: Callable[[], str] | None = None
    keys: str = ""
    keys_token: Path | None = None
    task: TaskTry | None = None

    @classmethod
    def at(cls, home: Path, *, kek: str, store: str | None = None, policy: Path | None = None) -> Settings:
        """Settings with the default layout under ``home``."""
        return cls(
            home=home,
            store=store or str(home / "store"),
            kek=kek,
            policy=policy or home / "policy.yaml",
            datasets=str(home / "datasets"),
        )

    @classmethod
    def from_environment(
        cls,
        *,
        home: str | None = None,
        store: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Settings:
        """Read ``GOVERNANCE_*``; arguments win over variables.

        Raises:
            SettingError: GOV-901 when no home is named; GOV-301 is left to the key provider.
        """
        env = os.environ if environment is None else environment
        named = home or env.get("GOVERNANCE_HOME")
        if not named:
            raise SettingError(
                "GOV-901",
                "no governance home is named",
                "set GOVERNANCE_HOME or pass --home DIRECTORY; `governance keys init` makes one",
            )
        root = Path(named).expanduser().absolute()
        return cls(
            home=root,
            store=store or env.get("GOVERNANCE_STORE") or str(root / "store"),
            kek=env.get("GOVERNANCE_KEK") or "",
            policy=Path(env.get("GOVERNANCE_POLICY") or root / "policy.yaml"),
            datasets=env.get("GOVERNANCE_DATASETS") or str(root / "datasets"),
            namespace=env.get("GOVERNANCE_NAMESPACE") or "governance",
            passphrase=_passphrase(env),
            keys=env.get("GOVERNANCE_KEYS") or "",
            keys_token=Path(token) if (token := env.get("GOVERNANCE_KEYS_TOKEN_FILE")) else None,
        )

    def environment(self) -> dict[str, str]:
        """The variables that give a child process these settings. The passphrase is left out."""
        return {
            "GOVERNANCE_HOME": str(self.home),
            "GOVERNANCE_STORE": self.store,
            "GOVERNANCE_KEK": self.kek,
            "GOVERNANCE_POLICY": str(self.policy),
            "GOVERNANCE_DATASETS": self.datasets,
            "GOVERNANCE_NAMESPACE": self.namespace,
            **({"GOVERNANCE_KEYS": self.keys} if self.keys else {}),
            **({"GOVERNANCE_KEYS_TOKEN_FILE": str(self.keys_token)} if self.keys_token else {}),
        }


def _passphrase(env: Mapping[str, str]) -> Callable[[], str] | None:
    """Reads the passphrase when it is asked for, so that nothing holds it; None where none is named."""
    if file := env.get("GOVERNANCE_PASSPHRASE_FILE"):
        return lambda: _passphrase_of(Path(file))
    if "GOVERNANCE_PASSPHRASE" in env:
        return lambda: env["GOVERNANCE_PASSPHRASE"]
    return None


def _passphrase_of(path: Path) -> str:
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeError):
        raise SettingError(
            "GOV-901",
            "the file that GOVERNANCE_PASSPHRASE_FILE names cannot be read as UTF-8",
            "name a file that holds the passphrase and nothing else, readable by this process alone",
        ) from None
