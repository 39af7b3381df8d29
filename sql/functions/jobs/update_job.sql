-- Changes a job to what a JobModel says; keys that are absent keep their value. Name, command, status and the relation
-- lists only while the job is uninitialized; of the lists only depends_on_job_ids can change at all, and the status
-- only to disabled. workflow_id, failure_handler_id, attempt_id and env never change; labels may change in any
-- status.
-- Locks: workflow exclusive if the body holds depends_on_job_ids, else shared; the job's row.
-- Raises TC404, TC403, TC422.
CREATE OR REPLACE FUNCTION torc.update_job(p_job_id bigint, p_body jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_new torc.new_job := jsonb_populate_record(NULL::torc.new_job, p_body);
    v_status torc.job_status := p_body ->> 'status';
    v_job torc.job;
BEGIN
    IF v_new.depends_on_job_ids IS NOT NULL THEN
        PERFORM torc.lock_workflow(torc.workflow_of_job(p_job_id), p_caller);
    END IF;
    v_job := torc.lock_job(p_job_id, p_caller);
    PERFORM torc.check_job_update(v_job, v_new, v_status);
    IF v_new.resource_requirements_id <> v_job.resource_requirements_id THEN
        PERFORM torc.authorize_references(
            v_job.workflow_id, 'resource_requirements_id', ARRAY[v_new.resource_requirements_id], p_caller
        );
        PERFORM torc.keep_references(
            v_job.workflow_id, 'resource_requirements_id', ARRAY[v_new.resource_requirements_id]
        );
    END IF;
    IF v_new.command <> v_job.command
       OR v_new.invocation_script IS DISTINCT FROM v_job.invocation_script
       OR v_new.depends_on_job_ids IS NOT NULL THEN
        PERFORM torc.keep_input_hashes(ARRAY[p_job_id]);
    END IF;
    UPDATE torc.job
    SET
        name = v_new.name,
        command = v_new.command,
        status = coalesce(v_status, status),
        invocation_script = coalesce(v_new.invocation_script, invocation_script),
        cancel_on_blocking_job_failure
        = coalesce(v_new.cancel_on_blocking_job_failure, cancel_on_blocking_job_failure),
        supports_termination = coalesce(v_new.supports_termination, supports_termination),
        priority = coalesce(v_new.priority, priority),
        resource_requirements_id = coalesce(v_new.resource_requirements_id, resource_requirements_id),
        scheduler_id = coalesce(v_new.scheduler_id, scheduler_id),
        labels = CASE WHEN v_new.labels IS NULL THEN labels ELSE torc.join_labels(v_new.labels) END
    WHERE id = p_job_id;
    IF v_new.name <> v_job.name THEN
        PERFORM torc.rename_job(v_job, v_new.name);
    END IF;
    IF v_new.depends_on_job_ids IS NOT NULL AND v_job.status = 'uninitialized' THEN
        PERFORM torc.replace_dependencies(v_job, v_new.depends_on_job_ids);
    END IF;
    RETURN torc.job_with_relations_json(p_job_id);
END
$$;

-- Raises TC422 for what an update must not change.
CREATE OR REPLACE FUNCTION torc.check_job_update(p_job torc.job, p_new torc.new_job, p_status torc.job_status)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_field text;
    v_changed text[] := '{}';
    v_fixed text;
BEGIN
    PERFORM torc.expect_unchanged('workflow_id', p_job.workflow_id, p_new.workflow_id);
    IF p_new.name <> p_job.name THEN
        v_changed := v_changed || 'name'::text;
    END IF;
    IF p_new.command <> p_job.command THEN
        v_changed := v_changed || 'command'::text;
    END IF;
    IF p_status <> p_job.status THEN
        v_changed := v_changed || 'status'::text;
    END IF;
    FOR v_field IN SELECT * FROM torc.changed_relations(p_job.id, p_new) LOOP
        v_changed := v_changed || v_field;
        IF v_field <> 'depends_on_job_ids' THEN
            v_fixed := coalesce(v_fixed, v_field);
        END IF;
    END LOOP;
    IF p_new.env IS NOT NULL AND p_new.env <> coalesce(p_job.env, '{}') THEN
        v_changed := v_changed || 'env'::text;
        v_fixed := coalesce(v_fixed, 'env');
    END IF;
    IF p_job.status <> 'uninitialized' AND v_changed <> '{}' THEN
        PERFORM torc.fail('TC422', format(
            'Cannot update job %s when status is ''%s'' - most updates are only allowed when status is '
            '''uninitialized''. Changed fields: [%s]',
            p_job.id, p_job.status, array_to_string(v_changed, ', ')
        ), jsonb_build_object('field', v_changed[1]));
    END IF;
    IF p_status <> p_job.status AND p_status <> 'disabled' THEN
        PERFORM torc.fail(
            'TC422',
            'Cannot update job status - this field is immutable after job creation (except to Disabled)',
            jsonb_build_object('field', 'status', 'value', p_status)
        );
    END IF;
    IF v_fixed IS NOT NULL THEN
        PERFORM torc.fail(
            'TC422',
            format('Cannot modify %s - this field is immutable after job creation', v_fixed),
            jsonb_build_object('field', v_fixed)
        );
    END IF;
END
$$;

-- The relation lists of a body that do not hold the stored ids, in any order; as the model orders them.
CREATE OR REPLACE FUNCTION torc.changed_relations(p_job_id bigint, p_new torc.new_job)
RETURNS SETOF text
LANGUAGE sql STABLE
AS $$
    SELECT stored.field
    FROM torc.job_relations(p_job_id) WITH ORDINALITY AS stored
    CROSS JOIN LATERAL (
        SELECT translate(to_jsonb(p_new) ->> stored.field, '[]', '{}')::bigint[] AS ids
    ) AS sent
    WHERE NOT (sent.ids @> stored.ids AND stored.ids @> sent.ids)
    ORDER BY stored.ordinality
$$;

-- Gives an uninitialized job other edges, and the counters that go with them. The caller holds the workflow's exclusive
-- lock. Raises TC422: not in the workflow, or the job itself.
CREATE OR REPLACE FUNCTION torc.replace_dependencies(p_job torc.job, p_depends_on_job_ids bigint[])
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_unknown bigint;
BEGIN
    SELECT wanted.id INTO v_unknown
    FROM unnest(p_depends_on_job_ids) AS wanted (id)
    WHERE wanted.id = p_job.id
        OR p_job.workflow_id IS DISTINCT FROM (SELECT workflow_id FROM torc.job WHERE id = wanted.id)
    LIMIT 1;
    IF FOUND THEN
        PERFORM torc.fail_for_unknown('depends_on_job_ids', v_unknown, p_job.workflow_id);
    END IF;
    DELETE FROM torc.job_depends_on WHERE job_id = p_job.id;
    INSERT INTO torc.job_depends_on (job_id, depends_on_job_id)
    SELECT p_job.id, unnest(p_depends_on_job_ids);
    UPDATE torc.job
    SET open_dependencies = counted.open, failed_dependencies = counted.failed, has_dependencies = true
    FROM (
        SELECT
            count(*) FILTER (WHERE NOT torc.is_complete(dependency.status)) AS open,
            count(*) FILTER (WHERE torc.is_failed(dependency.status)) AS failed
        FROM torc.job AS dependency
        WHERE dependency.id = ANY (p_depends_on_job_ids)
    ) AS counted
    WHERE job.id = p_job.id;
END
$$;
