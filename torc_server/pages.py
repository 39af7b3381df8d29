"""Lists: PostgreSQL's rows, which are JSON texts, copied into a file that is answered when the statement has ended."""

import functools
import json
from collections.abc import Iterable
from typing import Any

from flask import Response

from torc_server import repository
from torc_server.answers import send_spool
from torc_server.bodies import PIECE
from torc_server.schemas.common import MAX_LIMIT, Query


def page(
    statement: Any, schema: type[Query], query: dict[str, Any], alias: str | None = None, **params: Any
) -> Response:
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


def access_page(statement: Any, query: dict[str, Any], **params: Any) -> Response:
    """Answer one page of a list of access control: the contract has another envelope for those, and no sort_by."""
    write = functools.partial(_write_access_page, **query)
    return send_spool(repository.spool(statement, write, **query | params))


def _write_access_page(rows, file, offset, limit):
    total_count = json.loads(next(rows))["total_count"]
    file.write(b'{"items":[')
    has_more = json.dumps(offset + write_joined(rows, file) < total_count)
    file.write(f'],"offset":{offset},"limit":{limit},"total_count":{total_count},"has_more":{has_more}}}'.encode())


def write_joined(rows: Iterable[bytes], file: Any) -> int:
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


def spooled_pieces(statement: Any, pieces: Iterable[str], key: str, **params: Any) -> Response:
    """Answer {key: [rows]} of a statement that is sent for each of `pieces` (see repository.spool_pieces) and answers
    its rows as one text, with commas between them."""

    def write(rows, file):
        file.write(f'{{"{key}":['.encode())
        write_joined(rows, file)
        file.write(b"]}")

    return send_spool(repository.spool_pieces(statement, pieces, write, **params))
