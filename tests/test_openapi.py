"""The emitted OpenAPI document: complete, valid, the same each time, true where it names defaults, and compatible with
torc-client 0.22.2, whose code is the measure."""

import enum
import inspect
import json
import os
import re
import subprocess
import typing
import uuid
from pathlib import Path

import pydantic
import pytest
import yaml
from calls import ROWS, with_ids
from contract import app, contract, operations, validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from support import BINARIES
from test_client import METHODS, methods_of_the_client
from torc.openapi_client import models

from torc_server.openapi import as_yaml, document
from torc_server.wire import BASE_PATH

CHECKED_IN = Path(__file__).parent.parent / "openapi" / "openapi.yaml"
ADDED_OPERATIONS = {
    "list_admin_audit_log", "manage_status_change_by_body", "stream_events",
    "batch_complete_jobs", "create_files", "create_user_data_list",
    "archive_workflow", "update_workflow_action", "delete_workflow_action", "get_running_jobs",
    "get_slurm_job_correlations", "get_task", "get_active_task_for_workflow", "spawn_jobs",
}  # fmt: skip
VIEWS = {view.__name__: view for view in app().view_functions.values()}
SCHEMAS = contract()["components"]["schemas"]


@pytest.fixture(scope="module")
def emitted():
    return document(app())


@pytest.fixture(scope="module")
def emitted_yaml():
    return as_yaml(app())


def fields_of(document):
    """(where, schema, description) of every parameter and property."""
    for name, model in document["components"]["schemas"].items():
        for key, schema in model.get("properties", {}).items():
            yield f"{name}.{key}", schema, schema.get("description")
    for operation in operations().values():
        for parameter in operation["parameters"]:
            where = f"{operation['operationId']}({parameter['name']})"
            yield where, parameter["schema"], parameter.get("description")


def test_the_document_is_valid_openapi_3_1(emitted):
    assert emitted["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(emitted).validate()


def test_every_route_below_the_base_path_is_an_operation(emitted):
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule).removeprefix(BASE_PATH), method.lower())
        for rule in app().url_map.iter_rules()
        if rule.rule.startswith(BASE_PATH)
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert routes == {(path, method) for path, found in emitted["paths"].items() for method in found}


def test_every_operation_has_a_summary_a_description_and_an_answer(emitted):
    for name, operation in operations().items():
        assert 8 < len(operation["summary"]) <= 80 and "\n" not in operation["summary"], name
        assert len(operation["description"]) > 20 and operation["description"] != operation["summary"], name
        assert operation["tags"] and operation["responses"]["200"]["content"], name


def test_every_field_has_a_description_and_an_example(emitted):
    for where, schema, description in fields_of(emitted):
        assert description and description.endswith("."), where
        is_model = "$ref" in str(schema) and "schemas/JobStatus'" not in str(schema)
        assert is_model or "examples" in schema or schema == {"$ref": "#/components/schemas/JobStatus"}, where


def test_a_reference_stands_alone_in_the_schema_of_a_parameter():
    """With an example beside it complete_job of the generated Python client fails on the status "completed"."""
    schemas = [parameter["schema"] for operation in operations().values() for parameter in operation["parameters"]]
    references = [schema for schema in schemas if "JobStatus" in str(schema)]
    assert references == [{"$ref": "#/components/schemas/JobStatus"}] * 4


def test_every_example_fits_its_field(emitted):
    for where, schema, _ in fields_of(emitted):
        for example in schema.get("examples", []):
            assert validator(schema).is_valid(example), where


def test_every_model_tag_and_answer_has_a_description(emitted):
    assert all(schema["description"] for schema in emitted["components"]["schemas"].values())
    assert all(tag["description"] for tag in emitted["tags"])
    assert {tag["name"] for tag in emitted["tags"]} == {tag for op in operations().values() for tag in op["tags"]}


