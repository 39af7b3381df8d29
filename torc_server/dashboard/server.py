"""The pages of compute nodes and of the server itself."""

import os
from collections import defaultdict

from flask import current_app

from torc_server import __version__, doctor, wire
from torc_server.dashboard.filters import PAGE_SIZE, NodeFilter
from torc_server.dashboard.frame import blueprint, data, page
from torc_server.dialect import API_VERSION
from torc_server.lanes import lane
from torc_server.repository import sql, value

ROUTES_SHOWN = 15
LONG_CHECKS = {"graph"}  # of the doctor: may take minutes


@blueprint.get("/ui/nodes")
@wire.query(NodeFilter)
@lane("lists")
def list_nodes(query):
    """Compute nodes and what they run."""
    found = data(
        sql.dashboard.nodes, active=query["show"] == "active", offset=query["offset"], limit=PAGE_SIZE,
        silent_s=current_app.settings.node_timeout or doctor.SILENT_SECONDS,
    )  # fmt: skip
    return page("nodes", found=found, filter=query, page_size=PAGE_SIZE)


@blueprint.get("/ui/server")
@lane("lists")
def get_server():
    """The server: versions, database, requests; for administrators users, groups and the audit log."""
    found = data(sql.dashboard.server)
    numbers, routes = _numbers() if found["is_admin"] else ({}, [])
    accounts = current_app.extensions["accounts"]
    users = sorted(accounts.table().users) if accounts and found["is_admin"] else []
    return page(
        "server", found=found, numbers=numbers, routes=routes, users=users, api_version=API_VERSION,
        server_version=__version__, load=os.getloadavg(), settings=current_app.settings,
    )  # fmt: skip


@blueprint.get("/ui/server/doctor")
@lane("walks")
def get_doctor():
    """What `torc-server doctor` finds, without the checks that may take minutes. For administrators."""
    value(sql.authentication.authorize_admin)
    only = [name for name in doctor.NAMES if name not in LONG_CHECKS]
    conninfo = current_app.extensions["database"].conninfo
    checks = list(doctor.examine(current_app.settings, conninfo, only=only))
    return page("doctor", checks=checks, left_out=LONG_CHECKS)


def _numbers():
    """What all processes of the server have counted: {gauge: value}, and the busiest routes, each with its number of
    answers, of those with an error of the server, and the mean of its seconds."""
    gauges, routes = {}, defaultdict(lambda: {"count": 0, "errors": 0, "seconds": 0.0})
    for metric in current_app.extensions["metrics"].registry().collect():
        for sample in metric.samples:
            route = sample.labels.get("method", ""), sample.labels.get("route", "")
            if metric.type == "gauge":
                gauges[sample.name.removeprefix("torc_")] = sample.value
            elif sample.name.endswith("_seconds_count") and route[1]:
                routes[route]["count"] += sample.value
                routes[route]["errors"] += sample.value if sample.labels["status"].startswith("5") else 0
            elif sample.name.endswith("_seconds_sum") and route[1]:
                routes[route]["seconds"] += sample.value
    busiest = sorted(routes.items(), key=lambda item: -item[1]["count"])[:ROUTES_SHOWN]
    return gauges, [{"method": method, "route": route, **numbers} for (method, route), numbers in busiest]
