"""Where samples come from: transformers, vLLM, or a server that speaks OpenAI's protocol.

A *generate* is `(prompts, n) -> n samples for each prompt`; a prompt is a text or a list of chat messages, a sample a
text or a `Sample`. What those here return for a prompt depends on the model, the settings, the seed and on which
prompts are asked for together, never on what was asked before: a run that is taken up again goes on as if it had not
been cut off.

A generate may also have `as_finished(prompts, n)`, which yields (position of the prompt, its samples) as they are
finished; what it samples for a prompt depends on that prompt alone.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import queue
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from manypaths import checkpoint

Prompt = str | list[dict[str, str]]
RETRIES, WAIT, LONGEST_WAIT = 5, 1.0, 60.0  # of a server: tries, seconds before the second one, and at most
PATIENCE = 3600.0  # seconds without any completion after which a server is given up
DEAF, PROBE, PROBE_PATIENCE = 300.0, 60.0, 30.0  # the same without a reply of any kind, and how often that is looked at
LARGEST = 2**24  # bytes of a reply
PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 507, 508, 529)  # HTTP statuses that may be over in a moment
SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


class Sample(NamedTuple):
    """A completion, its length in tokens, and whether it was cut off; None where that is not known."""

    text: str
    tokens: int | None = None
    truncated: bool | None = None


Arrived = queue.SimpleQueue[tuple[int, int, "Sample | Exception"]]  # (place of the prompt, number of the sample, it)
Generate = Callable[[Sequence[Prompt], int], Sequence[Sequence[str | Sample]]]


def choose_backend(model: str, asked: str | None = None) -> tuple[str, str]:
    """The backend for a model, transformers, vllm or server, and why in words. ValueError where it cannot be."""
    is_url = model.startswith(("http://", "https://"))
    if asked is not None and (asked == "server") != is_url:
        raise ValueError(f"--backend {asked} does not go with model {model!r}: a server is named by its URL.")
    has_vllm = importlib.util.find_spec("vllm") is not None
    if asked == "vllm" and not has_vllm:
        raise ValueError("--backend vllm asks for vllm, which is not installed: pip install vllm")
    if is_url:
        return "server", f"the server at {model}"
    if asked:
        return asked, "as asked"
    return ("vllm", "it is installed") if has_vllm else ("transformers", "vllm is not installed")


def seed_of(seed: int, *parts: object) -> int:
    """A seed of 32 bits for one request, the same in every process."""
    return zlib.crc32(json.dumps([seed, *parts]).encode())


def transformers_generate(
    model: Any,
    tokenizer: Any,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    batch_size: int = 32,
    seed: int = 0,
) -> Generate:
    """A `generate` on transformers; temperature 0 is greedy. It leaves the global random state as it was.

    These settings alone decide: of the model's generation_config only the special tokens count, so that a
    repetition_penalty or a top_k which it brings along changes nothing, as in vLLM.
    """
    import torch
    from transformers import GenerationConfig

    if batch_size < 1 or max_new_tokens < 1:
        raise ValueError(f"Sampling asks for batch_size and max_new_tokens >= 1; given {batch_size}, {max_new_tokens}.")
    drawn = {"temperature": temperature, "top_p": top_p, "top_k": 0} if temperature else {}
    special = {name: getattr(model.generation_config, name) for name in SPECIAL_TOKENS}
    config = GenerationConfig(max_new_tokens=max_new_tokens, do_sample=bool(drawn), **special, **drawn)
    ends = torch.tensor(checkpoint.model_end_tokens(model), dtype=torch.long)
    devices = [] if model.device.type in ("cpu", "mps") else [model.device]

    def generate(prompts: Sequence[Prompt], n: int) -> list[list[Sample]]:
        conversational = bool(prompts) and not isinstance(prompts[0], str)
        if conversational:
            named = {"tokenize": False, "add_generation_prompt": True}
            prompts = [tokenizer.apply_chat_template(each, **named) for each in prompts]
        texts = [str(prompt) for prompt in prompts for _ in range(n)]
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        samples = [Sample("")] * len(texts)
        encoded = {"return_tensors": "pt", "padding": True, "add_special_tokens": not conversational}
        model.eval()
        with torch.random.fork_rng(devices, device_type=_forked(model)), torch.inference_mode(), _only(model, config):
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                torch.manual_seed(seed_of(seed, [texts[index] for index in batch], start))
                inputs = tokenizer([texts[index] for index in batch], **encoded).to(model.device)
                ids = model.generate(**inputs)
                new = ids[:, inputs.input_ids.shape[1] :].cpu()
                ended = torch.isin(new, ends)
                lengths = torch.where(ended.any(1), ended.int().argmax(1) + 1, new.shape[1])
                decoded = tokenizer.batch_decode(new, skip_special_tokens=True)
                for row, (index, text) in enumerate(zip(batch, decoded, strict=True)):
                    samples[index] = Sample(text, int(lengths[row]), not bool(ended[row].any()))
        return [samples[start : start + n] for start in range(0, len(samples), n)]

    return generate


def _forked(model: Any) -> str:
    """The kind of device whose random state is put back; that of Apple's GPUs cannot be read by device."""
    return "cuda" if model.device.type in ("cpu", "mps") else str(model.device.type)


