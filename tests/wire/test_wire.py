"""The conventions of HTTP and JSON that hold for every endpoint."""

import http.client
import json
import re
import socket
import threading

import pytest
from support import PREFIX, wait_for
from workflow import Workflow

KINDS = {
    400: "BadRequest", 404: "NotFound", 405: "MethodNotAllowed", 413: "PayloadTooLarge", 415: "UnsupportedMediaType",
    422: "UnprocessableEntity",
}  # fmt: skip
JSON = {"Content-Type": "application/json"}
LISTS_OF_A_WORKFLOW = (
    "/files", "/jobs", "/user_data", "/resource_requirements", "/compute_nodes", "/results", "/events",
)  # fmt: skip


def refused(response, status, field=None):
    """The message of a refusal, which has the one JSON error shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json.keys() == {"error"}
    error = response.json["error"]
    assert error["error"] == KINDS[status]
    assert error.get("field") == field
    if field:
        assert field in error["message"]
    return error["message"]


@pytest.fixture
def post_file(workflow):
    """Send the text as the body of POST /files, its {} being the workflow's id; nothing may be stored unless 200."""

    def post(text, headers=JSON):
        response = workflow.client.post(
            "/files", body=text.replace("{}", str(workflow.id)) if isinstance(text, str) else text,
            headers=headers, status=None,
        )  # fmt: skip
        stored = workflow.client.get("/files", params={"workflow_id": workflow.id}).json["total_count"]
        assert stored == (response.status_code == 200)
        return response

    return post


FILE = '{"workflow_id": {}, "name": "n", "path": "p"}'


# Bodies


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.torc+json",
    ],
)
def test_json_content_types_are_taken(post_file, kind):
    assert post_file(FILE, {"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "text/json"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonp"},
    ],
)
def test_a_body_of_another_content_type_is_415(post_file, headers):
    assert "application/json" in refused(post_file(FILE, headers), 415)


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "{",
        "{'a': 1}",
        "nul",
        FILE + "x",
        FILE + FILE,
        FILE[:-1] + ",}",
        '{"a": 01}',
        '{"a": .5}',
        '{"a": +1}',
        '{"a": "\t"}',
        '{"a": "\\x"}',
        b"\xff\xfe{}",
        b'{"a": "\xff"}',
        "[" * 100000,
    ],
)
def test_a_body_that_is_not_json_is_400(post_file, body):
    assert "JSON" in refused(post_file(body), 400)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 5000])
def test_a_number_that_is_not_json_or_beyond_a_float_is_400(post_file, number):
    refused(post_file(FILE[:-1] + f', "st_mtime": {number}}}'), 400)


@pytest.mark.parametrize("body", ["[]", "null", "1", '"text"', "true", '[{"workflow_id": 1}]'])
def test_a_body_that_is_no_object_is_422(post_file, body):
    assert "object" in refused(post_file(body), 422)


@pytest.mark.parametrize("more", ['"name": "m"', '"more": 1, "more": 1', '"more": {"a": 1, "a": 2}'])
def test_a_key_twice_in_one_object_is_422_naming_it(post_file, more):
    key = re.findall(r'"(\w+)": \d|"(name)"', more)[-1]
    refused(post_file(FILE[:-1] + f", {more}}}"), 422, next(filter(None, key)))


@pytest.mark.parametrize(
    "value",
    [
        str(2**63),
        str(-(2**63) - 1),
        "1" * 100,
        "1.0",
        "1e0",
        '"1"',
        "true",
        "null",
        "[1]",
        '{"a": 1}',
    ],
)
def test_an_integer_field_takes_only_integers_of_64_bits(post_file, value):
    refused(post_file(f'{{"workflow_id": {value}, "name": "n", "path": "p"}}'), 422, "workflow_id")


def test_the_smallest_and_largest_integers_are_read_whole(client):
    for number in (2**63 - 1, -(2**63)):
        body = {"workflow_id": number, "name": "n", "path": "p"}
        message = refused(client.post("/files", json=body, status=None), 404)
        assert message == f"Workflow not found with ID: {number}"


