"""The quick way to validate has the same outcome as the thorough one: ExactTypes(schema).load and schema.load."""

import copy
import inspect
from itertools import count

import contract
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema

from torc_server.errors import ApiError
from torc_server.schemas import fields
from torc_server.schemas.common import Model, StrictModel
from torc_server.schemas.exact import ExactTypes

VIEWS = contract.app().view_functions.values()
numbers = st.sampled_from([0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 1.0, 0.5, 1e308, True])
texts = st.sampled_from(["", "a", "x=1", "running", " a", "a,b", "\0", "\ud800", "1m", "PT1M", "\U0001f600"])
plain = st.one_of(st.none(), st.booleans(), numbers, texts)
anything = st.one_of(plain, st.lists(plain, max_size=2), st.dictionaries(texts, plain, max_size=2))


def schemas_of(field):
    """The schema below a field, or None."""
    return field.schema if isinstance(field, fields.Object) else getattr(field, "model", None)


def with_inner(schema):
    """The schema, for one object, and those below it."""
    inner = [below for field in schema.load_fields.values() if (below := schemas_of(field))]
    return [type(schema)(), *(each for below in inner for each in with_inner(below))]


BODIES = {
    type(schema).__name__: schema
    for view in VIEWS
    for body in [getattr(view, "body_schema", None) or getattr(view, "body_model", None)]
    if isinstance(body, Schema)
    for schema in with_inner(body)
}


def items(schema):
    """Objects of which many fit the schema, and many nearly."""
    return st.fixed_dictionaries(
        {}, optional={name: values(field) for name, field in schema.load_fields.items()} | {"unknown": anything}
    ).flatmap(lambda given: st.sampled_from([given, required(schema) | given, required(schema) | given]))


def values(field):
    likely = [st.just(example(field))] * 3 if field.metadata["example"] is not None else []
    if isinstance(field, fields.Objects):
        likely.append(st.lists(items(field.schema), max_size=2))
    elif below := schemas_of(field):
        likely.append(items(below))
    if isinstance(field, (fields.Integer, fields.Float)):
        likely.append(numbers)
    return st.one_of(*likely, anything)


def required(schema):
    """The keys that an object must have, with examples."""
    return {name: example(field) for name, field in schema.load_fields.items() if field.required}


def example(field):
    if isinstance(field, fields.Object):
        inner = required(field.schema)
        return [inner] if isinstance(field, fields.Objects) else inner
    return field.metadata["example"]


def outcome(load, item):
    try:
        return load(copy.deepcopy(item))
    except ApiError as error:
        return error.status, error.message
    except Exception as error:  # noqa: BLE001  ValidationError; another one must be the same on both ways
        return type(error), getattr(error, "messages", None)


@pytest.mark.parametrize("schema", BODIES.values(), ids=BODIES)
def test_both_ways_have_the_same_outcome(schema):
    exact = ExactTypes(schema)

    @settings(max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(items(schema))
    def compare(item):
        quick, thorough = outcome(exact.load, item), outcome(schema.load, item)
        assert quick == thorough
        assert not exact.fits(item) or isinstance(thorough, dict)

    compare()


@pytest.mark.parametrize("name", ["JobModel", "FileModel", "UserDataModel", "ResultModel", "BatchCompleteJobsRequest"])
def test_what_is_sent_often_takes_the_quick_way(name):
    assert ExactTypes(BODIES[name]).fits(required(BODIES[name]))


def test_a_default_that_is_called_is_called_each_time_by_both_ways():
    ticks = count()

    class Ticking(Model):
        tick = fields.Integer("A number.", example=1, load_default=lambda: next(ticks))
        name = fields.String("A name.", example="n", required=True)

    exact = ExactTypes(Ticking())
    assert exact.fits({"name": "n"})
    assert [exact.load({"name": "n"})["tick"] for _ in range(2)] == [0, 1]
    assert exact.load({"name": "n", "tick": 7}) == {"name": "n", "tick": 7}


def test_a_default_is_not_shared_between_bodies():
    class Listing(Model):
        names = fields.Names("Names.", example=["n"], load_default=list)

    exact = ExactTypes(Listing())
    exact.load({})["names"].append("n")
    assert exact.load({}) == {"names": []}


def test_a_model_that_refuses_unknown_keys_refuses_them_on_both_ways():
    class Closed(StrictModel):
        name = fields.String("A name.", example="n")

    exact = ExactTypes(Closed())
    assert outcome(exact.load, {"nam": "n"}) == outcome(Closed().load, {"nam": "n"})
    assert inspect.isclass(outcome(exact.load, {"nam": "n"})[0])
