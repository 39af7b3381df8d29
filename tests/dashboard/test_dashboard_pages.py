"""The pages of the dashboard in headless browsers: what they show, that they follow, that people can use them."""

import base64
import json
import time
from urllib.parse import quote

import psycopg
import pytest
from browser import Browser
from showcase import Showcase

from torc_server import htpasswd

# What a page lacks that people without a mouse or without good eyes need, as text; empty is good. Contrast is computed
# as WCAG 2 does: 4.5 for text, 3 for large text.
FAULTS = """(() => {
  const faults = [];
  const name = (e) => (e.getAttribute('aria-label') || e.textContent || e.title || '').trim();
  document.querySelectorAll('a[href], button').forEach((e) => {
    if (!name(e)) faults.push('no name: ' + e.outerHTML);
  });
  document.querySelectorAll('input:not([type=hidden]), select, textarea').forEach((e) => {
    if (!name(e) && !e.labels.length) faults.push('no label: ' + e.outerHTML.slice(0, 200));
  });
  document.querySelectorAll('svg[role=img]').forEach((e) => { if (!name(e)) faults.push('no label: svg'); });
  if (!document.documentElement.lang) faults.push('no language');
  if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
  if (document.querySelectorAll('main, nav, header').length < 3) faults.push('no landmarks');
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  if (new Set(ids).size !== ids.length) faults.push('an id twice');
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const e = node.parentElement;
    if (!node.nodeValue.trim() || !e.checkVisibility() || e.closest('svg, script, .hidden, .skip')) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(parse(style.color)), light(ground(e))].sort((x, y) => y - x);
    const least = parseFloat(style.fontSize) >= 18.6 || e.matches('.dot') ? 3 : 4.5;
    const contrast = (a + .05) / (b + .05);
    if (contrast < least) faults.push(`contrast ${contrast.toFixed(2)}: ${node.nodeValue.trim()}`);
  }
  const root = document.documentElement; // innerWidth grows with the page on a phone
  if (root.scrollWidth > root.clientWidth + 1) faults.push('wider than the window');
  return faults;
})()"""


@pytest.fixture(scope="module")
def made(server):
    """The server's workflows: {name: id}, and a failed and a canceled job of the study."""
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        showcase = Showcase(connection)
        ids = {name: getattr(showcase, name)() for name in ("empty", "single", "study", "mixed")}
        ids["hostile"], ids["hostile_jobs"] = showcase.hostile()
        for key, name in (("failed", "simulate_040"), ("canceled", "reduce_05")):
            found = "SELECT id FROM torc.job WHERE workflow_id = %s AND name = %s"
            ids[key] = showcase.value(found, ids["study"], name)
        yield ids


ALL_THERE = "Array.from(document.querySelectorAll('[data-include]')).every((place) => 'loaded' in place.dataset)"
PARTS = ("", "/jobs", "/use", "/graph", "/graph?fold=level", "/progress", "/timeline")  # pages of a workflow


def paths_of(made):
    study = f"/ui/workflows/{made['study']}"
    return [
        "/", "/?search=unicorn", "/ui/nodes", "/ui/nodes?show=all", "/ui/server", "/ui/server/doctor", "/ui/new", study,
        f"{study}/jobs",
        f"{study}/use", f"{study}/graph", f"{study}/graph?fold=no", f"{study}/graph?fold=level",
        f"{study}/progress", f"{study}/timeline", f"/ui/jobs/{made['failed']}",
        f"/ui/jobs/{made['canceled']}", f"/ui/workflows/act?action=retry&id={made['study']}",
        *(f"/ui/workflows/{made[name]}" for name in ("empty", "single", "mixed", "hostile")),
        *(f"/ui/workflows/{made['empty']}{rest}" for rest in ("/jobs", "/use", "/graph", "/progress", "/timeline")),
        *(f"/ui/jobs/{job}" for job in made["hostile_jobs"]),
    ]  # fmt: skip


def visit(browser, server, path):
    browser.open(server.url + path)
    here = f"location.pathname + location.search == {json.dumps(path)}"
    browser.wait_for(f"document.readyState == 'complete' && {here}")


