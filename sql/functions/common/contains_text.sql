-- Whether a text holds another one, without regard to the case of ASCII letters. No character has a special meaning.
CREATE OR REPLACE FUNCTION torc.contains_text(p_text text, p_part text)
RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT position(lower(p_part COLLATE "C") IN lower(p_text COLLATE "C")) > 0 OR p_part = ''
$$;
