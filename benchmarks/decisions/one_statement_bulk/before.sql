-- create_jobs() with the jobs in an array of records, which each of its statements unpacked.
DROP FUNCTION torc.create_jobs;
CREATE FUNCTION torc.create_jobs(p_workflow_id bigint, p_jobs json, p_caller torc.caller DEFAULT NULL)
RETURNS SETOF json
LANGUAGE plpgsql
AS $$
DECLARE
    v_jobs torc.new_job[];
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    v_jobs := torc.number_new_jobs(p_workflow_id, p_jobs);
    IF p_caller.enforced THEN
        PERFORM torc.authorize_references(
            p_workflow_id, 'resource_requirements_id',
            ARRAY(SELECT DISTINCT resource_requirements_id FROM unnest(v_jobs)), p_caller
        );
        PERFORM torc.authorize_references(
            p_workflow_id, 'failure_handler_id',
            ARRAY(SELECT DISTINCT failure_handler_id FROM unnest(v_jobs)), p_caller
        );
    END IF;
    INSERT INTO torc.job (
        id, workflow_id, name, command, invocation_script, cancel_on_blocking_job_failure, supports_termination,
        priority, resource_requirements_id, scheduler_id, failure_handler_id, open_dependencies, failed_dependencies,
        has_dependencies, has_links, env, labels
    )
    SELECT
        new.id, new.workflow_id, new.name, new.command, new.invocation_script,
        coalesce(new.cancel_on_blocking_job_failure, true), coalesce(new.supports_termination, false),
        coalesce(new.priority, 0), new.resource_requirements_id, new.scheduler_id, new.failure_handler_id,
        coalesce(cardinality(new.depends_on_job_ids), 0) - dependencies.complete, dependencies.failed,
        new.depends_on_job_ids IS NOT NULL,
        coalesce(
            new.input_file_ids, new.output_file_ids, new.input_user_data_ids, new.output_user_data_ids
        ) IS NOT NULL,
        new.env, CASE WHEN new.labels IS NULL THEN '' ELSE array_to_string(new.labels, ',') END
    FROM unnest(v_jobs) AS new
    CROSS JOIN LATERAL (
        SELECT
            count(*) FILTER (WHERE torc.is_complete(status)) AS complete,
            count(*) FILTER (WHERE torc.is_failed(status)) AS failed
        FROM (
            SELECT (SELECT status FROM torc.job WHERE id = dependency.id) AS status
            FROM unnest(new.depends_on_job_ids) AS dependency (id)
            OFFSET 0  -- one look-up, not one for each use of it
        ) AS dependency
    ) AS dependencies;
    PERFORM torc.relate_new_jobs(p_workflow_id, v_jobs);
    RETURN QUERY
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
        ',"labels":' || to_json(new.labels)::text,
        ',"schedule_compute_nodes":' || json_strip_nulls(new.schedule_compute_nodes)::text,
        '}'
    )::json
    FROM unnest(v_jobs) AS new;
END
$$;

-- The models as an array, with ids in the order of the request and the default requirements filled in, the env of the
-- workflow under that of each job, and labels sorted.
CREATE OR REPLACE FUNCTION torc.number_new_jobs(p_workflow_id bigint, p_jobs json)
RETURNS torc.new_job[]
LANGUAGE plpgsql
AS $$
DECLARE
    v_ids regclass := pg_get_serial_sequence('torc.job', 'id');
    v_jobs torc.new_job[];
    v_default_id bigint;
    v_env jsonb := (SELECT env FROM torc.workflow WHERE id = p_workflow_id);
    v_other bigint;
