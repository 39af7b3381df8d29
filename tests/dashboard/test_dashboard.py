"""The pages of the dashboard without a browser: what they say, who sees them, what their forms do, what they cost."""

import csv
import html
import io
import itertools
import json
import math
import random
import re
from datetime import UTC, datetime
from urllib.parse import urlencode, urljoin
from xml.etree import ElementTree

import psycopg
import pytest
import webtest
from calls import URLS
from showcase import Showcase

from torc_server.connections import Connection
from torc_server.dashboard import layout
from torc_server.dashboard.frame import CONTENT_SECURITY_POLICY
from torc_server.dashboard.server import quantile

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": "en", "Sec-Fetch-Site": "none"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ROUTES = [rule for rule in URLS.iter_rules() if rule.endpoint.startswith("dashboard.")]
# Endpoints that say nothing of a workflow.
OPEN = {
    f"dashboard.{name}"
    for name in (
        "static", "get_login", "get_nothing", "get_start", "list_nodes", "get_server", "get_new", "create",
        "get_doctor",
    )
}  # fmt: skip
STATEMENTS = {  # a second one: the timeout of what may take long, or the transaction
    "get_start": 1, "get_workflow": 1, "get_use": 1, "list_jobs": 1, "get_job": 1, "download_jobs": 2, "get_graph": 1,
    "download_svg": 1, "download_dot": 1, "get_progress": 1, "get_timeline": 1, "follow_workflow": 1, "list_nodes": 1,
    "get_server": 1, "preview_act": 2, "preview_act_on_job": 2, "preview_act_on_node": 2, "act": 2, "act_on_job": 2,
    "act_on_node": 2, "create": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def showcase(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield Showcase(connection, user="u")


def many(workflow, count, **fields):
    """Create so many jobs; return their ids."""
    jobs = [{"workflow_id": workflow.id, "name": f"j{i}", "command": "c"} | fields for i in range(count)]
    return [job["id"] for job in workflow.client.post("/bulk_jobs", json={"jobs": jobs}).json["jobs"]]


def get(client, path, status=200, **arguments):
    """The text of a page, without tags and entities."""
    return text_of(client.get(path, prefix="", headers=BROWSER, status=status, **arguments).text)


def text_of(page):
    body = re.sub(r"<(script|style|title).*?</\1>", "", page, flags=re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", body)))


def post(client, path, status=303, headers=None, **values):
    body = urlencode(values, doseq=True)
    return client.post(path, prefix="", body=body, headers=FORM | (headers or {}), status=status)


# The start page


def test_the_start_page_is_the_dashboard_for_browsers_and_says_what_is_here_to_other_clients(client):
    page = client.get("/", prefix="", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>Workflows</h1>" in page.text
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        said = client.get("/", prefix="", headers=headers)
        assert said.headers["content-type"] == "text/plain; charset=utf-8"
        assert "/torc-service/v1/ping" in said.text
        assert said.headers["vary"] == "Accept"


def test_no_page_may_run_or_load_what_is_not_of_this_server(client, workflow):
    for path in ("/", f"/ui{workflow.path}", "/ui/nothing", "/ui/static/dashboard.js", "/ui/workflows/999999999"):
        got = client.get(path, prefix="", headers=BROWSER, status=None)
        assert got.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert got.headers["referrer-policy"] == got.headers["cross-origin-resource-policy"] == "same-origin"
        tags = "".join(re.findall(r"<[a-z][^<>]*>", got.text))
        assert not re.search(r"<script(?! src=)|\son\w+=|\sstyle=|javascript:|https?://", tags)
    assert "unsafe" not in CONTENT_SECURITY_POLICY


def test_all_addresses_in_pages_are_relative_and_lead_to_pages_of_this_server(app, workflow):
    job = workflow.job_in("failed")
    below = webtest.TestApp(app, extra_environ={"SCRIPT_NAME": "/some/where"})
    paths = {
        "/", f"/ui{workflow.path}", f"/ui{workflow.path}/jobs", f"/ui{workflow.path}/graph", f"/ui/jobs/{job}",
        "/ui/nodes", "/ui/server", "/ui/new",
    }  # fmt: skip
    targets = set()
    for path in paths:
        page = below.get(f"/some/where{path}", headers=BROWSER).text
        found = re.findall(r'(?:href|src|action|data-stream|data-include)="([^"]*)"', page)
        assert len(found) > 5
        assert not [address for address in found if address.startswith(("/", "http"))]
        targets |= {urljoin(f"http://localhost/some/where{path}", html.unescape(address)) for address in found}
    for target in targets:
        assert target.startswith("http://localhost/some/where/")
        if not target.endswith("/live"):
            status = below.get(target.removeprefix("http://localhost"), headers=BROWSER, status="*").status_int
            allowed = {404} if target.endswith("/login") else {422} if target.endswith("/act") else {200}
            assert status in allowed, target


# Lists


def test_the_list_finds_workflows_by_name_user_project_and_id(client):
    made = [
        client.post("/workflows", json={"name": f"Zebra {i}", "user": "zoo", "project": f"stripes{i}"}).json["id"]
        for i in range(3)
    ]
    for search, found in (("zebra", made), ("ZOO", made), ("stripes1", [made[1]]), (f"#{made[2]}", [made[2]])):
        page = client.get("/", prefix="", headers=BROWSER, params={"search": search}).text
        assert {int(id) for id in re.findall(r'<tr id="w(\d+)"', page)} == set(found)
    assert "No workflow fits" in get(client, "/", params={"search": "unicorn"})


def test_the_list_hides_the_archive_and_tells_states_apart(client, workflow):
    def listed(**params):
        page = client.get("/", prefix="", headers=BROWSER, params={"search": f"#{workflow.id}", **params}).text
        return f'<tr id="w{workflow.id}"' in page

    assert listed(state="new")
    job = workflow.job_in("ready")
    assert listed(state="active")
    assert not listed(state="new")
    workflow.complete(job, "failed")
    assert listed(state="failed")
    client.post(f"{workflow.path}/archive", json={"is_archived": True})
    assert not listed()
    assert listed(archived=True)


def test_the_table_of_jobs_filters_sorts_and_pages(client, workflow):
    jobs = [workflow.job(name=f"part {i:03}", priority=i) for i in range(120)]
    workflow.complete(jobs[7], "failed", return_code=9)

    def ids(**params):
        page = client.get(f"/ui{workflow.path}/jobs", prefix="", headers=BROWSER, params=params).text
        return [int(id) for id in re.findall(r'<tr><td class="soft">(\d+)</td>', page)]

    assert ids() == jobs[:100]
    assert ids(offset=100) == jobs[100:]
    assert ids(sort="priority", descending=True) == jobs[:19:-1]
    assert ids(sort="name", descending=True, offset=100) == jobs[19::-1]
    assert ids(status="failed") == ids(return_code=9) == ids(node=workflow.default_node) == [jobs[7]]
    assert ids(name="PART 11") == jobs[110:]
    assert ids(name="part 1", status="") == jobs[100:]
    assert ids(attempt=2) == ids(label="gpu") == []
    assert "Jobs" in get(client, f"/ui{workflow.path}/jobs", params={"column": ["cpu", "no such column"]})
    for params, status in (({"status": "odd"}, 400), ({"offset": "-1"}, 422), ({"sort": "x; DROP"}, 400)):
        client.get(f"/ui{workflow.path}/jobs", prefix="", headers=BROWSER, params=params, status=status)


def test_the_jobs_come_as_csv_that_no_spreadsheet_runs(client, workflow):
    names = ['quoted "twice", and more', "=SUM(A1)", "two\nlines", "plain"]
    jobs = [workflow.job(name=name, command=f"-{name}") for name in names]
    workflow.complete(jobs[3], "failed", return_code=-9)
    got = client.get(f"/ui{workflow.path}/jobs.csv", prefix="")
    assert got.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in got.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(got.text, newline="")))
    assert [row["name"] for row in rows] == [names[0], "'=SUM(A1)", names[2], "plain"]
    assert [row["command"] for row in rows] == [f"'-{name}" for name in names]
    assert [row["return_code"] for row in rows] == ["", "", "", "-9"]
    assert len(client.get(f"/ui{workflow.path}/jobs.csv?status=failed", prefix="").text.splitlines()) == 2


# One workflow, one job


def test_a_workflow_shows_its_failures_by_return_code_and_what_runs_where(client, workflow):
    small = workflow.requirements(memory="1g")
    jobs = [workflow.job(name=f"job {i}", resource_requirements_id=small) for i in range(5)]
    for i in range(3):
        text = f"at step {i}\nKilled {i}\n"
        workflow.complete(jobs[i], "failed", return_code=137, stderr=text, peak_memory_bytes=2 << 30)
    workflow.complete(jobs[3], "failed", return_code=2)
    workflow.manage(jobs[4], "pending")
    workflow.start(jobs[4], workflow.default_node)
    page = get(client, f"/ui{workflow.path}")
    assert "4 failed" in page
    assert "job 0, job 1, job 2 ended with return code 137 on h: 2.0 GiB of 1.0 GiB used" in page
    assert "asked for too little memory" in page
    assert "job 3 ended with return code 2" in page
    assert "Killed 0" in page
    assert "h 1 running on 4 CPUs ▶job 4" in page
    assert "Retry 4 failed" in page


def test_a_workflow_names_its_files_and_user_data(client, workflow):
    for i in range(22):
        workflow.file(name=f"file {i}", path=f"/scratch/{i}")
    client.post("/user_data", json={"workflow_id": workflow.id, "name": "summary"})
    page = get(client, f"/ui{workflow.path}")
    assert "file 0 /scratch/0" in page
    assert "file 19 /scratch/19… 2 more" in page
    assert "summary (no data yet)" in page


def test_a_job_says_what_it_waits_for(client, workflow):
    first, second = workflow.job(name="first"), workflow.job(name="second")
    last = workflow.job(first, second, name="last")
    workflow.initialize()
    workflow.complete(first)
    page = get(client, f"/ui/jobs/{last}")
    assert "Waits for 1 job: ●second ready" in page
    assert "Depends on 2" in page


def test_a_canceled_job_names_the_chain_to_the_cause(client, workflow):
    chain = [workflow.job(name="root cause")]
    for name in ("between", "victim"):
        chain.append(workflow.job(chain[-1], name=name))
    workflow.initialize()
    workflow.complete(chain[0], "failed", return_code=42)
    page = get(client, f"/ui/jobs/{chain[2]}")
    assert "⊘between canceled, because of✕root cause failed with return code 42" in page


def test_a_job_shows_its_attempts_with_output_and_use(client, workflow):
    job = workflow.job_in("ready", name="j")
    workflow.complete(job, "failed", return_code=3, stderr="first try", peak_memory_bytes=5 << 20)
    workflow.retry(job)
    workflow.complete(job, "completed", stdout="x" * 30_000, attempt_id=2)
    page = get(client, f"/ui/jobs/{job}")
    assert "failed return code 3 run 0, attempt 1" in page
    assert "completed return code 0 run 0, attempt 2" in page
    assert "first try" in page
    assert "stdout, the last 20,000 of 30,000 characters" in page
    assert "memory 5.0 MiB of 1.0 MiB" in page
    assert "retried: attempt 1 -> 2" in page


def test_use_of_resources_is_put_beside_the_request(client, workflow):
    small = workflow.requirements(memory="1g", runtime="PT1M")
    job = workflow.job(resource_requirements_id=small)
    workflow.complete(job, peak_memory_bytes=2 << 30, exec_time_minutes=10)
    page = get(client, f"/ui{workflow.path}/use")
    assert "1.0 GiB2.0 GiB too little" in page
    assert '"memory": "2561m","runtime": "PT16M"' in page


def test_what_users_write_is_shown_as_text(client, showcase):
    workflow, jobs = showcase.hostile()
    paths = [
        f"/?search=%23{workflow}", f"/ui/workflows/{workflow}", f"/ui/workflows/{workflow}/jobs?column=command",
        f"/ui/workflows/{workflow}/use", f"/ui/workflows/act?action=reset&id={workflow}",
        *(f"/ui/jobs/{job}" for job in jobs), f"/ui/jobs/{jobs[0]}/act?action=retry",
        f"/ui/workflows/{workflow}/jobs?name=<script>alert(1)</script>&label=\"><script>",
    ]  # fmt: skip
    for path in paths:
        page = client.get(path, prefix="", headers=BROWSER).text
        assert not re.search(r"<script(?! src=\"[./]+ui/static/dashboard.js\")|<img|onerror=[^&]", page), path


# The graph and the charts


def nodes_of(page):
    return re.findall(r'data-label="([^"]*)"', page)


def test_the_graph_has_a_node_for_each_job_with_edges_by_kind(client, workflow):
    file = workflow.file()
    writer = workflow.job(name="writer", output_file_ids=[file])
    workflow.job(name="reader", input_file_ids=[file])
    workflow.job(writer, name="after")
    page = client.get(f"/ui{workflow.path}/graph", prefix="").text
    assert nodes_of(page) == ["writer", "reader", "after"]
    edges = re.findall(r'class="e-(\w+)" data-source="(\d)" data-target="(\d)"', page)
    assert edges == [("file", "0", "1"), ("explicit", "0", "2")]
    workflow.initialize()
    page = client.get(f"/ui{workflow.path}/graph", prefix="").text
    assert re.findall(r'class="e-(\w+)" data-source="(\d)" data-target="(\d)"', page) == edges
    assert "writer → reader" in text_of(page)


def test_many_jobs_are_folded_by_name_and_unfold(client, showcase):
    path = f"/ui/workflows/{showcase.study()}/graph"
    groups = ["split", "simulate_*", "reduce_*", "merge", "plots_*", "report"]
    assert nodes_of(client.get(path, prefix="").text) == groups
    assert len(nodes_of(client.get(path, prefix="", params={"fold": "no"}).text)) == 117
    opened = nodes_of(client.get(path, prefix="", params={"open": "plots_*"}).text)
    assert opened == [*groups[:4], *(f"plots_{i}" for i in range(6)), "report"]


def test_what_unfolds_into_too_many_jobs_unfolds_by_status(client, showcase):
    path = f"/ui/workflows/{showcase.large(1500, 'for the graph')}/graph"
    assert nodes_of(client.get(path, prefix="").text) == ["prepare", "simulate_*", "reduce_*", "report"]
    opened = nodes_of(client.get(path, prefix="", params={"open": ["simulate_*", "simulate_* failed"]}).text)
    assert {"simulate_* completed", "simulate_* ready", "simulate_000003"} <= set(opened)
    page = client.get(path, prefix="", params={"open": "simulate_*"}).text
    assert "jobs?name=simulate_&amp;status=completed" in page


def test_the_graph_folds_by_level_where_names_do_not_tell_what_belongs_together(client, showcase):
    workflow = showcase.study()
    path = f"/ui/workflows/{workflow}/graph"
    page = client.get(path, prefix="", params={"fold": "level"}).text
    assert nodes_of(page) == ["split", "level 2", "level 3", "level 4", "report"]
    assert re.findall(r'data-source="(\d)" data-target="(\d)"', page) == [
        ("0", "1"),
        ("1", "2"),
        ("2", "3"),
        ("3", "4"),
    ]
    opened = nodes_of(client.get(path, prefix="", params={"fold": "level", "open": "level 3"}).text)
    assert opened[2:14] == [f"reduce_{i:02}" for i in range(12)]
    large = showcase.large(1500, "by level")
    opened = client.get(f"/ui/workflows/{large}/graph", prefix="", params={"fold": "level", "open": "level 2"}).text
    assert {"level 2 completed", "level 2 ready"} <= set(nodes_of(opened))
    assert f"workflows/{large}/jobs?status=completed" in opened
    assert "e-file" in client.get(f"/ui/workflows/{showcase.mixed()}/graph", prefix="", params={"fold": "level"}).text


def test_levels_of_a_deep_graph_are_put_together_and_circles_are_a_node(client, workflow):
    deep, circle = many(workflow, 1000), many(workflow, 3)
    edges = [*itertools.pairwise(deep), *itertools.pairwise(circle), (circle[1], circle[0])]
    workflow.sql(
        "INSERT INTO torc.job_depends_on (depends_on_job_id, job_id) "
        "SELECT * FROM unnest(%s::bigint[], %s::bigint[]) RETURNING 1",
        *(list(ends) for ends in zip(*edges, strict=True)),
    )
    graph = workflow.sql("SELECT torc.dashboard_graph(%s, '{}', 60, true, 300, NULL)", workflow.id)[0]
    assert [node["label"] for node in graph["nodes"]][:2] == ["levels 1 to 4", "levels 5 to 8"]
    assert (graph["nodes"][-1]["label"], graph["nodes"][-1]["jobs"]) == ("in circles", 3)
    assert len(graph["nodes"]) == 251
    assert sum(edge["jobs"] for edge in graph["edges"]) == len(edges)
    assert (graph["ahead"]["chain_jobs"], graph["ahead"]["chain_s"]) == (997, 997 * 60)  # 1,000 jobs with the circle
    workflow.sql("DELETE FROM torc.job_depends_on WHERE job_id = ANY (%s) RETURNING 1", deep + circle)


@pytest.mark.parametrize("order", ["as created", "mixed", "with circles"])
def test_the_longest_chains_are_those_of_a_second_reckoning(workflow, order):
    chance = random.Random(order)
    for count in (1, 2, 40, 300):
        lengths = [chance.choice([0, 1, 1, 5]) for _ in range(count)]
        numbers = list(range(1, count + 1))
        if order != "as created":
            chance.shuffle(numbers)
        pairs = {tuple(sorted(chance.sample(range(count), 2))) for _ in range(2 * count)} if count > 1 else set()
        edges = {(numbers[first], numbers[second]) for first, second in pairs}
        if order == "with circles" and count > 1:
            edges |= {(second, first) for first, second in chance.sample(sorted(edges), 1 + len(edges) // 50)}
        edges = sorted(edges, key=lambda edge: edge[1])
        found = workflow.sql(
            "SELECT * FROM torc.longest_chains(%s::double precision[], %s::integer[], %s::integer[])",
            lengths, [first for first, _ in edges], [second for _, second in edges],
        )[0]  # fmt: skip
        levels = layout.levels(count, [(first - 1, second - 1) for first, second in edges])
        longest = {None: 0}
        for number in sorted(range(1, count + 1), key=lambda number: levels[number - 1] or 0):
            before = [longest[first] for first, second in edges if second == number and first in longest]
            longest[number] = lengths[number - 1] + max(before, default=0)
        expected = [None if level is None else longest[number] for number, level in enumerate(levels, 1)]
        assert found[0] == expected
        for number, before in enumerate(found[1], 1):
            if expected[number - 1]:
                assert longest[number] - lengths[number - 1] == longest[before]


def test_the_end_is_estimated_by_how_long_jobs_took(client, workflow):
    slow = workflow.requirements(runtime="PT8H")
    first = workflow.job(name="part_1", resource_requirements_id=slow)
    parts = [workflow.job(name=f"part_{i}", resource_requirements_id=slow) for i in (2, 3)]
    workflow.job(*parts, name="end", resource_requirements_id=workflow.requirements(runtime="PT20M"))
    path = f"/ui{workflow.path}/graph"
    assert "to the end" not in get(client, path)  # nothing runs
    assert "by the time asked for: part_2 → end, 8 h 20 min" in get(client, path)
    workflow.initialize()
    workflow.complete(first, exec_time_minutes=10)
    for part in parts:
        workflow.manage(part, "pending")
        workflow.start(part, workflow.default_node)
    page = get(client, path)
    assert "Longest chain still to do, as jobs took so far, or by the time asked for: part_" in page
    assert re.search("All jobs one after the other: (40|39) min; 2 run now", page)  # less what they have run
    workflow.sql(
        "UPDATE torc.job SET start_time = now() - interval '4 min 30 s' WHERE id = ANY (%s) RETURNING 1", parts
    )
    pages = [get(client, path), get(client, f"/ui{workflow.path}"), get(client, "/")]
    assert "25 min estimated to the end" in pages[0]
    assert "part_2 → end, 25 min" in pages[0]
    assert "25 min estimated to the end" in pages[1]
    assert re.search(r"1 of 4 done.*? 25 min ", pages[2])  # the same in the list


def test_jobs_that_take_longer_than_others_did_end_any_moment(client, workflow):
    job = workflow.job()
    workflow.initialize()
    workflow.manage(job, "pending")
    workflow.start(job, workflow.node())
    workflow.sql("UPDATE torc.job SET start_time = now() - interval '1 day' WHERE id = %s RETURNING 1", job)
    assert "any moment estimated to the end" in get(client, f"/ui{workflow.path}")


def test_the_end_of_many_jobs_is_estimated_by_their_requirements_and_the_newest_thousand(client, workflow):
    slow, quick = workflow.requirements(runtime="PT1H"), workflow.requirements(runtime="PT10M")
    many(workflow, 1200, resource_requirements_id=quick)
    workflow.job(workflow.job(resource_requirements_id=slow, name="merge"), resource_requirements_id=slow, name="end")
    workflow.initialize()
    found = ahead(workflow)
    assert (found["work_s"], found["chain"], found["newest"]) == (1200 * 600 + 7200, ["merge", "end"], 1000)
    assert "Longest chain still to do, of the newest 1,000 jobs, by the time asked for: merge → end, 2 h." in get(
        client, f"/ui{workflow.path}/graph"
    )


def ahead(workflow):
    return workflow.sql("SELECT torc.dashboard_ahead(%s, torc.dashboard_counts(%s))", *[workflow.id] * 2)[0]


def many_of_three(workflow, count):
    """Create so many jobs; every third asks for an hour, the others for ten minutes."""
    slow, quick = workflow.requirements(runtime="PT1H"), workflow.requirements(runtime="PT10M")
    jobs = [
        {"workflow_id": workflow.id, "name": f"{slow} {i}", "command": "c", "resource_requirements_id": requirement}
        for i, requirement in zip(range(count), itertools.cycle((slow, quick, quick)), strict=False)
    ]
    workflow.client.post("/bulk_jobs", json={"jobs": jobs})


def test_of_many_thousand_jobs_the_end_is_estimated_from_a_part_that_is_always_the_same(workflow, database):
    many_of_three(workflow, 9000)
    workflow.initialize()
    found = ahead(workflow)
    assert found == ahead(workflow)
    assert found["work_s"] == pytest.approx(3000 * 3600 + 6000 * 600, rel=0.1)
    counts = workflow.sql("SELECT torc.dashboard_counts(%s)::text", workflow.id)[0]
    reads = "SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relid = 'torc.job'::regclass"
    with database.transaction():
        before = database.execute(reads).fetchone()[0]
        database.execute("SELECT torc.dashboard_ahead(%s, %s::jsonb)", [workflow.id, counts])
        assert database.execute(reads).fetchone()[0] - before < 4000


def test_jobs_with_ids_far_apart_are_all_counted(workflow):
    many_of_three(workflow, 3000)
    workflow.sql("SELECT setval(pg_get_serial_sequence('torc.job', 'id'), max(id) + 100000000) FROM torc.job")
    many_of_three(workflow, 4200)
    workflow.initialize()
    assert ahead(workflow)["work_s"] == 2400 * 3600 + 4800 * 600


def test_no_chain_is_named_before_files_tell_what_jobs_wait_for(client, workflow):
    file = workflow.file()
    workflow.job(output_file_ids=[file])
    workflow.job(input_file_ids=[file])
    assert "Longest chain" not in get(client, f"/ui{workflow.path}/graph")
    workflow.initialize()
    assert "Longest chain" in get(client, f"/ui{workflow.path}/graph")


@pytest.mark.parametrize("others", [0, 1, 5], ids=["in a row", "with gaps", "scattered"])
def test_the_graph_is_the_same_however_the_ids_of_jobs_lie(client, workflow, others):
    """The edges are found in other ways where other jobs have ids between."""
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]

    def job(*depends_on, **fields):
        for _ in range(others):
            body = {"workflow_id": other, "name": "x", "command": "c"} | between
            between["depends_on_job_ids"] = [client.post("/jobs", json=body).json["id"]]
        return workflow.job(*depends_on, **fields)

    between = {}
    file = workflow.file()
    first = job(name="prepare", output_file_ids=[file])
    fan = [job(first, name=f"part_{i}_of_4", input_file_ids=[file] if i == 3 else []) for i in range(4)]
    job(*fan, name="end9")
    for unfolded in ([], ["part_*_of_*"]):
        graph = workflow.sql("SELECT torc.dashboard_graph(%s, %s, 3, false, 300, NULL)", workflow.id, unfolded)[0]
        assert graph["total"] == 6
        names = [node["label"] for node in graph["nodes"]]
        edges = {
            (names[edge["source"]], names[edge["target"]]): (edge["jobs"], edge["files"]) for edge in graph["edges"]
        }
        if unfolded:
            assert len(names) == 6
            assert edges["prepare", "part_3_of_4"] == (1, 1)
            assert len(edges) == 8
        else:
            assert names == ["prepare", "part_*_of_*", "end9"]
            assert edges == {("prepare", "part_*_of_*"): (4, 1), ("part_*_of_*", "end9"): (4, 0)}


def test_the_graph_comes_as_svg_and_as_dot(client, workflow):
    workflow.job(workflow.job(name='a "quoted" \\ <name>'), name="b")
    dot = client.get(f"/ui{workflow.path}/graph.dot", prefix="")
    assert dot.headers["content-type"].startswith("text/vnd.graphviz")
    assert 'n0 [label="a \\"quoted\\" \\\\ <name>"];' in dot.text
    assert "n0 -> n1;" in dot.text
    svg = client.get(f"/ui{workflow.path}/graph.svg", prefix="")
    assert svg.headers["content-type"].startswith("image/svg+xml")
    root = ElementTree.fromstring(svg.text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<name>" in "".join(root.itertext())


def test_a_graph_that_is_a_circle_has_a_picture(client, workflow):
    first, second = workflow.job(name="one"), workflow.job(name="two")
    client.put(f"/jobs/{first}", json={"workflow_id": workflow.id, "name": "one", "command": "c",
                                       "depends_on_job_ids": [second]})  # fmt: skip
    client.put(f"/jobs/{second}", json={"workflow_id": workflow.id, "name": "two", "command": "c",
                                        "depends_on_job_ids": [first]})  # fmt: skip
    assert nodes_of(client.get(f"/ui{workflow.path}/graph", prefix="").text) == ["one", "two"]
    client.put(f"/jobs/{first}", json={"workflow_id": workflow.id, "name": "one", "command": "c",
                                       "depends_on_job_ids": []})  # fmt: skip


def test_jobs_over_time_add_up(workflow):
    jobs = [workflow.job(name=f"j{i}") for i in range(4)]
    last = workflow.job(*jobs, name="last")
    workflow.initialize()
    for i, job in enumerate(jobs):
        time = f"2026-01-01T00:{10 * (i + 1):02}:00Z"
        workflow.complete(job, "failed" if i == 3 else "completed", completion_time=time, exec_time_minutes=10)
    found = workflow.sql("SELECT torc.dashboard_progress(%s, 8, NULL)", workflow.id)[0]
    assert found["to"] - found["from"] == 40 * 60
    assert found["done"][-1] == 3
    assert found["failed"][-1] == 1
    assert found["running"] == [1, 1, 1, 1, 1, 1, 1, 0]
    assert found["ready"][0] == 3
    assert found["ready"][-1] == 0
    assert workflow.status(last) == "canceled"


def test_times_that_are_none_are_left_out_of_the_charts(client, workflow):
    for text in ("2026-01-01T00:10:00Z", "2026-13-01T00:00:00Z", "yesterday", "1e400", "infinity"):
        workflow.complete(workflow.job(), completion_time=text, exec_time_minutes=10)
    found = workflow.sql("SELECT torc.dashboard_progress(%s, 8, NULL)", workflow.id)[0]
    assert (found["to"] - found["from"], found["done"][-1]) == (600, 1)
    assert "1 executions on 1 nodes" in get(client, f"/ui{workflow.path}/timeline")


def test_the_timeline_has_a_lane_for_each_node_and_zooms(client, workflow):
    nodes = [workflow.node(), workflow.node()]
    for i in range(4):
        time = f"2026-01-01T00:{10 * (i + 1):02}:00Z"
        workflow.complete(workflow.job(name=f"j{i}"), completion_time=time, exec_time_minutes=10,
                          compute_node_id=nodes[i % 2])  # fmt: skip
    page = client.get(f"/ui{workflow.path}/timeline", prefix="").text
    assert "4 executions on 3 nodes" in text_of(page)
    assert len(re.findall("<title>j[0-3]: completed, 10 min", page)) == 4
    assert "✓completedtimes in UTC" in text_of(page)  # the legend
    since = int(datetime(2026, 1, 1, 0, 12, tzinfo=UTC).timestamp())
    page = client.get(f"/ui{workflow.path}/timeline", prefix="", params={"since": since, "until": since + 60}).text
    assert re.findall("<title>(j[0-3]):", page) == ["j1"]
    client.get(f"/ui{workflow.path}/timeline", prefix="", params={"since": 9, "until": 9}, status=422)


# Actions


def test_a_preview_says_what_would_change_and_changes_nothing(client, workflow):
    job = workflow.job_in("running", name="the job")
    after = workflow.job(job, name="dependent")
    workflow.initialize(keep_running=True)
    workflow.manage(job, "running")
    before = workflow.events(), workflow.statuses(job, after)
    page = get(client, f"/ui/workflows/act?action=cancel&id={workflow.id}")
    assert "1 job: ▶running → ⊘canceled the job" in page
    assert "1 job: ◌blocked → ⊘canceled dependent" in page
    assert (workflow.events(), workflow.statuses(job, after)) == before
    got = post(client, "/ui/workflows/act", action="cancel", id=workflow.id)
    assert got.headers["location"] == f"../../ui/workflows/{workflow.id}"
    assert workflow.statuses(job, after) == ["canceled", "canceled"]


@pytest.mark.parametrize(
    "action, status, becomes",
    [
        ("initialize", "uninitialized", "ready"), ("cancel", "pending", "canceled"), ("retry", "failed", "ready"),
        ("reset", "completed", "uninitialized"),
    ],
)  # fmt: skip
def test_each_action_on_a_workflow_does_what_its_preview_says(client, workflow, action, status, becomes):
    job = workflow.job_in(status)
    changes = preview(workflow, action=action)["changes"]
    assert [(change["from"], change["to"], change["jobs"]) for change in changes] == [(status, becomes, 1)]
    assert workflow.status(job) == status
    post(client, "/ui/workflows/act", action=action, id=workflow.id)
    assert workflow.status(job) == becomes


@pytest.mark.parametrize(
    "action, status, becomes",
    [
        ("retry", "terminated", "ready"), ("give-back", "running", "ready"), ("give-back", "pending", "ready"),
        ("give-back", "pending_failed", "ready"), ("disable", "ready", "disabled"),
        ("enable", "disabled", "uninitialized"),
    ],
)  # fmt: skip
def test_each_action_on_a_job_does_what_its_preview_says(client, workflow, action, status, becomes):
    job = workflow.job_in(status)
    changes = preview(workflow, job, action)["changes"]
    assert [(change["from"], change["to"]) for change in changes] == [(status, becomes)]
    assert "Leave it" in get(client, f"/ui/jobs/{job}/act?action={action}")
    assert workflow.status(job) == status
    post(client, f"/ui/jobs/{job}/act", action=action)
    assert workflow.status(job) == becomes


def preview(workflow, job=None, action=None):
    statement = "SELECT torc.dashboard_preview(%s, %s, NULL, %s, NULL)"
    return workflow.sql(statement, None if job else workflow.id, job, action)[0]


def test_the_jobs_of_a_node_that_is_gone_are_given_back(client, workflow):
    jobs = [workflow.job_in("pending", name=f"j{i}") for i in range(4)]
    node = workflow.node()
    for job in jobs[:2]:
        workflow.start(job, node)
    workflow.sql("UPDATE torc.job SET active_compute_node_id = %s WHERE id = %s RETURNING 1", node, jobs[2])
    assert "2 claimed" not in get(client, "/ui/nodes")
    assert "1 claimed" in get(client, "/ui/nodes")
    path = f"/ui/nodes/{node}/act"
    page = get(client, f"{path}?action=give-back")
    assert "2 jobs: ▶running → ●ready j0, j1" in page
    assert "1 job: …claimed → ●ready j2" in page
    assert "1 compute node is no longer active" in page
    assert "1 claimed job of the workflow would be left" in page
    assert workflow.statuses(*jobs) == ["running", "running", "pending", "pending"]
    post(client, path, action="give-back")
    assert workflow.statuses(*jobs) == ["ready", "ready", "ready", "pending"]
    assert [client.get(f"/jobs/{job}").json["attempt_id"] for job in jobs] == [2, 2, 1, 1]
    assert not client.get(f"/compute_nodes/{node}").json["is_active"]
    other = workflow.node()
    assert "Other nodes of workflow" in get(client, f"{path}?action=give-back-claims")
    client.put(f"/compute_nodes/{other}", json=client.get(f"/compute_nodes/{other}").json | {"is_active": False})
    post(client, path, action="give-back-claims")
    assert workflow.status(jobs[3]) == "ready"
    post(client, "/ui/nodes/999999999/act", action="give-back", status=404)
    post(client, path, action="explode", status=422)


def test_the_doctor_is_asked_for_what_is_not_fine(client):
    page = get(client, "/ui/server/doctor")
    assert re.search("[✓✕●](schema|PostgreSQL)", page)
    assert "counters and status agree" not in page
    assert "Check all graphs, too" in page
    assert "✓graph: every job's counters and status agree" in get(client, "/ui/server/doctor", params={"graph": "true"})


def test_the_server_says_how_many_requests_come_and_how_long_they_take(client):
    for _ in range(300):  # the busiest routes are shown
        client.get("/ping")
    page = get(client, "/ui/server")
    assert "in the busiest minute" in page
    assert re.search(r"GET /torc-service/v1/ping\s*\d+\s*\d+(\.\d)? ms\s*\d+(\.\d)? m?s", page)


@pytest.mark.parametrize(
    "buckets, p50, p99",
    [
        ({}, None, None), ({0.1: 0, 1: 0, math.inf: 0}, None, None), ({0.1: 10, 1: 10, math.inf: 10}, 0.05, 0.099),
        ({0.1: 50, 1: 100, math.inf: 100}, 0.1, 0.982), ({0.1: 10, 1: 10, math.inf: 100}, 1, 1),
    ],
)  # fmt: skip
def test_latencies_are_estimated_as_prometheus_does(buckets, p50, p99):
    assert quantile(buckets, 0.5) == (p50 if p50 is None else pytest.approx(p50))
    assert quantile(buckets, 0.99) == (p99 if p99 is None else pytest.approx(p99))


def test_the_list_finds_workflows_by_age(client, workflow, clock):
    def listed(**params):
        params |= {"search": f"#{workflow.id}"}
        return f'<tr id="w{workflow.id}"' in client.get("/", prefix="", headers=BROWSER, params=params).text

    for days, ages in ((0, {"day", "week", "month"}), (3, {"week", "month"}), (6, {"month"}), (31, {"older"})):
        clock.advance(days * 86400)  # since the one before
        assert {age for age in ("day", "week", "month", "older") if listed(age=age)} == ages
        assert listed(age="any")


def test_archive_and_delete_act_on_several_workflows(client):
    ids = [client.post("/workflows", json={"name": "several", "user": "u"}).json["id"] for _ in range(3)]
    client.post("/jobs", json={"workflow_id": ids[0], "name": "j", "command": "c"})
    post(client, "/ui/workflows/act", action="archive", id=ids)
    assert all(client.get(f"/workflows/{id}/status").json["is_archived"] for id in ids)
    post(client, "/ui/workflows/act", action="unarchive", id=ids[:1])
    assert not client.get(f"/workflows/{ids[0]}/status").json["is_archived"]
    query = urlencode({"action": "delete", "id": ids}, doseq=True)
    assert "1 jobs" in get(client, f"/ui/workflows/act?{query}")
    assert post(client, "/ui/workflows/act", action="delete", id=ids).headers["location"] == "../../"
    for id in ids:
        client.get(f"/workflows/{id}", status=404)


def test_an_action_that_is_refused_says_why_and_the_others_are_done(client, workflow):
    workflow.job_in("running")
    other = client.post("/workflows", json={"name": "other", "user": "u"}).json["id"]
    assert "Not possible now: Cannot reset workflow status" in get(
        client, f"/ui/workflows/act?action=reset&id={workflow.id}"
    )
    page = post(client, "/ui/workflows/act", action="reset", id=[workflow.id, other], status=409).text
    assert f"Workflow #{workflow.id} was left as it is: Cannot reset" in page
    assert client.get(f"/workflows/{other}/status").json["run_id"] == 1


def test_bad_actions_are_refused_and_change_nothing(client, workflow):
    job = workflow.job_in("failed")
    for path, values, status in (
        ("/ui/workflows/act", {"action": "explode", "id": workflow.id}, 422),
        ("/ui/workflows/act", {"action": "cancel"}, 422),
        ("/ui/workflows/act", {"action": "cancel", "id": "x"}, 422),
        ("/ui/workflows/act", {"action": "cancel", "id": list(range(1, 99))}, 422),
        ("/ui/workflows/act", {"action": "cancel", "id": 999999999}, 404),
        (f"/ui/jobs/{job}/act", {"action": "cancel"}, 422),
        (f"/ui/jobs/{job}/act", {"action": "enable", "x": 1}, 303),
        ("/ui/jobs/999999999/act", {"action": "retry"}, 404),
    ):
        post(client, path, status=status, **values)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:81"},
    ],
)  # fmt: skip
def test_a_form_that_another_site_sends_is_refused(client, workflow, headers):
    job = workflow.job_in("running")
    given = {"Host": "localhost:80"} | headers
    post(client, "/ui/workflows/act", status=403, headers=given, action="cancel", id=workflow.id)
    post(client, f"/ui/jobs/{job}/act", status=403, headers=given, action="give-back")
    assert workflow.status(job) == "running"


# Who may see it


def calls_of(rule, workflow, job):
    """(method, path, body) of a route; workflow is a Workflow, job one of its jobs."""
    kind = rule.rule.split("/")[2] if rule.rule.startswith("/ui/") else ""
    id = {"jobs": job, "nodes": workflow.default_node, "workflows": workflow.id}.get(kind)
    path = rule.rule.replace("<int64:id>", str(id))
    action = {"action": {"jobs": "retry", "nodes": "give-back"}.get(kind, "cancel")}
    if not rule.arguments:
        action |= {"id": workflow.id, "do": "create", "spec": '{"name": "w", "jobs": [{"name": "j", "command": "c"}]}'}
    for method in rule.methods & {"GET", "POST"}:
        if method == "GET" and rule.rule.endswith("/act"):
            yield method, f"{path}?{urlencode(action)}", b""
        else:
            yield method, path, urlencode(action) if method == "POST" else b""


@pytest.mark.parametrize("rule", [rule for rule in ROUTES if rule.endpoint not in OPEN], ids=lambda rule: rule.endpoint)
def test_under_access_control_a_page_is_for_those_who_may_use_the_workflow(access, rule):
    workflow = access.workflow(user="olga", name="only for olga")
    job = workflow.job_in("failed", name="secret job")
    for method, path, body in calls_of(rule, workflow, job):
        for user in ("eve", "anonymous"):
            stored = access.rows()
            got = access.user(user).request(method, path, body=body, headers=FORM, prefix="", status=403)
            assert "only for olga" not in got.text
            assert "secret job" not in got.text
            assert access.rows() == stored
        for user in ("olga", "root"):
            if method == "GET" and not path.endswith("/live"):
                access.user(user).request(method, path, prefix="", status=200)


def test_under_access_control_the_list_holds_what_the_caller_may_see(access):
    access.workflow(user="olga", name="only for olga")
    for user, params, sees in (
        ("olga", {}, True), ("root", {}, True), ("eve", {}, False), ("anonymous", {}, False),
        ("olga", {"whose": "mine"}, True), ("root", {"whose": "mine"}, False), ("olga", {"whose": "shared"}, False),
        ("eve", {"search": "only"}, False),
    ):  # fmt: skip
        page = access.user(user).get("/", prefix="", headers=BROWSER, params=params).text
        assert ("only for olga" in page) == sees


def test_under_access_control_nodes_and_the_server_say_what_the_caller_may_know(access):
    workflow = access.workflow(user="olga", name="only for olga")
    workflow.node()
    access.user("olga").put(f"{workflow.path}/cancel")
    for user, sees in (("olga", True), ("root", True), ("eve", False), ("anonymous", False)):
        page = access.user(user).get("/ui/nodes", prefix="", params={"show": "all"}).text
        assert ("only for olga" in page) == sees
        page = access.user(user).get("/ui/server", prefix="").text
        assert ("cancel_workflow" in page) == ("PostgreSQL" in page) == (user == "root")
        access.user(user).get("/ui/server/doctor", prefix="", status=200 if user == "root" else 403)


def test_login_asks_for_a_password_and_leads_to_the_list(make_client, folder):
    from torc_server import htpasswd

    auth_file = folder / "htpasswd"
    auth_file.write_text(f"alice:{htpasswd.hash_password('long enough', cost=4)}\n")
    client = make_client(auth_file=str(auth_file))
    got = client.get("/login", prefix="", headers=BROWSER, status=401)
    assert got.headers["www-authenticate"] == 'Basic realm="Torc"'
    assert got.headers["content-type"].startswith("text/html")
    got = client.get("/login", prefix="", user=("alice", "long enough"), status=303)
    assert got.headers["location"] == "./"
    page = client.get("/", prefix="", headers=BROWSER, user=("alice", "long enough")).text
    assert "alice</span>" in page
    strict = make_client(auth_file=str(auth_file), require_auth=True)
    for path in ("/", "/ui/workflows/1", "/ui/static/style.css"):
        strict.get(path, prefix="", headers=BROWSER, status=401)


def test_without_a_password_file_there_is_nobody_to_log_in_as(client):
    assert "no password file" in get(client, "/login", status=404)


# What pages cost


COSTING = [rule for rule in ROUTES if rule.endpoint.removeprefix("dashboard.") in STATEMENTS]


def test_every_page_has_a_budget():
    without = {rule.endpoint for rule in ROUTES} - {rule.endpoint for rule in COSTING}
    assert without == {f"dashboard.{name}" for name in ("static", "get_login", "get_nothing", "get_new", "get_doctor")}


@pytest.mark.parametrize("rule", COSTING, ids=lambda rule: rule.endpoint)
def test_a_page_sends_as_many_statements_as_its_budget_says(access, monkeypatch, rule):
    workflow = access.workflow(user="olga")
    job = workflow.job_in("failed")
    sent = []

    def counting(call):
        def counted(self, query, *args, **kwargs):
            sent.append(query)
            return call(self, query, *args, **kwargs)

        return counted

    monkeypatch.setattr(Connection, "first", counting(Connection.first))
    for name in ("execute", "stream"):
        monkeypatch.setattr(psycopg.Cursor, name, counting(getattr(psycopg.Cursor, name)))
    for method, path, body in calls_of(rule, workflow, job):
        if path.endswith("/live"):
            continue  # has no end
        del sent[:]
        access.client.request(method, path, body=body, headers=FORM | BROWSER, prefix="", status=None)
        assert len(sent) == STATEMENTS[rule.endpoint.removeprefix("dashboard.")], sent


def test_frames_tell_the_numbers_and_end_when_the_page_is_closed(app, client, workflow):
    pulses = app.extensions["pulses"]
    from torc_server.auth import Caller

    page = pulses.subscribe(workflow.id, Caller("u", False))
    frames = iter(page)
    assert next(frames) == b": listening\n\n"
    try:
        told = json.loads(next(frames).split(b"data: ")[1])
        assert told == {"counts": {}, "pages": 1, "version": told["version"]}
        for path in ("", "/jobs", "/graph", "/progress", "/timeline"):
            text = client.get(f"/ui{workflow.path}{path}", prefix="").text
            assert f'data-version="{told["version"]}"' in text
        workflow.job_in("ready")
        while b'"ready": 1' not in (frame := next(frames)):
            assert b"changed" in frame
    finally:
        page.close()
    assert pulses._watched == {}
