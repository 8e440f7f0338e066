"""Samples from a server that speaks OpenAI's protocol, such as `vllm serve`: a *generate* as in `generate.py`."""

from __future__ import annotations

import http.client
import json
import os
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

from manypaths.evaluation.generate import Prompt, Sample, seed_of
from manypaths.printable import one_line

RETRIES, WAIT, LONGEST_WAIT = 5, 1.0, 60.0  # of a server: tries, seconds before the second one, and at most
PATIENCE = 3600.0  # seconds without any completion after which a server is given up
DEAF, PROBE, PROBE_PATIENCE = 300.0, 60.0, 30.0  # the same without a reply of any kind, and how often that is looked at
LARGEST = 2**24  # bytes of a reply
PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 507, 508, 529)  # HTTP statuses that may be over in a moment
Arrived = queue.SimpleQueue[tuple[int, int, "Sample | Exception"]]  # (place of the prompt, number of the sample, it)


class ServerError(ValueError):
    """Why a server gives no completion, in words; trying again at once would not help."""


class Server:
    """A server that speaks OpenAI's protocol, as a `generate`; see `server_generate`."""

    def __init__(self, url: str, settings: dict[str, Any], seed: int, at_once: int, patience: float) -> None:
        self.base, self.settings, self.seed = url, settings, seed
        self.at_once, self.patience = at_once, patience

    def __call__(self, prompts: Sequence[Prompt], n: int) -> list[list[Sample]]:
        finished = dict(self.as_finished(prompts, n))
        return [finished[place] for place in range(len(prompts))]

    def as_finished(self, prompts: Sequence[Prompt], n: int) -> Iterator[tuple[int, list[Sample]]]:
        """(position of a prompt, its n samples), as the last of these is there.

        ServerError at the first request that fails for good; what was finished until then is yielded before.
        """
        waiting: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        arrived: Arrived = queue.SimpleQueue()
        stopped = threading.Event()

        def work() -> None:
            while not stopped.is_set():
                try:
                    place, index = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    arrived.put((place, index, self._sample(prompts[place], index, stopped)))
                except Exception as error:  # it is raised where the samples are taken
                    stopped.set()
                    arrived.put((place, index, error))

        for place in range(len(prompts)):
            for index in range(n):
                waiting.put((place, index))
        for _ in range(min(self.at_once, len(prompts) * n)):  # daemons: neither Ctrl-C nor an error waits for a reply
            threading.Thread(target=work, daemon=True).start()
        try:
            yield from self._whole(arrived, [{} for _ in prompts], n)
        finally:
            stopped.set()

    def _whole(self, arrived: Arrived, rows: list[dict[int, Sample]], n: int) -> Iterator[tuple[int, list[Sample]]]:
        """The rows of `as_finished` from single samples that arrive in any order."""
        failure: Exception | None = None
        for _ in range(len(rows) * n):
            if failure is not None and arrived.empty():
                break
            place, index, sample = self._next(arrived)
            if isinstance(sample, Exception):
                failure = failure or sample
                continue
            rows[place][index] = sample
            if len(rows[place]) == n:
                yield place, [rows[place][index] for index in range(n)]
        if failure is not None:
            raise failure

    def _next(self, arrived: Arrived) -> tuple[int, int, Sample | Exception]:
        """The next sample; ServerError where none comes for `patience` seconds, or the server has gone silent."""
        began = heard = time.monotonic()
        while True:
            try:
                return arrived.get(timeout=min(PROBE, self.patience))
            except queue.Empty:
                now = time.monotonic()
            if now - began >= self.patience:
                raise ServerError(f"The server at {self.base} gave no completion for {now - began:.0f} seconds.")
            if self._hears():
                heard = now
            elif now - heard >= DEAF:
                raise ServerError(f"The server at {self.base} gave no reply for {now - heard:.0f} seconds.")

    def _hears(self) -> bool:
        """Whether the server answers anything at all."""
        try:
            urllib.request.urlopen(_request(f"{self.base}/models"), timeout=PROBE_PATIENCE).close()
        except urllib.error.HTTPError:
            return True
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _sample(self, prompt: Prompt, index: int, stopped: threading.Event) -> Sample:
        is_text = isinstance(prompt, str)
        wanted = {"prompt": prompt} if is_text else {"messages": prompt}
        body = {**self.settings, **wanted, "seed": seed_of(self.seed, prompt, index)}
        path = "completions" if is_text else "chat/completions"
        reply = ask(f"{self.base}/{path}", body, patience=self.patience, stopped=stopped)
        try:
            choice = reply["choices"][0]
            text = choice["text"] if is_text else choice["message"].get("content") or ""
            text = text.encode("utf-8", "replace").decode()
            tokens = (reply.get("usage") or {}).get("completion_tokens")
            return Sample(text, tokens if isinstance(tokens, int) else None, choice.get("finish_reason") == "length")
        except (AttributeError, LookupError, TypeError):
            told = one_line(json.dumps(reply), 500)
            raise ServerError(f"The server at {self.base} replies without a completion: {told}") from None


