"""Failure handlers: rules by which workers decide whether a failed job is tried again. The server only keeps them."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, Page


class FailureHandlerModel(Model):
    """A failure handler. rules is JSON by convention of the clients, opaque text to the server."""

    workflow_id = fields.Integer(required=True)
    name = fields.String(required=True)
    rules = fields.String(required=True)


class ListFailureHandlers(Page):
    """A page of failure handlers, by id."""
