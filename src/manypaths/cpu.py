"""Three savings for training on a CPU. They change the time of a step, and its result by rounding at most.

Choices that libraries make for the sake of GPUs cost much on a CPU; bench/cpu_savings.py measures how much. A saving
relies on how transformers and TRL work inside, which their next release may change. So each is first tried on a small
random model (`same_results`), and left out, with a line in the log, where its results differ from the plain ones.
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

CACHE_NAMES = ("cache", "past_key_values")  # of a decoder's argument: since transformers 5.24, and before
MORE_OUTPUTS = ("output_attentions", "output_hidden_states", "output_router_logits")
LAYERS, VOCABULARY = 2, 64  # of a small model
TOLERANCE = 1e-4  # relative, of norms: rounding in float32 makes 1e-6, a wrong mask, position or gradient 0.1

Results = Callable[[], list[Tensor]]


def keep_head_input_contiguous(model: Any) -> None:
    """Make the input of the LM head contiguous, so that a frozen head stays one matrix product.

    For a sliced (non-contiguous) input and a weight without gradient, torch.matmul copies the weight once per
    sequence of the batch: with LoRA, a 56 MB head 32 times over for each sampled token.
    """
    if _leaves_results(model, _make_head_input_contiguous, "the LM head's contiguous input"):
        _make_head_input_contiguous(model)


def run_prompts_once(model: Any) -> None:
    """Run a prompt through the model once, not once for each of its completions, when sampling and in the update.

    Rows of a batch that begin with the same tokens run these as one row; its keys and values are copied for what
    follows, through which the gradient flows back. Not under gradient checkpointing, which drops the keys and values;
    not with dropout, which is to differ between copies; not for layers with another memory than keys and values.
    """
    if _leaves_results(model, _share_beginnings, "running the prompts once"):
        _share_beginnings(model)


@contextmanager
def score_completions_only() -> Iterator[None]:
    """Score the tokens of the completions, not those of the prompts too, when taking log-probabilities.

    TRL projects only the tokens with a label onto the vocabulary where Triton runs, and every token elsewhere,
    to spare compiled backends a new shape per batch. An eager CPU has no such need.
    """
    works = same_results("scoring the completions only", _scores, _as_with_triton()(_scores))
    with _as_with_triton() if works else nullcontext():
        yield


def same_results(saving: str, plain: Results, changed: Results) -> bool:
    """Whether a saving may be used: `changed` gives the tensors of `plain`, up to rounding; else a line in the log.

    Both are called with the same random state; the caller's is left as it was.
    """
    try:
        expected, results = _seeded(plain), _seeded(changed)
        difference = max(_difference(*pair) for pair in zip(results, expected, strict=True))
        reason = f"changes results by {difference:.2g}"
    except Exception as error:  # of whatever kind: the plain way still works
        difference, reason = float("inf"), f"fails ({type(error).__name__}: {str(error).strip()[:200]})"
    if difference <= TOLERANCE:
        return True
    _warn_once(
        f"A saving on the CPU is left out, {saving}: with transformers {transformers.__version__} and TRL "
        f"{trl.__version__} it {reason} on a small model. Results are right without it; a step takes longer."
    )
    return False


def shared_beginning(rows: Tensor) -> tuple[int, Tensor, Tensor]:
    """How to compute most of rows [N, T] only once: (width, once [M], owner [N]).

    The first `width` columns of row n are those of row `once[owner[n]]`. Rows may stand in any order.
    """
    order = torch.tensor(sorted(range(len(rows)), key=rows.tolist().__getitem__))
    ordered = rows[order]
    alike = (ordered[1:] == ordered[:-1]).cumprod(1).sum(1)  # with how much of the row before it a row begins
    width = max(alike.tolist(), key=lambda width: width * int((alike >= width).sum()), default=0)
    new = torch.cat([torch.ones(1, dtype=torch.bool), alike < width])
    owner = torch.empty_like(order)
    owner[order] = new.cumsum(0) - 1
    return width, order[new], owner


def _make_head_input_contiguous(model: Any) -> None:
    model.get_output_embeddings().register_forward_pre_hook(lambda _, args: (args[0].contiguous(), *args[1:]))


def _share_beginnings(model: Any) -> None:
    """Replace the decoder's forward by one that runs what rows have in common once, where that saves time."""
    from transformers.cache_utils import DynamicLayer

    decoder = model.get_decoder()
    plain = decoder.forward
    taken = inspect.signature(plain).parameters
    cache_name = next((name for name in CACHE_NAMES if name in taken), None)
    layers = DynamicCache(config=decoder.config).layers
    if cache_name is None or not all(type(layer) is DynamicLayer for layer in layers):
        raise NotImplementedError("some layers keep something other than the keys and values of all tokens")

    def forward(*args: Any, **named: Any) -> Any:
        if args or not _understood(named, cache_name) or _more_outputs(decoder) or _drops(decoder):
            return plain(*args, **named)
        ids, mask = named["input_ids"], named.get("attention_mask")
        width, once, owner = shared_beginning(ids if mask is None else ids.masked_fill(mask == 0, -1))
        positions = named.get("position_ids")
        positions = (torch.arange(ids.shape[1])[None] if positions is None else positions).expand_as(ids)
        two_passes_cost_more = 4 * width * (len(owner) - len(once)) < ids.numel()
        if two_passes_cost_more or not torch.equal(positions[once][owner][:, :width], positions[:, :width]):
            return plain(**named)
        given = named.get(cache_name)
        cache = DynamicCache(config=decoder.config) if given is None else given
        common = {**named, cache_name: cache, "use_cache": True}
        beginnings = {"input_ids": ids[once, :width], "position_ids": positions[once, :width]}
        beginnings["attention_mask"] = None if mask is None else mask[once, :width]
        output = plain(**common | beginnings)
        cache.batch_select_indices(owner)
        hidden = output.last_hidden_state[owner]
        if width < ids.shape[1]:
            rest = {"input_ids": ids[:, width:], "position_ids": positions[:, width:]}
            hidden = torch.cat([hidden, plain(**common | rest).last_hidden_state], 1)
        kept = cache if named.get("use_cache") or given is not None else None
        return type(output)(last_hidden_state=hidden, **{cache_name: kept})

    decoder.forward = forward


