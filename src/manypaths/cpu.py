"""Three savings for training on a CPU. They change the time of a step, and its results only by rounding.

transformers and TRL are written for GPUs, and some of their choices are slow on a CPU; bench/cpu_savings.py measures
how slow. The savings rely on the internals of both, which a release may change. Each is therefore tried on a small
random model first (`same_results`). Where it changes the results it is not used, and a line in the log says so.
"""

from __future__ import annotations

import copy
import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import transformers
import trl
from torch import Tensor
from transformers import DynamicCache

CACHE_NAMES = ("cache", "past_key_values")  # the decoder's argument since transformers 5.24, and before
MORE_OUTPUTS = ("output_attentions", "output_hidden_states", "output_router_logits")
LAYERS, VOCABULARY = 2, 64  # of the small model
TOLERANCE = 1e-4  # of the relative error of norms: about 1e-6 by rounding in float32, 0.1 by a wrong mask or gradient

Results = Callable[[], list[Tensor]]


def keep_head_input_contiguous(model: Any) -> None:
    """Make the LM head's input contiguous, so that a frozen head is applied as one matrix product.

    For a sliced (non-contiguous) input and a weight without gradient, torch.matmul copies the weight once per sequence
    of the batch: with LoRA, it copies a head of 56 MB 32 times for each sampled token.

    Args:
        model: A causal language model of transformers; changed in place.
    """
    if _leaves_results(model, _make_head_input_contiguous, "the LM head's contiguous input"):
        _make_head_input_contiguous(model)


def run_prompts_once(model: Any) -> None:
    """Run each prompt through the model once instead of once per completion, in sampling and in the update.

    Tokens that several rows of a batch begin with are computed in one row. Its keys and values are then copied to all
    these rows, and gradients flow back through the copies. The model runs as before under gradient checkpointing, which
    drops keys and values; with dropout, which must differ between rows; and for layers with any other cache than keys
    and values.

    Args:
        model: A causal language model of transformers; changed in place.
    """
    if _leaves_results(model, _share_beginnings, "running the prompts once"):
        _share_beginnings(model)


@contextmanager
def score_completions_only() -> Iterator[None]:
    """Compute log-probabilities of the completions' tokens only, not of the prompts' tokens.

    TRL projects onto the vocabulary only the tokens with a label where Triton runs, and every token elsewhere, which
    spares compiled backends a new shape per batch. An eager CPU does not need that.
    """
    works = same_results("scoring the completions only", _scores, _as_with_triton()(_scores))
    with _as_with_triton() if works else nullcontext():
        yield


def same_results(saving: str, plain: Results, changed: Results) -> bool:
    """Whether a saving may be used; if not, a line in the log says why.

    Args:
        saving: What the saving does, for the log.
        plain: Computes tensors without the saving.
        changed: Computes the same tensors with it. Both start from one random state; the caller's is preserved.

    Returns:
        Whether the tensors are equal up to rounding; False where `changed` raises.
    """
    try:
        expected, results = _seeded(plain), _seeded(changed)
        difference = max(_difference(*pair) for pair in zip(results, expected, strict=True))
        reason = f"changes results by {difference:.2g}"
    except Exception as error:  # of any kind, because the plain way still works
        difference, reason = float("inf"), f"fails ({type(error).__name__}: {str(error).strip()[:200]})"
    if difference <= TOLERANCE:
        return True
    _warn_once(
        f"A saving on the CPU is not used, {saving}: with transformers {transformers.__version__} and TRL "
        f"{trl.__version__} it {reason} on a small model. Results are correct without it; a step takes longer."
    )
    return False


