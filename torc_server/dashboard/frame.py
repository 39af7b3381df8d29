"""What all pages share: the blueprint, its headers and errors, and what templates can call."""

import json
from urllib.parse import urlencode

from flask import Blueprint, abort, make_response, render_template, request
from werkzeug.exceptions import HTTPException

from torc_server import repository
from torc_server.auth import ANONYMOUS
from torc_server.dashboard import words
from torc_server.errors import ApiError, Later

blueprint = Blueprint(
    "dashboard", __name__, template_folder="templates", static_folder="static", static_url_path="/ui/static"
)

# No inline script or style: a text of a user that got into a page unescaped could still do nothing.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def page(name, status=200, **values):
    """Answer the template of that name."""
    return make_response(render_template(f"{name}.html", **values), status)


def data(statement, read=repository.value, **params):
    """Send a statement that answers JSON; return the value. Raises ApiError."""
    return json.loads(read(statement, **params))


@blueprint.after_request
def add_headers(response):
    """Forbid what no page needs. A page may be kept by the browser, and is asked for again each time."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Referrer-Policy"] = "same-origin"  # with "no-referrer" the forms would say Origin: null
    response.headers.setdefault("Cache-Control", "no-cache, private")
    return response


# Errors


@blueprint.errorhandler(ApiError)
def show_error(error):
    """The page of an error; headers such as WWW-Authenticate are those of the interface."""
    response = page("error", error.status, message=error.message, status_code=error.status)
    response.headers.update(error.headers)
    return response


@blueprint.errorhandler(HTTPException)
def show_framework_error(error):
    if error.code < 400:
        return error
    return show_error(ApiError(error.code, error.description))


@blueprint.errorhandler(Later)
def pass_on(error):
    raise error


@blueprint.get("/ui/<path:rest>")
def get_nothing(rest):
    """The error page for an address below /ui/ that is none."""
    abort(404, "There is no page at this address")


# What templates call


def to(path):
    """The address of a page or file of this server, relative to the page that is asked for."""
    return ("../" * (request.path.count("/") - 1) or "./") + path


def query(**changes):
    """The query string of this page with other values; None leaves a name out."""
    values = request.args.to_dict(flat=False) | {
        name: value if isinstance(value, list) else [value] for name, value in changes.items()
    }
    kept = {name: [v for v in given if v not in (None, "")] for name, given in values.items()}
    return "?" + urlencode(kept, doseq=True)


@blueprint.context_processor
def names():
    asking = request.environ.get("torc.caller")  # a failed login has none
    return {"user": asking.name if asking and asking.name != ANONYMOUS else None}


@blueprint.record
def prepare_templates(state):
    environment = state.app.jinja_env
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters.update({function.__name__: function for function in words.FILTERS})
    environment.globals.update({function.__name__: function for function in (to, query, *words.FUNCTIONS)})
    environment.globals.update(words.CONSTANTS)
