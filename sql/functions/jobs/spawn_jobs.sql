-- Adds jobs to a workflow that wait for the running job that asks for them, and for whatever else they name; the jobs
-- of one call are a generation of a lineage. They are blocked until the asking job is complete, and canceled with it.
-- p_request: {jobs, lineage, state}. jobs: objects {name, command, resource_requirements, priority,
-- cancel_on_blocking_job_failure, depends_on, labels}, no name twice: the schema sees to that. lineage: by default the
-- name of the asking job. state: any JSON, kept in the record of the generation.
-- Answers {spawned_job_ids, iteration}: the ids in the order of the request, and the number of generations. Sent again,
-- when jobs of all these names exist, it answers their ids and changes nothing. Without jobs, the state is the final
-- one of the lineage; without a state nothing is changed.
-- Costs so much per job and edge of the request, and per job that was created since the last call, however many jobs
-- the workflow has.
-- Locks: workflow exclusive (edges are made). Raises TC404, TC403, TC422 (the asking job is not running, some names
-- exist and some do not, too many generations, unknown requirements, a cycle, an unknown dependency).
CREATE OR REPLACE FUNCTION torc.spawn_jobs(p_job_id bigint, p_request jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_workflow_id bigint := torc.workflow_of_job(p_job_id);
    v_spawner torc.job;
    v_lineage text;
    v_generation bigint;
    v_jobs jsonb := p_request -> 'jobs';
    v_job_ids bigint[];
BEGIN
    PERFORM torc.lock_workflow(v_workflow_id, p_caller);
    SELECT * INTO v_spawner FROM torc.job WHERE id = p_job_id;
    IF NOT FOUND THEN  -- deleted during the wait
        PERFORM torc.fail('TC404', format('Job not found with ID: %s', p_job_id));
    END IF;
    IF v_spawner.status <> 'running' THEN
        PERFORM torc.fail('TC422', format(
            'spawn_jobs requires the calling job to be Running (job_id=%s is %s); only a job that runs may add jobs '
            'that wait for it', p_job_id, replace(initcap(replace(v_spawner.status::text, '_', ' ')), ' ', '')
        ));
    END IF;
    v_lineage := coalesce(p_request ->> 'lineage', v_spawner.name);
    v_generation := torc.last_generation(v_workflow_id, v_lineage);

    IF v_jobs = '[]' THEN
        IF p_request ? 'state' THEN
            PERFORM torc.store_lineage_record(
                v_workflow_id, v_lineage, 'final', v_generation, p_request || '{"final": true}'
            );
        END IF;
        RETURN json_build_object('spawned_job_ids', '{}'::bigint[], 'iteration', v_generation);
    END IF;
    PERFORM torc.collect_job_names(v_workflow_id);
    v_job_ids := torc.jobs_with_names(
        v_workflow_id, ARRAY(SELECT job ->> 'name' FROM jsonb_array_elements(v_jobs) AS job)
    );
    IF array_position(v_job_ids, NULL) IS NOT NULL THEN
        IF cardinality(array_remove(v_job_ids, NULL)) > 0 THEN
            PERFORM torc.fail('TC422', 'Inconsistent replay: some but not all jobs already exist');
        END IF;
        v_generation := v_generation + 1;
        PERFORM torc.check_generation(v_workflow_id, v_lineage, v_generation);
        v_job_ids := torc.insert_spawned_jobs(v_spawner, v_lineage, v_jobs);
        PERFORM torc.store_lineage_record(
            v_workflow_id, v_lineage, 'g' || lpad(v_generation::text, greatest(6, length(v_generation::text)), '0'),
            v_generation, p_request
        );
    END IF;
    RETURN json_build_object('spawned_job_ids', v_job_ids, 'iteration', v_generation);
END
$$;

-- The records of lineages are user data named __torc_lineage__<lineage>__g<six digits>, one for each generation, and
-- __torc_lineage__<lineage>__final. Clients read them by these names.

-- The highest generation of a lineage, 0 if it has none. The names are compared exactly: a lineage may be named like
-- the beginning of another one. Only the index of these records gives the order that is asked for, so that no other is
-- used.
CREATE OR REPLACE FUNCTION torc.last_generation(p_workflow_id bigint, p_lineage text)
RETURNS bigint
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_bitmapscan = off
SET enable_seqscan = off
AS $$
DECLARE
    v_prefix text := format('__torc_lineage__%s__g', p_lineage);
BEGIN
    RETURN (
        SELECT coalesce(max(record.generation::bigint), 0)
        FROM (
            SELECT substr(name, length(v_prefix) + 1) AS generation
            FROM torc.user_data
            WHERE workflow_id BETWEEN p_workflow_id AND p_workflow_id
                AND starts_with(name, '__torc_lineage__')
                AND name >= v_prefix || '0'
                AND name < v_prefix || ':'  -- the character behind 9
            ORDER BY workflow_id, name
        ) AS record
        WHERE record.generation ~ '^[0-9]{6,18}$'
    );
END
$$;

-- Raises TC422 for a generation beyond the number that the workflow allows.
CREATE OR REPLACE FUNCTION torc.check_generation(p_workflow_id bigint, p_lineage text, p_generation bigint)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_most bigint := coalesce(
        (SELECT (dynamic_jobs ->> 'max_iterations')::bigint FROM torc.workflow WHERE id = p_workflow_id), 1000
    );
BEGIN
    IF p_generation > v_most THEN
        PERFORM torc.fail('TC422', format(
            'Per-lineage iteration cap reached for lineage ''%s'': attempted iteration %s exceeds '
            'dynamic_jobs.max_iterations=%s (current spawn_count=%s)',
            p_lineage, p_generation, v_most, p_generation - 1
        ));
    END IF;
END
$$;

-- Stores the record of a lineage as user data of the workflow; a lineage has one, which is replaced.
CREATE OR REPLACE FUNCTION torc.store_lineage_record(
    p_workflow_id bigint,
    p_lineage text,
    p_record text,
    p_generation bigint,
    p_request jsonb  -- state and final are kept
)
RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO torc.user_data (workflow_id, name, is_ephemeral, data)
    VALUES (
        p_workflow_id,
        format('__torc_lineage__%s__%s', p_lineage, p_record),
        true,
        jsonb_build_object('generation', p_generation, 'spawn_count', p_generation, 'state', p_request -> 'state')
        || CASE WHEN p_request ? 'final' THEN '{"final": true}' ELSE '{}' END::jsonb
    )
    ON CONFLICT (workflow_id, name) WHERE starts_with(name, '__torc_lineage__')
    DO UPDATE SET is_ephemeral = true, data = excluded.data
$$;

-- Stores the names of the jobs that a workflow got since the last call. The caller holds its exclusive lock.
CREATE OR REPLACE FUNCTION torc.collect_job_names(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
BEGIN
    WITH collected AS (
        INSERT INTO torc.job_name (workflow_id, hash, job_id)
        SELECT workflow_id, hashtextextended(name, 0), id
        FROM torc.job
        WHERE workflow_id = p_workflow_id
            AND id > (SELECT names_until FROM torc.workflow_status WHERE workflow_id = p_workflow_id)
        RETURNING job_id
    )

    UPDATE torc.workflow_status
    SET names_until = (SELECT max(job_id) FROM collected)
    WHERE workflow_id = p_workflow_id AND EXISTS (SELECT 1 FROM collected);
END
$$;

-- Stores the new name of a job. Names of later jobs are collected when they are needed.
CREATE OR REPLACE FUNCTION torc.rename_job(p_job torc.job, p_name text)
RETURNS void
LANGUAGE sql
AS $$
    DELETE FROM torc.job_name
    WHERE workflow_id = p_job.workflow_id AND hash = hashtextextended(p_job.name, 0) AND job_id = p_job.id;
    INSERT INTO torc.job_name (workflow_id, hash, job_id)
    SELECT workflow_id, hashtextextended(p_name, 0), p_job.id
    FROM torc.workflow_status
    WHERE workflow_id = p_job.workflow_id AND names_until >= p_job.id
$$;

-- For each name the id of the first job that has it, or NULL. The caller has called collect_job_names().
CREATE OR REPLACE FUNCTION torc.jobs_with_names(p_workflow_id bigint, p_names text[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_bitmapscan = off
SET enable_seqscan = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT (
            SELECT entry.job_id
            FROM torc.job_name AS entry
            WHERE entry.workflow_id = p_workflow_id AND entry.hash = hashtextextended(wanted.name, 0)
                AND EXISTS (SELECT 1 FROM torc.job WHERE id = entry.job_id AND name = wanted.name OFFSET 0)
            ORDER BY entry.workflow_id, entry.hash, entry.job_id
            LIMIT 1
        )
        FROM unnest(p_names) AS wanted (name)
    );
END
$$;

-- For each name the id of the first resource requirements that have it, or NULL.
CREATE OR REPLACE FUNCTION torc.requirements_with_names(p_workflow_id bigint, p_names text[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_bitmapscan = off
SET enable_seqscan = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT (
            SELECT id
            FROM torc.resource_requirements
            WHERE hashtextextended(name, workflow_id) BETWEEN wanted.hash AND wanted.hash
                AND name = wanted.name
                AND workflow_id IS NOT DISTINCT FROM p_workflow_id
            ORDER BY hashtextextended(name, workflow_id), id
            LIMIT 1
        )
        FROM (SELECT name, hashtextextended(name, p_workflow_id) AS hash FROM unnest(p_names) AS name) AS wanted
    );
END
$$;

-- Inserts the jobs of a new generation with their edges; returns their ids in the order of p_jobs. The edges come
-- first: each job's counter is made from its own. An edge to a job of the same request leads to one that is not stored
-- yet. The caller holds the workflow's exclusive lock. Raises TC422.
CREATE OR REPLACE FUNCTION torc.insert_spawned_jobs(p_spawner torc.job, p_lineage text, p_jobs jsonb)
RETURNS bigint[]
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_ids regclass := pg_get_serial_sequence('torc.job', 'id');
    v_env jsonb := coalesce((SELECT env FROM torc.workflow WHERE id = p_spawner.workflow_id), '{}')
        || jsonb_build_object('TORC_ORCHESTRATOR_LINEAGE_ID', p_lineage);
    v_requirement_ids bigint[] := torc.requirements_of_spawned_jobs(p_spawner.workflow_id, p_jobs);
    v_job_ids bigint[] := ARRAY(SELECT nextval(v_ids) FROM jsonb_array_elements(p_jobs));
    v_refusal text;
BEGIN
    v_refusal := torc.relate_spawned_jobs(p_spawner, p_jobs, v_job_ids);

    INSERT INTO torc.job (
        id, workflow_id, name, command, status, cancel_on_blocking_job_failure, priority, resource_requirements_id,
        open_dependencies, failed_dependencies, has_links, env, labels, origin
    )
    SELECT
        new.id,
        p_spawner.workflow_id,
        new.job ->> 'name',
        new.job ->> 'command',
        'blocked',
        coalesce((new.job ->> 'cancel_on_blocking_job_failure')::boolean, true),
        coalesce((new.job ->> 'priority')::bigint, 0),
        new.resource_requirements_id,
        dependencies.open,
        dependencies.failed,
        false,
        v_env,
        torc.join_labels(ARRAY(SELECT jsonb_array_elements_text(new.job -> 'labels'))),
        'spawn'
    FROM ROWS FROM (jsonb_array_elements(p_jobs), unnest(v_job_ids), unnest(v_requirement_ids))
        AS new (job, id, resource_requirements_id)
    CROSS JOIN LATERAL (
        SELECT
            count(*) FILTER (WHERE torc.is_complete(status) IS NOT TRUE) AS open,
            count(*) FILTER (WHERE torc.is_failed(status)) AS failed
        FROM (
            SELECT (SELECT status FROM torc.job WHERE id = edge.job_id) AS status
            FROM torc.dependencies_of(new.id) AS edge
            OFFSET 0  -- or the planner repeats the look-up for each use of status
        ) AS dependency
    ) AS dependencies;

    PERFORM torc.refuse_cycle_among_spawned(v_job_ids);
    IF v_refusal IS NOT NULL THEN
        PERFORM torc.fail('TC422', v_refusal, '{"field": "depends_on"}');
    END IF;
    RETURN v_job_ids;
END
$$;

-- Makes the edges of new jobs: to the asking job, and to what their depends_on names, which is a job of the same
-- request or else one that exists. Returns what is wrong with the first name that is neither, or NULL. A job that
-- depends on itself is a cycle. Raises TC422.
CREATE OR REPLACE FUNCTION torc.relate_spawned_jobs(p_spawner torc.job, p_jobs jsonb, p_job_ids bigint[])
RETURNS text
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_dependents bigint[];    -- one entry for each name in a depends_on: the job that depends
    v_names text[];           -- the name
    v_dependencies bigint[];  -- the job of the request with that name, or NULL
    v_other_names text[];
    v_other_ids bigint[];
    v_refusal text;
BEGIN
    WITH new AS MATERIALIZED (
        SELECT id, job ->> 'name' AS name, job -> 'depends_on' AS depends_on
        FROM ROWS FROM (jsonb_array_elements(p_jobs), unnest(p_job_ids)) AS sent (job, id)
    ),

    named AS MATERIALIZED (
        SELECT new.id, dependency.name
        FROM new
        CROSS JOIN LATERAL jsonb_array_elements_text(new.depends_on) AS dependency (name)
    )

    SELECT array_agg(named.id), array_agg(named.name), array_agg(sibling.id)
    INTO v_dependents, v_names, v_dependencies
    FROM named
    LEFT JOIN new AS sibling ON sibling.name = named.name;

    PERFORM torc.fail_for_spawned_cycle(ARRAY[name])
    FROM unnest(v_names, v_dependents, v_dependencies) AS edge (name, job_id, depends_on_job_id)
    WHERE job_id = depends_on_job_id;
    v_other_names := ARRAY(
        SELECT DISTINCT name FROM unnest(v_names, v_dependencies) AS edge (name, depends_on_job_id)
        WHERE depends_on_job_id IS NULL
    );
    v_other_ids := torc.jobs_with_names(p_spawner.workflow_id, v_other_names);

    INSERT INTO torc.job_depends_on (job_id, depends_on_job_id)
    SELECT id, p_spawner.id FROM unnest(p_job_ids) AS id
    UNION
    SELECT job_id, depends_on_job_id FROM unnest(v_dependents, v_dependencies) AS edge (job_id, depends_on_job_id)
    WHERE depends_on_job_id IS NOT NULL
    UNION
    SELECT edge.job_id, other.id
    FROM unnest(v_dependents, v_names) AS edge (job_id, name)
    INNER JOIN unnest(v_other_names, v_other_ids) AS other (name, id) ON other.name = edge.name
    WHERE other.id IS NOT NULL;

    SELECT format('spawn job ''%s'' depends on unknown job ''%s''', new.job ->> 'name', other.name)
    INTO v_refusal
    FROM unnest(v_other_names, v_other_ids) AS other (name, id)
    INNER JOIN unnest(v_dependents, v_names) AS edge (job_id, name) ON edge.name = other.name
    INNER JOIN ROWS FROM (jsonb_array_elements(p_jobs), unnest(p_job_ids)) AS new (job, id) ON new.id = edge.job_id
    WHERE other.id IS NULL
    ORDER BY new.id, other.name
    LIMIT 1;
    RETURN v_refusal;
END
$$;

-- For each new job the id of its resource requirements: those of the workflow that it names, or those named default.
-- Raises TC422.
CREATE OR REPLACE FUNCTION torc.requirements_of_spawned_jobs(p_workflow_id bigint, p_jobs jsonb)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_ids bigint[] := torc.requirements_with_names(p_workflow_id, ARRAY(
        SELECT coalesce(job ->> 'resource_requirements', 'default') FROM jsonb_array_elements(p_jobs) AS job
    ));
    v_unknown jsonb;
BEGIN
    SELECT sent.job INTO v_unknown
    FROM ROWS FROM (jsonb_array_elements(p_jobs), unnest(v_ids)) WITH ORDINALITY AS sent (job, id, position)
    WHERE sent.id IS NULL
    ORDER BY sent.job ? 'resource_requirements', sent.position
    LIMIT 1;
    IF v_unknown ? 'resource_requirements' THEN
        PERFORM torc.fail(
            'TC422',
            format(
                'Unknown resource_requirements ''%s'' for spawn job ''%s''',
                v_unknown ->> 'resource_requirements', v_unknown ->> 'name'
            ),
            '{"field": "resource_requirements"}'
        );
    ELSIF v_unknown IS NOT NULL THEN
        PERFORM torc.fail(
            'TC422',
            'spawn_jobs requires every job to set `resource_requirements`, or the workflow must define an RR named '
            '''default'' to fall back on',
            '{"field": "resource_requirements"}'
        );
    END IF;
    RETURN v_ids;
END
$$;

-- A cycle can only be among the new jobs: no other one depends on them. Raises TC422.
CREATE OR REPLACE FUNCTION torc.refuse_cycle_among_spawned(p_job_ids bigint[])
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_cycle bigint[] := torc.find_cycle_among(p_job_ids);
BEGIN
    IF v_cycle IS NOT NULL THEN
        PERFORM torc.fail_for_spawned_cycle(ARRAY(
            SELECT (SELECT name FROM torc.job WHERE id = member.id)
            FROM unnest(v_cycle) WITH ORDINALITY AS member (id, position)
            ORDER BY position
        ));
    END IF;
END
$$;

-- Names the jobs of a cycle, each waiting for the next. Raises TC422.
CREATE OR REPLACE FUNCTION torc.fail_for_spawned_cycle(p_names text[])
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.fail(
        'TC422',
        format(
            'spawn jobs dependency graph contains a cycle: %s', array_to_string(p_names || p_names[1], ' waits for ')
        ),
        '{"field": "depends_on"}'
    );
END
$$;