def test_pages_show_what_users_write_as_text(browser, server, made):
    workflow = f"/ui/workflows/{made['hostile']}"
    attack = quote("\"'><script>window.attacked = 1</script><img src=x onerror='window.attacked = 1'>")
    with psycopg.connect(server.database_url) as connection:
        node = Showcase(connection).value("SELECT id FROM torc.compute_node WHERE workflow_id = %s", made["hostile"])
    job = made["hostile_jobs"][0]
    for path in (
        "/", f"/?search={attack}", *(f"{workflow}{part}" for part in PARTS), f"{workflow}/jobs?column=command",
        f"{workflow}/jobs?name={attack}&label={attack}", f"{workflow}/graph?open={attack}&fold={attack}",
        *(f"/ui/jobs/{job}" for job in made["hostile_jobs"]), f"/ui/jobs/{job}/act?action=retry",
        f"/ui/workflows/act?action=reset&id={made['hostile']}", "/ui/nodes?show=all",
        f"/ui/nodes/{node}/act?action=give-back", "/ui/server",
    ):  # fmt: skip
        visit(browser, server, path)
        browser.wait_for(ALL_THERE)
        assert browser.evaluate("window.attacked") is None, path
        assert browser.evaluate("document.querySelectorAll('img, main script').length") == 0, path
        assert browser.evaluate("document.title").endswith("torc"), path


def test_a_preview_of_a_hostile_specification_is_text(chrome, server):
    text = "\"'><script>window.attacked = 1</script><img src=x onerror='window.attacked = 1'>"
    jobs = [{"name": f"{text}{i}", "command": text, "depends_on": [f"{text}{i - 1}"] if i else []} for i in range(3)]
    spec = {"name": text, "description": text, "project": text, "jobs": jobs}
    visit(chrome, server, "/ui/new")
    chrome.evaluate(f"document.querySelector('textarea[name=spec]').value = {json.dumps(json.dumps(spec))}")
    chrome.click("button[value=preview]")
    chrome.wait_for("document.querySelectorAll('main svg g.nodes > g').length == 3")
    chrome.click("button[value=create]")
    chrome.wait_for("location.pathname.startsWith('/ui/workflows/') && document.readyState == 'complete'")
    chrome.wait_for("document.querySelectorAll('.included #picture [data-node]').length == 3")
    assert chrome.evaluate("window.attacked") is None
    assert chrome.evaluate("document.querySelectorAll('img, main script').length") == 0
    assert chrome.evaluate("document.querySelector('h1').textContent").startswith(text)


@pytest.mark.long
@pytest.mark.parametrize("jobs", [2_000, 100_000])
def test_pages_of_large_workflows_open_follow_and_do_nothing_wrong(chrome, server, jobs):
    """Those of 0, 1, 30 and 117 jobs are part of the other tests."""
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        workflow = Showcase(connection).large(jobs)
    path = f"/ui/workflows/{workflow}"
    for part in (*PARTS, "/graph?open=simulate_*", f"/jobs?offset={jobs - 50}", "/jobs?sort=name&descending=true"):
        visit(chrome, server, path + part)
        chrome.wait_for(ALL_THERE)
        assert str(workflow) in chrome.evaluate("document.querySelector('main').textContent")
    for part in ("", "/graph", "/jobs"):
        check_faults(chrome, server, [path + part], LOOKS)
    visit(chrome, server, path)
    chrome.wait_for("document.getElementById('live').dataset.state == 'live'")
    number = "Number(document.querySelector('[data-count=ready]').textContent.replaceAll(',', ''))"
    before = chrome.evaluate(number)
    server.client.post(f"/workflows/{workflow}/claim_next_jobs", params={"limit": 7})
    chrome.wait_for(f"{number} == {before - 7}")


LOOKS = [("light", 1280, 800, 1), ("dark", 390, 844, 2)]


def check_faults(chrome, server, paths, looks):
    for look in looks:
        chrome.look_like(*look)
        for path in paths:
            visit(chrome, server, path)
            assert chrome.evaluate(FAULTS) == [], f"{path} {look}"


@pytest.mark.long
def test_every_page_has_labels_contrast_and_room_in_both_themes_wide_and_on_a_phone(chrome, server, made):
    check_faults(chrome, server, paths_of(made), LOOKS)


