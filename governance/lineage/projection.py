"""How rows fold into what is true, in DuckDB SQL: table macros over a log size, ``as_of``.

OpenLineage facts fold as a function of the set of events, whatever their order and repetition:
they rank by (not in the future, eventTime, digest of the body). A run ends at its first terminal
event and stays ended; another terminal state beside it is flagged. A facet is replaced whole by a
later one of its name; one that is deleted is gone and the earlier one does not return. Our own facets
rank by log index. What is observed and what is declared fold apart: a declaration displaces no evidence.
"""

from __future__ import annotations

_LATEST = "future, event_time DESC NULLS LAST, digest DESC"
_EARLIEST = "future, event_time NULLS LAST, digest"
_TERMINAL = "event_type IN ('COMPLETE', 'FAIL', 'ABORT')"
_OURS = "starts_with(facet, 'governance_')"

MACROS = (
    f"""
    CREATE MACRO runs_at(as_of) AS TABLE
    SELECT
        run_id,
        first(job_namespace ORDER BY {_LATEST}) FILTER (job_name IS NOT NULL) AS job_namespace,
        first(job_name ORDER BY {_LATEST}) FILTER (job_name IS NOT NULL) AS job_name,
        coalesce(
            first(event_type ORDER BY {_EARLIEST}) FILTER ({_TERMINAL}),
            CASE WHEN bool_or(event_type IN ('START', 'RUNNING')) THEN 'RUNNING' ELSE 'NEW' END
        ) AS state,
        coalesce(min(event_time) FILTER (event_type = 'START'), min(event_time)) AS started_at,
        first(event_time ORDER BY {_EARLIEST}) FILTER ({_TERMINAL}) AS ended_at,
        count(DISTINCT event_type) FILTER ({_TERMINAL}) > 1
            OR count(DISTINCT (job_namespace, job_name)) FILTER (job_name IS NOT NULL) > 1 AS conflicting,
        first(parent_run_id ORDER BY {_LATEST}) FILTER (parent_run_id IS NOT NULL) AS parent_run_id,
        first(parent_job_namespace ORDER BY {_LATEST}) FILTER (parent_run_id IS NOT NULL)
            AS parent_job_namespace,
        first(parent_job_name ORDER BY {_LATEST}) FILTER (parent_run_id IS NOT NULL) AS parent_job_name,
        first(root_run_id ORDER BY {_LATEST}) FILTER (root_run_id IS NOT NULL) AS root_run_id,
        count(DISTINCT digest) AS events,
        bool_or(len(faults) > 0) AS faulty,
        min(log_index) AS first_index,
        max(log_index) AS last_index
    FROM events WHERE run_id IS NOT NULL AND log_index < as_of
    GROUP BY run_id
    """,
    """
    CREATE MACRO jobs_at(as_of) AS TABLE
    SELECT
        job_namespace AS namespace,
        job_name AS name,
        count(DISTINCT run_id) AS runs,
        max(event_time) FILTER (NOT future) AS last_event_at,
        min(log_index) AS first_index,
        max(log_index) AS last_index
    FROM events WHERE job_name IS NOT NULL AND log_index < as_of
    GROUP BY ALL
    """,
    f"""
    CREATE MACRO facets_at(as_of) AS TABLE
    SELECT * EXCLUDE (newest) FROM (
        SELECT *, row_number() OVER (
            PARTITION BY
                scope, namespace, name, facet, basis,
                CASE WHEN scope IN ('run', 'input', 'output') THEN run_id END
            ORDER BY CASE WHEN {_OURS} THEN log_index END DESC, {_LATEST}, body DESC
        ) AS newest
        FROM facets WHERE log_index < as_of
    ) WHERE newest = 1 AND NOT (deleted AND scope IN ('job', 'dataset'))
    """,
    f"""
    CREATE MACRO datasets_at(as_of) AS TABLE
    WITH seen AS (
        SELECT
            namespace,
            name,
            max(event_time) FILTER (NOT future) AS last_event_at,
            min(log_index) AS first_index,
            max(log_index) AS last_index
        FROM run_io WHERE log_index < as_of GROUP BY ALL
    ), versions AS (
        SELECT namespace, name, first(version ORDER BY {_LATEST}, version DESC) AS version
        FROM dataset_versions WHERE log_index < as_of GROUP BY ALL
    )
    SELECT seen.*, versions.version FROM seen LEFT JOIN versions USING (namespace, name)
    """,
    f"""
    CREATE MACRO column_edges_at(as_of) AS TABLE
    WITH newest AS (
        SELECT * FROM (
            SELECT
                log_index, namespace, name, deleted,
                row_number() OVER (
                    PARTITION BY namespace, name, job_namespace, job_name, basis ORDER BY {_LATEST}, deleted
                ) AS rank
            FROM facets
            WHERE scope = 'dataset' AND facet = 'columnLineage' AND log_index < as_of
        ) WHERE rank = 1 AND NOT deleted
    )
    SELECT e.* FROM column_edges e JOIN newest n
        ON e.log_index = n.log_index AND e.output_namespace = n.namespace AND e.output_name = n.name
    """,
    """
    CREATE MACRO dataset_edges_at(as_of) AS TABLE
    SELECT DISTINCT
        i.namespace AS source_namespace, i.name AS source_name,
        o.namespace AS target_namespace, o.name AS target_name,
        o.job_namespace, o.job_name
    FROM (FROM run_io WHERE direction = 'input' AND log_index < as_of) i
    JOIN (FROM run_io WHERE direction = 'output' AND log_index < as_of) o
        ON i.job_namespace = o.job_namespace AND i.job_name = o.job_name
        AND i.run_id IS NOT DISTINCT FROM o.run_id
    """,
)