@pytest.mark.parametrize("value", ['"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00x"', "1", "null", "[]", "true"])
def test_a_text_field_takes_only_text_that_can_be_stored(post_file, value):
    refused(post_file(f'{{"workflow_id": {{}}, "name": {value}, "path": "p"}}'), 422, "name")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " a ",
        "\t\n\x01",
        "ünï",
        "日本",
        "\U0001f600",
        "\ufffe",
        "'; DROP TABLE torc.file; --",
        "%s %(x)s :name {order_by}",
    ],
)
def test_any_other_text_is_stored_as_it_is(workflow, text):
    body = {"workflow_id": workflow.id, "name": text, "path": text}
    created = workflow.client.post("/files", json=body).json
    assert workflow.client.get(f"/files/{created['id']}").json == body | {"id": created["id"]}
    if text:
        params = {"workflow_id": workflow.id, "name": text}
        assert workflow.client.get("/files", params=params).json["total_count"] == 1


@pytest.mark.parametrize("value", ["1", "-1.5e10", "0.1", "1e-320", "1.7976931348623157e308", str(2**53 + 1)])
def test_a_float_field_takes_every_number_and_keeps_it_exactly(post_file, value):
    assert post_file(FILE[:-1] + f', "st_mtime": {value}}}').json["st_mtime"] == float(value)


@pytest.mark.parametrize("value", ['"1"', "true", "[]", "1" * 400])
def test_a_float_field_takes_nothing_else(post_file, value):
    refused(post_file(FILE[:-1] + f', "st_mtime": {value}}}'), 422, "st_mtime")


@pytest.mark.parametrize("value", [0, 1, "true", "", []])
def test_a_boolean_field_takes_only_true_and_false(workflow, value):
    body = {"workflow_id": workflow.id, "name": "d", "is_ephemeral": value}
    refused(workflow.client.post("/user_data", json=body, status=None), 422, "is_ephemeral")


def test_unknown_keys_are_ignored_whatever_they_hold(post_file):
    more = '"more": {"a": [null, "\\u0000", "\\ud800"]}, "\\u0000": 1, "created": "now"'
    assert post_file(FILE[:-1] + f", {more}}}").json.keys() == {"id", "workflow_id", "name", "path"}


def test_the_first_of_several_faults_is_in_the_order_of_the_contract(client):
    """Path before query, query before content type, content type before syntax, syntax before shape, then existence."""
    assert refused(client.put("/files/x", body="{", status=None), 400, "id").startswith("Invalid URL")
    refused(client.post("/user_data", params={"consumer_job_id": "x"}, body="{", status=None), 400, "consumer_job_id")
    refused(client.put("/files/999999999", body="{", status=None), 415)
    refused(client.put("/files/999999999", body="{", headers=JSON, status=None), 400)
    refused(client.put("/files/999999999", json={"workflow_id": 1}, status=None), 422, "name")
    refused(client.put("/files/999999999", json={"workflow_id": 1, "name": "n", "path": "p"}, status=None), 404)


def test_free_json_may_be_nested_128_levels_deep_and_no_deeper(workflow):
    def post(levels, open, close):
        data = open * levels + "1" + close * levels
        body = f'{{"workflow_id": {workflow.id}, "data": {data}}}'
        return workflow.client.post("/events", body=body, headers=JSON, status=None)

    for brackets in (("[", "]"), ('{"a":', "}")):
        assert post(128, *brackets).status_code == 200
        refused(post(129, *brackets), 422, "data")
        refused(post(900, *brackets), 422, "data")
        refused(post(50000, *brackets), 400)


@pytest.mark.parametrize("path", ["cancel", "initialize_jobs", "reset_job_status"])
def test_endpoints_without_a_body_never_read_one(workflow, path):
    method = "PUT" if path == "cancel" else "POST"
    for headers in ({}, {"Content-Type": "text/plain"}, JSON):
        workflow.client.request(method, f"{workflow.path}/{path}", body=b"\xff{", headers=headers)


def test_a_delete_never_reads_a_body(workflow):
    workflow.client.delete("/files", params={"workflow_id": workflow.id}, body="{", headers={"Content-Type": "x/y"})


# Paths and methods


@pytest.mark.parametrize("id", ["x", "1.0", "1x", "%20", "1_0", "9223372036854775808", "1" * 30, "0x1", "%D9%A1"])
def test_an_id_in_a_path_that_is_no_64_bit_integer_is_400(client, id):
    assert refused(client.get(f"/files/{id}", status=None), 400, "id").startswith("Invalid URL")


@pytest.mark.parametrize("id", ["-1", "0", "+1000000000", "9223372036854775807", "-9223372036854775808"])
def test_an_id_in_a_path_that_no_row_has_is_404(client, id):
    message = refused(client.get(f"/files/{id}", status=None), 404)
    assert message == f"Resource not found in file with ID: {int(id)}"


