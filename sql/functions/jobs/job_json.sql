-- A job as JSON text: the one form of all answers. What is NULL is left out. p_is_stored: the values are those of a
-- row, so that columns that are NOT NULL need no test. Inlined into the calling statement, where fields that are NULL,
-- and these tests, cost nothing.
-- concat() skips a piece that is NULL: 2.3 µs. json_build_object() with json_strip_nulls() took 6.7, which was most of
-- the time of a list. A statement that makes one answer pays most for the preparation of this expression: 12 µs, and 17
-- where numbers were made into text by || (benchmarks/decisions/hot_statements). concat() prepares each argument when
-- it is first called: hence those within, for what is mostly NULL. So claims take as long as with a separate form, and
-- creates 7 % less (job_forms).
CREATE OR REPLACE FUNCTION torc.job_text(
    p_id bigint,
    p_workflow_id bigint,
    p_name text,
    p_command text,
    p_invocation_script text,
    p_status torc.job_status,
    p_cancel_on_blocking_job_failure boolean,
    p_supports_termination boolean,
    p_depends_on_job_ids bigint[],
    p_input_file_ids bigint[],
    p_output_file_ids bigint[],
    p_input_user_data_ids bigint[],
    p_output_user_data_ids bigint[],
    p_resource_requirements_id bigint,
    p_scheduler_id bigint,
    p_failure_handler_id bigint,
    p_attempt_id bigint,
    p_priority bigint,
    p_env jsonb,
    p_labels text,
    p_origin text,
    p_compute_node_id bigint,
    p_start_time timestamptz,
    p_schedule_compute_nodes json,
    p_is_stored boolean
)
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT concat(
        '{"id":', p_id,
        ',"workflow_id":', p_workflow_id,
        ',"name":', to_json(p_name),
        ',"command":', to_json(p_command),
        CASE
            WHEN p_invocation_script IS NOT NULL THEN concat(',"invocation_script":', to_json(p_invocation_script))
        END,
        ',"status":"', p_status,
        CASE
            WHEN p_cancel_on_blocking_job_failure THEN '","cancel_on_blocking_job_failure":true'
            WHEN p_is_stored OR NOT p_cancel_on_blocking_job_failure THEN '","cancel_on_blocking_job_failure":false'
            ELSE '"'
        END,
        CASE
            WHEN p_supports_termination THEN ',"supports_termination":true'
            WHEN p_is_stored OR NOT p_supports_termination THEN ',"supports_termination":false'
        END,
        ',"depends_on_job_ids":' || to_json(p_depends_on_job_ids)::text,
        ',"input_file_ids":' || to_json(p_input_file_ids)::text,
        ',"output_file_ids":' || to_json(p_output_file_ids)::text,
        ',"input_user_data_ids":' || to_json(p_input_user_data_ids)::text,
        ',"output_user_data_ids":' || to_json(p_output_user_data_ids)::text,
        ',"resource_requirements_id":', p_resource_requirements_id,
        CASE WHEN p_scheduler_id IS NOT NULL THEN concat(',"scheduler_id":', p_scheduler_id) END,
        CASE WHEN p_failure_handler_id IS NOT NULL THEN concat(',"failure_handler_id":', p_failure_handler_id) END,
        CASE WHEN p_is_stored OR p_attempt_id IS NOT NULL THEN ',"attempt_id":' END, p_attempt_id,
        CASE WHEN p_is_stored OR p_priority IS NOT NULL THEN ',"priority":' END, p_priority,
        CASE WHEN p_env IS NOT NULL THEN concat(',"env":', p_env) END,
        CASE WHEN p_labels <> '' THEN concat(',"labels":', torc.labels_json(p_labels)) END,
        CASE WHEN p_origin IS NOT NULL THEN concat(',"origin":"', p_origin, '"') END,
        CASE WHEN p_compute_node_id IS NOT NULL THEN concat(
            ',"compute_node_id":', p_compute_node_id,
            CASE WHEN p_start_time IS NOT NULL THEN concat(',"start_time":"', torc.time_json(p_start_time), '"') END
        ) END,
        CASE
            WHEN p_schedule_compute_nodes IS NOT NULL
                THEN concat(',"schedule_compute_nodes":', p_schedule_compute_nodes, '}')
            ELSE '}'
        END
    )
