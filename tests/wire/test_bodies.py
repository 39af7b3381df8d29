"""Bodies: how large they may be, compressed ones, and that the work on them grows no faster than they do."""

import contextlib
import gzip
import json
import time

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from workflow import Workflow

from torc_server import bodies
from torc_server.bodies import BASE_PATH, JsonPieces, body_limit, parse_json
from torc_server.errors import ApiError
from torc_server.schemas import fields
from torc_server.schemas.fields import MAX_LEVELS, json_fault
from torc_server.settings import Settings

JSON = {"Content-Type": "application/json"}
GZIP = JSON | {"Content-Encoding": "gzip"}
MIB = 1 << 20


def file_body(workflow, size=0):
    """The body of a POST /files with so many bytes."""
    start = f'{{"workflow_id": {workflow.id}, "path": "p", "name": "n", "ignored": "'
    return (start + "x" * (size - len(start) - 2) + '"}').encode()


def files(workflow):
    return workflow.client.get("/files", params={"workflow_id": workflow.id}).json["total_count"]


def refused(response, status, field=None):
    """The message of a refusal."""
    assert response.status_code == status, response.text
    assert response.json["error"].get("field") == field
    return response.json["error"]["message"]


# Size


def test_only_a_bulk_may_have_a_body_over_16_mib(client, workflow):
    small, bulk = 16 * MIB, 200 * MIB
    assert body_limit("POST", f"{BASE_PATH}/bulk_jobs", Settings()) == bulk
    for method, path in (("POST", "/jobs"), ("GET", "/bulk_jobs"), ("POST", "/workflows/1/bulk_jobs"), ("POST", "/")):
        assert body_limit(method, BASE_PATH + path, Settings()) == small
    client.post("/files", body=file_body(workflow, small), headers=JSON)
    message = refused(client.post("/files", body=file_body(workflow, small + 1), headers=JSON, status=None), 413)
    assert "16 MiB" in message and "max_small_body_mb" in message
    job = {"workflow_id": workflow.id, "name": "n", "command": "c" * MIB}
    jobs = [job | {"name": f"n{i}"} for i in range(17)]
    assert len(client.post("/bulk_jobs", json={"jobs": jobs}).json["jobs"]) == 17
    assert files(workflow) == 1


def test_a_client_that_sends_30_mb_at_once_reads_413(server):
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    body = f'{{"workflow_id": {workflow}, "data": [{"{}," * 10_000_000}0]}}'
    for _ in range(2):
        refused(server.client.post("/events", body=body, headers=JSON, status=None), 413)
    assert server.client.get("/events", params={"workflow_id": workflow}).json["total_count"] == 0


def test_413_names_the_setting_that_applies(make_client, database):
    client = make_client(max_request_body_mb=2, max_small_body_mb=1)
    workflow = Workflow(client, database)
    client.post("/files", body=file_body(workflow, MIB), headers=JSON)
    answer = client.post("/files", body=file_body(workflow, MIB + 1), headers=JSON, status=None)
    assert "max_small_body_mb" in refused(answer, 413)
    jobs = json.dumps({"jobs": [{"workflow_id": workflow.id, "name": "n", "command": "c" * MIB}] * 2})
    assert "max_request_body_mb" in refused(client.post("/bulk_jobs", body=jobs, headers=JSON, status=None), 413)
    client = make_client(max_request_body_mb=1)  # so are the others then, as before there was a second setting
    answer = client.post("/files", body=file_body(workflow, MIB + 1), headers=JSON, status=None)
    assert "max_request_body_mb" in refused(answer, 413)


def test_a_row_of_a_bulk_may_be_as_large_as_the_body_of_a_single_create(make_client, database):
    client = make_client(max_small_body_mb=1)
    workflow = Workflow(client, database)
    for size, status in ((MIB - 200, 200), (3 * MIB, 413)):
        job = {"workflow_id": workflow.id, "name": "n", "command": "c" * size}
        client.post("/bulk_jobs", json={"jobs": [job]}, status=status)
    assert workflow.sql("SELECT count(*) FROM torc.job WHERE workflow_id = %s", workflow.id) == [1]


