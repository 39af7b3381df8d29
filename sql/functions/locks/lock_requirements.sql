-- Locks what is needed before requirements are deleted, and with them the jobs that use them, of another workflow only
-- if the caller may use that too. Locks: the workflow and the jobs' workflows, exclusive, by ascending id; then the
-- requirements, which holds up jobs that are just being created with them. If such a job is of one more workflow than
-- the first query found, the locks can no longer be taken in order; then it raises 40001, and the caller starts again.
-- Raises TC403.
CREATE OR REPLACE FUNCTION torc.lock_requirements(p_workflow_id bigint, p_ids bigint[], p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_workflow_ids bigint[] := ARRAY(
        SELECT p_workflow_id
        UNION
        SELECT torc.workflows_that_name('resource_requirements_id', p_ids)
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
        FROM torc.workflows_that_name('resource_requirements_id', p_ids) AS other (workflow_id)
        WHERE other.workflow_id <> ALL (v_workflow_ids)
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'serialization_failure', MESSAGE = 'jobs of another workflow came to use the requirements';
    END IF;
END
$$;
