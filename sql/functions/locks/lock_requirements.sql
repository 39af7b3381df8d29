-- Before requirements go, and with them the jobs that use them: jobs of another workflow only if the caller may use
-- that too. Locks: the workflow and the jobs' workflows, exclusive, by ascending id; then the requirements, which holds
-- up jobs that are just being created with them. If such a job brought in one more workflow after we looked, the locks
-- can no longer be taken in order: 40001, and the caller starts again. Raises TC403.
CREATE OR REPLACE FUNCTION torc.lock_requirements(p_workflow_id bigint, p_ids bigint[], p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_workflow_ids bigint[] := ARRAY(
        SELECT p_workflow_id
        UNION
        SELECT torc.foreign_users('resource_requirements_id', p_ids)
        ORDER BY 1
    );
    v_workflow_id bigint;
BEGIN
    PERFORM torc.authorize_side_effects(v_workflow_ids, p_caller);
    FOREACH v_workflow_id IN ARRAY v_workflow_ids LOOP
        PERFORM torc.take_exclusive_lock(v_workflow_id);
    END LOOP;
    PERFORM id FROM torc.resource_requirements WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
    IF EXISTS (
        SELECT 1
        FROM torc.foreign_users('resource_requirements_id', p_ids) AS other (workflow_id)
        WHERE other.workflow_id <> ALL (v_workflow_ids)
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'serialization_failure', MESSAGE = 'jobs of another workflow came to use the requirements';
    END IF;
END
$$;
