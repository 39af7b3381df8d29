-- Two things that must not grow with the size of the database: plans, and the cost of a completion.

-- Plans. After many rows were deleted, or after a crash, PostgreSQL may believe that a table of many pages has no rows.
-- Then all indexes with a column cost the same, and it may search an index by its second column, which reads the
-- whole index, once per job. Each index below therefore has the condition that its first column is not NULL. That is
-- always true, and PostgreSQL finds it implied by any condition on that column, but not by one on another column: no
-- index can be used without its first column. tests/test_growth.py holds this with false statistics.

ALTER TABLE torc.job_depends_on DROP CONSTRAINT job_depends_on_pkey;
-- Each pair once, and the rows of a job. Not a primary key, because a key cannot have a condition; so that logical
-- replication works without one, it identifies rows by all their columns.
CREATE UNIQUE INDEX job_depends_on_key ON torc.job_depends_on (job_id, depends_on_job_id) WHERE job_id IS NOT NULL;
ALTER TABLE torc.job_depends_on REPLICA IDENTITY FULL;

ALTER TABLE torc.job_input_file DROP CONSTRAINT job_input_file_pkey;
CREATE UNIQUE INDEX job_input_file_key ON torc.job_input_file (job_id, file_id) WHERE job_id IS NOT NULL;
ALTER TABLE torc.job_input_file REPLICA IDENTITY FULL;

ALTER TABLE torc.job_output_file DROP CONSTRAINT job_output_file_pkey;
CREATE UNIQUE INDEX job_output_file_key ON torc.job_output_file (job_id, file_id) WHERE job_id IS NOT NULL;
ALTER TABLE torc.job_output_file REPLICA IDENTITY FULL;

ALTER TABLE torc.job_input_user_data DROP CONSTRAINT job_input_user_data_pkey;
CREATE UNIQUE INDEX job_input_user_data_key ON torc.job_input_user_data (job_id, user_data_id) WHERE job_id IS NOT NULL;
ALTER TABLE torc.job_input_user_data REPLICA IDENTITY FULL;

ALTER TABLE torc.job_output_user_data DROP CONSTRAINT job_output_user_data_pkey;
CREATE UNIQUE INDEX job_output_user_data_key ON torc.job_output_user_data (job_id, user_data_id)
    WHERE job_id IS NOT NULL;
ALTER TABLE torc.job_output_user_data REPLICA IDENTITY FULL;

DROP INDEX torc.workflow_user_idx;
-- list_workflows with the user filter; the access check of lists.
CREATE INDEX workflow_user_idx ON torc.workflow ("user", id) WHERE "user" IS NOT NULL;

