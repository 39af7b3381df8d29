"""The emitted OpenAPI document: complete, valid, the same each time, true where it names defaults, and compatible with
the oldest and the newest torc-client, whose code is the measure."""

import json
import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest
import yaml
from calls import ROWS, with_ids
from client_versions import NEW, OLD, TEXT_OR_OBJECT, description_of
from contract import app, contract, operations, validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from support import BINARIES

from torc_server.bodies import BASE_PATH
from torc_server.openapi import as_yaml, document

CHECKED_IN = Path(__file__).parents[2] / "openapi" / "openapi.yaml"
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


def test_every_example_of_a_body_is_a_valid_one_without_what_the_server_gives(emitted):
    components = {"components": emitted["components"]}
    for name, operation in operations().items():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in content:
            found = validator(content["schema"] | components)
            assert found.is_valid(content["example"]), name
            assert not {"id", "status_id"} & content["example"].keys(), name


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
    environment = {**os.environ, "PYTHONHASHSEED": "1"}  # ours is another one
    other = subprocess.run([BINARIES / "torc-server", "openapi"], env=environment, capture_output=True, check=True)
    assert other.stdout == emitted_yaml.encode()
    assert yaml.load(emitted_yaml, yaml.CSafeLoader) == json.loads(json.dumps(emitted))


def test_the_checked_in_document_is_the_emitted_one(emitted_yaml):
    assert CHECKED_IN.read_text() == emitted_yaml, "publish it: make openapi"


# What the oldest and the newest client know must be there, with the same types


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


LARGER_ANSWERS = {"WorkflowStatusModel": "WorkflowStatusResponse"}


def test_an_answer_that_has_another_model_holds_all_that_the_client_reads():
    for theirs, ours in LARGER_ANSWERS.items():
        assert SCHEMAS[theirs]["properties"].keys() <= SCHEMAS[ours]["properties"].keys()


# The newest client has two new parameters in the middle; ours come last, for callers that give arguments by position.
OTHER_ORDER = (NEW, "list_ro_crate_entities")


@pytest.fixture(scope="module")
def clients():
    return {version: description_of(version) for version in (OLD, NEW)}


def test_an_operation_of_a_client_has_the_same_parameters_and_answer(clients):
    for version, client in clients.items():
        for name, theirs in client["calls"].items():
            check_operation(version, name, theirs)


def check_operation(version, name, theirs):
    shown = f"{name} of {version}"
    operation = operations()[name]
    schemas = {python_name(parameter["name"]): parameter["schema"] for parameter in operation["parameters"]}
    bodies = [types for parameter, types in theirs["parameters"] if parameter not in schemas]
    assert len(bodies) == ("requestBody" in operation), f"parameters missing: {bodies} {shown}"
    for types in bodies:
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        assert fits(schema_types(body), set(types)), shown
    for parameter, types in theirs["parameters"]:
        if parameter in schemas:
            assert fits(schema_types(schemas[parameter]), set(types)), f"{parameter} {shown}"
    in_path_or_query = [parameter for parameter, _ in theirs["parameters"] if parameter in schemas]
    ours = [parameter for parameter in schemas if parameter in in_path_or_query]
    assert (ours == in_path_or_query) == ((version, name) != OTHER_ORDER), shown
    ((_, content),) = operation["responses"]["200"]["content"].items()
    answer = schema_types(content["schema"])
    assert fits(answer, set(theirs["answer"])) or answer == {LARGER_ANSWERS[each] for each in theirs["answer"]}, shown


def python_name(parameter):
    """The name of a parameter in the Python client, where async is a keyword."""
    return "var_async" if parameter == "async" else parameter


def test_a_model_of_a_client_has_the_same_fields(clients):
    for version, client in clients.items():
        for name, theirs in client["models"].items():
            ours = SCHEMAS[name]
            for field, (types, required) in theirs.items():
                shown = f"{name}.{field} of {version}"
                expected = {"any"} if field in TEXT_OR_OBJECT.get(name, ()) else set(types)
                assert field in ours["properties"], shown
                assert fits(schema_types(ours["properties"][field]), expected), shown
                assert required == (field in ours.get("required", [])), shown


def test_an_enumeration_of_a_client_has_the_same_words(clients):
    for client in clients.values():
        for name, words in client["enums"].items():
            assert words == sorted(SCHEMAS[name]["enum"]), name


def test_an_operation_is_deprecated_where_the_newest_client_does_not_have_it(clients):
    deprecated = {name for name, operation in operations().items() if operation.get("deprecated")}
    assert deprecated == clients[OLD]["calls"].keys() - clients[NEW]["calls"].keys()


def test_what_the_document_adds_to_the_clients_is_listed_in_the_readme(clients):
    readme = (CHECKED_IN.parent / "README.md").read_text()
    calls = [client["calls"] for client in clients.values()]
    added = operations().keys() - calls[0].keys() - calls[1].keys()
    fields = {}
    for client in clients.values():
        for name, model in client["models"].items():
            fields.setdefault(name, set()).update(model)
    enums = {name for client in clients.values() for name in client["enums"]}
    added |= SCHEMAS.keys() - fields.keys() - enums
    for name in SCHEMAS.keys() & fields.keys():
        added |= {f"{name}.{key}" for key in SCHEMAS[name]["properties"].keys() - fields[name]}
    for name, operation in operations().items():
        theirs = {key for found in calls for key, _ in found.get(name, {"parameters": []})["parameters"]}
        ours = {parameter["name"] for parameter in operation["parameters"]}
        added |= {f"{name}({key})" for key in ours if name not in added and python_name(key) not in theirs}
    assert sorted(added) == sorted(re.findall(r"^- `([^`]+)`", readme, re.MULTILINE))
