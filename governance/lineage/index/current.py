"""The present, kept: jobs, datasets and aliases as the macros say they are at the index's own size.

A list of a hundred thousand datasets cannot fold millions of rows each time it is asked for. What new entries
touched is folded again by the very same macros, over a database that holds only the rows of what was touched;
the rest stays. So this says what the macros say, always, and a past log size is asked of the macros.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from governance.lineage.index import present_facets, projection
from governance.lineage.index.laying_out import lay_out
from governance.lineage.index.schemas import DERIVED, SCHEMAS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


class Facts(Protocol):
    """What is needed of :class:`governance.lineage.index.index.Index`."""

    @property
    def size(self) -> int:
        """How many log entries were read."""

    @property
    def generation(self) -> int:
        """How often all was read again: a ``facet_id`` means the same within one."""

    def arrow(self, sql: str, parameters: dict[str, Any]) -> pa.Table:
        """The rows of one SELECT."""


_NEW = "log_index >= $since AND log_index < $as_of"
_JOBS = f"SELECT DISTINCT job_namespace AS namespace, job_name AS name FROM events WHERE job_name IS NOT NULL AND {_NEW}"
_RUNS = f"SELECT DISTINCT run_id FROM events WHERE run_id IS NOT NULL AND {_NEW}"
_DATASETS = f"SELECT DISTINCT namespace, name FROM run_io WHERE {_NEW}"
_LINKS = f"SELECT DISTINCT namespace, name, body FROM facets WHERE scope = 'dataset' AND facet = 'symlinks' AND {_NEW}"
_KEYS = "(SELECT unnest($namespaces) AS namespace, unnest($names) AS name) k"

_JOB_FACETS = f"""
    SELECT f.* FROM facet_rows f SEMI JOIN {_KEYS} USING (namespace, name)
    WHERE scope = 'job' AND facet IN ('jobType', 'sourceCodeLocation') AND log_index < $as_of
"""
_DATASET_FACETS = f"""
    SELECT f.* FROM facet_rows f SEMI JOIN {_KEYS} USING (namespace, name)
    WHERE scope = 'dataset' AND facet IN ('datasetType', 'dataSource', 'lifecycleStateChange', 'symlinks')
        AND log_index < $as_of
"""
_OF_JOBS = {
    "events": f"""
        SELECT e.* FROM events e SEMI JOIN {_KEYS} ON k.namespace = e.job_namespace AND k.name = e.job_name
        WHERE log_index < $as_of
    """,
    "run_io": f"""
        SELECT r.* FROM run_io r SEMI JOIN {_KEYS} ON k.namespace = r.job_namespace AND k.name = r.job_name
        WHERE log_index < $as_of
    """,
    "facet_rows": _JOB_FACETS,
    "facet_bodies": f"SELECT b.* FROM facet_bodies b SEMI JOIN ({_JOB_FACETS}) USING (facet_id)",
}
_OF_DATASETS = {
    "events": f"""
        SELECT e.* FROM events e SEMI JOIN (
            SELECT log_index FROM run_io SEMI JOIN {_KEYS} USING (namespace, name)
        ) USING (log_index) WHERE log_index < $as_of
    """,
    "run_io": f"SELECT r.* FROM run_io r SEMI JOIN {_KEYS} USING (namespace, name) WHERE log_index < $as_of",
    "facet_rows": _DATASET_FACETS,
    "facet_bodies": f"SELECT b.* FROM facet_bodies b SEMI JOIN ({_DATASET_FACETS}) USING (facet_id)",
    "dataset_versions": f"""
        SELECT v.* FROM dataset_versions v SEMI JOIN {_KEYS} USING (namespace, name) WHERE log_index < $as_of
    """,
}
_OF_RUNS = """
    SELECT e.* FROM events e SEMI JOIN (SELECT unnest($runs::VARCHAR[]) AS run_id) USING (run_id)
    WHERE log_index < $as_of
"""

_RECENT = """
    SELECT
        job_namespace AS namespace, job_name AS name,
        list(run_id ORDER BY started_at DESC NULLS LAST, run_id DESC)[:10] AS latest_runs
    FROM (
        SELECT job_namespace, job_name, run_id, min(event_time) FILTER (NOT future) AS started_at FROM events
        WHERE job_name IS NOT NULL AND run_id IS NOT NULL AND log_index < $as_of GROUP BY ALL
    ) GROUP BY ALL
