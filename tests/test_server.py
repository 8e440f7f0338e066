"""Servers that fail, each a real one with a script: the evaluation ends soon, says why, and keeps finished problems."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from manypaths.cli import main
from manypaths.evaluation import server as client
from manypaths.evaluation.server import server_generate
from manypaths.files import read_jsonl

SAMPLES, PROBLEMS = 3, 20
WORDS = ["--problems", "arithmetic", "--limit", str(PROBLEMS), "--samples", str(SAMPLES), "--temperature", "1"]
WORDS += ["--max-new-tokens", "5", "--patience", "2"]


class Server(ThreadingHTTPServer):
    """Gives a completion for each of the first `after` requests; `failure` handles later ones."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, failure=None, after=0, models=("the-model",)):
        super().__init__(("127.0.0.1", 0), Handler)
        self.failure, self.after, self.models = failure, after, models
        self.lists, self.requests, self.lock = 0, [], threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_):
        pass


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        self.server.lists += 1
        if self.server.models is None:
            return self.server.failure(self)
        listed = [model if isinstance(model, dict) else {"id": model} for model in self.server.models]
        return self.reply({"data": listed})

    def do_POST(self):
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append(self.body)
            number = len(self.server.requests)
        if self.server.failure is not None and number > self.server.after:
            return self.server.failure(self)
        return self.complete()

    def complete(self):
        content = rf"\boxed{{{self.body['seed'] % 10}}}"
        place = {"text": content} if "prompt" in self.body else {"message": {"content": content}}
        self.reply({"choices": [{**place, "finish_reason": "stop"}]})

    def reply(self, content, status=200, headers=(), cut=0):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(data), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) - cut])

    def log_message(self, *_):
        pass


def status(code, text="why", headers=()):
    return lambda handler: handler.reply(text.encode(), code, headers)


def reset(handler):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def half(handler):
    handler.reply({"choices": [{"message": {"content": "half"}}]}, cut=20)


def hang(handler):
    time.sleep(30)


