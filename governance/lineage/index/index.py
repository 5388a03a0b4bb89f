"""The index: everything the log says, in DuckDB, to be asked. Disposable: the log is the truth.

Facts lie in :mod:`governance.lineage.index.fact_store`; :mod:`governance.lineage.index.projection` says what they mean.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from governance.errors import LogError
from governance.lineage import completeness
from governance.lineage.index import projection
from governance.lineage.index.fact_store import FactStore
from governance.lineage.index.facts import BodilessEntry, Entry, FactReader
from governance.lineage.signatures import RunKeys

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_PAGE = 12_000
_PAGE_BYTES = 128 * 2**20
_ARCHIVE_FAULTS = ("GOV-516", "GOV-517")
_GENESIS = "application/vnd.governance.genesis+json"


class ReadableLog(Protocol):
    """What the index needs of the log."""

    def size(self) -> int:
        """The number of entries."""

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Entries in log order. Raises GOV-516 or GOV-517 at one whose archive is not to be read."""

    @property
    def storage(self) -> Any:
        """Rows without what archives hold; asked only after such an error."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An index as it was kept: Parquet files by table, the log size they are of, what the reader knew.

    While ``lock`` is open nobody deletes the files.
    """

    files: Mapping[str, Path]
    size: int
    run_keys: RunKeys
    next_id: int
    lock: IO[bytes]


@dataclass(frozen=True, slots=True)
class DatasetState:
    """A dataset as of a log size.

    ``version`` is the newest reported one. ``facets`` maps a name to its body; what was observed goes
    before what was declared, and ``conflicting`` names those where the two differ. ``basis`` is by
    facet, ``log_index`` the entry that brought it.
    """

    namespace: str
    name: str
    version: str | None
    facets: Mapping[str, Any]
    basis: Mapping[str, str]
    log_index: Mapping[str, int]
    conflicting: tuple[str, ...]