$$;

-- A stored job as it goes on the wire, with the given relations, of which empty lists are left out. Inlined.
CREATE OR REPLACE FUNCTION torc.job_json(
    j torc.job,
    p_depends_on_job_ids bigint[] DEFAULT NULL,
    p_input_file_ids bigint[] DEFAULT NULL,
    p_output_file_ids bigint[] DEFAULT NULL,
    p_input_user_data_ids bigint[] DEFAULT NULL,
    p_output_user_data_ids bigint[] DEFAULT NULL
)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT torc.job_text(
        j.id, j.workflow_id, j.name, j.command, j.invocation_script, j.status, j.cancel_on_blocking_job_failure,
        j.supports_termination,
        nullif(p_depends_on_job_ids, '{}'), nullif(p_input_file_ids, '{}'), nullif(p_output_file_ids, '{}'),
        nullif(p_input_user_data_ids, '{}'), nullif(p_output_user_data_ids, '{}'),
        j.resource_requirements_id, j.scheduler_id, j.failure_handler_id, j.attempt_id, j.priority, j.env, j.labels,
        j.origin, j.active_compute_node_id, j.start_time, NULL, true
    )::json
$$;

-- Adds dependencies, if there are any, to what job_json() has made of a job without its relations. Inlined. For
-- functions whose UPDATE makes the answer and tells only then whether the job may have dependencies: a subquery in that
-- UPDATE costs every job 4 µs, and a second query for the whole answer 36 (benchmarks/decisions/added_dependencies).
CREATE OR REPLACE FUNCTION torc.add_dependencies(p_job json, p_depends_on_job_ids bigint[])
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT concat(
        left(p_job::text, -1), ',"depends_on_job_ids":' || to_json(nullif(p_depends_on_job_ids, '{}'))::text, '}'
    )::json
$$;

-- One job with its five relation lists, each ascending. Every transition answers with it: 31 µs with all look-ups, 15
-- with that of the dependencies, 8 with none.
-- plpgsql, so that its plans are kept.
CREATE OR REPLACE FUNCTION torc.job_with_relations_json(p_job torc.job)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF p_job.has_links THEN
        RETURN torc.job_json(
            p_job,
            ARRAY(SELECT depends_on_job_id FROM torc.job_depends_on WHERE job_id = p_job.id ORDER BY 1),
            ARRAY(SELECT file_id FROM torc.job_input_file WHERE job_id = p_job.id ORDER BY 1),
            ARRAY(SELECT file_id FROM torc.job_output_file WHERE job_id = p_job.id ORDER BY 1),
            ARRAY(SELECT user_data_id FROM torc.job_input_user_data WHERE job_id = p_job.id ORDER BY 1),
            ARRAY(SELECT user_data_id FROM torc.job_output_user_data WHERE job_id = p_job.id ORDER BY 1)
        );
    END IF;
    IF p_job.has_dependencies THEN
        RETURN torc.job_json(
            p_job, ARRAY(SELECT depends_on_job_id FROM torc.job_depends_on WHERE job_id = p_job.id ORDER BY 1)
        );
    END IF;
    RETURN torc.job_json(p_job);
END
$$;

CREATE OR REPLACE FUNCTION torc.job_with_relations_json(p_job_id bigint)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (SELECT torc.job_with_relations_json(job) FROM torc.job AS job WHERE id = p_job_id);
END
$$;

-- get_job: job_with_relations_json() with the access check; the row is read once. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.get_job(p_job_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_workflow_id bigint;
    v_answer json;
BEGIN
    SELECT job.workflow_id, torc.job_with_relations_json(job)
    INTO v_workflow_id, v_answer
    FROM torc.job AS job
    WHERE id = p_job_id;
    PERFORM torc.authorize_workflow(coalesce(v_workflow_id, torc.workflow_of_job(p_job_id)), p_caller);
    RETURN v_answer;
END
$$;
