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
    similarity = check_group("mmr", rewards, similarity).to(device_with_float64(rewards))
    if ties not in TIES:
        raise ValueError(f"mmr's ties must be one of {', '.join(TIES)}, got {ties!r}.")
    weight = _check_lambda(adaptive_lambda(rewards) if lam is None else lam, rewards)
    reward, unscored = in_float64(rewards), rewards.isnan()
    # [B, j, i]: what i loses once j is picked, so that a pick reads one row
    loss = torch.empty_like(
        similarity, dtype=torch.float64, device=weight.device, memory_format=torch.contiguous_format
    )
    loss.copy_(similarity.mT).clamp_(-1.0, 1.0).diagonal(dim1=1, dim2=2).zero_()
    del similarity  # the memory of the copy that was checked
    if ties == "diverse":
        crowding, tied = loss.sum(1), TIED
    else:  # the lowest index in place of the least crowded completion, and no score equals another nearly
        crowding, tied = torch.arange(loss.shape[1], device=loss.device).double().expand_as(reward), 0.0
    loss *= (1 - weight).unsqueeze(-1)
    adjusted, order = _pick(reward, weight * reward, loss, crowding, tied)
    report("lam", weight.squeeze(-1))
    report("pick", order.to(rewards.device).masked_fill(unscored, 0))
    return adjusted.to(rewards.dtype).to(rewards.device).masked_fill(unscored, torch.nan)


def _pick(reward: Tensor, gain: Tensor, loss: Tensor, crowding: Tensor, tied: float) -> tuple[Tensor, Tensor]:
    """Algorithm 1 on all groups at once: for each of G picks a few operations on [B, G], and one row of the loss.

    Args:
        reward: [B, G], NaN for an unscored completion.
        gain: [B, G], lam times the reward.
        loss: [B, j, i], what i loses once j is picked.
        crowding: [B, G]. Of equal scores the least crowded completion is picked; completions that are equal in this
            too are picked together, one in each turn, and their scores change after the last of them.
        tied: how near two scores are that count as equal.

    Returns:
        (adjusted rewards, order of picks from 1), both [B, G]. Unscored completions are picked last.
    """
    if not reward.numel():
        return reward, torch.zeros_like(reward, dtype=torch.int64)
    last = torch.finfo(reward.dtype).min  # the score of an unscored completion
    score, waiting = reward.nan_to_num(last), gain.nan_to_num(last)
    most = torch.full_like(reward, -torch.inf)
    rows, first_row = loss.flatten(0, 1), torch.arange(reward.shape[0], device=reward.device) * reward.shape[1]
    turns = []
    for _ in range(reward.shape[1]):
        best = score.amax(-1, keepdim=True)
        crowd = torch.where(score >= best - tied, crowding, torch.inf)
        least, pick = crowd.min(-1, keepdim=True)
        turns.append((pick, score.gather(1, pick), best))
        torch.maximum(most, rows.index_select(0, first_row + pick.squeeze(1)), out=most)
        # An infinite score lets the rest of those that are picked together have the next turns.
        waiting = torch.where(crowd <= least + TIED, torch.inf, waiting).scatter_(1, pick, -torch.inf)
        score = waiting - most
    picks, scores, bests = (torch.cat(column, 1) for column in zip(*turns, strict=True))
    together = bests == torch.inf  # with the pick of the turn before
    turn = torch.arange(1, reward.shape[1] + 1, device=reward.device)
    order = torch.empty_like(picks).scatter_(1, picks, turn.where(~together, 0).cummax(1).values)
    adjusted = torch.empty_like(reward).scatter_(1, picks, scores)
    groups = together.any(1)
    if groups.any():
        adjusted[groups] = _share(*(values[groups] for values in (reward, gain, loss, adjusted, order.int())))
    return adjusted, order


def _share(reward: Tensor, gain: Tensor, loss: Tensor, adjusted: Tensor, order: Tensor) -> Tensor:
    """Adjusted rewards in which completions of equal `order` have the mean of being first and of following the rest."""
    earlier, later = order.unsqueeze(-1), order.unsqueeze(-2)  # [B, j, i]
    count = (earlier == later).sum(1)
    leading = torch.where(order == 1, reward, gain - torch.where(earlier < later, loss, -torch.inf).amax(1))
    others = (earlier <= later) & ~diagonal(loss)
    following = gain - torch.where(others, loss, -torch.inf).amax(1)
    return torch.where(count > 1, (leading + (count - 1) * following) / count, adjusted)


def _check_lambda(lam: float | Tensor, rewards: Tensor) -> Tensor:
    """`lam` as [B, 1], where and as `in_float64` puts the rewards."""
    weight = in_float64(lam) if isinstance(lam, Tensor) else torch.tensor(lam, dtype=torch.float64)
    weight = weight.to(device_with_float64(rewards))
    if weight.dim() > 1 or (weight.dim() == 1 and weight.shape[0] != rewards.shape[0]):
        raise ValueError(f"mmr's lam must be a number or [{rewards.shape[0]}], got {list(weight.shape)}.")
    if not ((weight >= 0) & (weight <= 1)).all():
        raise ValueError(f"mmr's lam must be in [0, 1], got {lam}.")
    return weight.expand(rewards.shape[0]).unsqueeze(-1)
