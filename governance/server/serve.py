"""The server process: opens the store, listens, stops cleanly on SIGTERM."""

from __future__ import annotations

import uvicorn

from governance.config import Settings
from governance.log import Log, open_storage
from governance.pipeline.workspace import now
from governance.server.app import build_app
from governance.server.served import ServedStore


def serve(settings: Settings, host: str, port: int) -> None:
    """Listen until stopped."""
    log = Log(open_storage(settings.store), signer=None, clock=now)
    app = build_app(ServedStore(log, clock=now))
    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)