def test_the_faults_of_a_page_are_found(chrome, server, made):
    """The check of the other test can fail."""
    chrome.look_like("light", 390, 844, 2)
    visit(chrome, server, "/")
    assert chrome.evaluate(FAULTS) == []
    chrome.evaluate("""document.querySelector('main').innerHTML += '<h1 id="main">x</h1><a href="x"></a><input>'""")
    chrome.evaluate("document.querySelectorAll('td, .soft').forEach((e) => e.classList.add('t-uninitialized'))")
    chrome.evaluate("document.documentElement.style.setProperty('--t-uninitialized', '#ccc')")
    chrome.evaluate("document.querySelector('.soft').style.color = '#ccc'")
    chrome.evaluate("document.querySelector('h1').style.width = '900px'")
    faults = " ".join(chrome.evaluate(FAULTS))
    for fault in ("no name", "no label", "not one h1", "an id twice", "contrast", "wider"):
        assert fault in faults


def test_a_page_is_used_by_keyboard(chrome, server, made):
    chrome.look_like("light", 1280, 800)
    visit(chrome, server, "/")
    chrome.press("Tab")
    assert chrome.evaluate("document.activeElement.innerText") == "To the content"
    chrome.press("Enter")
    seen = []
    while not (active := chrome.evaluate("document.activeElement.pathname ?? ''")).startswith("/ui/workflows/"):
        chrome.press("Tab")
        seen.append(active)
        assert len(seen) < 30
        assert chrome.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none" or not active
    chrome.press("Enter")
    chrome.wait_for("location.pathname.startsWith('/ui/workflows/')")


def test_a_page_changes_within_a_second_and_keeps_what_the_reader_does(browser, server):
    client = server.client
    workflow = client.post("/workflows", json={"name": "followed", "user": "u"}).json["id"]
    jobs = [
        client.post("/jobs", json={"workflow_id": workflow, "name": f"j{i}", "command": "c"}).json["id"]
        for i in range(3)
    ]
    visit(browser, server, f"/ui/workflows/{workflow}")
    browser.wait_for("document.getElementById('live').dataset.state == 'live'")
    assert "not initialized" in browser.evaluate("document.querySelector('.legend').textContent")
    browser.evaluate("document.querySelector('details').open = true")
    browser.evaluate("window.kept = document.querySelector('h1')")
    client.post(f"/workflows/{workflow}/initialize_jobs")
    browser.wait_for("document.querySelector('.legend').textContent.includes('ready')")
    client.put(f"/jobs/{jobs[0]}/manage_status_change/running/0")
    browser.wait_for("document.querySelector('.legend').textContent.includes('running')")
    assert browser.evaluate("document.querySelector('details').open")
    assert browser.evaluate("window.kept === document.querySelector('h1')")


def test_a_change_is_seen_within_a_second(chrome, server):
    client = server.client
    workflow = client.post("/workflows", json={"name": "quick", "user": "u"}).json["id"]
    job = client.post("/jobs", json={"workflow_id": workflow, "name": "j", "command": "c"}).json["id"]
    visit(chrome, server, f"/ui/workflows/{workflow}")
    chrome.wait_for("document.getElementById('live').dataset.state == 'live'")
    took = []
    for status, word in (("ready", "ready"), ("pending", "claimed"), ("disabled", "disabled")) * 2:
        started = time.monotonic()
        client.put(f"/jobs/{job}/manage_status_change/{status}/0")
        chrome.wait_for(f"document.querySelector('.legend').textContent.includes({json.dumps(word)})")
        took.append(time.monotonic() - started)
        time.sleep(1.5)  # changes in quick succession are shown together
    assert min(took) < 1, took  # the machine may be busy with other tests now and then


