"""`torc-server openapi`."""

import click

from torc_server.app import create_app
from torc_server.openapi import as_yaml
from torc_server.settings import Settings


@click.command("openapi")
def command():
    """Print the HTTP contract, an OpenAPI document in YAML, made from the code that serves it."""

    print(as_yaml(create_app(Settings(), "")), end="")
