"""For monitoring: outside the base path, open without credentials, telling nothing else."""

import psycopg
from flask import Blueprint, current_app

from torc_server import migrations, wire
from torc_server.connections import SESSION
from torc_server.errors import ApiError
from torc_server.lanes import AT_ONCE, lane

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@lane(AT_ONCE)
def healthz():
    """Say that the process answers."""
    return wire.json_value({"status": "ok"})


@blueprint.get("/readyz")
def readyz():
    """Say that the database answers, takes changes and has the schema of this release, or of a newer one with which
    this server goes on; else 503."""
    try:
        fits, writable = current_app.extensions["database"].run(_ask)
    except psycopg.Error as error:
        raise ApiError(503, "The database connection cannot be used; the log says why") from error
    if not fits:
        raise ApiError(503, "The database does not have the schema of this release")
    if not writable:
        raise ApiError(503, "The connection leads to a database that is read only at the moment")
    return wire.json_value({"status": "ok"})


def _ask(connection):
    return migrations.serves_running(connection), connection.execute(SESSION.is_writable.sql).fetchone()[0]
