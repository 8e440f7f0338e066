"""What a run takes on a GPU, estimated from its recipe and the shape of its model; nothing is loaded."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from manypaths.names import nearest
from manypaths.preflight.workload import DEFAULTS, Workload
from manypaths.recipe import Recipe

GIB, PROMPT_TOKENS, TOKEN_TILE, VOCABULARY_TILE = 2**30, 512, 4096, 32768  # the tiles: trl.kernels.chunked_logprob
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
BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


def architecture(name: str) -> dict[str, Any] | None:
    """config.json of a model that is here or known to the package; None where its memory cannot be told."""
    folder = Path(name).expanduser()
    if (adapter := folder / "adapter_config.json").is_file():
        return architecture(json.loads(adapter.read_text("utf-8"))["base_model_name_or_path"])
    if (folder / "config.json").is_file():
        found = json.loads((folder / "config.json").read_text("utf-8"))
    else:
        known = json.loads(files("manypaths").joinpath("data", "architectures.json").read_text("utf-8"))
        found = known.get(known[name] if isinstance(known.get(name), str) else name, {})
    asked = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"]
    strange = {"attention_bias", "mlp_bias", "quantization_config"} & {key for key, value in found.items() if value}
    understood = found.get("model_type") in ("llama", "mistral", "qwen2", "qwen3") and not strange
    return found if understood and all(isinstance(found.get(key), int) for key in (*asked, "vocab_size")) else None


def linears(config: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Names and (inputs, outputs) of the linear layers of one block."""
    width, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    each = config.get("head_dim") or width // heads
    queries, keys = heads * each, config["num_key_value_heads"] * each
    attention = {"q_proj": (width, queries), "k_proj": (width, keys), "v_proj": (width, keys)}
    attention |= {"o_proj": (queries, width)}
    mlp = {"gate_proj": (width, inner), "up_proj": (width, inner), "down_proj": (inner, width)}
    return {f"self_attn.{name}": size for name, size in attention.items()} | {f"mlp.{k}": v for k, v in mlp.items()}


