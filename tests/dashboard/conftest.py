"""Headless browsers for tests of pages."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import BROWSERS, EACH_BROWSER, Browser, chromium


@pytest.fixture(scope="module", params=EACH_BROWSER)
def address(request, session_folder):
    """The address of a browser, for Browser(): one after the other of those that tests are run in."""
    folder = session_folder / f"{Path(request.node.name).stem}-{request.param}"
    folder.mkdir()
    with BROWSERS[request.param](folder) as address:
        yield address


@pytest.fixture(scope="module")
def chromium_address(request, session_folder):
    folder = session_folder / f"{Path(request.node.name).stem}-alone"
    folder.mkdir()
    with chromium(folder) as address:
        yield address


@pytest.fixture
def browser(address):
    yield from behaved(address)


@pytest.fixture
def chrome(chromium_address):
    yield from behaved(chromium_address)


def behaved(address):
    """A tab. After the test its pages must have reported no problem, and asked no other host than their own."""
    browser = Browser(address)
    yield browser
    asked = {urlsplit(request["url"]).netloc for request in browser.requests}
    problems = list(browser.problems)
    browser.close()
    assert problems == []
    assert asked <= {"", *(urlsplit(url).netloc for url in browser.opened)}  # a data: URL has no host
