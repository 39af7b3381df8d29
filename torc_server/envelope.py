"""WSGI around the application: the headers of every answer, and bodies that come in chunks or that nobody reads."""

from collections.abc import Callable

from gunicorn.http.errors import ParseException

from torc_server.application import Application
from torc_server.bodies import MIB, PIECE, body_limit
from torc_server.errors import ApiError
from torc_server.settings import Settings
from torc_server.spool import Spool


def wrap(app: Application) -> None:
    """Must come when Flask and what answers instead of it are complete."""
    app.wsgi_app = Envelope(app.wsgi_app, app.settings)


class Envelope:
    """WSGI around Flask: what every answer gets, and what becomes of a body that nobody has read. As after_request
    functions the same took 50 µs."""

    def __init__(self, wsgi_app: Callable, settings: Settings):
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
        # Only where there is a body: other servers than gunicorn block on read() without one.
        if environ.get("CONTENT_LENGTH", "0") != "0":
            try:
                self._discard_rest_of_body(body, self._settings.max_request_body_mb * MIB)
            except BaseException:  # the client is gone
                answer.close()
                raise
        return answer

    def _take_in(self, body, environ):
        """Read a body that comes in chunks before anybody acts on the request: a broken chunk must change nothing,
        also where the view does not read the body. Raises ParseException, OSError; ApiError 507."""
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