def _understood(named: dict[str, Any], cache_name: str) -> bool:
    """Whether the arguments of a decoder are one text in each row, from its first token on, and nothing else."""
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
    one_text = mask is not None or bool((positions.diff() == 1).all())  # without a mask, positions may pack several
    return one_text and positions.dim() == 2 and positions.shape[1] == ids.shape[1]


def _more_outputs(decoder: Any) -> bool:
    return any(getattr(decoder.config, name, False) for name in MORE_OUTPUTS)


def _drops(decoder: Any) -> bool:
    """Whether a training forward keeps no keys and values, or is random."""
    random = getattr(decoder.config, "attention_dropout", 0)
    return decoder.training and any(
        random or getattr(each, "gradient_checkpointing", False) or (isinstance(each, torch.nn.Dropout) and each.p)
        for each in decoder.modules()
    )


@contextmanager
def _as_with_triton() -> Iterator[None]:
    """Within this, TRL scores only the tokens with a label on the CPU too."""
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
        if isinstance(value, list) and len(value) == depth:  # one entry for each layer
            setattr(text, name, value[:LAYERS])
    text.num_hidden_layers = min(depth, LAYERS)
    text.vocab_size = VOCABULARY
    text.pad_token_id = text.bos_token_id = text.eos_token_id = None
    return type(model)(config).float()


def _batch() -> tuple[Tensor, Tensor]:
    """(tokens, mask) [6, 10]: two prompts, one padded on the left, with three completions each, in no order."""
    prompts = torch.arange(14).view(2, 7).repeat_interleave(3, 0)
    ids = torch.cat([prompts, torch.arange(18).view(6, 3) + 14], 1)
    mask = torch.ones_like(ids)
    mask[:3, :2] = 0
    mixed = torch.tensor([3, 5, 0, 1, 2, 4])
    return ids[mixed], mask[mixed]


def _results(model: Any, change: Callable[[Any], None] = lambda _: None) -> list[Tensor]:
    """Logits and gradients of an update, and the logits of sampled tokens, of a model after `change`."""
    change(model)
    ids, mask = _batch()
    logits = model.train()(input_ids=ids, attention_mask=mask, use_cache=False).logits[mask.bool()]
    logits.square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    prompts = {"input_ids": ids[:, :7], "attention_mask": mask[:, :7]}
    settings = {"do_sample": False, "max_new_tokens": 3, "output_logits": True, "return_dict_in_generate": True}
    return [logits.detach(), *gradients, *model.eval().generate(**prompts, **settings).logits]


def _scores() -> list[Tensor]:
    """Log-probabilities that TRL takes of the completions, and their gradients, of a small model."""
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


def _difference(found: Tensor, expected: Tensor) -> float:
    """Relative, of norms; infinite for NaN."""
    if found.shape != expected.shape:
        return float("inf")
    difference = ((found - expected).norm() / expected.norm().clamp(min=torch.finfo(expected.dtype).tiny)).item()
    return difference if difference == difference else float("inf")


@functools.cache
def _warn_once(message: str) -> None:
    logging.getLogger(__name__).warning(message)
