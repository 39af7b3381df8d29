"""The dashboard: pages for people, made on the server, that show workflows and act on them.

A view parses its query, sends one statement of sql/queries/dashboard.sql, which answers all that the page says as JSON,
and renders a template. Addresses within pages are relative: they work below any prefix of a proxy. Without its script
every page works, but does not change by itself.
"""

from torc_server.dashboard import actions, create, graph, jobs, live, login, server, timeline, workflows
from torc_server.dashboard.frame import blueprint

__all__ = ["actions", "blueprint", "create", "graph", "jobs", "live", "login", "server", "timeline", "workflows"]
