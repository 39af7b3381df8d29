"""Words that both Python and PostgreSQL know: each list in Python is compared with the database's."""

import json
import re

import model
import pytest
import workflow

from torc_server import dialect, moving_in
from torc_server.dashboard import words
from torc_server.schemas import tasks
from torc_server.schemas.fields import JOB_STATUSES

TWINS = {
    "is_complete": {"tests/helpers/model.py": model.COMPLETE, "tests/helpers/workflow.py": workflow.COMPLETE,
                    "dashboard/words.py": words.COMPLETE},
    "is_failed": {"tests/helpers/model.py": model.FAILED},
    "is_open": {"tests/helpers/model.py": model.OPEN},
    "is_waiting": {"tests/helpers/model.py": model.WAITING},
    "is_active": {"tests/helpers/model.py": model.ACTIVE},
    "is_retryable": {"tests/helpers/model.py": model.RETRYABLE},
    "is_restartable": {"tests/helpers/model.py": model.RESTARTABLE},
    "is_initialized": {"tests/helpers/model.py": model.INITIALIZED},
    "is_terminal": {"tests/helpers/model.py": model.TERMINAL},
    "is_unsuccessful": {"tests/helpers/model.py": model.UNSUCCESSFUL},
    "ended_by_itself": {"tests/helpers/model.py": model.ENDED_BY_ITSELF},
    "went_wrong": {"dashboard/words.py": words.FAILED},
}  # fmt: skip
SEARCHES = {  # of workflows/has_jobs.sql, with the set of statuses that each searches for
    "has_open_jobs": model.OPEN, "has_active_jobs": model.ACTIVE, "has_jobs_under_way": {"ready", *model.ACTIVE},
    "has_failed_jobs": model.FAILED,
}  # fmt: skip


def column(database, statement, *parameters):
    return [value for (value,) in database.execute(statement, parameters).fetchall()]


def labels(database, enumeration):
    return column(database, f"SELECT unnest(enum_range(NULL::torc.{enumeration}))::text")


def test_the_statuses_of_jobs_and_their_order_are_those_of_the_database(database):
    assert labels(database, "job_status") == [*JOB_STATUSES]
    assert {*words.STATUSES} == {*JOB_STATUSES}


@pytest.mark.parametrize(
    "function, python", [(name, twin) for name, twins in TWINS.items() for twin in twins.values()],
    ids=[f"{name}-{file}" for name, twins in TWINS.items() for file in twins],
)  # fmt: skip
def test_a_set_of_statuses_is_the_one_of_the_database(database, function, python):
    named = f"SELECT word::text FROM unnest(enum_range(NULL::torc.job_status)) AS word WHERE torc.{function}(word)"  # noqa: S608
    assert {*column(database, named)} == {*python}


INLINED = [*(f"torc.{function}(status)" for function in TWINS), "torc.now()", "torc.now_ms()", "torc.job_json(job)"]


@pytest.mark.parametrize("call", INLINED)
def test_hot_statements_do_not_call_what_postgresql_can_inline(database, call):
    plan = database.execute(f"EXPLAIN (VERBOSE, COSTS OFF) SELECT {call} FROM torc.job AS job").fetchall()  # noqa: S608
    output = "".join(line for (line,) in plan if "Output:" in line)
    assert output
    assert not re.search(r"\btorc\.\w+\(", output)


@pytest.mark.parametrize("search, statuses", SEARCHES.items(), ids=[*SEARCHES])
def test_a_search_for_jobs_finds_exactly_those_of_its_set(workflow, search, statuses):
    job = workflow.job()
    for status in JOB_STATUSES:
        workflow.sql("UPDATE torc.job SET status = %s WHERE id = %s RETURNING id", status, job)
        assert workflow.sql(f"SELECT torc.{search}(%s)", workflow.id) == [status in statuses], status
        assert workflow.sql("SELECT torc.has_jobs(%s, %s)", workflow.id, status) == [True]
    workflow.sql("UPDATE torc.job SET status = 'uninitialized' WHERE id = %s RETURNING id", job)


def test_the_ranges_of_unblocked_statuses_are_those_that_are_open_and_not_blocked(database):
    listed = """
        SELECT word::text
        FROM unnest(enum_range(NULL::torc.job_status)) AS word
        INNER JOIN torc.unblocked_ranges() ON word BETWEEN first_status AND last_status
    """
    assert {*column(database, listed)} == model.OPEN - {"blocked"}


def test_the_statuses_of_tasks_are_those_that_the_table_takes(database):
    check = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'task_status_known'"
    [definition] = column(database, check)
    assert definition.split("'")[1::2] == [*tasks.STATUSES]


def test_the_dialects_of_clients_are_those_that_the_module_explains(database):
    explained = [line.split()[0] for line in dialect.__doc__.splitlines() if line.startswith("    ")]
    assert explained == ["DIALECT", *labels(database, "dialect"), "None"]


@pytest.mark.parametrize(
    "given", [[], ["b", "a", "b"], ["é", "z", "Z", "a_1", "a-1"], ["\U0001f600", "\ufffd", "\uff5e"]]
)
def test_an_import_stores_labels_in_the_order_of_the_database(database, given):
    [stored] = column(database, "SELECT torc.join_labels(%s)", given)
    assert ",".join(moving_in._labels(json.dumps(given))) == stored
