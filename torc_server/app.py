"""create_app(): the one place where things are wired together."""

from flask import Flask

from torc_server import auth, errors, wire
from torc_server.blueprints import BLUEPRINTS
from torc_server.database import Database
from torc_server.streams import Streams


def create_app(settings, conninfo, restart=None):
    """Return the Flask application for Settings on the database at conninfo. It does not connect: call
    app.extensions["database"].open() in the process that serves.

    restart: called when the database does not answer (see Database).
    """
    app = Flask("torc_server", static_folder=None)
    app.settings = settings

    # What every request passes through
    errors.init_app(app)
    wire.init_app(app)
    auth.init_app(app)

    # State
    app.extensions["database"] = database = Database(conninfo, restart)
    app.extensions["streams"] = Streams(database, settings.max_streams)

    # Routes
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint, url_prefix=wire.BASE_PATH)
    return app
