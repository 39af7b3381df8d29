"""Headless browsers for tests of pages."""

import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import BROWSERS, EACH_BROWSER, Browser, chromium


@pytest.fixture(scope="module", params=EACH_BROWSER)
def address(request, session_folder):
    """The address of a browser, for Browser(): one after the other of those that tests are run in."""
    with BROWSERS[request.param](new_folder(session_folder)) as address:
        yield address


@pytest.fixture(scope="module")
def chromium_address(session_folder):
    with chromium(new_folder(session_folder)) as address:
        yield address


def new_folder(session_folder):
    """A folder for a browser: one that another has left tells the wrong port."""
    return Path(tempfile.mkdtemp(dir=session_folder))


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
