"""The pages of compute nodes and of the server itself."""

import math
import os
from collections import Counter, defaultdict
from typing import Any

from torc_server import __version__, current, doctor, wire
from torc_server.dashboard import charts
from torc_server.dashboard.filters import PAGE_SIZE, DoctorFilter, NodeFilter
from torc_server.dashboard.frame import blueprint, data, page
from torc_server.dialect import API_VERSION
from torc_server.lanes import lane
from torc_server.repository import sql, value

ROUTES_SHOWN = 15
LONG_CHECKS = {"graph"}  # of the doctor: half a minute per million jobs


@blueprint.get("/ui/nodes")
@wire.query(NodeFilter)
@lane("lists")
def list_nodes(query):
    """Compute nodes and what they run."""
    found = data(
        sql.dashboard.nodes, active=query["show"] == "active", offset=query["offset"], limit=PAGE_SIZE,
        silent_s=current.app().settings.node_timeout or doctor.SILENT_SECONDS,
    )  # fmt: skip
    return page("nodes", found=found, filter=query, page_size=PAGE_SIZE)


@blueprint.get("/ui/server")
@lane("lists")
def get_server():
    """The server: versions, database, requests; for administrators users, groups and the audit log."""
    found = data(sql.dashboard.server)
    numbers, routes = _numbers() if found["is_admin"] else ({}, [])
    accounts = current.extension("accounts")
    users = sorted(accounts.table().users) if accounts and found["is_admin"] else []
    return page(
        "server", found=found, numbers=numbers, routes=routes, users=users, api_version=API_VERSION,
        server_version=__version__, load=os.getloadavg(), settings=current.app().settings,
        traffic=_traffic(found["traffic"]) if found["is_admin"] else None, size=charts.AREA, steps=charts.steps,
    )  # fmt: skip


@blueprint.get("/ui/server/doctor")
@wire.query(DoctorFilter)
@lane("walks")
def get_doctor(query):
    """What `torc-server doctor` finds; graph: with the check of all graphs, which may take minutes. For
    administrators."""
    value(sql.authentication.authorize_admin)
    only = [name for name in doctor.NAMES if query["graph"] or name not in LONG_CHECKS]
    conninfo = current.extension("database").conninfo
    checks = list(doctor.examine(current.app().settings, conninfo, only=only))
    return page("doctor", checks=checks, with_graph=query["graph"])


def _traffic(minutes):
    """The requests of the last hour: {"minutes": numbers, the oldest first, "errors": of the server, "per_minute":
    the mean of the last whole minute, of the last ten, of the hour}."""
    numbers = [minute["request_count"] for minute in reversed(minutes)]
    whole = numbers[:-1]
    return {
        "minutes": numbers,
        "errors": sum(minute["status_5xx"] for minute in minutes),
        "per_minute": [sum(whole[-span:]) / span for span in (1, 10, len(whole))],
    }


def _numbers():
    """What all processes of the server have counted: {gauge: value}, and the busiest routes, each with its number of
    answers, of those with an error of the server, and the seconds that half of them and 99 % took at most."""
    gauges = {}
    routes: dict[tuple, dict[str, Any]] = defaultdict(lambda: {"count": 0, "errors": 0, "buckets": Counter()})
    for metric in current.extension("metrics").registry().collect():
        for sample in metric.samples:
            route = sample.labels.get("method", ""), sample.labels.get("route", "")
            if metric.type == "gauge":
                gauges[sample.name.removeprefix("torc_")] = sample.value
            elif sample.name.endswith("_seconds_count") and route[1]:
                routes[route]["count"] += sample.value
                routes[route]["errors"] += sample.value if sample.labels["status"].startswith("5") else 0
            elif sample.name.endswith("_seconds_bucket") and route[1]:
                routes[route]["buckets"][float(sample.labels["le"])] += sample.value
    busiest = sorted(routes.items(), key=lambda item: -item[1]["count"])[:ROUTES_SHOWN]
    return gauges, [
        {
            "method": method, "route": route, "count": numbers["count"], "errors": numbers["errors"],
            "p50": quantile(numbers["buckets"], 0.5), "p99": quantile(numbers["buckets"], 0.99),
        }
        for (method, route), numbers in busiest
    ]  # fmt: skip


def quantile(buckets, part):
    """The seconds within which that part of the answers came, as Prometheus estimates it: evenly spread within a
    bucket; the lower end of the last one. buckets: {seconds at most: number of answers}, cumulative. None without
    answers."""
    wanted = part * buckets.get(math.inf, 0)
    low, below = 0.0, 0
    for high, number in sorted(buckets.items()):
        if number and number >= wanted:
            return low if high == math.inf else low + (high - low) * (wanted - below) / (number - below)
        low, below = high, number
    return None
