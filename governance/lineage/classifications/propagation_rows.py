"""What propagation reads from the index: edges between columns, findings, re-scans, corrections.

Datasets come under the names that aliases stand for.
"""

from __future__ import annotations

EDGES = """
    SELECT
        input_namespace, input_name, input_column,
        output_namespace, output_name, coalesce(output_column, '') AS output_column,
        type, transformation, description, coalesce(masking, false) AS masking,
        job_namespace, job_name,
        bool_or(basis = 'observed') AS observed,
        coalesce(max(log_index) FILTER (basis = 'observed'), max(log_index)) AS log_index
    FROM column_edges_at($as_of)
    WHERE input_column IS NOT NULL
    GROUP BY ALL
    ORDER BY ALL
"""
"""Each edge once. A declaration that repeats what evidence states, of the same job, is the same edge: a
declaration displaces no evidence and adds nothing to it."""

FINDINGS = """
    WITH alias AS MATERIALIZED (FROM aliases_at($as_of))
    SELECT
        coalesce(a.namespace, f.namespace) AS namespace, coalesce(a.name, f.name) AS name,
        c.key AS field, said(c.value, '$.classification') AS classification, f.basis,
        max(f.log_index) AS log_index, max(e.stage) AS stage
    FROM (
        SELECT namespace, name, basis, body, log_index FROM facets_at($as_of)
        WHERE facet = 'governance_classifications' AND scope = 'dataset'
            AND json_type(body, '$.columns') = 'OBJECT'
    ) f
    CROSS JOIN json_each(f.body, '$.columns') c
    LEFT JOIN alias a ON a.alias_namespace = f.namespace AND a.alias_name = f.name
    LEFT JOIN evidence e ON e.log_index = f.log_index AND e.basis = 'observed' AND f.basis = 'observed'
    WHERE said(c.value, '$.classification') NOT IN ('', 'none') AND e.stage IS DISTINCT FROM 'protect'
    GROUP BY ALL
    ORDER BY ALL
"""
"""What was found or declared in each column. What ``protect`` writes on its output is not among it: that is the
classification of the column it came from, which the edges carry."""

CONTAINED = """
    SELECT
        coalesce(a.namespace, m.namespace) AS namespace, coalesce(a.name, m.name) AS name,
        e.facts, e.log_index
    FROM evidence e JOIN mentions m USING (log_index)
    LEFT JOIN aliases_at($as_of) a ON a.alias_namespace = m.namespace AND a.alias_name = m.name
    WHERE e.stage = 'classify' AND e.basis = 'observed' AND e.log_index < $as_of AND m.direction = 'input'
    QUALIFY row_number() OVER (PARTITION BY m.namespace, m.name ORDER BY e.log_index DESC) = 1
    ORDER BY ALL
"""
"""The newest scan of each source: its facts say what free text contains, and how sure each finding is."""

RESCANS = """
    WITH written AS (
        SELECT log_index, dataset, version, attempt FROM evidence
        WHERE stage = 'protect' AND basis = 'observed' AND list_contains($edges, log_index)
    )
    SELECT w.log_index AS edge_index, v.log_index, v.version, v.facts
    FROM written w JOIN evidence v
        ON v.dataset = w.dataset AND v.version = w.version AND v.attempt = w.attempt
    WHERE v.stage = 'validate' AND v.basis = 'observed' AND v.log_index > w.log_index AND v.log_index < $as_of
    QUALIFY row_number() OVER (PARTITION BY w.log_index ORDER BY v.log_index DESC) = 1
"""
"""For the evidence of a rewriting pass, the newest re-scan of what it wrote."""

CORRECTIONS = "FROM corrections WHERE log_index < $as_of ORDER BY log_index"

VERSIONS = """
    SELECT namespace, name, arg_max(version, (rank, version)) AS version
    FROM dataset_versions v
    SEMI JOIN corrections c ON c.namespace = v.namespace AND c.version IS NOT NULL
        AND (c.name = v.name OR c.name LIKE '%*' AND starts_with(v.name, c.name[:-2]))
    WHERE v.log_index < $as_of GROUP BY ALL
"""
"""The present version of each dataset of which a correction names one."""

CHANGED = """
    SELECT
        EXISTS (
            FROM facet_rows WHERE log_index >= $since AND log_index < $as_of AND (
                facet IN ('columnLineage', 'lineage', 'symlinks', 'governance_classifications')
            )
        )
        OR EXISTS (FROM evidence WHERE log_index >= $since AND log_index < $as_of)
        OR EXISTS (FROM corrections WHERE log_index >= $since AND log_index < $as_of)
        OR EXISTS (
            FROM dataset_versions v
            SEMI JOIN corrections c ON c.namespace = v.namespace AND c.version IS NOT NULL
            WHERE v.log_index >= $since AND v.log_index < $as_of
        )
        OR EXISTS (FROM removals WHERE log_index >= $since AND log_index < $as_of) AS changed
"""
"""Whether entries from ``$since`` on can change an answer."""

FIELDS = """
    SELECT DISTINCT said(field, '$.name') AS field FROM (
        SELECT unnest(elements(body, '$.fields')) AS field FROM facet_at($as_of, 'schema')
        WHERE scope = 'dataset' AND namespace = $namespace AND name = $name
    ) WHERE said(field, '$.name') <> ''
"""
"""The top-level columns that a dataset's schema names."""
