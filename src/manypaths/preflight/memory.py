"""The memory of a run on a GPU, estimated from its recipe and the shape of its model; nothing is loaded."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from manypaths.names import nearest
from manypaths.preflight.shape import Shape
from manypaths.preflight.workload import DEFAULTS, Workload
from manypaths.sections import Recipe

GIB, PROMPT_TOKENS = 2**30, 512
GPUS = {  # GB as sold, MiB as nvidia-smi shows them
    **{"a100-40gb": (40, 40960), "a100-80gb": (80, 81920), "h100": (80, 81559), "h200": (141, 143771)},
    **{"b200": (180, 183359), "l40s": (48, 46068), "a40": (48, 46068), "a6000": (48, 49140), "l4": (24, 23034)},
    **{"a10g": (24, 23028), "rtx-4090": (24, 24564), "rtx-5090": (32, 32607), "t4": (16, 15360)},
}


class Encoder(NamedTuple):
    """An embedder's shape: hidden size h, inner size i of its MLP, and what its code keeps for one token."""

    parameters: float
    width: int  # h
    numbers: int  # at the widest moment: 3 h, and 2 i in a plain MLP, 3 i in a gated one, 4 i where that is one layer
    heads: int  # whose s x s biases lie there; 0 where attention gets a mask alone
    window: int  # tokens of a text that it reads at once


