"""What an installed torc-client takes and answers, as JSON types: describe(). As a program it prints that.

A type is a set of names: integer, number, string, boolean, any, the name of a model, or "list of …"; null is left out.
"""

import enum
import inspect
import json
import typing

import pydantic
from client_calls import methods_of_the_client
from torc.openapi_client import models


def describe():
    """{"calls": {name: {"parameters": [[name, type]], "answer": type}}, "models": {name: {field: [type, required]}},
    "enums": {name: values}}; types as sorted lists."""
    found = dict(inspect.getmembers(models, inspect.isclass))
    return {
        "calls": {method.__name__: describe_call(method) for _, method in methods_of_the_client()},
        "models": {name: describe_model(model) for name, model in found.items() if not issubclass(model, enum.Enum)},
        "enums": {
            name: sorted(each.value for each in model) for name, model in found.items() if issubclass(model, enum.Enum)
        },
    }


def describe_call(method):
    """Without the arguments that all calls have."""
    hints = typing.get_type_hints(method)
    names = [name for name in inspect.signature(method).parameters if name != "self" and not name.startswith("_")]
    return {
        "parameters": [[name, sorted(json_types(hints[name]))] for name in names],
        "answer": sorted(json_types(hints["return"])),
    }


def describe_model(model):
    return {
        field.alias or name: [sorted(json_types(field.annotation)), field.is_required()]
        for name, field in model.model_fields.items()
        if name != "additional_properties"
    }


def json_types(annotation):
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return set()
    if annotation in (typing.Any, object):
        return {"any"}
    if origin is typing.Annotated:
        return json_types(inner[0])
    if origin in (typing.Union, type(int | str)):
        return set().union(*map(json_types, inner))
    if origin is list:
        return {f"list of {','.join(sorted(json_types(inner[0])))}"}
    if origin is dict or annotation is dict:
        return {"object"}
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel | enum.Enum):
        return {annotation.__name__}
    return {{int: "integer", float: "number", str: "string", bool: "boolean"}[annotation]}


if __name__ == "__main__":
    print(json.dumps(describe()))
