"""GET /metrics: what the processes of a server count, who may read it, and the dashboard and alerts beside it."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support import Server, wait_for

from torc_server import database_metrics, htpasswd, runtime
from torc_server.errors import ApiError
from torc_server.metrics import Metrics

ROOT = Path(__file__).parents[2]
PATH = "/torc-service/v1/workflows/<int64:id>"


def families(client, **arguments):
    text = client.get("/metrics", prefix="", **arguments).text
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(client, name, family=None, **labels):
    """The sum of the samples of that name with these labels."""
    samples = [s for f in families(client).values() for s in f.samples if s.name == name]
    return sum(s.value for s in samples if labels.items() <= s.labels.items())


@pytest.fixture(scope="module")
def server(module_folder, module_database_url):
    """A server for the tests of this file that leave it running; they count from what they find."""
    server = Server(module_folder / "metrics", database_url=module_database_url, workers=2)
    try:
        yield server.wait_until_it_listens()
    finally:
        server.stop()


def folder_of(server):
    return next(Path(runtime._parent()).glob(f"torc-server-{server.process.pid}-*"))


def requests(client, **labels):
    return value(client, "torc_http_request_duration_seconds_count", **labels)


def test_answers_of_all_processes_are_counted_by_route_method_and_status(server):
    for _ in range(20):
        server.client.close()  # another connection, perhaps another process
        server.client.get("/workflows/7", status=404)
    server.client.get("/nothing", status=404)
    wait_for(lambda: requests(server.client, route=PATH, method="GET", status="404") >= 20)  # added up each second
    wait_for(lambda: requests(server.client, route="none", status="404") >= 1)
    assert requests(server.client, route=PATH, method="GET", status="404") == 20
    assert requests(server.client, route="none", status="404") == 1


def test_counters_do_not_fall_when_workers_are_killed_or_replaced_and_the_folder_does_not_grow(
    start_server, fresh_database_url
):
    server = start_server(database_url=fresh_database_url)

    def count():
        return requests(server.client, route="/torc-service/v1/ping", status="200")

    for round in range(1, 4):
        for _ in range(10):
            server.client.close()
            server.client.get("/ping")
        wait_for(lambda round=round: count() >= 10 * round)
        assert count() == 10 * round
        if round == 3:
            break
        old = server.workers()
        if round == 1:
            for pid in old:
                os.kill(pid, signal.SIGKILL)
        else:
            server.process.send_signal(signal.SIGHUP)
        server.client.close()
        server.wait_for_workers(2, without=old)
    wait_for(lambda: value(server.client, "torc_workers") == 2)
    folder = folder_of(server)
    assert {file.name for file in folder.glob("histogram_*.db")} <= {f"histogram_{slot}.db" for slot in range(5)}
    server.stop()
    assert not folder.exists()


def test_the_folder_of_a_killed_server_is_removed_by_the_next_one(start_server, fresh_database_url):
    first = start_server(database_url=fresh_database_url)
    folder, workers = folder_of(first), first.workers()
    first.process.kill()
    first.process.wait()
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in workers), 40)
    second = start_server(database_url=fresh_database_url, workers=1)
    assert not folder.exists()
    assert folder_of(second).exists()


def test_claims_are_counted_and_how_many_jobs_they_got(server):
    counted = claims(server.client)
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    names = ['"supports_termination":', "b", '{"supports_termination" : true}']
    jobs = [{"workflow_id": workflow, "name": name, "command": f"echo {name}"} for name in names]
    server.client.post("/bulk_jobs", json={"jobs": jobs})
    server.client.post(f"/workflows/{workflow}/initialize_jobs")
    server.client.post(f"/workflows/{workflow}/claim_next_jobs", params={"limit": 2})
    resources = {"num_cpus": 9, "memory_gb": 9, "num_gpus": 0, "num_nodes": 1}
    for _ in range(2):
        server.client.post(f"/workflows/{workflow}/claim_jobs_based_on_resources/5", json=resources)
    counted = [now - before for now, before in zip(claims(server.client), counted, strict=True)]
    assert counted == [2, 1, 3]


def claims(client):
    """How many claims got jobs, how many got none, and how many jobs they got."""
    by_result = [value(client, "torc_claims_total", result=result) for result in ("jobs", "empty")]
    return [*by_result, value(client, "torc_jobs_claimed_total")]


def test_the_gauges_tell_connections_streams_and_threads(server):
    wait_for(lambda: value(server.client, "torc_workers") == 2)
    assert value(server.client, "torc_threads") == 2 * (4 + 2 + 2)
    assert wait_for(lambda: value(server.client, "torc_connections") >= 1)
    for name in ("torc_streams", "torc_requests_queued", "torc_requests_parked"):
        assert value(server.client, name) == 0


def test_jobs_by_status_leave_out_archived_workflows(fresh_database_url, start_server):
    server = start_server(database_url=fresh_database_url, workers=1)
    ids = [server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"] for _ in range(2)]
    for workflow in ids:
        jobs = [{"workflow_id": workflow, "name": str(n), "command": "c"} for n in range(3)]
        server.client.post("/bulk_jobs", json={"jobs": jobs})
        server.client.post(f"/workflows/{workflow}/initialize_jobs")
    status = {"run_id": 0, "is_canceled": False, "is_archived": True}
    server.client.put(f"/workflows/{ids[0]}/status", json=status)
    assert value(server.client, "torc_jobs", status="ready") == 3
    assert value(server.client, "torc_jobs") == 3
    assert value(server.client, "torc_database_up") == 1
    assert value(server.client, "torc_database_size_bytes") > 1e6
    assert value(server.client, "torc_build_info") == 1


def test_a_scrape_counts_at_most_a_limit_of_jobs_by_the_index(database, workflow):
    jobs = [{"workflow_id": workflow.id, "name": str(n), "command": "c"} for n in range(30)]
    workflow.client.post("/bulk_jobs", json={"jobs": jobs})
    counted = database.execute("SELECT torc.count_jobs(%s, 20)", [[workflow.id]]).fetchone()[0]
    assert counted["uninitialized"] == 20
    body = database.execute("SELECT prosrc FROM pg_proc WHERE proname = 'count_jobs'").fetchone()[0]
    statement = body.replace("p_workflow_ids", f"ARRAY[{workflow.id}]::bigint[]").replace("p_limit", "20")
    with database.transaction():
        database.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(row[0] for row in database.execute(f"EXPLAIN {statement}").fetchall())
    assert "job_workflow_id_status_idx" in plan
    assert "Seq Scan on job" not in plan


def test_what_the_database_says_is_asked_once_in_a_while(app, monkeypatch):
    asked = []
    metrics = database_metrics.DatabaseMetrics(app.extensions["database"])
    ask = metrics._ask
    monkeypatch.setattr(metrics, "_ask", lambda: asked.append(1) or ask())
    for _ in range(3):
        list(metrics.collect())
    assert len(asked) == 1
    monkeypatch.setattr(database_metrics.time, "time", lambda now=time.time: now() + 86400)
    list(metrics.collect())
    assert len(asked) == 2


def test_the_oldest_ready_job_and_the_most_silent_node_age(fresh_database_url):
    with psycopg.connect(fresh_database_url, autocommit=True) as database:
        at_first = said_by(database)
        assert (at_first["torc_oldest_ready_job_seconds"], at_first["torc_compute_nodes_active"]) == (0, 0)
        database.execute("INSERT INTO torc.workflow (name, \"user\") VALUES ('w', 'u')")
        database.execute("INSERT INTO torc.workflow_status (workflow_id) SELECT id FROM torc.workflow")
        database.execute("""
            INSERT INTO torc.resource_requirements (workflow_id, name, memory_bytes, runtime_s)
            SELECT id, 'r', 1, 1 FROM torc.workflow
        """)
        database.execute("""
            INSERT INTO torc.job (workflow_id, name, command, status, ready_at, resource_requirements_id)
            SELECT workflow_id, 'j', 'c', 'ready', now() - interval '100 s', id FROM torc.resource_requirements
        """)
        database.execute("""
            INSERT INTO torc.compute_node (
                workflow_id, hostname, pid, start_time, num_cpus, memory_gb, num_gpus, num_nodes, compute_node_type,
                is_active, last_seen
            )
            SELECT id, 'h', 1, 't', 1, 1, 0, 1, 'local', active, now() - silence
            FROM torc.workflow, (VALUES (true, interval '50 s'), (false, '1 h')) AS node (active, silence)
        """)
        found = said_by(database)
    assert 100 <= found["torc_oldest_ready_job_seconds"] < 160
    assert found["torc_compute_nodes_active"] == 1
    assert 50 <= found["torc_compute_node_silence_seconds"] < 110


def said_by(database):
    """{name: value} of the metrics that have one value."""
    said = database.execute("SELECT torc.server_metrics()").fetchone()[0]
    found = [family for family in database_metrics._of_jobs(said) if len(family.samples) == 1]
    return {family.name: family.samples[0].value for family in found}


def test_the_time_from_release_to_claim_is_a_histogram(start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url)
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    first, second, third = (
        server.client.post("/jobs", json={"workflow_id": workflow, "name": "j", "command": "x\n1,2"}).json["id"]
        for _ in range(3)
    )
    server.client.post(f"/workflows/{workflow}/initialize_jobs")
    with psycopg.connect(fresh_database_url, autocommit=True) as database:
        database.execute("UPDATE torc.job SET ready_at = now() - interval '100 s' WHERE id = %s", [first])
        database.execute("UPDATE torc.job SET ready_at = NULL WHERE id = %s", [third])
    answer = server.client.post(f"/workflows/{workflow}/claim_next_jobs", params={"limit": 1})
    assert answer.json["jobs"][0]["command"] == "x\n1,2"
    resources = {"num_cpus": 9, "memory_gb": 9, "num_gpus": 0, "num_nodes": 1}
    answer = server.client.post(f"/workflows/{workflow}/claim_jobs_based_on_resources/5", json=resources)
    assert [job["id"] for job in answer.json["jobs"]] == [second, third]
    assert answer.json.keys() == {"jobs"}
    assert value(server.client, "torc_job_ready_seconds_count") == 2, "of the third it is not known"
    assert 100 <= value(server.client, "torc_job_ready_seconds_sum") < 160
    assert value(server.client, "torc_job_ready_seconds_bucket", le="60.0") == 1


def test_a_database_that_is_away_is_a_metric_and_not_an_error():
    class Away:
        def run(self, work):
            raise ApiError(503, "The connection to the database was lost; try again")

    found = {family.name: family for family in database_metrics.DatabaseMetrics(Away()).collect()}
    assert found["torc_database_up"].samples[0].value == 0
    assert found.keys() == {"torc_database_up", "torc_build_info"}


@pytest.mark.parametrize("headers", [
    {"X-Forwarded-For": "203.0.113.7"}, {"X-Real-IP": "203.0.113.7"}, {"Forwarded": "for=203.0.113.7"},
    {"Via": "1.1 x"},
])  # fmt: skip
def test_what_comes_through_a_proxy_is_not_local(make_client, headers):
    client = make_client()
    assert client.get("/metrics", prefix="", headers=headers, status=403).json["error"]["error"] == "Forbidden"


def test_the_setting_says_who_may_read(make_client, tmp_path):
    password_file = tmp_path / "users"
    password_file.write_text(f"alice:{htpasswd.hash_password('long enough', cost=4)}\n")
    forwarded = {"X-Forwarded-For": "203.0.113.7"}
    make_client(metrics="off").get("/metrics", prefix="", status=404)
    make_client(metrics="all").get("/metrics", prefix="", headers=forwarded)
    closed = {"auth_file": password_file, "require_auth": True}
    make_client(**closed).get("/metrics", prefix="")
    make_client(metrics="all", **closed).get("/metrics", prefix="", status=401)


# What is in deploy/


def names_in(text):
    return set(re.findall(r"\btorc_[a-z_]+\b", text)) - {"torc_server"}


@pytest.fixture(scope="module")
def known(server):
    """The names of all samples, label values of which exist or not."""
    server.client.get("/ping")
    found = set()
    for family in families(server.client).values():
        found |= {family.name, family.name + "_total" if family.type == "counter" else family.name}
        if family.type == "histogram":
            found |= {family.name + end for end in ("_bucket", "_sum", "_count")}
    return found


def test_every_metric_of_the_dashboard_exists(known):
    dashboard = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert len(panels) > 10
    for panel in panels:
        assert panel["title"] and panel["gridPos"]["w"] <= 24 and panel["targets"]
        for target in panel["targets"]:
            assert names_in(target["expr"]) <= known, panel["title"]
            assert names_in(target["expr"])


def test_every_metric_of_the_alerts_exists_and_each_says_what_to_do(known):
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 8
    for rule in rules:
        assert names_in(rule["expr"]) <= known | {"torc_"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description"} <= rule["annotations"].keys()


@pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool")
def test_promtool_takes_the_alerts():
    subprocess.run(["promtool", "check", "rules", ROOT / "deploy/prometheus/alerts.yml"], check=True)


def test_the_documentation_has_every_metric(known):
    told = names_in((ROOT / "docs/monitoring.md").read_text())
    bare = {name for name in known if not name.endswith(("_bucket", "_sum", "_count"))}
    assert {n for n in bare if n + "_total" not in bare} <= told
    assert told <= known | {"torc_server"}


def test_counting_an_answer_costs_microseconds():
    metrics, count = Metrics(), 5000
    best = min(time_of(lambda: metrics.observe(PATH, "GET", 200, 0.01), count) for _ in range(5))
    assert best / count < 50e-6


def time_of(call, count):
    since = time.process_time()
    for _ in range(count):
        call()
    return time.process_time() - since
