"""IPS-GRPO (arXiv 2601.21669): rewards divided by the share of their key in the group."""

from __future__ import annotations

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report
from manypaths.methods.frequency import check_keys, occurrences
from manypaths.methods.verdicts import right_and_wrong


def ips(
    rewards: Tensor,
    correct: Tensor,
    keys: Tensor,
    *,
    eps: float = 0.01,
    alpha: float = 1.0,
    partial_credit: bool = False,
) -> Tensor:
    """Rewards of right completions, divided by the share p_i of the group that has their key.

    IPS-GRPO (arXiv 2601.21669), Eq. 9: r_i / max(p_i, eps), with p_i counted over right and wrong completions.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        correct: [B, G], 1 for a right completion; 0, and NaN where that is unknown, for the others.
        keys: [B, G], whole numbers; completions of equal keys go the same way.
        eps: the least share; it has an effect above 1 / G only.
        alpha: the share is raised to this power, in [0, 1]; 0 leaves rewards as they are, and 1 is the paper's.
        partial_credit: whether the rewards of wrong completions, as for form, are divided, too. The paper's equation
            divides all rewards. With rewards of 0 and 1 that is the same; otherwise it pays a rare wrong completion up
            to G times its reward, which may be more than a common right one gets.

    Returns:
        adjusted rewards [B, G], NaN where the reward is NaN. Diagnostic: `key_share` [B, G].

    Raises:
        ValueError: for wrong shapes, a verdict that is not 1, 0 or NaN, eps outside (0, 1] and alpha outside [0, 1].

    Example:
        >>> correct = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
        >>> ips(correct, correct, torch.tensor([[7, 7, 8, 9]]))
        tensor([[2., 2., 4., 0.]])
    """
    check_keys("ips", rewards, keys)
    right, _ = right_and_wrong("ips", rewards, correct)
    if not 0 < eps <= 1:
        raise ValueError(f"ips's eps must be in (0, 1], got {eps}.")
    if not 0 <= alpha <= 1:
        raise ValueError(f"ips's alpha must be in [0, 1], got {alpha}.")
    scored = ~rewards.isnan()
    share = occurrences(keys, scored).to(rewards.dtype) / scored.sum(-1, keepdim=True).clamp(min=1)
    report("key_share", share)
    divided = scored if partial_credit else right
    return torch.where(divided, rewards / share.clamp(min=eps) ** alpha, rewards)
