"""Random calls to all operations, with bodies and query strings made from the schemas, some of them wrong: nothing
fails the server, every answer fits the model that torc-client declares for it, every error has the one shape.

For a longer search, with other seeds than the fixed ones:
HYPOTHESIS_EXAMPLES=5000 .venv/bin/pytest tests/wire/test_fuzz.py
"""

import json
import os
import typing
import uuid
from collections import defaultdict
from dataclasses import replace
from urllib.parse import quote

import psycopg
import pytest
from calls import ROUTES, ROWS, with_ids
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from support import MemoryClient
from test_client import methods_of_the_client

from torc_server.app import create_app
from torc_server.bodies import BASE_PATH
from torc_server.errors import KINDS
from torc_server.schemas import fields
from torc_server.settings import Settings

EXAMPLES = os.environ.get("HYPOTHESIS_EXAMPLES")
SETTINGS = settings(
    stateful_step_count=60,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

DECLARED = {method.__name__: typing.get_type_hints(method)["return"] for _, method in methods_of_the_client()}
DECLARED["manage_status_change_by_body"] = DECLARED["manage_status_change"]
FREE_JSON = ("data", "action_config", "scheduler")  # keys under which anything may be
FLOATS = (  # written by PostgreSQL as integers where they are whole, of as many digits as it takes
    "memory_gb", "duration_seconds", "exec_time_minutes", "peak_cpu_percent", "avg_cpu_percent", "st_mtime",
    "ave_cpu_seconds",
)  # fmt: skip
JSON = {"Content-Type": "application/json"}

# The collection of which a field or path parameter holds an id; a path's id is one of its own collection.
COLLECTIONS = {
    "workflow_id": "workflows", "job_id": "jobs", "depends_on_job_ids": "jobs", "job_ids": "jobs",
    "consumer_job_id": "jobs", "producer_job_id": "jobs", "upstream_job_id": "jobs", "produced_by_job_id": "jobs",
    "file_id": "files", "input_file_ids": "files", "output_file_ids": "files", "needs_file_id": "files",
    "user_data_id": "user_data", "input_user_data_ids": "user_data", "output_user_data_ids": "user_data",
    "resource_requirements_id": "resource_requirements",
    "compute_node_id": "compute_nodes", "active_compute_node_id": "compute_nodes", "executed_by": "compute_nodes",
    "failure_handler_id": "failure_handlers", "action_id": "workflow_actions", "group_id": "access_groups",
}  # fmt: skip
# Words that mean something to some field.
WORDS = {
    "memory": ["1m", "256g", "0", "9t", "1.5g", "-1g"], "runtime": ["PT1M", "P0DT1M", "P1W", "PT", "1h"],
    "time_limit": ["PT1H", "P1D", "soon"], "completion_time": ["2026-01-01T00:00:00Z"],
    "trigger_type": ["on_workflow_start", "on_workflow_complete", "on_jobs_ready", "on_jobs_complete"],
    "action_type": ["run_commands", "schedule_nodes", "other"], "sort_by": ["id", "name", "status", "data", "no"],
    "level": ["debug"], "scheduler_type": ["slurm"], "compute_node_type": ["local", "slurm"],
}  # fmt: skip
CONFIGURATIONS = [{"commands": ["c"]}, {}, {"scheduler_id": 1, "num_allocations": 2}, {"commands": []}]

edges = st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)])
texts = st.one_of(st.sampled_from(["", "n", "j", "c", "%_\\", "x" * 300]), st.text(max_size=8))
numbers = st.one_of(st.integers(0, 9), edges)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.integers(), st.floats(), texts, st.just("\0"), st.just("\ud800")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
storable = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
seldom = st.sampled_from([False] * 9 + [True])
sometimes = st.sampled_from([False, False, True])

BULKS = ("jobs.create_jobs", "files.create_files", "user_data.create_user_data_list")  # read their bodies in pieces
OFTEN = 4  # as often as one that ends a workflow or empties a collection
CALLS = [
    (route.values[0], route.values[1])
    for route in ROUTES
    for _ in range(1 if route.values[0].endpoint.split(".")[1].startswith(("delete_", "cancel_")) else OFTEN)
]


