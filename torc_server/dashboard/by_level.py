"""The graph of a workflow folded by level: jobs that depend on none are level 1, those that depend only on these level
2, and so on. For workflows whose names do not tell what belongs together.
"""

from collections import Counter, defaultdict

from torc_server.dashboard import layout
from torc_server.dashboard.frame import data
from torc_server.repository import sql

KINDS = {1: "jobs", 2: "files", 3: "data"}


def read(id, opened, most_nodes, most_jobs):
    """The graph as dashboard_graph() gives it. A level of at most `most_jobs` jobs that is opened is its jobs, a larger
    one a node for each status. Neighbouring levels are put together when there are more than `most_nodes`."""
    graph = fold(data(sql.dashboard.graph_lists, workflow_id=id), set(opened), most_nodes, most_jobs)
    alone = [node["id"] for node in graph["nodes"] if node["id"]]
    names = data(sql.dashboard.job_names, ids=alone) if alone else {}
    for node in graph["nodes"]:
        node["label"] = names.get(str(node["id"]), node["label"])
    return graph


def fold(lists, opened, most_nodes, most_jobs):
    """The graph of the lists of dashboard_graph_lists(), with keys as labels."""
    ids, statuses = lists["ids"], [lists["statuses"][number] for number in lists["status"] or ()]
    keys = _keys(lists, statuses, opened, most_nodes, most_jobs)
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    of_jobs = [places[key] for key in keys]
    return {
        "workflow": lists["workflow"], "version": lists["version"], "total": len(ids), "folded": True,
        "nodes": _nodes(places, of_jobs, ids, statuses, lists), "edges": _edges(of_jobs, lists),
    }  # fmt: skip


def _keys(lists, statuses, opened, most_nodes, most_jobs):
    """The key of the node of each job."""
    levels = layout.levels(len(statuses), zip(lists["source"], lists["target"], strict=True))
    depth = max((level for level in levels if level is not None), default=0) + 1
    per_node = -(-depth // most_nodes)
    names = [_name(level, per_node, depth) for level in range(depth)]
    keys = ["in circles" if level is None else names[level] for level in levels]
    sizes = Counter(keys)
    for place, key in enumerate(keys):
        if key in opened:
            keys[place] = f"job {lists['ids'][place]}" if sizes[key] <= most_jobs else f"{key} {statuses[place]}"
    return keys


def _name(level, per_node, depth):
    first = level // per_node * per_node + 1
    last = min(first + per_node - 1, depth)
    return f"level {first}" if first == last else f"levels {first} to {last}"


def _nodes(places, of_jobs, ids, statuses, lists):
    counts = [Counter() for _ in places]
    work_s, only = [0] * len(places), {}
    for job, place in enumerate(of_jobs):
        counts[place][statuses[job]] += 1
        work_s[place] = max(work_s[place], lists["work_s"][job])
        only[place] = ids[job]
    return [
        {
            "key": key, "label": key, "id": only[place] if counts[place].total() == 1 else None,
            "jobs": counts[place].total(), "counts": counts[place], "work_s": work_s[place],
            "is_measured": lists["is_measured"],
        }
        for key, place in places.items()
    ]  # fmt: skip


def _edges(of_jobs, lists):
    found = defaultdict(lambda: {"jobs": 0, "files": 0, "data": 0})
    between = zip(lists["source"], lists["target"], lists["kind"], strict=True)
    for (source, target, kind), number in Counter((of_jobs[s], of_jobs[t], kind) for s, t, kind in between).items():
        edge = found[source, target]
        edge["jobs"] += number
        if kind != 1:
            edge[KINDS[kind]] += number
    return [{"source": source, "target": target} | numbers for (source, target), numbers in sorted(found.items())]
