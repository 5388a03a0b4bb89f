"""How rows fold into what is true, in DuckDB SQL: table macros over a log size, ``as_of``.

OpenLineage facts fold as a function of the set of events, whatever their order and repetition:
they rank by (not in the future, eventTime, digest of the body). A run ends at its first terminal
event and stays ended; another terminal state beside it is flagged. A facet is replaced whole by a
later one of its name; one that is deleted is gone and the earlier one does not return. Our own facets
rank by log index. What is observed and what is declared fold apart: a declaration displaces no evidence.
"""

from __future__ import annotations

from governance.lineage.index import projection_datasets, projection_facets, projection_io, projection_runs
from governance.lineage.index.schemas import EVENT, PRUNE, REDACTION

MACROS = (
    *projection_facets.MACROS,
    *projection_io.MACROS,
    *projection_runs.MACROS,
    *projection_datasets.MACROS,
)
"""In the order in which they must be created: a macro may use those before it."""

_WHEN = ", ".join(f"{{of}}.{name}" for name in EVENT.names if name != "rank")
_RANKED = "CASE WHEN s.ours THEN CAST({of}.log_index AS DECIMAL(38, 0)) ELSE {of}.rank END AS rank"
_FACET = f"""
    SELECT
        {_WHEN}, {_RANKED}, {{scope}} AS scope, {{namespace}} AS namespace, {{name}} AS name,
        s.facet, s.facet_id, {{basis}} AS basis, s.deleted
    FROM {{table}} {{of}} JOIN facet_sets s ON s.set_id = {{of}}.{{set_id}}
"""
_OF_RUN = {"scope": "'run'", "namespace": "NULL::VARCHAR", "name": "NULL::VARCHAR", "set_id": "run_set_id"}
_OF_JOB = {"scope": "'job'", "namespace": "e.job_namespace", "name": "e.job_name", "set_id": "job_set_id"}
_OF_DATASET = {
    "table": "mentions",
    "of": "m",
    "namespace": "m.namespace",
    "name": "m.name",
    "basis": "m.basis",
}

DERIVED = (
    f"CREATE VIEW run_io AS SELECT {', '.join(EVENT.names)}, direction, namespace, name FROM mentions",
    "CREATE VIEW facet_rows AS "
    + " UNION ALL ".join(
        (
            _FACET.format(table="events", of="e", basis="'declared'", **_OF_RUN),
            _FACET.format(table="events", of="e", basis="'declared'", **_OF_JOB),
            _FACET.format(scope="'dataset'", set_id="set_id", **_OF_DATASET),
            _FACET.format(scope="m.direction", set_id="own_set_id", **_OF_DATASET),
        )
    ),
)
"""Who read or wrote what, and who has which facets: our own facets rank by log index."""

VIEWS = (
    """
    CREATE VIEW facets AS
    SELECT f.* EXCLUDE (facet_id), b.body FROM facet_rows f JOIN facet_bodies b USING (facet_id)
    """,
    """
    CREATE VIEW column_edges AS
    SELECT
        f.log_index, f.event_time, f.future, f.received_at, f.kind, f.rank,
        f.run_id, f.job_namespace, f.job_name,
        f.namespace AS output_namespace, f.name AS output_name, e.* EXCLUDE (facet_id), f.basis
    FROM facet_rows f JOIN facet_edges e USING (facet_id)
    WHERE f.scope = 'dataset' AND f.facet = 'columnLineage'
    """,
    """
    CREATE VIEW entries AS
    SELECT
        * EXCLUDE (missing, fault), missing AND NOT redacted AS archived,
        CASE WHEN missing AND NOT redacted THEN coalesce(fault, 'its body was archived and pruned')
            ELSE fault END AS fault
    FROM (
        SELECT *, missing AND EXISTS (FROM redactions r WHERE r.redacted = e.log_index) AS redacted
        FROM entry_rows e
    )
    """,
    f"""
    CREATE VIEW removals AS
    SELECT log_index FROM entry_rows WHERE media_type IN ('{PRUNE}', '{REDACTION}')
    """,
    """
    CREATE VIEW tokens AS
    SELECT
        t.log_index, t.token_id, t.digest, t.name, t.scopes, t.namespaces, t.expires_at,
        EXISTS (FROM token_facts r WHERE r.revocation AND r.token_id = t.token_id) AS revoked
    FROM token_facts t WHERE NOT t.revocation
    """,
)
"""What was read, put together: facets with their bodies, entries with what became of
theirs, entries by which bodies left, tokens."""

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
        FROM edges_at($as_of)
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
