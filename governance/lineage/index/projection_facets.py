"""Facets as they stand at a log size, and what single facets say: aliases, owners, tags, classifications.

Facet bodies come from strangers: every path into them is read as *what it says if it has the right
shape*, never as an error.
"""

from __future__ import annotations

_OF_A_RUN = "scope IN ('run', 'input', 'output')"

MACROS = (
    # A member of a JSON object if it is a string, as the OpenLineage schemas want it.
    """
    CREATE MACRO said(body, path) AS
    CASE WHEN json_type(body, path) = 'VARCHAR' THEN json_extract_string(body, path) END
    """,
    # The elements of an array; of anything else, none.
    """
    CREATE MACRO elements(body, path) AS
    CASE WHEN json_type(body, path) = 'ARRAY' THEN CAST(json_extract(body, path) AS JSON[]) ELSE [] END
    """,
    """
    CREATE MACRO uuid_of(text) AS (
        substr(md5(text), 1, 8) || '-' || substr(md5(text), 9, 4) || '-8' || substr(md5(text), 14, 3)
        || '-8' || substr(md5(text), 18, 3) || '-' || substr(md5(text), 21, 12)
    )
    """,
    f"""
    CREATE MACRO facets_at(as_of) AS TABLE
    SELECT
        f.* EXCLUDE (newest, facet_id), b.body,
        said(b.body, '$._producer') AS producer, said(b.body, '$._schemaURL') AS schema_url
    FROM (
        SELECT *, row_number() OVER (
            PARTITION BY scope, namespace, name, facet, basis, CASE WHEN {_OF_A_RUN} THEN run_id END
            ORDER BY rank DESC
        ) AS newest
        FROM facet_rows WHERE log_index < as_of
    ) f JOIN facet_bodies b USING (facet_id)
    WHERE newest = 1 AND NOT (deleted AND scope IN ('job', 'dataset'))
    """,
    """
    CREATE MACRO facet_history(as_of) AS TABLE
    SELECT *, said(body, '$._producer') AS producer, said(body, '$._schemaURL') AS schema_url
    FROM facets WHERE log_index < as_of
    """,
    # One body where observed and declared stand side by side: the observed one.
    """
    CREATE MACRO facet_at(as_of, wanted) AS TABLE
    SELECT scope, namespace, name, run_id, body, basis, rank, log_index FROM facets_at(as_of)
    WHERE facet = wanted
    QUALIFY row_number() OVER (
        PARTITION BY scope, namespace, name, CASE WHEN scope IN ('run', 'input', 'output') THEN run_id END
        ORDER BY basis DESC
    ) = 1
    """,
    """
    CREATE MACRO links_at(as_of) AS TABLE
    SELECT
        namespace, name, rank,
        said(link, '$.namespace') AS alias_namespace, said(link, '$.name') AS alias_name,
        said(link, '$.type') AS type
    FROM (
        SELECT namespace, name, rank, unnest(elements(body, '$.identifiers')) AS link
        FROM facet_at(as_of, 'symlinks') WHERE scope = 'dataset'
    )
    WHERE alias_namespace <> '' AND alias_name <> '' AND (namespace, name) <> (alias_namespace, alias_name)
    """,
    "CREATE MACRO symlinks_at(as_of) AS TABLE SELECT DISTINCT * EXCLUDE (rank) FROM links_at(as_of)",
    # Which dataset an alias stands for: the one that named it last. A dataset that names aliases itself
    # is nobody's alias, so that two that name each other stay two.
    """
    CREATE MACRO aliases_at(as_of) AS TABLE
    WITH link AS MATERIALIZED (FROM links_at(as_of))
    SELECT
        alias_namespace, alias_name,
        arg_max(namespace, (rank, namespace, name)) AS namespace,
        arg_max(name, (rank, namespace, name)) AS name
    FROM link l
    WHERE NOT EXISTS (
        FROM link own WHERE own.namespace = l.alias_namespace AND own.name = l.alias_name
    )
    GROUP BY ALL
    """,
    """
    CREATE MACRO owners_at(as_of) AS TABLE
    SELECT DISTINCT
        scope AS entity, namespace, name, said(item, '$.name') AS owner, said(item, '$.type') AS type
    FROM (
        SELECT scope, namespace, name, unnest(elements(body, '$.owners')) AS item
        FROM facet_at(as_of, 'ownership') WHERE scope IN ('job', 'dataset')
    )
    WHERE said(item, '$.name') <> ''
    """,
    """
    CREATE MACRO tags_at(as_of) AS TABLE
    SELECT DISTINCT
        CASE WHEN scope = 'dataset' AND said(tag, '$.field') <> '' THEN 'field' ELSE scope END AS entity,
        namespace, name, CASE WHEN scope = 'run' THEN run_id END AS run_id,
        CASE WHEN scope = 'dataset' THEN nullif(said(tag, '$.field'), '') END AS field,
        said(tag, '$.key') AS key, said(tag, '$.value') AS value, said(tag, '$.source') AS source
    FROM (
        SELECT scope, namespace, name, run_id, unnest(elements(body, '$.tags')) AS tag
        FROM facet_at(as_of, 'tags') WHERE scope IN ('job', 'dataset', 'run')
    )
    WHERE said(tag, '$.key') <> ''
    """,
    """
    CREATE MACRO classifications_at(as_of) AS TABLE
    SELECT
        f.namespace, f.name, c.key AS field,
        said(c.value, '$.classification') AS classification,
        said(c.value, '$.sensitivity') AS sensitivity,
        f.basis
    FROM (
        SELECT namespace, name, basis, body FROM facets_at(as_of)
        WHERE facet = 'governance_classifications' AND scope = 'dataset'
            AND json_type(body, '$.columns') = 'OBJECT'
    ) f, json_each(f.body, '$.columns') c
    WHERE said(c.value, '$.classification') <> ''
    QUALIFY row_number() OVER (PARTITION BY f.namespace, f.name, c.key ORDER BY f.basis DESC) = 1
    """,
)
