"""Field classes that are as strict as the contract: no "1" for an integer, no 1 for a boolean, nothing beyond 64 bits.

Body fields take JSON values; query fields take the text of a query parameter. `allow_none=True` makes null the same as
absent. Every refusal names the rule.

Each field says what it is for, in its first argument, and gives an `example`; with its bounds and its `openapi` type it
is the source of the published contract too:

    num_cpus = fields.Integer("CPUs that the job needs on each node.", example=4, load_default=1)

unit: of a number, in words. default: what the database stores for an absent key. `dump_only=True`: a field of answers
that requests may hold and the server ignores.
"""

import re
import sys
from collections.abc import Iterable
from datetime import timedelta
from functools import cached_property
from itertools import chain
from typing import Any

from marshmallow import Schema, ValidationError, fields, missing

from torc_server.errors import ApiError
from torc_server.schemas.exact import ExactTypes

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_VALUES = 500_000  # within one free JSON: an empty object takes PostgreSQL 700 bytes until it is stored
_AGES = {"h": "hours", "d": "days", "w": "weeks"}
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


def is_int64(value: Any) -> bool:
    """Whether a JSON value is an integer of 64 bits (True and 1.0 are not)."""
    return type(value) is int and INT64_MIN <= value <= INT64_MAX


def is_text(value: Any) -> bool:
    """Whether a JSON value is a string that PostgreSQL can hold: no NUL, no half of a surrogate pair."""
    return type(value) is str and "\0" not in value and (value.isascii() or _is_unicode(value))


def is_id_list(value: Any) -> bool:
    """Whether a JSON value is a list of 64-bit integers without duplicates."""
    return type(value) is list and all(map(is_int64, value)) and len(set(value)) == len(value)


def is_label(text: Any) -> bool:
    """Whether a text may be a label."""
    return text != "" and text.strip() == text and "," not in text


def check_labels(labels: list[str]) -> list[str]:
    """Return the labels. Raises ValidationError for the first that is none."""
    for label in labels:
        if not is_label(label):
            # Without the label: clients retry when an error of a worker's call holds a word such as "network".
            raise ValidationError("label must be non-empty with no comma and no leading or trailing whitespace")
    return labels


