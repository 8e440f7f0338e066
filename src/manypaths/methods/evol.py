"""EVOL-RL (arXiv 2509.15194): rewards in two bands, right and wrong, and within each by novelty."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report
from manypaths.methods.groups import check_group, diagonal, in_float64
from manypaths.methods.verdicts import right_and_wrong


def evol(rewards: Tensor, correct: Tensor, similarity: Tensor, *, tolerance: float = 1e-4) -> Tensor:
    """Rewards from 0.5 to 1 for right completions and from -1 to -0.5 for wrong ones, by how novel they are.

    EVOL-RL (arXiv 2509.15194). A completion is right or wrong by `correct`; in the paper that is whether its answer is
    that of the majority, for it trains without gold answers. Its novelty is

        1 - (mean similarity to the others of the same verdict + largest similarity to any other of the group) / 2,

    and u is the novelty scaled to 0 .. 1 within the completions of the same verdict. A right completion earns
    0.5 + 0.5 u and a wrong one -1 + 0.5 u. The only right one of a group earns 1, and the only wrong one -0.5.

    Scaled so, the smallest difference spans the whole band, rounding included: of two copies of one text one may earn
    0.5 and the other 1. So novelties that differ by no more than `tolerance` are equal here, and u is 0.5.

    The rewards themselves have no influence, such as a reward for form, other than to say what is unscored.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        correct: [B, G], 1, 0, or NaN where that is unknown. Such a completion keeps its reward, and counts as no
            other's neighbour.
        similarity: [B, G, G], cosine similarity; similarities below 0 count as 0, as in the released code.
        tolerance: the greatest difference of the novelties of one verdict that counts as none; 0 is the released code.
            Embeddings in bfloat16 differ by about 0.01 between copies.

    Returns:
        adjusted rewards [B, G], NaN where the reward is NaN. Diagnostic: `novelty` [B, G], NaN for the only
        completion of its verdict.

    Raises:
        ValueError: for a tolerance that is negative or not finite; for a verdict that is another number; for
            rewards and similarities as `mmr` does.

    Example, two copies and another way, all right:
        >>> similarity = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
        >>> evol(torch.ones(1, 3), torch.ones(1, 3), similarity)
        tensor([[0.5000, 0.5000, 1.0000]])
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"evol's tolerance must be a finite number of at least 0, got {tolerance}.")
    right, wrong = right_and_wrong("evol", rewards, correct)
    alike = in_float64(check_group("evol", rewards, similarity)).clamp_(0.0, 1.0)
    if not rewards.numel():
        return rewards.clone()
    right, wrong = right.to(alike.device), wrong.to(alike.device)
    others = (right | wrong).unsqueeze(-2) & ~diagonal(alike)  # [B, i, j]
    same = others & (right.unsqueeze(-1) == right.unsqueeze(-2))
    mean = torch.where(same, alike, 0.0).sum(-1) / same.sum(-1)  # NaN for the only one of its verdict
    novelty = 1 - (mean + torch.where(others, alike, 0.0).amax(-1)) / 2
    adjusted = in_float64(rewards)
    for members, lowest in ((right, 0.5), (wrong, -1.0)):
        adjusted = torch.where(members, lowest + 0.5 * _scaled(novelty, members, tolerance), adjusted)
    report("novelty", novelty.masked_fill(~(right | wrong), torch.nan))
    return adjusted.to(rewards.dtype).to(rewards.device)


def _scaled(novelty: Tensor, members: Tensor, tolerance: float) -> Tensor:
    """Novelty [B, G] scaled to 0 .. 1 within the members of a group: 0.5 where it is equal, 1 for an only member."""
    low = novelty.masked_fill(~members, torch.inf).amin(-1, keepdim=True)
    high = novelty.masked_fill(~members, -torch.inf).amax(-1, keepdim=True)
    scaled = torch.where(high - low > tolerance, (novelty - low) / (high - low), 0.5)
    return torch.where(members.sum(-1, keepdim=True) == 1, 1.0, scaled)
