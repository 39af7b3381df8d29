"""Bad input to every operation, generated from the routes and their schemas: refused with 4xx, in the one error shape,
naming the field; nothing is stored, and the same connection serves the next request.

A valid call of each route (calls.py) is sent with one thing wrong at a time.
"""

import copy
import json
import re
from dataclasses import replace

import contract
import psycopg
import pytest
from callers import with_admin_sql
from calls import ROUTES, URLS, prepared_call
from support import MemoryClient
from workflow import Workflow

from torc_server import admin_sql
from torc_server.app import create_app
from torc_server.bodies import BASE_PATH
from torc_server.errors import KINDS
from torc_server.schemas import fields
from torc_server.schemas.fields import INT64_MAX, INT64_MIN
from torc_server.settings import Settings

JSON = {"Content-Type": "application/json"}
NOWHERE = 10**15  # no row has this id
USERS_TEXT = "no network"  # a client that finds such words in an error waits and sends the call again

# Values that a field of a class refuses, whichever field it is; and such as it takes, unless a rule says otherwise.
NO_INTEGERS = ["1", USERS_TEXT, "", 1.0, 1.5, True, False, [], [1], {}, {"a": 1}, 2**63, -(2**63) - 1, 10**30]
NO_TEXTS = [1, 1.5, True, [], ["a"], {}, "\0", "a\0b", "\ud800", "\udc00a"]
NO_STATUSES = [USERS_TEXT, "", "done", "Ready", "ready ", "PENDING_FAILED", "5", 5, True, [], {}, ["ready"], "\0"]
NO_LISTS = [1, "1", USERS_TEXT, True, {}, [1.0], ["1"], [True], [None], [[1]], [2**63]]
TOO_DEEP = json.loads("[" * 129 + "]" * 129)
BAD = {
    fields.Integer: NO_INTEGERS,
    fields.Float: ["1.5", USERS_TEXT, "", True, [], {}, 10**400, -(10**400)],
    fields.Boolean: [0, 1, 1.0, "true", "false", "", USERS_TEXT, [], {}],
    fields.String: NO_TEXTS,
    fields.JobStatus: NO_STATUSES,
    fields.IdList: [*NO_LISTS, [1, 1]],
    fields.ListOfIntegers: NO_LISTS,
    fields.Json: ["\0", ["\0"], {"a": "\ud800"}, {"\0": 1}, TOO_DEEP],
    fields.Objects: [1, USERS_TEXT, True, {}, [1], [USERS_TEXT], [[]], [{}]],
    fields.Object: [1, USERS_TEXT, True, [], [{}]],
    fields.ObjectsByName: [1, USERS_TEXT, True, [], {"a": 1}, {"a": []}],
    fields.TextOrObject: [1, 1.5, True, [], [{}], "\0", "\ud800", {"a": "\ud800"}],
    fields.Environment: [
        1, 1.5, True, [], "a", {"A": 1}, {"A": None}, {"A": "\0"}, {"": "a"}, {"1A": "a"}, {"A-B": "a"},
    ],
    fields.Names: [1, USERS_TEXT, True, {}, [1], [None], [[]], ["\0"], ["\ud800"], [USERS_TEXT]],
    fields.Texts: [1, "a", True, {}, [1], [None], [[]], ["\0"], ["\ud800"]],
    fields.Labels: [1, "a", True, {}, [1], [None], [[]], ["\0"], ["\ud800"], [""], [" a"], ["a "], ["a,b"], ["\n"]],
    fields.Word: [1, True, [], {}, "", USERS_TEXT, "\0"],
}  # fmt: skip
ODD = {
    fields.Integer: [0, -1, INT64_MAX, INT64_MIN, 2**31],
    fields.Float: [0, -1, 1e308, -1e308, 5e-324, 2**63, 10**300],
    fields.Boolean: [True, False],
    fields.String: ["", " ", "x" * 100_000, "%s", "\x01\x7f\n", "\U0001f600", "'; --"],
    fields.JobStatus: ["ready", "disabled"],
    fields.IdList: [[]],
    fields.ListOfIntegers: [[], [1, 1], [-1, 0, INT64_MAX]],
    fields.Json: [None, 0, "", [], {}, {"": None}, 10**300, 1e-320, "x" * 100_000],
    fields.Object: [{}],
    fields.ObjectsByName: [{}, {"": {}}],
    fields.TextOrObject: ["", "x" * 100_000, "{", "[1]", "null", {}],
    fields.Environment: [{}, {"A": ""}, {"_": "x" * 100_000, "a1": "%s"}],
    fields.Names: [[]],
    fields.Texts: [[], ["a", "a"], ["%", "\\", "'; --", "\U0001f600"], ["x" * 100_000]],
    fields.Labels: [[], ["a", "a"], ["%", "\\", "'; --", "\U0001f600"], ["x" * 100_000]],
    fields.Word: [],
}
BAD_QUERY = {
    fields.QueryInteger: ["", USERS_TEXT, "1.0", "true", " 1", "1_0", "9" * 5000, "\0"],
    fields.QueryBoolean: ["", USERS_TEXT, "1", "True", "\0"],
    fields.QueryString: ["\0", "a\0b"],
    fields.QueryJobStatus: NO_STATUSES[:7],
    fields.QueryStrings: ["\0"],
    fields.QueryLabels: ["\0", "a,\0", " a", "a, b"],
    fields.QueryAge: ["", "soon", "90", "d", "-1d", "1.5h", "\0"],
}
ODD_QUERY = {
    fields.QueryInteger: [INT64_MAX, INT64_MIN, 0, -1, "+1", "-0", "007"],
    fields.QueryBoolean: ["true", "false"],
    fields.QueryString: ["", " ", "%", "\\", "x" * 5000, "\ufffd", "'; --"],
    fields.QueryJobStatus: ["ready"],
    fields.QueryStrings: ["", "a", ["a", "b"]],
    fields.QueryLabels: ["", ",", "a,,a", "%", "x" * 5000],
    fields.QueryAge: ["1h", "90d", "8w"],
}