def server_generate(
    url: str,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    name: str | None = None,
    at_once: int = 64,
    patience: float | None = None,
) -> Server:
    """A `generate` on a server with OpenAI's protocol, such as `vllm serve`: `url` ends in /v1.

    Each sample is a request with a seed of its own, `at_once` of them at a time. `name` is the model, by default the
    first that the server lists. The environment's OPENAI_API_KEY is sent, if there is one. The list of models is asked
    for first, so that a wrong address, key or name costs one request.

    What may pass (429, most of 5xx, a lost connection) is tried `RETRIES` times. After that, at once where an error is
    final, and when no completion comes for `patience` seconds (`PATIENCE`), everything ends with a ServerError.
    """
    base = url.rstrip("/")
    settings: dict[str, Any] = {"max_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p}
    settings |= {"model": name} | _model_settings(base, name)
    return Server(base, settings, seed, at_once, PATIENCE if patience is None else patience)


def _model_settings(base: str, name: str | None) -> dict[str, Any]:
    """The model's name on a server, and the settings by which vLLM and SGLang leave out a generation_config.json."""
    try:
        listed = ask(f"{base}/models", patience=PROBE_PATIENCE, at_first=True)
    except ServerError as error:
        if name is None or getattr(error.__cause__, "code", None) not in (404, 405, 501):  # some list no models
            raise
        return {}
    try:
        models = {str(model["id"]): model.get("owned_by") for model in listed["data"]}
    except (AttributeError, LookupError, TypeError):
        told = one_line(json.dumps(listed), 500)
        raise ServerError(f"The server at {base} lists no models: {told}. Give the URL that ends in /v1.") from None
    if not models or (name is not None and name not in models):
        lists = one_line(", ".join(models), 500) or "none"
        raise ServerError(f"The server at {base} does not know the model {name!r}. It lists {lists}.")
    name = next(iter(models)) if name is None else name
    neutral = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    return {"model": name, **(neutral if models[name] in ("vllm", "sglang") else {})}


def ask(
    url: str,
    body: dict[str, Any] | None = None,
    *,
    patience: float,
    at_first: bool = False,
    stopped: threading.Event | None = None,
) -> Any:
    """What a server replies, read from JSON. ServerError where it stays silent or refuses; `at_first` a connection that
    fails is final, and once `stopped` is set nothing is asked again."""
    request, stopped = _request(url, body), stopped or threading.Event()
    for attempt in range(1, RETRIES + 1):
        pause = WAIT * 2 ** (attempt - 1)
        try:
            with urllib.request.urlopen(request, timeout=patience) as reply:
                data = reply.read(LARGEST)
                if reply.length:
                    raise http.client.IncompleteRead(data, reply.length)
            return json.loads(data)
        except urllib.error.HTTPError as error:
            cause: Exception = error
            why, passes = _words_of(error), error.code in PASSING
            pause = min(LONGEST_WAIT, max(pause, _retry_after(error)))
        except (OSError, http.client.HTTPException) as error:  # refused, reset, timed out, half a reply
            cause, why, passes = error, f"{type(error).__name__}: {error}", not at_first
        except (ValueError, RecursionError) as error:
            cause, why, passes = error, f"no JSON: {error}", False
        if not passes or attempt == RETRIES or stopped.wait(pause):
            break
    raise ServerError(f"The server at {url} does not answer as asked: {one_line(why, 500)}") from cause


def _request(url: str, body: dict[str, Any] | None = None) -> urllib.request.Request:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("OPENAI_API_KEY must be a line of ASCII characters, got others. Set it again, or unset it.")
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    return urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)


def _words_of(error: urllib.error.HTTPError) -> str:
    try:
        return f"{error.code} {error.read(2000).decode(errors='replace')}"
    except (OSError, http.client.HTTPException):
        return str(error.code)


def _retry_after(error: urllib.error.HTTPError) -> float:
    """Seconds for which a server asks to be left alone; 0 where it names none, or a date."""
    try:
        return max(0.0, float(error.headers.get("Retry-After") or 0))
    except ValueError:
        return 0.0
