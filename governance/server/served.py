"""What a server serves: one log, the writer that groups its appends, and the one index over it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from governance.errors import GovernanceError, LogError
from governance.lineage.index.index import Index, genesis_evidence_key
from governance.lineage.index.snapshot import open_snapshot, write_snapshot
from governance.log import Checkpoint, GroupCommit, Log
from governance.server.ingest.conformance_book import ConformanceBook
from governance.server.tokens import TokenBook

if TYPE_CHECKING:
    from governance.lineage.graph.graph import Graph
    from governance.lineage.index.current import Current

_FOLLOW_S = 0.25
_SLICE = 1_000
_SHARE = 9.0
"""Indexing and judging pause so many times as long as they worked: they must not take the time that making
events durable needs. Whoever asks through :meth:`ServedStore.fresh` gets all of it anyway."""

_AT_LEISURE = 4.0
"""Reading ahead pauses so many times longer still while many events come: it would be done again anyway."""

_AHEAD = 20_000
"""Entries that the index may have to read before the server listens; more are read behind its back."""

_BUILD_SLICE = 60_000
"""So many are read then between two looks at whether to stop."""

_PATIENCE_S = 2.0
"""So long a question waits for a graph that is drawn anew; then it is answered from the former one."""

_log = logging.getLogger(__name__)


class ServedStore:
    """The opened store. Safe from many threads; one a process.

    Args:
        log: the log; with a signer a checkpoint is signed every ``checkpoint_every`` seconds, so that
            what was acknowledged cannot be cut off unnoticed for longer than that.
        evidence_public_key: the pinned evidence root key; None takes the genesis leaf's.
        clock: the current time, aware.
        checkpoint_every: seconds; None signs nothing.
        snapshots: folder in which the index is kept between starts; None builds it each time.
        snapshot_every: seconds between two snapshots, if anything came; one more is made at the end.
        memory: of DuckDB, for the index and once more for what is kept of the present; a question that
            needs more fails instead of spilling.
        warm: draw the graph and fold the present behind the requests' back, from the start on.
    """

    def __init__(
        self,
        log: Log,
        *,
        evidence_public_key: bytes | None = None,
        clock: Callable[[], datetime],
        checkpoint_every: float | None = None,
        snapshots: Path | None = None,
        snapshot_every: float = 600.0,
        memory: str = "40%",
        warm: bool = False,
    ) -> None:
        self.log = log
        self.clock = clock
        self.group = GroupCommit(log)
        self._memory = memory
        self.index = _opened(log, evidence_public_key, snapshots, memory)
        size = log.size()
        self._built = threading.Event()
        if size - self.index.size <= _AHEAD:
            self.index.catch_up(log, size)
            self._built.set()
        self._snapshots = snapshots
        self._kept = 0
        self.tokens = TokenBook(self.index, clock)
        self.tokens.follow(log, size)
        self.conformance = ConformanceBook()
        self.fault: str | None = None
        """The code of what keeps the store from answering now."""
        self.known_size = size
        self.checkpoint: Checkpoint | None = None
        self._graph: Graph | None = None
        self._current: Current | None = None
        self._catching_up = threading.Lock()
        self._drawing = threading.Lock()
        self._pencil = ThreadPoolExecutor(1, thread_name_prefix="governance-graph")
        self._drawn: Future[None] | None = None
        self._folding = threading.Lock()
        self._stopping = threading.Event()
        self._busy = False
        self._checkpoint_every = checkpoint_every
        self._builder = threading.Thread(target=self._build, name="governance-build", daemon=True)
        if self.building:
            self._builder.start()
        self._thread = threading.Thread(target=self._follow, name="governance-follow", daemon=True)
        self._thread.start()
        self._beside: list[threading.Thread] = []
        self._warmer = threading.Thread(target=self._keep_warm, name="governance-warm", daemon=True)
        if warm:
            self._warmer.start()
        if snapshots is not None:
            self._keeper = threading.Thread(
                target=self._keep_until_stopped,
                args=(snapshot_every,),
                name="governance-snapshots",
                daemon=True,
            )
            self._keeper.start()

    @property
    def building(self) -> bool:
        """Whether the index still reads what the log held when this was opened."""
        return not self._built.is_set()

    def fresh(self) -> Index:
        """The index, caught up to what the log held when this was called.

        Raises:
            LogError: GOV-501 when the store does not answer, GOV-525 while the index is built.
        """
        if self.building:
            raise LogError(
                "GOV-525",
                f"the index has read {self.index.size} of {self.known_size} entries",
                "ask again later; /healthz says when it has read them all. Events are taken meanwhile.",
            )
        size = self.log.size()
        self.tokens.follow(self.log, size)
        if self.index.size < size:
            with self._catching_up:
                self.index.catch_up(self.log, size)
        return self.index

    def graph(self) -> Graph:
        """The graph, caught up like :meth:`fresh`; where that takes long, the former one: ask for its size.

        Nothing former is given out once a redaction or a prune came.
        """
        size, until = self.fresh().size, time.monotonic() + _PATIENCE_S
        while (graph := self._graph) is None or graph.size < size:
            with self._drawing:
                if self._drawn is None or self._drawn.done():
                    self._drawn = self._pencil.submit(self._draw)
                drawn = self._drawn
            if graph is None:
                drawn.result()
            elif not _done(drawn, until) and not graph.outdated():
                return graph
            else:
                drawn.result()
        return graph

    def _draw(self) -> None:
        from governance.lineage.graph.graph import Graph

        if self._graph is None:
            self._graph = Graph.of(self.index)
        else:
            self._graph.catch_up()

    def current(self) -> Current:
        """Jobs, datasets and aliases as they are; each question catches up with the index."""
        with self._folding:
            if self._current is None:
                from governance.lineage.index.current import Current

                self._current = Current(self.index, memory_limit=self._memory)
            return self._current

    def beside(self, work: Callable[[Callable[[float], bool]], object], every: float) -> None:
        """Do something again and again behind the requests' back, ``every`` so many seconds, until this is closed.

        ``work`` gets a pause in seconds that tells whether to stop.
        """

        def again() -> None:
            while not self._stopping.wait(every):
                self._tried(lambda: work(self._stopping.wait))

        self._beside.append(threading.Thread(target=again, name="governance-beside", daemon=True))
        self._beside[-1].start()

    def close(self) -> None:
        """Append what waits, then let go of log and index."""
        self._stopping.set()
        self._thread.join()
        if self._builder.is_alive():
            self._builder.join()
        if self._snapshots is not None:
            self._keeper.join()
        for thread in (*self._beside, self._warmer):
            if thread.is_alive():
                thread.join()
        self._pencil.shutdown()
        self.group.close()
        if self._checkpoint_every is not None:
            self._sign()
        self._keep()
        if self._current is not None:
            self._current.close()
        self.index.close()
        self.conformance.close()
        self.log.close()

    def _follow(self) -> None:
        signed, rest_until = time.monotonic(), 0.0
        while not self._stopping.wait(_FOLLOW_S):
            try:
                size = self.log.size()
                busy, self.known_size = size - self.known_size > _SLICE // 10, size
                self._busy = busy
                self.tokens.follow(self.log, size)
                self.fault = None
            except GovernanceError as fault:
                if self.fault is None:
                    _log.error("the store does not answer: %s", fault.code)
                self.fault = fault.code
                continue
            if time.monotonic() >= rest_until and not self.building:
                began = time.monotonic()
                self._index(min(size, self.index.size + _SLICE) if busy else size)
                self._judge(min(size, self.conformance.size + _SLICE // (10 if busy else 2)))
                rest_until = time.monotonic() + _SHARE * (time.monotonic() - began)
            if self._checkpoint_every is not None and time.monotonic() - signed >= self._checkpoint_every:
                signed = time.monotonic()
                self._sign()

    def _build(self) -> None:
        try:
            size = self.log.size()
            while self.index.size < size and not self._stopping.is_set():
                with self._catching_up:
                    self.index.catch_up(self.log, min(size, self.index.size + _BUILD_SLICE))
        except GovernanceError as fault:
            _log.error("the index is not built: %s", fault.code)
        except Exception as fault:
            _log.error("the index is not built: unexpected %s", type(fault).__name__)
        # Where it failed, questions try again and say why.
        self._built.set()

    def _keep_warm(self) -> None:
        warmed, share = -1, 0.0
        while self.building and not self._stopping.wait(_FOLLOW_S):
            pass
        while not self._stopping.is_set():
            began = time.monotonic()
            if self.index.size != warmed:
                warmed = self.index.size
                for work in (self.graph, lambda: self.current().catch_up()):
                    if not self._stopping.is_set():
                        self._tried(work)
            self._stopping.wait(max(_FOLLOW_S, share * (time.monotonic() - began)))
            share = _SHARE * (_AT_LEISURE if self._busy else 1.0)

    def _tried(self, work: Callable[[], object]) -> None:
        try:
            work()
        except GovernanceError as fault:
            _log.error("nothing is read ahead: %s", fault.code)
        except Exception as fault:
            _log.error("nothing is read ahead: unexpected %s", type(fault).__name__)

    def _index(self, upto: int) -> None:
        try:
            with self._catching_up:
                self.index.catch_up(self.log, upto)
        except GovernanceError as fault:
            _log.error("the index is behind: %s", fault.code)
        except Exception as fault:
            # Its text may quote an event. Reads fail on it too, and say so; ingest goes on.
            _log.error("the index is behind: unexpected %s", type(fault).__name__)

    def _judge(self, upto: int) -> None:
        try:
            self.conformance.follow(self.log, upto)
        except Exception as fault:
            _log.error("conformance is behind: unexpected %s", type(fault).__name__)

    def _sign(self) -> None:
        try:
            self.checkpoint = self.log.checkpoint()
        except GovernanceError as fault:
            _log.error("no checkpoint was signed: %s", fault.code)

    def _keep_until_stopped(self, every: float) -> None:
        while not self._stopping.wait(every):
            self._keep()

    def _keep(self) -> None:
        if self._snapshots is None or self.index.size == self._kept:
            return
        try:
            size = self.index.size
            write_snapshot(self.index, self._snapshots, self.log)
            self._kept = size
        except GovernanceError as fault:
            _log.error("the index was not kept: %s", fault.code)
        except Exception as fault:
            _log.error("the index was not kept: unexpected %s", type(fault).__name__)


def _opened(log: Log, key: bytes | None, snapshots: Path | None, memory: str) -> Index:
    index = None if snapshots is None else open_snapshot(snapshots, log, key, memory_limit=memory)
    return index or Index(genesis_evidence_key(log) if key is None else key, memory_limit=memory)


def _done(work: Future[None], until: float) -> bool:
    wait([work], max(0.0, until - time.monotonic()))
    return work.done()
