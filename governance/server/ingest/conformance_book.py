"""Which events do not conform to the spec: worked out behind the server's back, never on the way in.

A finding is a function of the event and the installed client, so it is kept in memory and no leaf is made.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from governance.lineage.conformance import conformance
from governance.lineage.naming import EVENT_MEDIA_TYPE
from governance.lineage.reading import mapping, named, text
from governance.log import Entry, Log

_MARK = EVENT_MEDIA_TYPE.encode()
_SCHEMA = pa.schema(
    [
        ("log_index", pa.int64()),
        ("producer", pa.string()),
        ("run_id", pa.string()),
        ("namespace", pa.string()),
        ("name", pa.string()),
        ("faults", pa.list_(pa.string())),
    ]
)


class ConformanceBook:
    """Findings on the first :attr:`size` entries of a log. Safe from many threads."""

    def __init__(self) -> None:
        self.size = 0
        # Compiling imports the client, which takes a second: better before events come than among them.
        conformance({})
        self._writing = threading.Lock()
        self._connection = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": "256MB"})
        self._connection.execute("SET max_temp_directory_size = '0B'")
        self._connection.register("shape", _SCHEMA.empty_table())
        self._connection.execute("CREATE TABLE findings AS FROM shape")
        self._connection.execute("CREATE TABLE judged (log_index BIGINT, producer VARCHAR)")
        self._connection.unregister("shape")

    def follow(self, log: Log, upto: int) -> None:
        """Judge the events up to a log size."""
        if upto <= self.size:
            return
        with self._writing:
            found, judged = [], []
            for entry in log.entries(self.size, max(self.size, upto)):
                if (finding := judge(entry)) is not None:
                    judged.append({"log_index": entry.index, "producer": finding["producer"]})
                    if finding["faults"]:
                        found.append(finding)
            cursor = self._connection.cursor()
            for table, rows in (("findings", found), ("judged", judged)):
                if rows:
                    shape = _SCHEMA if table == "findings" else pa.schema(list(_SCHEMA)[:2])
                    cursor.register("rows", pa.Table.from_pylist(rows, shape))
                    cursor.execute(f"INSERT INTO {table} FROM rows")
                    cursor.unregister("rows")
            self.size = max(self.size, upto)

    def findings(
        self, as_of: int, after: int, limit: int, run_id: str | None, producer: str | None
    ) -> list[dict[str, Any]]:
        """Events that do not conform, in log order, with index above ``after``."""
        return self._rows(
            "FROM findings WHERE log_index < $as_of AND log_index > $after"
            " AND ($run_id IS NULL OR run_id = $run_id) AND ($producer IS NULL OR producer = $producer)"
            " ORDER BY log_index LIMIT $limit",
            {"as_of": as_of, "after": after, "limit": limit, "run_id": run_id, "producer": producer},
        )

    def producers(self, as_of: int) -> list[dict[str, Any]]:
        """How many events each producer sent, how many do not conform, and their commonest faults."""
        return self._rows(
            """
            WITH shapes AS (
                SELECT producer, regexp_replace(unnest(faults), '\\[[0-9]+\\]', '[]', 'g') AS fault
                FROM findings WHERE log_index < $as_of
            ),
            common AS (
                SELECT producer, list(fault ORDER BY times DESC, fault)[:10] AS faults
                FROM (SELECT producer, fault, count(*) AS times FROM shapes GROUP BY ALL) GROUP BY producer
            )
            SELECT j.producer, count(*) AS events,
                count(f.log_index) AS not_conforming, coalesce(any_value(c.faults), []) AS faults
            FROM judged j
            LEFT JOIN findings f ON f.log_index = j.log_index
            LEFT JOIN common c ON c.producer IS NOT DISTINCT FROM j.producer
            WHERE j.log_index < $as_of GROUP BY j.producer ORDER BY events DESC, j.producer
            """,
            {"as_of": as_of},
        )

    def close(self) -> None:
        """Give the memory back."""
        self._connection.close()

    def _rows(self, sql: str, bound: Mapping[str, Any]) -> list[dict[str, Any]]:
        cursor = self._connection.cursor().execute(sql, bound)
        names: Sequence[str] = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def judge(entry: Entry) -> dict[str, Any] | None:
    """One event's finding, with ``faults`` empty when it conforms; None for what is no event any more."""
    if entry.body is None or _MARK not in entry.leaf or entry.envelope.media_type != EVENT_MEDIA_TYPE:
        return None
    try:
        event = json.loads(entry.body)
        faults = conformance(event)
    except (ValueError, RecursionError):
        event, faults = {}, ["$: cannot be parsed"]
    owner = named(mapping(event).get("job")) or named(mapping(event).get("dataset")) or (None, None)
    return {
        "log_index": entry.index,
        "producer": text(mapping(event).get("producer")),
        "run_id": text(mapping(mapping(event).get("run")).get("runId")),
        "namespace": owner[0],
        "name": owner[1],
        "faults": faults,
    }
