"""What the examples share: options that say where the server is and who asks, and errors as one line."""

import base64
import getpass
import json
import os
import sys
from pathlib import Path

from torc import make_api
from torc.openapi_client import ApiException
from urllib3.exceptions import HTTPError

DEFAULT_URL = "http://127.0.0.1:8080/torc-service/v1"


def add_options(parser):
    """Add --url, --user and --password-file to an ArgumentParser."""
    url = os.environ.get("TORC_API_URL", DEFAULT_URL)
    parser.add_argument("--url", default=url, help="of the server; default: TORC_API_URL, here %(default)s")
    parser.add_argument("--user", help="name of the account; default with a password: your login name")
    parser.add_argument("--password-file", type=Path, help="file that holds the password; default: TORC_PASSWORD")


def connect(options):
    """Return torc's client for the parsed options. It does not connect yet. Raises OSError: no password file."""
    api = make_api(options.url)
    password = os.environ.get("TORC_PASSWORD")
    if options.password_file:
        password = options.password_file.read_text().rstrip("\r\n")
    if password:
        credentials = f"{options.user or getpass.getuser()}:{password}".encode()
        api.api_client.set_default_header("Authorization", f"Basic {base64.b64encode(credentials).decode()}")
    elif options.user:
        sys.exit("--user needs a password: --password-file, or the environment variable TORC_PASSWORD")
    return api


def call(api, method, path, body=None, **query):
    """Send a call for which torc's client has no method, or a parameter that its method lacks; return the JSON of the
    answer. Raises what the methods raise."""
    client = api.api_client
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    request = client.param_serialize(method, path, query_params=[*query.items()], header_params=headers, body=body)
    answer = client.call_api(*request)
    answer.read()
    return client.response_deserialize(answer, {"200": "object"}).data


def run(main, options):
    """Exit with what main(options) returns; with 1 and one line when the server refuses or cannot be reached."""
    try:
        sys.exit(main(options))
    except ApiException as error:
        sys.exit(f"The server at {options.url} refuses: {error.status} {message(error)}")
    except HTTPError as error:
        sys.exit(f"No server answers at {options.url}: {getattr(error, 'reason', None) or error}")
    except OSError as error:
        sys.exit(f"{error.strerror}: {error.filename}" if error.filename else str(error))


def message(error):
    """What a server's error says, or the start of an answer that is not one of ours."""
    try:
        return json.loads(error.body)["error"]["message"]
    except (TypeError, ValueError, KeyError):
        return " ".join((error.body or error.reason or "").split())[:200]