# Compressed


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
def test_a_gzip_body_is_taken(client, workflow, coding):
    headers = JSON | {"Content-Encoding": coding}
    client.post("/files", body=gzip.compress(file_body(workflow, 200)), headers=headers)
    jobs = {"jobs": [{"workflow_id": workflow.id, "name": f"j{i}", "command": "c"} for i in range(20000)]}
    created = client.post("/bulk_jobs", body=gzip.compress(json.dumps(jobs).encode()), headers=headers).json["jobs"]
    assert [job["name"] for job in created] == [job["name"] for job in jobs["jobs"]]
    body = file_body(workflow, 200).replace(b'"n"', b'"m"')
    client.post("/files", body=gzip.compress(body[:50]) + gzip.compress(body[50:]), headers=headers)  # two members
    client.post("/events", body=gzip.compress(b'{"workflow_id": %d, "data": 1}' % workflow.id), headers=headers)
    assert files(workflow) == 2


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd", "gzip;q=1"])
def test_another_coding_is_415_naming_content_encoding(client, workflow, coding):
    headers = JSON | {"Content-Encoding": coding}
    for path in ("/files", "/bulk_jobs", "/events"):
        answer = client.post(path, body=file_body(workflow, 200), headers=headers, status=None)
        assert "gzip" in refused(answer, 415, "Content-Encoding")
        assert answer.headers["accept-encoding"] == "gzip"
    client.post("/files", body=file_body(workflow, 200), headers=JSON | {"Content-Encoding": "identity"})
    assert files(workflow) == 1


@pytest.mark.parametrize("path", ["/files", "/bulk_jobs"])
def test_gzip_that_is_broken_cut_off_or_followed_by_something_is_400_and_stores_nothing(client, workflow, path):
    good = gzip.compress(file_body(workflow, 5000))
    middle = len(good) // 2
    for bad in (
        good[:-1], good[:middle], good[:9], good[:1], b"", good + b"x", good + good[:20], b"no gzip",
        file_body(workflow), good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :], good[:-8] + bytes(8),
    ):  # fmt: skip
        refused(client.post(path, body=bad, headers=GZIP, status=None), 400)
    assert files(workflow) == 0


def test_a_gzip_body_may_unpack_to_the_limit_and_no_further(make_client, database):
    client = make_client(max_small_body_mb=1, max_request_body_mb=100)
    workflow = Workflow(client, database)
    client.post("/files", body=gzip.compress(file_body(workflow, MIB)), headers=GZIP)
    answer = client.post("/files", body=gzip.compress(file_body(workflow, MIB + 1)), headers=GZIP, status=None)
    assert "max_small_body_mb" in refused(answer, 413)
    bomb = gzip.compress(b'{"jobs": [' + b" " * 99 * MIB + b"]}")
    process = psutil.Process()
    before = process.cpu_times().user
    assert "100 times" in refused(client.post("/bulk_jobs", body=bomb, headers=GZIP, status=None), 413)
    assert process.cpu_times().user - before < 5
    assert files(workflow) == 1


# Free JSON


def test_free_json_of_too_many_values_is_422_naming_field_and_rule(client, workflow, monkeypatch):
    most = 20_000
    for module in (fields, bodies):
        monkeypatch.setattr(module, "MAX_VALUES", most)
    monkeypatch.setattr(bodies, "MAX_SEPARATORS", 2 * most + 1000)
    text = '"[{,' * most  # no values
    for values, status in (
        ([{}] * (most - 1), 200), (text, 200), ([0] * most, 422), ([{}] * most, 422),
        ([0] * 5 * most, 422), ([text, {"data2": [[]] * 3 * most}], 422),
    ):  # fmt: skip
        answer = client.post("/events", json={"workflow_id": workflow.id, "data": values, "other": 1}, status=status)
        if status == 422:
            assert f"more than {most} values" in refused(answer, 422, "data")
    job = {"workflow_id": workflow.id, "name": "n", "command": text, "other": [[]] * 3 * most}
    client.post("/bulk_jobs", json={"jobs": [job]}, status=422)
    client.post("/bulk_jobs", json={"jobs": [job | {"other": 1}]})
    assert client.get("/events", params={"workflow_id": workflow.id}).json["total_count"] == 2


