"""What views use of requests, answers and pages, under one name: `@wire.body(…)`, `wire.json_text(…)`."""

from torc_server.answers import answers, deprecated, json_text, json_value
from torc_server.pages import access_page, page, spooled_pieces
from torc_server.requests import any_body, body, load_body, query, takes

__all__ = [
    "access_page", "answers", "any_body", "body", "deprecated", "json_text", "json_value", "load_body", "page", "query",
    "spooled_pieces", "takes",
]  # fmt: skip