def test_the_job_status_is_a_component_of_its_own_and_null_by_any_of(emitted):
    status = emitted["components"]["schemas"]["JobModel"]["properties"]["status"]
    assert status["anyOf"] == [{"$ref": "#/components/schemas/JobStatus"}, {"type": "null"}]


def test_no_model_field_makes_generated_clients_misbehave(emitted):
    """readOnly fields vanish from what clients print, date-time is text no more, additionalProperties add a field."""
    text = json.dumps(emitted)
    assert not any(word in text for word in ('"readOnly"', '"date-time"', '"additionalProperties"'))


CREATED = [name for name in ROWS if name not in ("workflow_actions", "slurm_stats")]  # these have no GET of one row
# No default: the requirements named default, the time of the server, the attempt of a result's job; is_active is unset
# and reads as false.
GIVEN_BY_THE_SERVER = ("resource_requirements_id", "timestamp", "is_active", "attempt_id")


@pytest.mark.parametrize("collection", CREATED)
def test_a_default_that_the_document_names_is_what_an_absent_field_is_stored_as(workflow, collection):
    model = VIEWS[contract()["paths"][f"/{collection}"]["post"]["operationId"]].answer
    sent = {name: value for name, value in ROWS[collection].items() if model.fields[name].required}
    values = {"workflow_id": workflow.id, "job_id": workflow.job(), "compute_node_id": workflow.node()}
    sent = with_ids(sent, values)
    if collection == "access_groups":
        sent = {"name": uuid.uuid4().hex}
    id = workflow.client.post(f"/{collection}", json=sent).json["id"]
    stored = workflow.client.get(f"/{collection}/{id}").json
    for name, field in model.fields.items():
        if name not in sent and not field.dump_only and name not in GIVEN_BY_THE_SERVER:
            assert stored.get(name) == (field.default() if callable(field.default) else field.default), name