def test_a_status_in_a_path_must_be_one_of_the_words(workflow):
    job = workflow.job()
    for word in ("done", "5", "Ready"):
        message = refused(workflow.client.put(f"/jobs/{job}/manage_status_change/{word}/0", status=None), 400, "status")
        assert "pending_failed" in message


@pytest.mark.parametrize(
    "path",
    [
        "/files/",
        "//files",
        "/File",
        "/nothing",
        "/files/1/x",
        "",
        "/",
        "/workflows/",
        "/ping/",
    ],
)
def test_an_unknown_path_is_404_and_a_trailing_slash_is_one(client, path):
    refused(client.get(path, status=None), 404)


@pytest.mark.parametrize(
    "path, allowed",
    [
        ("/ping", "GET,HEAD"),
        ("/files", "DELETE,GET,HEAD,POST"),
        ("/files/1", "DELETE,GET,HEAD,PUT"),
        ("/bulk_jobs", "POST"),
        ("/workflows/1/cancel", "PUT"),
    ],
)
def test_options_patch_and_other_wrong_methods_are_405_and_allow_lists_the_right_ones(client, path, allowed):
    for method in {"OPTIONS", "PATCH", "TRACE", "GET", "POST", "PUT", "DELETE"} - set(allowed.split(",")):
        response = client.request(method, path, status=None)
        refused(response, 405)
        assert response.headers["allow"] == allowed


def test_head_works_wherever_get_does_and_has_no_body(workflow):
    for path in ("/ping", workflow.path, f"/files?workflow_id={workflow.id}"):
        got, head = workflow.client.get(path), workflow.client.request("HEAD", path)
        assert head.text == ""
        assert head.headers["content-type"] == got.headers["content-type"]
        assert head.headers["content-length"] == got.headers["content-length"]
    assert workflow.client.request("HEAD", "/workflows/999999999", status=404).text == ""


# Query strings


@pytest.mark.parametrize(
    "query",
    [
        "",
        "workflow_id=",
        "workflow_id=x",
        "workflow_id=1.0",
        "workflow_id=1e3",
        "workflow_id=%201",
    ],
)
def test_a_missing_or_unreadable_workflow_id_is_400(client, query):
    refused(client.get(f"/files?{query}", status=None), 400, "workflow_id")
    refused(client.delete(f"/files?{query}", status=None), 400, "workflow_id")


@pytest.mark.parametrize(
    "name, value",
    [
        ("offset", ""),
        ("offset", "x"),
        ("limit", "1.0"),
        ("limit", "9223372036854775808"),
        ("reverse_sort", "True"),
        ("reverse_sort", "1"),
        ("reverse_sort", ""),
        ("is_output", "yes"),
        ("produced_by_job_id", "x"),
        ("limit", "1_0"),
        ("name", "\0"),
    ],
)
def test_a_query_value_that_cannot_be_read_is_400_naming_it(workflow, name, value):
    refused(workflow.client.get("/files", params={"workflow_id": workflow.id, name: value}, status=None), 400, name)


def test_a_known_query_key_given_twice_is_400_and_an_unknown_one_is_ignored(workflow):
    twice = {"workflow_id": workflow.id, "limit": [1, 1]}
    refused(workflow.client.get("/files", params=twice, status=None), 400, "limit")
    workflow.client.get("/files", params={"workflow_id": workflow.id, "more": ["a", "b"]})


@pytest.mark.parametrize("path", [*LISTS_OF_A_WORKFLOW, "/workflows"])
def test_every_list_refuses_a_negative_offset_or_limit_and_a_limit_over_100000(workflow, path):
    for name, value in (("offset", -1), ("limit", -1), ("limit", 100001)):
        params = {"workflow_id": workflow.id, name: value}
        refused(workflow.client.get(path, params=params, status=None), 422, name)
    workflow.client.get(path, params={"workflow_id": workflow.id, "limit": 100000, "offset": 2**62})


@pytest.mark.parametrize("path", LISTS_OF_A_WORKFLOW)
def test_a_missing_workflow_is_404_for_every_list_and_bulk_delete(client, path):
    for method in ("GET", "DELETE"):
        response = client.request(method, f"{path}?workflow_id=999999999", status=None)
        assert refused(response, 404) == "Workflow not found with ID: 999999999"