EMBEDDERS = {
    "jina-embeddings-v2-small-en": Encoder(33e6, 512, 3 * 512 + 4 * 2048, 8, 8192),
    "all-minilm-l6-v2": Encoder(22.7e6, 384, 3 * 384 + 2 * 1536, 0, 256),
    "nomic-embed-text-v1.5": Encoder(137e6, 768, 3 * 768 + 3 * 3072, 0, 8192),
}
EMBEDDING = {"device": None, "dtype": None, "batch_size": 32, "max_tokens": 8192}  # defaults of SentenceEmbedder
BYTES = {"float64": 8, "double": 8, "float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2}


@dataclass(frozen=True)
class Row:
    """Bytes on the GPU while a run samples completions, updates the weights, and evaluates."""

    label: str
    detail: str
    sampling: float
    update: float
    evaluation: float = 0.0


def peak(rows: list[Row]) -> float:
    """Bytes on the GPU in the phase that needs the most."""
    return max(sum(row.sampling for row in rows), sum(row.update for row in rows), sum(row.evaluation for row in rows))


def memory(spec: Recipe, shape: Shape, run: Workload, gpu: float) -> list[Row]:
    """Estimate what one process of a run holds on its GPU, with nothing sharded or offloaded.

    The phases are summed, though not everything in a sum is there at one moment. Left out are CUDA itself,
    fragmentation, and the tile of logits that TRL's fused LM head holds at a time.

    Args:
        spec: the recipe.
        shape: the shape of its model.
        run: how much it samples and updates.
        gpu: bytes of the GPU, of which vLLM takes a share.

    Returns:
        A row for each component; `evaluation` is 0 in all rows where the recipe has no evaluation.

    Raises:
        ValueError: `embedder.options.dtype` is unknown.
    """
    rows = [*_states(spec, shape, run), *_activations(spec, shape, run), _sampler(spec, shape, run, gpu)]
    rows += embedding(spec, run)
    if spec.evaluation is None:
        return [dataclasses.replace(row, evaluation=0.0) for row in rows]
    return [*rows, _evaluation(spec, shape)]


def _states(spec: Recipe, shape: Shape, run: Workload) -> list[Row]:
    """Weights, gradients and moments.

    The model is loaded in model.dtype; gradients and AdamW's two moments have the type of the trained weights. LoRA
    weights are float32 (PEFT raises them). Several processes hold the gradients a second time, in DDP's buckets. An
    evaluation before or after the training has the weights alone; one on the way (`evaluation.every`) has all but the
    gradients.
    """
    settings, dtype = {**DEFAULTS, **spec.trainer}, BYTES[spec.model.dtype]
    on_the_way = bool(spec.evaluation and spec.evaluation.every)
    weights = shape.parameters * dtype
    rows = [Row("weights", f"{shape.parameters:,} parameters, {spec.model.dtype}", weights, weights, weights)]
    if settings["beta"]:
        copy = weights if spec.lora is None else 0
        detail = "a copy of the weights" if copy else "the weights, LoRA off"
        rows += [Row("reference model", detail, copy, copy, copy * on_the_way)]
    trained = weights
    if spec.lora is not None:
        trained = (added := lora_parameters(shape, spec.lora)) * max(4, dtype)
        rows += [Row("LoRA", f"{added:,} parameters, float32", trained, trained, trained)]
    accumulated = 0 if run.updates % 1 == 0 else trained
    buckets = trained if run.processes > 1 else 0
    detail = "of the trained weights' type" + ", and DDP's buckets" * bool(buckets)
    rows += [Row("gradients", detail, accumulated + buckets, trained + buckets, buckets * on_the_way)]
    detail = "two moments, of the same type"
    if not settings["optim"].startswith("adamw_torch"):
        detail = f"taken for {settings['optim']}"
    return [*rows, Row("AdamW", detail, 2 * trained, 2 * trained, 2 * trained * on_the_way)]


def _activations(spec: Recipe, shape: Shape, run: Workload) -> list[Row]:
    """What the forward pass keeps for the backward pass, the casts of autocast, the gradients of the LM head.

    With gradient checkpointing the update keeps the input of every block and all of one block. Autocast keeps its casts
    of trained weights as long as a forward pass. The fused head of TRL computes, in float32, the gradient of its inputs
    and, in full training, of its weights. Without vLLM a process samples its whole generation batch at once.
    """
    settings, dtype = {**DEFAULTS, **spec.trainer}, BYTES[spec.model.dtype]
    width, length = _width(spec), PROMPT_TOKENS + settings["max_completion_length"]
    checkpointed = settings["gradient_checkpointing"]
    tokens, updated = run.per_device * length, run.per_device + replayed(spec, run)
    block = updated * length * block_bytes(shape, spec.lora, length, width, dtype)
    kept = updated * length * shape.layers * shape.hidden * dtype + block if checkpointed else shape.layers * block
    prompts = 0 if settings["use_vllm"] else run.per_device * run.per_generation * PROMPT_TOKENS
    forward = max(tokens, prompts) * _forward_bytes(shape, width)
    detail = f"{updated:,} sequences of {length:,}, {'' if checkpointed else 'not '}checkpointed"
    rows = [Row("activations", detail, forward, kept)]
    if dtype > width:
        cast = width * shape.layers * sum(inputs * outputs for inputs, outputs in shape.linears.values())
        trained = cast if spec.lora is None else 0
        rows += [Row("casts", "of weights, for autocast", trained, trained if checkpointed else cast)]
    scored = updated * settings["max_completion_length"]
    head = 4 * shape.hidden * (scored + (shape.vocabulary if spec.lora is None else 0))
    detail = "gradients of its inputs" + " and weights" * (spec.lora is None)
    return [*rows, Row("LM head", detail, 0, head)]


def replayed(spec: Recipe, run: Workload) -> int:
    """Sequences of verified replay that a batch of a device holds beside its own, at most."""
    return -(-spec.replay.capacity // (run.accumulation * run.processes)) if spec.replay.weight else 0


def _sampler(spec: Recipe, shape: Shape, run: Workload, gpu: float) -> Row:
    """The KV cache of a generation batch, or the share of the GPU that vLLM takes for itself."""
    settings = {**DEFAULTS, **spec.trainer}
    if not settings["use_vllm"]:
        sequences, length = run.per_device * run.per_generation, PROMPT_TOKENS + settings["max_completion_length"]
        cache = sequences * length * cache_bytes(shape, _width(spec))
        return Row("KV cache", f"{sequences:,} sequences of {length:,}", cache, 0)
    share = settings["vllm_gpu_memory_utilization"] if settings["vllm_mode"] == "colocate" else 0
    if not share:
        return Row("vLLM", "on a GPU of its own", 0, 0)
    too_small = gpu * share < shape.parameters * BYTES[spec.model.dtype]
    detail = f"{share:g} of the GPU" + ", less than the weights take" * too_small
    awake = 0 if settings["vllm_enable_sleep_mode"] else gpu * share
    return Row("vLLM", detail, gpu * share, awake, awake * bool(spec.evaluation and spec.evaluation.every))


def _evaluation(spec: Recipe, shape: Shape) -> Row:
    """Sampling in an evaluation, which transformers does in model.dtype, also where vLLM samples for the training."""
    own = spec.evaluation
    assert own is not None
    sequences = min(own.batch_size, max(1, own.batch_size // own.samples) * own.samples)
    size = evaluation_bytes(shape, sequences, own.max_new_tokens, BYTES[spec.model.dtype])
    return Row("evaluation", f"KV cache, {sequences:,} sequences of {PROMPT_TOKENS + own.max_new_tokens:,}", 0, 0, size)


def evaluation_bytes(shape: Shape, sequences: int, new_tokens: int, dtype: int) -> int:
    """Bytes that sampling takes beside the weights: the KV cache, and the widest moment of reading the prompts."""
    cache = (PROMPT_TOKENS + new_tokens) * cache_bytes(shape, dtype)
    return sequences * (cache + PROMPT_TOKENS * _forward_bytes(shape, dtype))


def _width(spec: Recipe) -> int:
    """Bytes of an activation in training."""
    settings = {**DEFAULTS, **spec.trainer}
    return BYTES[spec.model.dtype] if not settings["fp16"] and settings["bf16"] is False else 2


def cache_bytes(shape: Shape, width: int) -> int:
    """Bytes of keys and values for one token, in all layers."""
    return 2 * shape.layers * shape.keys * width


def _forward_bytes(shape: Shape, width: int) -> int:
    """Bytes for one token at the widest moment of a pass without gradients: inside an MLP."""
    return width * (3 * shape.inner + 2 * shape.hidden)


def adapted(shape: Shape, lora: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """The linear layers of one block that get LoRA, as PEFT finds them by target_modules alone."""
    targets = lora.get("target_modules") or ["q_proj", "v_proj"]

    def chosen(name: str) -> bool:
        if isinstance(targets, str):
            return targets == "all-linear" or bool(re.fullmatch(targets, f"model.layers.0.{name}"))
        return any(f".layers.0.{name}".endswith(f".{target}") for target in targets)

    return {name: size for name, size in shape.linears.items() if chosen(name)}


def lora_parameters(shape: Shape, lora: dict[str, Any]) -> int:
    """Parameters that LoRA adds to a model; `lora` are arguments of PEFT's `LoraConfig`."""
    sizes = sum(inputs + outputs for inputs, outputs in adapted(shape, lora).values())
    return int(shape.layers * lora.get("r", 8) * sizes)


def block_bytes(shape: Shape, lora: dict[str, Any] | None, length: int, width: int, dtype: int) -> int:
    """Bytes per token that one block keeps for its backward pass: `width` to an activation, `dtype` to a weight.

    After Korthikanti et al. (arXiv 2205.05198), for a block of RMSNorm, grouped queries and a gated MLP of inner size
    i, under SDPA, which computes the attention matrix again: the inputs of two norms in float32, 8 h; queries, keys,
    values and the output of attention, w (2 q + 2 k); gate, its activation and up, 3 w i; the mask of padded sequences,
    w s; and the inputs of what is trained. With full training these are those of the norms' weights, 2 d h, and of the
    linear layers, w (2 h + i) where siblings share theirs, w (5 h + i) where each casts its own; that of o_proj is
    the output of attention. With LoRA each adapted layer casts its own, and its dropout keeps a mask of one byte.
    """
    hidden, inner = shape.hidden, shape.inner
    kept = 8 * hidden + width * (2 * shape.queries + 2 * shape.keys + 3 * inner + length)
    if lora is None:
        return int(kept + 2 * dtype * hidden + width * ((2 if dtype == width else 5) * hidden + inner))
    inputs = sum(inputs for inputs, _ in adapted(shape, lora).values())
    return int(kept + inputs * (width + bool(lora.get("lora_dropout"))))


def embedding(spec: Recipe, run: Workload) -> list[Row]:
    """The weights of the embedder, what it holds at work, and what the comparison of the groups takes.

    An encoder keeps nothing for a backward pass. Its widest moment is in an MLP, where for each of b x s tokens there
    are three hidden states (of the embeddings, of the block, after attention) and the inside of the MLP, in its own
    dtype, and a mask of s bytes: b s (w (3 h + 2 i) + s) for MiniLM under SDPA. Code that adds biases to attention,
    such as ALiBi's, holds one of heads x s for each token at least. b is the batch and s the window, or the completion
    and its two special tokens where that is less.
    """
    options = {**EMBEDDING, **spec.embedder.options}
    on_cpu = str(options["device"]).startswith("cpu")
    if spec.embedder.name == "keys":
        return [Row("embedder", "none: keys are compared", 0, 0), groups(run, 0)]
    if spec.embedder.name == "ngram":
        return [Row("embedder", "on the CPU", 0, 0), groups(run, spec.embedder.options.get("width", 4096))]
    dtype = str(options["dtype"] or ("float32" if on_cpu else "bfloat16"))
    if dtype not in ("float32", "bfloat16", "float16"):
        raise ValueError(
            f"embedder.options.dtype must be float32, bfloat16 or float16, got {options['dtype']!r}. Set one of them, "
            "or leave it out."
        )
    key = spec.embedder.name.lower().replace("_", "-")
    encoder = next((encoder for name, encoder in EMBEDDERS.items() if name in key), None)
    if encoder is None:
        return [Row("embedder", "on the CPU" if on_cpu else "unknown", 0, 0)]
    if on_cpu:
        return [Row("embedder", "on the CPU", 0, 0), groups(run, encoder.width)]
    size = BYTES[dtype] * encoder.parameters
    read = min({**DEFAULTS, **spec.trainer}["max_completion_length"], options["max_tokens"])
    window = min(encoder.window, read + 2)
    texts, windows = run.per_device * run.per_generation, -(-read // (window - 2)) - 1
    batch = min(options["batch_size"], texts * max(1, windows))
    token = BYTES[dtype] * (encoder.numbers + encoder.heads * window) + window
    return [
        Row("embedder", f"about {encoder.parameters / 1e6:g} M parameters, {dtype}", size, size, size),
        Row("embedder at work", f"{batch:,} windows of {window:,}", batch * window * token, 0),
        groups(run, encoder.width),
    ]


def groups(run: Workload, width: int) -> Row:
    """What every process holds to reweight a generation of N completions in groups of G.

    N x D embeddings in float32, gathered, and twice that for a moment to give them unit length; then, for each of N x G
    pairs of siblings, 4 bytes of similarity and up to 17 more in the method.
    """
    count = run.generation
    detail = f"{count:,} x {width:,} embeddings, " * bool(width) + f"{count:,} x {run.group} pairs"
    return Row("groups", detail, count * (4 * width + max(8 * width, 21 * run.group)), 0)


def gpu_bytes(name: str) -> tuple[float, str]:
    """The memory of a GPU.

    Args:
        name: a key of `GPUS`, in any spelling, or a size in GiB, such as 24gb.

    Returns:
        Its bytes, and a description.

    Raises:
        ValueError: the name is unknown.
    """
    key = name.lower().replace("_", "-").replace(" ", "-").removeprefix("nvidia-")
    if key in GPUS:
        sold, shown = GPUS[key]
        return shown * 2**20, f"{key} ({sold} GB as sold, {shown / 1024:.1f} GiB in nvidia-smi)"
    if size := re.fullmatch(r"(0*[1-9]\d*(?:\.\d+)?)-?(?:gi?b?)?", key):
        return float(size[1]) * GIB, f"a GPU of {float(size[1]):g} GiB"
    kinds = [kind for kind in GPUS if key and kind.startswith(key)] or GPUS
    raise ValueError(f"Unknown GPU {name!r}. {nearest(key, kinds)} Or give its size, such as 24gb.")
