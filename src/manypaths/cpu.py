"""Three savings for training on a CPU. They change the time of a step, and its result by rounding at most.

Choices that libraries make for the sake of GPUs cost much on a CPU; bench/cpu_savings.py measures how much.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import trl.trainer.utils
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


def keep_head_input_contiguous(model: Any) -> None:
    """Keep a frozen LM head one matrix product.

    For a sliced (non-contiguous) input and a weight without gradient, torch.matmul copies the weight once per
    sequence of the batch: with LoRA, a 56 MB head 32 times over for each sampled token.
    """
    model.get_output_embeddings().register_forward_pre_hook(lambda _, args: (args[0].contiguous(), *args[1:]))


@contextmanager
def score_completions_only() -> Iterator[None]:
    """Score the tokens of the completions, not those of the prompts too, when taking log-probabilities.

    TRL projects only the tokens with a label onto the vocabulary where Triton runs, and every token elsewhere,
    to spare compiled backends a new shape per batch. An eager CPU has no such need.
    """
    original = trl.trainer.utils._use_triton
    trl.trainer.utils._use_triton = lambda device: device.type == "cpu" or original(device)
    try:
        yield
    finally:
        trl.trainer.utils._use_triton = original


def run_prompts_once(model: Any) -> None:
    """Run a prompt through the model once, not once for each of its completions, when sampling and in the update.

    Rows of a batch that begin with the same tokens run these as one row; its keys and values are copied for what
    follows, through which the gradient flows back. Not under gradient checkpointing, which drops the keys and values;
    not with dropout, which is to differ between copies; not for layers with another memory than keys and values.
    """
    decoder = model.get_decoder()
    plain = decoder.forward
    layers = DynamicCache(config=decoder.config).layers
    attends = not model._is_stateful and all(type(layer) is DynamicLayer for layer in layers)

    def forward(*args: Any, **named: Any) -> Any:
        ids, mask, past = (named.get(key) for key in ("input_ids", "attention_mask", "past_key_values"))
        known = not args and ids is not None and (mask is None or mask.shape == ids.shape)
        asked = any(value for key, value in named.items() if key.startswith("output_"))  # more than the last layer's
        begun = past is not None and (type(past) is not DynamicCache or past.get_seq_length() > 0)
        if not (attends and known) or asked or begun or _drops(decoder):
            return plain(*args, **named)
        tokens: Any = ids
        width, once, owner = shared_beginning(tokens if mask is None else tokens.masked_fill(mask == 0, -1))
        if 4 * width * (len(owner) - len(once)) < tokens.numel():  # two passes cost more than one
            return plain(**named)
        places = named.pop("position_ids", None)
        places = (torch.arange(tokens.shape[1])[None] if places is None else places).expand_as(tokens)
        cache = DynamicCache(config=decoder.config) if past is None else past
        kept = cache if named.get("use_cache") or past is not None else None
        named |= {"past_key_values": cache, "use_cache": True}
        first = {"input_ids": tokens[once, :width], "position_ids": places[once, :width]}
        found = plain(**named | first | {"attention_mask": None if mask is None else mask[once, :width]})
        cache.batch_select_indices(owner)
        hidden = found.last_hidden_state[owner]
        if width < tokens.shape[1]:
            found = plain(**named | {"input_ids": tokens[:, width:], "position_ids": places[:, width:]})
            hidden = torch.cat([hidden, found.last_hidden_state], 1)
        found.last_hidden_state, found.past_key_values = hidden, kept
        return found

    decoder.forward = forward


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


def _drops(decoder: Any) -> bool:
    """Whether a training forward keeps no keys and values, or is random."""
    random = getattr(decoder.config, "attention_dropout", 0)
    return decoder.training and any(
        random or getattr(each, "gradient_checkpointing", False) or (isinstance(each, torch.nn.Dropout) and each.p)
        for each in decoder.modules()
    )
