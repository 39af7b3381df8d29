"""Flask's application, with the settings of the server."""

from flask import Flask

from torc_server.settings import Settings


class Application(Flask):
    """What create_app() makes. Its parts are in `extensions`, by name."""

    settings: Settings

    def __init__(self, settings: Settings):
        super().__init__("torc_server", static_folder=None)
        self.settings = settings
