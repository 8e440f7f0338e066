"""DRA-GRPO (arXiv 2505.09655): rewards divided by how crowded a completion's neighbourhood is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report
from manypaths.methods.groups import TIED, check_group

SMALLEST_COUNT = 0.01  # DRA divides by nothing nearer to zero


def dra(rewards: Tensor, similarity: Tensor, *, floor: float | None = None) -> Tensor:
    """Rewards divided by how often each completion occurs in its group, softly counted.

    DRA-GRPO (arXiv 2505.09655): adjusted_i = r_i / (1 + SMI_i) with the graph cut SMI_i = sum over j != i of s_ij.
    1 + SMI, a soft count of how often completion i occurs in its group, is the row sum of the similarity; like the
    released code this adds 1e-6 to it.

    A count under 1 means siblings that point away, which completions of one question hardly ever do. The division is
    kept as published, sign included, but a count within 0.01 of zero is moved out to 0.01 (zero itself to +0.01), so
    that no reward grows more than a hundredfold.

    Dividing brings a reward nearer to zero. Of negative rewards, then, the crowded ones are spared and the rarest is
    punished most, against the method's meaning. With `floor` rewards are measured from it, floor + (r - floor) / count,
    so that to be crowded never raises a reward.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        similarity: [B, G, G], cosine similarity within each group, in [-1, 1].
        floor: the least reward there can be; None is the published form, which measures from 0 whatever the rewards.

    Returns:
        adjusted rewards [B, G], NaN where the reward is NaN. Diagnostic: `count` [B, G].

    Raises:
        ValueError: as `mmr` does, for a floor that is not a finite number, and for a reward below it.

    Example, two copies and another way to the same reward:
        >>> similarity = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
        >>> dra(torch.tensor([[1.0, 1.0, 1.0]]), similarity)
        tensor([[0.5000, 0.5000, 1.0000]])
    """
    if floor is not None and not math.isfinite(floor):
        raise ValueError(f"dra's floor must be a finite number, the least reward there can be, got {floor}.")
    similarity = check_group("dra", rewards, similarity)
    if floor is not None and (rewards < floor - TIED * max(1.0, abs(floor))).any():
        least = rewards.nan_to_num(torch.inf).min().item()
        raise ValueError(
            f"dra's floor must be the least reward there can be, got floor={floor:g} and a reward of {least:.6g}. "
            "Set it to the least weighted sum that the reward functions can give."
        )
    origin = 0.0 if floor is None else floor
    count = similarity.sum(-1) + 1e-6
    smallest = torch.where(count < 0, -SMALLEST_COUNT, SMALLEST_COUNT).to(count.dtype)
    count = torch.where(count.abs() < SMALLEST_COUNT, smallest, count)
    report("count", count.masked_fill(rewards.isnan(), torch.nan))
    return (origin + (rewards - origin) / count).to(rewards.dtype)
