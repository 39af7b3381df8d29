-- Claims that wait until something is ready. A process of a server in which such claims of a workflow wait registers
-- that in torc.event_stream for 30 s, as event streams do, under the complement of the workflow's id. Transitions tell
-- it by a notification that a claim may find something now, or has to end: only while such a row exists, because a
-- commit that notifies takes a lock of the whole server. The payload is the workflow's id, so that a transaction which
-- releases many jobs notifies once.

-- Makes this session hear of workflows in which claims wait, and registers one for 30 s; returns the registration's id.
-- A transition that began before does not see it, so the process has to repeat its claims once more after a moment.
CREATE OR REPLACE FUNCTION torc.await_jobs(p_workflow_id bigint)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_id bigint;
BEGIN
    PERFORM torc.drop_expired_registrations();
    LISTEN torc_jobs;
    INSERT INTO torc.event_stream (workflow_id, expires_at)
    VALUES (~p_workflow_id, torc.now() + interval '30 s')
    RETURNING id INTO v_id;
    RETURN v_id;
END
$$;

-- Notifies the processes in which claims of a workflow wait.
CREATE OR REPLACE FUNCTION torc.wake_claims(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF torc.is_watched(~p_workflow_id) THEN
        PERFORM pg_notify('torc_jobs', p_workflow_id::text);
    END IF;
END
$$;

-- Those of the workflows that are gone, canceled or complete: claims that wait there have to end.
CREATE OR REPLACE FUNCTION torc.finished_workflows(p_workflow_ids bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN ARRAY(
        SELECT id FROM unnest(p_workflow_ids) AS awaited (id) WHERE coalesce(torc.is_finished(id), true)
    );
END
$$;
