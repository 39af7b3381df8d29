"""The pages of the dashboard in headless browsers: what they show, that they follow, that people can use them."""

import json
from urllib.parse import urlsplit

import psycopg
import pytest
from browser import BROWSERS, EACH_BROWSER, Browser, chromium
from showcase import Showcase

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
  if (document.documentElement.scrollWidth > innerWidth + 1) faults.push('wider than the window');
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


@pytest.fixture(scope="module", params=EACH_BROWSER)
def address(request, session_folder):
    folder = session_folder / f"browser-{request.param}"
    folder.mkdir()
    with BROWSERS[request.param](folder) as address:
        yield address


@pytest.fixture(scope="module")
def chromium_address(session_folder):
    folder = session_folder / "browser-alone"
    folder.mkdir()
    with chromium(folder) as address:
        yield address


@pytest.fixture
def browser(address, server):
    yield from behaved(address, server)


@pytest.fixture
def chrome(chromium_address, server):
    yield from behaved(chromium_address, server)


def behaved(address, server):
    """A tab; afterwards nothing may have gone wrong on its pages, and nobody but the server may have been asked."""
    browser = Browser(address)
    yield browser
    hosts = {urlsplit(request["url"]).netloc for request in browser.requests}
    problems = list(browser.problems)
    browser.close()
    assert problems == []
    assert hosts <= {f"127.0.0.1:{server.port}"}


def paths_of(made):
    study = f"/ui/workflows/{made['study']}"
    return [
        "/", "/?search=unicorn", "/ui/nodes", "/ui/nodes?show=all", "/ui/server", "/ui/server/doctor", "/ui/new", study,
        f"{study}/jobs",
        f"{study}/use", f"{study}/graph", f"{study}/graph?fold=no",
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
    for path in ("/", workflow, f"{workflow}/jobs", f"{workflow}/graph", f"/ui/jobs/{made['hostile_jobs'][0]}"):
        visit(browser, server, path)
        assert browser.evaluate("window.attacked") is None
        assert browser.evaluate("document.querySelectorAll('img, main script').length") == 0
        assert browser.evaluate("document.title").endswith("torc")


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
    chrome.look_like("light", 390, 844)
    visit(chrome, server, "/")
    chrome.evaluate("""document.querySelector('main').innerHTML += '<h1 id="main">x</h1><a href="x"></a><input>'""")
    chrome.evaluate("document.querySelectorAll('td, .soft').forEach((e) => e.classList.add('t-uninitialized'))")
    chrome.evaluate("document.documentElement.style.setProperty('--t-uninitialized', '#ccc')")
    chrome.evaluate("document.querySelector('.soft').style.color = '#ccc'")
    faults = " ".join(chrome.evaluate(FAULTS))
    for fault in ("no name", "no label", "not one h1", "an id twice", "contrast"):
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