@pytest.mark.parametrize(
    "path, body",
    [
        ("/files", {"name": "n", "path": "p"}),
        ("/jobs", {"name": "n", "command": "c"}),
        ("/user_data", {"name": "n"}),
        ("/resource_requirements", {"name": "n"}),
        ("/events", {"data": 1}),
        ("/compute_nodes", {"hostname": "h", "num_cpus": 1, "num_gpus": 0, "memory": "1g"}),
        ("/results", {"job_id": 1, "exit_code": 0}),
    ],
)
def test_a_missing_workflow_is_404_for_every_create(client, path, body):
    response = client.post(path, json=body | {"workflow_id": 999999999}, status=None)
    assert refused(response, 404) == "Workflow not found with ID: 999999999"


def test_a_row_for_a_workflow_that_is_just_being_deleted_is_404(workflow, database):
    other = Workflow(workflow.client, database)
    body = {"workflow_id": other.id, "name": "n", "path": "p"}
    answers = []
    post = threading.Thread(target=lambda: answers.append(workflow.client.post("/files", json=body, status=None)))
    with database.transaction():
        database.execute("DELETE FROM torc.workflow WHERE id = %s", [other.id])
        post.start()
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid = pg_current_xact_id()::xid"
        wait_for(lambda: database.execute(waits).fetchone()[0], what="the create to wait")
        assert answers == []
    post.join(10)
    assert refused(answers[0], 404) == "Workflow not found: it has just been deleted"


def test_plus_and_percent_20_are_spaces(workflow):
    workflow.file(name="a b")
    for name in ("a+b", "a%20b"):
        assert workflow.client.get(f"/files?workflow_id={workflow.id}&name={name}").json["count"] == 1


# Headers


def test_success_is_json_without_a_charset(workflow):
    for response in (workflow.client.get("/ping"), workflow.client.get("/files", params={"workflow_id": workflow.id})):
        assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path, status", [("/ping", 200), ("/nothing", 404), ("/files/x", 400), ("/files", 400)])
def test_every_answer_has_a_span_id_and_forbids_sniffing_and_framing(client, path, status):
    made = client.get(path, status=status).headers
    assert re.fullmatch(r"\d{19}", made["x-span-id"])
    assert made["x-content-type-options"] == "nosniff"
    assert made["x-frame-options"] == "DENY"
    assert client.get(path, headers={"X-Span-ID": "span 1"}, status=status).headers["x-span-id"] == "span 1"


def test_there_are_no_cors_headers(client):
    for method in ("GET", "OPTIONS"):
        response = client.request(method, "/ping", headers={"Origin": "http://x"}, status=None)
        assert not [name for name in response.headers if name.startswith("access-control")]


# Over a real connection


def test_after_every_refusal_the_same_connection_goes_on(server):
    client = server.client
    workflow = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    client.get("/ping")
    connection = client._connection().sock
    good = {"workflow_id": workflow, "name": "n", "path": "p"}
    for status, path, arguments in (
        (400, "/files", {"body": "{", "headers": JSON}),
        (400, "/files", {"body": '{"a": 1e999}', "headers": JSON}),
        (404, "/nothing", {"json": good}),
        (404, "/files", {"json": good | {"workflow_id": 999999999}}),
        (405, "/ping", {"json": good}),
        (415, "/files", {"body": json.dumps(good)}),
        (415, "/files", {"body": "x" * 300000}),
        (404, "/nothing", {"body": "x" * 300000, "headers": JSON}),
        (422, "/files", {"json": good | {"name": "\0"}}),
        (422, "/files", {"json": good | {"st_mtime": "x" * 300000}}),
        (422, "/resource_requirements", {"json": {"workflow_id": workflow, "name": "n", "memory": "x"}}),
    ):
        refused(client.post(path, status=None, **arguments), status, *field_of(status, arguments))
        assert client.post("/files", json=good).json["name"] == "n"
    assert client._connection().sock is connection
    assert client.get("/files", params={"workflow_id": workflow}).json["total_count"] == 11


def field_of(status, arguments):
    """The field that a body of the test above is refused for."""
    sent = arguments.get("json", {})
    if status != 422:
        return []
    return ["memory" if "memory" in sent else "st_mtime" if "st_mtime" in sent else "name"]


def test_a_list_too_long_for_memory_comes_whole_under_both_keys_and_its_connection_goes_on(server):
    client = server.client
    workflow = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    body = {"workflow_id": workflow, "path": "ü"}
    files = [client.post("/files", json=body | {"name": letter * 400000}).json for letter in "abcde"]
    got = client.get("/files", params={"workflow_id": workflow})
    assert got.json["items"] == got.json["files"] == files
    head = client.request("HEAD", f"/files?workflow_id={workflow}")
    assert int(head.headers["content-length"]) == int(got.headers["content-length"]) > 4000000
    assert client.get("/ping").json == {"status": "ok"}


