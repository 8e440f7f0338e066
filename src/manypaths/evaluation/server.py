"""Completions from a server with OpenAI's protocol, such as `vllm serve`: a *generate* as in `generate.py`."""

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

TRIES, WAIT, LONGEST_WAIT = 5, 1.0, 60.0  # per request; seconds before the second try, doubled for each, and at most
PATIENCE = 3600.0  # seconds without any completion after which an evaluation ends
SILENCE = 300.0  # seconds without a reply of any kind after which it ends
PROBE, PROBE_PATIENCE = 60.0, 30.0  # seconds between two probes whether the server replies, and for its reply
LARGEST = 2**24  # bytes of a reply
TRANSIENT = (408, 409, 425, 429, 500, 502, 503, 504, 507, 508, 529)  # HTTP statuses after which a request is repeated
Arrived = queue.SimpleQueue[tuple[int, int, "Sample | Exception"]]  # (index of the prompt, of the completion, result)


class ServerError(ValueError):
    """A server gives no completion, and repeating the request at once would not help. The message says why."""


class Server:
    """A `generate` on a server with OpenAI's protocol; see `server_generate`."""

    def __init__(self, url: str, settings: dict[str, Any], seed: int, at_once: int, patience: float) -> None:
        self.base, self.settings, self.seed = url, settings, seed
        self.at_once, self.patience = at_once, patience

    def __call__(self, prompts: Sequence[Prompt], n: int) -> list[list[Sample]]:
        """Sample n completions for each prompt. Raises ServerError as `as_finished` does."""
        finished = dict(self.as_finished(prompts, n))
        return [finished[place] for place in range(len(prompts))]

    def as_finished(self, prompts: Sequence[Prompt], n: int) -> Iterator[tuple[int, list[Sample]]]:
        """Sample n completions for each prompt; yield (index of a prompt, its completions) once it has all n.

        Raises:
            ServerError: A request failed for good. Prompts that were finished before are yielded first.
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
                except Exception as error:  # raised in `_whole`, in the thread of the caller
                    stopped.set()
                    arrived.put((place, index, error))

        for place in range(len(prompts)):
            for index in range(n):
                waiting.put((place, index))
        for _ in range(min(self.at_once, len(prompts) * n)):  # daemons, so that Ctrl-C and errors wait for no reply
            threading.Thread(target=work, daemon=True).start()
        try:
            yield from self._whole(arrived, [{} for _ in prompts], n)
        finally:
            stopped.set()

    def _whole(self, arrived: Arrived, rows: list[dict[int, Sample]], n: int) -> Iterator[tuple[int, list[Sample]]]:
        """What `as_finished` yields, from single completions that arrive in any order."""
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
        """The next completion. ServerError after `patience` seconds without one, or `SILENCE` without a reply."""
        began = replied = time.monotonic()
        while True:
            try:
                return arrived.get(timeout=min(PROBE, self.patience))
            except queue.Empty:
                now = time.monotonic()
            if now - began >= self.patience:
                raise ServerError(f"The server at {self.base} gave no completion for {now - began:.0f} seconds.")
            if self._replies():
                replied = now
            elif now - replied >= SILENCE:
                raise ServerError(f"The server at {self.base} gave no reply for {now - replied:.0f} seconds.")

    def _replies(self) -> bool:
        """Whether the server replies to a request for its models, with an error or without."""
        try:
            urllib.request.urlopen(_request(f"{self.base}/models"), timeout=PROBE_PATIENCE).close()
        except urllib.error.HTTPError:
            return True
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _sample(self, prompt: Prompt, index: int, stopped: threading.Event) -> Sample:
        is_text = isinstance(prompt, str)
        prompted = {"prompt": prompt} if is_text else {"messages": prompt}
        body = {**self.settings, **prompted, "seed": seed_of(self.seed, prompt, index)}
        path = "completions" if is_text else "chat/completions"
        reply = request(f"{self.base}/{path}", body, patience=self.patience, stopped=stopped)
        try:
            choice = reply["choices"][0]
            text = choice["text"] if is_text else choice["message"].get("content") or ""
            text = text.encode("utf-8", "replace").decode()
            tokens = (reply.get("usage") or {}).get("completion_tokens")
            return Sample(text, tokens if isinstance(tokens, int) else None, choice.get("finish_reason") == "length")
        except (AttributeError, LookupError, TypeError):
            text = one_line(json.dumps(reply), 500)
            raise ServerError(f"The server at {self.base} replies without a completion: {text}") from None


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
    """A `generate` on a server with OpenAI's protocol, such as `vllm serve`.

    Each completion is a request with its own seed. A request is repeated up to `TRIES` times after a transient error
    (429, most of 5xx, a lost connection), and never after any other. The environment's OPENAI_API_KEY is sent, if it is
    set. This function requests the list of models, so that a wrong address, key or name costs one request.

    Args:
        url: The address of the server; it ends in /v1.
        max_new_tokens: The most tokens of a completion.
        temperature: 0 is greedy decoding.
        top_p: Nucleus sampling, from 0 (exclusive) to 1.
        seed: The seed of a request follows from this, its prompt and its number.
        name: The model; None for the first that the server lists.
        at_once: Requests at a time.
        patience: Seconds without any completion after which sampling ends; None for `PATIENCE`.

    Raises:
        ServerError: The server does not reply, refuses the request, or does not have the model; the `generate` raises
            it, too.
        ValueError: OPENAI_API_KEY is not a line of ASCII characters.
    """
    base = url.rstrip("/")
    settings: dict[str, Any] = {"max_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p}
    settings |= {"model": name} | _model_settings(base, name)
    return Server(base, settings, seed, at_once, PATIENCE if patience is None else patience)


def _model_settings(base: str, name: str | None) -> dict[str, Any]:
    """The model's name on a server, and the settings that make vLLM and SGLang ignore its generation_config.json."""
    try:
        listed = request(f"{base}/models", patience=PROBE_PATIENCE, at_first=True)
    except ServerError as error:
        if name is None or getattr(error.__cause__, "code", None) not in (404, 405, 501):  # some have no such list
            raise
        return {}
    try:
        models = {str(model["id"]): model.get("owned_by") for model in listed["data"]}
    except (AttributeError, LookupError, TypeError):
        text = one_line(json.dumps(listed), 500)
        raise ServerError(f"The server at {base} lists no models: {text}. Give the URL that ends in /v1.") from None
    if not models or (name is not None and name not in models):
        names = one_line(", ".join(models), 500) or "none"
        raise ServerError(f"The server at {base} does not have the model {name!r}. It lists {names}.")
    name = next(iter(models)) if name is None else name
    neutral = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    return {"model": name, **(neutral if models[name] in ("vllm", "sglang") else {})}


