"""Where completions come from: transformers or vLLM here, a server in `manypaths.evaluation.server`.

A *generate* is `(prompts, n) -> n completions for each prompt`; a prompt is a text or a list of chat messages, a
completion a text or a `Sample`. The completions for a prompt depend on the model, the settings, the seed and the other
prompts of the call, never on earlier calls; so an evaluation that was stopped resumes as if it had not been stopped.

A generate may also have `as_finished(prompts, n)`, an iterator over (index of a prompt, its completions) in the order
in which they are finished. Its completions for a prompt depend on that prompt alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from manypaths import checkpoint

Prompt = str | list[dict[str, str]]
SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")


class Sample(NamedTuple):
    """A completion. None for what the backend does not report."""

    text: str
    tokens: int | None = None  # its length
    truncated: bool | None = None  # whether it reached the limit of new tokens before its end


Generate = Callable[[Sequence[Prompt], int], Sequence[Sequence[str | Sample]]]


def choose_backend(model: str, requested: str | None = None) -> tuple[str, str]:
    """Choose the backend for a model.

    Args:
        model: A folder, a hub id, package:NAME, or the URL of a server.
        requested: transformers, vllm or server; None for a server's URL, vllm where it is installed, or transformers.

    Returns:
        The backend, and the reason in words.

    Raises:
        ValueError: The requested backend does not fit the model, or vllm is not installed.
    """
    is_url = model.startswith(("http://", "https://"))
    if requested is not None and (requested == "server") != is_url:
        expected = "must be server for a URL" if is_url else "must be transformers or vllm for a model without a URL"
        raise ValueError(f"--backend {expected}, got {requested} for the model {model!r}.")
    has_vllm = importlib.util.find_spec("vllm") is not None
    if requested == "vllm" and not has_vllm:
        raise ValueError("--backend vllm needs the package vllm, which is not installed: pip install vllm")
    if is_url:
        return "server", f"the server at {model}"
    if requested:
        return requested, "as requested"
    return ("vllm", "it is installed") if has_vllm else ("transformers", "vllm is not installed")


def seed_of(seed: int, *parts: object) -> int:
    """Derive the seed of a request.

    Args:
        seed: The seed of the evaluation.
        parts: What distinguishes the request, such as its prompt; values that JSON can hold.

    Returns:
        32 bits, the same in every process.
    """
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
    """A `generate` on transformers, on the device of the model; it leaves the global random state unchanged.

    Only these settings count: of the model's generation_config only the special tokens are used, so that its
    repetition_penalty or top_k changes nothing, as in vLLM.

    Args:
        model: A causal language model of transformers, or one with PEFT adapters.
        tokenizer: Its tokenizer.
        max_new_tokens: The most tokens of a completion.
        temperature: 0 is greedy decoding.
        top_p: Nucleus sampling, from 0 (exclusive) to 1.
        batch_size: Completions that are sampled together.
        seed: Each batch is seeded by this and its texts.

    Raises:
        ValueError: batch_size or max_new_tokens is below 1.
    """
    import torch
    from transformers import GenerationConfig

    if batch_size < 1 or max_new_tokens < 1:
        raise ValueError(f"batch_size and max_new_tokens must be 1 or more, got {batch_size} and {max_new_tokens}.")
    drawn = {"temperature": temperature, "top_p": top_p, "top_k": 0} if temperature else {}
    special = {name: getattr(model.generation_config, name) for name in SPECIAL_TOKENS}
    config = GenerationConfig(max_new_tokens=max_new_tokens, do_sample=bool(drawn), **special, **drawn)
    ends = torch.tensor(checkpoint.model_end_tokens(model), dtype=torch.long)
    devices = [] if model.device.type in ("cpu", "mps") else [model.device]

    def generate(prompts: Sequence[Prompt], n: int) -> list[list[Sample]]:
        conversational = bool(prompts) and not isinstance(prompts[0], str)
        if conversational:
            checkpoint.check_prompt(tokenizer, prompts[0])
            named = {"tokenize": False, "add_generation_prompt": True}
            prompts = [tokenizer.apply_chat_template(messages, **named) for messages in prompts]
        texts = [str(prompt) for prompt in prompts for _ in range(n)]
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        samples = [Sample("")] * len(texts)
        encoded: dict[str, Any] = {"return_tensors": "pt", "padding": True, "padding_side": "left"}
        encoded["add_special_tokens"] = not conversational
        model.eval()
        with torch.random.fork_rng(devices, device_type=_forked(model)), torch.inference_mode(), _only(model, config):
            for start in range(0, len(order), batch_size):
                batch = order[start : start + batch_size]
                torch.manual_seed(seed_of(seed, [texts[index] for index in batch], start))
                inputs = _encoded(tokenizer, [texts[index] for index in batch], encoded, model.device)
                new = model.generate(**inputs)[:, inputs["input_ids"].shape[1] :].cpu()
                for index, sample in zip(batch, _samples(new, ends, tokenizer), strict=True):
                    samples[index] = sample
        return [samples[start : start + n] for start in range(0, len(samples), n)]

    return generate


def _encoded(tokenizer: Any, texts: Sequence[str], named: dict[str, Any], device: Any) -> dict[str, Any]:
    """The tensors that `tokenizer(texts, **named)` has; each distinct text is read once, for all samples of it."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    rows = [places[text] for text in texts]
    return {name: values[rows].to(device) for name, values in tokenizer([*places], **named).items()}