def shared_beginning(rows: Tensor) -> tuple[int, Tensor, Tensor]:
    """The common beginnings of rows that save the most tokens when each is computed once.

    Args:
        rows: Tokens [N, T], in any order.

    Returns:
        (width, once [M], owner [N]): the first `width` columns of row n are those of row `once[owner[n]]`.
    """
    order = torch.tensor(sorted(range(len(rows)), key=rows.tolist().__getitem__))
    ordered = rows[order]
    shared = (ordered[1:] == ordered[:-1]).cumprod(1).sum(1)  # tokens at the start that a row has of the one before it
    width = max(shared.tolist(), key=lambda width: width * int((shared >= width).sum()), default=0)
    new = torch.cat([torch.ones(1, dtype=torch.bool), shared < width])
    owner = torch.empty_like(order)
    owner[order] = new.cumsum(0) - 1
    return width, order[new], owner


def _make_head_input_contiguous(model: Any) -> None:
    model.get_output_embeddings().register_forward_pre_hook(lambda _, args: (args[0].contiguous(), *args[1:]))


def _share_beginnings(model: Any) -> None:
    """Replace the decoder's forward by one that computes common beginnings of rows once, where that saves time."""
    from transformers.cache_utils import DynamicLayer

    decoder = model.get_decoder()
    plain = decoder.forward
    taken = inspect.signature(plain).parameters
    cache_name = next((name for name in CACHE_NAMES if name in taken), None)
    layers = DynamicCache(config=decoder.config).layers
    if cache_name is None or not all(type(layer) is DynamicLayer for layer in layers):
        raise NotImplementedError("some layers cache something other than the keys and values of all tokens")

    def forward(*args: Any, **named: Any) -> Any:
        if (
            args
            or not _one_text_per_row(named, cache_name)
            or _more_outputs(decoder)
            or _random_or_without_cache(decoder)
        ):
            return plain(*args, **named)
        ids, mask = named["input_ids"], named.get("attention_mask")
        width, once, owner = shared_beginning(ids if mask is None else ids.masked_fill(mask == 0, -1))
        positions = named.get("position_ids")
        positions = (torch.arange(ids.shape[1])[None] if positions is None else positions).expand_as(ids)
        two_passes_cost_more = 4 * width * (len(owner) - len(once)) < ids.numel()
        if two_passes_cost_more or not torch.equal(positions[once][owner][:, :width], positions[:, :width]):
            return plain(**named)
        callers_cache = named.get(cache_name)
        cache = DynamicCache(config=decoder.config) if callers_cache is None else callers_cache
        common = {**named, cache_name: cache, "use_cache": True}
        beginnings = {"input_ids": ids[once, :width], "position_ids": positions[once, :width]}
        beginnings["attention_mask"] = None if mask is None else mask[once, :width]
        output = plain(**common | beginnings)
        cache.batch_select_indices(owner)
        hidden = output.last_hidden_state[owner]
        if width < ids.shape[1]:
            endings = {"input_ids": ids[:, width:], "position_ids": positions[:, width:]}
            hidden = torch.cat([hidden, plain(**common | endings).last_hidden_state], 1)
        kept = cache if named.get("use_cache") or callers_cache is not None else None
        return type(output)(last_hidden_state=hidden, **{cache_name: kept})

    decoder.forward = forward


def _one_text_per_row(named: dict[str, Any], cache_name: str) -> bool:
    """Whether the arguments of a decoder are one text per row, from its first token on, and nothing else."""
    names = ("input_ids", "attention_mask", "position_ids", cache_name)
    ids, mask, positions, cache = (named.get(name) for name in names)
    others = {name: value for name, value in named.items() if name not in (*names, "use_cache")}
    if ids is None or any(value is not None and value is not False for value in others.values()):
        return False
    if cache is not None and (type(cache) is not DynamicCache or cache.get_seq_length() > 0):
        return False
    if mask is not None and mask.shape != ids.shape:
        return False
    if positions is None:
        return True
    one_text = mask is not None or bool((positions.diff() == 1).all())  # else positions may pack several texts
    return one_text and positions.dim() == 2 and positions.shape[1] == ids.shape[1]


