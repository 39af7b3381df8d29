"""create_app(): the one place where things are wired together."""

from collections.abc import Callable
from functools import partial

from torc_server import auth, browsers, direct, envelope, errors, observer, proxies, requests, routing
from torc_server.accounts import Accounts
from torc_server.api_traffic import ApiTraffic
from torc_server.application import Application
from torc_server.blueprints import BLUEPRINTS, OUTSIDE_BASE_PATH
from torc_server.bodies import BASE_PATH
from torc_server.dashboard import blueprint as dashboard
from torc_server.dashboard.pulses import Pulses
from torc_server.database import Database
from torc_server.database_metrics import DatabaseMetrics
from torc_server.lanes import Lanes
from torc_server.metrics import Metrics
from torc_server.node_watch import NodeWatch
from torc_server.presence import Presence
from torc_server.revision import git_hash
from torc_server.settings import Settings
from torc_server.streams import Streams
from torc_server.tasks import Tasks
from torc_server.throttle import Throttle


def create_app(settings: Settings, conninfo: str, restart: Callable[[], None] | None = None) -> Application:
    """Return the application for Settings on the database at conninfo. It does not connect: call
    open() of app.extensions["database"] and of app.extensions["presence"] in the process that serves.

    Raises HtpasswdError if the settings name a password file that cannot be used.

    restart: called when the database does not answer (see Database).
    """
    app = Application(settings)
    git_hash()  # asks git, if need be, before the workers are forked
    app.ensure_sync = lambda func: func  # no view is a coroutine; Flask checks that four times a request

    # What every request passes through
    observer.init_app(app)
    errors.init_app(app)
    routing.init_app(app)
    requests.init_app(app)
    browsers.init_app(app)
    auth.init_app(app)

    # State
    app.extensions["metrics"] = Metrics()
    app.extensions["database"] = database = Database(conninfo, restart, settings.listen_database_url, settings.threads)
    app.extensions["database_metrics"] = DatabaseMetrics(database)
    app.extensions["presence"] = Presence(settings.listen_database_url or conninfo)
    app.extensions["accounts"] = (
        Accounts(settings.auth_file, settings.credential_cache_ttl_secs, settings.threads)
        if settings.auth_file
        else None
    )
    app.extensions["pulses"] = Pulses(database, settings.max_streams, partial(auth.has_user, app))
    app.extensions["tasks"] = Tasks(database)
    app.extensions["node_watch"] = node_watch = NodeWatch(database, settings.node_timeout)
    app.extensions["streams"] = streams = Streams(
        database, settings.max_streams, partial(auth.has_user, app), node_watch
    )
    app.extensions["waiting_claims"] = streams.claims
    app.extensions["api_traffic"] = ApiTraffic(database, settings.api_event_body_max_bytes, partial(auth.has_user, app))
    app.extensions["throttle"] = Throttle(database, settings.max_login_failures, settings.login_failure_window_secs)

    # Routes
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint, url_prefix=BASE_PATH)
    for blueprint in (*OUTSIDE_BASE_PATH, dashboard):
        app.register_blueprint(blueprint)
    app.extensions["lanes"] = Lanes(app)

    # WSGI around Flask, from the inside
    direct.wrap(app)
    envelope.wrap(app)
    proxies.wrap(app)
    observer.wrap(app)
    return app
