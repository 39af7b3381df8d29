"""Between HTTP and Python: path converters, strict JSON, query and body validation, pages and JSON answers."""

import functools
import json

from flask import Request, Response
from gunicorn.http.errors import ParseException
from marshmallow import ValidationError
from werkzeug.routing import BaseConverter, Rule
from werkzeug.wsgi import wrap_file

from torc_server import current, repository
from torc_server.bodies import BASE_PATH as BASE_PATH
from torc_server.bodies import MIB, PIECE, body_limit, parse_json, read_body
from torc_server.errors import ApiError, InvalidPath
from torc_server.schemas.common import MAX_LIMIT
from torc_server.schemas.exact import ExactTypes
from torc_server.schemas.fields import JOB_STATUSES, Json, is_text, parse_int64
from torc_server.spool import SPOOL_MEMORY, Spool

JSON = "application/json"


def init_app(app):
    app.url_rule_class = NamingRule
    app.url_map.converters |= {"int64": Int64Converter, "job_status": JobStatusConverter, "text": TextConverter}
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = app.settings.max_request_body_mb * MIB
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False


def wrap(app):
    """Must come when Flask and what answers instead of it are complete."""
    app.wsgi_app = Envelope(app.wsgi_app, app.settings)


class NamingRule(Rule):
    """A route whose converters know which parameter they convert, to name it in errors; `converters` are those by the
    names of their parameters."""

    def __init__(self, *args, **kwargs):
        self.converters = {}
        super().__init__(*args, **kwargs)

    def get_converter(self, variable_name, *args, **kwargs):
        converter = self.converters[variable_name] = super().get_converter(variable_name, *args, **kwargs)
        converter.name = variable_name
        return converter


# Refusals do without the value: clients retry when an error of a job's call holds a word such as "network".
class Int64Converter(BaseConverter):
    """An id in a path. What is not an integer of 64 bits is 400, not an unknown path."""

    shapes = ("",)  # that such a part of a path can have, see lanes

    def to_python(self, value):
        number = parse_int64(value)
        if number is None:
            raise InvalidPath(self.name, "must be an integer of 64 bits")
        return number


class JobStatusConverter(BaseConverter):
    """A job status in a path."""

    shapes = JOB_STATUSES

    def to_python(self, value):
        if value not in JOB_STATUSES:
            raise InvalidPath(self.name, f"must be one of {', '.join(JOB_STATUSES)}")
        return value


class TextConverter(BaseConverter):
    """The rest of a path, percent-decoded: any text but none; slashes are part of it."""

    regex = "(?s:.+)"
    part_isolating = False

    def to_python(self, value):
        if not is_text(value):
            raise InvalidPath(self.name, "must be text without NUL characters")
        return value


class Envelope:
    """WSGI around Flask: what every answer gets, and what becomes of a body that nobody has read. As after_request
    functions the same took 50 µs."""

    def __init__(self, wsgi_app, settings):
        self._wsgi_app = wsgi_app
        self._settings = settings

    def __call__(self, environ, start_response):
        def start(status, headers, exc_info=None):
            return start_response(status, headers + self._headers(environ), exc_info)

        body = environ["wsgi.input"]
        if "HTTP_TRANSFER_ENCODING" in environ:
            try:
                self._take_in(body, environ)
            except (ParseException, OSError) as error:
                return ApiError(400, f"The chunks of the body cannot be read: {error}").response()(environ, start)
            except ApiError as error:
                return error.response()(environ, start)
        answer = self._wsgi_app(environ, start)
        # Only where there is a body: for want of one, servers other than gunicorn wait for it.
        if environ.get("CONTENT_LENGTH", "0") != "0":
            try:
                self._discard_rest_of_body(body, self._settings.max_request_body_mb * MIB)
            except BaseException:  # the client is gone
                answer.close()
                raise
        return answer

    def _take_in(self, body, environ):
        """Read a body that comes in chunks before anybody acts on the request: a broken chunk must change nothing,
        also where the view does not look at the body. Raises ParseException, OSError; ApiError 507."""
        file = environ["wsgi.input"] = Spool()
        left = self._limit(environ) + 1  # one more, and the reader of the body knows that it is too large
        try:
            while left > 0 and (piece := body.read(min(left, PIECE))):
                left -= file.write(piece)
        except ApiError:
            self._discard_rest_of_body(body, left)
            raise
        environ["CONTENT_LENGTH"] = str(file.rewind())
        del environ["HTTP_TRANSFER_ENCODING"]

    def _limit(self, environ):
        return body_limit(environ["REQUEST_METHOD"], environ["PATH_INFO"], self._settings)

    @staticmethod
    def _headers(environ):
        return [
            ("X-Span-ID", environ["torc.span_id"]),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
        ]

    @staticmethod
    def _discard_rest_of_body(body, left):
        """Read what the view has left of the body, up to the limit, so that the next request on the connection is
        found: gunicorn discards 64 KiB and otherwise closes a connection that it has just said it would keep."""
        while left > 0 and (piece := body.read(min(left, PIECE))):
            left -= len(piece)