def _is_unicode(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def json_fault(value: Any) -> str | None:
    """Return the rule that any JSON value breaks, in words, or None. One level of it after the other."""
    level, count = [value], 1
    for depth in range(MAX_LEVELS + 1):
        lists = [item for item in level if type(item) is list]
        objects = [item for item in level if type(item) is dict]
        count += sum(map(len, lists)) + sum(map(len, objects))
        if count > MAX_VALUES:
            return f"must not hold more than {MAX_VALUES} values"
        texts = chain((item for item in level if type(item) is str), *objects)
        if (lists or objects) and depth == MAX_LEVELS or not all(map(is_text, texts)):
            return f"must not hold NUL characters, unpaired surrogates or over {MAX_LEVELS} levels"
        level = [*chain.from_iterable(lists), *chain.from_iterable(map(dict.values, objects))]
        if not level:
            return None
    return None


class Documented(fields.Field):
    """What every field says of itself. `openapi` is its type in the contract."""

    openapi = {}

    def __init__(
        self,
        description: str | None = None,
        *,
        example: Any = None,
        unit: str | None = None,
        default: Any = None,
        **kwargs: Any,
    ):
        super().__init__(metadata={"description": description, "example": example, "unit": unit}, **kwargs)
        self.default = self.load_default if self.load_default is not missing else default


class Integer(Documented, fields.Integer):
    """A JSON integer of 64 bits, optionally with a smallest value."""

    openapi = {"type": "integer", "format": "int64"}

    def __init__(self, description: str | None = None, *, minimum: int = INT64_MIN, **kwargs: Any):
        super().__init__(description, **kwargs)
        self.minimum = minimum

    def accepts(self, value: Any) -> bool:
        return is_int64(value) and value >= self.minimum

    def _deserialize(self, value, attr, data, **kwargs):
        if not is_int64(value):
            raise ValidationError("must be an integer of 64 bits")
        if value < self.minimum:
            raise ValidationError(f"must be >= {self.minimum}, got {value}")
        return value


class RowId(Integer):
    """The id of the row itself. Requests may hold one, which is ignored."""

    def __init__(self, *, example: int):
        super().__init__("Id, given by the server.", example=example, dump_only=True, allow_none=True)


class Float(Documented, fields.Float):
    """A JSON number; integers are fine, infinities are not."""

    openapi = {"type": "number", "format": "double"}

    def accepts(self, value: Any) -> bool:
        """Whether the value is fine as it is: an integer beyond 53 bits may be another number as a float."""
        return self._is_finite(value) and (type(value) is float or -(2**53) <= value <= 2**53)

    def _is_finite(self, value):
        return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max

    def _deserialize(self, value, attr, data, **kwargs):
        if not self._is_finite(value):
            raise ValidationError("must be a finite number")
        return float(value)


class Boolean(Documented, fields.Boolean):
    """true or false, nothing else."""

    openapi = {"type": "boolean"}

    def accepts(self, value: Any) -> bool:
        return type(value) is bool

    def _deserialize(self, value, attr, data, **kwargs):
        if type(value) is not bool:
            raise ValidationError("must be true or false")
        return value


class String(Documented, fields.String):
    """A JSON string that PostgreSQL can hold."""

    openapi = {"type": "string"}
    accepts = staticmethod(is_text)

    def _deserialize(self, value, attr, data, **kwargs):
        if not is_text(value):
            raise ValidationError("must be a string without NUL characters and unpaired surrogates")
        return value


class JobStatus(Documented, fields.String):
    """One of the eleven words for a job's status."""

    openapi = {"$ref": "#/components/schemas/JobStatus"}

    def accepts(self, value: Any) -> bool:
        return type(value) is str and value in JOB_STATUSES

    def _deserialize(self, value, attr, data, **kwargs):
        if not self.accepts(value):
            raise ValidationError(f"must be one of {', '.join(JOB_STATUSES)}")
        return value


class IdList(Documented, fields.Field):
    """A list of ids, each at most once."""

    openapi = {"type": "array", "items": Integer.openapi, "uniqueItems": True}
    accepts = staticmethod(is_id_list)

    def _deserialize(self, value, attr, data, **kwargs):
        if type(value) is not list or not all(map(is_int64, value)):
            raise ValidationError("must be a list of integers of 64 bits")
        if not is_id_list(value):
            raise ValidationError("the list contains a duplicate id")
        return value


class ListOfIntegers(Documented, fields.Field):
    """A list of 64-bit integers; duplicates are allowed."""

    openapi = {"type": "array", "items": Integer.openapi}

    def _deserialize(self, value, attr, data, **kwargs):
        if type(value) is not list or not all(map(is_int64, value)):
            raise ValidationError("must be a list of integers of 64 bits")
        return value


class Strings(Documented, fields.Field):
    """A list of strings, to describe one: in answers, and as the body that schemas/remote_workers.py checks."""

    openapi = {"type": "array", "items": String.openapi}


class Texts(Strings):
    """A list of strings that PostgreSQL can hold."""

    def accepts(self, value: Any) -> bool:
        return type(value) is list and all(map(is_text, value))

    def _deserialize(self, value, attr, data, **kwargs):
        if not self.accepts(value):
            raise ValidationError("must be a list of strings without NUL characters and unpaired surrogates")
        return value


class Object(Documented, fields.Nested):
    """A JSON object of another model, the first argument; then the description."""

    def __init__(self, model: type[Schema], description: str | None = None, **kwargs: Any):
        super().__init__(description, nested=model, **kwargs)

    @cached_property
    def exact(self) -> ExactTypes:
        return ExactTypes(self.schema)

    def accepts(self, value: Any) -> bool:
        return self.exact.fits(value)

    def load_exact(self, value: Any) -> Any:
        """Return a value that `accepts` is content with, loaded."""
        return self.exact.load(value)


class Objects(Object):
    """A list of JSON objects of another model."""

    def __init__(self, model: type[Schema], description: str | None = None, **kwargs: Any):
        super().__init__(model, description, many=True, **kwargs)

    def accepts(self, value: Any) -> bool:
        return type(value) is list and all(map(self.exact.fits, value))

    def load_exact(self, value: Any) -> list[dict[str, Any]]:
        return [*map(self.exact.load, value)]


class Json(Documented, fields.Field):
    """Any JSON value. With keep_null, null is a value, and not the same as absent."""

    def __init__(self, description: str | None = None, *, keep_null: bool = False, **kwargs: Any):
        super().__init__(description, allow_none=True, **kwargs)
        self.keep_null = keep_null

    def accepts(self, value: Any) -> bool:
        return json_fault(value) is None

    def _deserialize(self, value, attr, data, **kwargs):
        if fault := json_fault(value):
            raise ValidationError(fault)
        return value


class TextOrObject(Documented, fields.Field):
    """A JSON object, or any text in its place, as clients of torc 0.22.2 write and read it: see dialect.py.

    model: the schema of the object. In the contract it is any JSON value: generators make nothing useful of a union.
    """

    def __init__(self, description: str | None = None, *, model: type[Schema] | None = None, **kwargs: Any):
        super().__init__(description, **kwargs)
        self.model = model() if model else None

    def accepts(self, value: Any) -> bool:
        return is_text(value) or type(value) is dict and not self.model and json_fault(value) is None

    def _deserialize(self, value, attr, data, **kwargs):
        if is_text(value):
            return value
        if type(value) is not dict:
            raise ValidationError("must be a JSON object, or a string without NUL characters and unpaired surrogates")
        loaded = self.model.load(value) if self.model else value
        if fault := json_fault(value):  # also in keys that the model does not have
            raise ValidationError(fault)
        return loaded


class JsonObject(Documented, fields.Field):
    """A JSON object with any keys."""

    openapi = {"type": "object"}

    def accepts(self, value: Any) -> bool:
        return type(value) is dict and json_fault(value) is None

    def _deserialize(self, value, attr, data, **kwargs):
        if type(value) is not dict:
            raise ValidationError("must be a JSON object")
        if fault := json_fault(value):
            raise ValidationError(fault)
        return value


class JsonObjects(Documented, fields.Field):
    """A list of JSON objects with any keys, to describe one in answers."""

    openapi = {"type": "array", "items": JsonObject.openapi}


class Environment(Documented, fields.Field):
    """Environment variables: an object of strings. owner, as in "workflow env key", is for the message."""

    openapi = {"type": "object"}

    def __init__(self, description: str | None = None, *, owner: str, **kwargs: Any):
        super().__init__(description, **kwargs)
        self.owner = owner

    def accepts(self, value: Any) -> bool:
        return type(value) is dict and all(map(is_text, value.values())) and not any(map(self._is_wrong, value))

    def _is_wrong(self, key):
        return not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", key)

    def _deserialize(self, value, attr, data, **kwargs):
        if type(value) is not dict or not all(map(is_text, value.values())):
            raise ValidationError("must be a JSON object of strings without NUL characters and unpaired surrogates")
        for key in filter(self._is_wrong, value):
            raise ValidationError(f"Invalid {self.owner} env key {key!r}; expected [A-Za-z_][A-Za-z0-9_]*")
        return value


class Names(Documented, fields.Field):
    """A list of strings, each at most once. entry, as in "access_groups contains", is for the message."""

    openapi = {"type": "array", "items": String.openapi}

    def accepts(self, value: Any) -> bool:
        return type(value) is list and all(map(is_text, value)) and len(set(value)) == len(value)

    def _deserialize(self, value, attr, data, **kwargs):
        if type(value) is not list or not all(map(is_text, value)):
            raise ValidationError("must be a list of strings without NUL characters and unpaired surrogates")
        seen = set()
        for name in value:
            if name in seen:
                raise ValidationError(f"{attr} contains duplicate entry {name!r}")
            seen.add(name)
        return value


class Labels(Documented, fields.Field):
    """A list of labels. Each is checked; their order and repeats mean nothing."""

    openapi = {"type": "array", "items": String.openapi}

    def accepts(self, value: Any) -> bool:
        return type(value) is list and all(map(is_text, value)) and all(map(is_label, value))

    def _deserialize(self, value, attr, data, **kwargs):
        if type(value) is not list or not all(map(is_text, value)):
            raise ValidationError("must be a list of strings without NUL characters and unpaired surrogates")
        return check_labels(value)


class QueryLabels(Documented, fields.Field):
    """Labels with commas between them, as a list; nothing between two commas is no label."""

    openapi = String.openapi

    def _deserialize(self, value, attr, data, **kwargs):
        if not is_text(value):
            raise ValidationError("must be text without NUL characters")
        try:
            return check_labels([label for label in value.split(",") if label])
        except ValidationError as error:
            raise ApiError(422, f"Query parameter {attr}: {error.messages[0]}", field=attr) from error


class Word(Documented, fields.String):
    """One of the words of an enumeration, which has a name in the contract: see openapi.ENUMERATIONS."""

    def __init__(self, description: str | None = None, *, enumeration: str, words: Iterable[str], **kwargs: Any):
        super().__init__(description, **kwargs)
        self.words = words
        self.openapi = {"$ref": f"#/components/schemas/{enumeration}"}

    def accepts(self, value: Any) -> bool:
        return type(value) is str and value in self.words

    def _deserialize(self, value, attr, data, **kwargs):
        if not self.accepts(value):
            raise ValidationError(f"must be one of {', '.join(self.words)}")
        return value


class ObjectsByName(Documented, fields.Field):
    """A JSON object whose values are JSON objects of another model, the first argument."""

    openapi = {"type": "object"}

    def __init__(self, model: type[Schema], description: str | None = None, **kwargs: Any):
        super().__init__(description, **kwargs)
        self.model = model()

    def _deserialize(self, value, attr, data, **kwargs):
        if type(value) is not dict:
            raise ValidationError("must be a JSON object")
        found = {}
        for key, item in value.items():
            try:
                found[key] = self.model.load(item)
            except ValidationError as error:
                raise ValidationError({key: error.messages}) from error
        return found


class QueryInteger(Documented, fields.Integer):
    """Digits with an optional sign, 64 bits: else 400. A number that can be read but is out of bounds is 422."""

    openapi = Integer.openapi

    def __init__(
        self, description: str | None = None, *, minimum: int = INT64_MIN, maximum: int = INT64_MAX, **kwargs: Any
    ):
        super().__init__(description, **kwargs)
        self.minimum, self.maximum = minimum, maximum

    def _deserialize(self, value, attr, data, **kwargs):
        number = parse_int64(value)
        if number is None:
            raise ValidationError("must be an integer of 64 bits")
        if not self.minimum <= number <= self.maximum:
            rule = f"must be from {self.minimum} to {self.maximum}"
            raise ApiError(422, f"Query parameter {attr}: {rule}, got {number}", field=attr)
        return number


class QueryBoolean(Documented, fields.Boolean):
    """The words true and false."""

    openapi = Boolean.openapi

    def _deserialize(self, value, attr, data, **kwargs):
        if value not in ("true", "false"):
            raise ValidationError("must be true or false")
        return value == "true"


class QueryString(String):
    """Any text without NUL."""


class QueryAge(String):
    """A number of hours, days or weeks, such as 90d: a timedelta."""

    def _deserialize(self, value, attr, data, **kwargs):
        age = parse_age(super()._deserialize(value, attr, data, **kwargs))
        if age is None:
            raise ValidationError("must be a number of hours, days or weeks, such as 12h, 90d or 8w")
        return age


class QueryStrings(Strings):
    """A parameter that may be given several times: a list of texts."""

    repeatable = True

    def _deserialize(self, value, attr, data, **kwargs):
        if not all(map(is_text, value)):
            raise ValidationError("must be text without NUL characters")
        return value


class QueryJobStatus(JobStatus):
    """One of the eleven words for a job's status. Without an example: of a parameter for which the contract says more
    than JobStatus, generated clients forget the type."""

    def __init__(self, description: str | None, *, required: bool = False):
        super().__init__(description, required=required)


_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")


def parse_int64(text: str) -> int | None:
    """Return the integer that a path segment or query value spells, or None."""
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if INT64_MIN <= number <= INT64_MAX else None


def parse_age(text: str) -> timedelta | None:
    """Return the timedelta that 12h, 90d or 8w spells, or None."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", text, re.ASCII)
    return match and timedelta(**{_AGES[match[2]]: int(match[1])})
