"""Datasets and their versions at a log size. An alias is shown as the dataset it stands for."""

from __future__ import annotations

MACROS = (
    # A version is what the version facet says, or else what one run wrote or one DatasetEvent describes.
    """
    CREATE MACRO bare_dataset_versions_at(as_of) AS TABLE
    WITH told AS (
        SELECT
            v.namespace, v.name, v.version, v.run_id, v.job_namespace, v.job_name, v.log_index, v.rank,
            v.received_at, v.direction, v.basis
        FROM dataset_versions v WHERE v.log_index < as_of
    ), made AS (
        FROM told
        UNION ALL BY NAME
        SELECT
            i.namespace, i.name,
            uuid_of(to_json([i.namespace, i.name, coalesce(i.run_id, e.digest)])::VARCHAR) AS version,
            i.run_id, i.job_namespace, i.job_name, i.log_index, i.rank, i.received_at, i.direction,
            NULL AS basis
        FROM run_io i JOIN events e USING (log_index)
        WHERE i.log_index < as_of AND i.direction IN ('output', 'static') AND i.kind IN ('run', 'dataset')
            AND NOT EXISTS (
                FROM told t WHERE t.namespace = i.namespace AND t.name = i.name
                    AND t.direction = i.direction
                    AND (t.run_id = i.run_id OR t.log_index = i.log_index)
            )
    )
    SELECT
        namespace, name, version,
        min(received_at) AS created_at,
        arg_max(run_id, (direction = 'output', rank)) FILTER (direction <> 'input') AS run_id,
        arg_max(job_namespace, (direction = 'output', rank)) FILTER (direction <> 'input')
            AS job_namespace,
        arg_max(job_name, (direction = 'output', rank)) FILTER (direction <> 'input') AS job_name,
        min(log_index) AS log_index,
        max(rank) AS rank
    FROM made GROUP BY ALL
    """,
    """
    CREATE MACRO lifecycles_at(as_of) AS TABLE
    SELECT namespace, name, run_id, arg_max(said(body, '$.lifecycleStateChange'), rank) AS lifecycle
    FROM facets
    WHERE facet = 'lifecycleStateChange' AND scope = 'dataset' AND NOT deleted AND log_index < as_of
    GROUP BY ALL
    """,
    """
    CREATE MACRO dataset_versions_at(as_of) AS TABLE
    WITH described AS (
        SELECT namespace, name, rank, max(body) FILTER (NOT deleted) AS body
        FROM facets
        WHERE facet = 'schema' AND scope = 'dataset' AND log_index < as_of GROUP BY ALL
    )
    SELECT
        v.*, CAST(json_extract(d.body, '$.fields') AS VARCHAR) AS schema_fields, changed.lifecycle
    FROM bare_dataset_versions_at(as_of) v
    ASOF LEFT JOIN described d ON d.namespace = v.namespace AND d.name = v.name AND v.rank >= d.rank
    LEFT JOIN lifecycles_at(as_of) changed ON changed.namespace = v.namespace AND changed.name = v.name
        AND changed.run_id IS NOT DISTINCT FROM v.run_id
    """,
    """
    CREATE MACRO told_datasets_at(as_of) AS TABLE
    WITH dataset AS (
        SELECT
            coalesce(a.namespace, i.namespace) AS namespace,
            coalesce(a.name, i.name) AS name,
            min(received_at) AS created_at,
            max(received_at) AS updated_at,
            max(event_time) FILTER (NOT future) AS last_event_at,
            max(rank) FILTER (direction = 'output') AS written,
            max(event_time) FILTER (direction = 'output' AND NOT future) AS written_at,
            min(log_index) AS first_index,
            max(log_index) AS last_index
        FROM run_io i
        LEFT JOIN aliases_at(as_of) a ON a.alias_namespace = i.namespace AND a.alias_name = i.name
        WHERE log_index < as_of GROUP BY ALL
    ), told AS (
        SELECT namespace, name, arg_max(version, (rank, version)) AS version
        FROM dataset_versions WHERE log_index < as_of GROUP BY ALL
    ), kind AS (
        SELECT
            namespace, name,
            CASE upper(said(body, '$.datasetType'))
                WHEN 'TABLE' THEN 'DB_TABLE' WHEN 'TOPIC' THEN 'STREAM'
                ELSE upper(said(body, '$.datasetType'))
            END AS type
        FROM facet_at(as_of, 'datasetType') WHERE scope = 'dataset'
    ), source AS (
        SELECT
            namespace, name, rank AS source_rank,
            nullif(said(body, '$.name'), '') AS source, said(body, '$.uri') AS source_url
        FROM facet_at(as_of, 'dataSource') WHERE scope = 'dataset'
    ), change AS (
        SELECT namespace, name, rank, said(body, '$.lifecycleStateChange') = 'DROP' AS dropped
        FROM facet_at(as_of, 'lifecycleStateChange') WHERE scope = 'dataset'
    )
    SELECT
        d.namespace, d.name, kind.type, coalesce(source.source, d.namespace) AS source,
        CASE WHEN source.source IS NOT NULL THEN source.source_url END AS source_url, source.source_rank,
        told.version,
        coalesce(change.dropped AND change.rank >= coalesce(d.written, -1), false) AS deleted,
        d.created_at, d.updated_at, d.last_event_at, d.written_at, d.first_index, d.last_index
    FROM dataset d
    LEFT JOIN told USING (namespace, name)
    LEFT JOIN kind USING (namespace, name)
    LEFT JOIN source USING (namespace, name)
    LEFT JOIN change USING (namespace, name)
    """,
    """
    CREATE MACRO datasets_at(as_of) AS TABLE
    SELECT d.* REPLACE (coalesce(d.version, made.version) AS version)
    FROM told_datasets_at(as_of) d LEFT JOIN (
        SELECT namespace, name, arg_max(version, (rank, version)) AS version
        FROM bare_dataset_versions_at(as_of) GROUP BY ALL
    ) made USING (namespace, name)
    """,
)
