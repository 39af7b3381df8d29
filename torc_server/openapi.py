"""The HTTP contract as an OpenAPI 3.1 document, read off the live application: its routes, the docstrings of the views,
and the schemas that their decorators name (see requests.query, requests.body, requests.takes and answers.answers)."""

import inspect
import json
import re
import sys
from typing import Any

import yaml
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin, OpenAPIConverter
from marshmallow import Schema, missing

from torc_server.application import Application
from torc_server.bodies import BASE_PATH
from torc_server.dialect import API_VERSION
from torc_server.errors import KINDS
from torc_server.schemas.common import ErrorResponse, PathParameters, SortedPage
from torc_server.schemas.fields import INT64_MAX, INT64_MIN, JOB_STATUSES, JobStatus, Object
from torc_server.schemas.tasks import STATUSES
from torc_server.schemas.workflow_settings import (
    GRANULARITIES,
    MODES,
    STDIO_MODES,
    ExecutionConfig,
    ResourceMonitorConfig,
)

DESCRIPTION = (
    "Workflows of shell jobs: clients create jobs with their files, data and requirements; workers claim, start and "
    "complete them; the server releases what depended on them. Optional fields without a value are left out of "
    "answers; null in a request is the same as leaving the field out; unknown keys are ignored."
    "\n\n"
    "**First steps.** create_workflow answers an id; create_job with that workflow_id, once for each job, answers the "
    "ids of the jobs, which later jobs name in depends_on_job_ids. initialize_jobs makes jobs ready or blocked. A "
    "worker says what it is with create_compute_node, gets jobs from claim_next_jobs or claim_jobs_based_on_resources, "
    "tells start_job and, with the result, complete_job. GET /workflows/{id}/status says how far the workflow is. The "
    "run_id of a new workflow is 0."
    "\n\n"
    "**Examples.** The ids in them are made up: put in those that your own calls have answered. Fields that the server "
    "gives (id, timestamp and the like) are not among them."
    "\n\n"
    "**Versions.** This document describes the interface, whose version it bears. get_version tells that and the "
    "version of the server, which has its own number. Clients refuse another major version of the interface; "
    "clients of torc 0.22.2 are told 0.12.0, the one that they know."
)

# The order of the work; the other tags follow by name.
FIRST_TAGS = (
    "workflows", "jobs", "compute_nodes", "results", "resource_requirements", "files", "user_data", "events",
)  # fmt: skip
# The contract keeps these under another tag than the module that they live in.
TAGS = {"access_groups": "access_control", "admin": "access_control", "event_stream": "events"}
JSON = "application/json"
JOB_STATUS = (
    "Where a job is: uninitialized until initialize_jobs; blocked by dependencies; ready to be claimed; pending once "
    "claimed; running; then completed, failed, canceled or terminated, which count as complete. A disabled job never "
    "runs; pending_failed waits for somebody to say what becomes of the failure."
)
ENUMERATIONS = {
    "JobStatus": (JOB_STATUSES, JOB_STATUS),
    "TaskStatus": (STATUSES, "Where a task is."),
    "ExecutionMode": (MODES, "How workers start jobs: themselves, by srun, or whichever fits."),
    "MonitorGranularity": (GRANULARITIES, "Whether workers keep a summary of their samples, or all of them."),
    "StdioMode": (STDIO_MODES, "Which of a job's output streams are kept, and whether in one file."),
}
ERRORS = {
    400: "A parameter cannot be read, or the body is not JSON.",
    401: "The user name or the password is wrong or cannot be read, or this server wants them and got none.",
    403: "The caller may not do that, where access control is enforced; or a browser sent the request for a page of "
    "another origin, or under a host name, that this server does not allow.",
    404: "There is no such row.",
    409: "What is stored does not allow that now.",
    413: "The body is larger than this server takes: 200 MiB in bulk operations, else 16 MiB, unless set otherwise.",
    415: "The body has no JSON content type, or a content coding other than gzip.",
    422: "A value breaks a rule; the message names the field and the rule.",
    429: "Too many failed logins; try again after the seconds of the Retry-After header.",
    500: "The server failed; its log says why.",
    503: "The connection to the database is lost or overloaded; try again after the seconds of the Retry-After header.",
    507: "The server has no room for the temporary file that the request or its answer needs.",
}


