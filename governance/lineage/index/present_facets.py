"""The present facets of jobs and datasets: what :class:`governance.lineage.index.current.Current` keeps of them.

The newest of each name stands, as in ``facets_at``. Sets of facets repeat from run to run, so the newest mention
of each set decides; and the newest of what is kept and of what came since is the newest of all.
"""

from __future__ import annotations

TABLE = """
    CREATE TABLE kept.facets (
        key UBIGINT, scope VARCHAR, namespace VARCHAR, name VARCHAR, facet VARCHAR, basis VARCHAR,
        rank DECIMAL(38, 0), deleted BOOLEAN, facet_id BIGINT
    )
"""

_NEWEST = "QUALIFY rank() OVER (PARTITION BY scope, namespace, name, facet, basis ORDER BY rank DESC) = 1"
_OF = "key, scope, namespace, name, facet, basis"

SINCE = f"""
    WITH said AS (
        SELECT
            'dataset' AS scope, namespace, name, basis, set_id,
            max(rank) AS rank, max(log_index) AS log_index
        FROM mentions WHERE set_id IS NOT NULL AND log_index >= $since AND log_index < $as_of GROUP BY ALL
        UNION ALL
        SELECT 'job', job_namespace, job_name, 'declared', job_set_id, max(rank), max(log_index)
        FROM events WHERE job_set_id IS NOT NULL AND log_index >= $since AND log_index < $as_of GROUP BY ALL
    )
    SELECT DISTINCT * FROM (
        SELECT
            hash(scope, namespace, name) AS key, scope, namespace, name, s.facet, basis,
            CASE WHEN s.ours THEN CAST(log_index AS DECIMAL(38, 0)) ELSE rank END AS rank,
            s.deleted, s.facet_id
        FROM said JOIN facet_sets s USING (set_id)
    ) {_NEWEST}
"""
"""What entries from ``$since`` on say, in the columns of the table."""

MERGE = (
    f"""
    CREATE OR REPLACE TEMP TABLE newest AS
    SELECT DISTINCT * FROM (
        FROM kept.facets SEMI JOIN said USING ({_OF}) UNION ALL FROM said
    ) {_NEWEST}
    """,
    f"DELETE FROM kept.facets t USING (SELECT DISTINCT {_OF} FROM said) s WHERE "
    + " AND ".join(f"t.{column} = s.{column}" for column in _OF.split(", ")),
    "INSERT INTO kept.facets FROM newest",
    "DROP TABLE newest",
)
"""Take in ``said``, rows of :data:`SINCE`."""

WANTED = """
    SELECT namespace, name, facet, basis, facet_id FROM kept.facets
    WHERE key IN (SELECT hash($scope, k.namespace, k.name) FROM {keys}) AND scope = $scope AND NOT deleted
        AND (len($facets) = 0 OR list_contains($facets, facet))
"""
BODIES = "SELECT facet_id, body FROM facet_bodies WHERE facet_id IN (SELECT unnest($ids::BIGINT[]))"
