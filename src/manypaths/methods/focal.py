"""F-GRPO (arXiv 2602.06717): the focal weight, less on prompts that are often solved."""

from __future__ import annotations

import math

from torch import Tensor


def focal(advantages: Tensor, correct: Tensor, *, gamma: float = 0.5) -> Tensor:
    """Advantages times (1 - share of right completions)^gamma, less on easy prompts: F-GRPO, arXiv 2602.06717.

    Args:
        advantages: [B, G], the trainer's own or another method's.
        correct: [B, G], 1, 0, or NaN where the verdict is unknown, which does not count in the share.
        gamma: 0 changes nothing.

    Returns:
        advantages [B, G]: 0 where all are right, and as they were where none is right or no verdict is known.
    """
    if not 0 <= gamma < math.inf:
        raise ValueError(f"focal's gamma must be 0 or more, and finite, got {gamma}.")
    share = correct.nanmean(-1, keepdim=True).nan_to_num(0.0)
    return advantages * (1 - share) ** gamma