@contextlib.contextmanager
def _only(model: Any, config: Any) -> Iterator[None]:
    """Let a model, or the one that adapters are put on, generate by this configuration and nothing of its own."""
    owner = model.get_base_model() if hasattr(model, "get_base_model") else model
    own, owner.generation_config = owner.generation_config, config
    try:
        yield
    finally:
        owner.generation_config = own


def vllm_generate(
    model: str,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    dtype: str = "bfloat16",
    end_tokens: Sequence[str] = (),
) -> Generate:
    """A `generate` on vLLM, each prompt with a seed of its own; a LoRA adapter runs on its base."""
    from vllm import LLM, SamplingParams
    from vllm.platforms import current_platform

    source = checkpoint.find_checkpoint(model)
    if source.endswith(".gguf"):
        source = str(checkpoint.convert_gguf(Path(source)))
    named: dict[str, Any] = {}
    request = None
    adapter = Path(source) / "adapter_config.json"
    if adapter.is_file():
        from vllm.lora.request import LoRARequest

        config, request = json.loads(adapter.read_text()), LoRARequest("adapter", 1, source)
        rank = 1 << max(3, (config["r"] - 1).bit_length())  # vLLM knows only 8, 16, 32 to 512
        named = {"enable_lora": True, "max_lora_rank": rank}
        if (adapter.parent / "tokenizer_config.json").is_file():  # with a chat template that may not be the base's
            named["tokenizer"] = source
        source = checkpoint.find_checkpoint(config["base_model_name_or_path"])
    if current_platform.is_cpu():  # where vLLM 0.31 fails on a prompt in pieces with a seed: no offset
        named["enable_chunked_prefill"] = False
    llm = LLM(source, dtype=dtype, seed=seed, **named)
    ends = checkpoint.end_tokens(llm.get_tokenizer(), list(end_tokens))

    def generate(prompts: Sequence[Prompt], n: int) -> list[list[Sample]]:
        times = 1 if temperature else n  # vLLM refuses n > 1 where it is greedy
        settings: dict[str, Any] = {"n": n // times, "temperature": temperature, "top_p": top_p}
        settings |= {"max_tokens": max_new_tokens, "stop_token_ids": ends}
        settings["include_stop_str_in_output"] = True  # as transformers decodes
        each = [SamplingParams(**settings, seed=seed_of(seed, prompt)) for prompt in prompts]
        ask = llm.generate if not prompts or isinstance(prompts[0], str) else llm.chat
        llm.reset_prefix_cache()  # what was asked before would change the rounding
        found = ask(list(prompts), each, lora_request=request, use_tqdm=False)
        return [
            [Sample(one.text, len(one.token_ids), one.finish_reason == "length") for one in o.outputs] * times
            for o in found
        ]

    return generate


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
            told = printable(json.dumps(reply), 500)
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
        told = printable(json.dumps(listed), 500)
        raise ServerError(f"The server at {base} lists no models: {told}. Give the URL that ends in /v1.") from None
    if not models or (name is not None and name not in models):
        lists = printable(", ".join(models), 500) or "none"
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
    raise ServerError(f"The server at {url} does not answer as asked: {printable(why, 500)}") from cause


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


def printable(text: str, most: int | None = None) -> str:
    """A text from outside on one line of a terminal: no control characters, the first `most` characters (all)."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:most]
