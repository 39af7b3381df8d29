-- What `torc-server import` calls, beside copying rows. A workflow that is being imported is
-- in an uncommitted transaction: no other session sees it, and no lock of it is needed.

-- Whether the ids of the source are kept: as p_keep_ids says, or, if that is NULL, when there is no workflow and no
-- group of users. Then no sequence gives one of the ids any more. p_sequences: {table: the largest id that it ever
-- had}. Locks: the workflows against new ones, for a moment.
CREATE OR REPLACE FUNCTION torc.begin_import(p_sequences jsonb, p_keep_ids boolean DEFAULT NULL)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    v_keep_ids boolean := p_keep_ids;
    v_sequence record;
BEGIN
    LOCK TABLE torc.workflow, torc.access_group IN SHARE ROW EXCLUSIVE MODE;
    IF v_keep_ids IS NULL THEN
        v_keep_ids := NOT EXISTS (SELECT 1 FROM torc.workflow)
            AND NOT EXISTS (SELECT 1 FROM torc.access_group WHERE NOT is_system);
    END IF;
    IF v_keep_ids THEN
        FOR v_sequence IN
            SELECT pg_get_serial_sequence('torc.' || quote_ident(key), 'id') AS name, value::bigint AS used
            FROM jsonb_each_text(p_sequences)
            WHERE value::bigint > 0 AND EXISTS (
                SELECT 1
                FROM pg_attribute
                WHERE attrelid = to_regclass('torc.' || quote_ident(key)) AND attname = 'id' AND attidentity <> ''
            )
        LOOP
            -- nextval() first: last_value does not say whether it has been given
            PERFORM setval(v_sequence.name, greatest(nextval(v_sequence.name), v_sequence.used));
        END LOOP;
    END IF;
    RETURN v_keep_ids;
END
$$;

-- The id that a group of users of the source has here: that of the group of this name, which is made if there is none.
-- Of a system group nothing is imported, NULL if there is none of this name here: administrators are a setting.
CREATE OR REPLACE FUNCTION torc.import_access_group(
    p_id bigint,
    p_name text,
    p_description text,
    p_created_at text,
    p_is_system boolean,
    p_keep_id boolean
)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_id bigint := (SELECT id FROM torc.access_group WHERE name = p_name);
BEGIN
    IF v_id IS NOT NULL OR p_is_system THEN
        RETURN v_id;
    END IF;
    INSERT INTO torc.access_group (id, name, description, created_at)
    VALUES (
        CASE
            WHEN p_keep_id AND NOT EXISTS (SELECT 1 FROM torc.access_group WHERE id = p_id) THEN p_id
            ELSE nextval(pg_get_serial_sequence('torc.access_group', 'id'))
        END,
        p_name, p_description, p_created_at::timestamptz
    )
    RETURNING id INTO v_id;
    RETURN v_id;
END
$$;

-- The id of the workflow's requirements named default, which are made if there are none.
CREATE OR REPLACE FUNCTION torc.import_default_requirements(p_workflow_id bigint)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_id bigint := (
        SELECT (array_agg(id ORDER BY id))[1]
        FROM torc.resource_requirements
        WHERE workflow_id = p_workflow_id AND name = 'default'
    );
BEGIN
    IF v_id IS NULL THEN
        INSERT INTO torc.resource_requirements (workflow_id, name, memory, runtime, memory_bytes, runtime_s)
        VALUES (p_workflow_id, 'default', '1m', 'P0DT1M', torc.parse_memory('1m'), torc.parse_duration('P0DT1M'))
        RETURNING id INTO v_id;
    END IF;
    RETURN v_id;
END
$$;

-- Makes a workflow whose rows were copied in one of ours: counters, flags and marks of the jobs, the jobs of the
-- actions, the hashes of inputs. p_blocked_job_ids were blocked, and are uninitialized so far: those with an open
-- dependency are blocked; the others waited only for the background pass of the source, and are released or canceled
-- now, with all that follows. p_hashed_job_ids: jobs that the source had initialized.
-- A canceled job without a result in this run, one of whose dependencies failed and which asked to be canceled then,
-- was canceled by dependency: the source has no mark for it. Not in a canceled workflow.
-- Raises TC422 if something is then as it must never be.
CREATE OR REPLACE FUNCTION torc.settle_imported_workflow(
    p_workflow_id bigint,
    p_blocked_job_ids bigint[],
    p_hashed_job_ids bigint[]
)
RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_run_id bigint := (SELECT run_id FROM torc.workflow_status WHERE workflow_id = p_workflow_id);
    v_is_canceled boolean := (SELECT is_canceled FROM torc.workflow_status WHERE workflow_id = p_workflow_id);
    v_released torc.status_change[];
    v_violation record;