_NEXT = {
    "upstream": ("target", "source"),
    "downstream": ("source", "target"),
}


def reach(direction: str) -> str:
    """Datasets within a depth of one, nearest first; a cycle ends where it began.

    Parameters: as_of, namespace, name, depth. Columns: namespace, name, depth.

    Raises:
        KeyError: the direction is neither ``upstream`` nor ``downstream``.
    """
    near, far = _NEXT[direction]
    return f"""
    WITH RECURSIVE edges AS MATERIALIZED (
        SELECT DISTINCT
            {near}_namespace AS near_namespace, {near}_name AS near_name,
            {far}_namespace AS namespace, {far}_name AS name
        FROM dataset_edges_at($as_of)
    ), reached(namespace, name, depth) USING KEY (namespace, name) AS (
        SELECT $namespace::VARCHAR, $name::VARCHAR, 0
        UNION
        SELECT e.namespace, e.name, min(r.depth) + 1
        FROM reached r
        JOIN edges e ON e.near_namespace = r.namespace AND e.near_name = r.name
        LEFT JOIN recurring.reached known ON known.namespace = e.namespace AND known.name = e.name
        WHERE r.depth < $depth AND known.name IS NULL
        GROUP BY e.namespace, e.name
    )
    SELECT namespace, name, depth FROM reached WHERE depth > 0 ORDER BY depth, namespace, name
    """


def column_reach(direction: str) -> str:
    """The column edges met on the way from one column, nearest first.

    Parameters and errors as :func:`reach`, and ``column``. An edge without an output column touches
    every column of its dataset.
    """
    near, far = {"upstream": ("output", "input"), "downstream": ("input", "output")}[direction]
    whole = "OR e.output_column IS NULL" if direction == "upstream" else ""
    met = f"""e.{near}_namespace = r.namespace AND e.{near}_name = r.name
            AND (e.{near}_column = r.col {whole})"""
    return f"""
    WITH RECURSIVE edges AS MATERIALIZED (FROM column_edges_at($as_of)),
    reached(namespace, name, col, depth) USING KEY (namespace, name, col) AS (
        SELECT $namespace::VARCHAR, $name::VARCHAR, $column::VARCHAR, 0
        UNION
        SELECT e.{far}_namespace, e.{far}_name, e.{far}_column, min(r.depth) + 1
        FROM reached r
        JOIN edges e ON {met}
        LEFT JOIN recurring.reached known
            ON known.namespace = e.{far}_namespace AND known.name = e.{far}_name
            AND known.col = e.{far}_column
        WHERE r.depth < $depth AND known.name IS NULL AND e.{far}_column IS NOT NULL
        GROUP BY ALL
    )
    SELECT e.*, r.depth + 1 AS depth
    FROM edges e JOIN reached r ON {met}
    WHERE r.depth < $depth
    ORDER BY ALL
    """