def drip(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(300):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


@pytest.fixture
def started(monkeypatch):
    monkeypatch.setattr(client, "WAIT", 0.01)
    servers = []

    def start(*words, **named):
        servers.append(Server(*words, **named))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def evaluated(server, out, capsys, *words):
    """(exit code, standard error, seconds) of an evaluation with a server."""
    began = time.monotonic()
    code = main(["evaluate", server if isinstance(server, str) else server.url, *WORDS, *words, "--out", str(out)])
    return code, capsys.readouterr().err, time.monotonic() - began


def settled(server):
    """The number of requests, once those that were on their way have arrived."""
    count = None
    while count != len(server.requests):
        count = len(server.requests)
        time.sleep(0.3)
    return count


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The file of results of a server that does not fail; the address plays no part in it."""
    out, server = tmp_path_factory.mktemp("whole") / "out", Server()
    assert main(["evaluate", server.url, *WORDS, "--out", str(out)]) == 0
    server.shutdown()
    server.server_close()
    return out / "arithmetic.jsonl"


def test_a_wrong_address_costs_one_connection(tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, printed, seconds = evaluated(f"http://127.0.0.1:{port}/v1", tmp_path / "out", capsys)
    assert (code, len(printed.splitlines())) == (2, 1) and "refused" in printed and seconds < 5


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (status(401, "wrong key \x1b[31m\x07"), ["401", "wrong key \\x1b[31m\\x07"]),
        (status(403), ["403"]),
        (lambda handler: handler.reply(b"<html>hello</html>"), ["no JSON"]),
        (lambda handler: handler.reply([1]), ["lists no models", "/v1"]),
        (lambda handler: handler.reply({"data": []}), ["lists none"]),
        (status(404), ["404"]),
        (reset, ["Error"]),
        (half, ["IncompleteRead"]),
        (hang, ["timed out"]),
    ],
)
def test_what_is_wrong_from_the_start_costs_one_request(failure, expected, started, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(client, "PROBE_PATIENCE", 1.0)
    server = started(failure, models=None)
    code, printed, seconds = evaluated(server, tmp_path / "out", capsys)
    assert (code, server.lists, len(server.requests)) == (2, 1, 0) and seconds < 5
    assert all(word in printed for word in expected), printed
    assert printed.count("\n") == 1 and printed.removesuffix("\n").isprintable()


def test_an_unknown_model_costs_one_request(started, tmp_path, capsys):
    server = started(models=("one", "two\x1b]0;title\x07"))
    code, printed, _ = evaluated(server, tmp_path / "out", capsys, "--model-name", "three")
    assert (code, server.lists, server.requests) == (2, 1, [])
    assert "'three'" in printed and "one, two" in printed and printed.removesuffix("\n").isprintable()


def test_a_server_without_a_list_of_models_is_used_by_name(started, tmp_path, capsys):
    server = started(status(404), after=PROBLEMS * SAMPLES, models=None)
    assert evaluated(server, tmp_path / "out", capsys, "--model-name", "mine")[0] == 0
    assert {body["model"] for body in server.requests} == {"mine"}


FINAL = [
    (status(400, "too long \x1b[2J"), "400"),
    (status(404, "no such model"), "no such model"),
    (status(501), "501"),
    (lambda handler: handler.reply(b"<html>"), "no JSON"),
    (lambda handler: handler.reply({"choices": []}), "without a completion"),
    (lambda handler: handler.reply({"choices": [{"message": {"content": 7}}]}), "without a completion"),
    (lambda handler: handler.reply([]), "without a completion"),
    (lambda handler: handler.reply(b"[" * 100_000), "no JSON"),
]
LASTING = [(status(500), "500"), (status(429), "429"), (reset, "reset"), (half, "IncompleteRead")]
SILENT = [(hang, "no completion for 2 seconds"), (drip, "no completion for 2 seconds")]


@pytest.mark.parametrize(("failure", "reason"), FINAL + LASTING + SILENT)
def test_a_failure_in_the_middle_ends_it_and_only_missing_problems_are_requested_again(
    failure, reason, whole, started, tmp_path, capsys
):
    out, after = tmp_path / "out", 31
    server = started(failure, after)
    code, printed, seconds = evaluated(server, out, capsys)
    assert code == 2 and reason in printed and str(out) in printed and seconds < 10
    assert printed.splitlines()[-1].isprintable()
    tries = client.TRIES if (failure, reason) in LASTING else 1
    assert len(server.requests) <= after + 64 * tries
    kept = read_jsonl(out / "arithmetic.jsonl.part")
    assert all(line in read_jsonl(whole) for line in kept)
    before, server.failure = settled(server), None
    assert evaluated(server, out, capsys)[0] == 0
    assert len(server.requests) - before == (PROBLEMS - len(kept)) * SAMPLES
    assert (out / "arithmetic.jsonl").read_text() == whole.read_text()


def test_every_problem_that_was_finished_before_a_failure_is_kept(started, monkeypatch):
    """One request at a time, so that the order in which they finish is fixed."""
    for after in (0, 1, 2, 3, 7, 11):
        server = started(status(400), after)
        finished = []
        ask = server_generate(server.url, max_new_tokens=5, at_once=1)
        with pytest.raises(ValueError, match="400"):
            finished.extend(place for place, _ in ask.as_finished(["a", "b", "c", "d"], 3))
        assert finished == list(range(after // 3)) and len(server.requests) == after + 1


def test_transient_errors_are_tried_again(whole, started, tmp_path, capsys):
    def sometimes(handler):
        passing = [status(503), status(429, headers={"Retry-After": "0.2"}), reset, half, status(502)]
        if handler.body["seed"] in seen:
            return handler.complete()
        seen.add(handler.body["seed"])
        return passing[len(seen) % len(passing)](handler)

    seen = set()
    server = started(sometimes)
    assert evaluated(server, tmp_path / "out", capsys)[0] == 0
    assert len(server.requests) == 2 * PROBLEMS * SAMPLES
    assert (tmp_path / "out" / "arithmetic.jsonl").read_text() == whole.read_text()


def test_a_request_is_repeated_after_the_time_of_retry_after(started):
    def busy(handler):
        times.append(time.monotonic())
        return status(429, headers={"Retry-After": "0.5"})(handler) if len(times) < 3 else handler.complete()

    times = []
    server_generate(started(busy).url, max_new_tokens=5)(["a"], 1)
    assert all(later - before >= 0.5 for before, later in itertools.pairwise(times)) and len(times) == 3


def test_a_slow_server_is_waited_for(started, tmp_path, capsys):
    def slow(handler):
        time.sleep(0.3)
        handler.complete()

    assert evaluated(started(slow), tmp_path / "out", capsys)[0] == 0


def test_a_silent_server_ends_it_early_and_a_busy_one_does_not(started, monkeypatch):
    monkeypatch.setattr(client, "PROBE", 0.1)
    monkeypatch.setattr(client, "PROBE_PATIENCE", 0.1)
    monkeypatch.setattr(client, "SILENCE", 1.0)
    server = started(lambda handler: (time.sleep(2), handler.complete()))
    assert len(server_generate(server.url, max_new_tokens=5)(["a"], 1)) == 1
    assert server.lists > 3, "it is probed"
    server = started(hang)
    ask = server_generate(server.url, max_new_tokens=5)
    server.failure, server.models, began = hang, None, time.monotonic()
    with pytest.raises(ValueError, match="no reply for 1 seconds"):
        ask(["a"], 1)
    assert time.monotonic() - began < 5


def test_a_key_that_is_no_line_is_not_printed(started, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sec\nret")
    code, printed, _ = evaluated(started(), tmp_path / "out", capsys)
    assert code == 2 and "OPENAI_API_KEY" in printed and "ret." not in printed and "sec" not in printed


def test_servers_that_read_a_generation_config_get_settings_that_undo_it(started):
    for owner, keys in ("vllm", {"top_k", "min_p", "repetition_penalty"}), ("sglang", {"top_k"}), ("me", set()):
        server = started(models=({"id": "m", "owned_by": owner},))
        server_generate(server.url, max_new_tokens=5)([[{"role": "user", "content": "a"}]], 1)
        assert keys <= set(server.requests[0]) and ("top_k" in server.requests[0]) == bool(keys)


def test_ctrl_c_ends_it_at_once_and_keeps_finished_problems(started, tmp_path, capsys):
    out = tmp_path / "out"
    server = started(hang, after=2 * PROBLEMS)
    words = [*WORDS, "--patience", "60"]  # it must not end by itself where the machine is slow
    command = [sys.executable, "-m", "manypaths", "evaluate", server.url, *words, "--out", str(out)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    began = time.monotonic()
    while len(read_jsonl(out / "arithmetic.jsonl.part")) < 3:
        assert process.poll() is None and time.monotonic() - began < 60, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stopped = time.monotonic()
    code, seconds = process.wait(20), time.monotonic() - stopped
    printed = process.stderr.read()
    assert code == 130 and seconds < 10 and "finished are kept" in printed, printed
    kept, before = read_jsonl(out / "arithmetic.jsonl.part"), len(server.requests)
    server.failure = None
    assert evaluated(server, out, capsys)[0] == 0
    assert len(server.requests) - before == (PROBLEMS - len(kept)) * SAMPLES and len(kept) >= 3
    assert os.listdir(out).count("arithmetic.jsonl.part") == 0
