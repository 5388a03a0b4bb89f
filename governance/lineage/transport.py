"""OpenLineage transports, configured by their dictionary alone.

``{"type": "governance.lineage.transport.LogTransport", "store": …, "principal": …}`` appends to the log
and raises. ``{"type": "governance.lineage.transport.OutboxTransport", "store" or "url": …, "outbox": …}``
is for producers that must lose no event and must not fail either, such as Airflow's provider, whose
adapter swallows every error: an emitted event is durable on this disk or at its destination.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attr
from openlineage.client.transport.transport import Config, Transport

from governance.errors import LogError, SettingError
from governance.lineage.emission.destination import AppendOnly, Destination, LogDestination, append_event
from governance.lineage.emission.drainer import Drainer
from governance.lineage.emission.framing import Event
from governance.lineage.emission.outbox import MAX_BYTES, Outbox
from governance.lineage.emission.serializing import serialized
from governance.model.principal import is_principal, scope_of

PROVIDER_PRINCIPAL = "ingest:airflow"
"""The principal of events that Airflow's OpenLineage provider sends."""

OUTBOX_FIRST = "outbox"
SEND_FIRST = "send-first"

_log = logging.getLogger("governance.lineage")


@attr.define
class LogConfig(Config):  # type: ignore[misc]
    """``store`` is a directory or a ``postgresql://`` URL, ``principal`` whom the leaves name."""

    store: str
    principal: str

    @classmethod
    def from_dict(cls, params: dict[str, Any]) -> LogConfig:
        return cls(store=_text(params, "store"), principal=_text(params, "principal"))


class LogTransport(Transport):  # type: ignore[misc]
    """Appends each event synchronously; it is durable when :meth:`emit` returns."""

    kind = "governance_log"
    config_class = LogConfig

    def __init__(self, config: LogConfig, log: AppendOnly | None = None) -> None:
        self._principal = config.principal
        self._log = opened_in_this_process(config.store) if log is None else lambda: log

    def emit(self, event: Any) -> int:
        """Append and return the log index.

        Raises:
            LogError: it was not durably appended.
        """
        return append_event(self._log(), serialized(event), self._principal)


@attr.define
class OutboxConfig(Config):  # type: ignore[misc]
    """How :class:`OutboxTransport` keeps and sends.

    Args:
        outbox: a directory on a local disk, one per destination.
        store: the log as destination, a directory or ``postgresql://`` URL. Else ``url``.
        url: the service as destination, e.g. ``https://lineage.example``; its path is kept.
        principal: whom the leaves name where the destination is the log; a service goes by the token.
            Only an ingest principal: configuration is no proof of who speaks.
        mode: ``outbox`` keeps first and sends behind; ``send-first`` is for disks that do not last.
            ``send_first: true`` says the same.
        token_file: file of the bearer token, read at each request. Else ``auth``, as OpenLineage's own
            HTTP transport has it, or ``api_key``.
        verify: false is refused; true, or a file of CA certificates.
        compression: ``gzip`` or none.
        connect_timeout, timeout: seconds to wait for a connection and for an answer.
        send_timeout: seconds that an emit waits when it sends first.
        exit_timeout: seconds to drain for when the process exits.
        max_bytes: bound of the outbox.
    """

    outbox: str
    store: str | None = None
    url: str | None = None
    principal: str = PROVIDER_PRINCIPAL
    mode: str = OUTBOX_FIRST
    token_file: str | None = None
    auth: dict[str, Any] | None = attr.field(default=None, repr=False)
    verify: bool | str = True
    compression: str | None = None
    connect_timeout: float = 3.0
    timeout: float = 30.0
    send_timeout: float = 5.0
    exit_timeout: float = 5.0
    max_bytes: int = MAX_BYTES

    @classmethod
    def from_dict(cls, params: dict[str, Any]) -> OutboxConfig:
        """Read the dictionary.

        Raises:
            SettingError: GOV-901 for what is missing, wrong or unknown.
        """
        given = {k: v for k, v in params.items() if k not in {"type", "name", "priority"} and v is not None}
        if given.pop("send_first", False):
            given.setdefault("mode", SEND_FIRST)
        if key := given.pop("api_key", None):
            given["auth"] = {"type": "api_key", "apiKey": key}
        unknown = sorted(set(given) - {a.name for a in attr.fields(cls)})
        if unknown:
            raise _wrong(f"does not know {', '.join(unknown)}", "see the settings in docs/emission.md")
        given["outbox"] = _text(given, "outbox")
        if ("store" in given) == ("url" in given):
            raise _wrong("has no store or url, or has both", "name one destination")
        _text(given, "store" if "store" in given else "url")
        for name in ("connect_timeout", "timeout", "send_timeout", "exit_timeout", "max_bytes"):
            if name in given:
                given[name] = _number(name, given[name])
        config = cls(**given)
        config._check()
        return config

    def _check(self) -> None:
        if not is_principal(self.principal) or scope_of(self.principal) != "ingest":
            raise _wrong(
                "is configured with an evidence principal or none at all",
                f"leave principal out, or name an ingest principal such as {PROVIDER_PRINCIPAL}",
            )
        if self.mode not in {OUTBOX_FIRST, SEND_FIRST}:
            raise _wrong("has an unknown mode", f"use {OUTBOX_FIRST} or {SEND_FIRST}")
        if self.compression not in {None, "gzip"}:
            raise _wrong("has an unknown compression", "use gzip, or leave it out")
        if self.verify is False:
            raise _wrong("is told not to verify TLS", "name a file of CA certificates as verify")
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise _wrong("has a url that is none", "write http(s)://host[:port][/path]")
            if parts.username or parts.password or parts.query:
                raise _wrong("has a url with a secret or query in it", "use token_file for the token")


