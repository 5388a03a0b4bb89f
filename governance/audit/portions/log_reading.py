"""Reads a log under a checkpoint for a report: portion by portion, several at once, those kept from before not again.

What a report gets is the same however it was read. A whole portion adds one node to the tree, the rest its leaves; all
of them together must give the root that was signed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from threading import Thread

import msgspec

from governance.audit.portions.collecting import uncollected
from governance.audit.portions.kept_portions import KeptPortions
from governance.audit.portions.ordinary import Summary
from governance.audit.portions.portion import (
    SIZE,
    KeptEntry,
    Portion,
    not_signed,
    read_portion,
    subtree_roots,
)
from governance.log.log import Log
from governance.log.note import Checkpoint
from governance.log.proof import verify_entry
from governance.log.storage import StoredEntry, open_storage
from governance.log.tree import Frontier

_PROCESSES = 4
_BREATH_S = 0.02
_SHARE = 9.0
"""Reading ahead pauses so many times as long as it worked."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Portion).decode


class LogReading:
    """What the entries under a checkpoint say, in the form that :func:`governance.audit.trail.read_trail` takes.

    Args:
        kept: portions of before; whole ones that are read now are added.

    Raises:
        LogError: when it is iterated: GOV-504 when an entry is not what its leaf or the checkpoint commits to, at the
            latest at the end; GOV-516 and GOV-517 for bodies in archives.
    """

    def __init__(self, log: Log, checkpoint: Checkpoint, kept: KeptPortions | None = None) -> None:
        self._log = log
        self._checkpoint = checkpoint
        self._kept = kept
        self._leaves: dict[int, tuple[bytes, bool]] = {}

    def __iter__(self) -> Iterator[KeptEntry | Summary]:
        for portion in self._portions():
            for entry in portion.entries:
                self._leaves[entry.index] = entry.leaf, entry.body is not None
                yield entry
            yield portion.ordinary

    def entry(self, index: int) -> KeptEntry:
        """An entry that was read, to be described: what its body says is left out.

        Raises:
            LogError: GOV-504 when the log has another in its place now.
        """
        if index in self._leaves:
            leaf, there = self._leaves[index]
            return KeptEntry(index, leaf, b"" if there else None)
        entry = self._log.entry(index)
        verify_entry(entry.leaf, self._log.prove(index, self._checkpoint), self._checkpoint)
        return KeptEntry(index, entry.leaf, None if entry.body is None else b"")

    def _portions(self) -> Iterator[Portion]:
        log, kept, size = self._log, self._kept, self._checkpoint.size
        whole = range(0, size // SIZE * SIZE, SIZE)
        gone, known = _gone(log), {}
        for first in whole:
            stop = first + SIZE
            if kept is not None and (portion := kept.get(first, stop, gone(first, stop))) is not None:
                known[first] = portion
        nodes: list[bytes] = []
        with ExitStack() as until:
            coming = _coming(log, [first for first in whole if first not in known], until)
            for first in whole:
                portion = known.pop(first, None)
                if portion is None:
                    read = coming.pop(first).result() if first in coming else None
                    portion = read or _portion(log, first, first + SIZE)
                    if kept is not None:
                        kept.put(portion)
                nodes += portion.roots
                yield portion
        rest = _portion(log, len(whole) * SIZE, size)
        yield rest
        if Frontier(size, [*subtree_roots(nodes), *rest.roots]).root() != self._checkpoint.root:
            raise not_signed(f"the log's first {size} entries are not those the checkpoint signed")


def read_ahead(log: Log, size: int, kept: KeptPortions, wait: Callable[[float], bool]) -> None:
    """Read and keep what whole portions a log has under a checkpoint, so that its first report need not.

    Args:
        size: the checkpoint's. What nothing has signed may yet become something else.
        wait: pauses for so many seconds; whether to stop. Then it still finishes the portion, without pauses.

    Raises:
        LogError: GOV-501, GOV-504, GOV-516, GOV-517 as reading does.
    """
    for first in range(0, size // SIZE * SIZE, SIZE):
        if not kept.has(first, first + SIZE):
            rows = _paced(_rows(log, first, first + SIZE), wait)
            kept.put(read_portion(first, first + SIZE, rows))
            if wait(0):
                return


def _paced(rows: Iterable[StoredEntry], wait: Callable[[float], bool]) -> Iterator[StoredEntry]:
    began = time.monotonic()
    for row in rows:
        yield row
        if (worked := time.monotonic() - began) > _BREATH_S:
            wait(_SHARE * worked)
            began = time.monotonic()


def _portion(log: Log, first: int, stop: int) -> Portion:
    return read_portion(first, stop, _rows(log, first, stop))


def _rows(log: Log, first: int, stop: int) -> Iterator[StoredEntry]:
    for row in log.storage.read(first, stop):
        yield log.archives.fill(row) if row.body is None and row.redacted_by is None else row


def _gone(log: Log) -> Callable[[int, int], frozenset[int]]:
    """Which bodies of a span have left the log for good."""
    redacted = [redaction.index for redaction in log.storage.redactions()]
    pruned = [range(row.first, row.stop) for row in log.storage.archives() if row.pruned is not None]

    def gone(first: int, stop: int) -> frozenset[int]:
        span = range(first, stop)
        away = (range(max(first, p.start), min(stop, p.stop)) for p in pruned)
        return frozenset((*(i for i in redacted if i in span), *(i for p in away for i in p)))

    return gone


def _coming(log: Log, firsts: Sequence[int], until: ExitStack) -> dict[int, Future[Portion | None]]:
    """Portions that other processes read, each on a connection of its own; none where that is not worth it.

    ``None`` is what a process could not read, for whatever reason: it is read here, which says why.
    """
    folder = getattr(log.storage, "directory", None)
    many = min(_PROCESSES, len(os.sched_getaffinity(0)), len(firsts))
    # PostgreSQL's password stays in this process, and so do the places of archives.
    if folder is None or many < 2 or not sys.executable or log.storage.archives():
        return {}
    coming: dict[int, Future[Portion | None]] = {first: Future() for first in firsts}
    for number in range(many):
        mine = firsts[number::many]
        # The interpreter that runs this, and a module of ours: nothing in it comes from outside.
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", __spec__.name, str(folder), str(SIZE), *map(str, mine)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        thread = Thread(target=_receive, args=(process, [coming[first] for first in mine]), daemon=True)
        until.callback(_stop, process, thread)
        thread.start()
    return coming


def _receive(process: subprocess.Popen[bytes], futures: Sequence[Future[Portion | None]]) -> None:
    assert process.stdout is not None  # noqa: S101  -- it was asked for
    for future in futures:
        try:
            size = int.from_bytes(process.stdout.read(8), "big")
            data = process.stdout.read(size)
            future.set_result(_decode(data) if size and len(data) == size else None)
        except (OSError, ValueError):
            future.set_result(None)


def _stop(process: subprocess.Popen[bytes], thread: Thread) -> None:
    process.kill()
    process.wait()
    thread.join()
    if process.stdout is not None:
        process.stdout.close()


@uncollected()
def main(folder: str, size: str, *firsts: str) -> None:
    """Read portions of the log in a folder and write them out, each after its length."""
    storage = open_storage(folder)
    try:
        for first in map(int, firsts):
            stop = first + int(size)
            data = _encode(read_portion(first, stop, storage.read(first, stop)))
            sys.stdout.buffer.write(len(data).to_bytes(8, "big") + data)
            sys.stdout.buffer.flush()
    finally:
        storage.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
