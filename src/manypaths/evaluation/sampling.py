"""How an evaluation samples: its settings, and the model, the same within a run and in `manypaths evaluate`.

Both load the model, seed it and form its batches here; so `manypaths evaluate RUN` samples the same completions as the
run itself did after its training.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from manypaths import checkpoint
from manypaths.environment import installed_version
from manypaths.evaluation.generate import Generate, transformers_generate, vllm_generate
from manypaths.evaluation.server import server_generate
from manypaths.printable import one_line
from manypaths.results import ANSWER, KEYS
from manypaths.sections import Recipe, check_sampling

AT_ONCE = 1024  # completions per call of vLLM; problems per call of a server
OWN_SAMPLING = (  # settings of a generation_config that `Sampling` does not have
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
    """What completions depend on beside weights and prompts. Raises ValueError for a value out of bounds.

    Temperature 0 is greedy decoding. `end_tokens` are texts of one token each at which a completion ends, in addition
    to the tokens that the model and its tokenizer declare.
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
        check_sampling(self)


def of_recipe(spec: Recipe) -> dict[str, Any]:
    """The fields of `Sampling` that a run's own evaluations have."""
    fields: dict[str, Any] = {"seed": spec.seed, "dtype": spec.model.dtype, "end_tokens": spec.model.end_tokens}
    if spec.evaluation is not None:
        names = ("samples", "temperature", "top_p", "max_new_tokens", "batch_size")
        fields |= {name: getattr(spec.evaluation, name) for name in names}
    return fields


@dataclass(frozen=True)
class Sampler:
    """A model from which completions can be sampled."""

    generate: Generate
    at_once: int  # problems per call of `generate`
    device: str  # or the backend, or the address of a server


def load_model(source: str, sampling: Sampling, *, on_cpu: bool) -> tuple[Any, Any]:
    """Load a model and its tokenizer, to sample from it or to train it.

    As in TRL's GRPOTrainer, a completion ends at every token that the model's generation_config or its tokenizer
    declares, and at `sampling.end_tokens`.

    Args:
        source: A folder, a hub id or package:NAME (`manypaths.checkpoint`).
        sampling: Its `dtype` and `end_tokens` are used.
        on_cpu: Whether to apply the savings of `manypaths.cpu`.

    Returns:
        The model and the tokenizer.

    Raises:
        ValueError: The model is not available.
    """
    model, tokenizer = checkpoint.load(source, dtype=sampling.dtype)
    declared = checkpoint.model_end_tokens(model)
    added = checkpoint.end_tokens(tokenizer, sampling.end_tokens)
    model.generation_config.eos_token_id = list(dict.fromkeys([*declared, *added])) or None
    if on_cpu:
        from manypaths import cpu

        cpu.keep_head_input_contiguous(model)
        cpu.run_prompts_once(model)
    return model, tokenizer


def end_in_vllm(arguments: dict[str, Any] | None, model: Any) -> dict[str, Any]:
    """TRL's `generation_kwargs`, extended so that vLLM ends completions at the same tokens as a loaded model.

    In training, vLLM otherwise uses only the end tokens in the model's folder.

    Args:
        arguments: The `generation_kwargs` so far; they are not changed.
        model: What `load_model` returned.
    """
    stops = (arguments or {}).get("stop_token_ids") or []
    return {**(arguments or {}), "stop_token_ids": list(dict.fromkeys([*stops, *checkpoint.model_end_tokens(model)]))}


def sampler(model: Any, tokenizer: Any, sampling: Sampling) -> Sampler:
    """Make a sampler of a loaded model, on the device where the model is.

    Args:
        model: A causal language model, also one with PEFT adapters.
        tokenizer: Its tokenizer.
        sampling: How completions are sampled; `samples` and `batch_size` determine how many problems go together.
    """
    names = ("max_new_tokens", "temperature", "top_p", "batch_size", "seed")
    generate = transformers_generate(model, tokenizer, **{name: getattr(sampling, name) for name in names})
    return Sampler(generate, max(1, sampling.batch_size // sampling.samples), str(model.device))


def start(
    backend: str,
    source: str,
    sampling: Sampling,
    *,
    name: str | None = None,
    patience: float | None = None,
    use_cpu: bool = False,
) -> Sampler:
    """Load a model, or connect to a server.

    Args:
        backend: transformers, vllm or server.
        source: Where the weights are, or the URL of the server.
        sampling: How completions are sampled.
        name: The model on the server; None for the first that the server lists.
        patience: Seconds to wait for a completion of the server; None for its default.
        use_cpu: Whether to leave an accelerator unused, with transformers.

    Raises:
        ValueError: The model is not available, or the server does not reply.
    """
    named: dict[str, Any] = {key: getattr(sampling, key) for key in ("max_new_tokens", "temperature", "top_p", "seed")}
    if backend == "server":
        return Sampler(server_generate(source, name=name, patience=patience, **named), AT_ONCE, source)
    if backend == "vllm":
        generate = vllm_generate(source, dtype=sampling.dtype, end_tokens=sampling.end_tokens, **named)
        return Sampler(generate, max(1, AT_ONCE // sampling.samples), "vllm")
    import torch

    device = None if use_cpu or not torch.accelerator.is_available() else torch.accelerator.current_accelerator()
    model, tokenizer = load_model(source, sampling, on_cpu=device is None)
    if ignored := own_sampling(model):
        values = ", ".join(f"{key} {value}" for key, value in ignored.items())
        print(f"Note: the model's generation_config.json sets {one_line(values, 300)}; an evaluation ignores that.")
    if device is not None:
        model.to(device)
    return sampler(model, tokenizer, sampling)


def own_sampling(model: Any) -> dict[str, Any]:
    """The settings of a model's generation_config, such as a top_k, that an evaluation ignores and does not replace."""
    settings = model.generation_config.to_diff_dict()
    return {name: value for name, value in settings.items() if value is not None and name in OWN_SAMPLING}


def settings_of(
    sampling: Sampling,
    *,
    model: str,
    backend: str,
    prompt: Any,
    limit: int | None = None,
    model_name: str | None = None,
    keys: str = ANSWER,
) -> dict[str, Any]:
    """The settings of an evaluation, as settings.json has them; None where the backend does not use a setting.

    Args:
        sampling: How completions are sampled; each of its fields is a key.
        model: What is evaluated: a model or a run.
        backend: transformers, vllm or server.
        prompt: A text or chat messages with {question}.
        limit: The number of problems that are used of each set; None for all.
        model_name: The model on the server.
        keys: The keys function by which distinct right answers are counted.
    """
    fields = asdict(sampling)
    fields |= {"batch_size": None} if backend != "transformers" else {}
    fields |= {"dtype": None, "end_tokens": None} if backend == "server" else {}
    named = {"model": model, "model_name": model_name, "backend": backend, "prompt": prompt}
    return {**named, **fields, "limit": limit, KEYS: keys}


def environment(device: str) -> dict[str, Any]:
    """The environment of an evaluation: the device, and the versions of the packages that it depends on."""
    return {"device": device, "versions": {name: installed_version(name) for name in PACKAGES}}