# Fields of which the id must be that of a row of the same workflow, or of some row.
OF_THE_WORKFLOW = {
    "job_id": "job", "depends_on_job_ids": "job", "consumer_job_id": "job", "producer_job_id": "job",
    "file_id": "file", "input_file_ids": "file", "output_file_ids": "file",
    "input_user_data_ids": "user_data", "output_user_data_ids": "user_data",
}  # fmt: skip
OF_ANY_WORKFLOW = ("resource_requirements_id", "failure_handler_id", "compute_node_id")
# Where such a field is accepted and not looked at, as in the reference.
IGNORED = {
    ("jobs.update_job", "failure_handler_id"), ("results.update_result", "compute_node_id"),
    ("workflow_actions.create_workflow_action", "workflow_id"),
}  # fmt: skip

# Where an unknown id is no reason to refuse the whole: see test_batch_complete_jobs.py.
NOT_REFUSED = ("jobs.batch_complete_jobs",)

# Where a path may name a row that does not exist: nobody has access to such a workflow.
ANY_ID = ("access_groups.check_workflow_access",)

# Errors of these calls hold no text of the user's.
WITHOUT_USERS_TEXT = ("start_", "complete_", "retry_", "claim_", "manage_", "_file", "_action", "_node")


@pytest.fixture(scope="module")
def app(module_database_url):
    app = create_app(with_admin_sql(replace(Settings(), database_url=module_database_url)), module_database_url)
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        admin_sql.set_up(connection)
    app.extensions["database"].open()
    yield app
    app.extensions["database"].close()


@pytest.fixture(scope="module")
def client(app):
    return MemoryClient(app)