"""
_KEPT = {
    "job_versions": "FROM job_versions_at($as_of)",
    "jobs": f"FROM bare_jobs_at($as_of) LEFT JOIN ({_RECENT}) USING (namespace, name)",
    "dataset_versions": """
        SELECT v.* EXCLUDE (job_namespace, job_name), changed.lifecycle
        FROM bare_dataset_versions_at($as_of) v
        LEFT JOIN lifecycles_at($as_of) changed ON changed.namespace = v.namespace AND changed.name = v.name
            AND changed.run_id IS NOT DISTINCT FROM v.run_id
    """,
    "datasets": "FROM told_datasets_at($as_of)",
    "aliases": "FROM aliases_at($as_of)",
}
_FINISHED = {
    "jobs": """
        SELECT rows.*, v.version, NULL::VARCHAR AS latest_state FROM rows LEFT JOIN (
            SELECT namespace, name, arg_max(version, rank) AS version
            FROM kept.job_versions SEMI JOIN rows USING (namespace, name) GROUP BY ALL
        ) v USING (namespace, name)
    """,
    "datasets": """
        SELECT rows.* REPLACE (coalesce(rows.version, v.version) AS version) FROM rows LEFT JOIN (
            SELECT namespace, name, arg_max(version, (rank, version)) AS version
            FROM kept.dataset_versions SEMI JOIN rows USING (namespace, name) GROUP BY ALL
        ) v USING (namespace, name)
    """,
}
"""What becomes of folded rows once versions are there, so that these are not folded twice."""
WITH_STATES = f"""
    SELECT j.*, l.latest_runs, r.state AS latest_state FROM jobs_at($as_of) j
    LEFT JOIN ({_RECENT}) l USING (namespace, name)
    LEFT JOIN runs_at($as_of) r ON r.run_id = j.latest_run_id
"""
"""What ``jobs`` holds, for a log size of the past."""
_LISTED = """
    SELECT run_id FROM (
        SELECT unnest(list_append(coalesce(latest_runs, []), latest_run_id)) AS run_id FROM kept.jobs
    ) WHERE run_id IS NOT NULL