def test_another_users_workflow_is_seen_nowhere(chrome, start_server, fresh_database_url, folder):
    auth_file = folder / "people"
    auth_file.write_text("".join(f"{name}:{htpasswd.hash_password(name * 3, cost=4)}\n" for name in ("olga", "eve")))
    given = {"database_url": fresh_database_url, "auth_file": auth_file, "enforce_access_control": True}
    server = start_server(require_auth=True, **given)
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        showcase = Showcase(connection, user="olga")
        workflow = showcase.mixed()
        node = showcase.value("SELECT max(id) FROM torc.compute_node WHERE workflow_id = %s", workflow)
        job = showcase.value("SELECT max(id) FROM torc.job WHERE workflow_id = %s", workflow)
    paths = [
        "/", "/?search=diamond", "/ui/nodes?show=all", *(f"/ui/workflows/{workflow}{part}" for part in PARTS),
        f"/ui/jobs/{job}", f"/ui/nodes/{node}/act?action=give-back", f"/ui/workflows/act?action=delete&id={workflow}",
    ]  # fmt: skip
    chrome.forgiven = "status of 403"
    for name, sees in (("olga", {"/", paths[2], f"/ui/workflows/{workflow}", f"/ui/jobs/{job}"}), ("eve", set())):
        header = base64.b64encode(f"{name}:{name * 3}".encode()).decode()
        chrome.call("Network.setExtraHTTPHeaders", headers={"Authorization": f"Basic {header}"})
        seen = set()
        for path in paths:
            visit(chrome, server, path)
            text = chrome.evaluate("document.documentElement.textContent")
            if "diamond" in text or "side_" in text or "laptop" in text:
                seen.add(path)
        assert seen >= sees
        assert bool(seen) == bool(sees)
    chrome.requests[:] = []


def test_a_lost_connection_is_shown_and_mended(chrome, start_server, fresh_database_url):
    chrome.forgiven = "net::ERR_"
    server = start_server(database_url=fresh_database_url)
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}).json["id"]
    visit(chrome, server, f"/ui/workflows/{workflow}")
    chrome.wait_for("document.getElementById('live').dataset.state == 'live'")
    port = server.port
    server.stop()
    chrome.wait_for("document.getElementById('live').textContent.includes('connection lost')")
    again = start_server(database_url=fresh_database_url, port=port)
    again.client.post("/jobs", json={"workflow_id": workflow, "name": "later", "command": "c"})
    chrome.wait_for("document.getElementById('live').dataset.state == 'live'")
    chrome.wait_for("document.querySelector('.legend').textContent.includes('1 not initialized')")
    chrome.requests[:] = []


def test_pages_that_the_reader_has_left_hold_no_connection(chrome, server):
    """A browser has six to a server: the seventh page would never come."""
    client = server.client
    ids = [client.post("/workflows", json={"name": f"w{i}", "user": "u"}).json["id"] for i in range(9)]
    for id in ids:
        visit(chrome, server, f"/ui/workflows/{id}")
        chrome.wait_for("document.getElementById('live').dataset.state == 'live'")
    chrome.evaluate("history.back()")
    chrome.wait_for(f"location.pathname == '/ui/workflows/{ids[-2]}'")
    client.post("/jobs", json={"workflow_id": ids[-2], "name": "later", "command": "c"})
    chrome.wait_for("document.querySelector('.legend').textContent.includes('1 not initialized')")


def test_buttons_lead_over_a_preview_to_what_they_say(chrome, server):
    client = server.client
    workflow = client.post("/workflows", json={"name": "by hand", "user": "u"}).json["id"]
    job = client.post("/jobs", json={"workflow_id": workflow, "name": "j", "command": "c"}).json["id"]
    visit(chrome, server, f"/ui/workflows/{workflow}")
    chrome.click("a.primary[href*='action=initialize']")
    chrome.wait_for("!!document.querySelector('form button.primary')")
    assert "not initialized → ●ready" in chrome.evaluate("document.querySelector('main').textContent").replace("\n", "")
    assert client.get(f"/jobs/{job}").json["status"] == "uninitialized"
    chrome.click("form button.primary")
    chrome.wait_for(f"location.pathname == '/ui/workflows/{workflow}'")
    assert client.get(f"/jobs/{job}").json["status"] == "ready"


def test_several_workflows_are_archived_from_the_list(chrome, server):
    client = server.client
    ids = [client.post("/workflows", json={"name": "to be archived", "user": "u"}).json["id"] for _ in range(3)]
    visit(chrome, server, "/?search=to+be+archived")
    for id in ids[:2]:
        chrome.click(f"#w{id} input[type=checkbox]")
    chrome.click("button[value=archive]")
    chrome.wait_for("document.querySelector('h1')?.textContent.includes('2 workflows')")
    chrome.click("form button.primary")
    chrome.wait_for("location.pathname == '/' && document.readyState == 'complete'")
    assert [client.get(f"/workflows/{id}/status").json["is_archived"] for id in ids] == [True, True, False]


