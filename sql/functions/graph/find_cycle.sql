-- Finds cycles among the blocked jobs of a workflow, which would wait for each other for ever. Jobs of other statuses
-- do not count: a cycle through a job that is complete, disabled or may be claimed can run, or waits for a decision.

-- Raises TC422 if there is a cycle, or a job that consumes what it produces itself. For initialize_jobs, once it has
-- set the statuses: which jobs wait depends on the mode. If every edge points to a lower id there is no cycle; edges
-- that do not are in an index.
CREATE OR REPLACE FUNCTION torc.refuse_cycle(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_cycle bigint[];
BEGIN
    IF EXISTS (
        SELECT 1
        FROM torc.job AS job
        CROSS JOIN LATERAL (
            SELECT 1 FROM torc.job_depends_on WHERE job_id = job.id AND depends_on_job_id > job_id OFFSET 0
        ) AS upward
        WHERE job.workflow_id = p_workflow_id AND (job.has_dependencies OR job.has_links)
    ) THEN
        v_cycle := torc.find_cycle(p_workflow_id);
    END IF;
    v_cycle := coalesce(v_cycle, torc.find_self_dependent_job(p_workflow_id));
    IF v_cycle IS NOT NULL THEN
        PERFORM torc.fail_for_cycle(v_cycle);
    END IF;
END
$$;

-- The first job that consumes what it produces itself, as a cycle of one, or NULL. Complete and disabled jobs do not
-- count.
CREATE OR REPLACE FUNCTION torc.find_self_dependent_job(p_workflow_id bigint)
RETURNS bigint[]
LANGUAGE sql STABLE
AS $$
    SELECT ARRAY[min(job.id)]
    FROM torc.job AS job
    WHERE job.workflow_id = p_workflow_id
        AND job.has_links
        AND torc.is_open(job.status)
        AND (
            EXISTS (
                SELECT 1
                FROM torc.job_input_file AS input
                WHERE job_id = job.id
                    AND EXISTS (
                        SELECT 1 FROM torc.job_output_file WHERE job_id = job.id AND file_id = input.file_id OFFSET 0
                    )
                OFFSET 0
            )
            OR EXISTS (
                SELECT 1
                FROM torc.job_input_user_data AS input
                WHERE job_id = job.id
                    AND EXISTS (
                        SELECT 1
                        FROM torc.job_output_user_data
                        WHERE job_id = job.id AND user_data_id = input.user_data_id
                        OFFSET 0
                    )
                OFFSET 0
            )
        )
    HAVING count(*) > 0
$$;

-- Names the jobs of a cycle, and how to break it. Raises TC422.
CREATE OR REPLACE FUNCTION torc.fail_for_cycle(p_job_ids bigint[])
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.fail(
        'TC422',
        format(
            'The dependencies form a cycle: %s. Delete one of these jobs to break it: DELETE /jobs/%s',
            (
                SELECT string_agg(format('job %s (%s)', job.id, job.name), ' waits for ' ORDER BY member.position)
                FROM unnest(p_job_ids || p_job_ids[1]) WITH ORDINALITY AS member (id, position)
                CROSS JOIN LATERAL (SELECT id, name FROM torc.job WHERE id = member.id OFFSET 0) AS job
            ),
            p_job_ids[1]
        ),
        jsonb_build_object('field', 'depends_on_job_ids', 'job_ids', p_job_ids)
    );
END
$$;

-- The ids of one cycle among the blocked jobs, each waiting for the next, or NULL.
CREATE OR REPLACE FUNCTION torc.find_cycle(p_workflow_id bigint)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN torc.find_cycle_among(ARRAY(
        SELECT id
        FROM torc.job
        WHERE workflow_id = p_workflow_id AND status = 'blocked'
        ORDER BY status, id
    ));
END
$$;

-- The ids of one cycle among given jobs, or NULL. 0.4 s of CPU for 100,000 jobs.
CREATE OR REPLACE FUNCTION torc.find_cycle_among(p_job_ids bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_order integer[];
BEGIN
    SELECT torc.order_jobs(
        cardinality(p_job_ids), coalesce(array_agg(dependency), '{}'), coalesce(array_agg(dependent), '{}')
    )
    INTO v_order
    FROM torc.edges_among(p_job_ids);
    IF cardinality(v_order) = cardinality(p_job_ids) THEN
        RETURN NULL;
    END IF;
    RETURN torc.walk_into_cycle(ARRAY(
        SELECT given.id
        FROM unnest(p_job_ids) WITH ORDINALITY AS given (id, number)
        LEFT JOIN unnest(v_order) AS taken (job) ON taken.job = given.number
        WHERE taken.job IS NULL
        ORDER BY given.number
    ));
END
$$;

-- The edges between the given jobs, which are numbered by their place in the array.
CREATE OR REPLACE FUNCTION torc.edges_among(p_job_ids bigint[])
RETURNS TABLE (dependency integer, dependent integer)
LANGUAGE sql STABLE
AS $$
    WITH node AS MATERIALIZED (
        SELECT id, number::integer FROM unnest(p_job_ids) WITH ORDINALITY AS given (id, number)
    )

    SELECT dependency.number, dependent.number
    FROM (
        SELECT node.number, needed.job_id AS dependency_id
        FROM node
        CROSS JOIN LATERAL torc.dependencies_of(node.id) AS needed
        OFFSET 0
    ) AS dependent
    INNER JOIN node AS dependency ON dependency.id = dependent.dependency_id
$$;

-- Given jobs that each wait for another one of them: walks from dependency to dependency until a job comes again, and
-- returns the jobs from there on, each waiting for the next.
CREATE OR REPLACE FUNCTION torc.walk_into_cycle(p_job_ids bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_dependency integer[];                                    -- number -> number of one dependency
    v_seen integer[] := array_fill(0, ARRAY[cardinality(p_job_ids)]);  -- number -> its step
    v_path bigint[] := '{}';
    v_at integer := 1;
BEGIN
    SELECT array_agg(chosen.dependency ORDER BY chosen.dependent) INTO v_dependency
    FROM (
        SELECT dependent, min(dependency) AS dependency FROM torc.edges_among(p_job_ids) GROUP BY dependent
    ) AS chosen;
    WHILE v_seen[v_at] = 0 LOOP
        v_path := array_append(v_path, p_job_ids[v_at]);
        v_seen[v_at] := cardinality(v_path);
        v_at := v_dependency[v_at];
    END LOOP;
    RETURN v_path[v_seen[v_at]:];
END
$$;