def _more_outputs(decoder: Any) -> bool:
    return any(getattr(decoder.config, name, False) for name in MORE_OUTPUTS)


def _random_or_without_cache(decoder: Any) -> bool:
    """Whether the decoder is in training mode with dropout or gradient checkpointing."""
    random = getattr(decoder.config, "attention_dropout", 0)
    return decoder.training and any(
        random
        or getattr(module, "gradient_checkpointing", False)
        or (isinstance(module, torch.nn.Dropout) and module.p)
        for module in decoder.modules()
    )


@contextmanager
def _as_with_triton() -> Iterator[None]:
    """Make TRL score only the tokens with a label on the CPU too, as it does where Triton runs."""
    from trl.trainer import utils

    original = utils._use_triton
    utils._use_triton = lambda device: device.type == "cpu" or original(device)
    try:
        yield
    finally:
        utils._use_triton = original


def _leaves_results(model: Any, change: Callable[[Any], None], saving: str) -> bool:
    return same_results(saving, lambda: _results(_small(model)), lambda: _results(_small(model), change))


def _small(model: Any) -> Any:
    """A random model of the same class and configuration in float32, with few layers and few tokens."""
    config = copy.deepcopy(model.config)
    text = config.get_text_config(decoder=True)
    depth = text.num_hidden_layers
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == depth:  # one entry per layer
            setattr(text, name, value[:LAYERS])
    text.num_hidden_layers = min(depth, LAYERS)
    text.vocab_size = VOCABULARY
    text.pad_token_id = text.bos_token_id = text.eos_token_id = None
    return type(model)(config).float()


def _batch() -> tuple[Tensor, Tensor]:
    """(tokens, mask) [6, 10]: two prompts, one padded on the left, with three completions each, shuffled."""
    prompts = torch.arange(14).view(2, 7).repeat_interleave(3, 0)
    ids = torch.cat([prompts, torch.arange(18).view(6, 3) + 14], 1)
    mask = torch.ones_like(ids)
    mask[:3, :2] = 0
    mixed = torch.tensor([3, 5, 0, 1, 2, 4])
    return ids[mixed], mask[mixed]


def _results(model: Any, change: Callable[[Any], None] = lambda _: None) -> list[Tensor]:
    """Logits and gradients of an update, and logits of sampled tokens, after `change` of the model."""
    change(model)
    ids, mask = _batch()
    logits = model.train()(input_ids=ids, attention_mask=mask, use_cache=False).logits[mask.bool()]
    logits.square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    prompts = {"input_ids": ids[:, :7], "attention_mask": mask[:, :7]}
    settings = {"do_sample": False, "max_new_tokens": 3, "output_logits": True, "return_dict_in_generate": True}
    return [logits.detach(), *gradients, *model.eval().generate(**prompts, **settings).logits]


def _scores() -> list[Tensor]:
    """Log-probabilities and entropies of completions by TRL, and their gradients, of a small model."""
    from trl.trainer.utils import add_fused_lm_head

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(vocab_size=VOCABULARY, num_hidden_layers=LAYERS, **sizes)
    model = transformers.LlamaForCausalLM(config)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    ids, mask = _batch()
    labels = ids.masked_fill(torch.arange(ids.shape[1]) < 7, -100)
    scored = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
    scored.log_probs.sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return [scored.log_probs.detach(), scored.entropy.detach(), *gradients]


def _seeded(results: Results) -> list[Tensor]:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        return results()


def _difference(result: Tensor, expected: Tensor) -> float:
    """Relative error of the norm; infinite for NaN and for another shape."""
    if result.shape != expected.shape:
        return float("inf")
    difference = ((result - expected).norm() / expected.norm().clamp(min=torch.finfo(expected.dtype).tiny)).item()
    return difference if difference == difference else float("inf")


@functools.cache
def _warn_once(message: str) -> None:
    logging.getLogger(__name__).warning(message)
