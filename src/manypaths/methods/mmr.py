"""MMR-GRPO (arXiv 2601.09085): maximal marginal relevance, and its adaptive weight on the reward."""

from __future__ import annotations

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report
from manypaths.methods.groups import TIED, check_group, check_rewards, device_with_float64, diagonal, in_float64

TIES = ("diverse", "first")


def adaptive_lambda(rewards: Tensor) -> Tensor:
    """The weight on the reward: the sigmoid of the standard deviation of each group.

    MMR-GRPO (arXiv 2601.09085), Eq. 4, with the population standard deviation as in the released code.

    Args:
        rewards: [B, G], NaN for an unscored completion.

    Returns:
        [B], in [0.5, 1); 0.5 for a group without a scored completion.

    Raises:
        ValueError: unless rewards are floating-point numbers [B, G] and not infinite.
    """
    check_rewards("adaptive_lambda", rewards)
    scored = ~rewards.isnan()
    mean = rewards.nanmean(-1, keepdim=True)
    variance = torch.where(scored, rewards - mean, 0.0).square().sum(-1) / scored.sum(-1).clamp(min=1)
    return torch.sigmoid(variance.sqrt())


def mmr(rewards: Tensor, similarity: Tensor, *, lam: float | Tensor | None = None, ties: str = "diverse") -> Tensor:
    """Maximal marginal relevance: each completion is charged for its similarity to those picked before it.

    MMR-GRPO (arXiv 2601.09085), Algorithm 1. Completions are picked one after another. The one with the highest reward
    is picked first and keeps its reward; then, again and again, the one with the highest score is picked,

        score_i = lam * r_i - (1 - lam) * max over the picked j of s_ij,                        (Eq. 3)

    and its score at that moment is its adjusted reward. No completion is dropped.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        similarity: [B, G, G], cosine similarity within each group, in [-1, 1].
        lam: the weight on the reward, one number in [0, 1] or one per group [B]; 1 is reward only, and None is
            `adaptive_lambda(rewards)` (Eq. 4).
        ties: which of several equal scores is picked first, for the paper leaves it open. "diverse" picks the least
            crowded one, of the smallest sum of similarities within the group. Completions that are equal in this too
            (copies of one text, a group of two) are picked together: each gets the mean, over the orders in which they
            could be picked, of being first and of following its nearest twin, so that the order of sampling decides
            nothing. "first" picks the lowest index, as the released code does, which also counts negative similarities
            as 0 (clamp them to reproduce it).

    Returns:
        adjusted rewards [B, G], NaN where the reward is NaN. Diagnostics: `lam` [B] and `pick` [B, G], whole numbers,
        1 for the completion that was picked first and 0 for an unscored one.

    Raises:
        ValueError: for wrong shapes, infinite rewards, a similarity between scored completions that is NaN or outside
            [-1, 1] beyond rounding, `lam` outside [0, 1], and unknown `ties`.

    Example, two copies and another way to the same reward:
        >>> similarity = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
        >>> mmr(torch.tensor([[1.0, 1.0, 1.0]]), similarity, lam=0.7)
        tensor([[0.5500, 0.5500, 1.0000]])
    """
    similarity = in_float64(check_group("mmr", rewards, similarity)).clamp(-1.0, 1.0)
    if ties not in TIES:
        raise ValueError(f"mmr's ties must be one of {', '.join(TIES)}, got {ties!r}.")
    weight = _check_lambda(adaptive_lambda(rewards) if lam is None else lam, rewards)
    reward = in_float64(rewards)
    crowding = similarity.masked_fill(diagonal(similarity), 0.0).sum(-1)
    # [B, j, i]: what i loses once j is picked; over j it is reduced with i side by side, which is quick
    loss = ((1 - weight).unsqueeze(-1) * similarity.mT).masked_fill(diagonal(similarity), -torch.inf)
    adjusted, order = torch.full_like(reward, torch.nan), torch.zeros_like(reward, dtype=torch.int64)
    gone, picked = reward.isnan(), order[:, :1]
    score, most = reward.masked_fill(gone, -torch.inf), torch.full_like(reward, -torch.inf)
    for _ in range(rewards.shape[1]):
        pick = _best(score, crowding, ties)
        most = torch.maximum(most, torch.where(pick.unsqueeze(-1), loss, -torch.inf).amax(1))
        follow = weight * reward - most
        count = pick.sum(-1, keepdim=True)
        value = torch.where(count > 1, (score + (count - 1) * follow) / count, score)
        adjusted, order = torch.where(pick, value, adjusted), torch.where(pick, picked + 1, order)
        gone, picked = gone | pick, picked + count
        score = follow.masked_fill(gone, -torch.inf)
    report("lam", weight.squeeze(-1))
    report("pick", order)
    return adjusted.to(rewards.dtype).to(rewards.device)


def _best(score: Tensor, crowding: Tensor, ties: str) -> Tensor:
    """Which completions are picked next, [B, G] bool: those of the highest score, or of several the tie's winners."""
    best = score.amax(-1, keepdim=True).clamp(min=torch.finfo(score.dtype).min)  # none is picked when all are gone
    if ties == "first":
        leaders = score == best
        return leaders & (leaders.cumsum(-1) == 1)
    leaders = score >= best - TIED
    least = torch.where(leaders, crowding, torch.inf).amin(-1, keepdim=True)
    return leaders & (crowding <= least + TIED)


def _check_lambda(lam: float | Tensor, rewards: Tensor) -> Tensor:
    """`lam` as [B, 1], where and as `in_float64` puts the rewards."""
    weight = in_float64(lam) if isinstance(lam, Tensor) else torch.tensor(lam, dtype=torch.float64)
    weight = weight.to(device_with_float64(rewards))
    if weight.dim() > 1 or (weight.dim() == 1 and weight.shape[0] != rewards.shape[0]):
        raise ValueError(f"mmr's lam must be a number or [{rewards.shape[0]}], got {list(weight.shape)}.")
    if not ((weight >= 0) & (weight <= 1)).all():
        raise ValueError(f"mmr's lam must be in [0, 1], got {lam}.")
    return weight.expand(rewards.shape[0]).unsqueeze(-1)
