"""The DuckDB database behind the index: tables of facts, the macros over them, and safe access to both.

It lives in memory, compressed, and never spills to disk, because events may hold personal data that
slipped in. Facts of a snapshot stay in its Parquet files and are read from there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from governance.lineage.index import projection
from governance.lineage.index.laying_out import lay_out
from governance.lineage.index.schemas import OF_AN_EVENT, SCHEMAS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "bool": "BOOLEAN",
    "timestamp[us]": "TIMESTAMP",
    "decimal128(38, 0)": "DECIMAL(38, 0)",
    "list<item: string>": "VARCHAR[]",
}
"""By Arrow's: from a table of Arrow's without rows DuckDB would learn them too, but PyArrow imports pandas for that."""
_UNUSED = """
    DELETE FROM held.facet_sets WHERE set_id NOT IN (
        SELECT run_set_id FROM events WHERE run_set_id IS NOT NULL
        UNION ALL SELECT job_set_id FROM events WHERE job_set_id IS NOT NULL
        UNION ALL SELECT set_id FROM mentions WHERE set_id IS NOT NULL
        UNION ALL SELECT own_set_id FROM mentions WHERE own_set_id IS NOT NULL
    )
"""


class FactStore:
    """Tables of :data:`governance.lineage.index.schemas.SCHEMAS`, and the views and macros of the projection.

    One thread appends, any number ask; each question sees whole pages only.

    Args:
        threads: of DuckDB.
        memory_limit: of DuckDB; beyond it a question fails instead of spilling.
        files: Parquet files of a snapshot, by table; they are read, never written.
    """

    def __init__(self, *, threads: int, memory_limit: str, files: Mapping[str, Path] | None = None) -> None:
        self._local = threading.local()
        self._opening = threading.Lock()
        self._files = dict(files or {})
        # The first of a process takes half a second to lay out; entries can be read meanwhile.
        opener = ThreadPoolExecutor(1)
        self._opened = opener.submit(self._open, threads, memory_limit)
        opener.shutdown(wait=False)
        if self._files:
            self._opened.result()

    @property
    def _root(self) -> duckdb.DuckDBPyConnection:
        return self._opened.result()

    def _open(self, threads: int, memory_limit: str) -> duckdb.DuckDBPyConnection:
        import duckdb

        root = duckdb.connect(":memory:", config={"threads": threads, "memory_limit": memory_limit})
        # Estimated small, an ASOF join is done as a loop over both sides: quadratic on versions.
        root.execute("SET GLOBAL asof_loop_join_threshold = 0")
        root.execute("SET max_temp_directory_size = '0B'")
        # Rows are compressed when so many have come: more often costs a sixth of all catching up.
        root.execute("SET GLOBAL checkpoint_threshold = '128MB'")
        root.execute("ATTACH ':memory:' AS facts (COMPRESS)")
        lay_out(root, "facts", _make)
        root.execute("USE facts")
        for name, file in self._files.items():
            _view(root, name, file)
        return root

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """This thread's connection."""
        cursor: duckdb.DuckDBPyConnection | None = getattr(self._local, "cursor", None)
        if cursor is None:
            with self._opening:
                cursor = self._root.cursor()
            cursor.execute("USE facts")
            self._local.cursor = cursor
        return cursor

    def append(self, tables: Mapping[str, pa.Table], gone: Iterable[int] = ()) -> None:
        """Add rows and take out those of entries whose bodies are gone, all at once or not at all."""
        writer, gone = self.cursor(), sorted(set(gone))
        writer.execute("BEGIN")
        try:
            for name, table in tables.items():
                writer.register("rows", table)
                writer.execute(f"INSERT INTO held.{name} FROM rows")
                writer.unregister("rows")
            if gone:
                self._take_out(writer, gone)
            writer.execute("COMMIT")
        except BaseException:
            writer.execute("ROLLBACK")
            raise

    def export(self, folder: Path) -> tuple[Callable[[], Mapping[str, Path]], Callable[[], None]]:
        """What writes every table as it is now to Parquet files in ``folder``, and what gives up doing so.

        Appending goes on meanwhile; the files hold what was there when this was called.
        """
        with self._opening:
            reader = self._root.cursor()
        reader.execute("USE facts")
        reader.execute("BEGIN")
        reader.execute("SELECT 1 FROM entry_rows LIMIT 1").fetchall()

        def write() -> Mapping[str, Path]:
            files = {}
            for name in SCHEMAS:
                files[name] = folder / f"{name}.parquet"
                quoted = str(files[name]).replace("'", "''")
                reader.execute(f"COPY (FROM {name}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)")
            return files

        return write, reader.close

    def opened(self, indexes: Iterable[int]) -> bool:
        """Whether one of these entries is an observed opening, on whose key other evidence rests."""
        found = self.cursor().execute(
            "SELECT count(*) FROM evidence WHERE stage = 'open' AND basis = 'observed'"
            " AND list_contains($indexes, log_index)",
            {"indexes": list(indexes)},
        )
        return bool(found.fetchall()[0][0])

    def close(self) -> None:
        """Give the memory back."""
        self._root.close()

    def _take_out(self, writer: duckdb.DuckDBPyConnection, gone: list[int]) -> None:
        for name, file in self._files.items():
            # Parquet cannot forget: what the snapshot holds is taken over first.
            writer.execute(f"INSERT INTO held.{name} FROM read_parquet(?)", [str(file)])
            _view(writer, name, None)
        self._files = {}
        for name in (*OF_AN_EVENT, "events", "token_facts", "corrections"):
            writer.execute(f"DELETE FROM held.{name} WHERE list_contains($gone, log_index)", {"gone": gone})
        writer.execute(_UNUSED)
        for name in ("facet_bodies", "facet_edges"):
            writer.execute(f"DELETE FROM held.{name} WHERE facet_id NOT IN (SELECT facet_id FROM facet_sets)")
        writer.execute(
            "UPDATE held.entry_rows SET missing = true, fault = NULL WHERE list_contains($gone, log_index)",
            {"gone": gone},
        )


def _view(writer: duckdb.DuckDBPyConnection, name: str, file: Path | None) -> None:
    quoted = "" if file is None else str(file).replace("'", "''")
    stored = "" if file is None else f" UNION ALL BY NAME FROM read_parquet('{quoted}')"
    writer.execute(f"CREATE OR REPLACE VIEW {name} AS FROM held.{name}{stored}")


def _make(writer: duckdb.DuckDBPyConnection) -> None:
    writer.execute("CREATE SCHEMA held")
    for name, schema in SCHEMAS.items():
        columns = ", ".join(f'"{field.name}" {_TYPES[str(field.type)]}' for field in schema)
        writer.execute(f"CREATE TABLE held.{name} ({columns})")
        _view(writer, name, None)
    for statement in (*projection.DERIVED, *projection.VIEWS, *projection.MACROS):
        writer.execute(statement)
