"""The interface described: as an OpenAPI document, and as a page on which people read and try it."""

import json
from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, abort, current_app, redirect, request, send_file

from torc_server import openapi
from torc_server.bodies import BASE_PATH

blueprint = Blueprint("api_docs", __name__)

PAGE = Path(__file__).parent.parent / "docs_page"
SWAGGER_UI = Path(flask_swagger_ui.__file__).parent / "dist"  # as published; we use nothing else of that package
ASSETS = {
    "page.js": PAGE,
    "page.css": PAGE,
    "icon.svg": PAGE,
    "swagger-ui-bundle.js": SWAGGER_UI,
    "swagger-ui.css": SWAGGER_UI,
}
# Whatever the document or an answer holds, the browser asks nobody but this server. Swagger UI draws with data: images.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@blueprint.after_request
def add_security_headers(response: Response) -> Response:
    """What the pages may load and who may show them."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Referrer-Policy"] = "same-origin"  # with "no-referrer" a page's own forms would say Origin: null
    return response


@blueprint.get("/openapi.json")
def get_openapi_json():
    """Return the OpenAPI document of this server as JSON."""
    return _document("application/json", lambda app: json.dumps(openapi.document(app)))


@blueprint.get("/openapi.yaml")
def get_openapi_yaml():
    """Return the OpenAPI document of this server as YAML."""
    return _document("application/yaml", openapi.as_yaml)


@blueprint.get("/docs")
def get_page():
    """Return the page that lists all operations and sends requests."""
    return send_file(PAGE / "index.html")


@blueprint.get("/docs/")
def get_page_with_slash():
    """Lead to the page, whose own addresses are relative to /docs."""
    return redirect("../docs", 308)


@blueprint.get("/docs/<name>")
def get_asset(name):
    """Return a file that the page loads."""
    if name not in ASSETS:
        abort(404)
    return send_file(ASSETS[name] / name)


def _document(mimetype, write):
    """Answer the document in one of its forms. It depends on the code only: written once in each process, and told
    where the server is if a proxy has it below a prefix."""
    written = current_app.extensions.setdefault("api_docs", {})
    if mimetype not in written:
        written[mimetype] = write(current_app)
    text = written[mimetype]
    if request.root_path:
        text = text.replace(BASE_PATH, request.root_path + BASE_PATH)
    response = Response(text, mimetype=mimetype)
    response.cache_control.no_cache = True  # ask again, by ETag, as send_file has it
    response.add_etag()
    return response.make_conditional(request)
