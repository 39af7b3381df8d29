"""The rules of the house for sql/."""

import re
from pathlib import Path

import pytest

from torc_server.schemas.fields import JOB_STATUSES

SQL = Path(__file__).parents[2] / "sql"
QUERIES = {
    f"{path.stem}.{match[1]}": match[2]
    for path in sorted((SQL / "queries").glob("*.sql"))
    for match in re.finditer(r"^-- name: (\w+)\(.*\n((?:(?!^-- name: ).*\n?)*)", path.read_text(), re.M)
}
AUTHORIZE = re.compile(r"torc\.authorize_\w+\(")


def _without_comments(text):
    return re.sub(r"^\s*--.*\n", "", text, flags=re.M)


@pytest.mark.parametrize("name", [name for name, text in QUERIES.items() if AUTHORIZE.search(text)])
def test_a_statement_checks_access_in_one_of_the_two_forms(name):
    text = _without_comments(QUERIES[name]).strip()
    if text.startswith("WITH allowed AS "):
        assert re.search(r"(?:FROM|JOIN|USING) allowed\b", text), "it has to read from `allowed`"
        rest = text.split("\n)", 1)[1]
        assert not AUTHORIZE.search(rest)
    elif not re.fullmatch(r"SELECT torc\.\w+\([^;]*\)(?:::text)?;", text):  # a call, which checks itself
        calls = AUTHORIZE.findall(re.sub(r"torc\.authorize_\w+_deletion\(\s*", "", text))
        of_a_row = re.findall(r"(?:WHERE|AND)\s+torc\.authorize_[^;]*?IS NOT NULL", text)
        assert len(calls) == len(of_a_row) == 1


# The linters for SQL do not see these: to them the body of a function is a text.

FUNCTIONS = {
    path.relative_to(SQL / "functions").as_posix(): path.read_text()
    for path in sorted((SQL / "functions").rglob("*.sql"))
}
FILES = FUNCTIONS | {path.name: path.read_text() for path in sorted((SQL / "queries").glob("*.sql"))}
DEFINITION = re.compile(r"((?:^--.*\n)*)^CREATE OR REPLACE FUNCTION torc\.(\w+)\(([^$]*?)^(?:RETURNS|LANGUAGE)", re.M)
KEYWORDS = (
    "all|and|any|array|as|asc|begin|between|by|case|conflict|create|cross|declare|default|delete|desc|distinct|do|else|"
    "elsif|end|except|exists|exit|for|from|full|function|group|having|if|immutable|in|inner|insert|intersect|into|is|"
    "join|language|lateral|left|like|limit|loop|materialized|not|null|offset|on|or|order|outer|over|parallel|perform|"
    "raise|replace|return|returning|returns|select|set|setof|stable|strict|then|union|update|using|values|volatile|when|"
    "where|while|with"
)
LOWER = re.compile(rf"\b(?!left\(|replace\()(?:{KEYWORDS})\b")
DYNAMIC = ["admin/admin_sql.sql", "events/publish_event.sql"]  # GRANT and LISTEN take no parameters


def _code(text):
    """Without comments, texts and quoted names; of functions the bodies too."""
    text = re.sub(r"--.*", "", text)
    text = re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"|\$\w+\$.*?\$\w+\$", "''", text, flags=re.S)
    return re.sub(r"(?:\.|\bAS )\w+|:\w+|\{\w+\}", "", text)


def _lines(texts):
    for name, text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            yield f"{name}:{number}: {line}", line


def test_lines_have_at_most_120_characters_and_no_white_space_at_the_end():
    assert [
        place
        for place, line in _lines(FILES)
        if len(line) > 120 and not line.startswith("-- name: ") or line != line.rstrip()
    ] == []


def test_keywords_are_upper_case():
    codes = {name: _code(text) for name, text in FILES.items()}
    assert [place for place, line in _lines(codes) if LOWER.search(line)] == []


