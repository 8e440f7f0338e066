"""A local stand-in for the API of the Hugging Face hub: repositories are made, and commits are kept in memory."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

USER, TOKEN = "ada", "hf_for_the_stand_in"


class Hub:
    """What the stand-in was sent: `files` of each repository by path, `private` by repository, commit messages."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool | None] = {}
        self.messages: list[str] = []
        self.unknown: list[str] = []  # requests that it has no answer to
        self.endpoint = ""

    def answer(self, method: str, path: str, body: bytes, token: str) -> tuple[int, Any]:
        """The status and the JSON of a response."""
        path = path.partition("?")[0]
        if method == "GET" and path == "/api/whoami-v2":
            return 200, {"name": USER, "type": "user", "orgs": [], "auth": {"type": "access_token"}}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials in Authorization header"}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        parts = path.strip("/").split("/")
        if parts[0] == "api" and len(parts) > 4 and parts[4] == "preupload":
            return 200, {"files": self._modes("/".join(parts[1:4]), json.loads(body))}
        if parts[0] == "api" and len(parts) > 4 and parts[4] == "commit":
            return self._commit("/".join(parts[1:4]), body)
        self.unknown.append(f"{method} {path}")
        return 404, {"error": "not found"}

    def _modes(self, repository: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        """How each file is to be sent; ignored are names in the .gitignore of the commit, else of the repository."""
        hosted = self.files[repository].get(".gitignore", b"").decode()
        ignored = wanted.get("gitIgnore", hosted).split()
        paths = [file["path"] for file in wanted["files"]]
        parts = {path: [fnmatch(part, name) for part in path.split("/") for name in ignored] for path in paths}
        return [{"path": path, "uploadMode": "regular", "shouldIgnore": any(parts[path])} for path in paths]

    def _create(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        kind = f"{wanted.get('type') or 'model'}s"
        name = f"{wanted.get('organization') or USER}/{wanted['name']}"
        address = f"{self.endpoint}/{'' if kind == 'models' else kind + '/'}{name}"
        if f"{kind}/{name}" in self.files:
            return 409, {"error": "You already created this model repo", "url": address}
        self.files[f"{kind}/{name}"] = {}
        visibility = {"private": True, "public": False}.get(wanted.get("visibility"))
        self.private[f"{kind}/{name}"] = wanted.get("private", visibility)
        return 200, {"url": address, "name": name, "id": "1"}

    def _commit(self, repository: str, body: bytes) -> tuple[int, Any]:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                self.messages.append(value["summary"])
            else:
                assert line["key"] == "file" and value["encoding"] == "base64", line["key"]
                self.files[repository][value["path"]] = base64.b64decode(value["content"])
        return 200, {"commitUrl": f"{self.endpoint}/{repository}/commit/1", "commitOid": "1" * 40, "success": True}


@contextmanager
def serving() -> Iterator[Hub]:
    """A stand-in that answers at `endpoint` as long as the context lasts."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            status, content = hub.answer(self.command, self.path, body, self.headers.get("Authorization", ""))
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_HEAD = _respond

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