def test_the_document_is_the_same_in_every_process(emitted, emitted_yaml):
    def emit(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run([BINARIES / "torc-server", "openapi"], env=environment, capture_output=True, check=True)

    assert emit("1").stdout == emit("2").stdout == emitted_yaml.encode()
    assert yaml.safe_load(emitted_yaml) == json.loads(json.dumps(emitted))


def test_the_checked_in_document_is_the_emitted_one(emitted_yaml):
    assert CHECKED_IN.read_text() == emitted_yaml, "publish it: make openapi"


# What torc-client 0.22.2 knows must be there, with the same types


def parameters_of(method):
    """[(name, annotation)] of a client's method, without the arguments that all of them have."""
    hints = typing.get_type_hints(method)
    names = [name for name in inspect.signature(method).parameters if name != "self" and not name.startswith("_")]
    return [(name, hints[name]) for name in names], hints["return"]


def json_types(annotation):
    """What a type of the client is in JSON: a set of type names, null left out; models and lists by their names."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return set()
    if annotation in (typing.Any, object):
        return {"any"}
    if origin is typing.Annotated:
        return json_types(inner[0])
    if origin in (typing.Union, type(int | str)):
        return set().union(*map(json_types, inner))
    if origin in (list, typing.List):  # noqa: UP006
        return {f"list of {','.join(sorted(json_types(inner[0])))}"}
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel | enum.Enum):
        return {annotation.__name__}
    return {{int: "integer", float: "number", str: "string", bool: "boolean"}[annotation]}


def schema_types(schema):
    """The same of a schema."""
    if "$ref" in schema:
        return {schema["$ref"].split("/")[-1]}
    if "anyOf" in schema:
        return set().union(*map(schema_types, schema["anyOf"]))
    kinds = schema.get("type", "any")
    found = set()
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind == "array":
            found.add(f"list of {','.join(sorted(schema_types(schema['items'])))}")
        elif kind != "null":
            found.add(kind)
    return found


def fits(ours, theirs):
    """Number fields take integers in the client; where the client takes anything, ours may say what it is."""
    return ours == theirs or theirs == {"any"} or ours | {"integer"} == theirs | {"integer"} and "number" in ours


# Where clients of one generation have text and those of another an object, the document says that it may be anything.
TEXT_OR_OBJECT = {
    "WorkflowModel": {"metadata", "slurm_defaults", "execution_config", "resource_monitor_config"},
    "RoCrateEntityModel": {"metadata"},
}
LARGER_ANSWERS = {"WorkflowStatusModel": "WorkflowStatusResponse"}


def test_an_answer_that_has_another_model_holds_all_that_the_client_reads():
    for theirs, ours in LARGER_ANSWERS.items():
        assert SCHEMAS[theirs]["properties"].keys() <= SCHEMAS[ours]["properties"].keys()


@pytest.mark.parametrize("api_class, method", METHODS)
def test_an_operation_of_the_client_has_the_same_parameters_and_answer(api_class, method):
    theirs, answer = parameters_of(method)
    operation = operations()[method.__name__]
    known = {parameter["name"] for parameter in operation["parameters"]}
    order = [parameter["name"] for parameter in operation["parameters"]]
    schemas = {parameter["name"]: parameter["schema"] for parameter in operation["parameters"]}
    bodies = [(n, a) for n, a in theirs if n not in known]
    assert len(bodies) == ("requestBody" in operation), f"parameters missing: {bodies}"
    for _, annotation in bodies:
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        assert fits(schema_types(body), json_types(annotation))
    for parameter, annotation in theirs:
        if parameter in known:
            assert fits(schema_types(schemas[parameter]), json_types(annotation)), parameter
    in_path_or_query = [parameter for parameter, _ in theirs if parameter in known]
    assert [parameter for parameter in order if parameter in in_path_or_query] == in_path_or_query
    ((_, content),) = operation["responses"]["200"]["content"].items()
    expected = json_types(answer)
    if method.__name__ == "get_workflow_status":
        expected = {LARGER_ANSWERS[name] for name in expected}
    assert fits(schema_types(content["schema"]), expected)


CLIENT_MODELS = [model for _, model in inspect.getmembers(models, inspect.isclass)]


@pytest.mark.parametrize("model", CLIENT_MODELS, ids=lambda model: model.__name__)
def test_a_model_of_the_client_has_the_same_fields(model):
    ours = SCHEMAS[model.__name__]
    if issubclass(model, enum.Enum):
        assert {member.value for member in model} == set(ours["enum"])
        return
    for name, field in model.model_fields.items():
        name = field.alias or name
        assert name in ours["properties"], name
        schema = ours["properties"][name]
        expected = {"any"} if name in TEXT_OR_OBJECT.get(model.__name__, ()) else json_types(field.annotation)
        assert fits(schema_types(schema), expected), name
        assert field.is_required() == (name in ours.get("required", [])), name


def test_what_the_document_adds_to_the_client_is_listed_in_the_readme():
    readme = (CHECKED_IN.parent / "README.md").read_text()
    known = {method.__name__ for _, method in methods_of_the_client()}
    added = operations().keys() - known
    assert added == ADDED_OPERATIONS
    client = {model.__name__: model for model in CLIENT_MODELS}
    added |= SCHEMAS.keys() - client.keys()
    for name in SCHEMAS.keys() & client.keys() - {"JobStatus"}:
        theirs = {field.alias or key for key, field in client[name].model_fields.items()}
        added |= {f"{name}.{key}" for key in SCHEMAS[name]["properties"].keys() - theirs}
    for _, method in methods_of_the_client():
        theirs = {key for key, _ in parameters_of(method)[0]}
        ours = {parameter["name"] for parameter in operations()[method.__name__]["parameters"]}
        added |= {f"{method.__name__}({key})" for key in ours - theirs}
    assert sorted(added) == sorted(re.findall(r"^- `([^`]+)`", readme, re.MULTILINE))
