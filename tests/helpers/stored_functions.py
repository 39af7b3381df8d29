"""Which stored functions no test has called. PostgreSQL counts the calls (track_functions); it cannot count those of
functions in SQL that it has written into the statement of the caller."""

import re
from pathlib import Path

QUERIES = Path(__file__).parents[2] / "sql" / "queries"
COUNTED = "SELECT DISTINCT funcname FROM pg_stat_user_functions WHERE schemaname = 'torc'"
ALL = """
    SELECT proname, lanname = 'sql' AND proconfig IS NULL AND NOT prosecdef, pg_get_functiondef(f.oid)
    FROM pg_proc AS f INNER JOIN pg_language AS l ON l.oid = prolang
    WHERE pronamespace = 'torc'::regnamespace AND prokind = 'f'
"""
# Where a table says that a function is called.
TABLES = """
    SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
    UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'torc'::regnamespace
    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'torc'
"""


def counted(connection):
    """The names of the functions whose calls this database has counted."""
    return {name for (name,) in connection.execute(COUNTED)}


def never_called(connection, called):
    """The names, sorted, of the stored functions that are not among the called ones and may not have been written into
    a statement of one of them, of a table or of sql/queries."""
    functions = connection.execute(ALL).fetchall()
    hidden = {name for name, may_be_hidden, _ in functions if may_be_hidden}
    texts = [path.read_text() for path in QUERIES.glob("*.sql")]
    texts += [text for (text,) in connection.execute(TABLES) if text]
    found = set()
    new = {*called, *_named(texts) & hidden}
    while new:
        found |= new
        new = _named(text for name, _, text in functions if name in new) & hidden - found
    return sorted({name for name, _, _ in functions} - found)


def _named(texts):
    return {name for text in texts for name in re.findall(r"\btorc\.(\w+)\(", text)}
