"""GDPO with a reweighter: each reward is normalised, their sum is reweighted, and the result is scaled over the batch.

TRL's `multi_objective_aggregation="normalize_then_sum"` is GDPO (arXiv 2601.05242): with rewards r_k of weights w_k,
z_k = (r_k - mean) / (std + 1e-4) within each group, and the advantage is the sum of w_k z_k, minus its mean over the
batch, over its standard deviation in the batch + 1e-4. That sum is the raw reward that a reweighter gets here.

The mean of the sum is 0 in each group, and therefore in the batch. A reweighter may move the mean of a group. Then the
mean of the group is subtracted, because with the mean of the batch a group would be raised or lowered as a whole.
"""

from __future__ import annotations

import torch
from torch import Tensor
from trl.trainer.utils import nanstd

from manypaths.methods import weighted_sum

EPSILON = 1e-4  # TRL's
NAME = "normalize_then_sum"


def raw_rewards(rewards: Tensor, weights: Tensor, size: int, aggregation: str) -> Tensor:
    """What TRL takes for the reward of a completion: the weighted sum, of rewards that it may have normalised.

    Args:
        rewards: [N, K], N / size groups one after another; NaN where a function gave None.
        weights: [K].
        size: completions of a group.
        aggregation: TRL's `multi_objective_aggregation`.

    Returns:
        [N]; NaN where every function gave None.
    """
    if aggregation == NAME:
        groups = rewards.view(-1, size, rewards.shape[1])
        normalised = (groups - groups.nanmean(1, keepdim=True)) / (nanstd(groups, dim=1, keepdim=True) + EPSILON)
        rewards = normalised.view_as(rewards).nan_to_num(0.0).masked_fill(rewards.isnan(), torch.nan)
    return weighted_sum(rewards, weights)


def scaled_over_batch(adjusted: Tensor) -> Tensor:
    """Adjusted rewards [B, G] -> advantages [B, G], 0 for an unscored completion."""
    centred = adjusted - adjusted.nanmean(1, keepdim=True)
    scaled: Tensor = centred / (nanstd(centred) + EPSILON)
    return scaled.nan_to_num(0.0)
