"""What else a group can teach: rewards and advantages of a group in, other advantages out. Pure functions on tensors.

GRPO's advantage compares each reward with its group: (r - mean) / std. The functions here put something else in its
place, (rewards [B, G], advantages [B, G]) -> advantages [B, G]; B groups of G completions, NaN rewards are unscored
completions, whose advantage is 0. They are what RGRA (arXiv 2603.18756) was compared with.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Advantage = Callable[[Tensor, Tensor], Tensor]


def positive(rewards: Tensor, advantages: Tensor) -> Tensor:
    """GRPO-pos: negative advantages become 0, so only answers better than their group are learned from."""
    return advantages.clamp(min=0.0).masked_fill(rewards.isnan(), 0.0)


def reward(rewards: Tensor, advantages: Tensor) -> Tensor:
    """REINFORCE (Williams 1992) without a baseline: the reward itself, neither centred nor scaled."""
    return rewards.nan_to_num(0.0)


def best(rewards: Tensor, advantages: Tensor) -> Tensor:
    """RAFT (arXiv 2304.06767): cross-entropy on the best answer of each group, which gets G and all others 0.

    With G in place of 1 the mean over the G answers of a group is the cross-entropy of the best one. Equally good
    answers share the G evenly, the mean over which of them is taken; a group whose rewards are all equal is
    imitated whole, right or wrong, for RAFT has no baseline.
    """
    scored = ~rewards.isnan()
    top = scored & (rewards == rewards.masked_fill(~scored, -torch.inf).amax(-1, keepdim=True))
    share = rewards.shape[-1] / top.sum(-1, keepdim=True).clamp(min=1)
    return (top * share).to(advantages.dtype)


ADVANTAGES: dict[str, Advantage] = {"positive": positive, "reward": reward, "best": best}
