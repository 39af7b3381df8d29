-- create_jobs() whose answers were cast to json, with labels_json() as a call for each job, lists unpacked by LATERAL,
-- all jobs of the array in the hash of dependencies, and four scans of the new jobs in their trigger.
DROP FUNCTION torc.create_jobs;
CREATE OR REPLACE FUNCTION torc.create_jobs(p_workflow_id bigint, p_jobs json, p_caller torc.caller DEFAULT NULL)
RETURNS SETOF json
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_ids regclass := pg_get_serial_sequence('torc.job', 'id');
    v_default_id bigint;
    v_env jsonb;
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    IF p_caller.enforced THEN
        PERFORM torc.authorize_references_of_jobs(p_workflow_id, p_jobs, p_caller);
    END IF;
    v_env := (SELECT env FROM torc.workflow WHERE id = p_workflow_id);
    v_default_id := (  -- not min(id), for which the requirements of all workflows may be read
        SELECT (array_agg(id ORDER BY id))[1]
        FROM torc.resource_requirements
        WHERE workflow_id = p_workflow_id AND name = 'default'
    );

    RETURN QUERY
    WITH new AS MATERIALIZED (
        SELECT
            nextval(v_ids) AS id,
            CASE
                WHEN workflow_id = p_workflow_id THEN workflow_id
                ELSE torc.fail_for_other_workflow(p_workflow_id, workflow_id)
            END AS workflow_id,
            name, command, invocation_script, cancel_on_blocking_job_failure, supports_termination, depends_on_job_ids,
            input_file_ids, output_file_ids, input_user_data_ids, output_user_data_ids,
            coalesce(resource_requirements_id, v_default_id, torc.fail_for_missing_requirements(p_workflow_id))
                AS resource_requirements_id,
            scheduler_id, failure_handler_id, attempt_id, priority, schedule_compute_nodes,
            nullif(coalesce(v_env || env, v_env, env), '{}') AS env,
            CASE WHEN labels <> '{}' THEN torc.join_labels(labels) ELSE '' END AS labels
        FROM (
            SELECT * FROM json_populate_recordset(NULL::torc.new_job, p_jobs) WITH ORDINALITY ORDER BY ordinality
        ) AS sent
    ),

    sent_edge AS NOT MATERIALIZED (
        SELECT new.id AS job_id, needed.id AS depends_on_job_id
        FROM new
        CROSS JOIN LATERAL unnest(new.depends_on_job_ids) AS needed (id)
        WHERE new.depends_on_job_ids IS NOT NULL
    ),

    dependency AS (
        SELECT id, status
        FROM torc.job
        WHERE id = ANY (ARRAY(SELECT depends_on_job_id FROM sent_edge)) AND workflow_id = p_workflow_id
        UNION ALL
        SELECT id, 'uninitialized' FROM new  -- a job of the array may depend on an earlier one
    ),

    edge AS MATERIALIZED (
        SELECT
            sent_edge.job_id,
            sent_edge.depends_on_job_id,
            CASE
                WHEN dependency.id < sent_edge.job_id THEN dependency.status
                -- So is an edge to a later job of the array, or to the job itself: it would be the start of a cycle.
                ELSE torc.fail_for_unknown(
                    'depends_on_job_ids', sent_edge.depends_on_job_id, p_workflow_id
                )::text::torc.job_status
            END AS status
        FROM sent_edge
        LEFT JOIN dependency ON dependency.id = sent_edge.depends_on_job_id
    ),

    satisfied AS (  -- mostly none
        SELECT job_id, count(*) AS complete, count(*) FILTER (WHERE torc.is_failed(status)) AS failed
        FROM edge
        WHERE torc.is_complete(status)
        GROUP BY job_id
    ),

    stored_job AS (
        INSERT INTO torc.job (
            id, workflow_id, name, command, invocation_script, cancel_on_blocking_job_failure, supports_termination,
            priority, resource_requirements_id, scheduler_id, failure_handler_id, open_dependencies,
            failed_dependencies, has_dependencies, has_links, env, labels
        )
        SELECT
            new.id, new.workflow_id, new.name, new.command, new.invocation_script,
            coalesce(new.cancel_on_blocking_job_failure, true), coalesce(new.supports_termination, false),
            coalesce(new.priority, 0), new.resource_requirements_id, new.scheduler_id, new.failure_handler_id,
            coalesce(cardinality(new.depends_on_job_ids), 0) - coalesce(satisfied.complete, 0),
            coalesce(satisfied.failed, 0),
            new.depends_on_job_ids IS NOT NULL,
            coalesce(
                new.input_file_ids, new.output_file_ids, new.input_user_data_ids, new.output_user_data_ids
            ) IS NOT NULL,
            new.env, new.labels
        FROM new
        LEFT JOIN satisfied ON satisfied.job_id = new.id
    ),

    stored_edge AS (
        INSERT INTO torc.job_depends_on (job_id, depends_on_job_id)
        SELECT job_id, depends_on_job_id FROM edge
    ),

    stored_input_file AS (
        INSERT INTO torc.job_input_file (job_id, file_id)
        SELECT new.id, coalesce(
            (SELECT file.id FROM torc.file WHERE file.id = sent.id AND workflow_id = p_workflow_id),
            torc.fail_for_unknown('input_file_ids', sent.id, p_workflow_id)::text::bigint
        )
        FROM new
        CROSS JOIN LATERAL unnest(new.input_file_ids) AS sent (id)
        WHERE new.input_file_ids IS NOT NULL
    ),

    stored_output_file AS (
        INSERT INTO torc.job_output_file (job_id, file_id)
        SELECT new.id, coalesce(
            (SELECT file.id FROM torc.file WHERE file.id = sent.id AND workflow_id = p_workflow_id),
            torc.fail_for_unknown('output_file_ids', sent.id, p_workflow_id)::text::bigint
        )
        FROM new
        CROSS JOIN LATERAL unnest(new.output_file_ids) AS sent (id)
        WHERE new.output_file_ids IS NOT NULL
    ),

    stored_input_user_data AS (
        INSERT INTO torc.job_input_user_data (job_id, user_data_id)
        SELECT new.id, coalesce(
            (SELECT user_data.id FROM torc.user_data WHERE user_data.id = sent.id AND workflow_id = p_workflow_id),
            torc.fail_for_unknown('input_user_data_ids', sent.id, p_workflow_id)::text::bigint
        )
        FROM new
        CROSS JOIN LATERAL unnest(new.input_user_data_ids) AS sent (id)
        WHERE new.input_user_data_ids IS NOT NULL
    ),

    stored_output_user_data AS (
        INSERT INTO torc.job_output_user_data (job_id, user_data_id)
        SELECT new.id, coalesce(
            (SELECT user_data.id FROM torc.user_data WHERE user_data.id = sent.id AND workflow_id = p_workflow_id),
            torc.fail_for_unknown('output_user_data_ids', sent.id, p_workflow_id)::text::bigint
        )
        FROM new
        CROSS JOIN LATERAL unnest(new.output_user_data_ids) AS sent (id)
        WHERE new.output_user_data_ids IS NOT NULL
    )

    SELECT concat(  -- as in job_json()
        '{"id":', new.id,
        ',"workflow_id":', new.workflow_id,
        ',"name":', to_json(new.name),
        ',"command":', to_json(new.command),
        ',"invocation_script":' || to_json(new.invocation_script)::text,
        ',"status":"uninitialized"',
        ',"cancel_on_blocking_job_failure":' || new.cancel_on_blocking_job_failure,
        ',"supports_termination":' || new.supports_termination,
        ',"depends_on_job_ids":' || to_json(new.depends_on_job_ids)::text,
        ',"input_file_ids":' || to_json(new.input_file_ids)::text,
        ',"output_file_ids":' || to_json(new.output_file_ids)::text,
        ',"input_user_data_ids":' || to_json(new.input_user_data_ids)::text,
        ',"output_user_data_ids":' || to_json(new.output_user_data_ids)::text,
        ',"resource_requirements_id":' || new.resource_requirements_id,
        ',"scheduler_id":' || new.scheduler_id,
        ',"failure_handler_id":' || new.failure_handler_id,
        ',"attempt_id":' || new.attempt_id,
        ',"priority":' || new.priority,
        ',"env":' || new.env::text,
        ',"labels":' || torc.labels_json(new.labels),
        ',"schedule_compute_nodes":' || json_strip_nulls(new.schedule_compute_nodes)::text,
        '}'
    )::json
    FROM new;
