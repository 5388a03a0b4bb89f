"""What `governance serve --broker FILE` reads: how workloads are told, whom Airflow is, how long a grant lasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from governance.errors import SettingError

_TTL_S = 900
_LONGEST_TTL_S = 86_400


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """``keys`` is a file with a JSON Web Key Set (RFC 7517) or the https: URL of one."""

    issuer: str
    audience: str
    keys: str


@dataclass(frozen=True, slots=True)
class AirflowSettings:
    """Where Airflow's REST API is, and the file with a token that may read task instances."""

    url: str
    token_file: Path


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """``ttl`` is how many seconds a grant lasts. Without ``airflow`` no cooperative grant is made."""

    identity: IdentitySettings | None
    airflow: AirflowSettings | None
    ttl: int = _TTL_S

    @classmethod
    def read(cls, path: Path) -> BrokerSettings:
        """Read the file; paths in it are relative to its folder.

        Raises:
            SettingError: GOV-901 when it is not as ``docs/broker.md`` has it.
        """
        try:
            document = yaml.safe_load(path.read_text("utf-8")) or {}
        except (OSError, ValueError, yaml.YAMLError) as fault:
            raise _wrong(f"it cannot be read: {type(fault).__name__}") from None
        members = _members(document, "the file", {"identity", "airflow", "ttl"})
        identity = airflow = None
        if "identity" in members:
            said = _members(members["identity"], "identity", {"issuer", "audience", "keys"})
            keys = _text(said, "identity", "keys")
            remote = "://" in keys
            if remote and not keys.startswith("https://"):
                raise _wrong("identity.keys is neither a file nor an https: URL")
            identity = IdentitySettings(
                _text(said, "identity", "issuer"),
                _text(said, "identity", "audience"),
                keys if remote else str(path.parent / keys),
            )
        if "airflow" in members:
            said = _members(members["airflow"], "airflow", {"url", "tokenFile"})
            url = _text(said, "airflow", "url").rstrip("/")
            if not url.startswith(("https://", "http://")):
                raise _wrong("airflow.url is no http(s) URL")
            airflow = AirflowSettings(url, path.parent / _text(said, "airflow", "tokenFile"))
        if identity is None and airflow is None:
            raise _wrong("it has neither identity nor airflow, so nobody could be granted a key")
        ttl = members.get("ttl", _TTL_S)
        if type(ttl) is not int or not 1 <= ttl <= _LONGEST_TTL_S:
            raise _wrong(f"ttl is not a number of seconds from 1 to {_LONGEST_TTL_S}")
        return cls(identity, airflow, ttl)


def _members(value: Any, where: str, allowed: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not allowed.issuperset(value):
        raise _wrong(f"{where} is not a mapping of {', '.join(sorted(allowed))}")
    return value


def _text(said: Mapping[str, Any], where: str, name: str) -> str:
    found = said.get(name)
    if not isinstance(found, str) or not found:
        raise _wrong(f"{where}.{name} is missing")
    return found


def _wrong(why: str) -> SettingError:
    return SettingError(
        "GOV-901", f"the broker's settings cannot be used: {why}", "see docs/broker.md for the file"
    )
