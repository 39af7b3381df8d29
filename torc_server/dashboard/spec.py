"""A workflow as people write it: jobs that name each other, and parameters that make many of one.

A specification is a JSON object with name, description, project, resource_requirements, files and jobs. A job names its
requirements, the files that it reads and writes, and the jobs that it depends on. Its parameters, such as
{"i": "1:100"}, make one job for each combination of values; {i} and {i:03d} in its texts are replaced. The name of a
dependency may hold parameters too: those that both jobs have must be equal, and of the others every value is meant.
"""

import itertools
import re

from torc_server import wire
from torc_server.dashboard import layout
from torc_server.errors import ApiError
from torc_server.schemas.common import MAX_LIMIT
from torc_server.schemas.exact import ExactTypes
from torc_server.schemas.files import FileModel
from torc_server.schemas.jobs import JobModel
from torc_server.schemas.resource_requirements import ResourceRequirementsModel
from torc_server.schemas.workflows import WorkflowModel

MOST_EDGES = 2_000_000

_MODELS = {
    "workflow": ExactTypes(WorkflowModel()), "resource_requirements": ExactTypes(ResourceRequirementsModel()),
    "files": ExactTypes(FileModel()), "jobs": ExactTypes(JobModel()),
}  # fmt: skip
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?):(-?\d+(?:\.\d+)?)(?::(\d+(?:\.\d+)?))?")
_PLACE = re.compile(r"\{(\w+)(?::([0-9]*\.?[0-9]*[dfs]?))?\}")
_OF_A_SPECIFICATION = ("depends_on", "resource_requirements", "input_files", "output_files", "parameters")


def plan(spec, user):
    """What is to be made of a specification: {"workflow", "resource_requirements", "files", "jobs"}; a job has the
    places of what it names in "after", "requirement", "reads" and "writes", and its depth in the graph in "level".

    Raises ApiError 422, naming what is wrong: a value, a name that is not there, jobs that wait for each other.
    """
    _expect(type(spec) is dict, "", "The specification must be a JSON object")
    lists = {key: _list(spec, key) for key in ("resource_requirements", "files", "jobs")}
    workflow = {k: v for k, v in spec.items() if k not in lists}
    made = {"workflow": _model("workflow", workflow | {"user": user}, "")}
    for key in ("resource_requirements", "files"):
        made[key] = [
            _model(key, row, f"{key}[{place}]")
            for place, given in enumerate(lists[key])
            for row, _ in _instances(given, f"{key}[{place}]")
        ]
    made["jobs"] = _Jobs(lists["jobs"], made).jobs
    return made


class _Jobs:
    """The jobs of a specification, one for each combination of parameters."""

    def __init__(self, given: list, made: dict):
        self.jobs = []
        self._by_name = {}
        self._by_template = {}  # name as written: [(place, parameters)]
        self._indexes = {}
        places = {key: _places(made[key]) for key in ("resource_requirements", "files")}
        instances = []
        for number, template in enumerate(given):
            where = f"jobs[{number}]"
            for row, values in _instances(template, where):
                place = len(self.jobs)
                _expect(place < MAX_LIMIT, "jobs", f"jobs: must not be more than {MAX_LIMIT}")
                job = {k: v for k, v in row.items() if k not in _OF_A_SPECIFICATION}
                self.jobs.append(_model("jobs", job, where))
                self._by_name[row["name"]] = place
                self._by_template.setdefault(template["name"], []).append((place, values))
                instances.append((where, template, row, values))
        edges = 0
        for job, (where, template, row, values) in zip(self.jobs, instances, strict=True):
            job["after"] = self._after(where, template, values)
            edges += len(job["after"])
            _expect(edges <= MOST_EDGES, "depends_on", f"depends_on: more than {MOST_EDGES} dependencies")
            if (name := row.get("resource_requirements")) is not None:
                job["requirement"] = _find(places["resource_requirements"], name, f"{where}.resource_requirements")
            for key, link in (("input_files", "reads"), ("output_files", "writes")):
                job[link] = [_find(places["files"], name, f"{where}.{key}") for name in _list(row, key)]
        self._set_levels()

    def _after(self, where, template, values):
        found = set()
        for name in _list(template, "depends_on"):
            _expect(type(name) is str, where, f"{where}.depends_on: must hold names")
            if name in self._by_template:
                found.update(self._matching(name, values))
            else:
                found.add(_find(self._by_name, _filled(name, values), f"{where}.depends_on"))
        return sorted(found)

    def _matching(self, name, values):
        """The jobs made of a template whose parameters are equal where both have one."""
        instances = self._by_template[name]
        shared = tuple(sorted(values.keys() & instances[0][1].keys()))
        index = self._indexes.get((name, shared))
        if index is None:
            index = self._indexes[name, shared] = {}
            for place, theirs in instances:
                index.setdefault(tuple(theirs[key] for key in shared), []).append(place)
        return index.get(tuple(values[key] for key in shared), ())

    def _set_levels(self):
        """Jobs of level 0 depend on none, those of level 1 only on these, and so on. Raises ApiError 422."""
        edges = [(other, place) for place, job in enumerate(self.jobs) for other in job["after"]]
        found = layout.levels(len(self.jobs), edges)
        for job, level in zip(self.jobs, found, strict=True):
            job["level"] = level
        stuck = [job["name"] for job in self.jobs if job["level"] is None]
        _expect(not stuck, "depends_on", f"jobs wait for each other in a circle: {', '.join(stuck[:5])}")


