"""The application for any WSGI server: `gunicorn 'torc_server.wsgi:app'`, with any worker class.

It is configured by the environment (TORC_DATABASE_URL and the other TORC_<OPTION>) and the TOML files, as
`torc-server run` is. It brings no PostgreSQL of its own and does not migrate: type `torc-server migrate` first.
`--worker-class torc_server.worker.Worker` makes waiting clients and event streams cost no threads.
"""

from torc_server.app import create_app
from torc_server.cli import settings_of_environment
from torc_server.settings import SettingsError


def _create_app():
    settings = settings_of_environment()
    if not settings.database_url:
        raise SettingsError("torc_server.wsgi needs a database: set TORC_DATABASE_URL")
    return create_app(settings, settings.database_url)


app = _create_app()