class Fuzz(RuleBasedStateMachine):
    """Calls in a database that only it uses. .client, .database and .views are set by the test."""

    def __init__(self):
        super().__init__()
        self.ids = defaultdict(list)  # of rows that were made, by collection

    @initialize()
    def make_a_row_of_each_kind(self):
        workflow = self.make("workflows", ROWS["workflows"])
        values = {"workflow_id": workflow}
        for collection, row in ROWS.items():
            if collection not in ("workflows", "workflow_actions"):
                made = self.make(collection, with_ids(row, values))
                values |= {"jobs": {"job_id": made}, "compute_nodes": {"compute_node_id": made}}.get(collection, {})
        for _ in range(2):
            self.make("jobs", with_ids(ROWS["jobs"], values))
        action = {"trigger_type": "on_jobs_ready", "job_ids": self.ids["jobs"]}
        action = with_ids(ROWS["workflow_actions"] | action, values)
        self.make("workflow_actions", action, f"/workflows/{workflow}/actions")

    def make(self, collection, row, path=None):
        if collection == "access_groups":
            row = row | {"name": uuid.uuid4().hex}  # no two groups have the same
        made = self.client.post(path or f"/{collection}", json=row).json["id"]
        self.ids[collection].append(made)
        return made

    @rule(call=st.sampled_from(CALLS), data=st.data())
    def call_something(self, call, data):
        draw, (route, method) = data.draw, call
        view = self.views[route.endpoint]
        path = self.path(draw, route)
        arguments = {"params": self.query(draw, getattr(view, "query_schema", None))}
        body = self.body(draw, route.endpoint, getattr(view, "body_schema", None))
        if body is not None:
            arguments |= {"body": body, "headers": JSON}
        response = self.client.request(method, path, status=None, **arguments)
        self.check(route, response, f"{method} {path} {str(arguments)[:1500]}")

    def teardown(self):
        for workflow in self.ids["workflows"]:
            found = self.database.execute("SELECT * FROM torc.check_invariants(%s)", [workflow]).fetchall()
            assert found == []
        # Groups are everybody's: a name that is taken would make the next run of the same calls another one.
        self.database.execute("DELETE FROM torc.access_group WHERE NOT is_system")

    # What is sent

    def path(self, draw, route):
        parts = []
        for part in route.rule.removeprefix(BASE_PATH).split("/"):
            kind, _, name = part.strip("<>").partition(":")
            if part.startswith("<"):
                parts.append(quote(str(self.path_value(draw, route, kind, name)), safe=""))
            else:
                parts.append(part)
        return "/".join(parts)

    def path_value(self, draw, route, kind, name):
        if kind == "text":
            return draw(st.sampled_from(["me@host:22", "[::1]", "a/b", "ü"]))
        if kind == "job_status":
            return draw(st.sampled_from([*fields.JOB_STATUSES, "completed", "ready", "running", "done"]))
        if name == "run_id":
            return draw(st.sampled_from([0, 0, 0, 1, -1]))
        if name == "limit":
            return draw(st.sampled_from([0, 1, 10, 100000, 100001, -1]))
        own = route.rule.removeprefix(BASE_PATH).split("/")[1]
        return draw(self.an_id(own if name == "id" else COLLECTIONS[name]))

    def an_id(self, collection):
        """Mostly of a row that there was; never a number that may be an id in one run and not in the next."""
        known = self.ids[collection]
        likely = known[:1] * 12 if collection == "workflows" else known[:4] * 3
        return st.sampled_from([*likely, *known[-4:], 2**62])

    def query(self, draw, schema):
        known = schema.fields if schema else {}
        asked = [name for name, field in known.items() if field.required or draw(sometimes)]
        given = {name: draw(self.query_value(name, known[name])) for name in asked}
        if given and draw(seldom):
            wrong = st.one_of(st.text(max_size=4), st.sampled_from(["", "\0", "9" * 20, ["1", "2"]]))
            given[draw(st.sampled_from(asked))] = draw(wrong)
        return given

    def query_value(self, name, field):
        if isinstance(field, fields.QueryInteger):
            return self.an_id(COLLECTIONS[name]) if name in COLLECTIONS else numbers
        if isinstance(field, fields.QueryBoolean):
            return st.booleans()
        if isinstance(field, fields.QueryJobStatus):
            return st.sampled_from(fields.JOB_STATUSES)
        return st.sampled_from(WORDS[name]) if name in WORDS else st.sampled_from(["n", "w", "default", "%"])

    def body(self, draw, endpoint, schema):
        """The text of a body, or None where none is read."""
        if endpoint in BULKS:
            body = self.model(draw, self.views[endpoint].body_model)
        elif endpoint == "remote_workers.create_remote_workers":
            body = draw(st.lists(st.sampled_from(["me@host:22", "[::1]", "a/b", "ü"]), max_size=3))
        elif endpoint == "events.update_event":
            body = draw(anything)
        elif schema:
            body = self.model(draw, schema)
        else:
            return None
        if draw(seldom):
            body = draw(anything)
        text = json.dumps(body)
        return text[: -draw(st.integers(1, 40))] if draw(seldom) else text

    def model(self, draw, schema):
        """A body that mostly fits; seldom one field has another type or is missing."""
        body = {}
        for name, field in schema.load_fields.items():
            if field.required or draw(sometimes):
                body[name] = self.value(draw, name, field)
        if draw(seldom):
            body[draw(st.sampled_from(list(schema.fields)))] = draw(anything)
        if body and draw(seldom):
            body.pop(draw(st.sampled_from(list(body))))
        return body

    def value(self, draw, name, field):
        if isinstance(field, fields.Objects):
            return [self.model(draw, field.schema) for _ in range(draw(st.integers(0, 3)))]
        if isinstance(field, fields.Object):
            return self.model(draw, field.schema)
        return draw(self.field_value(name, field))

    def field_value(self, name, field):
        if isinstance(field, fields.IdList | fields.ListOfIntegers):
            return st.lists(self.an_id(COLLECTIONS[name]), max_size=2, unique=isinstance(field, fields.IdList))
        if isinstance(field, fields.Integer):
            if name == "run_id":
                return st.sampled_from([0, 0, 0, 1, 2**63 - 1])
            least = max(0, field.minimum)
            return self.an_id(COLLECTIONS[name]) if name in COLLECTIONS else st.one_of(st.integers(least, 9), edges)
        if isinstance(field, fields.JobStatus):
            return st.sampled_from(fields.JOB_STATUSES)
        if isinstance(field, fields.Float):
            return st.one_of(numbers, st.floats(allow_nan=False, allow_infinity=False))
        if isinstance(field, fields.Boolean):
            return st.booleans()
        if name == "action_config":
            return st.sampled_from(CONFIGURATIONS)
        if isinstance(field, fields.Json):
            return storable
        return st.one_of(st.sampled_from(WORDS[name]), texts) if name in WORDS else texts

    # What comes back

    def check(self, route, response, shown):
        shown += f" → {response.status_code} {response.text[:1500]}"
        assert response.headers["content-type"] == "application/json", shown
        answer = response.json
        if response.status_code not in (200, 202):
            assert 400 <= response.status_code < 500, shown
            assert answer.keys() == {"error"}, shown
            assert answer["error"]["error"] == KINDS[response.status_code], shown
            assert isinstance(answer["error"]["message"], str) and answer["error"]["message"], shown
            assert "cannot be stored" not in answer["error"]["message"], shown  # validation let it through
            return
        collection, operation = route.endpoint.split(".")
        # torc-client 0.22.2 has neither newer operations nor tasks.
        declared = DECLARED.get(operation, object) if response.status_code == 200 else object
        assert_fits(answer, declared, shown)
        made = answer if isinstance(answer, dict) and operation.startswith("create_") else {}
        self.ids[collection] += [row["id"] for row in made.get(collection, [made]) if "id" in row]