class Converter(OpenAPIConverter):
    """apispec's conversion of schemas, for fields that describe themselves (schemas/fields.py)."""

    def field2property(self, field: Any) -> dict:
        schema = self._type(field)
        for bound, none in (("minimum", INT64_MIN), ("maximum", INT64_MAX)):
            if getattr(field, bound, none) != none:
                schema[bound] = getattr(field, bound)
        return schema | annotations(field)

    def schema2jsonschema(self, schema: Any) -> dict:
        found = super().schema2jsonschema(schema)
        # By name, as in torc 0.22.2: Rust and Julia constructors take them by position.
        properties = dict(sorted(found.pop("properties").items()))
        found.pop("additionalProperties", None)  # clients that are generated from it add a field of that name
        return {"description": description(type(schema))} | found | {"properties": properties}

    def _type(self, field):
        schema = dict(field.openapi)
        if isinstance(field, Object):
            schema = self.resolve_nested_schema(field.schema)
        if not (field.allow_none and schema):
            return schema
        if "$ref" in schema:
            return {"anyOf": [schema, {"type": "null"}]}
        return schema | {"type": [schema["type"], "null"]}


class Plugin(MarshmallowPlugin):
    """apispec's plugin with our Converter."""

    Converter = Converter


def annotations(field: Any) -> dict:
    """What people read of a field. A default that only a create gives is told in words: clients that are generated
    from `default` would send it with every update too."""
    said = field.metadata
    words = [said["description"] or ""]
    if said["unit"]:
        words.append(f"Unit: {said['unit']}.")
    if field.default is not None and field.load_default is missing:
        words.append(f"Default: {json.dumps(field.default)}.")
    notes = {"description": " ".join(words)}
    if said["example"] is not None:
        notes["examples"] = [said["example"]]
    if field.load_default is not missing and field.load_default is not None and not callable(field.load_default):
        notes["default"] = field.load_default
    return notes


def description(documented: Any) -> str:
    """The text of a docstring, each paragraph in one line."""
    paragraphs = (inspect.getdoc(documented) or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


def document(app: Application) -> dict:
    """Return the OpenAPI document of an application as a dict; the same code gives the same document."""
    plugin = Plugin(schema_name_resolver=lambda schema: (schema if isinstance(schema, type) else type(schema)).__name__)
    spec = APISpec("torc", API_VERSION, "3.1.0", plugins=[plugin], info={"description": DESCRIPTION})
    add_components(spec, plugin.converter)
    routes = [
        (rule, app.blueprints[rule.endpoint.split(".")[0]])
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(BASE_PATH)
    ]
    names = {tag(blueprint) for _, blueprint in routes}
    for name in (*FIRST_TAGS, *sorted(names - {*FIRST_TAGS})):
        spec.tag({"name": name, "description": tag_description(name, app)})
    for rule, blueprint in routes:
        view = app.view_functions[rule.endpoint]
        (method,) = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule).removeprefix(BASE_PATH)
        operation = Operation(plugin.converter, path, view)
        spec.path(path, operations={method.lower(): {"tags": [tag(blueprint)]} | operation.as_dict()})
    return in_order(spec.to_dict())