# Requests


def query(schema_class):
    """Decorate a view: validate the query string (400; 422 for a number out of bounds) and pass it as `query`."""
    schema = schema_class()

    def decorate(view):
        @functools.wraps(view)
        def wrapper(*args, **kwargs):
            return view(*args, query=load_query(schema), **kwargs)

        wrapper.query_schema = schema
        return wrapper

    return decorate


def body(schema_class, model=None):
    """Decorate a view: read the JSON body, validate it (400, 415, 413, 422) and pass it as `body`.

    model: the schema under which the contract publishes the body, where the server is content with less.
    """
    schema = schema_class()
    exact = ExactTypes(schema)

    def decorate(view):
        @functools.wraps(view)
        def wrapper(*args, **kwargs):
            return view(*args, body=load_body(exact, parse_json(read_body())), **kwargs)

        wrapper.body_schema = schema
        return takes((model or schema_class)())(wrapper)

    return decorate


def any_body(view):
    """Decorate a view: read the JSON body, whatever value it is (400, 415, 413, 422), and pass it as `body`."""
    field = Json("Any JSON value.", example={"note": "done"}, keep_null=True)

    @functools.wraps(view)
    def wrapper(*args, **kwargs):
        try:
            data = field.deserialize(parse_json(read_body()))
        except ValidationError as error:
            raise ApiError(422, f"The body {error.messages[0]}") from error
        return view(*args, body=data, **kwargs)

    return takes(field)(wrapper)


def takes(model):
    """Decorate a view that reads the body itself: say, for the contract, by which schema or field."""

    def decorate(view):
        view.body_model = model
        return view

    return decorate


def answers(model, errors=None, content_type="application/json", accepted=None):
    """Decorate a view: say, for the contract, by which schema or field it answers 200, and with {status: when} which
    errors it gives beside those of every view that takes such a request. accepted: the schema of an answer 202."""

    def decorate(view):
        view.answer = model() if isinstance(model, type) else model
        view.answer_type = content_type
        view.errors = errors or {}
        view.accepted = accepted and accepted()
        return view

    return decorate


def deprecated(view):
    """Decorate a view: say, in the contract, that the newest clients do without this operation."""
    view.is_deprecated = True
    return view


def load_query(schema):
    """Return the loaded query string. Raises ApiError 400 (422: out of bounds) naming the parameter and the rule."""
    values = {}
    for name, given in _arguments().items():
        repeatable = getattr(schema.fields.get(name), "repeatable", False)
        if len(given) > 1 and name in schema.fields and not repeatable:
            raise ApiError(400, f"Query parameter {name} is given twice", field=name)
        values[name] = given if repeatable else given[0]
    try:
        return schema.load(values)
    except ValidationError as error:
        name, reason = first_message(error.messages)
        raise ApiError(400, f"Query parameter {name}: {reason}", field=name) from error


def _arguments():
    """{name: [values]} of the query string."""
    environ = current.environ()
    return Request(environ).args.to_dict(flat=False) if environ.get("QUERY_STRING") else {}


def load_body(exact, data):
    """Return the body as ExactTypes load it. Raises ApiError 422 naming the first field that does not fit, and why."""
    if type(data) is not dict:
        raise ApiError(422, "The body must be a JSON object")
    try:
        return exact.load(data)
    except ValidationError as error:
        name, reason = first_message(error.messages)
        raise ApiError(422, f"{name}: {reason}", field=name) from error


