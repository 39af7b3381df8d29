-- Makes a workflow with all that is in it, or nothing; answers its id. p_plan: workflow (a WorkflowModel),
-- resource_requirements, files and jobs (lists of models without ids). A job has, as places in these lists, its
-- requirement, the files that it reads and writes, and the jobs that it comes after; and its level: the jobs that it
-- comes after have lower ones. p_initialize: its jobs become ready or blocked.
-- Locks: workflow exclusive. Raises TC403, TC422.
CREATE OR REPLACE FUNCTION torc.create_from_plan(p_plan jsonb, p_initialize boolean, p_caller torc.caller DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_workflow_id bigint := (torc.create_workflow(p_plan -> 'workflow', p_caller) ->> 'id')::bigint;
    v_of_workflow jsonb := jsonb_build_object('workflow_id', v_workflow_id);
    v_requirements bigint[];
    v_files bigint[];
    v_ids bigint[];
    v_places bigint[];
    v_jobs json;
BEGIN
    v_requirements := ARRAY(
        SELECT (torc.create_resource_requirements(given.value || v_of_workflow, p_caller) ->> 'id')::bigint
        FROM jsonb_array_elements(p_plan -> 'resource_requirements') WITH ORDINALITY AS given
        ORDER BY given.ordinality
    );
    v_files := ARRAY(
        SELECT (file ->> 'id')::bigint
        FROM torc.create_files(v_workflow_id, (
            SELECT coalesce(json_agg(given.value || v_of_workflow ORDER BY given.ordinality), '[]')
            FROM jsonb_array_elements(p_plan -> 'files') WITH ORDINALITY AS given
        ), p_caller) AS file
    );
    v_ids := array_fill(NULL::bigint, ARRAY[jsonb_array_length(p_plan -> 'jobs')]);
    FOR v_places, v_jobs IN
        SELECT
            array_agg(given.ordinality ORDER BY given.ordinality),
            json_agg(given.value ORDER BY given.ordinality)
        FROM jsonb_array_elements(p_plan -> 'jobs') WITH ORDINALITY AS given
        GROUP BY (given.value ->> 'level')::integer
        ORDER BY (given.value ->> 'level')::integer
    LOOP
        v_jobs := (
            SELECT json_agg(
                job.value - '{level,after,requirement,reads,writes}'::text[] || v_of_workflow
                || jsonb_strip_nulls(jsonb_build_object(
                    'resource_requirements_id', v_requirements[(job.value ->> 'requirement')::integer + 1],
                    'depends_on_job_ids', torc.at_places(v_ids, job.value -> 'after'),
                    'input_file_ids', torc.at_places(v_files, job.value -> 'reads'),
                    'output_file_ids', torc.at_places(v_files, job.value -> 'writes')
                ))
                ORDER BY job.ordinality
            )
            FROM jsonb_array_elements(v_jobs::jsonb) WITH ORDINALITY AS job
        );
        SELECT torc.put_at(v_ids, v_places, array_agg((job::json ->> 'id')::bigint)) INTO v_ids
        FROM torc.create_jobs(v_workflow_id, v_jobs, p_caller) AS job;
    END LOOP;
    IF p_initialize THEN
        PERFORM torc.initialize_jobs(v_workflow_id, false, false, false, p_caller);
    END IF;
    RETURN v_workflow_id;
END
$$;

-- The elements of an array at places that count from 0, ascending, as JSON; NULL for none.
CREATE OR REPLACE FUNCTION torc.at_places(p_values bigint[], p_places jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT jsonb_agg(p_values[place::integer + 1] ORDER BY p_values[place::integer + 1])
    FROM jsonb_array_elements_text(p_places) AS place
$$;

-- The array with other values at some places, which count from 1.
CREATE OR REPLACE FUNCTION torc.put_at(p_values bigint[], p_places bigint[], p_new bigint[])
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    FOR i IN 1 .. coalesce(cardinality(p_places), 0) LOOP
        p_values[p_places[i]::integer] := p_new[i];
    END LOOP;
    RETURN p_values;
END
$$;
