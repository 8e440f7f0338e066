"""MaxRL (arXiv 2602.02710): the share of right completions in place of the standard deviation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manypaths.methods.groups import check_rewards, in_float64
from manypaths.methods.verdicts import right_and_wrong


def maxrl(rewards: Tensor, correct: Tensor, *, partial_credit: bool = False, eps: float = 0.0) -> Tensor:
    """Each verdict against the mean of its group, divided by that mean: (c_i - mean) / mean.

    MaxRL (arXiv 2602.02710), Algorithm 1: with n right completions of G, a right one gets G/n - 1 and a wrong one -1.
    In expectation that is the gradient of a sum of pass@k / k over k below G, which nears log p as G grows.

    A group with nothing right gets 0, and so does one with nothing wrong. A completion whose verdict is unknown gets 0
    and is not counted.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        correct: [B, G], 1, 0, or NaN where the verdict is unknown.
        partial_credit: True puts the rewards themselves in the place of the verdicts, as the released code does. A
            reward for form then counts as success: of rewards 0.1 0 0 0 the first completion gets +3.
        eps: added to the mean that is divided by; the released code has 1e-6.

    Returns:
        advantages [B, G]; their sum over a group is 0, but for `eps`.

    Raises:
        ValueError: as `right_and_wrong` does, for an eps that is not 0 or more, and for a negative reward with
            `partial_credit`, for a negative mean would turn every sign around.

    Example, one right of four:
        >>> maxrl(torch.tensor([[1.1, 0.1, 0.0, 0.1]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
        tensor([[ 3., -1., -1., -1.]])
    """
    if not 0 <= eps < math.inf:
        raise ValueError(f"maxrl's eps must be 0 or more, and finite, got {eps}.")
    if partial_credit:
        check_rewards("maxrl", rewards)
        if (rewards < 0).any():
            least = rewards.nan_to_num(torch.inf).min().item()
            raise ValueError(
                f"maxrl's rewards must not be negative with partial_credit, got {least:.6g}: a negative mean would "
                "turn every sign around. Leave partial_credit out."
            )
        values = in_float64(rewards)
    else:
        right, wrong = right_and_wrong("maxrl", rewards, correct)
        values = in_float64(torch.where(right | wrong, right.to(rewards.dtype), torch.nan))
    mean = values.nanmean(-1, keepdim=True)
    advantages = (values - mean) / (mean + eps)
    return advantages.masked_fill(~(mean > 0) | values.isnan(), 0.0).to(rewards)
