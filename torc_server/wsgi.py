"""The application for any WSGI server: `gunicorn 'torc_server.wsgi:app'`, with any worker class.

It is configured by the environment (TORC_DATABASE_URL and the other TORC_<OPTION>) and the TOML files, as
`torc-server run` is. It brings no PostgreSQL and does not migrate: type `torc-server migrate` first. With
`--worker-class torc_server.worker.Worker` waiting clients and event streams take no threads.
"""

import os

from torc_server.app import create_app
from torc_server.commands.options import settings_of_environment
from torc_server.settings import SettingsError


def _create_app():
    settings = settings_of_environment()
    if not settings.database_url:
        raise SettingsError("torc_server.wsgi needs a database: set TORC_DATABASE_URL")
    return create_app(settings, settings.database_url)


def _open():
    """Open the connections and start the threads of this process."""
    for name in ("database", "presence", "node_watch", "api_traffic", "accounts"):
        if app.extensions[name]:
            app.extensions[name].open()


app = _create_app()
_open()
os.register_at_fork(after_in_child=_open)  # a server that loads the application before it forks
