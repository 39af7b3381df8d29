"""README.md, ARCHITECTURE.md, CONTRIBUTING.md and docs/: their links lead somewhere, their tables and diagrams say what
the code does. Their commands are typed by tests/deploy/test_guides.py."""

import re
import subprocess
from copy import deepcopy
from itertools import product
from pathlib import Path

import doc_files
import pytest
from model import Job, Model, Refused, Requirements
from test_access import ADMIN, ANONYMOUS, CALLERS, GROUP_ADMIN, MAY, MEMBER, OWNER, RULE_OF, STRANGER

from torc_server.dialect import dialect
from torc_server.errors import KINDS
from torc_server.schemas.fields import JOB_STATUSES
from torc_server.settings import RESTART_ONLY

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
LINKED = [*PAGES, doc_files.INDEX, ROOT / "CHANGELOG.md", ROOT / "openapi/README.md", ROOT / "deploy/curl/README.md"]
LINK = re.compile(r"\[[^][]*\]\(([^()\s]+)\)")


def prose(path):
    """The lines outside of code blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S).splitlines()


def anchors(path):
    """The anchors of the headings, as they are made of their words."""
    titles = [line.lstrip("#").strip() for line in prose(path) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def rows(page, heading):
    """The cells of the first table below a heading, without its head."""
    text = (ROOT / page).read_text().split(f"\n## {heading}\n")[1]
    lines = re.search(r"^\|.*?(?=\n\n)", text, re.M | re.S)[0].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines[2:]]


def diagram(page, kind):
    """The lines of the first mermaid diagram of a kind."""
    return re.search(rf"```mermaid\n{kind}\n(.*?)```", (ROOT / page).read_text(), re.S)[1].splitlines()


def names(cell):
    """What a cell has between backticks."""
    return re.findall(r"`([^`]+)`", cell)


# Pages


def test_the_readme_has_at_most_120_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_to_a_file_and_a_heading_that_exist(page):
    links = [link for line in prose(page) for link in LINK.findall(line)]
    for link in links:
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_names_each_page():
    linked = set(LINK.findall((DOCS / "README.md").read_text()))
    assert {page.name for page in DOCS.glob("*.md")} - linked == {"README.md"}
    assert {"../ARCHITECTURE.md", "../CONTRIBUTING.md"} <= linked


def test_each_make_target_that_is_named_exists():
    known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    text = "\n".join(page.read_text() for page in PAGES)
    named = re.findall(r"(?:`|^)(?:[A-Z_]+=\S+ )*make ([a-z][a-z -]*)", text, re.M)
    assert {word for words in named for word in words.split()} <= {*known}


# Settings


def test_the_table_of_settings_is_made_from_their_declaration():
    assert doc_files.settings_page() == doc_files.SETTINGS.read_text(), "make doc-files"
    assert doc_files.settings_table() in doc_files.SETTINGS.read_text()


def test_the_settings_that_need_a_restart_are_named():
    [sentence] = re.findall(r"A restart is needed for (.*?), and for", (DOCS / "operations.md").read_text(), re.S)
    assert re.findall(r"`(\w+)`", sentence) == [*RESTART_ONLY]


# Stored functions


def test_the_index_of_stored_functions_is_made_from_their_comments():
    assert doc_files.functions_index() == doc_files.INDEX.read_text(), "make doc-files"


def test_the_index_can_be_read_without_the_files():
    """No sentence of it refers to the comment before it."""
    assert re.findall(r"\| (?:The same|That|It|They)\b.*", doc_files.functions_index()) == []


def test_the_index_names_each_stored_function(database):
    stored = "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'torc'::regnamespace"
    assert {name for (name,) in database.execute(stored).fetchall()} == {*re.findall(
        r"^\|.*\| `(\w+)` \|", doc_files.INDEX.read_text(), re.M
    )}  # fmt: skip


# Access

COLUMNS = (ANONYMOUS, STRANGER, MEMBER, GROUP_ADMIN, OWNER, ADMIN)
UNTESTED = {"reload_auth": "admin"}  # of a server without a password file; see test_authentication.py


def test_the_table_of_access_is_what_the_tests_of_access_prove():
    rule_of = {endpoint.split(".")[1]: rule for endpoint, rule in RULE_OF.items()} | UNTESTED
    named = set()
    for _, operations, *cells in rows("docs/access.md", "Who may do what"):
        rules = {rule_of[name] for name in names(operations)} or {"workflow"}
        named |= {*names(operations)}
        assert len(rules) == 1, operations
        (rule,) = rules
        for caller, cell in zip(COLUMNS, cells, strict=True):
            may = caller in MAY[rule] or (rule == "self" and caller in CALLERS - {ANONYMOUS})
            assert cell.startswith(("yes", "oneself") if may else "–"), (operations, caller)
            assert (cell == "oneself") == (rule == "self" and caller not in (ANONYMOUS, ADMIN)), (operations, caller)
    assert {name for name, rule in rule_of.items() if rule != "workflow"} == named


# Differences


REQUESTS = [
    {"X-Torc-Client-User": "me", "User-Agent": "OpenAPI-Generator/v0.7.0/rust"},
    {"User-Agent": "OpenAPI-Generator/v0.7.0/rust"}, {"User-Agent": "OpenAPI-Generator/0.12.0/python"},
    {"User-Agent": "OpenAPI-Generator/0.17.0/python"}, {"User-Agent": "OpenAPI-Generator/0.18.0/python"},
    {"User-Agent": "curl/8.5.0"},
]  # fmt: skip
MEANS = {
    "text": ("text", "the client"), "text_initialize": ("text", "the client, or else `initialize_jobs`"),
    "text_reset": ("text", "`reset_status`"), "objects": ("JSON objects", "`reset_status`"),
    None: ("as written", "`reset_status`"),
}  # fmt: skip


def test_the_table_of_clients_is_what_the_server_makes_of_their_headers():
    told = rows("docs/differences.md", "One server for clients of all versions")
    for headers, (_, _, *cells) in zip(REQUESTS, told, strict=True):
        environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        assert tuple(cells) == MEANS[dialect(environ)], headers


# Errors


def test_the_table_of_errors_has_each_status_that_the_server_answers():
    told = {int(word) for row in rows("docs/http-api.md", ERRORS) for word in re.findall(r"\d{3}", row[0])}
    assert told == KINDS.keys() | {431, 502, 504}  # 431 comes before there is a request; 502 and 504 are nginx's


ERRORS = "Errors, and what may be repeated"


# Transitions of a job

# What can be asked of a model of three jobs, 1 before 2 before 3: {function: calls}.
WHOLE = {
    "initialize_jobs": [lambda m, o=o, k=k: m.initialize(o, k) for o, k in product((False, True), repeat=2)],
    "claim_next_jobs": [lambda m: m.claim_next(9)],
    "cancel_workflow": [lambda m: m.cancel()],
    "reset_job_status": [lambda m: m.reset_jobs(False), lambda m: m.reset_jobs(True)],
    "process_changed_job_inputs": [lambda m: m.process_changed(False)],
}
ONE = {
    "update_job": [lambda m: m.update(m.jobs[2], disable=True)],
    "start_job": [lambda m: m.start(m.jobs[2], 1)],
    "complete_job": [lambda m, s=s: m.complete(m.jobs[2], s, None, 0, 1) for s in JOB_STATUSES],
    "retry_job": [lambda m: m.retry(m.jobs[2], 9)],
    "manage_status_change": [lambda m, s=s: m.manage(m.jobs[2], s) for s in JOB_STATUSES],
    None: [lambda m: m.delete([m.jobs[1]] if 1 in m.jobs else [])],  # moves dependents, and nothing else
}
ALIKE = {"claim_jobs_based_on_resources": "claim_next_jobs", "batch_complete_jobs": "complete_job"}
FOLLOW = "settle_dependents"
# What becomes of the jobs of a silent node and of one whose jobs are given back; see test_node_timeout.py.
NOT_MODELED = {
    "fail_jobs_of_node": {("running", "failed"), ("running", "pending_failed")},
    "release_claimed_jobs": {("pending", "ready")},
}


def worlds():
    """Models of one to three jobs in a row: the middle one in all statuses, canceled ones marked and not; the first one
    is what the middle one may wait for, the last one what may follow it."""
    states = [(status, False) for status in JOB_STATUSES] + [("canceled", True)]
    lasts = [(word, False) for word in ("blocked", "ready", "completed", "failed")] + [("canceled", True)]
    for first, (status, marked), last in product([None, "ready", "completed", "failed"], states, [None, *lasts]):
        model = Model()
        model.active_nodes = {1}
        if first:
            model.create(Job(1, Requirements(), status=first))
        for id, (word, mark) in ((2, (status, marked)), (3, last or (None, False))):
            if word:
                before = {id - 1} & model.jobs.keys()
                node = 1 if word == "running" else None
                model.create(Job(id, Requirements(), status=word, marked=mark, node=node, dependencies=before,
                                 initialized_with=("another command",)))  # fmt: skip
        if all(can_be(model, job) for job in model.jobs.values()):
            yield model


def can_be(model, job):
    if job.status == "blocked":
        return model.open(job) > 0
    return not job.marked or (not model.open(job) and model.failed(job) > 0)


def transitions_of_the_model():
    """{function: {(from, to)}}. What dependents do counts for settle_dependents."""
    found = {name: set() for name in [*WHOLE, *ONE, FOLLOW]}
    for world in worlds():
        for name, calls in {**WHOLE, **ONE}.items():
            for call in calls:
                model = deepcopy(world)
                try:
                    call(model)
                except Refused:
                    continue
                for id, job in model.jobs.items():
                    before = world.jobs[id].status
                    if before != job.status:
                        found[name if name in WHOLE or id == 2 and name else FOLLOW].add((before, job.status))
    # Dependents that manage_status_change takes back with the job move as the job may.
    found[FOLLOW] -= {("completed", "uninitialized"), ("failed", "uninitialized")}
    del found[None]
    return found


def statuses(cell):
    """The statuses of a cell: "ready, canceled (if marked)", "any but disabled"."""
    words = set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", cell))) - {"any", "but"}
    return {*JOB_STATUSES} - words if cell.startswith("any") else words


def transitions_of_the_table():
    found = {}
    functions = []
    for cell, old, new in rows("ARCHITECTURE.md", "Transitions of a job"):
        functions = names(cell) or functions
        for function in functions:
            pairs = {(a, b) for a, b in product(statuses(old), statuses(new)) if a != b} if old != "–" else set()
            found.setdefault(function, set()).update(pairs)
    return found


def test_the_table_of_transitions_is_what_the_model_allows():
    table, model = transitions_of_the_table(), transitions_of_the_model()
    assert table.pop("create_jobs") == table.pop("spawn_jobs") == set()
    assert table.pop("claim_locked_jobs") == {  # a claim and a start at once
        (old, new) for old, _ in table["claim_next_jobs"] for _, new in table["start_job"]
    }
    for name, moves in NOT_MODELED.items():
        assert table.pop(name) == moves, name
    for name, twin in ALIKE.items():
        assert table.pop(name) == table[twin], name
    follow = table[FOLLOW]
    assert model[FOLLOW] == follow
    assert table.keys() == model.keys()
    for name in table.keys() - {FOLLOW}:
        assert model[name] - follow == table[name] - follow, name


def edges(page):
    """(from, to, label) of a state diagram."""
    return [re.fullmatch(r" *(\S+) --> (\S+): (.*)", line).groups() for line in diagram(page, "stateDiagram-v2")]


def test_the_diagram_of_transitions_is_part_of_the_table():
    table = transitions_of_the_table()
    drawn = edges("ARCHITECTURE.md")
    assert drawn[0] == ("[*]", "uninitialized", "create_jobs")
    for old, new, function in drawn[1:]:
        assert (old, new) in table[function]
    assert {old for old, _, _ in drawn} | {new for _, new, _ in drawn} == {*JOB_STATUSES, "[*]"}


# What clients call, in the diagram for clients: the functions that it may be.
CALLS = {
    "initialize_jobs": ["initialize_jobs"], "PUT /jobs": ["update_job"], "dependencies complete": [FOLLOW],
    "a dependency failed": [FOLLOW], "claim": ["claim_next_jobs", "claim_jobs_based_on_resources"],
    "start_job": ["start_job"], "complete_job": ["complete_job", "batch_complete_jobs"],
    "cancel": ["cancel_workflow"], "retry": ["retry_job"], "the cause is gone": [FOLLOW],
}  # fmt: skip


def test_the_life_of_a_job_is_part_of_the_transitions():
    table = transitions_of_the_table()
    drawn = edges("docs/http-api.md")
    assert drawn[0] == ("[*]", "uninitialized", "POST /jobs")
    for old, new, call in drawn[1:]:
        assert all((old, new) in table[function] for function in CALLS[call])
    explained = {name for row in rows_of_statuses() for name in names(row[0])}
    assert explained == {*JOB_STATUSES} == {new for _, new, _ in drawn} | {old for old, _, _ in drawn} - {"[*]"}


def rows_of_statuses():
    return rows("docs/http-api.md", "The life of a job")


# Tables and functions

KEYS = """
    SELECT confrelid::regclass::text, conrelid::regclass::text, attname
    FROM pg_constraint
    INNER JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
    WHERE contype = 'f' AND connamespace = 'torc'::regnamespace
