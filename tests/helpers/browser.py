"""Headless browsers, driven over the DevTools protocol: what a page shows, which requests it sends, what goes wrong.

Lightpanda comes as a wheel (the extra `browser`); it runs scripts, but draws nothing, loads no styles and knows no
Content-Security-Policy. Chromium does all that, where the machine has one (or TORC_TEST_BROWSER names one).
"""

import contextlib
import json
import os
import shutil
import subprocess
import time

import psutil
import pytest
import websocket
from support import clean_environment, wait_for

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
)  # fmt: skip

ANSWERS_WITHIN = 60  # seconds


@contextlib.contextmanager
def lightpanda(folder):
    """Start Lightpanda; give the address of its protocol."""
    try:
        from lightpanda import CDPServer
    except ModuleNotFoundError:
        pytest.skip("Lightpanda is not installed: it has no wheel for this machine")
    with CDPServer(env={"HOME": str(folder), "LIGHTPANDA_DISABLE_TELEMETRY": "true"}) as server:
        yield server.ws_endpoint


def chromium_program():
    """The Chromium of this machine, or None."""
    return os.environ.get("TORC_TEST_BROWSER") or next(filter(None, map(shutil.which, CHROMIUM)), None)


@contextlib.contextmanager
def chromium(folder):
    """Start the Chromium of this machine; give the address of its protocol."""
    program = chromium_program()
    if not program:
        pytest.skip("there is no Chromium here (make test-browser installs it), and TORC_TEST_BROWSER names none")
    profile = folder / "profile"
    port_file = profile / "DevToolsActivePort"
    with open(folder / "chromium.log", "wb") as log:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}"], env=clean_environment(folder), stdout=log, stderr=log
        )
    try:
        wait_for(lambda: port_file.exists() and port_file.read_text().count("\n"), 60, "Chromium listens")
        port, path = port_file.read_text().split("\n")[:2]
        yield f"ws://127.0.0.1:{port}{path}"
    finally:
        family = [process, *psutil.Process(process.pid).children(recursive=True)]
        process.terminate()
        psutil.wait_procs(family, 30)  # they write into the folder until they end
        process.wait(30)


BROWSERS = {"lightpanda": lightpanda, "chromium": chromium}
# Chromium takes ten times as long: make test-browser, make test-long.
EACH_BROWSER = ["lightpanda", pytest.param("chromium", marks=pytest.mark.long)]


class Browser:
    """One tab. .opened: the addresses that open() was given; .requests: the requests sent so far ({"url", "headers",
    …}); .problems: errors and warnings of the console, exceptions, failed loads and what was forbidden, as the protocol
    tells them."""

    def __init__(self, address):
        self.opened = []
        self.requests = []
        self.problems = []
        self.forgiven = None  # problems with this text in them are expected
        self._calls = 0
        self._session = {}
        self._socket = websocket.create_connection(address, timeout=ANSWERS_WITHIN, suppress_origin=True)
        self._target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self):
        """Close the tab and the connection."""
        self._session = {}
        self.call("Target.closeTarget", targetId=self._target)
        self._socket.close()

    def open(self, url):
        self.opened.append(url)
        self.call("Page.navigate", url=url)

    def evaluate(self, script):
        """The JSON value of a script. Raises AssertionError if it throws."""
        got = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, f"{script}: {got}"
        return got["result"].get("value")

    def wait_for(self, script, timeout=60):
        """Evaluate until the value is true; return it."""
        end = time.monotonic() + timeout
        while not (value := self.evaluate(script)):
            assert time.monotonic() < end, f"{script}: not within {timeout} s; {self.problems}"
            time.sleep(0.05)
        return value

    def click(self, selector):
        """Click the element once it is there."""
        self.wait_for(f"!!document.querySelector({selector!r})")
        self.evaluate(f"document.querySelector({selector!r}).click()")

    def type(self, selector, text):
        """Put text into an input field as typing does."""
        self.wait_for(f"!!document.querySelector({selector!r})")
        self.evaluate(f"""{{
            const field = document.querySelector({selector!r});
            Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(field, {json.dumps(text)});
            field.dispatchEvent(new Event("input", {{bubbles: true}}));
        }}""")

    def look_like(self, theme, width, height, scale=1):
        """Use the theme (light or dark) and a window of that size in CSS pixels; in Chromium only."""
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=scale > 1
        )

    def picture(self):
        """The whole page as a PNG, in base64; in Chromium only."""
        return self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]

    def press(self, key):
        """Press a key such as Tab or Enter; in Chromium only."""
        text = {"Enter": "\r"}.get(key, "")
        code = {"Tab": 9, "Enter": 13, "Escape": 27}[key]
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, text=text, windowsVirtualKeyCode=code)

    def call(self, method, **params):
        """Call a method of the protocol; return its result. Raises AssertionError."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": params, **self._session}))
        end = time.monotonic() + ANSWERS_WITHIN
        while (got := self._receive(f"{method} {params}", end)).get("id") != self._calls:
            self._note(got["method"], got["params"])
        assert "error" not in got, f"{method}: {got['error']}"
        return got["result"]

    def _receive(self, waiting_for, end):
        self._socket.settimeout(max(end - time.monotonic(), 0.01))
        try:
            return json.loads(self._socket.recv())
        except websocket.WebSocketTimeoutException:
            pytest.fail(f"the browser has not answered within {ANSWERS_WITHIN} s: {waiting_for[:300]}")

    def _note(self, event, params):
        if event == "Network.requestWillBeSent":
            self.requests.append(params["request"])
        elif self.forgiven and self.forgiven in json.dumps(params):
            pass
        elif (
            event == "Runtime.exceptionThrown"
            or (event == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"))
            or (event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"))
        ):
            self.problems.append(params)
