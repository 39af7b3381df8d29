-- Sends an event to the open streams of a workflow (LISTEN torc_workflow_<id>), when the transaction commits and if
-- a stream is open. The payload is what goes on the wire; notifications hold less than 8,000 bytes, so long texts are
-- cut then. severity: debug, info, warning or error. Events after which jobs are ready, or a workflow is over, also
-- wake the claims that wait for that (see waiting_claims.sql); publish_changes() does so for jobs that were released.
CREATE OR REPLACE FUNCTION torc.publish_event(
    p_workflow_id bigint,
    p_event_type text,
    p_severity text,
    p_data jsonb
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_event jsonb;
BEGIN
    IF p_event_type IN ('job_retried', 'workflow_started', 'workflow_reinitialized', 'workflow_canceled') THEN
        PERFORM torc.wake_claims(p_workflow_id);
    END IF;
    IF NOT torc.is_watched(p_workflow_id) THEN
        RETURN;
    END IF;
    v_event := jsonb_build_object(
        'workflow_id', p_workflow_id,
        'timestamp', torc.now_ms(),
        'event_type', p_event_type,
        'severity', p_severity,
        'data', p_data
    );
    IF octet_length(v_event::text) > 7900 THEN
        v_event := v_event || jsonb_build_object('data', (
            SELECT jsonb_object_agg(
                key, CASE jsonb_typeof(value) WHEN 'string' THEN to_jsonb(left(value #>> '{}', 200)) ELSE value END
            )
            FROM jsonb_each(p_data)
        ));
    END IF;
    PERFORM pg_notify(format('torc_workflow_%s', p_workflow_id), v_event::text);
END
$$;

-- Makes this session listen to a workflow and registers that for 30 s; returns the registration's id, to be renewed.
CREATE OR REPLACE FUNCTION torc.open_event_stream(p_workflow_id bigint)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_id bigint;
BEGIN
    PERFORM torc.drop_expired_registrations();
    EXECUTE format('LISTEN torc_workflow_%s', p_workflow_id);
    INSERT INTO torc.event_stream (workflow_id, expires_at)
    VALUES (p_workflow_id, torc.now() + interval '30 s')
    RETURNING id INTO v_id;
    RETURN v_id;
END
$$;

-- Deletes registrations of processes that ended without unregistering.
CREATE OR REPLACE FUNCTION torc.drop_expired_registrations()
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM torc.event_stream
    WHERE id IN (SELECT id FROM torc.event_stream WHERE expires_at < torc.now() FOR UPDATE SKIP LOCKED);
END
$$;

-- Ends what open_event_stream() began, when the last stream of the workflow in this process is closed.
CREATE OR REPLACE FUNCTION torc.close_event_stream(p_id bigint, p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format('UNLISTEN torc_workflow_%s', p_workflow_id);
    DELETE FROM torc.event_stream WHERE id = p_id;
END
$$;

-- Whether an event stream of the workflow is open.
CREATE OR REPLACE FUNCTION torc.is_watched(p_workflow_id bigint)
RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN EXISTS (
        SELECT 1 FROM torc.event_stream WHERE workflow_id = p_workflow_id AND expires_at > torc.now()
    );
END
$$;

-- Notifies open streams of jobs that moved because of a call about another job: an event job_<status> for each; more
-- than 20 with the same status are one event with their number and the lowest 300 ids.
CREATE OR REPLACE FUNCTION torc.publish_changes(p_workflow_id bigint, p_changes torc.status_change[])
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF 'ready' = ANY (ARRAY(SELECT new_status FROM unnest(p_changes))) THEN
        PERFORM torc.wake_claims(p_workflow_id);
    END IF;
    IF p_changes IS NULL OR NOT torc.is_watched(p_workflow_id) THEN
        RETURN;
    END IF;
    PERFORM torc.publish_event(
        p_workflow_id,
        format('job_%s', moved.status),
        CASE moved.status WHEN 'canceled' THEN 'warning' ELSE 'info' END,
        jsonb_build_object(
            'status', moved.status, 'count', cardinality(moved.job_ids), 'job_ids', moved.job_ids[1:300]
        )
    )
    FROM (
        SELECT new_status AS status, array_agg(job_id ORDER BY job_id) AS job_ids
        FROM unnest(p_changes)
        GROUP BY new_status
    ) AS moved
    WHERE cardinality(moved.job_ids) > 20;

    PERFORM torc.publish_event(
        p_workflow_id,
        format('job_%s', moved.new_status),
        CASE moved.new_status WHEN 'canceled' THEN 'warning' ELSE 'info' END,
        jsonb_build_object('job_id', job.id, 'job_name', job.name, 'status', moved.new_status)
    )
    FROM (SELECT *, count(*) OVER (PARTITION BY new_status) AS alike FROM unnest(p_changes)) AS moved
    CROSS JOIN LATERAL (SELECT id, name FROM torc.job WHERE id = moved.job_id OFFSET 0) AS job
    WHERE moved.alike <= 20;
END
$$;