BEGIN
    PERFORM torc.keep_references(p_workflow_id, 'compute_node_id', ARRAY(
        SELECT DISTINCT compute_node_id FROM torc.result WHERE workflow_id = p_workflow_id
    ));
    UPDATE torc.job AS job
    SET
        open_dependencies = counted.open_dependencies,
        failed_dependencies = counted.failed_dependencies,
        has_dependencies = EXISTS (SELECT 1 FROM torc.job_depends_on WHERE job_id = job.id OFFSET 0),
        has_links = EXISTS (SELECT 1 FROM torc.job_input_file WHERE job_id = job.id OFFSET 0)
            OR EXISTS (SELECT 1 FROM torc.job_output_file WHERE job_id = job.id OFFSET 0)
            OR EXISTS (SELECT 1 FROM torc.job_input_user_data WHERE job_id = job.id OFFSET 0)
            OR EXISTS (SELECT 1 FROM torc.job_output_user_data WHERE job_id = job.id OFFSET 0),
        attempt_run_id = CASE
            WHEN job.attempt_id > 1 OR EXISTS (
                SELECT 1 FROM torc.result WHERE job_id = job.id AND run_id = v_run_id AND NOT is_current OFFSET 0
            ) THEN v_run_id
        END,
        canceled_by_dependency = NOT v_is_canceled
            AND job.status = 'canceled' AND job.cancel_on_blocking_job_failure
            AND counted.open_dependencies = 0 AND counted.failed_dependencies > 0
            AND NOT EXISTS (SELECT 1 FROM torc.result WHERE job_id = job.id AND run_id = v_run_id OFFSET 0)
    FROM torc.count_all_dependencies(p_workflow_id) AS counted
    WHERE job.workflow_id = p_workflow_id AND job.id = counted.job_id;

    UPDATE torc.job
    SET status = 'blocked'
    WHERE workflow_id = p_workflow_id AND open_dependencies > 0 AND id = ANY (p_blocked_job_ids);

    PERFORM torc.relate_imported_actions(p_workflow_id);
    WITH released AS (
        UPDATE torc.job
        SET
            status = torc.settled_status('blocked', 0, failed_dependencies, cancel_on_blocking_job_failure, false),
            canceled_by_dependency = cancel_on_blocking_job_failure AND failed_dependencies > 0
        WHERE workflow_id = p_workflow_id AND open_dependencies = 0 AND id = ANY (p_blocked_job_ids)
        RETURNING (id, 'blocked', status)::torc.status_change AS change
    )

    SELECT array_agg(change) INTO v_released FROM released;
    IF v_released IS NOT NULL THEN
        PERFORM torc.trigger_job_actions(p_workflow_id, v_released);
        PERFORM torc.settle_dependents(v_released);
        PERFORM torc.trigger_workflow_complete(p_workflow_id);
    END IF;

    INSERT INTO torc.job_internal (job_id, input_hash)
    SELECT job.id, now.input_hash
    FROM torc.job AS job
    CROSS JOIN LATERAL torc.input_hash(job) AS now
    WHERE workflow_id = p_workflow_id AND id = ANY (p_hashed_job_ids);

    SELECT * INTO v_violation FROM torc.check_invariants(p_workflow_id) LIMIT 1;
    IF FOUND THEN
        PERFORM torc.fail('TC422', format('job %s: %s', v_violation.job_id, v_violation.violation));
    END IF;
END
$$;

-- The jobs of the imported actions, with what they have counted so far, as migration 0005 made them of stored lists: a
-- list that lost jobs which do not exist needs fewer triggers.
CREATE OR REPLACE FUNCTION torc.relate_imported_actions(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO torc.workflow_action_job (job_id, action_id, occurrences, counted)
    SELECT
        listed.job_id,
        action.id,
        count(*),
        count(*) FILTER (
            WHERE torc.is_complete(job.status) AND action.trigger_type IN ('on_jobs_ready', 'on_jobs_complete')
                OR job.status = 'ready' AND action.trigger_type = 'on_jobs_ready'
        )
    FROM torc.workflow_action AS action
    CROSS JOIN LATERAL unnest(action.job_ids) AS listed (job_id)
    CROSS JOIN LATERAL (SELECT status FROM torc.job WHERE id = listed.job_id OFFSET 0) AS job
    WHERE action.workflow_id = p_workflow_id
    GROUP BY listed.job_id, action.id;

    UPDATE torc.workflow_action AS action
    SET
        required_triggers = greatest(cardinality(job_ids), 1),
        trigger_count = least(trigger_count, (
            SELECT coalesce(sum(counted), 0)::bigint FROM torc.workflow_action_job WHERE action_id = action.id
        ))
    WHERE workflow_id = p_workflow_id
        AND trigger_type IN ('on_jobs_ready', 'on_jobs_complete')
        AND required_triggers > greatest(cardinality(job_ids), 1);
END
$$;
