"""The server process: opens the store, listens, stops cleanly on SIGTERM."""

from __future__ import annotations

import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from governance.config import Settings
from governance.errors import SettingError
from governance.keys.memory import keep_to_itself
from governance.log import Log, open_storage
from governance.pipeline.workspace import Workspace, now
from governance.server.app import build_app
from governance.server.broker.settings import BrokerSettings
from governance.server.ingest.request_body import BodyReader
from governance.server.protocol import Protocol
from governance.server.served import ServedStore
from governance.server.settings import ServerSettings

if TYPE_CHECKING:
    from governance.server.audit.reporting import Reporting
    from governance.server.broker.broker import Broker

_DRAIN_S = 30
_SWITCH_S = 0.0005


def serve(home: Settings | None, store: str, settings: ServerSettings, *, create: bool = False) -> None:
    """Listen until stopped; prints one line with the URL when it listens.

    Args:
        home: whose keys sign checkpoints and are believed for evidence; None signs nothing, and believes
            the evidence key that the store's own first entry names.
        store: the lineage store, a directory or ``postgresql://``.
        settings: how to listen.
        create: make the store when it is not there yet; not with a home, which has one.

    Raises:
        LogError: GOV-501, GOV-502 for the store.
        ProtectionError: GOV-301, GOV-302 for the home's keys.
        SettingError: GOV-901 when the address is in use or a TLS file is unusable.
    """
    if home is not None:
        keep_to_itself()
    listening = _bound(settings.host, settings.port)
    tls: dict[str, Any] = {}
    if settings.tls_cert is not None and settings.tls_key is not None:
        _check_tls(settings.tls_cert, settings.tls_key)
        tls = {"ssl_certfile": str(settings.tls_cert), "ssl_keyfile": str(settings.tls_key)}
    brokering = _brokering(home, settings)
    # Last, because from here on threads work on the store until the app's end stops them.
    served, workspace = _opened(home, store, settings, create)
    app = build_app(
        served,
        reader=BodyReader(largest=settings.max_body),
        root_path=settings.root_path,
        frame_ancestors=settings.frame_ancestors,
        broker=_broker(brokering, served, workspace),
        reporting=_reporting(served, workspace),
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        root_path=settings.root_path,
        # An access log would hold subjects' pseudonyms and reasons, from paths and queries.
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxy),
        forwarded_allow_ips=list(settings.trusted_proxy) or None,
        timeout_graceful_shutdown=_DRAIN_S,
        **tls,
    )
    # uvicorn drains, then raises the signal again for whoever was there before it: that is a clean end.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: sys.exit(0))
    # The log's writer shares the interpreter with the event loop and waits for it at most so long.
    sys.setswitchinterval(_SWITCH_S)
    _Announced(config).run(sockets=[listening])


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2_048)
    except (OSError, OverflowError) as error:
        raise SettingError(
            "GOV-901",
            f"cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or type(error).__name__}",
            "pass another --host or --port; --port 0 takes a free one",
        ) from None


def _brokering(home: Settings | None, settings: ServerSettings) -> BrokerSettings | None:
    if settings.broker is None:
        return None
    if home is None or home.keys:
        raise SettingError(
            "GOV-901",
            "a key broker needs the home whose keys it hands out",
            "pass --home, or set GOVERNANCE_HOME and GOVERNANCE_KEK, and do not set GOVERNANCE_KEYS",
        )
    if settings.tls_cert is None and settings.host not in ("127.0.0.1", "::1", "localhost"):
        raise SettingError(
            "GOV-901",
            "a key broker does not listen to a network without TLS",
            "pass --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy that speaks TLS",
        )
    return BrokerSettings.read(settings.broker)


def _broker(
    settings: BrokerSettings | None, served: ServedStore, workspace: Workspace | None
) -> Broker | None:
    if settings is None or workspace is None:
        return None
    from governance.server.broker.airflow import AirflowTries
    from governance.server.broker.broker import Broker
    from governance.server.broker.identity import Identities

    return Broker(
        served,
        workspace.keyring,
        workspace.settings.policy,
        Identities(settings.identity, served.tokens),
        None if settings.airflow is None else AirflowTries(settings.airflow),
        namespace=workspace.settings.namespace,
        ttl=settings.ttl,
    )


def _reporting(served: ServedStore, workspace: Workspace | None) -> Reporting | None:
    if workspace is None:
        return None
    from governance.server.audit.reporting import Reporting

    return Reporting(served, workspace, workspace.settings.home / "reports")


def _opened(
    home: Settings | None, store: str, settings: ServerSettings, create: bool
) -> tuple[ServedStore, Workspace | None]:
    if home is None:
        log = Log(open_storage(store, create=create), signer=None, clock=now)
        served = ServedStore(
            log,
            clock=now,
            snapshots=settings.snapshots,
            snapshot_every=settings.snapshot_every,
            memory=settings.index_memory,
            warm=True,
        )
        return served, None
    workspace = Workspace.open(home)
    served = ServedStore(
        workspace.log,
        evidence_public_key=workspace.evidence_public_key,
        clock=now,
        checkpoint_every=settings.checkpoint_every,
        snapshots=settings.snapshots or home.home / "index",
        snapshot_every=settings.snapshot_every,
        memory=settings.index_memory,
        warm=True,
    )
    return served, workspace


def _check_tls(certificate: Path, key: Path) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as error:
        raise SettingError(
            "GOV-901",
            f"the TLS certificate and key cannot be used: {type(error).__name__}",
            "pass a PEM certificate chain with --tls-cert and its unencrypted key with --tls-key",
        ) from None


class _Announced(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = (sockets or self.servers[0].sockets)[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            scheme = "https" if self.config.is_ssl else "http"
            print(f"{scheme}://{shown}:{port}{self.config.root_path}", flush=True)  # noqa: T201 - the one line