END
$$;

CREATE OR REPLACE FUNCTION torc.labels_json(p_labels text)
RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN p_labels <> '' THEN to_json(string_to_array(p_labels, ','))::text END
$$;

CREATE OR REPLACE FUNCTION torc.check_new_jobs()
RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    v_workflow_id bigint;
BEGIN
    FOR v_workflow_id IN SELECT DISTINCT workflow_id FROM new_job LOOP
        PERFORM 1 FROM torc.workflow WHERE id = v_workflow_id FOR KEY SHARE;
        IF NOT FOUND THEN
            PERFORM torc.fail('TC404', format('Workflow not found with ID: %s', v_workflow_id));
        END IF;
        PERFORM torc.keep_references(v_workflow_id, 'resource_requirements_id', ARRAY(
            SELECT DISTINCT resource_requirements_id FROM new_job WHERE workflow_id = v_workflow_id
        ));
        PERFORM torc.keep_references(v_workflow_id, 'failure_handler_id', ARRAY(
            SELECT DISTINCT failure_handler_id FROM new_job WHERE workflow_id = v_workflow_id
        ));
        PERFORM torc.keep_references(v_workflow_id, 'compute_node_id', ARRAY(
            SELECT DISTINCT active_compute_node_id FROM new_job WHERE workflow_id = v_workflow_id
        ));
    END LOOP;
    RETURN NULL;
END
$$;
