"""Two savings for training on a CPU. Both change the time of a step, not its result.

Two choices that libraries make for the sake of GPUs cost much on a CPU; bench/cpu_savings.py measures how much.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trl.trainer.utils


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
