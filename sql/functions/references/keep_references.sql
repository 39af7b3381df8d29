-- Jobs and results name their workflow, requirements, failure handler and compute node without foreign keys: those cost
-- each new job 8 µs, and each start and completion 15 (benchmarks/decisions/keys_of_jobs). What holds instead:
--   * A function that writes a name holds a lock of the job's workflow, shared or exclusive, and checks that the row
--     exists there.
--   * A row of another workflow may be named too. Then keep_references() locks it (FOR KEY SHARE), and
--     torc.cross_reference says which workflow may name it.
--   * A statement that deletes rows that can be named, also in psql, locks their workflow exclusively, and then deletes
--     or changes the jobs and results that name them (triggers in forget_deleted_references.sql).
-- A statement in psql that writes names itself is checked only where it inserts jobs. check_references() finds the
-- rest, for doctor and tests.

-- The jobs or results of a workflow are about to name these rows (NULL: none): checks that they exist, and notes those
-- of other workflows. The caller holds a lock of the workflow. Locks: the rows of other workflows, by id (FOR KEY
-- SHARE). Raises TC422 naming the field.
CREATE OR REPLACE FUNCTION torc.keep_references(p_workflow_id bigint, p_field text, p_ids bigint[])
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_foreign bigint[] := ARRAY(
        SELECT id FROM unnest(p_ids) AS named (id) WHERE id IS NOT NULL
        EXCEPT
        SELECT torc.named_rows(p_workflow_id, p_field, p_ids)
    );
BEGIN
    IF v_foreign = '{}' THEN
        RETURN;
    END IF;
    IF cardinality(v_foreign) > cardinality(torc.lock_named_rows(p_field, v_foreign)) THEN
        PERFORM torc.fail('TC422', format('%s: there is no such row', p_field), jsonb_build_object('field', p_field));
    END IF;
    INSERT INTO torc.cross_reference (field, id, workflow_id)
    SELECT p_field, id, p_workflow_id
    FROM unnest(v_foreign) AS named (id)
    ORDER BY id
    ON CONFLICT DO NOTHING;
END
$$;

-- Those of the ids that are rows of the workflow.
CREATE OR REPLACE FUNCTION torc.named_rows(p_workflow_id bigint, p_field text, p_ids bigint[])
RETURNS SETOF bigint
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
BEGIN
    CASE p_field
        WHEN 'resource_requirements_id' THEN
            RETURN QUERY
            SELECT id
            FROM torc.resource_requirements
            WHERE id = ANY (p_ids) AND workflow_id IS NOT DISTINCT FROM p_workflow_id;
        WHEN 'failure_handler_id' THEN
            RETURN QUERY
            SELECT id
            FROM torc.failure_handler
            WHERE id = ANY (p_ids) AND workflow_id IS NOT DISTINCT FROM p_workflow_id;
        WHEN 'compute_node_id' THEN
            RETURN QUERY
            SELECT id FROM torc.compute_node WHERE id = ANY (p_ids) AND workflow_id IS NOT DISTINCT FROM p_workflow_id;
    END CASE;
END
$$;

-- Locks those of the ids that are rows, by id, so that they are not deleted before the transaction ends; returns them.
CREATE OR REPLACE FUNCTION torc.lock_named_rows(p_field text, p_ids bigint[])
RETURNS bigint[]
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    CASE p_field
        WHEN 'resource_requirements_id' THEN
            RETURN ARRAY(SELECT id FROM torc.resource_requirements WHERE id = ANY (p_ids) ORDER BY id FOR KEY SHARE);
        WHEN 'failure_handler_id' THEN
            RETURN ARRAY(SELECT id FROM torc.failure_handler WHERE id = ANY (p_ids) ORDER BY id FOR KEY SHARE);
        WHEN 'compute_node_id' THEN
            RETURN ARRAY(SELECT id FROM torc.compute_node WHERE id = ANY (p_ids) ORDER BY id FOR KEY SHARE);
    END CASE;
END
$$;

-- Checks that what inserted jobs name exists, whatever statement inserts them (of an endpoint, of an import, in psql).
-- Called once for a whole statement.
CREATE OR REPLACE FUNCTION torc.check_new_jobs()
RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    v_named record;
BEGIN
    FOR v_named IN
        SELECT
            workflow_id,
            array_agg(DISTINCT resource_requirements_id) AS requirements,
            array_agg(DISTINCT failure_handler_id) AS handlers,
            array_agg(DISTINCT active_compute_node_id) AS nodes
        FROM (
            SELECT DISTINCT workflow_id, resource_requirements_id, failure_handler_id, active_compute_node_id
            FROM new_job
        ) AS named
        GROUP BY workflow_id
    LOOP
        PERFORM 1 FROM torc.workflow WHERE id = v_named.workflow_id FOR KEY SHARE;
        IF NOT FOUND THEN
            PERFORM torc.fail('TC404', format('Workflow not found with ID: %s', v_named.workflow_id));
        END IF;
        PERFORM torc.keep_references(v_named.workflow_id, 'resource_requirements_id', v_named.requirements);
        PERFORM torc.keep_references(v_named.workflow_id, 'failure_handler_id', v_named.handlers);
        PERFORM torc.keep_references(v_named.workflow_id, 'compute_node_id', v_named.nodes);
    END LOOP;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER check_new_jobs
