"""OpenLineage transports into the log, configured by their dictionary alone.

``{"type": "governance.lineage.transport.LogTransport", "store": …, "principal": …}`` appends and
raises. ``{"type": "governance.lineage.transport.OutboxTransport", "store": …, "outbox": …}`` is for
producers that must not lose events and must not fail either, such as Airflow's provider, whose
adapter swallows every error: it sends, and what cannot be sent is kept in the outbox.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attr
from openlineage.client.serde import Serde
from openlineage.client.transport.transport import Config, Transport

from governance.errors import GovernanceError, LogError, SettingError
from governance.lineage.naming import EVENT_MEDIA_TYPE, EVIDENCE_PRINCIPAL
from governance.lineage.outbox import Outbox

if TYPE_CHECKING:
    from governance.log import NewEntry

PROVIDER_PRINCIPAL = "ingest:airflow"
"""The principal of events that Airflow's OpenLineage provider sends."""


class AppendOnly(Protocol):
    """What a transport needs of the log."""

    def append(self, entries: Sequence[NewEntry], /) -> list[int]:
        """Append durably and return the index of each entry, of the first one for a duplicate."""


def append_event(log: AppendOnly, body: bytes, principal: str) -> int:
    """Append one serialized event and return its log index.

    Raises:
        LogError: it was not durably appended: GOV-501 if the store failed, else the log's own code.
    """
    from governance.log import NewEntry

    try:
        [index] = log.append([NewEntry(body=body, media_type=EVENT_MEDIA_TYPE, principal=principal)])
    except GovernanceError:
        raise
    except Exception as error:
        raise LogError(
            "GOV-501",
            f"an event of {len(body)} bytes could not be appended: {type(error).__name__}",
            "check that the lineage store exists, is writable and has space, then run again",
        ) from None
    return index


@attr.define
class LogConfig(Config):  # type: ignore[misc]
    """``store`` is a directory or a ``postgresql://`` URL, ``principal`` whom the leaves name."""

    store: str
    principal: str

    @classmethod
    def from_dict(cls, params: dict[str, Any]) -> LogConfig:
        return cls(store=_setting(params, "store"), principal=_setting(params, "principal"))


class LogTransport(Transport):  # type: ignore[misc]
    """Appends each event synchronously; it is durable when :meth:`emit` returns."""

    kind = "governance_log"
    config_class = LogConfig

    def __init__(self, config: LogConfig, log: AppendOnly | None = None) -> None:
        self._principal = config.principal
        self._log = _opened_in_this_process(config.store) if log is None else lambda: log

    def emit(self, event: Any) -> int:
        """Append and return the log index.

        Raises:
            LogError: it was not durably appended.
        """
        return append_event(self._log(), Serde.to_json(event).encode("utf-8"), self._principal)


@attr.define
class OutboxConfig(Config):  # type: ignore[misc]
    """As :class:`LogConfig`; ``outbox`` is a directory on a local disk.

    ``principal`` may not be an evidence principal: configuration is no proof of who speaks.
    """

    store: str
    outbox: str
    principal: str = PROVIDER_PRINCIPAL

    @classmethod
    def from_dict(cls, params: dict[str, Any]) -> OutboxConfig:
        principal = params.get("principal", PROVIDER_PRINCIPAL)
        if str(principal).startswith(EVIDENCE_PRINCIPAL):
            raise SettingError(
                "GOV-901",
                "the outbox transport is configured with an evidence principal",
                f"leave principal out, or name an ingest principal such as {PROVIDER_PRINCIPAL}",
            )
        return cls(
            store=_setting(params, "store"), outbox=_setting(params, "outbox"), principal=str(principal)
        )


class OutboxTransport(Transport):  # type: ignore[misc]
    """Sends to the log; what the log does not take is kept in the outbox, durably.

    A send that succeeds also moves what earlier failures left behind, so no daemon is needed.
    """

    kind = "governance_outbox"
    config_class = OutboxConfig

    def __init__(self, config: OutboxConfig, log: AppendOnly | None = None) -> None:
        self._principal = config.principal
        self._log = _opened_in_this_process(config.store) if log is None else lambda: log
        self._outbox = Outbox(Path(config.outbox))

    def emit(self, event: Any) -> int | None:
        """Append and return the log index, or ``None`` if the event went to the outbox.

        Raises:
            LogError: GOV-505 if the log refuses the event, GOV-501 if the outbox failed as well.
        """
        body = Serde.to_json(event).encode("utf-8")
        try:
            index = append_event(self._log(), body, self._principal)
        except GovernanceError as error:
            if error.code == "GOV-505":
                raise
            self._outbox.keep(body, self._principal)
            return None
        if self._outbox.has_leftovers():
            self._drain()
        return index

    def close(self, timeout: float = -1) -> bool:
        """Drain once more, without waiting. False if events are still in the outbox."""
        del timeout
        if self._outbox.has_leftovers():
            self._drain()
        return not self._outbox.has_leftovers()

    def _drain(self) -> None:
        """What stays in the outbox is durable there: a failing drain loses nothing and may wait."""
        import contextlib

        with contextlib.suppress(GovernanceError, OSError):
            self._outbox.drain(self._log(), wait=False)


def _setting(params: dict[str, Any], name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise SettingError(
            "GOV-901",
            f"the OpenLineage transport has no {name}",
            f'add "{name}" to the transport\'s configuration',
        )
    return value


def _opened_in_this_process(store: str) -> Callable[[], AppendOnly]:
    """Opens the log at first use and again after a fork: a database handle does not survive one."""
    opened: dict[int, AppendOnly] = {}

    def log() -> AppendOnly:
        pid = os.getpid()
        if pid not in opened:
            from governance.log import Log, open_storage

            opened[pid] = Log(open_storage(store), signer=None, clock=lambda: datetime.now(UTC))
        return opened[pid]

    return log