def _samples(ids: Any, ends: Any, tokenizer: Any) -> list[Sample]:
    """Completions from their token ids [n, length], of which those after one of the tokens `ends` [m] are padding."""
    import torch

    ended = torch.isin(ids, ends)
    lengths = torch.where(ended.any(1), ended.int().argmax(1) + 1, ids.shape[1])
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [
        Sample(text, int(length), not bool(end)) for text, length, end in zip(texts, lengths, ended.any(1), strict=True)
    ]


def _forked(model: Any) -> str:
    """The type of device whose random state is restored; torch cannot read that of an Apple GPU by device."""
    return "cuda" if model.device.type in ("cpu", "mps") else str(model.device.type)


@contextlib.contextmanager
def _only(model: Any, config: Any) -> Iterator[None]:
    """Replace the generation_config of a model, or of the model beneath its adapters, for a while."""
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
    """A `generate` on vLLM. Each prompt has its own seed; a LoRA adapter runs on its base model.

    Args:
        model: A folder, a hub id or package:NAME; an adapter or a GGUF file also does.
        max_new_tokens: The most tokens of a completion.
        temperature: 0 is greedy decoding.
        top_p: Nucleus sampling, from 0 (exclusive) to 1.
        seed: The seed of a prompt follows from this and the prompt.
        dtype: Of the weights.
        end_tokens: Texts of one token each that end a completion, in addition to those of the model's folder.

    Raises:
        ValueError: The model is not available.
    """
    from vllm import SamplingParams

    llm, adapter = _vllm_engine(model, dtype=dtype, seed=seed)
    ends = checkpoint.end_tokens(llm.get_tokenizer(), list(end_tokens))

    def generate(prompts: Sequence[Prompt], n: int) -> list[list[Sample]]:
        times = 1 if temperature else n  # vLLM refuses n > 1 for greedy decoding
        settings: dict[str, Any] = {"n": n // times, "temperature": temperature, "top_p": top_p}
        settings |= {"max_tokens": max_new_tokens, "stop_token_ids": ends}
        settings["include_stop_str_in_output"] = True  # as transformers decodes
        parameters = [SamplingParams(**settings, seed=seed_of(seed, prompt)) for prompt in prompts]
        sample = llm.generate if not prompts or isinstance(prompts[0], str) else llm.chat
        llm.reset_prefix_cache()  # cached prefixes of earlier calls would change the rounding
        requests = sample(list(prompts), parameters, lora_request=adapter, use_tqdm=False)
        return [
            [Sample(o.text, len(o.token_ids), o.finish_reason == "length") for o in finished.outputs] * times
            for finished in requests
        ]

    return generate


def _vllm_engine(model: str, *, dtype: str, seed: int) -> tuple[Any, Any]:
    """The engine of a model, and the request for its LoRA adapter; None where the model is not an adapter."""
    from vllm import LLM
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
        rank = 1 << max(3, (config["r"] - 1).bit_length())  # vLLM takes only 8, 16, 32 to 512
        named = {"enable_lora": True, "max_lora_rank": rank}
        if (adapter.parent / "tokenizer_config.json").is_file():  # its chat template may not be the base's
            named["tokenizer"] = source
        source = checkpoint.find_checkpoint(config["base_model_name_or_path"])
    if current_platform.is_cpu():  # vLLM 0.31 fails there on a chunked prompt with a seed: no offset
        named["enable_chunked_prefill"] = False
    return LLM(source, dtype=dtype, seed=seed, **named), request
