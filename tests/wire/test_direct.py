"""The direct way answers byte for byte what Flask answers, and leaves to Flask what it is not meant for."""

import gzip
import json
import logging
import re

import contract
import pytest
from calls import ROUTES, prepared_call
from support import PREFIX, basic
from workflow import Workflow

from torc_server import htpasswd

VIEWS = contract.app().view_functions
DIRECT = [route for route in ROUTES if hasattr(VIEWS[route.values[0].endpoint], "direct")]
JSON = {"Content-Type": "application/json"}
BROWSER = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture
def both_ways(make_client):
    """A factory: two clients of applications with the same settings, the second without the direct way."""

    def make(**options):
        return make_client(**options), make_client(direct=False, **options)

    return make


def send(client, method, path, body=b"", headers=None):
    """Status, headers and body of an answer. Numbers in it, which are ids and times, are all alike."""
    answer = client._send(method, PREFIX + path, body, headers or {})
    if method != "HEAD":
        assert int(answer.headers.get("content-length", 0)) == len(answer.text.encode())
    headers = [(name, re.sub(r"\d+", "0", value)) for name, value in answer.headers.items()]
    return answer.status_code, headers, re.sub(r"\d+", "0", answer.text)


def variants(method, path, body):
    """(method, path, body, headers) of requests that are made from a valid one, the valid one among them."""
    gone = re.sub(r"\d+", str(2**62), path, count=1)
    yield method, gone, body, JSON
    yield method, re.sub(r"\d+", "x", path, count=1), body, JSON
    yield method, re.sub(r"\d+", "99999999999999999999", path, count=1), body, JSON
    yield method, re.sub(r"\d+", r"+\g<0>", path, count=1), b"{", JSON
    yield method, path + "/", body, JSON
    yield method, path.replace("/completed/", "/fine/"), body, JSON | {"X-Span-ID": "my span"}
    yield method, path + "?limit=x", body, JSON
    yield method, path + "?limit=1&limit=2", body, JSON
    yield "PATCH", path, body, JSON
    yield "OPTIONS", path, b"", {}
    yield method, path, body, BROWSER | JSON
    yield method, path, body, JSON | {"Host": "evil.example", "Accept-Language": "en"}
    if method == "GET":
        yield "HEAD", path, b"", {}
    if body:
        yield method, path, b"{", JSON
        yield method, path, b"[]", JSON
        yield method, path, b"{}", JSON
        yield method, path, b'{"a": NaN}', JSON
        yield method, path, b"", JSON
        yield method, path, body, {"Content-Type": "text/plain"}
        yield method, path, body, JSON | {"Content-Encoding": "br"}
        yield method, path, gzip.compress(body)[:-9], JSON | {"Content-Encoding": "gzip"}
        yield method, path, gzip.compress(body), JSON | {"Content-Encoding": "gzip"}
    yield method, path, body, JSON
    yield method, path, body, JSON | {"X-Span-ID": "my span"}


@pytest.mark.parametrize(("rule", "method"), DIRECT)
def test_each_answer_and_access_line_is_the_same_both_ways(both_ways, database, caplog, rule, method):
    found = []
    for client in both_ways(access_log="all"):
        path, arguments = prepared_call(Workflow(client, database), rule, method)
        body = json.dumps(arguments["json"]).encode() if "json" in arguments else b""
        caplog.clear()
        with caplog.at_level(logging.INFO):
            answers = [(call, send(client, *call)) for call in variants(method, path, body)]
        lines = [record.fields for record in caplog.records if record.name == "torc_server.access"]
        steady = [{key: line.get(key) for key in ("method", "status", "user", "client", "route")} for line in lines]
        assert len(steady) == len(answers)
        found.append((answers, steady))
    for (call, one), (_, other) in zip(found[0][0], found[1][0], strict=True):
        assert one == other, call
    assert found[0][1] == found[1][1]
    assert found[0][0][-2][1][0] == 200  # the valid one


@pytest.mark.parametrize(("rule", "method"), DIRECT)
def test_the_direct_way_does_without_flask(make_client, database, monkeypatch, rule, method):
    client = make_client()
    path, arguments = prepared_call(Workflow(client, database), rule, method)

    def fail(*arguments):
        raise AssertionError("this is Flask")

    monkeypatch.setattr(client.app, "request_context", fail)
    client.request(method, path, **arguments)


def test_without_the_setting_flask_answers(make_client, monkeypatch):
    client = make_client(direct=False)
    workflow = client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    asked = []
    original = client.app.request_context
    monkeypatch.setattr(client.app, "request_context", lambda environ: asked.append(1) or original(environ))
    client.get(f"/workflows/{workflow}")
    assert asked


def test_runners_calls_and_reads_of_one_row_are_direct():
    direct = {route.values[0].endpoint.partition(".")[2] for route in DIRECT}
    assert direct >= {
        "claim_next_jobs", "claim_jobs_based_on_resources", "start_job", "complete_job", "batch_complete_jobs",
        "is_workflow_complete", "get_workflow", "get_job", "get_file", "get_user_data", "get_result",
    }  # fmt: skip


def test_credentials_are_asked_for_both_ways(both_ways, database, tmp_path):
    database.execute("TRUNCATE torc.login_attempt")
    file = tmp_path / "htpasswd"
    file.write_text(f"alice:{htpasswd.hash_password('secret', cost=4)}\n")
    right = {"Authorization": basic("alice", "secret")}
    found = []
    for client in both_ways(auth_file=file, require_auth=True, enforce_access_control=True):
        given = [{}, right, {"Authorization": basic("alice", "wrong")}, {"Authorization": "Basic ?"}]
        made = client.post("/workflows", json={"name": "w", "user": "x"}, headers=right).json["id"]
        found.append([send(client, "GET", f"/workflows/{made}", headers=headers) for headers in given])
    assert found[0] == found[1]
    assert [status for status, *_ in found[0]] == [401, 200, 401, 401]


def test_answers_tell_caches_of_allowed_origins_both_ways(both_ways):
    found = []
    for client in both_ways(allowed_origins=("https://page.example",)):
        made = client.post("/workflows", json={"name": "w", "user": "x"}).json["id"]
        headers = ({}, {"Origin": "https://page.example"})
        paths = (f"/workflows/{made}", "/workflows/4611686018427387904")
        found.append([send(client, "GET", path, headers=given) for given in headers for path in paths])
    assert found[0] == found[1]
    assert [dict(headers)["vary"] for _, headers, _ in found[0]] == ["Origin"] * 4


def test_our_own_faults_are_500_both_ways(both_ways, monkeypatch):
    found = []
    for client in both_ways():
        made = client.post("/workflows", json={"name": "w", "user": "x"}).json["id"]
        monkeypatch.setattr(client.app.extensions["database"], "run", lambda *arguments: 1 / 0)
        found.append(send(client, "GET", f"/workflows/{made}"))
    assert found[0] == found[1]
    assert found[0][0] == 500


def test_requests_are_counted_by_the_same_route_both_ways(both_ways):
    counted = []
    for client in both_ways():
        made = client.post("/workflows", json={"name": "w", "user": "x"}).json["id"]
        observed = []
        client.app.extensions["metrics"].observe = lambda *labels, to=observed: to.append(labels[:3])
        client.get(f"/workflows/{made}/is_complete")
        client.post(f"/workflows/{made}/claim_next_jobs?limit=-1", status=422)
        counted.append(observed)
    assert counted[0] == counted[1]
    assert len(counted[0]) == 2
