"""What the graph reads from the index: nodes, edges and whether the past is a subset of the present.

Datasets come under the names that events used; :data:`ALIASES` says which stand for others.
"""

from __future__ import annotations

_SPAN = "log_index >= $since AND log_index < $as_of"

NODES = f"""
    SELECT 'dataset' AS kind, namespace, name, min(log_index) AS first_index
    FROM run_io WHERE {_SPAN} GROUP BY ALL
    UNION ALL
    SELECT 'job', job_namespace, job_name, min(log_index)
    FROM events WHERE job_name IS NOT NULL AND {_SPAN} GROUP BY ALL
    ORDER BY first_index
"""
"""Every dataset and job that entries from ``$since`` on name: kind, namespace, name, first_index."""

ALIASES = "SELECT alias_namespace, alias_name, namespace, name FROM aliases_at($as_of) ORDER BY ALL"
"""Names and the datasets that they stand for."""

DATASET_EDGES = "FROM edges_at($as_of)"
"""Edges between datasets, with the job and the first log index."""

DATASET_EDGES_SINCE = f"""
    WITH run AS (
        SELECT DISTINCT job_namespace, job_name, run_id FROM run_io WHERE {_SPAN} AND direction <> 'static'
    ), io AS MATERIALIZED (
        SELECT i.job_namespace, i.job_name, i.run_id, i.direction, i.namespace, i.name, min(i.log_index) AS log_index
        FROM run_io i
        SEMI JOIN run r ON r.job_namespace = i.job_namespace AND r.job_name = i.job_name
            AND r.run_id IS NOT DISTINCT FROM i.run_id
        WHERE i.log_index < $as_of AND i.direction <> 'static'
        GROUP BY ALL
    )
    SELECT
        i.namespace AS source_namespace, i.name AS source_name,
        o.namespace AS target_namespace, o.name AS target_name,
        o.job_namespace, o.job_name, min(greatest(i.log_index, o.log_index)) AS first_index
    FROM (FROM io WHERE direction = 'input') i JOIN (FROM io WHERE direction = 'output') o
        ON i.job_namespace = o.job_namespace AND i.job_name = o.job_name
        AND i.run_id IS NOT DISTINCT FROM o.run_id
    GROUP BY ALL HAVING first_index >= $since
"""
"""Those of :data:`DATASET_EDGES` that entries from ``$since`` on made, where they only added."""

IO = """
    SELECT direction, job_namespace, job_name, namespace, name, min(log_index) AS first_index
    FROM io_at($as_of) GROUP BY ALL
"""
"""What jobs read and write."""

IO_SINCE = f"""
    SELECT direction, job_namespace, job_name, namespace, name, min(log_index) AS first_index
    FROM run_io WHERE {_SPAN} AND direction <> 'static' AND job_name IS NOT NULL GROUP BY ALL
"""
"""The same of entries from ``$since`` on, where they only added."""

REMOVALS = f"SELECT 1 FROM removals WHERE {_SPAN} LIMIT 1"
"""Whether a redaction or a prune came."""

CHANGES = f"""
    WITH snapshot AS (
        SELECT namespace, name, max(log_index) AS log_index FROM facets
        WHERE facet = 'jobType' AND scope = 'job' AND log_index < $as_of
        GROUP BY ALL
        HAVING bool_or(said(body, '$.emissionPattern.eventContentMode') = 'COMPLETE_SNAPSHOT')
    )
    SELECT
        EXISTS (FROM run_io WHERE kind = 'job' AND direction <> 'static' AND {_SPAN})
        OR EXISTS (FROM facets WHERE facet = 'lineage' AND {_SPAN})
        OR EXISTS (FROM snapshot WHERE log_index >= $since)
        OR EXISTS (
            FROM run_io i SEMI JOIN snapshot s ON s.namespace = i.job_namespace AND s.name = i.job_name
            WHERE {_SPAN}
        ) AS replaced,
        EXISTS (FROM facets WHERE facet = 'symlinks' AND {_SPAN}) AS renamed,
        EXISTS (FROM lineage WHERE log_index < $as_of) AS explicit,
        EXISTS (FROM removals WHERE {_SPAN}) AS removed
"""
"""What entries from ``$since`` on did beyond adding edges.

``replaced``: job events, complete snapshots and the ``lineage`` facet replace or hide what stood before.
``renamed``: aliases were named, perhaps the same as before. If neither changed anything, the edges at any log
size from ``$since`` on are those at ``$as_of`` that are old enough. ``explicit``: a ``lineage`` facet was said at
all, so that edges between datasets do not follow from inputs and outputs alone. ``removed``: what an entry said
is gone, for every log size.
"""

COLUMNS_CHANGED = f"""
    SELECT
        EXISTS (FROM lineage WHERE {_SPAN})
        OR EXISTS (
            SELECT 1 FROM facets f
            SEMI JOIN (
                FROM facets WHERE scope = 'dataset' AND facet = 'columnLineage' AND {_SPAN}
            ) told USING (namespace, name)
            WHERE f.scope = 'dataset' AND f.facet = 'columnLineage' AND f.log_index < $as_of
            GROUP BY f.namespace, f.name, f.job_namespace, f.job_name, f.basis
            HAVING count(DISTINCT f.body) > 1 OR min(f.log_index) >= $since
        ) AS changed
"""
"""Whether entries from ``$since`` on say anything about columns, aliases apart, that was not said before."""

COLUMN_EDGES = """
    SELECT DISTINCT
        input_namespace, input_name, input_column, output_namespace, output_name, output_column,
        type, transformation, description, masking, basis, job_namespace, job_name
    FROM column_edges_at($as_of)
"""
"""Column edges with what each says, once."""
