"""Bulk creates: the rows of one body, checked and passed to PostgreSQL in pieces, so that memory stays bounded."""

import json
import re

from marshmallow import ValidationError

from torc_server import current
from torc_server.bodies import MIB, JsonPieces, open_body
from torc_server.errors import ApiError
from torc_server.requests import first_message
from torc_server.schemas.common import MAX_LIMIT
from torc_server.schemas.exact import ExactTypes
from torc_server.spool import Spool

SENT = 1 << 18  # characters of JSON that PostgreSQL gets at once: its work for fewer rows is not worth a statement
CHECKED = 1 << 16  # characters that are parsed and checked at once: four times as many take half as long again

# May be unstorable: a lone surrogate is, a surrogate pair is not.
_UNSTORABLE_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


class Rows:
    """The rows of a bulk: `with Rows("jobs", exact) as rows: rows.read()` checks {"jobs": [row, …]} by ExactTypes.

    has_unique_names: no two rows of a workflow may have the same name.

    Iterating then gives JSON arrays of some rows each, as texts, in the order of the body, as often as is wanted; those
    of a long body are checked on the way. `first` is the first row, or None.
    """

    def __init__(self, key: str, exact: ExactTypes, has_unique_names: bool = False):
        self.first = None
        self._numbers = {} if has_unique_names else None  # of the rows, by their names
        self._key = key
        self._exact = exact
        self._checked = Spool()  # the arrays, one behind the other
        self._ends = [0]  # where each of them ends there, behind where the first one begins
        self._texts = []  # rows of the next array
        self._count = 0
        self._error = None  # of the first row that does not fit
        self._reading = iter(())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._checked.close()

    def __iter__(self):
        number = 1
        while number < len(self._ends) or self._read_on():
            start, end = self._ends[number - 1 : number + 1]
            self._checked.seek(start)
            yield self._checked.read(end - start).decode()
            number += 1

    def read(self) -> None:
        """Read the body of the current request, up to the first of the arrays at least. Raises, as the iteration does,
        ApiError 400, 413, 415 (see open_body); 422 for more than MAX_LIMIT rows, or naming the first row that does not
        fit or has the name of another one."""
        self._reading = self._arrays()
        self._read_on()

    def _read_on(self):
        """Read until another array is stored; return whether there is one."""
        return next(self._reading, False)

    def _arrays(self):
        """Read the body; yield True for each array that has been stored."""
        body = JsonPieces(open_body(), current.app().settings.max_small_body_mb * MIB)
        found = False
        if body.peek() != "{":
            body.value()
        else:
            for key in body.members():
                if key == self._key and body.peek() == "[":
                    found = True
                    for rows, text in body.batches(CHECKED):
                        self._add(rows, text)
                        # Of a long body PostgreSQL gets the first array soon, and works while others are checked.
                        full = SENT if len(self._ends) > 1 else CHECKED // 2
                        if sum(map(len, self._texts)) > full and not self._error:
                            yield self._store()
                else:
                    body.value()
        body.finish()
        if not found:
            raise ApiError(422, f"{self._key}: must be a list of {self._key}", field=self._key)
        self._check_count()
        if self._error:
            raise self._error
        if self._texts:
            yield self._store()

    def _add(self, rows, text):
        start, self._count = self._count, self._count + len(rows)
        if self._count > 2 * MAX_LIMIT:
            self._check_count()
        if self._error or self._count > MAX_LIMIT:
            return  # the rest is only read to count it, and for keys that come twice
        for index, row in enumerate(rows, start):
            try:
                self._exact.check(row)
            except ValidationError as error:
                self._error = self._refusal(index, error)
                return
            if self._numbers is not None:
                before = self._numbers.setdefault((row["workflow_id"], row["name"]), index)
                if before != index:
                    self._error = self._same_name(index, before)
                    return
        self.first = self.first or rows[0]
        if _UNSTORABLE_ESCAPE.search(text) or any("id" in row for row in rows):
            # A row may hold such an escape where it is ignored, and any value as its id.
            text = ",".join(json.dumps(self._exact.load(row)) for row in rows)
        self._texts.append(text)

    def _store(self):
        self._checked.seek(self._ends[-1])
        self._ends.append(self._ends[-1] + self._checked.write(f"[{','.join(self._texts)}]".encode()))
        self._texts = []
        return True

    def _refusal(self, index, error):
        name, reason = first_message(error.messages)
        field = f"{self._key}[{index}].{name}".removesuffix(".")
        return ApiError(422, f"{field}: {reason}", field=field)

    def _same_name(self, index, before):
        # Without the name: clients retry when an error of such a call holds a word such as "network".
        message = f"Duplicate name in bulk create request: {self._key}[{before}] and {self._key}[{index}]"
        return ApiError(422, message, field=f"{self._key}[{index}].name")

    def refuse_empty(self) -> None:
        """Raise ApiError 422 if there are no rows."""
        if not self.first:
            raise ApiError(422, f"A bulk create requires a non-empty `{self._key}` array", field=self._key)

    def _check_count(self):
        if self._count > MAX_LIMIT:
            message = f"Too many {self._key} in batch: {self._count}. Maximum is {MAX_LIMIT}"
            raise ApiError(422, message, field=self._key)