AFTER INSERT ON torc.job
REFERENCING NEW TABLE AS new_job
FOR EACH STATEMENT
EXECUTE FUNCTION torc.check_new_jobs();

-- The workflows with jobs or results that name one of the rows, without those that the rows belong to.
CREATE OR REPLACE FUNCTION torc.workflows_that_name(p_field text, p_ids bigint[])
RETURNS SETOF bigint
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
    SELECT DISTINCT noted.workflow_id
    FROM torc.cross_reference AS noted
    WHERE noted.field = p_field AND noted.id = ANY (p_ids)
        AND CASE p_field
            WHEN 'resource_requirements_id' THEN EXISTS (
                SELECT 1
                FROM torc.job
                WHERE workflow_id = noted.workflow_id AND resource_requirements_id = noted.id
                OFFSET 0
            )
            WHEN 'failure_handler_id' THEN EXISTS (
                SELECT 1 FROM torc.job WHERE workflow_id = noted.workflow_id AND failure_handler_id = noted.id OFFSET 0
            )
            WHEN 'compute_node_id' THEN EXISTS (
                SELECT 1
                FROM torc.job
                WHERE active_compute_node_id = noted.id AND workflow_id IS NOT DISTINCT FROM noted.workflow_id
                OFFSET 0
            )
            OR EXISTS (
                SELECT 1 FROM torc.result WHERE workflow_id = noted.workflow_id AND compute_node_id = noted.id OFFSET 0
            )
        END;
END
$$;

-- What foreign keys would have refused, one row each; must always be empty. NULL checks all workflows.
CREATE OR REPLACE FUNCTION torc.check_references(p_workflow_id bigint)
RETURNS TABLE (job_id bigint, violation text)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
    WITH named AS (
        SELECT job.id AS job_id, job.workflow_id, reference.field, reference.id
        FROM torc.job AS job
        CROSS JOIN LATERAL (
            VALUES
            ('resource_requirements_id', job.resource_requirements_id),
            ('failure_handler_id', job.failure_handler_id),
            ('compute_node_id', job.active_compute_node_id)
        ) AS reference (field, id)
        WHERE (p_workflow_id IS NULL OR job.workflow_id = p_workflow_id) AND reference.id IS NOT NULL
        UNION ALL
        SELECT result.job_id, result.workflow_id, 'compute_node_id', result.compute_node_id
        FROM torc.result AS result
        WHERE p_workflow_id IS NULL OR result.workflow_id = p_workflow_id
    ),

    existing (field, id, workflow_id) AS (
        SELECT 'resource_requirements_id', id, workflow_id FROM torc.resource_requirements
        UNION ALL
        SELECT 'failure_handler_id', id, workflow_id FROM torc.failure_handler
        UNION ALL
        SELECT 'compute_node_id', id, workflow_id FROM torc.compute_node
    )

    SELECT named.job_id, CASE
        WHEN existing.id IS NULL THEN format('names %s %s, which is missing', named.field, named.id)
        ELSE format('names %s %s of another workflow, which cross_reference does not say', named.field, named.id)
    END
    FROM named
    LEFT JOIN existing ON existing.field = named.field AND existing.id = named.id
    LEFT JOIN torc.cross_reference AS noted
        ON noted.field = named.field AND noted.id = named.id AND noted.workflow_id = named.workflow_id
    WHERE existing.id IS NULL OR existing.workflow_id <> named.workflow_id AND noted.id IS NULL;

    RETURN QUERY
    SELECT job.id, format('is in workflow %s, which is missing', job.workflow_id)
    FROM torc.job AS job
    LEFT JOIN torc.workflow AS workflow ON workflow.id = job.workflow_id
    WHERE (p_workflow_id IS NULL OR job.workflow_id = p_workflow_id) AND workflow.id IS NULL
    UNION ALL
    SELECT result.job_id, format('has %s current results', count(*))
    FROM torc.result AS result
    WHERE (p_workflow_id IS NULL OR result.workflow_id = p_workflow_id) AND result.is_current
    GROUP BY result.job_id
    HAVING count(*) > 1;
END
$$;
