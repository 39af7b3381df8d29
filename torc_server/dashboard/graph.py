"""The graph of a workflow: a page with its picture, the picture alone, and the graph in the language of Graphviz."""

from urllib.parse import urlencode

from flask import Response, render_template, request

from torc_server.dashboard import layout, words
from torc_server.dashboard.frame import blueprint, data, page
from torc_server.lanes import lane
from torc_server.repository import sql
from torc_server.schemas.fields import JOB_STATUSES

FOLD_ABOVE = 60  # jobs
MOST_NODES = 300  # of a picture, before anything is unfolded; workflows of more jobs are always folded
MOST_JOBS = 200  # that one node unfolds into, as in dashboard_graph()
MOST_OPEN = 50  # nodes that an address may unfold


@blueprint.get("/ui/workflows/<int64:id>/graph")
@lane("lists")
def get_graph(id):
    """The page of the graph."""
    return page("graph", **_graph(id))


@blueprint.get("/ui/workflows/<int64:id>/graph.svg")
@lane("lists")
def download_svg(id):
    """The picture as a file."""
    response = Response(render_template("graph.svg", **_graph(id), alone=True), mimetype="image/svg+xml")
    response.headers["Content-Disposition"] = f'attachment; filename="workflow-{id}.svg"'
    return response


@blueprint.get("/ui/workflows/<int64:id>/graph.dot")
@lane("lists")
def download_dot(id):
    """The graph as a file for Graphviz."""
    graph = _read(id)
    lines = ["digraph workflow {", "  rankdir=LR; node [shape=box];"]
    for place, node in enumerate(graph["nodes"]):
        many = f" ({node['jobs']} jobs)" if node["jobs"] > 1 else ""
        lines.append(f"  n{place} [label={_quoted(node['label'] + many)}];")
    styles = {"explicit": "", "file": " [style=dashed]", "data": " [style=dotted]"}
    lines += [f"  n{edge['source']} -> n{edge['target']}{styles[words.kind(edge)]};" for edge in graph["edges"]]
    response = Response("\n".join([*lines, "}", ""]), mimetype="text/vnd.graphviz")
    response.headers["Content-Disposition"] = f'attachment; filename="workflow-{id}.dot"'
    return response


def _read(id):
    fold = request.args.get("fold")
    fold_above = MOST_NODES if fold == "no" else FOLD_ABOVE
    return data(
        sql.dashboard.graph, workflow_id=id, open=_opened(), fold_above=fold_above, by_level=fold == "level",
        most=MOST_NODES,
    )  # fmt: skip


def _opened():
    return [key for key in request.args.getlist("open") if "\0" not in key][:MOST_OPEN]


def _graph(id):
    graph = _read(id)
    edges = [(edge["source"], edge["target"]) for edge in graph["edges"]]
    nodes = graph["nodes"]
    for node in nodes:
        node["path"] = _path_of(id, node)
    return {
        "graph": graph,
        "picture": layout.arrange(len(nodes), edges),
        "opened": _opened(),
        "fold": request.args.get("fold"),
        "fold_above": FOLD_ABOVE,
        "may_show_all": FOLD_ABOVE < graph["total"] <= MOST_NODES,
    }


def _path_of(id, node):
    """The page that a node leads to: that of its job, or the table of jobs, if it is one status of a name or a level
    that has too many jobs to be unfolded. None: choosing it unfolds it."""
    if node["id"]:
        return f"ui/jobs/{node['id']}"
    name, _, status = node["key"].rpartition(" ")
    if node["jobs"] <= MOST_JOBS or status not in JOB_STATUSES:
        return f"ui/workflows/{id}/jobs" if node["key"] == "…" else None
    part = "" if request.args.get("fold") == "level" else max(name.split("*"), key=len)
    return f"ui/workflows/{id}/jobs?" + urlencode(({"name": part} if part else {}) | {"status": status})


def _quoted(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