# Parameters


def _instances(row, where):
    """(the row with its texts filled in, {parameter: value}) for each combination of its parameters."""
    _expect(type(row) is dict, where, f"{where}: must be a JSON object")
    _expect(type(row.get("name")) is str, where, f"{where}: must have a name")
    parameters = row.get("parameters", {})
    _expect(type(parameters) is dict, where, f"{where}.parameters: must be a JSON object")
    ranges = [_values(text, f"{where}.parameters.{name}") for name, text in parameters.items()]
    count = 1
    for values in ranges:
        count *= len(values)
    _expect(count <= MAX_LIMIT, where, f"{where}: its parameters make {count} rows; no more than {MAX_LIMIT} may be")
    for combination in itertools.product(*ranges):
        values = dict(zip(parameters, combination, strict=True))
        yield (_filled(row, values) if values else row), values


def _values(text, where):
    """The values of a parameter: a list, "1:100", "0:1:0.25" (both ends belong to it), "a, b, c" or "[a, b, c]"."""
    if type(text) is list:
        return text
    _expect(
        type(text) is str and text.strip(), where, f"{where}: must be a range such as 1:100, or values such as a, b"
    )
    if match := _RANGE.fullmatch(text.strip()):
        first, last, step = (float(part) if part and "." in part else int(part or 1) for part in match.groups())
        _expect(step > 0, where, f"{where}: the step must be above 0")
        count = int((last - first) / step + 1e-9) + 1
        _expect(0 < count <= MAX_LIMIT, where, f"{where}: the range must have from 1 to {MAX_LIMIT} values")
        return [round(first + i * step, 10) for i in range(count)]
    return [part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",")]


def _filled(value, values):
    """A text, or all texts in lists and objects, with the parameters filled in. Other braces stay as they are."""
    if type(value) is str:
        return _PLACE.sub(lambda match: _one(match, values), value)
    if type(value) is list:
        return [_filled(each, values) for each in value]
    if type(value) is dict:
        return {key: each if key == "parameters" else _filled(each, values) for key, each in value.items()}
    return value


def _one(match, values):
    name, how = match.groups()
    if name not in values:
        return match[0]
    value = values[name]
    if not how:
        return str(value)
    try:
        return format(value if type(value) in (int, float) else str(value), how)
    except ValueError as error:
        raise ApiError(422, f"{match[0]}: does not fit the value {str(value)[:40]}", field=name) from error


# Checks


def _model(key, row, where):
    """The row as its model loads it; rows of a workflow get its id later. Raises ApiError 422."""
    try:
        found = wire.load_body(_MODELS[key], row if key == "workflow" else row | {"workflow_id": 1})
    except ApiError as error:
        raise ApiError(error.status, f"{where}.{error.message}".removeprefix("."), **error.extra) from error
    found.pop("workflow_id", None)
    return found


def _list(row, key):
    found = row.get(key) or []
    _expect(type(found) is list, key, f"{key}: must be a list")
    return found


def _places(rows):
    return {row["name"]: place for place, row in enumerate(rows)}


def _find(places, name, where):
    _expect(type(name) is str and name in places, where, f"{where}: there is none of the name {str(name)[:80]!r}")
    return places[name]


def _expect(condition, field, message):
    if not condition:
        raise ApiError(422, message, field=field)
