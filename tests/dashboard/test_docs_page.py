"""/docs: the page on which people read the interface and try it, in headless browsers, and the files that it loads."""

import json
import re
import threading
from contextlib import closing
from html.parser import HTMLParser

import pytest
import yaml
from browser import Browser
from support import PREFIX, basic
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from torc_server import htpasswd
from torc_server.blueprints.api_docs import ASSETS

LIST_WORKFLOWS = "#operations-workflows-list_workflows"
LOADED = {
    "/docs": "text/html; charset=utf-8",
    "/docs/page.js": "text/javascript; charset=utf-8",
    "/docs/page.css": "text/css; charset=utf-8",
    "/docs/icon.svg": "image/svg+xml; charset=utf-8",
    "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "/docs/swagger-ui.css": "text/css; charset=utf-8",
    "/openapi.json": "application/json",
    "/openapi.yaml": "application/yaml",
}


def operations(document):
    return [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put", "patch", "delete")
    ]


def try_list_workflows(browser):
    """Send the request that lists workflows; return the status and the text of the answer that the page shows."""
    browser.click(f"{LIST_WORKFLOWS} .try-out__btn")
    browser.click(f"{LIST_WORKFLOWS} .execute")
    row = f"{LIST_WORKFLOWS} .live-responses-table .response"
    status = browser.wait_for(f"document.querySelector('{row} .response-col_status')?.innerText")
    return status, browser.evaluate(f"document.querySelector('{row} .response-col_description').innerText")


SUMMARIES = """Array.from(document.querySelectorAll('.opblock'), block => [
    block.querySelector('.opblock-summary-method').innerText.toLowerCase(),
    block.querySelector('.opblock-summary-path, .opblock-summary-path__deprecated').dataset.path,
    block.querySelector('.opblock-summary-operation-id').innerText,
].join(' '))"""


@pytest.mark.parametrize("opened", [1, pytest.param(100, marks=pytest.mark.long)], ids=["one of each group", "all"])
def test_the_page_lists_all_operations_and_each_of_them_opens(browser, server, opened):
    document = server.client.get("/openapi.json", prefix="").json
    browser.open(f"{server.url}/docs")
    groups = browser.wait_for("Array.from(document.querySelectorAll('.opblock-tag'), group => group.id)")
    assert browser.evaluate("document.title") == "torc-server: HTTP interface"
    assert browser.evaluate("document.querySelectorAll('.opblock').length") == 0  # 122 at once help nobody
    listed = []
    for group in groups:
        browser.click(f"#{group}")
        browser.wait_for("document.querySelectorAll('.opblock').length")
        listed += (shown := browser.evaluate(SUMMARIES))
        controls = f"Array.from(document.querySelectorAll('.opblock-summary-control')).slice(0, {opened})"
        browser.evaluate(f"{controls}.forEach(control => control.click())")
        browser.wait_for(f"document.querySelectorAll('.opblock .try-out__btn').length == {min(opened, len(shown))}")
        browser.click(f"#{group}")
        browser.wait_for("document.querySelectorAll('.opblock').length == 0")
    assert sorted(listed) == sorted(f"{m} {path} {o['operationId']}" for path, m, o in operations(document))
    assert len(listed) >= 122


def test_try_it_out_sends_the_request_to_this_server_and_shows_the_answer(browser, server):
    server.client.post("/workflows", json={"name": "shown on the page", "user": "u"})
    browser.open(f"{server.url}/docs#/workflows/list_workflows")  # a permalink opens the operation
    status, text = try_list_workflows(browser)
    assert status == "200"
    assert "shown on the page" in text
    assert "Request duration" in browser.evaluate(f"document.querySelector('{LIST_WORKFLOWS}').innerText")
    assert browser.requests[-1]["url"].startswith(f"{server.url}{PREFIX}/workflows")


def test_the_filter_leaves_the_operations_whose_path_holds_the_text(browser, server):
    browser.open(f"{server.url}/docs")
    browser.type(".operation-filter-input", "claim")
    browser.wait_for("document.querySelectorAll('.opblock-tag').length == 2")
    browser.wait_for("document.querySelectorAll('.opblock').length")  # opened by itself
    paths = browser.evaluate("Array.from(document.querySelectorAll('.opblock-summary-path'), p => p.dataset.path)")
    assert all("claim" in path for path in paths)


