"""Which requests have their own threads: a call that walks a whole workflow must not keep the small ones waiting."""

from collections.abc import Callable, Iterable
from typing import Any

LANES = ("lists", "walks")  # reads of many rows; calls that walk or lock a whole workflow
DIRECT = "direct"  # small calls of the direct way, which are served in batches
ALONE = "alone"  # small calls that read more, the larger a workflow is: in a batch they would keep the others waiting
AT_ONCE = "at once"  # calls that wait for nothing: the thread that reads one serves it, however busy the others are


def lane(name: str) -> Callable[[Callable], Callable]:
    """Decorate a view: its requests are served by the threads of that lane, or in that way. Lists with pages need no
    decoration."""
    if name not in (*LANES, ALONE, AT_ONCE):
        raise ValueError(f"there is no lane {name}")

    def decorate(view):
        view.lane = name
        return view

    return decorate


class Lanes:
    """The lanes of an application's routes; made once, when all are registered."""

    def __init__(self, app: Any):
        self._lanes = {}
        for rule in app.url_map.iter_rules():
            name = _lane_of(app.view_functions[rule.endpoint])
            if name == AT_ONCE and app.extensions["accounts"] and not rule.endpoint.startswith("health."):
                name = None  # to verify a password may take the database
            for method in rule.methods if name else ():
                self._lanes[method, shape(rule.rule, "<")] = name

    def add_direct(self, keys: Iterable[tuple[str, str]]) -> None:
        """The requests of these keys (method, shape) are calls of the direct way; they are served in batches, unless
        their views say otherwise."""
        self._lanes = dict.fromkeys(keys, DIRECT) | self._lanes

    def lane_and_shape(self, method: str, path: str) -> tuple[str | None, str]:
        """The name of the lane of a request, None for a small one; without Flask's routing (2 µs). And the shape of its
        path, so that the direct way need not find it again."""
        found = shape(path)
        return self._lanes.get((method, found)), found


def _lane_of(view):
    schema = getattr(view, "query_schema", None)
    return getattr(view, "lane", "lists" if schema and "offset" in schema.fields else None)


def shape(path: str, parameter: str = "0123456789-") -> str:
    """A path whose parameters are left out: /workflows/7/jobs and /workflows/<id>/jobs are alike."""
    return "/".join(["" if part[:1] in parameter else part for part in path.split("/")])
