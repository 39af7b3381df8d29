"""Where the nodes of a graph are in its picture, and where its edges run. Layers go from left to right.

igraph's layered layout is C: 4,000 nodes and 11,700 edges take 10 ms. It is imported when the first graph is shown,
since a process takes 14 MB for it.
"""

import math
from typing import NamedTuple

WIDE = (160, 46)  # width and height of a node with a bar
GAPS = (70, 14)  # between layers, between the nodes of a layer
TALLEST = 14  # nodes of a column, in a small graph
COLUMNS = 6  # of the nodes without edges, below the others


class Picture(NamedTuple):
    """Size of the picture, (x, y) of each node, the path of each edge; the node's size."""

    width: float
    height: float
    places: list
    paths: list
    node: tuple


def arrange(count, edges):
    """Lay out a graph of so many nodes; edges are (source, target), those from a node to itself are loops."""
    linked = sorted({end for source, target in edges for end in (source, target) if source != target})
    places, bottom = _layers(count, edges, linked)
    loose = sorted(set(range(count)) - set(linked))
    columns = max(1, min(COLUMNS, len(loose), math.isqrt(2 * len(loose))))
    width, height = WIDE
    for i, node in enumerate(loose):
        row, column = divmod(i, columns)
        places[node] = (column * (width + GAPS[1]), bottom + row * (height + GAPS[1]))
    right = max((x for x, _ in places), default=0) + width
    lowest = max((y for _, y in places), default=0) + height
    paths = [_path(places[source], places[target]) for source, target in edges]
    return Picture(right + 20, lowest + 20, places, paths, WIDE)


def _layers(count, edges, linked):
    """Places of the linked nodes, and the y below them."""
    places = [(0.0, 0.0)] * count
    if not linked:
        return places, 0.0
    import igraph

    number = {node: i for i, node in enumerate(linked)}
    pairs = {(number[source], number[target]) for source, target in edges if source != target}
    graph = igraph.Graph(len(linked), sorted(pairs), directed=True)
    coordinates = graph.layout_sugiyama(hgap=1, vgap=1, maxiter=200).coords[: len(linked)]
    layers = {}
    for node, (row, layer) in zip(linked, coordinates, strict=True):
        layers.setdefault(layer, []).append((row, node))
    width, height = WIDE
    if max(map(len, layers.values())) > TALLEST:
        return _wrapped(places, [[node for _, node in sorted(layers[layer])] for layer in sorted(layers)])
    least = min(row for row, _ in coordinates)
    for node, (row, layer) in zip(linked, coordinates, strict=True):
        places[node] = (layer * (width + GAPS[0]), round((row - least) * (height + GAPS[1]), 1))
    return places, max(places[node][1] for node in linked) + height + 2 * GAPS[1]


def _wrapped(places, layers):
    """Layers with many nodes take several columns, so that the picture is about as wide as a page."""
    width, height = WIDE
    rows = max(TALLEST, math.isqrt(2 * sum(map(len, layers))))
    middle = rows * (height + GAPS[1]) / 2
    x = 0.0
    for nodes in layers:
        layer = sorted(nodes) if len(nodes) > rows else nodes  # as the jobs were created, or with few crossings
        columns = math.ceil(len(layer) / rows)
        in_column = math.ceil(len(layer) / columns)
        for i, node in enumerate(layer):
            column, row = divmod(i, in_column)
            tall = min(in_column, len(layer) - column * in_column) if columns == 1 else in_column
            y = middle + (row - tall / 2) * (height + GAPS[1])
            places[node] = (x + column * (width + GAPS[1]), round(y, 1))
        x += columns * (width + GAPS[1]) - GAPS[1] + GAPS[0]
    return places, rows * (height + GAPS[1]) + GAPS[1]


def _path(source, target):
    """A curve from the right side of one node to the left side of another; back over the top if that is behind."""
    width, height = WIDE
    x1, y1 = source[0] + width, source[1] + height / 2
    x2, y2 = target[0], target[1] + height / 2
    if source == target:
        return f"M{x1 - 20:g},{source[1]:g} c0,-16 24,-16 20,{height / 2:g}"
    bend = max(abs(x2 - x1) / 2, 24)
    return f"M{x1:g},{y1:g} C{x1 + bend:g},{y1:g} {x2 - bend:g},{y2:g} {x2:g},{y2:g}"


def levels(count, edges):
    """The level of each of so many nodes: 0 depends on none, 1 only on those, and so on; None for those in circles and
    what depends on them. edges: (node, a dependent)."""
    dependents = [[] for _ in range(count)]
    waits = [0] * count
    for node, dependent in edges:
        dependents[node].append(dependent)
        waits[dependent] += 1
    found = [None] * count
    level, now = 0, [node for node, number in enumerate(waits) if not number]
    while now:
        following = []
        for node in now:
            found[node] = level
            for dependent in dependents[node]:
                waits[dependent] -= 1
                if not waits[dependent]:
                    following.append(dependent)
        level, now = level + 1, following
    return found


def longest_chain(work, edges):
    """The chain of nodes whose seconds of work add up to most: (seconds, nodes). Edges that close a circle are left
    out. work: seconds of each node, 0 or None for what is done."""
    import igraph

    graph = igraph.Graph(len(work), [edge for edge in edges if edge[0] != edge[1]], directed=True)
    graph.delete_edges(graph.feedback_arc_set(None, "eades"))
    total: list[float] = [0.0] * len(work)
    before: list[int | None] = [None] * len(work)
    for node in graph.topological_sorting():
        best = max(graph.predecessors(node), key=lambda each: total[each], default=None)
        if best is not None and total[best] > 0:
            total[node], before[node] = total[best], best
        total[node] += work[node] or 0
    end = max(range(len(work)), key=lambda each: total[each], default=None)
    seconds, chain = (total[end], []) if end is not None else (0, [])
    while end is not None:
        if work[end]:
            chain.append(end)
        end = before[end]
    return seconds, chain[::-1]