@given(st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_what_keeps_free_json_from_being_stored_is_found_at_any_depth(value):
    def fits(value, levels):
        if type(value) is str:
            return "\0" not in value
        if type(value) is dict:
            return levels > 0 and all("\0" not in key and fits(item, levels - 1) for key, item in value.items())
        return type(value) is not list or levels > 0 and all(fits(item, levels - 1) for item in value)

    assert (json_fault(value) is None) == fits(value, MAX_LEVELS)
    for _ in range(MAX_LEVELS - 1):
        value = [value]
    assert (json_fault(value) is None) == fits(value, MAX_LEVELS)


# A bulk, piece by piece


def split(raw, sizes):
    """The bytes in pieces of these sizes, over and over."""
    start = 0
    while start < len(raw):
        for size in sizes:
            yield raw[start : start + size]
            start += size


def read_in_pieces(raw, sizes, length):
    """What JsonPieces make of {"rows": […], other keys}; checks that the texts of the batches hold their items."""
    reader = JsonPieces((piece for piece in split(raw, sizes) if piece), 1 << 20)
    found = {}
    for key in reader.members():
        if key == "rows":
            found[key] = []
            for items, text in reader.batches(length):
                assert parse_json(f"[{text}]".encode()) == items
                found[key] += items
        else:
            found[key] = reader.value()
    reader.finish()
    return found


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries({"a": values, "rows": st.lists(values), "z": values}),
    st.lists(st.integers(1, 40), min_size=1), st.integers(1, 60), st.sampled_from([None, 1]), st.booleans(),
)  # fmt: skip
def test_a_json_text_in_pieces_is_read_as_in_one(value, sizes, length, indent, ascii):
    try:
        raw = json.dumps(value, indent=indent, ensure_ascii=ascii).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raw = json.dumps(value, indent=indent).encode()
    assert read_in_pieces(raw, sizes, length) == parse_json(raw)


ODD = st.binary(max_size=30) | st.text('{}[]",:0123456789.eE-+ntrufals \\u"a', max_size=30).map(str.encode)


@given(ODD, st.integers(1, 9))
def test_what_is_no_strict_json_is_refused_in_pieces_as_in_one(rest, size):
    for raw in (rest, b'{"rows": [' + rest, b'{"rows": [' + rest + b"]}", b'{"rows": []' + rest):
        try:
            whole = parse_json(raw)
        except ApiError as error:
            with pytest.raises(ApiError) as refused:
                read_in_pieces(raw, [size], 5)
            assert refused.value.status in (400, error.status)
        else:
            if type(whole) is dict and type(whole.get("rows", [])) is list:
                assert read_in_pieces(raw, [size], 5) == whole


def bulk_of(workflow, count, **fields):
    """Jobs that are a few pieces for PostgreSQL."""
    job = {"workflow_id": workflow.id, "command": "wörk 😀 " * 100} | fields
    return [job | {"name": f"j{i}"} for i in range(count)]


def job_count(workflow):
    return workflow.sql("SELECT count(*) FROM torc.job WHERE workflow_id = %s", workflow.id)[0]


def test_a_bulk_of_many_pieces_is_answered_in_order_with_ascending_ids(client, workflow):
    first = workflow.job()
    jobs = bulk_of(workflow, 3000, depends_on_job_ids=[first])
    created = client.post("/bulk_jobs", json={"jobs": jobs}).json["jobs"]
    assert [job["name"] for job in created] == [job["name"] for job in jobs]
    ids = [job["id"] for job in created]
    assert ids == sorted(ids) and min(ids) > first
    assert all(job["command"] == jobs[0]["command"] and job["depends_on_job_ids"] == [first] for job in created)
    stored = client.get("/jobs", params={"workflow_id": workflow.id}).json["items"]
    assert [job["name"] for job in stored[1:]] == [job["name"] for job in jobs]


