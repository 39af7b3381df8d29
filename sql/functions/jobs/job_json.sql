-- A job as it goes on the wire: unset columns and empty lists are left out. Inlined into the calling statement.
-- Put together as text, where concat() skips a piece that is NULL: 2.3 µs. json_build_object() with json_strip_nulls()
-- took 6.7, which was most of the time of a list. A statement that makes one answer pays most for the preparation of
-- this expression: 12 µs, and 17 where numbers were made into text by || (benchmarks/decisions/hot_statements).
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
    SELECT concat(
        '{"id":', j.id,
        ',"workflow_id":', j.workflow_id,
        ',"name":', to_json(j.name),
        ',"command":', to_json(j.command),
        CASE
            WHEN j.invocation_script IS NOT NULL THEN concat(',"invocation_script":', to_json(j.invocation_script))
        END,
        ',"status":"', j.status,
        CASE
            WHEN j.cancel_on_blocking_job_failure THEN '","cancel_on_blocking_job_failure":true'
            ELSE '","cancel_on_blocking_job_failure":false'
        END,
        CASE WHEN j.supports_termination THEN ',"supports_termination":true' ELSE ',"supports_termination":false' END,
        ',"depends_on_job_ids":' || to_json(nullif(p_depends_on_job_ids, '{}'))::text,
        ',"input_file_ids":' || to_json(nullif(p_input_file_ids, '{}'))::text,
        ',"output_file_ids":' || to_json(nullif(p_output_file_ids, '{}'))::text,
        ',"input_user_data_ids":' || to_json(nullif(p_input_user_data_ids, '{}'))::text,
        ',"output_user_data_ids":' || to_json(nullif(p_output_user_data_ids, '{}'))::text,
        ',"resource_requirements_id":', j.resource_requirements_id,
        CASE WHEN j.scheduler_id IS NOT NULL THEN concat(',"scheduler_id":', j.scheduler_id) END,
        CASE WHEN j.failure_handler_id IS NOT NULL THEN concat(',"failure_handler_id":', j.failure_handler_id) END,
        ',"attempt_id":', j.attempt_id,
        ',"priority":', j.priority,
        CASE WHEN j.env IS NOT NULL THEN concat(',"env":', j.env) END,
        CASE WHEN j.labels <> '' THEN concat(',"labels":', torc.labels_json(j.labels)) END,
        CASE WHEN j.origin IS NOT NULL THEN concat(',"origin":"', j.origin, '"') END,
        CASE WHEN j.active_compute_node_id IS NOT NULL THEN concat(
            ',"compute_node_id":', j.active_compute_node_id,
            CASE WHEN j.start_time IS NOT NULL THEN concat(',"start_time":"', torc.time_json(j.start_time), '"') END
        ) END,
        '}'
    )::json
$$;

-- A time as it goes on the wire, without quotation marks. Inlined.
CREATE OR REPLACE FUNCTION torc.time_json(p_time timestamptz)
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT to_char(p_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
$$;

-- Labels as they are stored, as a JSON list; NULL for none. Inlined, and so not IMMUTABLE: to_json() is not.
CREATE OR REPLACE FUNCTION torc.labels_json(p_labels text)
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN p_labels <> '' THEN to_json(string_to_array(p_labels, ','))::text END
$$;

-- Labels as they are stored: sorted, each once, joined by commas.
CREATE OR REPLACE FUNCTION torc.join_labels(p_labels text[])
RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(string_agg(label, ',' ORDER BY label COLLATE "C"), '')
    FROM (SELECT DISTINCT unnest(p_labels) AS label) AS given
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

-- get_job: the same, with the access check; the row is read once.
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