def test_who_authorizes_on_the_page_sends_his_password(browser, server):
    browser.open(f"{server.url}/docs#/workflows/list_workflows")
    browser.click("button.authorize")
    browser.type(".auth-container input[name=username]", "alice")
    browser.type(".auth-container input[name=password]", "long enough")
    browser.click(".auth-btn-wrapper .authorize")
    browser.click(".auth-btn-wrapper .btn-done")
    assert try_list_workflows(browser)[0] == "200"
    sent = {name.lower(): value for name, value in browser.requests[-1]["headers"].items()}
    assert sent["authorization"] == basic("alice", "long enough")


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_the_page_works_below_a_prefix_of_a_proxy(browser, app, told):
    def without_prefix(environ, start_response):
        return app({**environ, "SCRIPT_NAME": ""}, start_response)

    there = DispatcherMiddleware(NotFound(), {"/some/where": app if told else without_prefix})
    below = make_server("127.0.0.1", 0, there, threaded=True)
    thread = threading.Thread(target=below.serve_forever)
    thread.start()
    try:
        browser.open(f"http://127.0.0.1:{below.port}/some/where/docs/#/workflows/list_workflows")
        assert try_list_workflows(browser)[0] == "200"
        assert "/some/where/torc-service/v1/workflows" in browser.requests[-1]["url"]
    finally:
        below.shutdown()
        thread.join()
        below.server_close()


def test_the_browsers_notice_requests_to_others_and_what_goes_wrong(address, server):
    """The checks of the other tests can fail."""
    with closing(Browser(address)) as browser:
        browser.open(f"{server.url}/docs")
        browser.wait_for("document.querySelectorAll('.opblock-tag').length")
        browser.evaluate("fetch('http://127.0.0.2:9/elsewhere').catch(() => 0)")
        assert [r for r in browser.requests if "elsewhere" in r["url"]] or "elsewhere" in json.dumps(browser.problems)
        del browser.problems[:]
        browser.evaluate("console.error('written to the console')")
        browser.evaluate("setTimeout(() => { throw new Error('thrown later'); })")
        browser.evaluate("new Promise(resolve => setTimeout(resolve, 100))")
        assert "written to the console" in json.dumps(browser.problems)
        assert "thrown later" in json.dumps(browser.problems)


# Without a browser


@pytest.mark.parametrize("path, content_type", LOADED.items())
def test_what_the_page_loads_is_there_and_may_load_nothing_from_elsewhere(server, path, content_type):
    got = server.client.get(path, prefix="")
    assert got.headers["content-type"] == content_type
    policy = dict(part.split(" ", 1) for part in got.headers["content-security-policy"].split("; "))
    assert policy.pop("img-src") == "'self' data:"
    assert policy["default-src"] == "'self'"
    assert set(policy.values()) == {"'self'", "'none'"}  # no other host, nothing inline, no eval
    assert got.headers["x-frame-options"] == "DENY"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["cross-origin-resource-policy"] == got.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", LOADED)
def test_what_has_not_changed_is_not_sent_again(server, path):
    got = server.client.get(path, prefix="")
    assert got.headers["cache-control"] == "no-cache"
    again = server.client.get(path, prefix="", headers={"If-None-Match": got.headers["etag"]}, status=304)
    assert again.text == ""


def test_the_html_and_the_styles_name_no_other_host(client):
    class Loads(HTMLParser):
        def handle_starttag(self, tag, attributes):
            loads.extend(value for name, value in attributes if name in ("src", "href"))

    loads = []
    Loads().feed(client.get("/docs", prefix="").text)
    assert sorted(loads) == sorted([".", "openapi.yaml", *(f"docs/{name}" for name in ASSETS)])
    for name in ("page.css", "swagger-ui.css"):
        text = client.get(f"/docs/{name}", prefix="").text
        assert "@import" not in text
        assert all(url.startswith("data:") for url in re.findall(r"url\(\s*[\"']?([^\"')]*)", text))


def test_a_slash_after_docs_leads_to_the_page_and_unknown_files_are_not_there(client):
    assert client.get("/docs/", prefix="", status=308).headers["location"] == "../docs"
    for name in ("index.html", "swagger-ui.js", "..%2fapp.py", "../app.py", "page.js/"):
        assert client.get(f"/docs/{name}", prefix="", status=404).json["error"]["error"] == "NotFound"


def test_the_document_says_the_same_in_both_forms(client):
    document = client.get("/openapi.json", prefix="").json
    assert yaml.load(client.get("/openapi.yaml", prefix="").text, yaml.CSafeLoader) == document
    assert document["openapi"].startswith("3.1.")


@pytest.mark.parametrize("path", LOADED)
def test_with_require_auth_the_page_wants_a_password_too(make_client, folder, path):
    auth_file = folder / "htpasswd"
    auth_file.write_text(f"alice:{htpasswd.hash_password('long enough', cost=4)}\n")
    client = make_client(auth_file=auth_file, require_auth=True)
    answer = client.get(path, prefix="", status=401)
    assert answer.headers["www-authenticate"].startswith("Basic ")  # the browser asks