@pytest.fixture(scope="module")
def database(module_database_url):
    with psycopg.connect(module_database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def other(client, database):
    """One row of each kind in another workflow: {kind: id}."""
    workflow = Workflow(client, database)
    handler = {"workflow_id": workflow.id, "name": "h", "rules": "[]"}
    return {
        "workflow": workflow.id, "job": workflow.job(), "file": workflow.file(), "user_data": workflow.user_data(),
        "resource_requirements_id": workflow.requirements(), "compute_node_id": workflow.node(),
        "failure_handler_id": client.post("/failure_handlers", json=handler).json["id"],
    }  # fmt: skip


@pytest.fixture
def stored(database):
    """A function: which row versions all tables hold, by their place and the transaction that wrote them."""
    named = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'torc' AND tablename <> 'event_stream'"
    rows = "SELECT '{0}', string_agg(concat(ctid, xmin), ' ' ORDER BY ctid) FROM torc.{0}"
    statement = " UNION ALL ".join(rows.format(table) for (table,) in database.execute(named))
    return lambda: sorted(database.execute(statement).fetchall())


OWN_KINDS = {"admin.admin_sql": ("InvalidStatement", "ExecutionFailed")}


class Calls:
    """The valid call of one route, with one thing wrong at a time."""

    def __init__(self, workflow, rule, method):
        self.client, self.rule, self.method = workflow.client, rule, method
        self.path, arguments = prepared_call(workflow, rule, method)
        self.body = arguments.get("json")
        self.params = arguments.get("params", {})

    def send(self, path=None, params=None, status=None, **arguments):
        if self.body is not None and not arguments:
            arguments = {"json": self.body}
        params = self.params if params is None else params
        return self.client.request(self.method, path or self.path, params=params, status=status, **arguments)

    def refused(self, field, *, says_field=True, **arguments):
        """Send; check the refusal. field: what the error must name."""
        response = self.send(**arguments)
        shown = f"{self.rule.endpoint} {field} {str(arguments)[:300]}: {response.status_code} {response.text[:300]}"
        assert 400 <= response.status_code < 500, shown
        error = self.error(response, shown)
        if says_field:
            named = re.split(r"[.\[]", error["field"]) if "field" in error else error["message"]
            assert field in named, shown
        return response

    def error(self, response, shown):
        assert response.headers["content-type"] == "application/json", shown
        assert response.json.keys() == {"error"}, shown
        error = response.json["error"]
        kinds = {KINDS[response.status_code], *OWN_KINDS.get(self.rule.endpoint, ())}
        assert error["error"] in kinds and error["message"], shown
        assert "cannot be stored" not in error["message"], shown  # validation let it through
        if any(part in self.rule.endpoint for part in WITHOUT_USERS_TEXT):
            assert "network" not in response.text, shown
        return error

    def taken(self, field, **arguments):
        """Send something odd: it may be accepted, or refused in the right shape."""
        response = self.send(**arguments)
        shown = f"{self.rule.endpoint} {field} {str(arguments)[:300]}: {response.status_code} {response.text[:300]}"
        assert response.status_code < 500, shown
        if response.status_code not in (200, 202):
            self.error(response, shown)
        else:
            response.json  # noqa: B018

    # Bodies

    def fields(self):
        """(path in the body, field) of all body fields, those of inner models too."""
        if self.rule.endpoint in BULKS:
            key, field = next(iter(VIEWS[self.rule.endpoint].body_model.fields.items()))
            return [((key, 1, *path), inner) for path, inner in all_fields(field.schema)]
        return list(all_fields(body_schema(self.rule)))

    def with_value(self, path, value):
        body = copy.deepcopy(self.body)
        place = body
        for key in path[:-1]:
            if not isinstance(place, list) and not isinstance(place.get(key), dict | list):
                place[key] = copy.deepcopy(INNER.get(key, {}))
            place = place[key]
        place[path[-1]] = value
        return body

    def without(self, path):
        body = self.with_value(path, None)
        place = body
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        return body

    def with_raw(self, path, text):
        """The body as text, with a value that json.dumps does not write."""
        return json.dumps(self.with_value(path, "@raw@")).replace('"@raw@"', text)

    def with_twin(self, path):
        text = json.dumps(self.with_value(path, "@raw@"))
        return text.replace('"@raw@"', f'1, "{path[-1]}": 1')


INNER = {"schedule_compute_nodes": {"scheduler_id": 1, "num_jobs": 1}}  # inner models with required fields


def all_fields(schema, path=()):
    """(path, field) of each field; an object in the place of a text may have fields too."""
    for name, field in schema.load_fields.items():
        yield (*path, name), field
        if isinstance(field, fields.Object):
            first = (0,) if isinstance(field, fields.Objects) else ()
            yield from all_fields(field.schema, (*path, name, *first))
        elif isinstance(field, fields.TextOrObject) and field.model:
            yield from all_fields(field.model, (*path, name))


def values_for(field, table):
    """The values of the nearest class of the field that the table knows; each class must be there."""
    return next(table[kind] for kind in type(field).__mro__ if kind in table)


def bad_values(field):
    values = list(values_for(field, BAD))
    minimum = getattr(field, "minimum", INT64_MIN)
    if minimum > INT64_MIN:
        values += [minimum - 1, INT64_MIN]
    if not field.allow_none:
        values.append(None)
    if isinstance(field, fields.Object) and any(inner.required for inner in field.schema.load_fields.values()):
        values.append({})
    return values


@pytest.fixture
def calls(workflow, app):
    run = app.extensions["database"].run
    connection = run(lambda connection: connection)
    endpoints = set()
    yield lambda rule, method: endpoints.add(rule.endpoint) or Calls(workflow, rule, method)
    if "admin.admin_sql" not in endpoints:  # each such statement has a connection to itself
        assert run(lambda connection: connection) is connection


def body_schema(rule):
    return getattr(VIEWS[rule.endpoint], "body_schema", None)


def query_fields(rule):
    schema = getattr(VIEWS[rule.endpoint], "query_schema", None)
    return schema.fields if schema else {}


VIEWS = contract.app().view_functions
BULKS = ("jobs.create_jobs", "files.create_files", "user_data.create_user_data_list")  # read in pieces
# Without declared fields.
BARE = ("events.update_event", "remote_workers.create_remote_workers", "workflow_actions.update_workflow_action")
WITH_FIELDS = [r for r in ROUTES if body_schema(r.values[0]) or r.values[0].endpoint in BULKS]
WITH_BODY = [r for r in ROUTES if r in WITH_FIELDS or r.values[0].endpoint in BARE]
WITH_QUERY = [r for r in ROUTES if query_fields(r.values[0])]
WITH_PATH = [r for r in ROUTES if r.values[0].arguments]


@pytest.mark.parametrize("rule, method", WITH_FIELDS)
def test_a_bad_body_field_is_refused_by_name_and_stores_nothing(calls, stored, rule, method):
    call = calls(rule, method)
    before = stored()
    for path, field in call.fields():
        name = path[-1]
        for value in bad_values(field):
            call.refused(name, json=call.with_value(path, value))
        for text in ("NaN", "-Infinity", "1e999", "1" * 5000):
            call.refused(name, says_field=False, body=call.with_raw(path, text), headers=JSON)
        call.refused(name, body=call.with_twin(path), headers=JSON)
        if field.required:
            call.refused(name, json=call.without(path))
    assert stored() == before
    call.send(status=200)


@pytest.mark.parametrize("rule, method", WITH_FIELDS)
def test_a_body_field_with_an_odd_value_never_fails_the_server(calls, rule, method):
    call = calls(rule, method)
    for path, field in call.fields():
        for value in values_for(field, ODD):
            call.taken(path, json=call.with_value(path, value))
        if field.allow_none:
            call.taken(path, json=call.with_value(path, None))
        if not field.required:
            call.taken(path, json=call.without(path))


@pytest.mark.parametrize("rule, method", WITH_BODY)
def test_a_body_that_is_not_the_model_is_refused_and_stores_nothing(calls, stored, rule, method):
    call = calls(rule, method)
    takes_anything = rule.endpoint == "events.update_event"
    before = stored()
    twice = json.dumps(call.body) * 2
    for body in ("", "{", "nul", twice, b"\xff", b'{"a": "\xff"}', "[NaN]", "[1e999]", "{'a': 1}"):
        call.refused("", says_field=False, body=body, headers=JSON)
    for body in ('{"a": 1, "a": 2}', '"\\u0000"', '["\\ud800"]', "[" * 129 + "]" * 129):
        call.refused("", says_field=False, body=body, headers=JSON)
    for body in () if takes_anything else ("1", "true", "null", '"text"', "[1]", "[[]]", "[null]"):
        call.refused("", says_field=False, body=body, headers=JSON)
    for kind in ({}, {"Content-Type": "text/plain"}):
        assert call.refused("", says_field=False, body=json.dumps(call.body), headers=kind).status_code == 415
    assert stored() == before
    call.send(status=200)


@pytest.mark.parametrize("rule, method", [r for r in WITH_FIELDS if r.values[0].endpoint not in NOT_REFUSED])
def test_an_id_of_no_row_or_of_another_workflow_in_a_body_is_refused_by_name(calls, stored, other, rule, method):
    call = calls(rule, method)
    before = stored()
    accepted = []
    for path, field in call.fields():
        name = path[-1]
        if (rule.endpoint, name) in IGNORED:
            accepted.append((path, NOWHERE))
        elif name == "workflow_id":
            for value in (NOWHERE, -1, 0):
                call.refused("workflow", says_field=False, json=call.with_value(path, value))
            if rule.endpoint.split(".")[1].startswith("create_") and path == ("workflow_id",):
                accepted.append((path, other["workflow"]))  # a row of that workflow, then
            else:
                call.refused(name, json=call.with_value(path, other["workflow"]))
        elif name in OF_THE_WORKFLOW or name in OF_ANY_WORKFLOW:
            as_value = (lambda value: [value]) if isinstance(field, fields.IdList) else (lambda value: value)
            foreign = other[OF_THE_WORKFLOW.get(name, name)]
            for value in (NOWHERE, -1, 0):
                call.refused(name, json=call.with_value(path, as_value(value)))
            if name in OF_ANY_WORKFLOW:
                accepted.append((path, foreign))
            else:
                call.refused(name, json=call.with_value(path, as_value(foreign)))
    assert stored() == before
    call.send(status=200)
    for path, value in accepted:
        call.taken(path, json=call.with_value(path, value))


@pytest.mark.parametrize("job", [1, None, "text", [], True])
def test_an_item_of_bulk_jobs_that_is_no_object_is_refused_by_its_number(workflow, stored, job):
    before = stored()
    jobs = [{"workflow_id": workflow.id, "name": "j", "command": "c"}, job]
    error = workflow.client.post("/bulk_jobs", json={"jobs": jobs}, status=422).json["error"]
    assert (error["field"], error["message"]) == ("jobs[1]", "jobs[1]: must be a JSON object")
    assert stored() == before


@pytest.mark.parametrize("more", ['"\\u0000": 1', '"more": "\\u0000"', '"more": ["\\ud800"]', '"more": [1e-999, -0]'])
def test_unknown_keys_of_bulk_jobs_are_ignored_whatever_they_hold(workflow, more):
    job = f'{{"workflow_id": {workflow.id}, "name": "j", "command": "c", {more}}}'
    body = f'{{"jobs": [{job}], {more}}}'
    jobs = workflow.client.post("/bulk_jobs", body=body, headers=JSON).json["jobs"]
    assert workflow.client.get(f"/jobs/{jobs[0]['id']}").json["name"] == "j"


# Query strings


@pytest.mark.parametrize("rule, method", WITH_QUERY)
def test_a_bad_query_parameter_is_refused_by_name_and_stores_nothing(calls, stored, rule, method):
    call = calls(rule, method)
    before = stored()
    for name, field in query_fields(rule).items():
        for value in values_for(field, BAD_QUERY):
            call.refused(name, params=call.params | {name: value})
        for value in (getattr(field, "minimum", INT64_MIN) - 1, getattr(field, "maximum", INT64_MAX) + 1):
            if isinstance(field, fields.QueryInteger):
                call.refused(name, params=call.params | {name: value})
        if not getattr(field, "repeatable", False):
            call.refused(name, params=call.params | {name: ["1", "1"]})
        if field.required:
            call.refused(name, params={key: value for key, value in call.params.items() if key != name})
    assert stored() == before
    call.send(status=200)


@pytest.mark.parametrize("rule, method", WITH_QUERY)
def test_a_query_parameter_with_an_odd_value_never_fails_the_server(calls, rule, method):
    call = calls(rule, method)
    for name, field in query_fields(rule).items():
        for value in values_for(field, ODD_QUERY):
            call.taken(name, params=call.params | {name: value})
        for raw in ("%ff", "%ed%a0%80", "%", "&"):
            rest = "".join(f"&{key}={value}" for key, value in call.params.items() if key != name)
            call.taken(name, path=f"{call.path}?{name}={raw}{rest}", params={})


@pytest.mark.parametrize("name", ["consumer_job_id", "producer_job_id"])
def test_new_user_data_of_an_unknown_job_or_of_one_of_another_workflow_is_refused(calls, stored, other, name):
    rule = next(rule for rule in URLS.iter_rules() if rule.endpoint == "user_data.create_user_data")
    call = calls(rule, "POST")
    before = stored()
    for value in (NOWHERE, 0, -1, other["job"]):
        call.refused(name, params={name: value})
    assert stored() == before


# Paths


@pytest.mark.parametrize("rule, method", WITH_PATH)
def test_a_bad_path_parameter_is_refused_by_name_and_stores_nothing(calls, stored, rule, method):
    call = calls(rule, method)
    before = stored()
    for name, converter in rule._converters.items():
        for text in bad_segments(converter):
            call.refused(name, path=path_with(rule, call.path, name, text))
        if type(converter).__name__ == "Int64Converter" and rule.endpoint not in ANY_ID:
            named = name in ("limit", "run_id") or rule.endpoint == "jobs.start_job" and name == "compute_node_id"
            for number in (NOWHERE, -1, INT64_MAX, INT64_MIN):
                call.refused(name, says_field=named, path=path_with(rule, call.path, name, number))
    assert stored() == before
    call.send(status=200)


def bad_segments(converter):
    kind = type(converter).__name__
    if kind == "TextConverter":
        return ["%00", "a%00b"]
    words = ["no%20network", "true", "%00", "%ff", "%ed%a0%80", "1.0", "1_0"]
    return words if kind == "JobStatusConverter" else [*words, str(2**63), str(-(2**63) - 1), "9" * 5000]


def path_with(rule, path, name, text):
    """The path of a call with another value of one parameter, percent-encoded already."""
    shape = rule.rule.removeprefix(BASE_PATH).split("/")
    place = next(index for index, part in enumerate(shape) if part.endswith(f":{name}>"))
    parts = path.split("/")
    return "/".join([*parts[:place], str(text), *parts[place + 1 :]])


def test_the_rows_of_another_workflow_cannot_be_reached_by_a_path_below_this_one(workflow, other, stored):
    action = {"workflow_id": 1, "trigger_type": "t", "action_type": "x", "action_config": {}}
    foreign = workflow.client.post(f"/workflows/{other['workflow']}/actions", json=action).json["id"]
    workflow.client.post(f"/workflows/{other['workflow']}/remote_workers", json=["me@host"])
    before = stored()
    workflow.client.post(f"{workflow.path}/actions/{foreign}/claim", json={}, status=404)
    workflow.client.delete(f"{workflow.path}/remote_workers/me@host", status=404)
    assert stored() == before
