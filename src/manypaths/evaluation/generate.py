"""Where samples come from: transformers or vLLM here, a server in `manypaths.evaluation.server`.

A *generate* is `(prompts, n) -> n samples for each prompt`; a prompt is a text or a list of chat messages, a sample a
text or a `Sample`. What those here return for a prompt depends on the model, the settings, the seed and on which
prompts are asked for together, never on what was asked before: a run that is taken up again goes on as if it had not
been cut off.

A generate may also have `as_finished(prompts, n)`, which yields (position of the prompt, its samples) as they are
finished; what it samples for a prompt depends on that prompt alone.
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
    """A completion, its length in tokens, and whether it was cut off; None where that is not known."""

    text: str
    tokens: int | None = None
    truncated: bool | None = None


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
