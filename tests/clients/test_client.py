"""Every method of every API class of torc-client, called against a real server: the typed model comes back.

The methods are read off the client, so that none can be forgotten.
"""

import inspect

import pytest
from client_calls import CALLS, Rows, assert_is, example_of, methods_of_the_client, parameters_of
from torc import openapi_client

METHODS = [pytest.param(*found, id=f"{found[0].__name__}.{found[1].__name__}") for found in methods_of_the_client()]


@pytest.fixture(scope="module")
def api_client(server):
    configuration = openapi_client.Configuration(host=f"{server.url}/torc-service/v1")
    with openapi_client.ApiClient(configuration) as api_client:
        yield api_client


@pytest.fixture
def rows(api_client):
    return Rows(api_client)


@pytest.fixture(scope="module")
def all_rows(api_client):
    rows = Rows(api_client)
    rows.fill()
    return rows


@pytest.mark.parametrize("api_class, method", METHODS)
def test_every_method_of_the_client_gets_the_model_that_it_declares(api_client, rows, api_class, method):
    call = getattr(api_class(api_client), method.__name__)
    assert method.__name__ in CALLS, "give this method a valid call"
    assert_is(call(*CALLS[method.__name__](rows)), method)


PAGES = [parameter for parameter in METHODS if "offset" in inspect.signature(parameter.values[1]).parameters]


@pytest.mark.parametrize("api_class, method", PAGES)
def test_every_list_of_the_client_gives_typed_items_and_takes_all_parameters(api_client, all_rows, api_class, method):
    call = getattr(api_class(api_client), method.__name__)
    arguments = CALLS[method.__name__](all_rows)
    page = call(*arguments)
    assert page.items, "nothing to see the type of"
    assert getattr(page, "count", len(page.items)) == len(page.items) <= page.total_count
    assert all(type(item).__module__.startswith("torc.openapi_client.models") for item in page.items)
    optional = list(parameters_of(method).items())[len(arguments) :]
    assert_is(call(*arguments, **{name: example_of(hint) for name, hint in optional}), method)


def test_there_are_as_many_methods_as_operations_of_the_contract():
    assert len({method.__name__ for _, method in methods_of_the_client()}) == 122
