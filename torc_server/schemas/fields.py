"""Field classes that are as strict as the contract: no "1" for an integer, no 1 for a boolean, nothing beyond 64 bits.

Body fields take JSON values; query fields take the text of a query parameter. `allow_none=True` makes null the same as
absent. Every refusal names the rule.
"""

import re
import sys

from marshmallow import ValidationError, fields

from torc_server.errors import ApiError

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_LEVELS = 128  # of free JSON, as in the reference; Python itself gives up somewhere below 1000
JOB_STATUSES = (
    "uninitialized",
    "blocked",
    "ready",
    "pending",
    "running",
    "completed",
    "failed",
    "canceled",
    "terminated",
    "disabled",
    "pending_failed",
)


def is_int64(value):
    """Whether a JSON value is an integer of 64 bits (True and 1.0 are not)."""
    return type(value) is int and INT64_MIN <= value <= INT64_MAX


def is_text(value):
    """Whether a JSON value is a string that PostgreSQL can hold: no NUL, no half of a surrogate pair."""
    return type(value) is str and "\0" not in value and (value.isascii() or _is_unicode(value))


def is_id_list(value):
    """Whether a JSON value is a list of 64-bit integers in which none stands twice."""
    return type(value) is list and all(map(is_int64, value)) and len(set(value)) == len(value)


def _is_unicode(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_storable(value, levels=MAX_LEVELS):
    """Whether any JSON value holds only text that PostgreSQL can hold, in no more than so many levels."""
    if type(value) is str:
        return is_text(value)
    if type(value) is dict:
        return levels > 0 and all(is_text(key) and _is_storable(item, levels - 1) for key, item in value.items())
    return type(value) is not list or levels > 0 and all(_is_storable(item, levels - 1) for item in value)


class Integer(fields.Integer):
    """A JSON integer of 64 bits, optionally with a smallest value."""

    def __init__(self, *, minimum=INT64_MIN, **kwargs):
        super().__init__(**kwargs)
        self.minimum = minimum

    def accepts(self, value):
        return is_int64(value) and value >= self.minimum

    def _deserialize(self, value, attr, data, **kwargs):
        if not is_int64(value):
            raise ValidationError("must be an integer of 64 bits")
        if value < self.minimum:
            raise ValidationError(f"must be >= {self.minimum}, got {value}")
        return value


class Float(fields.Float):
    """A JSON number; integers are fine, infinities are not."""

    def accepts(self, value):
        """Whether the value is fine as it is: an integer beyond 53 bits may be another number as a float."""
        return self._is_finite(value) and (type(value) is float or -(2**53) <= value <= 2**53)

    def _is_finite(self, value):
        return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max

    def _deserialize(self, value, attr, data, **kwargs):
        if not self._is_finite(value):
            raise ValidationError("must be a finite number")
        return float(value)


class Boolean(fields.Boolean):
    """true or false, nothing else."""

    def accepts(self, value):
        return type(value) is bool

    def _deserialize(self, value, attr, data, **kwargs):
        if type(value) is not bool:
            raise ValidationError("must be true or false")
        return value


class String(fields.String):
    """A JSON string that PostgreSQL can hold."""

    def accepts(self, value):
        return is_text(value)

    def _deserialize(self, value, attr, data, **kwargs):
        if not is_text(value):
            raise ValidationError("must be a string without NUL characters and unpaired surrogates")
        return value


class JobStatus(fields.String):
    """One of the eleven words for a job's status."""

    def accepts(self, value):
        return type(value) is str and value in JOB_STATUSES

    def _deserialize(self, value, attr, data, **kwargs):
        if not self.accepts(value):
            raise ValidationError(f"must be one of {', '.join(JOB_STATUSES)}")
        return value


class IdList(fields.Field):
    """A list of ids, each at most once."""

    def accepts(self, value):
        return is_id_list(value)

    def _deserialize(self, value, attr, data, **kwargs):
        if type(value) is not list or not all(map(is_int64, value)):
            raise ValidationError("must be a list of integers of 64 bits")
        if not is_id_list(value):
            raise ValidationError("an id stands twice in the list")
        return value


class ListOfIntegers(fields.Field):
    """A list of 64-bit integers; the same one may stand in it twice."""

    def _deserialize(self, value, attr, data, **kwargs):
        if type(value) is not list or not all(map(is_int64, value)):
            raise ValidationError("must be a list of integers of 64 bits")
        return value


class Object(fields.Nested):
    """A JSON object of another model."""

    def accepts(self, value):
        return False  # never on the short way: the inner model has rules of its own


class Json(fields.Field):
    """Any JSON value. With keep_null, null is a value of its own and not the same as absent."""

    def __init__(self, *, keep_null=False, **kwargs):
        super().__init__(allow_none=True, **kwargs)
        self.keep_null = keep_null

    def accepts(self, value):
        return _is_storable(value)

    def _deserialize(self, value, attr, data, **kwargs):
        if not _is_storable(value):
            raise ValidationError(f"must not hold NUL characters, unpaired surrogates or over {MAX_LEVELS} levels")
        return value


class QueryInteger(fields.Integer):
    """Digits with an optional sign, 64 bits: else 400. A number that can be read but is out of bounds is 422."""

    def __init__(self, *, minimum=INT64_MIN, maximum=INT64_MAX, **kwargs):
        super().__init__(**kwargs)
        self.minimum, self.maximum = minimum, maximum

    def _deserialize(self, value, attr, data, **kwargs):
        number = parse_int64(value)
        if number is None:
            raise ValidationError("must be an integer of 64 bits")
        if not self.minimum <= number <= self.maximum:
            rule = f"must be from {self.minimum} to {self.maximum}"
            raise ApiError(422, f"Query parameter {attr}: {rule}, got {number}", field=attr)
        return number


class QueryBoolean(fields.Boolean):
    """The words true and false."""

    def _deserialize(self, value, attr, data, **kwargs):
        if value not in ("true", "false"):
            raise ValidationError("must be true or false")
        return value == "true"


class QueryString(String):
    """Any text without NUL."""


class QueryStrings(fields.Field):
    """A parameter that may be given several times: a list of texts."""

    repeatable = True

    def _deserialize(self, value, attr, data, **kwargs):
        if not all(map(is_text, value)):
            raise ValidationError("must be text without NUL characters")
        return value


class QueryJobStatus(JobStatus):
    """One of the eleven words for a job's status."""


def parse_int64(text):
    """Return the integer that a path segment or query value spells, or None."""
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text, re.ASCII):
        return None
    number = int(text)
    return number if INT64_MIN <= number <= INT64_MAX else None