def test_the_jobs_of_a_node_are_given_back_by_its_button(chrome, server):
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        showcase = Showcase(connection)
        workflow = showcase.workflow("with a dead worker")
        job = showcase.jobs(workflow, [{"name": "long one"}])[0]
        showcase.initialize(workflow)
        node = showcase.node(workflow, "dead-node")
        showcase.start(job, node)
    visit(chrome, server, "/ui/nodes")
    chrome.click(f"a[href*='nodes/{node}/act']")
    chrome.wait_for("!!document.querySelector('form button.primary')")
    preview = chrome.evaluate("document.querySelector('main').innerText")
    assert "1 job: ▶running → ●ready long one" in preview.replace("\n", " ")
    chrome.click("form button.primary")
    chrome.wait_for("location.pathname == '/ui/nodes' && document.readyState == 'complete'")
    given = server.client.get(f"/jobs/{job}").json
    assert (given["status"], given["attempt_id"]) == ("ready", 2)


def test_filters_are_part_of_the_address(chrome, server, made):
    visit(chrome, server, f"/ui/workflows/{made['study']}/jobs")
    chrome.evaluate("document.querySelector('select[name=status]').value = 'failed'")
    chrome.evaluate("document.querySelector('form[role=search]').requestSubmit()")
    chrome.wait_for("location.search.includes('status=failed') && document.readyState == 'complete'")
    names = chrome.evaluate("Array.from(document.querySelectorAll('tbody td:nth-child(2)'), cell => cell.innerText)")
    assert names == ["simulate_040", "simulate_043", "simulate_047", "simulate_061"]


def test_the_picture_of_the_graph_zooms_finds_and_highlights(chrome, server, made):
    chrome.look_like("light", 1280, 800)
    visit(chrome, server, f"/ui/workflows/{made['study']}/graph")
    box = "document.getElementById('picture').getAttribute('viewBox').split(' ').map(Number)"
    chrome.wait_for("document.getElementById('picture').dataset.whole")
    whole = chrome.evaluate(box)
    chrome.click("[data-zoom='1.4']")
    assert chrome.evaluate(box) != whole
    chrome.click("[data-zoom=fit]")
    assert chrome.evaluate(box) == whole
    chrome.type("#find", "MERGE")
    found = "Array.from(document.querySelectorAll('.found'), node => node.dataset.label)"
    assert chrome.evaluate(found) == ["merge"]
    chrome.evaluate("document.querySelector('.found').focus()")
    marked = "Array.from(document.querySelectorAll('[data-node].marked'), node => node.dataset.label).sort()"
    assert chrome.evaluate(marked) == ["merge", "reduce_*", "report", "simulate_*", "split"]
    assert chrome.evaluate("document.querySelectorAll('[data-node]').length") == 6
    chrome.evaluate(
        "document.querySelector('[data-label=\"reduce_*\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    chrome.wait_for("document.querySelectorAll('[data-node]').length == 17")
    assert "open=reduce_" in chrome.evaluate("location.search")


def test_the_page_of_a_workflow_holds_its_graph_and_its_chart_with_links_that_lead_there(browser, server, made):
    visit(browser, server, f"/ui/workflows/{made['study']}")
    browser.wait_for("document.querySelectorAll('.included #picture [data-node]').length == 6")
    browser.wait_for("document.querySelectorAll('.included .chart path').length > 3")
    link = browser.evaluate("document.querySelector('[data-label=\"reduce_*\"]').getAttribute('href')")
    assert link.startswith(f"{server.url}/ui/workflows/{made['study']}/graph?open=reduce_")


def test_what_goes_wrong_on_a_page_is_noticed(chromium_address, server):
    """The checks of the other tests can fail."""
    browser = Browser(chromium_address)
    try:
        visit(browser, server, "/")
        browser.evaluate('document.body.innerHTML += \'<img src="http://127.0.0.2:9/x"><b style="color:red">x</b>\'')
        browser.evaluate("new Promise(resolve => setTimeout(resolve, 300))")
        assert "Content Security Policy" in json.dumps(browser.problems)
    finally:
        browser.close()
