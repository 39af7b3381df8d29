"""Query strings whose values a process remembers: they mean the same each time, whatever views do with them."""

import pytest
from workflow import Workflow

from torc_server import current, requests
from torc_server.errors import ApiError
from torc_server.schemas.workflows import ClaimNextJobs, InitializeJobs


def test_what_a_view_takes_out_of_its_query_is_there_the_next_time(client, database):
    path = Workflow(client, database).path
    tasks = [client.post(f"{path}/initialize_jobs?async=true", status=202).json["id"] for _ in range(2)]
    assert len(set(tasks)) == 2


def test_the_same_query_string_means_another_thing_in_another_operation(client, workflow):
    for _ in range(2):
        assert client.post(f"{workflow.path}/claim_next_jobs?limit=0").json == {"jobs": []}
        assert client.get(f"/jobs?workflow_id={workflow.id}&limit=0").json["items"] == []


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "limit=1&limit=2", "labels=a%20", "limit=x&" + "a" * 200])
def test_a_query_string_that_is_refused_is_refused_each_time(client, workflow, query):
    answers = [client.post(f"{workflow.path}/claim_next_jobs?{query}", status=None) for _ in range(3)]
    assert {answer.status_code for answer in answers} <= {400, 422}
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize(
    ("schema", "query"),
    [
        (ClaimNextJobs, ""), (ClaimNextJobs, "limit=7&labels=a,b&start_on=3"), (ClaimNextJobs, "labels=%C3%A4+b&x=1"),
        (ClaimNextJobs, "num_jobs=5&&limit"), (InitializeJobs, "async=true&keep_running=1"), (InitializeJobs, "async"),
        (ClaimNextJobs, "labels=" + ",".join(f"label-{i}" for i in range(20))),
    ],
)  # fmt: skip
def test_a_remembered_query_string_is_what_the_schema_makes_of_it(query, schema):
    schema = schema()

    def load():
        token = current.begin({"QUERY_STRING": query}, None)
        try:
            return requests.load_query(schema)
        except ApiError as error:
            return error.status, error.message, error.extra
        finally:
            current.end(token)

    first = load()
    again = load()
    assert again == first
    if isinstance(again, dict):
        again.clear()
        assert load() == first
