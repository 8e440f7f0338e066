"""DARLING (arXiv 2509.02534): rewards times the share of the other completions that go another way."""

from __future__ import annotations

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report
from manypaths.methods.frequency import check_keys, occurrences
from manypaths.methods.verdicts import right_and_wrong


def darling(rewards: Tensor, keys: Tensor, *, least: float = 0.1) -> Tensor:
    """Rewards times the share of the other completions of the group that have another key.

    DARLING (arXiv 2509.02534): r_i * (G - f_i) / (G - 1), where f_i completions of G have the key of completion i,
    right or wrong. The released code, `partition` of its recipe for mathematics, makes this share at least 0.1. The
    paper's classes come from a trained classifier; here they are the keys.

    The factor is at most 1, so it brings a reward nearer to 0: a negative reward is best where the way is common. A
    completion that is the only scored one of its group keeps its reward.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        keys: [B, G], whole numbers; completions of equal keys go the same way.
        least: the smallest factor, in [0, 1].

    Returns:
        adjusted rewards [B, G], NaN where the reward is NaN. Diagnostic: `factor` [B, G].

    Raises:
        ValueError: for wrong shapes and `least` outside [0, 1].

    Example, two completions go one way and two another ones:
        >>> darling(torch.tensor([[1.0, 1.0, 1.0, 0.0]]), torch.tensor([[7, 7, 8, 9]]))
        tensor([[0.6667, 0.6667, 1.0000, 0.0000]])
    """
    check_keys("darling", rewards, keys)
    factor = _factor("darling", keys, ~rewards.isnan(), least, rewards.dtype)
    report("factor", factor.masked_fill(rewards.isnan(), torch.nan))
    return rewards * factor


def darling_correct(
    rewards: Tensor, correct: Tensor, keys: Tensor, *, least: float = 0.1, released: bool = False
) -> Tensor:
    """`darling` among the right completions of a group: the wrong ones count for nobody, and keep their rewards.

    Args:
        rewards, keys, least: as of `darling`.
        correct: [B, G], 1 for a right completion; 0, and NaN where that is unknown, for the others.
        released: the released code's `partition_correct` instead, where the factor of wrong completions is `least`,
            and so is that of a right one without another right one in its group.

    Returns, Raises:
        as `darling`.

    Example, the third completion alone goes its right way:
        >>> correct = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
        >>> darling_correct(correct, correct, torch.tensor([[7, 7, 8, 7]]))
        tensor([[0.5000, 0.5000, 1.0000, 0.0000]])
        >>> alone = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
        >>> darling_correct(alone, alone, torch.tensor([[7, 7, 8, 7]]))
        tensor([[0., 0., 1., 0.]])
        >>> darling_correct(alone, alone, torch.tensor([[7, 7, 8, 7]]), released=True)
        tensor([[0.0000, 0.0000, 0.1000, 0.0000]])
    """
    check_keys("darling_correct", rewards, keys)
    right, _ = right_and_wrong("darling_correct", rewards, correct)
    factor = _factor("darling_correct", keys, right, least, rewards.dtype)
    if released:
        right = right & (right.sum(-1, keepdim=True) > 1)
    factor = torch.where(right, factor, least if released else 1.0)
    report("factor", factor.masked_fill(rewards.isnan(), torch.nan))
    return rewards * factor


def _factor(who: str, keys: Tensor, among: Tensor, least: float, dtype: torch.dtype) -> Tensor:
    """The share of the others, of the completions that count, with another key: [B, G], in [least, 1]."""
    if not 0 <= least <= 1:
        raise ValueError(f"{who}'s least must be in [0, 1], got {least}.")
    count = among.sum(-1, keepdim=True)
    share = (count - occurrences(keys, among)).to(dtype) / (count - 1).clamp(min=1)
    return torch.where(count > 1, share.clamp(min=least), 1.0).to(dtype)