def as_yaml(app: Application) -> str:
    """Return the document as YAML text."""
    return yaml.dump(document(app), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # the one in C writes the same in a fifth of the time
    def ignore_aliases(self, data: Any) -> bool:
        return True  # the same text twice rather than a reference that only YAML has


def add_components(spec: APISpec, converter: Any) -> None:
    """Add what operations refer to: the login, enumerations, models within free JSON, errors."""
    spec.components.security_scheme(
        "basicAuth", {"type": "http", "scheme": "basic", "description": "A user of the server's password file."}
    )
    for name, (words, text) in ENUMERATIONS.items():
        spec.components.schema(name, {"type": "string", "enum": list(words), "description": text})
    for model in (ExecutionConfig, ResourceMonitorConfig):  # of fields that may hold text instead
        converter.resolve_nested_schema(model)
    for status, text in ERRORS.items():
        spec.components.response(KINDS[status], error_answer(converter, status, text))


def error_answer(converter: Any, status: int, text: str) -> dict:
    """The OpenAPI response of an error."""
    example = {"error": {"error": KINDS[status], "message": text}}
    schema = converter.resolve_nested_schema(ErrorResponse)
    return {"description": text, "content": {JSON: {"schema": schema, "example": example}}}


def example_of(schema: Any) -> dict:
    """A body that can be sent: what is required, and what has a default; without what the server gives."""
    example = {}
    for name, field in schema.fields.items():
        if field.dump_only or not (field.required or field.load_default is not missing):
            continue
        if isinstance(field, Object):
            inner = example_of(field.schema)
            example[name] = [inner] if field.many else inner
        elif field.metadata["example"] is not None:
            example[name] = field.metadata["example"]
        elif isinstance(field, JobStatus):
            example[name] = "completed"
    return example


def tag(blueprint: Any) -> str:
    """The tag of a blueprint's operations."""
    return TAGS.get(blueprint.name, blueprint.name)


def tag_description(name: str, app: Application) -> str:
    """The texts of the modules whose operations have the tag."""
    modules = [blueprint.import_name for blueprint in app.blueprints.values() if tag(blueprint) == name]
    return " ".join(description(sys.modules[module]) for module in modules)


def in_order(document: dict) -> dict:
    """The document in the order in which people look things up: paths and models by name."""
    components = {kind: dict(sorted(parts.items())) for kind, parts in document["components"].items()}
    head = {key: document[key] for key in ("openapi", "info")}
    return head | {
        "servers": [{"url": BASE_PATH, "description": "The server that this document comes from."}],
        "security": [{}, {"basicAuth": []}],
        "tags": document["tags"],
        "paths": dict(sorted(document["paths"].items())),
        "components": components,
    }


class Operation:
    """One route as an OpenAPI operation."""

    def __init__(self, converter: Any, path: str, view: Any):
        self.converter = converter
        self.path = path
        self.view = view
        self.body = getattr(view, "body_model", None)
        self.in_path = self.path_parameters()
        self.in_query = self.query_parameters(getattr(view, "query_schema", None))

    def as_dict(self) -> dict:
        summary, _, rest = description(self.view).partition("\n\n")
        operation = {
            "operationId": self.view.__name__,
            "summary": summary.removesuffix("."),
            "description": rest or summary,
            "parameters": self.in_path + self.in_query,
        }
        if self.body is not None:
            operation["requestBody"] = {"required": True, "content": {JSON: self.request()}}
        if getattr(self.view, "is_deprecated", False):
            operation["deprecated"] = True
        return operation | {"responses": self.responses()}

    def request(self) -> dict:
        """The schema of the body, with an example if it is an object with required fields."""
        example = example_of(self.body) if isinstance(self.body, Schema) else None
        return {"schema": self.schema(self.body)} | ({"example": example} if example else {})

    def schema(self, model: Any) -> dict:
        """The schema of a model, or of a bare field."""
        if isinstance(model, Schema):
            return self.converter.resolve_nested_schema(model)
        return self.converter.field2property(model)

    def path_parameters(self) -> list[dict]:
        names = re.findall(r"\{(\w+)\}", self.path)
        found = self.converter.schema2parameters(PathParameters(only=names), location="path")
        resource = singular(self.path.split("/")[1])
        for parameter in found:
            parameter["description"] = parameter["description"].format(resource=resource)
        return sorted(found, key=lambda parameter: names.index(parameter["name"]))

    def query_parameters(self, query: Any) -> list[dict]:
        """The parameters of the query string in the contract's order: generated clients take them by position."""
        if query is None:
            return []
        found = {p["name"]: p for p in self.converter.schema2parameters(query, location="query")}
        page = [name for name in SortedPage._declared_fields if name in found]
        names = [name for name in found if name not in page]
        after = getattr(query, "page_after", None)
        place = names.index(after) + 1 if after in names else 0
        names[place:place] = page
        if "sort_by" in found:
            found["sort_by"]["description"] += f" Fields: {', '.join(query.columns)}."
        return [found[name] for name in names]

    def responses(self) -> dict[str, dict]:
        good = {"200": self.success(self.view.answer)}
        if self.view.accepted:
            good["202"] = self.success(self.view.accepted)
        return good | {str(status): self.error(status) for status in self.errors()}

    def success(self, answer: Any) -> dict:
        text = description(type(answer)) if isinstance(answer, Schema) else answer.metadata["description"]
        content = {self.view.answer_type: {"schema": self.schema(answer)}}
        return {"description": text.split("\n\n")[0], "content": content}

    def error(self, status: int) -> dict:
        if text := self.view.errors.get(status):
            return error_answer(self.converter, status, text)
        return {"$ref": f"#/components/responses/{KINDS[status]}"}

    def errors(self) -> list[int]:
        """Every status that the operation may answer other than 200."""
        statuses = {401, 403, 429, 500, 503, 507} | self.view.errors.keys()
        query = {parameter["name"] for parameter in self.in_query}
        body = getattr(self.body, "fields", {})
        if self.in_path or query or self.body is not None:
            statuses |= {400}
        if self.in_path or "workflow_id" in query or {"workflow_id", "jobs", "files", "user_data"} & body.keys():
            statuses |= {404}
        if self.body is not None:
            statuses |= {413, 415, 422}
        if any({"minimum", "maximum"} & parameter["schema"].keys() for parameter in self.in_query):
            statuses |= {422}
        return sorted(statuses)


def singular(segment: str) -> str:
    """What one row of a collection is called: job, ro crate entity."""
    return re.sub(r"ies$", "y", segment).removesuffix("s").replace("_", " ")