"""
_COMPACT_AFTER = 10_000
_JOB_TABLES, _DATASET_TABLES = ("job_versions", "jobs"), ("dataset_versions", "datasets", "aliases")


class Current:
    """The tables ``jobs``, ``job_versions``, ``datasets``, ``dataset_versions``, ``aliases`` and ``runs``.

    A job has the ``latest_state`` of its newest run and its ``latest_runs``, ten at most; of these are the
    ``runs``. Dataset versions are without job and schema.
    Other columns are those of the macros of :mod:`governance.lineage.index.projection`. Safe from many threads.

    Args:
        index: what is folded.
        threads: of DuckDB.
        memory_limit: of DuckDB; beyond it a question fails instead of spilling.
    """

    def __init__(self, index: Facts, *, threads: int = 2, memory_limit: str = "40%") -> None:
        import duckdb

        self._index = index
        self._catching_up = threading.Lock()
        self._size = self._replaced = 0
        self._opening = threading.Lock()
        self._connection = duckdb.connect(
            ":memory:", config={"threads": threads, "memory_limit": memory_limit}
        )
        self._connection.execute("SET max_temp_directory_size = '0B'")
        # DuckDB 2.0 joins row by row where it guesses that few rows will come.
        self._connection.execute("SET asof_loop_join_threshold = 0")
        lay_out(self._connection, "memory", _make)

    @property
    def size(self) -> int:
        """The log size that the tables are of."""
        return self._size

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rows of one SELECT over the tables, caught up with the index."""
        self.catch_up()
        bound = {name: value for name, value in parameters.items() if f"${name}" in sql}
        with self._opening:
            cursor = self._connection.cursor()
        cursor.execute("SET search_path = 'kept,main'")
        cursor.execute(sql, bound)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def facets(
        self, scope: str, keys: Sequence[tuple[str, str]], names: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """The present facets of some jobs or datasets: namespace, name, facet, basis, body.

        Args:
            scope: ``job`` or ``dataset``.
            keys: their namespaces and names, as events used them: aliases stand for themselves.
            names: of the facets; empty means all.

        Returns:
            Rows by basis, so that what was observed comes last. Where one event says a facet twice, both
            stand there, in the order of their bodies.
        """
        namespaces, named = [namespace for namespace, _ in keys], [name for _, name in keys]
        asked = {"scope": scope, "namespaces": namespaces, "names": named, "facets": list(names)}
        while True:
            generation = self._index.generation
            wanted = set(keys)
            rows = [
                row
                for row in self.query(present_facets.WANTED.format(keys=_KEYS), asked)
                if (row["namespace"], row["name"]) in wanted
            ]
            ids = list({row["facet_id"] for row in rows})
            found = self._index.arrow(present_facets.BODIES, {"ids": ids}) if ids else None
            if self._index.generation == generation:
                break
        bodies = {} if found is None else dict(zip(*(c.to_pylist() for c in found.columns), strict=True))
        # What was redacted meanwhile has no body any more.
        said = [row | {"body": bodies[row["facet_id"]]} for row in rows if row["facet_id"] in bodies]
        return sorted(said, key=lambda row: (row["basis"], row["body"]))

    def close(self) -> None:
        """Give the memory back."""
        self._connection.close()

    def catch_up(self) -> None:
        """Fold what the index has read since; the first time, all of it."""
        with self._catching_up:
            size = self._index.size
            if size == self._size:
                return
            bound = {"since": self._size, "as_of": size}
            # Rows of redacted and pruned entries are gone: what they touched can no longer be told.
            gone = self._index.arrow(f"SELECT 1 FROM removals WHERE {_NEW} LIMIT 1", bound).num_rows
            if size < self._size or gone:
                bound["since"] = 0
                self._connection.execute("DELETE FROM links")
            self._connection.execute("BEGIN")
            try:
                self._fold(bound)
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._size = size

    def _fold(self, bound: Mapping[str, int]) -> None:
        linked = self._linked(self._index.arrow(_DATASETS, dict(bound)), bound)
        if bound["since"] == 0:
            for name, fold in _KEPT.items():
                folded = self._index.arrow(fold, {"as_of": bound["as_of"]})
                self._hold(f"kept.{name}", folded, _FINISHED.get(name, "FROM rows"))
            for name in ("runs", "facets"):
                self._connection.execute(f"DELETE FROM kept.{name}")
            self._runs(bound)
            self._facets(bound)
            return
        jobs = self._index.arrow(_JOBS, dict(bound))
        if jobs.num_rows:
            self._refresh(_OF_JOBS, jobs, bound, _JOB_TABLES)
        self._runs(bound)
        self._facets(bound)
        if linked.num_rows:
            self._refresh(_OF_DATASETS, linked, bound, _DATASET_TABLES)
        for name in {*_OF_JOBS, *_OF_DATASETS}:
            self._connection.execute(f"DELETE FROM {name}")
        self._compact(jobs.num_rows + linked.num_rows)

    def _refresh(
        self, rows: Mapping[str, str], keys: pa.Table, bound: Mapping[str, int], tables: tuple[str, ...]
    ) -> None:
        """Fold the entities again."""
        asked = {
            "namespaces": keys["namespace"].to_pylist(),
            "names": keys["name"].to_pylist(),
            "as_of": bound["as_of"],
        }
        for name, sql in rows.items():
            self._hold(name, self._index.arrow(sql, dict(asked)))
        self._connection.register("touched", keys)
        for name in tables:
            alias = "alias_" if name == "aliases" else ""
            self._connection.execute(
                f"DELETE FROM kept.{name} t USING touched k"
                f" WHERE k.namespace = t.{alias}namespace AND k.name = t.{alias}name"
            )
            fold = _finished(name, _KEPT[name])
            self._connection.execute(f"INSERT INTO kept.{name} {fold}", {"as_of": bound["as_of"]})
        self._connection.unregister("touched")

    def _runs(self, bound: Mapping[str, int]) -> None:
        """The newest runs of the jobs, from all events of those: some may name another job, or none."""
        self._connection.register("touched", self._index.arrow(_RUNS, dict(bound)))
        runs = self._connection.execute(
            f"""
            SELECT DISTINCT run_id FROM ({_LISTED})
            WHERE run_id IN (SELECT run_id FROM touched) OR run_id NOT IN (SELECT run_id FROM kept.runs)
            """
        ).fetchall()
        self._connection.unregister("touched")
        asked = {"runs": [run for (run,) in runs], "as_of": bound["as_of"]}
        self._hold("events", self._index.arrow(_OF_RUNS, dict(asked)))
        self._connection.execute("DELETE FROM kept.runs WHERE run_id IN (SELECT run_id FROM events)")
        self._connection.execute("INSERT INTO kept.runs FROM runs_at($as_of)", {"as_of": bound["as_of"]})
        self._connection.execute(
            """
            UPDATE kept.jobs SET latest_state = r.state FROM kept.runs r
            WHERE kept.jobs.latest_run_id = r.run_id AND latest_state IS DISTINCT FROM r.state
            """
        )
        self._connection.execute("DELETE FROM events")

    def _facets(self, bound: Mapping[str, int]) -> None:
        self._connection.register("said", self._index.arrow(present_facets.SINCE, dict(bound)))
        for statement in present_facets.MERGE:
            self._connection.execute(statement)
        self._connection.unregister("said")

    def _linked(self, datasets: pa.Table, bound: Mapping[str, int]) -> pa.Table:
        """The datasets, and all that aliases join to them over any number of steps."""
        self._connection.register("found", self._index.arrow(_LINKS, dict(bound)))
        self._connection.execute(
            """
            INSERT INTO links SELECT DISTINCT namespace, name, said(link, '$.namespace'), said(link, '$.name')
            FROM (SELECT namespace, name, unnest(elements(body, '$.identifiers')) AS link FROM found)
            """
        )
        self._connection.unregister("found")
        self._connection.register("touched", datasets)
        linked: pa.Table = self._connection.sql(
            """
            WITH RECURSIVE both_ways AS (
                SELECT a, b, c, d FROM links UNION SELECT c, d, a, b FROM links
            ), linked(namespace, name) AS (
                SELECT namespace, name FROM touched
                UNION
                SELECT w.c, w.d FROM linked l JOIN both_ways w ON w.a = l.namespace AND w.b = l.name
            )
            SELECT namespace, name FROM linked WHERE namespace IS NOT NULL AND name IS NOT NULL
            """
        ).to_arrow_table()
        self._connection.unregister("touched")
        return linked

    def _compact(self, replaced: int) -> None:
        """Write the tables anew once as many rows were replaced as they hold: DuckDB keeps the dead ones."""
        self._replaced += replaced
        if self._replaced > _COMPACT_AFTER:
            held = self._connection.execute("SELECT count(*) FROM kept.jobs").fetchall()[0][0]
            held += self._connection.execute("SELECT count(*) FROM kept.datasets").fetchall()[0][0]
            if self._replaced > held:
                self._replaced = 0
                for name in (*_KEPT, "facets"):
                    self._connection.execute(f"CREATE OR REPLACE TABLE kept.{name} AS FROM kept.{name}")
                self._connection.execute(
                    f"CREATE OR REPLACE TABLE kept.runs AS FROM kept.runs SEMI JOIN ({_LISTED}) USING (run_id)"
                )

    def _hold(self, name: str, rows: pa.Table, finished: str = "FROM rows") -> None:
        self._connection.register("rows", rows)
        self._connection.execute(f"CREATE OR REPLACE TABLE {name} AS {finished}")
        self._connection.unregister("rows")


def _finished(name: str, fold: str) -> str:
    return f"WITH rows AS ({fold}) {_FINISHED.get(name, 'FROM rows')}"


def _make(connection: duckdb.DuckDBPyConnection) -> None:
    for name, schema in {**SCHEMAS, **DERIVED}.items():
        connection.register("rows", schema.empty_table())
        connection.execute(f"CREATE TABLE {name} AS FROM rows")
        connection.unregister("rows")
    for statement in (*projection.VIEWS, *projection.MACROS):
        connection.execute(statement)
    connection.execute("CREATE TABLE links (a VARCHAR, b VARCHAR, c VARCHAR, d VARCHAR)")
    connection.execute("CREATE SCHEMA kept")
    for name, fold in _KEPT.items():
        connection.execute(f"CREATE TABLE kept.{name} AS {_finished(name, fold.replace('$as_of', '0'))}")
    connection.execute("CREATE TABLE kept.runs AS FROM runs_at(0)")
    connection.execute(present_facets.TABLE)
