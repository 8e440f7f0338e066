"""Where completions come from: transformers on a tiny model, and a real server that replies by a rule."""

from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
import torch
import yaml
from transformers import AutoTokenizer

from manypaths import checkpoint
from manypaths.cli import main
from manypaths.evaluation import generate
from manypaths.evaluation import server as client
from manypaths.evaluation.generate import choose_backend, seed_of, transformers_generate
from manypaths.evaluation.server import server_generate

PROMPTS = ["12 + 7 =", "a", "The answer to everything is", "{x}", "9", "one two three four five six", "a\nb", "zz zz"]


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return checkpoint.load(str(tiny_model), dtype="float32")


def draw(loaded, prompts=PROMPTS, n=1, **named):
    return transformers_generate(*loaded, **{"max_new_tokens": 8, **named})(prompts, n)


def test_greedy_completions_belong_to_their_prompts_whatever_the_batch(loaded):
    together = draw(loaded)
    assert len({row[0] for row in together}) == len(PROMPTS), "each prompt has its own completion"
    alone = [draw(loaded, [prompt])[0] for prompt in PROMPTS]
    assert together == alone
    for batch_size in (1, 3, 5):
        assert draw(loaded, batch_size=batch_size) == together
    assert draw(loaded, PROMPTS[::-1], batch_size=3) == together[::-1]
    assert draw(loaded, n=2, batch_size=3) == [row * 2 for row in together]


def test_samples_depend_on_the_seed_alone(loaded):
    hot = {"temperature": 1.0, "n": 4, "batch_size": 5}
    first = draw(loaded, seed=3, **hot)
    torch.rand(7)  # the global state does not matter
    assert draw(loaded, seed=3, **hot) == first
    assert draw(loaded, seed=4, **hot) != first
    assert all(len(row) == 4 for row in first)
    assert any(len(set(row)) > 1 for row in first)
    assert draw(loaded, seed=3) == draw(loaded, seed=4), "greedy needs no seed"


def test_a_tiny_nucleus_is_greedy(loaded):
    assert draw(loaded, temperature=1.0, top_p=1e-6) == draw(loaded)


def test_the_random_state_outside_is_left_alone(loaded):
    before = torch.get_rng_state()
    draw(loaded, temperature=1.0)
    assert torch.equal(torch.get_rng_state(), before)


def test_messages_go_through_the_chat_template(loaded):
    messages = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    texts = [f"<|user|>{prompt}<|end|>\n<|assistant|>" for prompt in PROMPTS]
    assert draw(loaded, messages) == draw(loaded, texts)


def test_no_prompts_give_no_completions(loaded):
    assert draw(loaded, []) == []


@pytest.mark.parametrize("named", [{"batch_size": 0}, {"batch_size": -1}, {"max_new_tokens": 0}, {"temperature": -1.0}])
def test_settings_that_give_no_completions_are_refused(loaded, named):
    with pytest.raises(ValueError):
        draw(loaded, **named)


def test_lengths_and_truncation_are_reported(loaded):
    _, tokenizer = loaded
    samples = [sample for row in draw(loaded, temperature=1.0, n=8, max_new_tokens=64) for sample in row]
    for sample in samples:
        ids = tokenizer(sample.text, add_special_tokens=False).input_ids
        assert sample.truncated == (sample.tokens == 64 and tokenizer.eos_token not in sample.text)
        assert 0 < sample.tokens <= 64 and len(ids) <= 3 * sample.tokens
    assert len({sample.truncated for sample in samples}) == 2, "some end, some reach the limit"


def test_completions_depend_on_the_prompts_of_the_call_not_on_earlier_calls(loaded):
    hot = {"temperature": 1.0, "batch_size": 4, "seed": 3}
    ask = transformers_generate(*loaded, max_new_tokens=8, **hot)
    first = [ask(PROMPTS[:2], 4), ask(PROMPTS[2:4], 4)]
    assert ask(PROMPTS[2:4], 4) == first[1] and ask(PROMPTS[:2], 4) == first[0]
    assert first[0] != first[1]


# A server


