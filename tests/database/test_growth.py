"""Calls that walk a workflow cost so much per job and edge, whatever PostgreSQL believes to know about its tables.

After rows were deleted or after a crash it may believe that a full table is empty, and prefer plans that read a whole
index for each job. Here it is told so, and other falsehoods; then rows and blocks are counted, not seconds.
"""

import psycopg
import pytest
from plans import cost, explained

from torc_server.connections import SETTINGS
from torc_server.database import Database
from torc_server.repository import sql

SMALL, LARGE = 100, 400  # jobs of the two workflows that are compared; about seven edges and links a job
BELIEFS = {
    "true": None,
    "full tables are empty": (0, None),
    "one row in one page": (1, 1),
    "one row in many pages": (1, 100_000),
    "a thousand million rows": (1e9, 1_000_000),
    "never analyzed": (-1, 0),
}
FREQUENT = "full tables are empty"  # after a deletion or a crash; the others are for `make test-long`
beliefs = pytest.mark.parametrize("belief", [
    pytest.param(belief, id=name, marks=() if name == FREQUENT else pytest.mark.long)
    for name, belief in BELIEFS.items()
])  # fmt: skip

# Layers of ten: a job depends on three jobs of the layer before, reads two of its files and one of its user data.
FILL = """
DO $$
DECLARE
    w bigint := (torc.create_workflow('{"name": "w", "user": "u", "enable_ro_crate": true}') ->> 'id')::bigint;
    jobs bigint[];
    files bigint[];
    items bigint[];
BEGIN
    WITH made AS (
        INSERT INTO torc.file (workflow_id, name, path, st_mtime)
        SELECT w, 'f' || n, '/f' || n, 1 FROM generate_series(1, %(count)s) AS n RETURNING id
    ) SELECT array_agg(id ORDER BY id) INTO files FROM made;
    WITH made AS (
        INSERT INTO torc.user_data (workflow_id, name, is_ephemeral, data)
        SELECT w, 'd' || n, true, '1' FROM generate_series(1, %(count)s) AS n RETURNING id
    ) SELECT array_agg(id ORDER BY id) INTO items FROM made;
    INSERT INTO torc.resource_requirements (workflow_id, name, num_cpus, memory_bytes, runtime_s)
    SELECT w, 'r' || n, 1, 1, 1 FROM generate_series(1, %(count)s / 10) AS n;
    INSERT INTO torc.compute_node (
        workflow_id, hostname, pid, start_time, num_cpus, memory_gb, num_gpus, num_nodes, compute_node_type
    ) VALUES (w, 'h', 1, 't', 1, 1, 0, 1, 'local');
    WITH made AS (
        INSERT INTO torc.job (workflow_id, name, command, resource_requirements_id)
        SELECT w, 'j' || n, 'c', (
            SELECT min(id) + mod(n, %(count)s / 10) FROM torc.resource_requirements WHERE workflow_id = w
        ) FROM generate_series(1, %(count)s) AS n RETURNING id
    ) SELECT array_agg(id ORDER BY id) INTO jobs FROM made;
    INSERT INTO torc.job_output_file SELECT jobs[n], files[n] FROM generate_series(1, %(count)s) AS n;
    INSERT INTO torc.job_output_user_data SELECT jobs[n], items[n] FROM generate_series(1, %(count)s) AS n;
    INSERT INTO torc.job_input_file
    SELECT jobs[n], files[n - 10 - d] FROM generate_series(21, %(count)s) AS n, generate_series(1, 2) AS d;
    INSERT INTO torc.job_input_user_data SELECT jobs[n], items[n - 10] FROM generate_series(21, %(count)s) AS n;
    INSERT INTO torc.job_depends_on
    SELECT jobs[n], jobs[n - 10 - d] FROM generate_series(21, %(count)s) AS n, generate_series(3, 5) AS d;
    PERFORM torc.recount_dependencies(w);
    PERFORM torc.create_workflow_action(w, jsonb_build_object(
        'trigger_type', trigger_type, 'action_type', 'x', 'action_config', '{}'::json, 'job_ids', jobs
    )) FROM unnest(ARRAY['on_jobs_ready', 'on_jobs_complete']) AS trigger_type;
    PERFORM torc.initialize_jobs(w);
END
$$
"""
FAIL_SOME = """
    UPDATE torc.job SET status = 'failed'
    WHERE workflow_id = %(w)s AND status = 'ready' AND mod(id, 2) = 0;
    SELECT torc.recount_dependencies(%(w)s)
"""
WITHOUT_EDGES = "DELETE FROM torc.job_depends_on WHERE job_id IN (SELECT id FROM torc.job WHERE workflow_id = %(w)s)"
RUN_ALL = "UPDATE torc.job SET status = 'running' WHERE workflow_id = %(w)s"
FAN = """
    DELETE FROM torc.job_depends_on WHERE job_id IN (SELECT id FROM torc.job WHERE workflow_id = %(w)s);
    INSERT INTO torc.job_depends_on
    SELECT id, (SELECT min(id) FROM torc.job WHERE workflow_id = %(w)s) FROM torc.job WHERE workflow_id = %(w)s
    ORDER BY id OFFSET 1;
    UPDATE torc.job SET status = 'blocked', open_dependencies = 1 WHERE workflow_id = %(w)s
        AND id > (SELECT min(id) FROM torc.job WHERE workflow_id = %(w)s);
    UPDATE torc.job SET status = 'running', open_dependencies = 0 WHERE workflow_id = %(w)s
        AND id = (SELECT min(id) FROM torc.job WHERE workflow_id = %(w)s)
"""
CHAIN = """
    DELETE FROM torc.job_depends_on WHERE job_id IN (SELECT id FROM torc.job WHERE workflow_id = %(w)s);
    INSERT INTO torc.job_depends_on
    SELECT id, before FROM (
        SELECT id, lag(id) OVER (ORDER BY id) AS before FROM torc.job WHERE workflow_id = %(w)s
    ) AS link WHERE before IS NOT NULL;
    UPDATE torc.job SET status = 'blocked', open_dependencies = 1 WHERE workflow_id = %(w)s
        AND id > (SELECT min(id) FROM torc.job WHERE workflow_id = %(w)s);
    UPDATE torc.job SET status = 'running', open_dependencies = 0 WHERE workflow_id = %(w)s
        AND id = (SELECT min(id) FROM torc.job WHERE workflow_id = %(w)s)
"""
WITHOUT_CANCELING = "; UPDATE torc.job SET cancel_on_blocking_job_failure = false WHERE workflow_id = %(w)s"
COMPLETE_ALL = "; UPDATE torc.job SET status = 'completed' WHERE workflow_id = %(w)s"
CYCLE = """
    INSERT INTO torc.job_depends_on
    SELECT min(id), max(id) FROM torc.job WHERE workflow_id = %(w)s;
    UPDATE torc.job SET status = 'blocked', open_dependencies = 1 WHERE workflow_id = %(w)s AND status = 'ready'
"""
END_FIRST = """
    SELECT torc.complete_job(id, 'failed', 0, jsonb_build_object(
        'job_id', id, 'workflow_id', workflow_id, 'run_id', 0, 'return_code', 1, 'exec_time_minutes', 0,
        'completion_time', 't', 'status', 'failed', 'compute_node_id',
        (SELECT id FROM torc.compute_node WHERE workflow_id = %(w)s)
    )) FROM torc.job WHERE workflow_id = %(w)s ORDER BY id LIMIT 1
"""
BATCH = """
    SELECT torc.batch_complete_jobs(%(w)s, (
        SELECT jsonb_agg(jsonb_build_object(
            'job_id', id, 'status', '{status}', 'run_id', 0, 'result', jsonb_build_object(
                'job_id', id, 'workflow_id', workflow_id, 'run_id', 0, 'return_code', 1, 'exec_time_minutes', 0,
                'completion_time', 't', 'status', '{status}', 'compute_node_id',
                (SELECT id FROM torc.compute_node WHERE workflow_id = %(w)s)
            )
        ) ORDER BY id)
        FROM (SELECT * FROM torc.job WHERE workflow_id = %(w)s ORDER BY id {limit}) AS job
    ))
"""
START_FIRST = """
    UPDATE torc.job SET status = 'running'
    WHERE id = (SELECT min(id) FROM torc.job WHERE workflow_id = %(w)s)
"""
COLLECT_NAMES = "; SELECT torc.collect_job_names(%(w)s)"
GIVE_ALL_ONE_NAME = "UPDATE torc.job SET name = 'same' WHERE workflow_id = %(w)s"
SPAWN = """
    SELECT torc.spawn_jobs(min(id), jsonb_build_object('state', 1, 'jobs', (
        SELECT jsonb_agg(jsonb_build_object(
            'name', 's' || n, 'command', 'c', 'depends_on', jsonb_build_array('s' || n %% {number} + 1, 'j' || n),
            'resource_requirements', 'r' || n / 20 + 1
        ) - CASE n WHEN {number} THEN 'depends_on' ELSE '' END ORDER BY n)
        FROM generate_series(1, {number}) AS n
    ))) FROM torc.job WHERE workflow_id = %(w)s
"""
QUEUE = """
    INSERT INTO torc.task (workflow_id, operation, parameters)
    VALUES (%(w)s, 'initialize_jobs', '{}')
"""
TASK = "(SELECT max(id) FROM torc.task)"

