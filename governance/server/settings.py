"""How a server listens, whom it trusts and how often it signs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from governance.errors import SettingError

_ORIGIN = re.compile(r"https?://(\*\.)?([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?")
_MEMORY = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?(%|[KMGT]i?B)")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Everything but the store.

    ``checkpoint_every`` and ``snapshot_every`` are seconds; ``max_body`` is bytes of one request, both as sent and gunzipped;
    ``frame_ancestors`` are origins, besides this server's, whose pages may hold these in a frame;
    ``trusted_proxy`` holds addresses or networks whose X-Forwarded headers are believed; ``index_memory`` is a
    share of the machine's memory or an amount, for the index and once more for the present kept beside it;
    ``broker`` is the file of the key broker's settings.
    """

    host: str = "127.0.0.1"
    port: int = 5000
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxy: tuple[str, ...] = ()
    root_path: str = ""
    frame_ancestors: tuple[str, ...] = ()
    checkpoint_every: float = 10.0
    snapshots: Path | None = None
    snapshot_every: float = 600.0
    max_body: int = 64 << 20
    index_memory: str = "40%"
    broker: Path | None = None

    def __post_init__(self) -> None:
        """Refuse half a TLS setting, which would otherwise serve in clear, and what is no path or no amount.

        Raises:
            SettingError: GOV-901.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise SettingError(
                "GOV-901", "TLS needs a certificate and its key", "pass --tls-cert and --tls-key together"
            )
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise SettingError(
                "GOV-901",
                "the root path is not a path",
                "pass --root-path /lineage: it begins with / and ends without",
            )
        if not all(map(_ORIGIN.fullmatch, self.frame_ancestors)):
            raise SettingError(
                "GOV-901",
                "a frame ancestor is not an origin",
                "pass --frame-ancestor https://portal.example:8443: scheme, host and port, without a path",
            )
        if not _MEMORY.fullmatch(self.index_memory):
            raise SettingError(
                "GOV-901",
                "the memory of the index is not an amount",
                "pass --index-memory 40% or --index-memory 4GB",
            )