def test_each_function_has_a_comment_and_its_parameters_begin_with_p():
    for path, text in FUNCTIONS.items():
        found = DEFINITION.findall(text)
        assert len(found) == len(re.findall("^CREATE OR REPLACE FUNCTION ", text, re.M)), path
        explained = {name for comment, name, _ in found if comment}
        assert explained == {name for _, name, _ in found}, path
        for _, name, parameters in found:
            parameters = re.sub(r"--.*|\([^()]*\)", "", parameters).rpartition(")")[0]
            for each in filter(None, map(str.strip, parameters.split(","))):
                # j torc.job: a row that is inlined; OUT: a column of the answer
                assert re.match(r"p_\w+ |OUT |[a-z] torc\.\w+$", each), f"{name}: {each}"


def test_variables_begin_with_v_and_constants_with_c():
    for path, text in FUNCTIONS.items():
        for block in re.findall(r"^DECLARE\n(.*?)^BEGIN", text, re.S | re.M):
            for line in re.findall(r"^    [a-z]\w* .*", re.sub(r"--.*", "", block), re.M):
                assert re.match(r"    (?:v_\w+ (?!CONSTANT)|c_\w+ CONSTANT )", line), f"{path}: {line}"


STATUS = rf"'(?:{'|'.join(JOB_STATUSES)})'"
SETS = re.compile(
    rf"\b(?:IN\s*\(|ARRAY\[)\s*{STATUS}(?:::[\w.]+)?\s*,\s*{STATUS}"
    rf"|'{{(?:{'|'.join(JOB_STATUSES)})\b[^']*}}'"
    rf"|([\w.]+) (?:=|<>) {STATUS}\s+(?:OR|AND) \1 (?:=|<>) {STATUS}"
    rf"|\b(?:enum_range\(|has_jobs_between\([^,]*,|BETWEEN)\s*{STATUS}"
)


def test_a_set_of_statuses_has_a_name():
    """In transitions/job_status.sql."""
    named = ("transitions/job_status.sql", "workflows/has_jobs.sql")
    code = {path: re.sub(r"--.*", "", text) for path, text in FILES.items() if path not in named}
    assert [f"{path}: {match[0]}" for path, text in code.items() for match in SETS.finditer(text)] == []


CLOCKS = re.compile(
    r"(?<!torc\.)\b(?:now|(?:clock|statement|transaction)_timestamp)\(\)|\bcurrent_(?:timestamp|date|time)\b", re.I
)
OF_POSTGRESQL = {  # compared with what PostgreSQL itself says about times, or with the clock of the server's host
    "admin/server_metrics.sql": ["clock_timestamp() - xact_start"],
    "doctor.sql": [
        "extract(epoch FROM clock_timestamp())::float8 AS clock", "last_autovacuum) > now()",
        "clock_timestamp() - xact_start", "xact_start < clock_timestamp()",
        "clock_timestamp() - prepared", "prepared < clock_timestamp()",
    ],
}  # fmt: skip


def test_the_time_is_that_of_torc_now():
    """So that tests can move it."""
    found = []
    for path, text in FILES.items():
        text = re.sub(r"--.*", "", text)
        for comparison in OF_POSTGRESQL.get(path, []):
            assert comparison in text
            text = text.replace(comparison, "")
        found += [f"{path}: {match[0]}" for match in CLOCKS.finditer(text) if path != "common/time.sql"]
    assert found == []


def test_an_insert_names_the_column_whose_default_is_the_time_of_postgresql():
    schema = (SQL / "schema.sql").read_text()
    columns = {
        table: re.findall(r'^    "?(\w+)"? .*DEFAULT.*clock_timestamp\(\)', body, re.M)
        for table, body in re.findall(r"^CREATE TABLE (torc\.\w+) \((.*?)^\)", schema, re.M | re.S)
    }
    inserts = [
        (table, set(re.findall(r"\w+", listed)), path)
        for path, text in FILES.items()
        for table, listed in re.findall(r"INSERT INTO (torc\.\w+)(?: AS \w+)? \(([^)]*)\)", text)
        if columns.get(table)
    ]
    assert {table for table, _, _ in inserts} == {table for table, wanted in columns.items() if wanted}
    assert [(table, path) for table, listed, path in inserts if not {*columns[table]} <= listed] == []


def test_no_statement_is_put_together_as_text():
    dynamic = re.compile(r"^\s*(?:RETURN QUERY )?EXECUTE\b(?! FUNCTION)", re.M)
    assert [path for path, text in FUNCTIONS.items() if dynamic.search(_code(text))] == DYNAMIC
