"""What runs and jobs read and wrote, and the edges that follow.

A run's events add up, unless its job says that each is a complete snapshot: then the newest counts, as it
does for JobEvents. The experimental ``lineage`` facet goes before ``columnLineage`` and before what inputs
and outputs suggest: it accumulates over the events of a run and is replaced by Job- and DatasetEvents.
"""

from __future__ import annotations

MACROS = (
    """
    CREATE MACRO io_at(as_of) AS TABLE
    WITH newest AS (
        SELECT job_namespace, job_name, run_id, max(rank) AS rank FROM run_io r
        WHERE log_index < as_of AND direction <> 'static' AND (kind = 'job' OR EXISTS (
            FROM facet_at(as_of, 'jobType') t
            WHERE t.scope = 'job' AND t.namespace = r.job_namespace AND t.name = r.job_name
                AND said(t.body, '$.emissionPattern.eventContentMode') = 'COMPLETE_SNAPSHOT'
        ))
        GROUP BY ALL
    )
    SELECT
        r.run_id, r.job_namespace, r.job_name, r.direction, r.namespace, r.name,
        min(r.log_index) AS log_index
    FROM run_io r
    LEFT JOIN newest n
        ON n.job_namespace = r.job_namespace AND n.job_name = r.job_name
        AND n.run_id IS NOT DISTINCT FROM r.run_id
    WHERE r.log_index < as_of AND r.direction <> 'static' AND (n.rank IS NULL OR n.rank = r.rank)
    GROUP BY ALL
    """,
    # Rows of the lineage facet that count. An entry without sources has one row without a source.
    """
    CREATE MACRO lineage_at(as_of) AS TABLE
    WITH facet AS (
        SELECT
            scope, namespace, name, job_namespace, job_name, basis,
            max(rank) FILTER (kind <> 'run') AS replaced,
            arg_max(run_id, rank) FILTER (kind = 'run') AS run_id,
            coalesce(max(rank) FILTER (deleted), -1) AS gone
        FROM facet_rows WHERE facet = 'lineage' AND log_index < as_of AND scope IN ('job', 'dataset')
        GROUP BY ALL
    )
    SELECT l.* FROM lineage l JOIN facet f
        ON f.scope = l.scope AND f.namespace = l.owner_namespace AND f.name = l.owner_name
        AND f.job_namespace IS NOT DISTINCT FROM l.job_namespace
        AND f.job_name IS NOT DISTINCT FROM l.job_name AND f.basis = l.basis
    WHERE l.log_index < as_of AND l.rank > f.gone
        AND CASE WHEN l.kind = 'run' THEN l.run_id IS NOT DISTINCT FROM f.run_id ELSE l.rank = f.replaced END
    """,
    """
    CREATE MACRO edges_at(as_of) AS TABLE
    WITH explicit AS MATERIALIZED (FROM lineage_at(as_of)), alias AS MATERIALIZED (FROM aliases_at(as_of)),
    io AS MATERIALIZED (
        FROM io_at(as_of)
        UNION ALL
        SELECT run_id, target_namespace, target_name, 'input', source_namespace, source_name, log_index
        FROM explicit WHERE target_kind = 'JOB' AND source_kind = 'DATASET'
        UNION ALL
        SELECT run_id, source_namespace, source_name, 'output', target_namespace, target_name, log_index
        FROM explicit WHERE target_kind = 'DATASET' AND source_kind = 'JOB'
    ),
    found AS (
        SELECT
            i.namespace AS source_namespace, i.name AS source_name,
            o.namespace AS target_namespace, o.name AS target_name,
            o.job_namespace, o.job_name, greatest(i.log_index, o.log_index) AS log_index
        FROM (FROM io WHERE direction = 'input') i JOIN (FROM io WHERE direction = 'output') o
            ON i.job_namespace = o.job_namespace AND i.job_name = o.job_name
            AND i.run_id IS NOT DISTINCT FROM o.run_id
        WHERE NOT EXISTS (
            FROM explicit e WHERE e.target_kind = 'DATASET'
                AND e.target_namespace = o.namespace AND e.target_name = o.name
                AND (e.job_name IS NULL OR (e.job_namespace, e.job_name) = (o.job_namespace, o.job_name))
                AND e.source_kind IS DISTINCT FROM 'JOB'
        )
        UNION ALL
        SELECT
            source_namespace, source_name, target_namespace, target_name, job_namespace, job_name, log_index
        FROM explicit WHERE target_kind = 'DATASET' AND source_kind = 'DATASET'
    )
    SELECT
        coalesce(s.namespace, f.source_namespace) AS source_namespace,
        coalesce(s.name, f.source_name) AS source_name,
        coalesce(t.namespace, f.target_namespace) AS target_namespace,
        coalesce(t.name, f.target_name) AS target_name,
        f.job_namespace, f.job_name, min(f.log_index) AS first_index
    FROM found f
    LEFT JOIN alias s ON s.alias_namespace = f.source_namespace AND s.alias_name = f.source_name
    LEFT JOIN alias t ON t.alias_namespace = f.target_namespace AND t.alias_name = f.target_name
    GROUP BY ALL
    """,
    "CREATE MACRO dataset_edges_at(as_of) AS TABLE SELECT * EXCLUDE (first_index) FROM edges_at(as_of)",
    """
    CREATE MACRO column_edges_at(as_of) AS TABLE
    WITH explicit AS MATERIALIZED (FROM lineage_at(as_of)), alias AS MATERIALIZED (FROM aliases_at(as_of)),
    newest AS (
        SELECT * FROM (
            SELECT *, row_number() OVER (
                PARTITION BY namespace, name, job_namespace, job_name, basis ORDER BY rank DESC
            ) AS newest
            FROM facet_rows WHERE scope = 'dataset' AND facet = 'columnLineage' AND log_index < as_of
        ) f WHERE newest = 1 AND NOT deleted AND NOT EXISTS (
            FROM explicit e WHERE e.target_kind = 'DATASET'
                AND e.target_namespace = f.namespace AND e.target_name = f.name
                AND (e.job_name IS NULL OR (e.job_namespace, e.job_name) = (f.job_namespace, f.job_name))
        )
    ),
    found AS (
        SELECT
            f.log_index, f.event_time, f.future, f.received_at, f.kind, f.rank,
            f.run_id, f.job_namespace, f.job_name,
            f.namespace AS output_namespace, f.name AS output_name, e.* EXCLUDE (facet_id), f.basis
        FROM newest f JOIN facet_edges e USING (facet_id)
        UNION ALL BY NAME
        SELECT
            * EXCLUDE (
                scope, owner_namespace, owner_name, target_kind, source_kind, target_namespace, target_name,
                target_field, source_namespace, source_name, source_field
            ),
            target_namespace AS output_namespace, target_name AS output_name, target_field AS output_column,
            source_namespace AS input_namespace, source_name AS input_name, source_field AS input_column
        FROM explicit
        WHERE target_kind = 'DATASET' AND source_kind = 'DATASET' AND source_field IS NOT NULL
    )
    SELECT f.* REPLACE (
        coalesce(t.namespace, f.output_namespace) AS output_namespace,
        coalesce(t.name, f.output_name) AS output_name,
        coalesce(s.namespace, f.input_namespace) AS input_namespace,
        coalesce(s.name, f.input_name) AS input_name
    )
    FROM found f
    LEFT JOIN alias s ON s.alias_namespace = f.input_namespace AND s.alias_name = f.input_name
    LEFT JOIN alias t ON t.alias_namespace = f.output_namespace AND t.alias_name = f.output_name
    """,
)