"""
COLUMNS_OF_TABLES = """
    SELECT table_name, column_name, coalesce(domain_name, udt_name)
    FROM information_schema.columns
    INNER JOIN information_schema.tables USING (table_schema, table_name)
    WHERE table_schema = 'torc' AND table_type = 'BASE TABLE'
"""
TYPES = {"int8": "bigint", "int4": "integer", "bool": "boolean", "not_negative_bigint": "bigint",
         "not_negative_integer": "integer"}  # fmt: skip


def test_the_diagram_of_tables_has_all_tables_and_foreign_keys(database):
    database.execute("SET search_path = torc")
    try:
        keys = set(database.execute(KEYS).fetchall())
    finally:
        database.execute("RESET search_path")
    columns = {(t, c): TYPES.get(d, d) for t, c, d in database.execute(COLUMNS_OF_TABLES).fetchall()}
    solid, dotted, tables, table = set(), set(), set(), None
    for line in diagram("ARCHITECTURE.md", "erDiagram"):
        if key := re.fullmatch(r" *(\w+) \|\|(--|\.\.)[o|][{|] (\w+) : (\w+)", line):
            parent, how, child, column = key.groups()
            (solid if how == "--" else dotted).add((parent, child, column))
            tables |= {parent, child}
        elif begun := re.fullmatch(r" *(\w+) \{", line):
            table = begun[1]
            tables.add(table)
        elif column := re.fullmatch(r" *(\w+) (\w+)", line):
            assert columns[table, column[2]] == column[1], line
        else:
            assert line.strip() == "}", line
    assert solid == keys
    assert not dotted & keys
    assert {(child, column) for _, child, column in dotted} <= columns.keys()
    assert tables == {table for table, _ in columns}


def test_each_stored_function_that_is_named_exists(database):
    text = "\n".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"`?torc\.(\w+)\(", text))
    assert len(named) > 15
    stored = "SELECT proname FROM pg_proc WHERE pronamespace = 'torc'::regnamespace"
    assert named <= {name for (name,) in database.execute(stored).fetchall()}


def test_the_command_that_finds_statuses_in_functions_finds_them():
    [command] = re.findall(r"`(grep [^`]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    found = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {"sql/functions/transitions/job_status.sql", "sql/functions/transitions/complete_job.sql"} <= {*found}
    named = re.search(r"'\(([^)]*)\)'", command)[1]
    assert {*named.split("|")} == {*JOB_STATUSES}
