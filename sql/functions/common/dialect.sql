-- Settings of workflows and metadata of RO-Crate entities are stored as text, and answered as text or as JSON objects,
-- as the caller's generation of clients wants them.

-- Whether the caller gets a value as an object. A caller whose generation is not known gets what was written.
CREATE OR REPLACE FUNCTION torc.wants_object(p_caller torc.caller, p_written_as_object boolean)
RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN (p_caller).dialect IS NULL THEN p_written_as_object ELSE (p_caller).dialect = 'objects' END
$$;

-- A stored text as JSON text; as an object, NULL if it holds none. Inlined, and so not IMMUTABLE: to_json() is not.
CREATE OR REPLACE FUNCTION torc.text_or_object(p_text text, p_as_object boolean)
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN p_as_object THEN torc.object_in(p_text)::text ELSE to_json(p_text)::text END
$$;

-- The JSON object that a text holds, or NULL.
CREATE OR REPLACE FUNCTION torc.object_in(p_text text)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF p_text !~ '^\s*\{' THEN
        RETURN NULL;
    END IF;
    RETURN p_text::jsonb;
EXCEPTION
    WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
        RETURN NULL;
END
$$;

-- Keys of a body whose values are JSON objects: what workflow.written_as_object holds.
CREATE OR REPLACE FUNCTION torc.object_keys(p_body jsonb, p_keys text[])
RETURNS text[]
LANGUAGE sql IMMUTABLE
AS $$
    SELECT ARRAY(SELECT key FROM unnest(p_keys) AS key WHERE jsonb_typeof(p_body -> key) = 'object')
$$;

-- How workers run jobs. Clients that read objects refuse a workflow whose configuration has unknown keys or wrong
-- types: they get none then, as from torc 1.0.0. Clients that read text drop the whole text because of one unknown
-- key, so they do not get srun_mpi, which came later.
CREATE OR REPLACE FUNCTION torc.execution_config_json(p_text text, p_as_object boolean, p_caller torc.caller)
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE
        WHEN p_as_object THEN torc.normal_execution_config(torc.object_in(p_text))::text
        WHEN (p_caller).dialect IS NOT NULL AND p_text LIKE '%"srun_mpi"%'
            THEN to_json(coalesce((torc.object_in(p_text) - 'srun_mpi')::text, p_text))::text
        ELSE to_json(p_text)::text
    END
$$;

-- An execution_config with its defaults, NULL if a value has a type or is a word that torc 1.0.0 refuses.
CREATE OR REPLACE FUNCTION torc.normal_execution_config(p_config jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT '{"mode": "direct"}' || jsonb_strip_nulls(p_config)
    WHERE torc.fits_types(p_config, $types${
        "mode": ["direct", "slurm", "auto"],
        "enable_cpu_bind": "boolean", "limit_resources": "boolean", "staggered_start": "boolean",
        "oom_exit_code": "integer", "timeout_exit_code": "integer",
        "sigkill_headroom_seconds": "integer", "sigterm_lead_seconds": "integer",
        "srun_mpi": "string", "srun_termination_signal": "string", "termination_signal": "string",
        "stdio": {
            "mode": ["separate", "combined", "no_stdout", "no_stderr", "none"], "delete_on_success": "boolean"
        },
        "job_stdio_overrides": {"*": {
            "mode": ["separate", "combined", "no_stdout", "no_stderr", "none"], "delete_on_success": "boolean"
        }}
    }$types$)
$$;

-- How workers watch the use of resources: with every key that the contract names, and no other; NULL where a value has
-- the wrong type. Clients that read text ignore unknown keys, so they get what was written.
CREATE OR REPLACE FUNCTION torc.normal_resource_monitor_config(p_config jsonb)
RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT
AS $$
DECLARE
    v_config jsonb := torc.with_defaults(p_config, '{
        "enabled": false, "granularity": "summary", "sample_interval_seconds": 10, "flush_interval_seconds": 300,
        "generate_plots": false, "jobs": null, "compute_node": null
    }');
BEGIN
    IF jsonb_typeof(v_config -> 'jobs') = 'object' THEN
        v_config := v_config || jsonb_build_object('jobs', torc.with_defaults(
            v_config -> 'jobs', '{"enabled": false, "granularity": "summary"}'
        ));
    END IF;
    IF jsonb_typeof(v_config -> 'compute_node') = 'object' THEN
        v_config := v_config || jsonb_build_object('compute_node', torc.with_defaults(
            v_config -> 'compute_node', '{"enabled": false, "granularity": "summary", "cpu": true, "memory": true}'
        ));
    END IF;
    RETURN CASE WHEN torc.fits_types(v_config, '{
        "enabled": "boolean", "granularity": ["summary", "time_series"], "generate_plots": "boolean",
        "sample_interval_seconds": "integer", "flush_interval_seconds": "integer",
        "jobs": {"enabled": "boolean", "granularity": ["summary", "time_series"]},
        "compute_node": {
            "enabled": "boolean", "granularity": ["summary", "time_series"], "cpu": "boolean", "memory": "boolean"
        }
    }') THEN v_config END;
END
$$;

-- The keys of p_defaults; with the values of p_object where it has one that is not null.
CREATE OR REPLACE FUNCTION torc.with_defaults(p_object jsonb, p_defaults jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE
AS $$
    SELECT jsonb_object_agg(key, coalesce(nullif(p_object -> key, 'null'), value)) FROM jsonb_each(p_defaults)
$$;

-- Whether an object has no other keys than p_types, and values of those types. A type is "boolean", "integer",
-- "string", a list of words, or an object of types, where "*" means every key. null fits all.
CREATE OR REPLACE FUNCTION torc.fits_types(p_object jsonb, p_types jsonb)
RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT jsonb_typeof(p_object) = 'object' AND NOT EXISTS (
        SELECT 1
        FROM jsonb_each(CASE WHEN jsonb_typeof(p_object) = 'object' THEN p_object ELSE '{}' END) AS field (key, value)
        CROSS JOIN LATERAL (SELECT coalesce(p_types -> field.key, p_types -> '*') AS type) AS wanted
        WHERE jsonb_typeof(field.value) <> 'null'
            AND NOT coalesce(
                CASE jsonb_typeof(wanted.type)
                    WHEN 'array' THEN jsonb_typeof(field.value) = 'string' AND wanted.type ? (field.value #>> '{}')
                    WHEN 'object' THEN torc.fits_types(field.value, wanted.type)
                    ELSE CASE wanted.type #>> '{}'
                        WHEN 'integer' THEN field.value::text ~ '^-?[0-9]{1,18}$'
                        ELSE jsonb_typeof(field.value) = wanted.type #>> '{}'
                    END
                END,
                false
            )
    )
$$;
