"""The rules of the house for sql/."""

import re
from pathlib import Path

import pytest

SQL = Path(__file__).parent.parent / "sql"
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
