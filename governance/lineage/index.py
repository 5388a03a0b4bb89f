"""The index: everything the log says, in DuckDB, to be asked. Disposable: the log is the truth.

It lives in memory and never spills to disk, because events may hold personal data that slipped in.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from governance.lineage import completeness, projection
from governance.lineage.facts import SCHEMAS, Entry, FactReader

if TYPE_CHECKING:
    import duckdb

_PAGE = 5_000
_GENESIS = "application/vnd.governance.genesis+json"


class ReadableLog(Protocol):
    """What the index needs of the log."""

    def size(self) -> int:
        """The number of entries."""

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Entries in log order."""


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
    """

    def __init__(
        self, evidence_public_key: bytes | None, *, threads: int = 2, memory_limit: str = "1GB"
    ) -> None:
        import duckdb

        self._connection: duckdb.DuckDBPyConnection = duckdb.connect(
            ":memory:", config={"threads": threads, "memory_limit": memory_limit}
        )
        self._connection.execute("SET max_temp_directory_size = '0B'")
        for name, schema in SCHEMAS.items():
            self._connection.register("shape", schema.empty_table())
            self._connection.execute(f"CREATE TABLE {name} AS FROM shape")
            self._connection.unregister("shape")
        self._connection.execute(projection.TOKENS)
        for macro in projection.MACROS:
            self._connection.execute(macro)
        self._reader = FactReader(evidence_public_key)
        self._size = 0

    @classmethod
    def build(
        cls,
        log: ReadableLog,
        upto: int | None = None,
        *,
        evidence_public_key: bytes | None = None,
        threads: int = 2,
        memory_limit: str = "1GB",
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

    @property
    def size(self) -> int:
        """How many log entries were read."""
        return self._size

    def catch_up(self, log: ReadableLog, upto: int | None = None) -> int:
        """Read what was appended since; returns how many entries that were."""
        stop = log.size() if upto is None else min(upto, log.size())
        if stop <= self._size:
            return 0
        before, entries = self._size, iter(log.entries(self._size, stop))
        while page := list(islice(entries, _PAGE)):
            self._connection.execute("BEGIN")
            for name, table in self._reader.read(page).items():
                if table.num_rows:
                    self._connection.register("rows", table)
                    self._connection.execute(f"INSERT INTO {name} FROM rows")
                    self._connection.unregister("rows")
            self._connection.execute("COMMIT")
            self._size = page[-1].index + 1
        return self._size - before

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows of one SELECT over the tables of :data:`governance.lineage.facts.SCHEMAS` and the macros.

        ``$as_of`` is bound to all that was read unless ``parameters`` gives it.
        """
        return self._rows(sql, dict(parameters or {}))

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

    def run_evidence(
        self, version: str, dataset: str | None = None, as_of: int | None = None
    ) -> list[dict[str, Any]]:
        """What the stages of a version proved or claimed, in log order; facts and context are parsed."""
        return self.evidence(as_of=as_of, version=version, dataset=dataset)

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
        self._connection.close()

    def _reach(
        self, direction: str, namespace: str, name: str, depth: int, as_of: int | None
    ) -> list[dict[str, Any]]:
        return self._rows(
            projection.reach(direction),
            {"as_of": as_of, "namespace": namespace, "name": name, "depth": depth},
        )

    def _rows(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        if parameters.get("as_of") is None:
            parameters["as_of"] = self._size
        bound = {name: value for name, value in parameters.items() if f"${name}" in sql}
        cursor = self._connection.cursor().execute(sql, bound)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


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
