-- Servers must be stopped.
-- What clients of torc 0.23 to 1.0.0 need beside those of 0.22.2.

-- How the asking client wants its answers, and who raises the run id when a workflow is run again. NULL, in
-- torc.caller, is a client of unknown make: it gets settings in the form in which they were written, and reset_status
-- raises the run id. torc_server/dialect.py decides, request by request.
CREATE TYPE torc.dialect AS ENUM (
    'text',             -- settings as text; the client raises the run id itself
    'text_initialize',  -- settings as text; initialize_jobs raises the run id after a reset, unless the client has
    'text_reset',       -- settings as text; reset_status raises the run id
    'objects'           -- settings as JSON objects; reset_status raises the run id
);
ALTER TYPE torc.caller ADD ATTRIBUTE dialect torc.dialect;

-- metadata, slurm_defaults, execution_config and resource_monitor_config stay text, whoever wrote them.
ALTER TABLE torc.workflow
    ADD COLUMN written_as_object text[] NOT NULL DEFAULT '{}',  -- which of the four were sent as JSON objects
    ADD COLUMN env jsonb,
    ADD COLUMN dynamic_jobs jsonb,
    ADD COLUMN submission_directory text COLLATE "C";

-- For clients of the dialect text_initialize; see torc.raise_run_id().
ALTER TABLE torc.workflow_status
    ADD COLUMN initialized_run_id bigint NOT NULL DEFAULT 0,  -- the run at the last initialize_jobs
    ADD COLUMN is_reset boolean NOT NULL DEFAULT false;  -- reset since, and the run id may have to be raised
UPDATE torc.workflow_status SET initialized_run_id = run_id;

ALTER TABLE torc.ro_crate_entity ADD COLUMN written_as_object boolean NOT NULL DEFAULT false;  -- metadata

ALTER TABLE torc.job
    ADD COLUMN env jsonb,  -- the workflow's env under the job's own
    -- Sorted and joined by commas, which no label holds: one key for each set. A job goes only to workers that have all
    -- of its labels, and a worker with labels gets only jobs with labels.
    ADD COLUMN labels text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN origin text COLLATE "C",  -- how the job came to be, or to be again: retry, spawn; NULL: declared
    ADD COLUMN start_time timestamptz;  -- of the execution on active_compute_node_id; means nothing without that
ALTER TYPE torc.new_job ADD ATTRIBUTE env jsonb, ADD ATTRIBUTE labels text[];

ALTER TABLE torc.compute_node
    ADD COLUMN end_time text COLLATE "C",
    ADD COLUMN labels text[] COLLATE "C",  -- sorted; NULL: none
    ADD COLUMN sample_count bigint,
    ADD COLUMN peak_cpu_percent double precision,
    ADD COLUMN avg_cpu_percent double precision,
    ADD COLUMN peak_memory_bytes bigint,
    ADD COLUMN avg_memory_bytes bigint,
    ADD CONSTRAINT compute_node_labels_not_empty CHECK (labels <> '{}');

ALTER TABLE torc.slurm_scheduler ADD COLUMN serialize_allocations boolean NOT NULL DEFAULT false;

-- Claims choose among the jobs of one set of labels after the other. As in 0005, the condition on workflow_id keeps each
-- index from being searched without its first column.
DROP INDEX torc.job_ready_idx;
-- claim_next_jobs, in claim order; the label sets of ready jobs.
CREATE INDEX job_ready_idx
    ON torc.job (workflow_id, labels, priority DESC, id) WHERE status = 'ready' AND workflow_id IS NOT NULL;

DROP INDEX torc.job_ready_scheduler_idx;
-- claim_jobs_based_on_resources: first jobs of each fitting requirement, per scheduler (NULL: any) …
CREATE INDEX job_ready_scheduler_idx
    ON torc.job (workflow_id, labels, resource_requirements_id, scheduler_id, priority DESC, id)
    WHERE status = 'ready' AND workflow_id IS NOT NULL;

DROP INDEX torc.job_ready_requirements_idx;
-- … and over all schedulers, when no job of the asking worker's own scheduler is left.
CREATE INDEX job_ready_requirements_idx
    ON torc.job (workflow_id, labels, resource_requirements_id, priority DESC, id)
    WHERE status = 'ready' AND workflow_id IS NOT NULL;

-- The resources of a worker, and what claims have taken of them. Jobs of one node share the nodes that are left.
CREATE TYPE torc.worker_pool AS (
    scheduler_config_id bigint,
    nodes bigint,
    node_cpus numeric,
    node_gpus numeric,
    node_memory numeric,
    used_cpus numeric,
    used_gpus numeric,
    used_memory numeric,
    job_ids bigint[]
);