def first_message(messages, path=""):
    """The first (field path, reason) of marshmallow's nested messages."""
    if isinstance(messages, list):
        return path, messages[0]
    key, inner = next(iter(messages.items()))
    if key == "_schema":  # the object itself, not one of its keys
        return first_message(inner, path)
    return first_message(inner, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}".lstrip("."))


# Answers


def json_text(text, status=200):
    """Answer a text that is JSON already."""
    return Response(text, status, mimetype=JSON)


def json_value(value, status=200):
    """Answer a Python value as JSON; for small ones."""
    return json_text(json.dumps(value, separators=(",", ":")), status)


def page(statement, schema, query, alias=None, **params):
    """Answer one page of a list: the envelope of the contract, and under `alias` the items once more.

    `statement` gives first a row {"total_count": n}, then the items; see sql/queries. The filters of `query` and
    `params` are its parameters.
    """
    order = repository.order_by(schema, query.get("sort_by"), query.get("reverse_sort", False))
    filters = {name: query.get(name) for name in schema._declared_fields}
    write = functools.partial(_write_page, offset=query["offset"], alias=alias)
    return send_spool(repository.spool(statement, write, order_by=order, **filters | params))


def _write_page(rows, file, offset, alias):
    total_count = json.loads(next(rows))["total_count"]
    file.write(b'{"items":[')
    start = file.tell()
    count = write_joined(rows, file)
    end = file.tell()
    file.write(b"]")
    if alias:
        file.write(f',"{alias}":['.encode())
        _copy_range(file, start, end)
        file.write(b"]")
    has_more = json.dumps(offset + count < total_count)
    file.write(
        f',"offset":{offset},"max_limit":{MAX_LIMIT},"count":{count},'
        f'"total_count":{total_count},"has_more":{has_more}}}'.encode()
    )


def access_page(statement, query, **params):
    """Answer one page of a list of access control: the contract has another envelope for those, and no sort_by."""
    write = functools.partial(_write_access_page, **query)
    return send_spool(repository.spool(statement, write, **query | params))


def _write_access_page(rows, file, offset, limit):
    total_count = json.loads(next(rows))["total_count"]
    file.write(b'{"items":[')
    has_more = json.dumps(offset + write_joined(rows, file) < total_count)
    file.write(f'],"offset":{offset},"limit":{limit},"total_count":{total_count},"has_more":{has_more}}}'.encode())


def write_joined(rows, file):
    """Write the rows with commas between them, PIECE bytes or one row at a time; return how many there were."""
    count, separator, waiting, size = 0, b"", [], 0
    for row in rows:
        count += 1
        waiting.append(row)
        size += len(row)
        if size > PIECE:
            file.write(separator + b",".join(waiting))
            separator, waiting, size = b",", [], 0
    if waiting:
        file.write(separator + b",".join(waiting))
    return count


def _copy_range(file, start, end):
    """Append bytes start..end of the file to the file, a piece at a time."""
    while start < end:
        file.seek(start)
        piece = file.read(min(PIECE, end - start))
        start += len(piece)
        file.seek(0, 2)
        file.write(piece)


def spooled_list(statement, key, **params):
    """Answer {key: [rows]} of a statement whose rows are JSON texts."""
    return send_spool(repository.spool(statement, _list_writer(key), **params))


def spooled_pieces(statement, pieces, key, **params):
    """Answer {key: [rows]} of a statement that is sent for each of `pieces` (see repository.spool_pieces) and answers
    its rows as one text, with commas between them."""
    return send_spool(repository.spool_pieces(statement, pieces, _list_writer(key), **params))


def _list_writer(key):
    def write(rows, file):
        file.write(f'{{"{key}":['.encode())
        write_joined(rows, file)
        file.write(b"]}")

    return write


def send_spool(file):
    """Answer the JSON in a Spool."""
    size = file.rewind()
    if size <= SPOOL_MEMORY:
        with file:
            return json_text(file.read())
    response = Response(wrap_file(current.environ(), file, PIECE), mimetype=JSON, direct_passthrough=True)
    response.content_length = size
    return response
