"""The page on which people make a workflow: from a JSON file, or from a form, with a preview of its graph."""

import json
import re
from collections import Counter
from typing import Any

from flask import redirect, request

from torc_server import current
from torc_server.auth import caller
from torc_server.bodies import MIB, parse_json
from torc_server.dashboard import layout
from torc_server.dashboard.frame import blueprint, page, to
from torc_server.dashboard.graph import FOLD_ABOVE, MOST_NODES
from torc_server.dashboard.spec import plan
from torc_server.errors import ApiError
from torc_server.lanes import lane
from torc_server.repository import long_value, sql

STEPS = 3  # of an empty form
STEP_FIELDS = ("name", "command", "parameters", "after", "cpus", "memory", "runtime")
_PARAMETER = re.compile(r"\s*(\w+)\s*=\s*([^;\n]+)\s*(?:;|\n|$)")


@blueprint.get("/ui/new")
def get_new():
    """The empty form."""
    return page("new", form={}, steps=[{}] * STEPS)


@blueprint.post("/ui/new")
@lane("walks")
def create():
    """Show what would be made of the form, with what is wrong; or make it, and lead to the workflow."""
    request.max_form_memory_size = current.app().settings.max_small_body_mb * MIB
    steps = [
        dict(zip(STEP_FIELDS, step, strict=True))
        for step in zip(*(request.form.getlist(f"step_{name}") for name in STEP_FIELDS), strict=False)
    ]
    answer = {"form": request.form, "steps": [*steps, {}], "text": request.form.get("spec", "")}
    try:
        spec = _spec(steps)
        answer["text"] = json.dumps(spec, indent=1, ensure_ascii=False)
        made = plan(spec, caller().name)
        if request.form.get("do") != "create":
            return page("new", **answer, made=made, **_picture(made["jobs"]))
        initialize = "initialize" in request.form
        id = long_value(sql.dashboard.create_workflow, plan=json.dumps(made), initialize=initialize)
    except ApiError as error:
        if error.status >= 500:
            raise
        return page("new", error.status, **answer, wrong=error.message)
    return redirect(to(f"ui/workflows/{id}"), 303)


def _spec(steps):
    """The specification of a file, or else of the text field, or else of the form. Raises ApiError 400, 422."""
    file = request.files.get("file")
    text = file.read() if file and file.filename else request.form.get("spec", "").encode()
    if text.strip():
        return parse_json(text)
    steps = [step for step in steps if step["name"].strip()]
    if not steps:
        raise ApiError(422, "jobs: describe at least one, or give a specification", field="jobs")
    spec = {name: request.form[name] for name in ("name", "description", "project") if request.form.get(name)}
    needs = {}
    jobs = []
    for step in steps:
        job = {"name": step["name"].strip(), "command": step["command"]}
        if step["parameters"].strip():
            job["parameters"] = _parameters(step["parameters"])
        if after := [name.strip() for name in step["after"].split(",") if name.strip()]:
            job["depends_on"] = after
        asked = _requirements(step)
        if asked:
            job["resource_requirements"] = needs.setdefault(json.dumps(asked), f"needs {len(needs) + 1}")
        jobs.append(job)
    requirements = [{"name": name} | json.loads(asked) for asked, name in needs.items()]
    return spec | {"resource_requirements": requirements, "jobs": jobs}


def _parameters(text):
    found = _PARAMETER.findall(text)
    if not found:
        raise ApiError(422, f"parameters: write them as i = 1:100; x = a, b; got {text[:60]!r}", field="parameters")
    return {name: values.strip() for name, values in found}


def _requirements(step):
    asked = {}
    if cpus := step["cpus"].strip():
        if not cpus.isdecimal():
            raise ApiError(422, f"CPUs: must be a number, got {cpus[:40]!r}", field="num_cpus")
        asked["num_cpus"] = int(cpus)
    for field in ("memory", "runtime"):
        if step[field].strip():
            asked[field] = step[field].strip()
    return asked


def _picture(jobs):
    """The graph of jobs that are not stored yet, folded as that of a workflow."""
    folded = len(jobs) > FOLD_ABOVE
    keys = [re.sub("[0-9]+", "*", job["name"]) if folded else place for place, job in enumerate(jobs)]
    sizes = Counter(keys)
    most = {key: place for place, (key, _) in enumerate(sizes.most_common(MOST_NODES))}
    places = [most.get(key, len(most)) for key in keys]
    nodes: list[dict[str, Any]] = [{"label": "…", "jobs": 0} for _ in range(max(places, default=-1) + 1)]
    for job, key, place in zip(jobs, keys, places, strict=True):
        nodes[place]["jobs"] += 1
        if place < len(most):
            nodes[place]["label"] = key if folded and sizes[key] > 1 else job["name"]
    edges = Counter((places[other], place) for job, place in zip(jobs, places, strict=True) for other in job["after"])
    for node in nodes:
        node["counts"] = {"uninitialized": node["jobs"]}
    graph = {
        "nodes": nodes, "total": len(jobs), "folded": folded,
        "edges": [{"source": source, "target": target, "jobs": count} for (source, target), count in edges.items()],
    }  # fmt: skip
    return {"graph": graph, "picture": layout.arrange(len(nodes), list(edges)), "edges": sum(edges.values())}
