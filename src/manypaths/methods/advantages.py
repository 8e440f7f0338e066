"""Advantages in the place of GRPO's: what RGRA (arXiv 2603.18756) was compared with.

GRPO's advantage compares each reward with its group: (r - mean) / std. The functions here put something else in its
place. Their inputs are adjusted rewards and GRPO's advantages, both [B, G] for B groups of G completions; a NaN reward
marks an unscored completion, whose advantage is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Advantage = Callable[..., Tensor]  # a function of inputs by name -> advantages [B, G]


def grpo_pos(rewards: Tensor, advantages: Tensor) -> Tensor:
    """GRPO-pos: negative advantages become 0, so that only completions better than their group are reinforced."""
    return advantages.clamp(min=0.0).masked_fill(rewards.isnan(), 0.0)


def reinforce(rewards: Tensor, advantages: Tensor) -> Tensor:
    """REINFORCE (Williams 1992) without a baseline: the reward itself, neither centred nor scaled."""
    return rewards.nan_to_num(0.0)


def raft(rewards: Tensor, advantages: Tensor) -> Tensor:
    """RAFT (arXiv 2304.06767): cross-entropy on the best completion of each group, which gets G and all others 0.

    With G in place of 1 the mean over the G scored completions of a group is the cross-entropy of the best one. Equally
    good completions share the G evenly, so that the mean over them is taken. In a zero-variance group every completion
    is imitated, right or wrong, for RAFT has no baseline.
    """
    scored = ~rewards.isnan()
    top = scored & (rewards == rewards.masked_fill(~scored, -torch.inf).amax(-1, keepdim=True))
    share = scored.sum(-1, keepdim=True) / top.sum(-1, keepdim=True).clamp(min=1)
    return (top * share).to(advantages.dtype)
