-- Creates jobs from a JSON array of JobModels, all or none, and returns each as it was sent, with id, status and
-- requirements, as JSON text (a cast to json would read it once more); in the order of the array, with ascending ids.
-- Related rows must belong to the workflow; a job may depend on stored jobs and on earlier ones of the array. Jobs
-- without requirements get the record named default, each job the env of the workflow under its own.
-- p_jobs holds valid models (types, no unknown nulls, no id twice in a list): the schemas see to that.
-- Locks: workflow exclusive (an edge made while its dependency completes would leave a wrong counter).
-- Raises TC404, TC403, TC422.
-- One statement does it all, because then the jobs are never packed into an array of records, and their dependencies
-- are read once (benchmarks/decisions/one_statement_bulk). What is wrong raises where it is read, before the keys
-- are checked. The plan is made once for each connection, and leaves no choice: look-ups by id, and joins by hashing.
-- Lists are unpacked in a select list, which takes half of what LATERAL takes (benchmarks/decisions/bulk_texts).
CREATE OR REPLACE FUNCTION torc.create_jobs(p_workflow_id bigint, p_jobs json, p_caller torc.caller DEFAULT NULL)
RETURNS SETOF text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
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

    sent_edge AS MATERIALIZED (
        SELECT id AS job_id, unnest(depends_on_job_ids) AS depends_on_job_id
        FROM new
        WHERE depends_on_job_ids IS NOT NULL
    ),

    dependency AS (
        SELECT id, status
        FROM torc.job
        WHERE id = ANY (ARRAY(SELECT depends_on_job_id FROM sent_edge)) AND workflow_id = p_workflow_id
    ),

    edge AS MATERIALIZED (
        SELECT
            sent_edge.job_id,
            sent_edge.depends_on_job_id,
            CASE
                WHEN dependency.id < sent_edge.job_id THEN dependency.status
                WHEN
                    sent_edge.depends_on_job_id < sent_edge.job_id
                    AND sent_edge.depends_on_job_id IN (SELECT id FROM new)  -- an earlier one of the array
                    THEN 'uninitialized'::torc.job_status
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

    SELECT torc.job_text(
        new.id, new.workflow_id, new.name, new.command, new.invocation_script, 'uninitialized',
        new.cancel_on_blocking_job_failure, new.supports_termination, new.depends_on_job_ids, new.input_file_ids,
        new.output_file_ids, new.input_user_data_ids, new.output_user_data_ids, new.resource_requirements_id,
        new.scheduler_id, new.failure_handler_id, new.attempt_id, new.priority, new.env, new.labels, NULL, NULL, NULL,
        json_strip_nulls(new.schedule_compute_nodes), false
    )
    FROM new;
END
$$;

-- Raises TC422 for requirements and failure handlers that the caller may not name.
CREATE OR REPLACE FUNCTION torc.authorize_references_of_jobs(p_workflow_id bigint, p_jobs json, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_requirement_ids bigint[];
    v_handler_ids bigint[];
BEGIN
    SELECT array_agg(DISTINCT resource_requirements_id), array_agg(DISTINCT failure_handler_id)
    INTO v_requirement_ids, v_handler_ids
    FROM json_to_recordset(p_jobs) AS job (resource_requirements_id bigint, failure_handler_id bigint);
    PERFORM torc.authorize_references(p_workflow_id, 'resource_requirements_id', v_requirement_ids, p_caller);
    PERFORM torc.authorize_references(p_workflow_id, 'failure_handler_id', v_handler_ids, p_caller);
END
$$;

-- Raises TC422: a job is of another workflow than the first one. It is called in an expression, hence the type.
CREATE OR REPLACE FUNCTION torc.fail_for_other_workflow(p_workflow_id bigint, p_other bigint)
RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.fail(
        'TC422',
        format(
            'All jobs in a batch must have the same workflow_id. Found workflow_ids: %s and %s', p_workflow_id, p_other
        ),
        jsonb_build_object('field', 'workflow_id', 'value', p_other)
    );
    RETURN NULL;
END
$$;

-- Raises TC422: a job has no requirements, and there are none named default.
CREATE OR REPLACE FUNCTION torc.fail_for_missing_requirements(p_workflow_id bigint)
RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.fail(
        'TC422',
        format(
            'resource_requirements_id is missing, and workflow %s has no resource requirements named default',
            p_workflow_id
        ),
        jsonb_build_object('field', 'resource_requirements_id')
    );
    RETURN NULL;
END
$$;