# name: (what is done before, the statement)
CALLS = {
    "initialize_jobs": ("", "SELECT torc.initialize_jobs(%(w)s)"),
    "initialize_jobs after failures": (FAIL_SOME, "SELECT torc.initialize_jobs(%(w)s)"),
    "initialize_jobs only_uninitialized": (
        "UPDATE torc.job SET status = 'uninitialized' WHERE workflow_id = %(w)s AND status = 'ready'",
        "SELECT torc.initialize_jobs(%(w)s, true, true)",
    ),
    "initialize_jobs with new edges": (
        "DELETE FROM torc.job_depends_on WHERE job_id IN (SELECT id FROM torc.job WHERE workflow_id = %(w)s)",
        "SELECT torc.initialize_jobs(%(w)s)",
    ),
    "recount_dependencies": (
        "UPDATE torc.job SET open_dependencies = 99 WHERE workflow_id = %(w)s",
        "SELECT torc.recount_dependencies(%(w)s)",
    ),
    "find_cycle": (CYCLE, "SELECT torc.find_cycle(%(w)s)"),
    "find_cycle without one": ("", "SELECT torc.find_cycle(%(w)s)"),
    "refuse_cycle": ("", "SELECT torc.refuse_cycle(%(w)s)"),
    "reset_job_status": ("", "SELECT torc.reset_job_status(%(w)s)"),
    "reset_job_status failed_only": (FAIL_SOME, "SELECT torc.reset_job_status(%(w)s, true)"),
    "reset_workflow_status": ("", "SELECT torc.reset_workflow_status(%(w)s)"),
    "cancel_workflow": (RUN_ALL, "SELECT torc.cancel_workflow(%(w)s)"),
    "process_changed_job_inputs": (
        "UPDATE torc.job SET command = 'd' WHERE workflow_id = %(w)s",
        "SELECT torc.process_changed_job_inputs(%(w)s)",
    ),
    "create_jobs": (
        "",
        """
        SELECT count(*) FROM torc.create_jobs(%(w)s, (
            SELECT json_agg(json_build_object(
                'workflow_id', %(w)s, 'name', 'j', 'command', 'c',
                'depends_on_job_ids',
                (SELECT json_build_array(min(id), max(id)) FROM torc.job WHERE workflow_id = %(w)s),
                'input_file_ids', json_build_array(file.id)
            )) FROM torc.file WHERE workflow_id = %(w)s
        ))
        """,
    ),
    "update_job": (
        "UPDATE torc.job SET status = 'uninitialized' WHERE workflow_id = %(w)s",
        """
        SELECT torc.update_job(max(id), jsonb_build_object(
            'workflow_id', %(w)s, 'name', max('j' || 0), 'command', 'c',
            'depends_on_job_ids', (array_agg(id ORDER BY id))[:count(*) - 1]
        )) FROM torc.job WHERE workflow_id = %(w)s
        """,
    ),
    "delete one job": (FAN, "SELECT torc.delete_job(min(id)) FROM torc.job WHERE workflow_id = %(w)s"),
    "delete_jobs": ("", "SELECT torc.delete_jobs(%(w)s)"),
    "delete half of the jobs": ("", "DELETE FROM torc.job WHERE workflow_id = %(w)s AND mod(id, 2) = 0"),
    "delete_resource_requirements": ("", "SELECT torc.delete_resource_requirements(%(w)s)"),
    "delete_workflow": ("", "SELECT torc.delete_workflow(%(w)s)"),
    "delete files": ("", "DELETE FROM torc.file WHERE workflow_id = %(w)s"),
    "delete user data": ("", "DELETE FROM torc.user_data WHERE workflow_id = %(w)s"),
    "complete_job that frees all": (FAN + WITHOUT_CANCELING, END_FIRST),
    "complete_job that cancels all": (FAN, END_FIRST),
    "complete_job at the head of a chain": (CHAIN, END_FIRST),
    "retry_job that takes all back": (
        FAN + ";" + END_FIRST,
        "SELECT torc.retry_job(min(id), 0, 9) FROM torc.job WHERE workflow_id = %(w)s",
    ),
    "manage_status_change": (
        FAN + COMPLETE_ALL,
        "SELECT torc.manage_status_change(min(id), 'uninitialized') FROM torc.job WHERE workflow_id = %(w)s",
    ),
    "create_workflow_action": (
        "",
        """
        SELECT torc.create_workflow_action(%(w)s, jsonb_build_object(
            'trigger_type', 'on_jobs_ready', 'action_type', 'x', 'action_config', '{}'::json, 'job_ids', array_agg(id)
        )) FROM torc.job WHERE workflow_id = %(w)s
        """,
    ),
    "batch_complete_jobs": (RUN_ALL, BATCH.format(status="completed", limit="")),
    "batch_complete_jobs that cancels": (FAN, BATCH.format(status="failed", limit="LIMIT 1")),
    "batch_complete_jobs entry by entry": (
        "UPDATE torc.job SET status = 'ready', attempt_run_id = 0 WHERE workflow_id = %(w)s",
        BATCH.format(status="failed", limit=""),
    ),
    "spawn_jobs": (
        START_FIRST,
        SPAWN.format(number="(SELECT count(*)::int FROM torc.job WHERE workflow_id = %(w)s)"),
    ),
    "start_initialization": ("", "SELECT torc.start_initialization(%(w)s, '{}')"),
    "run_task": (QUEUE, f"SELECT torc.run_task({TASK})"),
    "check_invariants": ("", "SELECT torc.check_invariants(%(w)s)"),
    "claim_next_jobs": (
        "UPDATE torc.job SET status = 'ready' WHERE workflow_id = %(w)s", "SELECT torc.claim_next_jobs(%(w)s, 99999)"
    ),
    "claim_jobs_based_on_resources": (
        "UPDATE torc.job SET status = 'ready' WHERE workflow_id = %(w)s",
        """
        SELECT torc.claim_jobs_based_on_resources(
            %(w)s, 99999, false, '{"num_cpus": 100000, "memory_gb": 1000, "num_gpus": 0, "num_nodes": 1}'
        )
        """,
    ),
    "dashboard_workflow": (FAIL_SOME, "SELECT torc.dashboard_workflow(%(w)s, NULL)"),
    "dashboard_use": ("", "SELECT torc.dashboard_use(%(w)s, NULL)"),
    "dashboard_jobs": (
        "", """SELECT torc.dashboard_jobs(%(w)s, '{"sort": "name", "offset": 0, "limit": 100}', NULL)"""
    ),
    "dashboard_jobs_csv": ("", "SELECT torc.dashboard_jobs_csv(%(w)s, '{}', NULL)"),
    "dashboard_job": (FAN, "SELECT torc.dashboard_job(min(id), NULL) FROM torc.job WHERE workflow_id = %(w)s"),
    "dashboard_graph": ("", "SELECT torc.dashboard_graph(%(w)s, '{}', 60, false, 300, NULL)"),
    "dashboard_graph by level": ("", "SELECT torc.dashboard_graph(%(w)s, '{}', 60, true, 300, NULL)"),
    "dashboard_graph of jobs": ("", "SELECT torc.dashboard_graph(%(w)s, '{}', 9999, false, 9999, NULL)"),
    "dashboard_progress": (
        f"{RUN_ALL}; {BATCH.format(status='completed', limit='')}", "SELECT torc.dashboard_progress(%(w)s, 99, NULL)"
    ),
    "dashboard_timeline": (
        f"{RUN_ALL}; {BATCH.format(status='completed', limit='')}",
        "SELECT torc.dashboard_timeline(%(w)s, NULL, NULL, 0, 99, NULL)",
    ),
    "dashboard_preview": (RUN_ALL, "SELECT torc.dashboard_preview(%(w)s, NULL, NULL, 'cancel', NULL)"),
    "retry_failed_jobs": (FAIL_SOME, "SELECT torc.retry_failed_jobs(%(w)s)"),
    "ready_job_requirements": (
        "UPDATE torc.job SET status = 'ready' WHERE workflow_id = %(w)s", "SELECT torc.ready_job_requirements(%(w)s)"
    ),
}  # fmt: skip
LISTS = {
    "list_jobs": (sql.jobs.list_jobs, "id"),
    "list_job_ids": (sql.workflows.list_job_ids, None),
    "list_required_existing_files": (sql.workflows.list_required_existing_files, None),
    "list_missing_user_data": (sql.workflows.list_missing_user_data, None),
    "list_job_dependencies": (sql.workflows.list_job_dependencies, "job_id"),
    "list_job_file_relationships": (sql.workflows.list_job_file_relationships, "file_id"),
    "list_job_user_data_relationships": (sql.workflows.list_job_user_data_relationships, "user_data_id"),
    "list_files": (sql.files.list_files, "id"),
    "list_user_data": (sql.user_data.list_user_data, "id"),
    "list_results": (sql.results.list_results, "id"),
    "list_resource_requirements": (sql.resource_requirements.list_resource_requirements, "id"),
    "list_workflow_actions": (sql.workflow_actions.list_workflow_actions, None),
    "list_pending_actions": (sql.workflow_actions.list_pending_actions, None),
}
# Calls that must not depend on the size of the workflow at all.
CONSTANT = {
    "is_workflow_complete": (
        "UPDATE torc.job SET status = 'completed' WHERE workflow_id = %(w)s", "SELECT torc.is_workflow_complete(%(w)s)"
    ),
    "an empty claim": (
        "UPDATE torc.job SET status = 'completed' WHERE workflow_id = %(w)s", "SELECT torc.claim_next_jobs(%(w)s, 9)"
    ),
    "claim_next_jobs of one": (
        "UPDATE torc.job SET status = 'ready' WHERE workflow_id = %(w)s", "SELECT torc.claim_next_jobs(%(w)s, 1)"
    ),
    "get_job": ("", "SELECT torc.get_job((SELECT min(id) FROM torc.job WHERE workflow_id = %(w)s))"),
    "spawn_jobs of ten": (START_FIRST + COLLECT_NAMES, SPAWN.format(number=10)),
    "spawn_jobs of ten again": (START_FIRST + ";" + SPAWN.format(number=10), SPAWN.format(number=10)),
    "spawn_jobs beside many jobs of a name": (
        f"{START_FIRST}; {GIVE_ALL_ONE_NAME}" + COLLECT_NAMES,
        """
        SELECT torc.spawn_jobs(min(id), '{"jobs": [{"name": "a", "command": "c", "depends_on": ["same"]}]}')
        FROM torc.job WHERE workflow_id = %(w)s
        """,
    ),
    "begin_task": (QUEUE, f"SELECT torc.begin_task({TASK})"),
    "fail_task": (QUEUE, f"SELECT torc.fail_task({TASK}, 'x')"),
    "get_task": (QUEUE, f"SELECT torc.get_task({TASK})"),
    "active_task": (QUEUE, "SELECT torc.active_task(%(w)s)"),
    "batch_complete_jobs of ten": (
        f"{WITHOUT_EDGES}; {RUN_ALL}",
        BATCH.format(status="completed", limit="LIMIT 10"),
    ),
    "complete_job of one": (
        """
        DELETE FROM torc.job_depends_on WHERE job_id IN (SELECT id FROM torc.job WHERE workflow_id = %(w)s);
        INSERT INTO torc.workflow_action (workflow_id, trigger_type, action_type, action_config)
        VALUES (%(w)s, 'on_workflow_complete', 'x', '{}');
        UPDATE torc.job SET status = 'completed' WHERE workflow_id = %(w)s;
        UPDATE torc.job SET status = 'running' WHERE id = (SELECT min(id) FROM torc.job WHERE workflow_id = %(w)s)
        """,
        END_FIRST,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def filled(module_database_url):
    """The conninfo of a database that nothing analyzes, and the ids of a small and a large workflow in it."""
    with psycopg.connect(module_database_url, autocommit=True) as admin:
        tables = admin.execute("SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'torc'::regnamespace"
                               " AND relkind = 'r'").fetchall()  # fmt: skip
        for (table,) in tables:
            admin.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        for count in (LARGE, SMALL, LARGE):
            admin.execute(FILL % {"count": count})
        large, small, _ = (row[0] for row in admin.execute("SELECT id FROM torc.workflow ORDER BY id"))
        admin.execute("VACUUM ANALYZE")
    return module_database_url, small, large


def believe(session, belief):
    """Tell PostgreSQL's planner what the tables and indexes hold, in this transaction."""
    if belief is None:
        return
    session.execute(
        """
        UPDATE pg_class SET reltuples = %s, relpages = coalesce(%s, relpages)
        WHERE relnamespace = 'torc'::regnamespace AND relkind IN ('r', 'i')
        """,
        belief,
    )
    session.execute("DELETE FROM pg_statistic WHERE starelid::regclass::text LIKE 'torc.%'")


@pytest.fixture
def cost_of(filled):
    """A function: what a call costs for a workflow, under a belief. Everything is rolled back."""
    database_url, *_ = filled
    with psycopg.connect(database_url, autocommit=True) as admin:  # removes what earlier tests have rolled back
        admin.execute("VACUUM")

    def measure(workflow, before, statement, belief, **values):
        values["w"] = workflow
        with explained(database_url) as (session, plans):
            for step in filter(str.strip, before.split(";")):
                session.execute(step, values)
            believe(session, belief)
            session.execute("SET enable_seqscan = off")  # as in the server's connections
            plans.clear()
            session.execute(statement, values)
            return cost(plans)

    return measure


@beliefs
@pytest.mark.parametrize("call", CALLS)
def test_a_call_costs_so_much_per_job_and_edge_whatever_postgresql_believes(filled, cost_of, call, belief):
    _, small, large = filled
    costs = [cost_of(workflow, *CALLS[call], belief) for workflow in (small, large)]
    assert costs[1] <= costs[0] * LARGE / SMALL * 2, costs  # if it grew with the square, the factor would be 4


@beliefs
@pytest.mark.parametrize("name", LISTS)
def test_a_list_costs_so_much_per_job_and_edge_whatever_postgresql_believes(filled, cost_of, name, belief):
    _, small, large = filled
    statement, order = LISTS[name]
    filters = {"needs_file_id": 1, "upstream_job_id": 1} if name == "list_jobs" else {}
    text = statement.sql.replace("{order_by}", order or "")
    costs = [cost_of(workflow, "", text, belief, **list_values(workflow, filters)) for workflow in (small, large)]
    assert costs[1] <= costs[0] * LARGE / SMALL * 2, costs


def list_values(workflow, filters):
    """Every parameter of every list."""
    unset = dict.fromkeys((
        "status", "needs_file_id", "upstream_job_id", "active_compute_node_id", "name", "path", "produced_by_job_id",
        "is_output", "is_ephemeral", "consumer_job_id", "producer_job_id", "job_id", "run_id", "return_code",
        "compute_node_id", "memory", "num_cpus", "num_gpus", "num_nodes", "runtime", "trigger_types",
        "origin_is_set", "command", "labels", "file_id", "entity_id",
    ))  # fmt: skip
    rest = {
        "workflow_id": workflow, "caller": "anonymous", "enforced": False, "dialect": None, "offset": 0,
        "limit": 100_000,
        "include_relationships": True, "all_runs": True, "is_output": True,
    }  # fmt: skip
    return unset | rest | filters


@beliefs
@pytest.mark.parametrize("call", CONSTANT)
def test_a_call_about_a_few_jobs_costs_the_same_in_every_workflow(filled, cost_of, call, belief):
    _, small, large = filled
    costs = [cost_of(workflow, *CONSTANT[call], belief) for workflow in (small, large)]
    assert costs[1] <= costs[0] * 1.5, costs


LEVELS = 40_000


@pytest.mark.long
def test_a_failure_at_the_head_of_40_000_levels_cancels_them_all_and_its_retry_takes_them_back(fresh_database_url):
    with Database(fresh_database_url).connect() as connection:
        connection.execute(FILL % {"count": 100})
        workflow = {"w": connection.execute("SELECT min(id) FROM torc.workflow").fetchone()[0]}
        connection.execute(
            """
            INSERT INTO torc.job (workflow_id, name, command, resource_requirements_id)
            SELECT %(w)s, 'j', 'c', (SELECT min(id) FROM torc.resource_requirements)
            FROM generate_series(1, %(levels)s)
            """,
            workflow | {"levels": LEVELS},
        )
        for step in CHAIN.split(";"):
            connection.execute(step, workflow)
        connection.execute("SELECT torc.recount_dependencies(%(w)s)", workflow)
        counted = "SELECT status::text, count(*) FROM torc.job WHERE workflow_id = %(w)s GROUP BY status"
        assert connection.execute("SHOW statement_timeout").fetchone()[0] == SETTINGS["statement_timeout"]
        connection.execute(END_FIRST, workflow)
        assert dict(connection.execute(counted, workflow)) == {"failed": 1, "canceled": LEVELS + 99}
        connection.execute("SELECT torc.retry_job(min(id), 0, 9) FROM torc.job WHERE workflow_id = %(w)s", workflow)
        assert dict(connection.execute(counted, workflow)) == {"ready": 1, "blocked": LEVELS + 99}