def parameters(config: dict[str, Any]) -> int:
    """Parameters of a Llama, Mistral, Qwen2 or Qwen3 of this config, exactly."""
    kind, width, found = config["model_type"], config["hidden_size"], linears(config)
    biased = [name for name in found if kind == "qwen2" and name[-6:] in ("q_proj", "k_proj", "v_proj")]
    block = 2 * width + sum(ins * outs for ins, outs in found.values()) + sum(found[name][1] for name in biased)
    if kind == "qwen3":  # norms of queries and of keys
        block += 2 * (config.get("head_dim") or width // config["num_attention_heads"])
    embeddings = config["vocab_size"] * width * (1 if config.get("tie_word_embeddings") else 2)
    return int(embeddings + config["num_hidden_layers"] * block + width)


def adapted(config: dict[str, Any], lora: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """The linear layers of one block that LoRA goes to, as PEFT finds them by target_modules alone."""
    targets = lora.get("target_modules") or ["q_proj", "v_proj"]

    def chosen(name: str) -> bool:
        if isinstance(targets, str):
            return targets == "all-linear" or bool(re.fullmatch(targets, f"model.layers.0.{name}"))
        return any(f".layers.0.{name}".endswith(f".{target}") for target in targets)

    return {name: size for name, size in linears(config).items() if chosen(name)}


def lora_parameters(config: dict[str, Any], lora: dict[str, Any]) -> int:
    sizes = sum(ins + outs for ins, outs in adapted(config, lora).values())
    return int(config["num_hidden_layers"] * lora.get("r", 8) * sizes)


def block_bytes(config: dict[str, Any], lora: dict[str, Any] | None, length: int, width: int, dtype: int) -> int:
    """Bytes per token that one block keeps for its backward pass: `width` to an activation, `dtype` to a weight.

    After Korthikanti et al. (arXiv 2205.05198), for a block of RMSNorm, grouped queries and a gated MLP of inner size
    i, under SDPA, which computes the attention matrix again: the inputs of two norms in float32, 8 h; queries, keys,
    values and the answer of attention, w (2 q + 2 k); gate, its activation and up, 3 w i; the mask of padded sequences,
    w s; and the inputs of what is trained. With full training these are those of the norms' weights, 2 d h, and of the
    linear layers, w (2 h + i) where siblings share theirs, w (5 h + i) where each casts its own; that of o_proj is
    attention's answer. With LoRA each adapted layer casts its own, and its dropout keeps a mask of one byte.
    """
    sizes, hidden, inner = linears(config), config["hidden_size"], config["intermediate_size"]
    attention = 2 * sizes["self_attn.q_proj"][1] + 2 * sizes["self_attn.k_proj"][1]
    kept = 8 * hidden + width * (attention + 3 * inner + length)
    if lora is None:
        return int(kept + 2 * dtype * hidden + width * ((2 if dtype == width else 5) * hidden + inner))
    inputs = sum(ins for ins, _ in adapted(config, lora).values())
    return int(kept + inputs * (width + bool(lora.get("lora_dropout"))))


@dataclass(frozen=True)
class Row:
    """Bytes on the GPU in each of the two phases of a step."""

    label: str
    detail: str
    sampling: float
    update: float


def memory(spec: Recipe, config: dict[str, Any], run: Workload, gpu: float) -> list[Row]:
    """What lies on a GPU of `gpu` bytes, which shares nothing with others.

    The model is loaded in model.dtype; gradients and AdamW's two moments have the type of what is trained. LoRA
    weights are float32 (PEFT raises them). Several processes have the gradients a second time, in DDP's buckets. With
    gradient checkpointing the update keeps the input of every block and all of one block. Autocast keeps its casts of
    trained weights as long as a forward pass. The log-probabilities come from TRL's fused head: a tile of logits, and
    in float32 the gradient of its inputs and, in full training, of its weights. Without vLLM a process samples its
    whole generation batch at once. The update's parts are summed, though not all are there at one moment.
    """
    had = {**DEFAULTS, **spec.trainer}
    if spec.model.dtype not in BYTES:
        raise ValueError(f"model.dtype asks for {', '.join(BYTES)}; given {spec.model.dtype!r}.")
    dtype = BYTES[spec.model.dtype]
    width = dtype if not had["fp16"] and had["bf16"] is False else 2
    hidden, layers, vocabulary = config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]
    count, length = parameters(config), PROMPT_TOKENS + had["max_completion_length"]
    rows = [Row("weights", f"{count:,} parameters, {spec.model.dtype}", *[count * dtype] * 2)]
    if had["beta"]:
        copy = count * dtype if spec.lora is None else 0
        rows += [Row("reference model", "a copy of the weights" if copy else "the weights, LoRA off", copy, copy)]
    trained = count * dtype
    if spec.lora is not None:
        trained = (added := lora_parameters(config, spec.lora)) * max(4, dtype)
        rows += [Row("LoRA", f"{added:,} parameters, float32", trained, trained)]
    held, buckets = 0 if run.updates % 1 == 0 else trained, trained if run.processes > 1 else 0
    shape = "of the type of what is trained" + ", and DDP's buckets" * bool(buckets)
    rows += [Row("gradients", shape, held + buckets, trained + buckets)]
    adamw = "two moments, of the same type" if had["optim"].startswith("adamw_torch") else f"taken for {had['optim']}"
    rows += [Row("AdamW", adamw, 2 * trained, 2 * trained)]

    tokens, sampled = run.per_device * length, run.per_device * run.per_generation
    block = tokens * block_bytes(config, spec.lora, length, width, dtype)
    kept = tokens * layers * hidden * dtype + block if had["gradient_checkpointing"] else layers * block
    shape = f"{run.per_device:,} sequences of {length:,}, {'' if had['gradient_checkpointing'] else 'not '}checkpointed"
    read = max(tokens, 0 if had["use_vllm"] else sampled * PROMPT_TOKENS)
    forward = read * width * (3 * config["intermediate_size"] + 2 * hidden)
    rows += [Row("activations", shape, forward, kept)]
    if dtype > width:
        cast = width * layers * sum(ins * outs for ins, outs in linears(config).values())
        cached = cast if spec.lora is None else 0
        rows += [Row("casts", "of weights, for autocast", cached, cached if had["gradient_checkpointing"] else cast)]
    scored = run.per_device * had["max_completion_length"]
    tile = min(scored, TOKEN_TILE) * min(vocabulary, VOCABULARY_TILE) * width
    head = 4 * hidden * (scored + (vocabulary if spec.lora is None else 0))
    rows += [Row("logits", "a tile of them, gradients of the head", tile, tile + head)]
    if had["use_vllm"]:
        share = had["vllm_gpu_memory_utilization"] if had["vllm_mode"] == "colocate" else 0
        shape = f"{share:g} of the GPU" + ", less than the weights take" * (gpu * share < count * dtype)
        shape = shape if share else "on a GPU of its own"
        rows += [Row("vLLM", shape, gpu * share, 0 if had["vllm_enable_sleep_mode"] else gpu * share)]
    else:
        keys = linears(config)["self_attn.k_proj"][1]
        cache = 2 * layers * keys * width * length * sampled
        rows += [Row("KV cache", f"{sampled:,} sequences of {length:,}", cache, 0)]
    return [*rows, *embedding(spec, run)]


def embedding(spec: Recipe, run: Workload) -> list[Row]:
    """The embedder, what it holds at work, and what comparing the groups takes; a row each.

    At work an encoder keeps nothing for a backward pass. Its widest moment is in an MLP, where for each of b x s tokens
    there are three hidden states (of the embeddings, of the block, after attention) and the inside of the MLP, in its
    own dtype, and a mask of s bytes: b s (w (3 h + 2 i) + s) for MiniLM under SDPA. Code that adds biases to attention,
    such as ALiBi's, holds one of heads x s for each token at least. b is the batch and s the window, or the completion
    and its two special tokens where that is less.

    Every process holds the groups of all: N x D embeddings in float32, gathered, and twice that for a moment to give
    them unit length; then, for each of N x G pairs of siblings, 4 bytes of similarity and, in MMR, up to 26 more.
    """
    options = {**EMBEDDING, **spec.embedder.options}
    on_cpu = str(options["device"]).startswith("cpu")
    if spec.embedder.name == "ngram":
        width = spec.embedder.options.get("width", 4096)
        return [Row("embedder", "on the CPU", 0, 0), groups(run, width)]
    dtype = str(options["dtype"] or ("float32" if on_cpu else "bfloat16"))
    if dtype not in BYTES or dtype == "float64":
        raise ValueError(f"embedder.options.dtype asks for float32, bfloat16 or float16; given {options['dtype']!r}.")
    key = spec.embedder.name.lower().replace("_", "-")
    known = next((encoder for name, encoder in EMBEDDERS.items() if name in key), None)
    if known is None:
        return [Row("embedder", "on the CPU" if on_cpu else "unknown", 0, 0)]
    if on_cpu:
        return [Row("embedder", "on the CPU", 0, 0), groups(run, known.width)]
    size = BYTES[dtype] * known.parameters
    read = min({**DEFAULTS, **spec.trainer}["max_completion_length"], options["max_tokens"])
    window = min(known.window, read + 2)
    texts, rest = run.per_device * run.per_generation, -(-read // (window - 2)) - 1
    batch = min(options["batch_size"], texts * max(1, rest))
    each = BYTES[dtype] * (known.numbers + known.heads * window) + window
    return [
        Row("embedder", f"about {known.parameters / 1e6:g} M parameters, {dtype}", size, size),
        Row("embedder at work", f"{batch:,} windows of {window:,}", batch * window * each, 0),
        groups(run, known.width),
    ]


def groups(run: Workload, width: int) -> Row:
    """What is gathered and compared to reweight a generation of N completions in groups of G: see `embedding`."""
    count = run.generation
    detail = f"{count:,} x {width:,} embeddings, {count:,} x {run.group} pairs"
    return Row("groups", detail, count * (4 * width + max(8 * width, 30 * run.group)), 0)


def gpu_bytes(name: str) -> tuple[float, str]:
    """A GPU by name, or a size in GiB -> (bytes, what it is in words)."""
    key = name.lower().replace("_", "-").replace(" ", "-").removeprefix("nvidia-")
    if key in GPUS:
        sold, shown = GPUS[key]
        return shown * 2**20, f"{key} ({sold} GB as sold, {shown / 1024:.1f} GiB in nvidia-smi)"
    if size := re.fullmatch(r"(0*[1-9]\d*(?:\.\d+)?)-?(?:gi?b?)?", key):
        return float(size[1]) * GIB, f"a GPU of {float(size[1]):g} GiB"
    kinds = [each for each in GPUS if key and each.startswith(key)] or GPUS
    raise ValueError(f"Unknown GPU {name!r}. {nearest(key, kinds)} Or give its size, such as 24gb.")
