"""How a model is loaded for sampling, and what samples from it: one way for `train` and for `evaluate`.

What a run measures of itself and what `manypaths evaluate RUN` measures are the same completions, because both are
loaded, seeded and batched here.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from manypaths import checkpoint
from manypaths.evaluation.generate import Generate, transformers_generate, vllm_generate
from manypaths.evaluation.server import server_generate
from manypaths.printable import one_line
from manypaths.recipe import Recipe

AT_ONCE = 1024  # samples that vLLM is asked for together
OWN_SAMPLING = (
    "top_k",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "num_beams",
    "min_length",
    "min_new_tokens",
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
    "sequence_bias",
    "guidance_scale",
)
PACKAGES = ("manypaths", "torch", "transformers", "vllm")


@dataclass(frozen=True)
class Sampling:
    """What completions depend on beside weights and prompts; temperature 0 is greedy.

    `end_tokens` are texts of one token each that end a completion, beside those that model and tokenizer declare.
    """

    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    batch_size: int = 32
    seed: int = 1
    dtype: str = "bfloat16"
    end_tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("samples", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}.")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be 0 (greedy) or more, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}.")
        if self.samples > 1 and not self.temperature:
            raise ValueError(
                f"{self.samples} samples at temperature 0 are all the same. Set --temperature, such as "
                "0.6, or --samples 1."
            )


def of_recipe(spec: Recipe) -> dict[str, Any]:
    """The fields of `Sampling` that a run's own evaluations have."""
    own: dict[str, Any] = {"seed": spec.seed, "dtype": spec.model.dtype, "end_tokens": spec.model.end_tokens}
    if spec.evaluation is not None:
        names = ("samples", "temperature", "top_p", "max_new_tokens", "batch_size")
        own |= {name: getattr(spec.evaluation, name) for name in names}
    return own


def load_model(source: str, sampling: Sampling, *, on_cpu: bool) -> tuple[Any, Any]:
    """A model's name -> (model, tokenizer), ready to sample from or to train.

    A completion ends at every token that the model's generation_config, its tokenizer or `sampling.end_tokens` names,
    as in TRL's GRPOTrainer. ValueError where the model is not to be had.
    """
    model, tokenizer = checkpoint.load(source, dtype=sampling.dtype)
    ends = checkpoint.model_end_tokens(model)
    own = checkpoint.end_tokens(tokenizer, sampling.end_tokens)
    model.generation_config.eos_token_id = list(dict.fromkeys([*ends, *own])) or None
    if on_cpu:
        from manypaths import cpu

        cpu.keep_head_input_contiguous(model)
        cpu.run_prompts_once(model)
    return model, tokenizer


def end_in_vllm(arguments: dict[str, Any] | None, model: Any) -> dict[str, Any]:
    """TRL's `generation_kwargs`, with which vLLM ends completions where a loaded model ends them.

    In training, vLLM otherwise knows only the end tokens in the model's folder.
    """
    known = (arguments or {}).get("stop_token_ids") or []
    return {**(arguments or {}), "stop_token_ids": list(dict.fromkeys([*known, *checkpoint.model_end_tokens(model)]))}


def sampler(model: Any, tokenizer: Any, sampling: Sampling) -> tuple[Generate, int]:
    """A loaded model -> (what samples from it, how many problems at a time)."""
    names = ("max_new_tokens", "temperature", "top_p", "batch_size", "seed")
    named = {name: getattr(sampling, name) for name in names}
    return transformers_generate(model, tokenizer, **named), max(1, sampling.batch_size // sampling.samples)


def start(
    backend: str,
    source: str,
    sampling: Sampling,
    *,
    name: str | None = None,
    patience: float | None = None,
    use_cpu: bool = False,
) -> tuple[Generate, int, str]:
    """Load a model, or find it on a server -> (what samples from it, how many problems at a time, on which device).

    `name` is the model's on a server and `patience` that with the server; `use_cpu` leaves an accelerator alone.
    """
    named: dict[str, Any] = {key: getattr(sampling, key) for key in ("max_new_tokens", "temperature", "top_p", "seed")}
    if backend == "server":
        return server_generate(source, name=name, patience=patience, **named), AT_ONCE, source
    if backend == "vllm":
        named |= {"dtype": sampling.dtype, "end_tokens": sampling.end_tokens}
        return vllm_generate(source, **named), max(1, AT_ONCE // sampling.samples), "vllm"
    import torch

    device = None if use_cpu or not torch.accelerator.is_available() else torch.accelerator.current_accelerator()
    model, tokenizer = load_model(source, sampling, on_cpu=device is None)
    if unused := own_sampling(model):
        said = ", ".join(f"{name} {value}" for name, value in unused.items())
        print(f"Note: the model's generation_config.json also says {one_line(said, 300)}; it plays no part here.")
    if device is not None:
        model.to(device)
    return *sampler(model, tokenizer, sampling), str(device or "cpu")


def own_sampling(model: Any) -> dict[str, Any]:
    """What a model's generation_config says of sampling that no setting of ours replaces, such as a top_k."""
    own = model.generation_config.to_diff_dict()
    return {name: value for name, value in own.items() if value is not None and name in OWN_SAMPLING}


def settings_of(
    sampling: Sampling,
    *,
    model: str,
    backend: str,
    prompt: Any,
    limit: int | None = None,
    model_name: str | None = None,
) -> dict[str, Any]:
    """What settings.json says of an evaluation; None where a setting plays no part in this backend.

    Keys: model, model_name (on a server), backend, prompt, the fields of `Sampling`, limit (of the problems).
    """
    own = asdict(sampling)
    own |= {"batch_size": None} if backend != "transformers" else {}
    own |= {"dtype": None, "end_tokens": None} if backend == "server" else {}
    return {"model": model, "model_name": model_name, "backend": backend, "prompt": prompt, **own, "limit": limit}


def environment(device: str) -> dict[str, Any]:
    """Where an evaluation ran; it is recorded beside the settings, and may change while these stay."""
    return {"device": device, "versions": {name: _version(name) for name in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