class Index:
    """Questions to a log. Rows come as dictionaries; times are naive UTC.

    ``as_of`` is a log size everywhere: only entries before it count. ``None`` means all that was read.

    Args:
        evidence_public_key: the pinned evidence root key, 32 raw bytes; ``None`` observes nothing.
        threads: of DuckDB.
        memory_limit: of DuckDB; beyond it a question fails instead of spilling.
        kept: what to start from; see :mod:`governance.lineage.index.snapshot`.
    """

    def __init__(
        self,
        evidence_public_key: bytes | None,
        *,
        threads: int = 2,
        memory_limit: str = "40%",
        kept: Kept | None = None,
    ) -> None:
        self.evidence_public_key = evidence_public_key
        self._means: dict[str, Any] = {"threads": threads, "memory_limit": memory_limit}
        self._catching_up = threading.Lock()
        self._lock = kept.lock if kept else None
        self.generation = 0
        """How often all was read again: what ids of facets mean holds within one."""
        if kept is None:
            self._state = _State(FactStore(**self._means), FactReader(evidence_public_key), 0)
        else:
            reader = FactReader(evidence_public_key, kept.run_keys, kept.next_id)
            self._state = _State(FactStore(**self._means, files=kept.files), reader, kept.size)

    @classmethod
    def build(
        cls,
        log: ReadableLog,
        upto: int | None = None,
        *,
        evidence_public_key: bytes | None = None,
        threads: int = 2,
        memory_limit: str = "40%",
    ) -> Index:
        """An index over the first ``upto`` entries of a log.

        Args:
            log: the log.
            upto: a log size.
            evidence_public_key: the evidence root key that the caller pins. Without it the key of
                the genesis leaf counts, which trusts the store for it.
            threads: of DuckDB.
            memory_limit: of DuckDB.
        """
        key = genesis_evidence_key(log) if evidence_public_key is None else evidence_public_key
        index = cls(key, threads=threads, memory_limit=memory_limit)
        index.catch_up(log, upto)
        return index

    @contextmanager
    def still(self) -> Iterator[tuple[FactStore, FactReader, int]]:
        """The facts, what the reader knows and the log size they are of, while nothing is appended."""
        with self._catching_up:
            yield self._state.store, self._state.reader, self._state.size

    @property
    def size(self) -> int:
        """How many log entries were read."""
        return self._state.size

    def catch_up(self, log: ReadableLog, upto: int | None = None) -> int:
        """Read what was appended since; returns how many entries that were.

        Questions may be asked meanwhile; they see whole pages. The facts of entries that were redacted
        or pruned since go. Where such an entry opened a run, all is read again: evidence rested on its key.
        """
        with self._catching_up:
            stop = log.size() if upto is None else min(upto, log.size())
            before = self._state.size
            if stop <= before:
                return 0
            try:
                stands = self._read(self._state, log, stop)
            except BaseException:
                self._state.reader.forget()
                raise
            if not stands:
                afresh = _State(FactStore(**self._means), FactReader(self.evidence_public_key), 0)
                self._read(afresh, log, stop)
                self._state = afresh
                self.generation += 1
            return self._state.size - before

    def _read(self, state: _State, log: ReadableLog, stop: int) -> bool:
        """Read up to ``stop``, one page being appended while the next is read."""
        entries, appended = _entries(log, state.size, stop), None
        with ThreadPoolExecutor(1) as writer:
            while "entry_rows" in (tables := state.reader.read(_page(entries))):
                size = tables["entry_rows"]["log_index"][-1].as_py() + 1
                gone = tables["redactions"]["redacted"].to_pylist() if "redactions" in tables else []
                while state.reader.pruned:
                    gone += _bodiless(log, *state.reader.pruned.pop())
                if appended is not None:
                    appended.result()
                appended = writer.submit(state.append, tables, gone, size)
                if gone:
                    if not appended.result():
                        return False
                    state.reader.forget()
            if appended is not None:
                appended.result()
        return True

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of one SELECT over the tables of :data:`governance.lineage.index.schemas.SCHEMAS` and the macros.

        ``$as_of`` is bound to all that was read unless ``parameters`` gives it.
        """
        return self._rows(sql, dict(parameters or {}))

    def arrow(self, sql: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The rows of :meth:`query` as an Arrow table: for millions of them."""
        state = self._state
        asked = {"as_of": state.size, **{k: v for k, v in (parameters or {}).items() if v is not None}}
        bound = {name: value for name, value in asked.items() if f"${name}" in sql}
        # Through execute() the rows would be copied once more.
        table: pa.Table = state.store.cursor().sql(sql, params=bound).to_arrow_table()
        return table

    def runs(self, as_of: int | None = None) -> list[dict[str, Any]]:
        """All runs with job, state, times, parent and flags, by start."""
        return self._rows("FROM runs_at($as_of) ORDER BY started_at, run_id", {"as_of": as_of})

    def jobs(self, as_of: int | None = None) -> list[dict[str, Any]]:
        """All jobs with their number of runs."""
        return self._rows("FROM jobs_at($as_of) ORDER BY namespace, name", {"as_of": as_of})

    def datasets(self, as_of: int | None = None) -> list[dict[str, Any]]:
        """All datasets with their newest version."""
        return self._rows("FROM datasets_at($as_of) ORDER BY namespace, name", {"as_of": as_of})

    def dataset(self, namespace: str, name: str, as_of: int | None = None) -> DatasetState | None:
        """One dataset with its present facets, ``None`` if no event named it."""
        named = {"as_of": as_of, "namespace": namespace, "name": name}
        where = "WHERE namespace = $namespace AND name = $name"
        seen = self._rows(f"FROM datasets_at($as_of) {where}", named)
        if not seen:
            return None
        rows = self._rows(
            f"SELECT facet, body, basis, log_index FROM facets_at($as_of) {where}"
            " AND scope = 'dataset' ORDER BY facet, basis DESC",
            named,
        )
        chosen: dict[str, dict[str, Any]] = {}
        for row in rows:
            chosen.setdefault(row["facet"], row)
        return DatasetState(
            namespace,
            name,
            seen[0]["version"],
            {facet: json.loads(row["body"]) for facet, row in chosen.items()},
            {facet: row["basis"] for facet, row in chosen.items()},
            {facet: row["log_index"] for facet, row in chosen.items()},
            tuple(r["facet"] for r in rows if _differs(r["body"], chosen[r["facet"]]["body"])),
        )

    def upstream(
        self, namespace: str, name: str, depth: int = 20, as_of: int | None = None
    ) -> list[dict[str, Any]]:
        """Datasets that this one came from: namespace, name, depth, nearest first."""
        return self._reach("upstream", namespace, name, depth, as_of)

    def downstream(
        self, namespace: str, name: str, depth: int = 20, as_of: int | None = None
    ) -> list[dict[str, Any]]:
        """Datasets that came from this one: namespace, name, depth, nearest first."""
        return self._reach("downstream", namespace, name, depth, as_of)

    def column_lineage(
        self,
        namespace: str,
        name: str,
        column: str,
        direction: str = "upstream",
        depth: int = 20,
        as_of: int | None = None,
    ) -> list[dict[str, Any]]:
        """Column edges met from one column on, with transformation, masking, basis and depth.

        Raises:
            KeyError: ``direction`` is neither ``upstream`` nor ``downstream``.
        """
        return self._rows(
            projection.column_reach(direction),
            {"as_of": as_of, "namespace": namespace, "name": name, "column": column, "depth": depth},
        )

    def evidence(
        self,
        *,
        stage: str | None = None,
        version: str | None = None,
        dataset: str | None = None,
        as_of: int | None = None,
    ) -> list[dict[str, Any]]:
        """Evidence by stage, version and dataset, in log order; ``None`` means any."""
        rows = self._rows(
            "FROM evidence WHERE log_index < $as_of"
            " AND ($stage IS NULL OR stage = $stage) AND ($version IS NULL OR version = $version)"
            " AND ($dataset IS NULL OR dataset = $dataset) ORDER BY log_index",
            {"as_of": as_of, "stage": stage, "version": version, "dataset": dataset},
        )
        return [row | {k: json.loads(row[k]) for k in ("facts", "context")} for row in rows]

    def completeness(self, as_of: int | None = None) -> list[completeness.RunCompleteness]:
        """Every DAG run: is all its lineage here?"""
        bound = {"as_of": as_of}
        return completeness.judge(
            self._rows(completeness.DAG_RUNS, bound), self._rows(completeness.TASK_RUNS, bound)
        )

    def close(self) -> None:
        """Give the memory back."""
        self._state.store.close()
        if self._lock is not None:
            self._lock.close()

    def _reach(
        self, direction: str, namespace: str, name: str, depth: int, as_of: int | None
    ) -> list[dict[str, Any]]:
        return self._rows(
            projection.reach(direction),
            {"as_of": as_of, "namespace": namespace, "name": name, "depth": depth},
        )

    def _rows(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        cursor = self._ask(sql, parameters)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _ask(self, sql: str, parameters: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        state = self._state
        if parameters.get("as_of") is None:
            parameters["as_of"] = state.size
        bound = {name: value for name, value in parameters.items() if f"${name}" in sql}
        return state.store.cursor().execute(sql, bound)


@dataclass(slots=True)
class _State:
    """What was read, replaced as a whole when it has to be read again."""

    store: FactStore
    reader: FactReader
    size: int

    def append(self, tables: Mapping[str, pa.Table], gone: list[int], size: int) -> bool:
        """Whether what was read before still stands."""
        if gone and self.store.opened(gone):
            return False
        self.store.append(tables, gone)
        self.size = size
        return True


def _entries(log: ReadableLog, start: int, stop: int) -> Iterator[Entry]:
    """Entries in order; one whose archive is not at hand or damaged is there without its body."""
    while start < stop:
        try:
            for entry in log.entries(start, stop):
                yield entry
                start = entry.index + 1
            return
        except LogError as error:
            row = next(log.storage.read(start, start + 1), None) if error.code in _ARCHIVE_FAULTS else None
            if row is None:
                raise
            yield BodilessEntry(row.index, row.leaf, error.message)
            start += 1


def _bodiless(log: ReadableLog, first: int, stop: int) -> list[int]:
    """The entries of a pruned archive's range that it held: the others still have their bodies."""
    return [row.index for row in log.storage.read(first, stop) if row.body is None]


def _page(entries: Iterator[Entry]) -> Iterator[Entry]:
    """The next entries. Each is read before the next is fetched, so that no page of bodies is held."""
    held = 0
    for entry in islice(entries, _PAGE):
        yield entry
        held += len(entry.body or b"")
        if held > _PAGE_BYTES:
            return


def genesis_evidence_key(log: ReadableLog) -> bytes | None:
    """The evidence root key that the genesis leaf (entry 0) names, ``None`` if there is none."""
    for entry in log.entries(0, min(1, log.size())):
        if entry.body is None or json.loads(entry.leaf).get("media_type") != _GENESIS:
            return None
        try:
            return base64.b64decode(json.loads(entry.body)["evidence_public_key"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error):
            return None
    return None


def _differs(one: str, other: str) -> bool:
    """Whether two facets say different things; who produced them is not what they say."""
    said = []
    for body in (json.loads(one), json.loads(other)):
        said.append({k: v for k, v in body.items() if k[:1] != "_"} if isinstance(body, dict) else body)
    return bool(said[0] != said[1])
