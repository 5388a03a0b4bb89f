"""What a server serves: one log, the writer that groups its appends, and the one index over it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from governance.errors import GovernanceError
from governance.lineage.index import Index
from governance.log import GroupCommit, Log
from governance.server.tokens import TokenBook

_CATCH_UP_S = 0.25
_log = logging.getLogger(__name__)


class ServedStore:
    """The opened store. Safe from many threads; one a process.

    Args:
        log: the log; with a signer a checkpoint is signed every ``checkpoint_every`` seconds, so that
            what was acknowledged cannot be cut off unnoticed for longer than that.
        evidence_public_key: the pinned evidence root key; None takes the genesis leaf's.
        clock: the current time, aware.
    """

    def __init__(
        self,
        log: Log,
        *,
        evidence_public_key: bytes | None = None,
        clock: Callable[[], datetime],
        checkpoint_every: float | None = None,
    ) -> None:
        self.log = log
        self.clock = clock
        self.group = GroupCommit(log)
        self.index = Index.build(log, evidence_public_key=evidence_public_key)
        self.tokens = TokenBook(lambda: self.index, clock)
        self._catching_up = threading.Lock()
        self._stopping = threading.Event()
        self._checkpoint_every = checkpoint_every
        self._thread = threading.Thread(target=self._follow, name="governance-follow", daemon=True)
        self._thread.start()

    def fresh(self) -> Index:
        """The index, caught up to what the log held when this was called."""
        size = self.log.size()
        if self.index.size < size:
            with self._catching_up:
                self.index.catch_up(self.log, size)
        return self.index

    def close(self) -> None:
        """Append what waits, then let go of log and index."""
        self._stopping.set()
        self._thread.join()
        self.group.close()
        self.index.close()
        self.log.close()

    def _follow(self) -> None:
        waited = 0.0
        while not self._stopping.wait(_CATCH_UP_S):
            waited += _CATCH_UP_S
            try:
                self.fresh()
                if self._checkpoint_every is not None and waited >= self._checkpoint_every:
                    waited = 0.0
                    self.log.checkpoint()
            except GovernanceError as fault:
                _log.error("the index or the checkpoint is behind: %s", fault.code)
