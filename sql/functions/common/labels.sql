-- Labels of jobs and workers. A job's are stored as one text.

-- Labels as they are stored, as a JSON list; NULL for none. Inlined, and so not IMMUTABLE: to_json() is not.
CREATE OR REPLACE FUNCTION torc.labels_json(p_labels text)
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN p_labels <> '' THEN to_json(string_to_array(p_labels, ','))::text END
$$;

-- Labels as they are stored: sorted, each once, joined by commas.
CREATE OR REPLACE FUNCTION torc.join_labels(p_labels text[])
RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(string_agg(label, ',' ORDER BY label COLLATE "C"), '')
    FROM (SELECT DISTINCT unnest(p_labels) AS label) AS given
$$;
