"""Headless Chromium, driven through the WebDriver protocol, for the tests of pages."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Entry = dict[str, Any]
WIDTHS = (1280, 390)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the driver is on this machine
KEYS = {"left": "\ue012", "right": "\ue014"}


class Browser:
    """A WebDriver session in a fresh profile: each method is one command of the protocol."""

    def __init__(self, driver: str, chromium: str, profile: str) -> None:
        self.url = driver
        options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        self.url += (
            "/session/" + self.call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        )

    def call(self, method: str, path: str, body: Entry | None = None) -> Any:
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with LOCAL.open(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def open(self, path: Path, width: int = 1280, fragment: str = "", scheme: str = "light") -> None:
        """`scheme` is light or dark, as the reader's system prefers."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": media})
        self.call("POST", "/url", {"url": "about:blank"})
        self.call("POST", "/url", {"url": path.resolve().as_uri() + fragment})

    def run(self, script: str, *arguments: Any) -> Any:
        return self.call("POST", "/execute/sync", {"script": script, "args": arguments})

    def press(self, key: str) -> None:
        typed = [{"type": "keyDown", "value": KEYS[key]}, {"type": "keyUp", "value": KEYS[key]}]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": typed}]})

    def point(self, selector: str, x: float = 0.5, y: float = 0.5, click: bool = False) -> None:
        """Moves the mouse to that part of an element, after scrolling it into view."""
        script = "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center'});"
        box = self.run(script + "const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]", selector)
        move = {"type": "pointerMove", "duration": 0, "x": int(box[0] + x * box[2]), "y": int(box[1] + y * box[3])}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}] if click else []
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [move, *press]}
        self.call("POST", "/actions", {"actions": [mouse]})

    def log(self, kind: str) -> list[Entry]:
        """The entries since the last call."""
        entries: list[Entry] = self.call("POST", "/se/log", {"type": kind})
        return entries


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    binary, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if binary is None or driver is None:
        missing = "Chromium" if binary is None else "chromedriver"
        pytest.fail(
            f"The browser tests need Chromium and its driver; {missing} is not on the PATH. On Debian: "
            "apt-get update && apt-get install -y chromium chromium-driver"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(150):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browser = Browser(f"http://127.0.0.1:{port}", binary, profile)
            try:
                yield browser
            finally:
                browser.call("DELETE", "")
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser; a test fails that leaves a message in its console or a request to anything but a file."""
    chromium.log("browser"), chromium.log("performance")
    yield chromium
    assert chromium.log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in chromium.log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = [url for url in urls if not url.startswith("chrome:")]  # the first page of a slow browser, before ours
    assert urls and all(url.startswith(("file:", "about:", "data:")) for url in urls)