class OutboxTransport(Transport):  # type: ignore[misc]
    """Emitted events are durable in the outbox, or, sent first, at the destination.

    A thread behind the process moves what is in the outbox to the destination, with growing pauses
    while that is down; see :class:`governance.lineage.emission.drainer.Drainer`.
    """

    kind = "governance_outbox"
    config_class = OutboxConfig

    def __init__(self, config: OutboxConfig, log: AppendOnly | None = None) -> None:
        self._principal = config.principal
        self._send_first = config.mode == SEND_FIRST
        self._send_timeout = config.send_timeout
        self._exit_timeout = config.exit_timeout
        self._outbox = Outbox(Path(config.outbox), max_bytes=config.max_bytes)
        self._drainer = Drainer(
            self._outbox,
            (lambda: LogDestination(lambda: log)) if log is not None else destination_of(config),
            exit_timeout=config.exit_timeout,
            patient=self._send_first,
        )

    def emit(self, event: Any) -> None:
        """Return when the event is durable.

        Raises:
            LogError: GOV-526 or GOV-501: the outbox cannot take it, and it could not be sent either.
        """
        body = serialized(event)
        if self._send_first and self._sent(body):
            return
        try:
            self._outbox.keep(body, self._principal)
        except LogError:
            if self._send_first or not self._sent(body):
                raise
            _log.warning("the outbox takes no events; this one was sent instead")
            return
        self._drainer.wake()

    def close(self, timeout: float = -1) -> bool:
        """Drain. False if events of this process are still in the outbox, durably.

        Args:
            timeout: seconds; negative stands for the configured ``exit_timeout``, because a destination
                that is down would otherwise be waited for for ever.
        """
        return self._drainer.close(self._exit_timeout if timeout < 0 else timeout)

    def _sent(self, body: bytes) -> bool:
        return self._drainer.send(Event(body, self._principal), self._send_timeout)


def destination_of(config: OutboxConfig) -> Callable[[], Destination]:
    """What makes the configured destination."""
    if config.store is not None:
        log = opened_in_this_process(config.store)
        return lambda: LogDestination(log)
    url, auth, token_file = config.url or "", config.auth or {}, config.token_file

    def service() -> Destination:
        from openlineage.client.transport.http import create_token_provider

        from governance.lineage.emission.http_transport import Service, ServiceDestination

        bearer = (
            create_token_provider(auth).get_bearer if token_file is None else lambda: read_token(token_file)
        )
        return ServiceDestination(
            Service(
                url,
                bearer,
                connect_timeout=config.connect_timeout,
                read_timeout=config.timeout,
                verify=config.verify,
                compress=config.compression == "gzip",
            )
        )

    return service


def read_token(path: str) -> str:
    """The Authorization header of a token file.

    Raises:
        SettingError: GOV-901 when it cannot be read or is empty.
    """
    try:
        token = Path(path).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if not token or any(c.isspace() for c in token):
        raise _wrong("finds no token in its token_file", "write the token, alone, into that file")
    return f"Bearer {token}"


def opened_in_this_process(store: str) -> Callable[[], AppendOnly]:
    """Opens the log at first use and again after a fork: a database handle does not survive one."""
    opened: dict[int, AppendOnly] = {}

    def log() -> AppendOnly:
        pid = os.getpid()
        if pid not in opened:
            from governance.log import Log, open_storage

            opened[pid] = Log(open_storage(store), signer=None, clock=lambda: datetime.now(UTC))
        return opened[pid]

    return log


def _text(params: dict[str, Any], name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str) or not value:
        raise _wrong(f"has no {name}", f'add "{name}" to the transport\'s configuration')
    return value


def _number(name: str, value: Any) -> float:
    try:
        number = int(value) if name == "max_bytes" else float(value)
    except (TypeError, ValueError):
        number = -1
    if not number > 0:
        raise _wrong(f"has a {name} that is no positive number", "write a number")
    return number


def _wrong(what: str, remedy: str) -> SettingError:
    return SettingError("GOV-901", f"the OpenLineage transport {what}", remedy)