BEGIN
    v_default_id := (  -- not min(id), for which the requirements of all workflows may be read
        SELECT (array_agg(id ORDER BY id))[1]
        FROM torc.resource_requirements
        WHERE workflow_id = p_workflow_id AND name = 'default'
    );

    SELECT array_agg((
        nextval(v_ids), workflow_id, name, command, invocation_script,
        cancel_on_blocking_job_failure, supports_termination, depends_on_job_ids, input_file_ids, output_file_ids,
        input_user_data_ids, output_user_data_ids, coalesce(resource_requirements_id, v_default_id), scheduler_id,
        failure_handler_id, attempt_id, priority, schedule_compute_nodes,
        nullif(coalesce(v_env || env, v_env, env), '{}'),
        CASE WHEN labels <> '{}' THEN string_to_array(torc.join_labels(labels), ',') END
    )::torc.new_job)
    INTO v_jobs
    FROM (
        SELECT * FROM json_populate_recordset(NULL::torc.new_job, p_jobs) WITH ORDINALITY ORDER BY ordinality
    ) AS sent;

    SELECT workflow_id INTO v_other FROM unnest(v_jobs) WHERE workflow_id <> p_workflow_id LIMIT 1;
    IF FOUND THEN
        PERFORM torc.fail(
            'TC422',
            format(
                'All jobs in a batch must have the same workflow_id. Found workflow_ids: %s and %s', p_workflow_id, v_other
            ),
            jsonb_build_object('field', 'workflow_id', 'value', v_other)
        );
    END IF;
    IF v_default_id IS NULL AND EXISTS (SELECT 1 FROM unnest(v_jobs) WHERE resource_requirements_id IS NULL) THEN
        PERFORM torc.fail(
            'TC422',
            format(
                'resource_requirements_id is missing, and workflow %s has no resource requirements named default',
                p_workflow_id
            ),
            jsonb_build_object('field', 'resource_requirements_id')
        );
    END IF;
    RETURN v_jobs;
END
$$;

-- Stores the five relation lists of new jobs. Raises TC422 for an id that is not in the workflow.
CREATE OR REPLACE FUNCTION torc.relate_new_jobs(p_workflow_id bigint, p_jobs torc.new_job[])
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.refuse_unknown_relations(p_workflow_id, p_jobs);
    INSERT INTO torc.job_depends_on (job_id, depends_on_job_id)
    SELECT id, unnest(depends_on_job_ids) FROM unnest(p_jobs);
    INSERT INTO torc.job_input_file (job_id, file_id)
    SELECT id, unnest(input_file_ids) FROM unnest(p_jobs);
    INSERT INTO torc.job_output_file (job_id, file_id)
    SELECT id, unnest(output_file_ids) FROM unnest(p_jobs);
    INSERT INTO torc.job_input_user_data (job_id, user_data_id)
    SELECT id, unnest(input_user_data_ids) FROM unnest(p_jobs);
    INSERT INTO torc.job_output_user_data (job_id, user_data_id)
    SELECT id, unnest(output_user_data_ids) FROM unnest(p_jobs);
END
$$;

-- Names the first relation of new jobs whose row is not in the workflow. Raises TC422.
CREATE OR REPLACE FUNCTION torc.refuse_unknown_relations(p_workflow_id bigint, p_jobs torc.new_job[])
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_unknown record;
BEGIN
    WITH wanted AS (
        SELECT 'depends_on_job_ids' AS field, id AS job_id, unnest(depends_on_job_ids) AS id FROM unnest(p_jobs)
        UNION ALL
        SELECT 'input_file_ids', id, unnest(input_file_ids) FROM unnest(p_jobs)
        UNION ALL
        SELECT 'output_file_ids', id, unnest(output_file_ids) FROM unnest(p_jobs)
        UNION ALL
        SELECT 'input_user_data_ids', id, unnest(input_user_data_ids) FROM unnest(p_jobs)
        UNION ALL
        SELECT 'output_user_data_ids', id, unnest(output_user_data_ids) FROM unnest(p_jobs)
    )

    SELECT wanted.field, wanted.id INTO v_unknown
    FROM wanted
    WHERE p_workflow_id IS DISTINCT FROM CASE
        -- An edge to a later job of the same array, or to itself, would be the start of a cycle.
        WHEN field = 'depends_on_job_ids' AND wanted.id >= wanted.job_id THEN NULL
        WHEN field = 'depends_on_job_ids' THEN (SELECT workflow_id FROM torc.job WHERE id = wanted.id)
        WHEN field IN ('input_file_ids', 'output_file_ids') THEN (SELECT workflow_id FROM torc.file WHERE id = wanted.id)
        ELSE (SELECT workflow_id FROM torc.user_data WHERE id = wanted.id)
    END
    LIMIT 1;
    IF FOUND THEN
        PERFORM torc.fail_for_unknown(v_unknown.field, v_unknown.id, p_workflow_id);
    END IF;
END
$$;