DROP INDEX torc.resource_requirements_workflow_id_idx;
-- Lists, bulk delete, and the look-up of the record named default.
CREATE INDEX resource_requirements_workflow_id_idx
    ON torc.resource_requirements (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.failure_handler_workflow_id_idx;
-- list_failure_handlers.
CREATE INDEX failure_handler_workflow_id_idx ON torc.failure_handler (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.compute_node_workflow_id_idx;
-- Lists and bulk delete.
CREATE INDEX compute_node_workflow_id_idx ON torc.compute_node (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.job_workflow_id_idx;
-- list_jobs, list_job_ids, delete_jobs and everything that walks the jobs of a workflow in id order.
CREATE INDEX job_workflow_id_idx ON torc.job (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.job_workflow_id_status_idx;
-- is_workflow_complete, the status filter of list_jobs, cancel_workflow, reset_job_status.
CREATE INDEX job_workflow_id_status_idx ON torc.job (workflow_id, status, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.job_ready_idx;
-- claim_next_jobs, in claim order: 2,300 claims/s against 5/s over (workflow_id, status), 400,000 jobs ready.
CREATE INDEX job_ready_idx
    ON torc.job (workflow_id, priority DESC, id) WHERE status = 'ready' AND workflow_id IS NOT NULL;

DROP INDEX torc.job_ready_scheduler_idx;
-- claim_jobs_based_on_resources: first jobs of each fitting requirement, per scheduler (NULL: any) …
CREATE INDEX job_ready_scheduler_idx
    ON torc.job (workflow_id, resource_requirements_id, scheduler_id, priority DESC, id)
    WHERE status = 'ready' AND workflow_id IS NOT NULL;

DROP INDEX torc.job_ready_requirements_idx;
-- … and over all schedulers, when no job of the asking worker's own scheduler is left.
CREATE INDEX job_ready_requirements_idx
    ON torc.job (workflow_id, resource_requirements_id, priority DESC, id)
    WHERE status = 'ready' AND workflow_id IS NOT NULL;

DROP INDEX torc.job_depends_on_depends_on_job_id_idx;
-- Dependents of a job: settle_dependents, upstream_job_id filter of list_jobs.
CREATE INDEX job_depends_on_depends_on_job_id_idx
    ON torc.job_depends_on (depends_on_job_id, job_id) WHERE depends_on_job_id IS NOT NULL;

DROP INDEX torc.file_workflow_id_idx;
-- Lists and bulk delete.
CREATE INDEX file_workflow_id_idx ON torc.file (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.user_data_workflow_id_idx;
-- Lists and bulk delete.
CREATE INDEX user_data_workflow_id_idx ON torc.user_data (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.job_input_file_file_id_idx;
-- Consumers of a file: initialize_jobs, needs_file_id filter of list_jobs, the key's own delete.
CREATE INDEX job_input_file_file_id_idx ON torc.job_input_file (file_id, job_id) WHERE file_id IS NOT NULL;

DROP INDEX torc.job_output_file_file_id_idx;
-- Producers of a file: initialize_jobs, is_output filter of list_files, the key's own delete.
CREATE INDEX job_output_file_file_id_idx ON torc.job_output_file (file_id, job_id) WHERE file_id IS NOT NULL;

DROP INDEX torc.job_input_user_data_user_data_id_idx;
-- Consumers of user data: initialize_jobs, the key's own delete.
CREATE INDEX job_input_user_data_user_data_id_idx
    ON torc.job_input_user_data (user_data_id, job_id) WHERE user_data_id IS NOT NULL;

DROP INDEX torc.job_output_user_data_user_data_id_idx;
-- Producers of user data: initialize_jobs, the key's own delete.
CREATE INDEX job_output_user_data_user_data_id_idx
    ON torc.job_output_user_data (user_data_id, job_id) WHERE user_data_id IS NOT NULL;

DROP INDEX torc.result_workflow_id_idx;
-- list_results with all_runs=true, bulk delete.
CREATE INDEX result_workflow_id_idx ON torc.result (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.event_workflow_id_idx;
-- Lists in id order, bulk delete.
CREATE INDEX event_workflow_id_idx ON torc.event (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.event_workflow_id_timestamp_idx;
-- The newest event, and after_timestamp.
CREATE INDEX event_workflow_id_timestamp_idx ON torc.event (workflow_id, "timestamp", id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.workflow_action_workflow_id_idx;
-- Lists, pending actions, the look for triggers in transitions.
CREATE INDEX workflow_action_workflow_id_idx ON torc.workflow_action (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.scheduled_compute_node_workflow_id_idx;
-- Lists, bulk delete, the check of reset_workflow_status.
CREATE INDEX scheduled_compute_node_workflow_id_idx
    ON torc.scheduled_compute_node (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.local_scheduler_workflow_id_idx;
-- Lists and bulk delete.
CREATE INDEX local_scheduler_workflow_id_idx ON torc.local_scheduler (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.slurm_scheduler_workflow_id_idx;
-- Lists and bulk delete.
CREATE INDEX slurm_scheduler_workflow_id_idx ON torc.slurm_scheduler (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.slurm_stats_workflow_id_idx;
-- Lists.
CREATE INDEX slurm_stats_workflow_id_idx ON torc.slurm_stats (workflow_id, id) WHERE workflow_id IS NOT NULL;

DROP INDEX torc.ro_crate_entity_workflow_id_idx;
-- Lists in id order, bulk delete.
CREATE INDEX ro_crate_entity_workflow_id_idx ON torc.ro_crate_entity (workflow_id, id) WHERE workflow_id IS NOT NULL;

-- Actions. Which actions list a job: found by the job, whatever the length of the list (with one list of 80,000 jobs a
-- server completed 73 jobs/s, without it 700). Kept in step with workflow_action.job_ids by the functions.
CREATE TABLE torc.workflow_action_job (
    job_id bigint NOT NULL,
    action_id bigint NOT NULL,
    occurrences bigint NOT NULL,  -- how often job_ids contains the job
    counted bigint NOT NULL DEFAULT 0,  -- how much of the action's trigger_count came from this job
    CONSTRAINT workflow_action_job_action_id_fkey
        FOREIGN KEY (action_id) REFERENCES torc.workflow_action ON DELETE CASCADE
);
-- The actions of a job: transitions, forget_deleted_jobs.
CREATE UNIQUE INDEX workflow_action_job_key ON torc.workflow_action_job (job_id, action_id) WHERE job_id IS NOT NULL;
ALTER TABLE torc.workflow_action_job REPLICA IDENTITY FULL;
-- The jobs of an action: initialize_jobs, and the key's own delete.
CREATE INDEX workflow_action_job_action_id_idx ON torc.workflow_action_job (action_id);

-- Ids of jobs that do not exist, or belong to another workflow, leave the stored lists. For jobs that remain, the count
-- is what initialize_jobs would give them.
INSERT INTO torc.workflow_action_job (job_id, action_id, occurrences, counted)
SELECT
    job.id,
    action.id,
    count(*),
    count(*) FILTER (
        WHERE job.status IN ('completed', 'failed', 'canceled', 'terminated')
            AND action.trigger_type IN ('on_jobs_ready', 'on_jobs_complete')
            OR job.status = 'ready' AND action.trigger_type = 'on_jobs_ready'
    )
FROM torc.workflow_action AS action
CROSS JOIN LATERAL unnest(action.job_ids) AS listed (job_id)
INNER JOIN torc.job AS job ON job.id = listed.job_id AND job.workflow_id = action.workflow_id
GROUP BY job.id, action.id;

UPDATE torc.workflow_action AS action
SET
    job_ids = kept.job_ids,
    required_triggers = CASE
        WHEN trigger_type IN ('on_jobs_ready', 'on_jobs_complete') THEN greatest(cardinality(kept.job_ids), 1)
        ELSE required_triggers
    END,
    trigger_count = CASE
        WHEN trigger_type IN ('on_jobs_ready', 'on_jobs_complete') THEN least(trigger_count, kept.counted)
        ELSE trigger_count
    END
FROM (
    SELECT
        listing.id,
        ARRAY(
            SELECT listed.job_id
            FROM unnest(listing.job_ids) WITH ORDINALITY AS listed (job_id, position)
            INNER JOIN torc.workflow_action_job AS link
                ON link.action_id = listing.id AND link.job_id = listed.job_id
            ORDER BY listed.position
        ) AS job_ids,
        (
            SELECT coalesce(sum(link.counted), 0)::bigint
            FROM torc.workflow_action_job AS link
            WHERE link.action_id = listing.id
        ) AS counted
    FROM torc.workflow_action AS listing
) AS kept
WHERE kept.id = action.id AND cardinality(kept.job_ids) < cardinality(action.job_ids);
