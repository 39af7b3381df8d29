"""Who is asking. May they? is answered in SQL, by torc.authorize_workflow(), in the statement that does the work."""

from dataclasses import dataclass

from flask import current_app, g

ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Caller:
    """A user's name, and whether access control is enforced for this request."""

    name: str
    enforced: bool


def init_app(app):
    @app.before_request
    def identify_caller():
        g.caller = Caller(ANONYMOUS, current_app.settings.enforce_access_control)


def caller():
    """Return the Caller of the current request."""
    return g.caller
