"""Runs, jobs and their versions at a log size."""

from __future__ import annotations

_TERMINAL = "event_type IN ('COMPLETE', 'FAIL', 'ABORT')"

MACROS = (
    f"""
    CREATE MACRO runs_at(as_of) AS TABLE
    SELECT
        run_id,
        arg_max(job_namespace, rank) FILTER (job_name IS NOT NULL) AS job_namespace,
        arg_max(job_name, rank) FILTER (job_name IS NOT NULL) AS job_name,
        coalesce(
            arg_min(event_type, early) FILTER ({_TERMINAL}),
            CASE WHEN bool_or(event_type IN ('START', 'RUNNING')) THEN 'RUNNING' ELSE 'NEW' END
        ) AS state,
        coalesce(min(event_time) FILTER (event_type = 'START'), min(event_time)) AS started_at,
        arg_min_null(event_time, early) FILTER ({_TERMINAL}) AS ended_at,
        arg_max(nominal_start, rank) FILTER (nominal_start IS NOT NULL) AS nominal_start,
        arg_max_null(nominal_end, rank) FILTER (nominal_start IS NOT NULL) AS nominal_end,
        min(received_at) AS created_at,
        max(received_at) AS updated_at,
        arg_max(parent_run_id, rank) FILTER (parent_run_id IS NOT NULL) AS parent_run_id,
        arg_max_null(parent_job_namespace, rank) FILTER (parent_run_id IS NOT NULL) AS parent_job_namespace,
        arg_max_null(parent_job_name, rank) FILTER (parent_run_id IS NOT NULL) AS parent_job_name,
        arg_max(root_run_id, rank) FILTER (root_run_id IS NOT NULL) AS root_run_id,
        coalesce(
            min(event_type) FILTER ({_TERMINAL}) <> max(event_type) FILTER ({_TERMINAL})
                OR min(job_namespace) <> max(job_namespace) OR min(job_name) <> max(job_name),
            false
        ) AS conflicting,
        bool_or(len(faults) > 0) AS faulty,
        count(DISTINCT digest) AS events,
        min(log_index) AS first_index,
        max(log_index) AS last_index
    FROM events WHERE run_id IS NOT NULL AND log_index < as_of
    GROUP BY run_id
    """,
    """
    CREATE MACRO job_versions_at(as_of) AS TABLE
    WITH run AS (
        SELECT
            job_namespace, job_name, run_id,
            min(received_at) AS created_at, max(rank) AS rank
        FROM events WHERE job_name IS NOT NULL AND kind <> 'dataset' AND log_index < as_of
        GROUP BY ALL
    ), io AS (
        SELECT
            job_namespace, job_name, run_id,
            list_sort(list(struct_pack(namespace, name)) FILTER (direction = 'input')) AS inputs,
            list_sort(list(struct_pack(namespace, name)) FILTER (direction = 'output')) AS outputs
        FROM io_at(as_of) GROUP BY ALL
    ), code AS (
        SELECT job_namespace, job_name, run_id, arg_max(said(body, '$.url'), rank) AS location
        FROM facets WHERE facet = 'sourceCodeLocation' AND scope = 'job' AND log_index < as_of
        GROUP BY ALL
    ), made AS (
        SELECT
            run.*, coalesce(io.inputs, []) AS inputs, coalesce(io.outputs, []) AS outputs,
            uuid_of(to_json([
                to_json(run.job_namespace), to_json(run.job_name), to_json(coalesce(io.inputs, [])),
                to_json(coalesce(io.outputs, [])), to_json(code.location)
            ])::VARCHAR) AS version
        FROM run
        LEFT JOIN io ON io.job_namespace = run.job_namespace AND io.job_name = run.job_name
            AND io.run_id IS NOT DISTINCT FROM run.run_id
        LEFT JOIN code ON code.job_namespace = run.job_namespace AND code.job_name = run.job_name
            AND code.run_id IS NOT DISTINCT FROM run.run_id
    )
    SELECT
        job_namespace AS namespace, job_name AS name, version,
        arg_max(run_id, rank) FILTER (run_id IS NOT NULL) AS run_id,
        min(created_at) AS created_at,
        any_value(inputs) AS inputs, any_value(outputs) AS outputs,
        max(rank) AS rank
    FROM made GROUP BY ALL
    """,
    """
    CREATE MACRO bare_jobs_at(as_of) AS TABLE
    WITH job AS (
        SELECT
            job_namespace AS namespace,
            job_name AS name,
            count(DISTINCT run_id) AS runs,
            arg_max(run_id, rank) FILTER (run_id IS NOT NULL) AS latest_run_id,
            min(received_at) AS created_at,
            max(received_at) AS updated_at,
            max(event_time) FILTER (NOT future) AS last_event_at,
            min(log_index) AS first_index,
            max(log_index) AS last_index
        FROM events WHERE job_name IS NOT NULL AND log_index < as_of
        GROUP BY ALL
    ), kind AS (
        SELECT
            namespace, name,
            CASE upper(said(body, '$.processingType'))
                WHEN 'BATCH' THEN 'BATCH' WHEN 'STREAMING' THEN 'STREAM' WHEN 'STREAM' THEN 'STREAM'
                WHEN 'SERVICE' THEN 'SERVICE'
            END AS type,
            said(body, '$.integration') AS integration
        FROM facet_at(as_of, 'jobType') WHERE scope = 'job'
    )
    SELECT job.*, kind.type, kind.integration FROM job LEFT JOIN kind USING (namespace, name)
    """,
    """
    CREATE MACRO jobs_at(as_of) AS TABLE
    SELECT j.*, v.version FROM bare_jobs_at(as_of) j LEFT JOIN (
        SELECT namespace, name, arg_max(version, rank) AS version FROM job_versions_at(as_of) GROUP BY ALL
    ) v USING (namespace, name)
    """,
)