def test_a_body_may_come_in_chunks(server):
    client = server.client
    workflow = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    good = json.dumps({"workflow_id": workflow, "name": "n", "path": "p"}).encode()
    connection = client._connection()

    def post(path, chunks):
        connection.request("POST", f"{PREFIX}{path}", iter(chunks), JSON, encode_chunked=True)
        got = connection.getresponse()
        return got.status, json.loads(got.read())

    for _ in range(2):
        assert post("/files", [good[:10], good[10:]])[1]["name"] == "n"
        assert post("/files", [b"{"])[0] == 400
        assert post("/nothing", [b"x" * 300000] * 2)[0] == 404
    assert client.get("/files", params={"workflow_id": workflow}).json["total_count"] == 2


UNREADABLE = {
    "no request": (400, b"GARBAGE\r\n\r\n"),
    "a method in lower case": (400, b"get /ping HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a header without a colon": (400, b"GET /ping HTTP/1.1\r\nHost x\r\n\r\n"),
    "a length that is no number": (400, b'GET /ping HTTP/1.1\r\nContent-Length: "\r\n\r\n'),
    "a long path": (414, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a long header": (431, b"GET /ping HTTP/1.1\r\nHost: " + b"x" * 70_000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize(("status", "sent"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_request_is_refused_in_the_one_shape_and_the_connection_ends(server, status, sent):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        for _ in range(3):  # also after good ones on the same connection
            connection.sendall(f"GET {PREFIX}/ping HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            ping = http.client.HTTPResponse(connection)
            ping.begin()
            assert json.loads(ping.read()) == {"status": "ok"}
        connection.sendall(sent)
        got = http.client.HTTPResponse(connection)
        got.begin()
        error = json.loads(got.read())["error"]
        assert (got.status, error["error"]) == (status, "BadRequest")
        assert error["message"].startswith("The request cannot be read: ")
        assert got.headers["content-type"] == "application/json"
        assert connection.recv(1) == b""


def test_each_request_that_waits_for_the_go_ahead_before_its_body_gets_it(server):
    head = f"POST {PREFIX}/workflows HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 27\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        for _ in range(3):
            connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(b'{"name": "w", "user": "me"}')
            got = http.client.HTTPResponse(connection)
            got.begin()
            assert json.loads(got.read())["name"] == "w"


BROKEN_CHUNKS = {
    "no size": b"size\r\n",
    "a negative size": b"-1\r\n{\r\n0\r\n\r\n",
    "a chunk longer than its size": b"1\r\n{}\r\n0\r\n\r\n",
    "broken after a good one": b"2\r\n{}\r\nx\r\n",
}


@pytest.mark.parametrize("chunks", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
def test_a_body_of_broken_chunks_is_400_in_the_one_shape_and_changes_nothing_whether_the_view_reads_it_or_not(
    server, chunks
):
    client = server.client
    workflow = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    job = client.post("/jobs", json={"workflow_id": workflow, "name": "j", "command": "c"}).json["id"]
    before = client.get(f"/jobs/{job}").json
    for method, path in (
        ("POST", "/files"), ("POST", f"/workflows/{workflow}/initialize_jobs"), ("DELETE", f"/jobs/{job}"),
    ):  # fmt: skip
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            head = f"{method} {PREFIX}{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
            got = http.client.HTTPResponse(connection)
            got.begin()
            error = json.loads(got.read())["error"]
            assert (got.status, error["error"]) == (400, "BadRequest")
            assert error["message"].startswith("The chunks of the body cannot be read: ")
            assert connection.recv(1) == b""  # where the next request would begin nobody knows
    assert client.get(f"/jobs/{job}").json == before


def test_a_body_over_the_limit_is_413_and_stores_nothing(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, max_request_body_mb=1)
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    largest = 1024 * 1024

    def body(size):
        start = f'{{"workflow_id": {workflow}, "path": "p", "name": "'
        return start + "x" * (size - len(start) - 2) + '"}'

    for size in (largest + 1, largest + 60000):
        refused(server.client.post("/files", body=body(size), headers=JSON, status=None), 413)
    server.client.post("/files", body=body(largest), headers=JSON)
    refused(server.client.post("/files", body=body(3 * largest), headers=JSON, status=None), 413)
    server.client.close()  # so does the server, rather than read on and on
    assert server.client.get("/files", params={"workflow_id": workflow}).json["total_count"] == 1
