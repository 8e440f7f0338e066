"""Rarity credit: advantages by how rare the way of a completion is (arXiv 2608.03467 and 2601.08763)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report
from manypaths.methods.frequency import check_keys, occurrences
from manypaths.methods.verdicts import right_and_wrong

RULES = ("redistributed", "right", "all")


def rarity(
    rewards: Tensor,
    advantages: Tensor,
    correct: Tensor,
    keys: Tensor,
    *,
    alpha: float = 0.5,
    rule: str = "redistributed",
    clip: Sequence[float] | None = None,
) -> Tensor:
    """Advantages in which the right completions of a rare way get more of the credit, and those of a common way less.

    With f_i, the number of right completions of the group that have the key of completion i, and n right ones,

        A_i * n * f_i^-alpha / (sum over the right j of f_j^-alpha)                  (Cue-GRPO, arXiv 2608.03467, Eq. 3)

    for a right completion; the others keep their advantages. A way that m right completions go gets m^(1 - alpha) of
    the credit (Eq. 4): m where alpha is 0, as in GRPO, and the same for every way where alpha is 1. Where all right
    completions have one advantage, the sum of a group's advantages is kept; a group with one way or one right
    completion is left as it is.

    In the paper every right completion has the same positive advantage. Here credit is a positive advantage of a right
    completion: only such completions count in n, f and the sum. A right completion whose advantage is negative, for
    instance because its form is worse than that of the others, keeps it, or it would be punished the more the rarer
    its way is.

    Args:
        rewards: [B, G], NaN for an unscored completion. Nothing else of them is used.
        advantages: [B, G], those of the trainer, or of the method before this one, such as `maxrl`.
        correct: [B, G], 1 for a right completion; 0, and NaN where that is unknown, for the others.
        keys: [B, G], whole numbers; completions of equal keys go the same way.
        alpha: in [0, 1]; the paper takes 0.8 with 64 completions a group and clips the weights. With 0.5 no weight of
            up to 13 right completions leaves the range [0.3, 3.0] to which it clips; with 0.8 the weight of one rare
            completion among 8 right ones is 3.2.
        rule: "redistributed" is the equation above. "right" is A_i * f_i^-alpha for right completions of positive
            advantage, which takes credit from common ways and gives it to nobody: a group with one way loses most.
            "all" is A_i * f_i^-alpha for every scored completion, right or wrong, with f_i counted among all of them
            (UARL, arXiv 2601.08763): the rarer a wrong completion is, the more it is punished.
        clip: the least and the largest weight, [0.3, 3.0] in the paper (part of its Eq. 8, of which no code was found);
            the sum of advantages is then no longer kept. None does not clip.

    Returns:
        advantages [B, G], 0 for an unscored completion. Diagnostic: `ways` [B], the number of different keys among the
        completions that are weighted.

    Raises:
        ValueError: for wrong shapes, a verdict that is not 1, 0 or NaN, alpha outside [0, 1], an unknown rule, and a
            clip that is not two numbers, 0 <= least <= largest.

    Example, three completions go one right way, one goes another, and one is wrong:
        >>> rewards = correct = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]])
        >>> advantages = torch.tensor([[0.2, 0.2, 0.2, 0.2, -0.8]])
        >>> rarity(rewards, advantages, correct, torch.tensor([[7, 7, 7, 8, 9]]), alpha=1.0)
        tensor([[ 0.1333,  0.1333,  0.1333,  0.4000, -0.8000]])
    """
    check_keys("rarity", rewards, keys, advantages=advantages)
    right, _ = right_and_wrong("rarity", rewards, correct)
    _check_options(alpha, rule, clip)
    scored = ~rewards.isnan()
    weighted = scored if rule == "all" else right & (advantages > 0)
    count = occurrences(keys, weighted).clamp(min=1).to(advantages.dtype)
    weight = (count**-alpha).masked_fill(~weighted, 0.0)
    if rule == "redistributed":
        total = weight.sum(-1, keepdim=True)
        weight = weight * weighted.sum(-1, keepdim=True) / torch.where(total > 0, total, 1.0)
    if clip is not None:
        weight = weight.clamp(clip[0], clip[1])
    report("ways", (1 / count).masked_fill(~weighted, 0.0).sum(-1))
    return torch.where(weighted, advantages * weight, advantages).masked_fill(~scored, 0.0)


def _check_options(alpha: float, rule: str, clip: Sequence[float] | None) -> None:
    """Raise ValueError for options of `rarity` that it does not take."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"rarity's alpha must be in [0, 1], got {alpha}.")
    if rule not in RULES:
        raise ValueError(f"rarity's rule must be one of {', '.join(RULES)}, got {rule!r}.")
    if clip is not None and not (len(clip) == 2 and 0 <= clip[0] <= clip[1]):
        raise ValueError(f"rarity's clip must be [least, largest], two numbers from 0 on, got {list(clip)}.")