def request(
    url: str,
    body: dict[str, Any] | None = None,
    *,
    patience: float,
    at_first: bool = False,
    stopped: threading.Event | None = None,
) -> Any:
    """Send a request, up to `TRIES` times.

    Args:
        url: The address.
        body: Sent as JSON with POST; None for GET.
        patience: Seconds without any data after which a try ends.
        at_first: Whether a failed connection is final, as on the first request to a server.
        stopped: Once this is set, the request is not repeated.

    Returns:
        The reply, parsed from JSON.

    Raises:
        ServerError: The server does not reply, or refuses the request.
    """
    prepared, stopped = _request(url, body), stopped or threading.Event()
    for attempt in range(1, TRIES + 1):
        pause = WAIT * 2 ** (attempt - 1)
        try:
            with urllib.request.urlopen(prepared, timeout=patience) as reply:
                data = reply.read(LARGEST)
                if reply.length:
                    raise http.client.IncompleteRead(data, reply.length)
            return json.loads(data)
        except urllib.error.HTTPError as error:
            cause: Exception = error
            reason, transient = _message_of(error), error.code in TRANSIENT
            pause = min(LONGEST_WAIT, max(pause, _retry_after(error)))
        except (OSError, http.client.HTTPException) as error:  # refused, reset, timed out, half a reply
            cause, reason, transient = error, f"{type(error).__name__}: {error}", not at_first
        except (ValueError, RecursionError) as error:
            cause, reason, transient = error, f"no JSON: {error}", False
        if not transient or attempt == TRIES or stopped.wait(pause):
            break
    raise ServerError(f"The request to {url} failed: {one_line(reason, 500)}") from cause


def _request(url: str, body: dict[str, Any] | None = None) -> urllib.request.Request:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("OPENAI_API_KEY must be one line of ASCII characters, got others. Set it again, or unset it.")
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    return urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)


def _message_of(error: urllib.error.HTTPError) -> str:
    try:
        return f"{error.code} {error.read(2000).decode(errors='replace')}"
    except (OSError, http.client.HTTPException):
        return str(error.code)


def _retry_after(error: urllib.error.HTTPError) -> float:
    """The seconds of a reply's Retry-After; 0 where it is missing or a date."""
    try:
        return max(0.0, float(error.headers.get("Retry-After") or 0))
    except ValueError:
        return 0.0