class Server(BaseHTTPRequestHandler):
    """Replies with the seed and the prompt; the first requests fail with the statuses in `failures`."""

    failures: ClassVar[list[int]]
    bodies: ClassVar[list[dict]]
    headers_seen: ClassVar[list[str | None]]

    def do_GET(self):
        self._send({"data": [{"id": "the-model"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Server.headers_seen.append(self.headers["Authorization"])
        if Server.failures:
            self.send_error(Server.failures.pop())
            return
        Server.bodies.append(body)
        text = f"{body['seed'] % 1000} {body.get('prompt') or body['messages'][0]['content']}"
        choice = {"message": {"content": text}} if self.path.endswith("chat/completions") else {"text": text}
        finish = "length" if "long" in text else "stop"
        self._send({"choices": [{**choice, "finish_reason": finish}], "usage": {"completion_tokens": 7}})

    def _send(self, content):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def url(monkeypatch):
    Server.failures, Server.bodies, Server.headers_seen = [], [], []
    monkeypatch.setattr(client, "WAIT", 0.001)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_each_completion_is_a_request_with_its_own_seed(url, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    ask = server_generate(url, max_new_tokens=9, temperature=0.6, top_p=0.95, seed=4)
    prompts = ["short", "a long one", "third"]
    samples = ask(prompts, 3)
    assert [[sample.text.split(" ", 1)[1] for sample in row] for row in samples] == [[prompt] * 3 for prompt in prompts]
    assert len({body["seed"] for body in Server.bodies}) == 9
    assert {sample.truncated for sample in samples[1]} == {True} and {sample.truncated for sample in samples[0]} == {
        False
    }
    assert {sample.tokens for row in samples for sample in row} == {7}
    for body in Server.bodies:
        assert (body["model"], body["max_tokens"], body["temperature"], body["top_p"]) == ("the-model", 9, 0.6, 0.95)
    assert set(Server.headers_seen) == {"Bearer secret"}
    assert ask(prompts[1:], 3) == samples[1:], "the same whatever the earlier requests were"
    chat = server_generate(url, max_new_tokens=9, seed=4)([[{"role": "user", "content": "hello"}]], 2)
    assert [sample.text.split()[1] for sample in chat[0]] == ["hello", "hello"]


def test_a_transient_error_is_tried_again_and_a_lasting_one_is_reported(url):
    Server.failures = [503, 429, 500]
    assert server_generate(url, max_new_tokens=1)(["a"], 1)[0][0].text.endswith(" a")
    assert Server.failures == []
    Server.failures = [400]
    with pytest.raises(ValueError, match="failed: 400"):
        server_generate(url, max_new_tokens=1)(["a"], 1)
    Server.failures = [500] * 20
    with pytest.raises(ValueError, match="failed: 500"):
        server_generate(url, max_new_tokens=1, name="the-model")(["a"], 1)
    with pytest.raises(ValueError, match="failed"):
        server_generate("http://127.0.0.1:9/v1", max_new_tokens=1)


def test_the_backend_is_vllm_where_it_is_installed(monkeypatch):
    assert choose_backend("a/b")[0] == "transformers"
    assert choose_backend("http://here/v1")[0] == "server"
    assert choose_backend("a/b", "transformers") == ("transformers", "as requested")
    monkeypatch.setattr(generate.importlib.util, "find_spec", lambda name: name)
    assert choose_backend("a/b") == ("vllm", "it is installed")
    for model, backend in (("a/b", "server"), ("http://here/v1", "vllm")):
        with pytest.raises(ValueError, match="URL"):
            choose_backend(model, backend)


def test_seeds_differ_and_stay():
    assert seed_of(1, "a", 0) == seed_of(1, "a", 0)
    assert len({seed_of(1, "a", 0), seed_of(2, "a", 0), seed_of(1, "b", 0), seed_of(1, "a", 1)}) == 4


def test_each_distinct_text_is_read_once_and_the_tensors_are_those_of_all_texts(tiny_model):
    from transformers import AutoTokenizer

    from manypaths.evaluation.generate import _encoded

    tokenizer, read = AutoTokenizer.from_pretrained(tiny_model), []
    texts = ["ab", "abcd", "ab", "x", "abcd", "x", "x"]
    named = {"return_tensors": "pt", "padding": True, "padding_side": "left", "add_special_tokens": True}

    def counting(own, **given):
        read.extend(own)
        return tokenizer(own, **given)

    own, expected = _encoded(counting, texts, named, "cpu"), tokenizer(texts, **named)
    assert read == ["ab", "abcd", "x"] and own.keys() == expected.keys()
    assert all(torch.equal(own[name], expected[name]) for name in expected)


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_messages_for_a_model_without_a_template_are_refused_with_what_to_write(
    command, tiny_model, tiny_recipe, tmp_path, capsys
):
    model = tmp_path / "base"
    shutil.copytree(tiny_model, model, ignore=shutil.ignore_patterns("chat_template.jinja"))
    assert AutoTokenizer.from_pretrained(model).chat_template is None
    words = [str(model), "--problems", "svamp", "--limit", "1", "--max-new-tokens", "2", "--out", str(tmp_path / "a")]
    if command == "train":
        tiny_recipe["model"]["name"] = str(model)
        tiny_recipe |= {"prompt": [{"role": "user", "content": "{question}"}], "evaluation": None}
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_recipe))
        words = [str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run")]
    assert main([command, *words]) == 2
    assert "must be a text for a model without a chat template" in capsys.readouterr().err