@pytest.mark.parametrize("wrong, field", [
    ({"priority": -1}, "jobs[2999].priority"), ({"resource_requirements_id": 2**40}, "resource_requirements_id"),
    ({"depends_on_job_ids": [2**40]}, "depends_on_job_ids"), ({"workflow_id": 2**40}, "workflow_id"),
])  # fmt: skip
def test_a_bulk_whose_last_piece_is_wrong_stores_nothing(client, workflow, wrong, field):
    jobs = bulk_of(workflow, 3000)
    jobs[-1] |= wrong
    refused(client.post("/bulk_jobs", json={"jobs": jobs}, status=None), 422, field)
    assert job_count(workflow) == 0


def test_a_job_may_depend_on_one_of_an_earlier_piece_and_not_on_one_of_a_later(client, workflow):
    before = workflow.job()
    jobs = bulk_of(workflow, 3001)
    jobs[0]["depends_on_job_ids"] = [before + 3000]
    refused(client.post("/bulk_jobs", json={"jobs": jobs}, status=None), 422, "depends_on_job_ids")
    assert job_count(workflow) == 1
    start = workflow.job() + 1
    jobs = bulk_of(workflow, 3000)
    jobs[-1]["depends_on_job_ids"] = [start]
    created = client.post("/bulk_jobs", json={"jobs": jobs}).json["jobs"]
    assert (created[0]["id"], created[-1]["depends_on_job_ids"]) == (start, [start])


def test_a_bulk_with_the_same_key_twice_or_something_behind_it_is_refused(client, workflow):
    job = json.dumps(bulk_of(workflow, 1)[0])
    for body, status in (
        (f'{{"jobs": [{job}], "jobs": [{job}]}}', 422), (f'{{"jobs": [{job}]}} x', 400), (f'{{"jobs": [{job},]}}', 400),
        (f'{{"jobs": [{job}]', 400), ("{" + ",".join(f'"{i}": 0' for i in range(2000)) + "}", 422), ("", 400),
    ):  # fmt: skip
        client.post("/bulk_jobs", body=body, headers=JSON, status=status)
    assert job_count(workflow) == 0


# Work


def growth(work, size):
    """How many times as long work(16 * size) takes as work(size), in this thread's CPU time, at best."""

    def seconds(size):
        started = time.thread_time()
        work(size)
        return time.thread_time() - started

    return min(seconds(16 * size) for _ in range(2)) / min(seconds(size) for _ in range(5))


@pytest.mark.parametrize("text", [
    lambda n: "{" + ",".join(f'"{i}":0' for i in range(n)) + f',"{n - 1}":0}}',  # a key twice, at the very end
    lambda n: "[" * n, lambda n: '{"a":' * n, lambda n: '"' + "\\" * n, lambda n: "1" * n, lambda n: "0." + "1" * n,
    lambda n: "1e" + "1" * n, lambda n: '"' + "\\u0041" * n + '"', lambda n: "\n" * n + "x", lambda n: '"' + "é" * n,
    lambda n: "[" + "0," * n, lambda n: "[" + '{"a":1},' * n + "0]",
])  # fmt: skip
def test_the_time_to_read_json_grows_as_its_length_and_no_faster(text):
    def refuse(read):
        with contextlib.suppress(ApiError):
            read()

    def whole(size):
        refuse(lambda: parse_json(text(size).encode()))

    def pieces(size):
        raw = b'{"a":' + text(size).encode()
        refuse(lambda: read_in_pieces(raw, [1 << 12], 1 << 12))

    for work in (whole, pieces):
        assert growth(work, 5000) < 80  # 16; 256 if it were quadratic
