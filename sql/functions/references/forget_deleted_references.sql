-- Triggers for rows that jobs and results can name. Whatever statement deletes such rows (of an endpoint, of their
-- workflow, in psql), what names them is deleted too or forgets them, set-wise. Each function locks the workflows of
-- the deleted rows, exclusive, by ascending id, so that transactions which are just naming a row there end first, and
-- are seen. For a workflow that is being deleted itself nothing is left to do.

-- Returns the workflows in which jobs or results may name deleted rows: those of the rows, which it locks, and those
-- noted in cross_reference, from which it deletes them.
CREATE OR REPLACE FUNCTION torc.lock_workflows_that_name(p_field text, p_ids bigint[], p_workflow_ids bigint[])
RETURNS bigint[]
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    v_workflow_ids bigint[] := ARRAY(
        SELECT DISTINCT owner.id
        FROM unnest(p_workflow_ids) AS owner (id)
        WHERE EXISTS (SELECT 1 FROM torc.workflow WHERE id = owner.id OFFSET 0)
        ORDER BY owner.id
    );
    v_workflow_id bigint;
    v_other_ids bigint[];
BEGIN
    FOREACH v_workflow_id IN ARRAY v_workflow_ids LOOP
        PERFORM torc.take_exclusive_lock(v_workflow_id);
    END LOOP;
    WITH noted AS (
        DELETE FROM torc.cross_reference WHERE field = p_field AND id = ANY (p_ids) RETURNING workflow_id
    )

    SELECT coalesce(array_agg(DISTINCT workflow_id), '{}') INTO v_other_ids FROM noted;
    RETURN v_workflow_ids || v_other_ids;
END
$$;

-- Deletes the jobs that use deleted requirements.
CREATE OR REPLACE FUNCTION torc.forget_deleted_requirements()
RETURNS trigger
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_ids bigint[] := ARRAY(SELECT id FROM deleted_row);
    v_workflow_ids bigint[] := torc.lock_workflows_that_name(
        'resource_requirements_id', v_ids, ARRAY(SELECT workflow_id FROM deleted_row)
    );
BEGIN
    DELETE FROM torc.job WHERE workflow_id = ANY (v_workflow_ids) AND resource_requirements_id = ANY (v_ids);
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER forget_deleted_requirements
AFTER DELETE ON torc.resource_requirements
REFERENCING OLD TABLE AS deleted_row
FOR EACH STATEMENT
EXECUTE FUNCTION torc.forget_deleted_requirements();

-- Makes jobs forget deleted failure handlers.
CREATE OR REPLACE FUNCTION torc.forget_deleted_handlers()
RETURNS trigger
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_ids bigint[] := ARRAY(SELECT id FROM deleted_row);
    v_workflow_ids bigint[] := torc.lock_workflows_that_name(
        'failure_handler_id', v_ids, ARRAY(SELECT workflow_id FROM deleted_row)
    );
BEGIN
    UPDATE torc.job
    SET failure_handler_id = NULL
    WHERE workflow_id = ANY (v_workflow_ids) AND failure_handler_id = ANY (v_ids);
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER forget_deleted_handlers
AFTER DELETE ON torc.failure_handler
REFERENCING OLD TABLE AS deleted_row
FOR EACH STATEMENT
EXECUTE FUNCTION torc.forget_deleted_handlers();

-- Deletes the results of deleted compute nodes, which jobs forget.
CREATE OR REPLACE FUNCTION torc.forget_deleted_nodes()
RETURNS trigger
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_ids bigint[] := ARRAY(SELECT id FROM deleted_row);
    v_workflow_ids bigint[] := torc.lock_workflows_that_name(
        'compute_node_id', v_ids, ARRAY(SELECT workflow_id FROM deleted_row)
    );
BEGIN
    UPDATE torc.job SET active_compute_node_id = NULL WHERE active_compute_node_id = ANY (v_ids);
    DELETE FROM torc.result WHERE workflow_id = ANY (v_workflow_ids) AND compute_node_id = ANY (v_ids);
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER forget_deleted_nodes
AFTER DELETE ON torc.compute_node
REFERENCING OLD TABLE AS deleted_row
FOR EACH STATEMENT
EXECUTE FUNCTION torc.forget_deleted_nodes();

-- Deletes the jobs of deleted workflows; forget_deleted_jobs() deletes the rest.
CREATE OR REPLACE FUNCTION torc.forget_deleted_workflows()
RETURNS trigger
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_workflow_id bigint;
    v_ids bigint[] := ARRAY(SELECT id FROM deleted_workflow ORDER BY id);
BEGIN
    FOREACH v_workflow_id IN ARRAY v_ids LOOP
        PERFORM torc.take_exclusive_lock(v_workflow_id);
    END LOOP;
    DELETE FROM torc.job WHERE workflow_id = ANY (v_ids);
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER forget_deleted_workflows
AFTER DELETE ON torc.workflow
REFERENCING OLD TABLE AS deleted_workflow
FOR EACH STATEMENT
EXECUTE FUNCTION torc.forget_deleted_workflows();