def assert_fits(answer, declared, shown):
    """That an answer fits the model of torc-client, all its types exact, and holds no integer beyond 64 bits, which
    clients in other languages do not read."""
    if typing.get_origin(declared) is list:
        assert isinstance(answer, list), shown
        for item in answer:
            assert_fits(item, typing.get_args(declared)[0], shown)
        return
    assert isinstance(answer, dict), shown
    if declared is not object:
        model = declared.from_dict(answer)  # raises where a key is missing or of another type
        assert model is not None, shown
    if answer != {"task": None}:  # the one key that is always there
        assert None not in without_free_json(answer).values(), shown
    for number in integers_in(answer):
        assert fields.is_int64(number), shown


def without_free_json(row):
    return {key: value for key, value in row.items() if key not in FREE_JSON}


def integers_in(value):
    if isinstance(value, dict):
        for key, inner in without_free_json(value).items():
            yield from () if key in FLOATS else integers_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from integers_in(inner)
    elif isinstance(value, int):
        yield int(value)


@pytest.fixture(scope="module")
def app(module_database_url):
    app = create_app(replace(Settings(), database_url=module_database_url), module_database_url)
    app.extensions["database"].open()
    yield app
    app.extensions["database"].close()


@pytest.mark.parametrize("examples", [int(EXAMPLES or 15), pytest.param(100, marks=pytest.mark.long)])
def test_random_calls_never_fail_the_server_and_their_answers_fit_the_declared_models(
    app, module_database_url, examples
):
    with psycopg.connect(module_database_url, autocommit=True) as database:
        environment = {"client": MemoryClient(app), "database": database, "views": app.view_functions}
        machine = type("Fuzz", (Fuzz,), environment)
        run_state_machine_as_test(machine, settings=settings(SETTINGS, max_examples=examples))
