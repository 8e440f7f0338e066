"""The method: rewards of a group in, rewards adjusted for diversity out. Pure functions on tensors.

Shapes: B groups (prompts), G completions per group, D embedding width.

    rewards     [B, G]      NaN marks an unscored completion (or pads a ragged group)
    similarity  [B, G, G]   cosine similarity within each group, in [-1, 1]
    adjusted    [B, G]      NaN exactly where the reward was NaN

An unscored completion touches nobody: it is not in the spread, not in lambda, not a neighbour, and its similarities
may be anything. Groups never mix, and the order of completions does not matter (except under `ties="first"`).
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

Reweighter = Callable[..., Tensor]  # (rewards [B, G], similarity [B, G, G], **options) -> adjusted [B, G]

ROUNDING = 0.01  # how far outside [-1, 1] a similarity may lie: unit vectors in bfloat16 reach about 1.008
TIED = 1e-5  # scores or crowdings this near are equal: float32 similarities of equal texts differ by less
SMALLEST_COUNT = 0.01  # DRA divides by nothing nearer to zero
TIES = ("diverse", "first")

_reported: ContextVar[defaultdict[str, list[Tensor]] | None] = ContextVar("reported", default=None)


def cosine_similarity(embeddings: Tensor) -> Tensor:
    """Cosine similarity of every pair in a group: [..., G, D] -> [..., G, G], float32 or wider, 1 +- rounding at most.

    Embeddings need not have unit length; rows that have it (up to rounding) are used to the bit. A zero
    vector has similarity 1 with itself and 0 with all others.
    Raises ValueError for fewer than two dimensions and for NaN or infinity.
    """
    if embeddings.dim() < 2:
        raise ValueError(f"cosine_similarity asks for embeddings [..., G, D]; given shape {list(embeddings.shape)}.")
    if not torch.isfinite(embeddings).all():
        raise ValueError("cosine_similarity asks for finite embeddings; given NaN or infinity: check the embedder.")
    wide = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    length = wide.norm(dim=-1, keepdim=True)
    largest = wide.abs().amax(-1, keepdim=True)  # scaled by it, no square under- or overflows
    unit = torch.nn.functional.normalize(wide / largest.clamp(min=torch.finfo(wide.dtype).tiny), dim=-1)
    unit = torch.where((length - 1).abs() <= 1e-6, wide, unit)
    similarity = unit @ unit.transpose(-1, -2)
    return similarity.masked_fill(_diagonal(similarity) & (largest == 0), 1.0)


def adaptive_lambda(rewards: Tensor) -> Tensor:
    """The weight on the reward, sigmoid of the standard deviation of each group: [B, G] -> [B], in [0.5, 1).

    MMR-GRPO (arXiv 2601.09085), Eq. 4, with the population standard deviation as in the released code.
    A group with no scored completion gets 0.5. Raises ValueError unless rewards are [B, G] and not infinite.
    """
    _check_rewards("adaptive_lambda", rewards)
    scored = ~rewards.isnan()
    mean = rewards.nanmean(-1, keepdim=True)
    variance = torch.where(scored, rewards - mean, 0.0).square().sum(-1) / scored.sum(-1).clamp(min=1)
    return torch.sigmoid(variance.sqrt())


def mmr(rewards: Tensor, similarity: Tensor, *, lam: float | Tensor | None = None, ties: str = "diverse") -> Tensor:
    """Maximal marginal relevance: [B, G], [B, G, G] -> [B, G].

    MMR-GRPO (arXiv 2601.09085), Algorithm 1. Completions are picked one after another. The best rewarded
    goes first and keeps its reward; then, again and again, the one with the highest score goes next,

        score_i = lam * r_i - (1 - lam) * max over the picked j of s_ij,                        (Eq. 3)

    and the score at that moment is its adjusted reward. Nothing is dropped.

    `lam` is the weight on the reward, one number in [0, 1] or one per group [B]; 1 is reward only and None
    is `adaptive_lambda(rewards)` (Eq. 4). `ties` says who goes first among equal scores, which the paper
    leaves open:

    - "diverse": the least crowded, that is the smallest sum of similarities within the group. Completions
      that are equal in this too (copies of one text, a group of two) go together: each gets the mean, over
      the orders they could go in, of going first and of following its nearest twin. So the order of sampling
      decides nothing.
    - "first": the lowest index, as in the released code, which also counts negative similarities as 0
      (clamp them to reproduce it).

    Raises ValueError for wrong shapes, infinite rewards, a similarity between scored completions that is NaN
    or outside [-1, 1] beyond rounding, `lam` outside [0, 1], unknown `ties`.
    """
    similarity = in_float64(_check_group("mmr", rewards, similarity)).clamp(-1.0, 1.0)
    if ties not in TIES:
        raise ValueError(f"mmr asks for ties to be one of {', '.join(TIES)}; given {ties!r}.")
    weight = _check_lambda(adaptive_lambda(rewards) if lam is None else lam, rewards)
    report("lam", weight.squeeze(-1))
    reward = in_float64(rewards)
    crowding = similarity.masked_fill(_diagonal(similarity), 0.0).sum(-1)
    # [B, j, i]: what i loses once j is picked; over j it is reduced with i side by side, which is quick
    loss = ((1 - weight).unsqueeze(-1) * similarity.mT).masked_fill(_diagonal(similarity), -torch.inf)
    never = reward.new_tensor(-torch.inf)

    adjusted = torch.full_like(reward, torch.nan)
    gone = reward.isnan()
    score, most = reward.masked_fill(gone, -torch.inf), torch.full_like(reward, -torch.inf)
    for _ in range(rewards.shape[1]):
        best = score.amax(-1, keepdim=True).clamp(min=torch.finfo(score.dtype).min)  # nobody leads when all are gone
        if ties == "diverse":
            leaders = score >= best - TIED
            least = torch.where(leaders, crowding, -never).amin(-1, keepdim=True)
            pick = leaders & (crowding <= least + TIED)
        else:
            leaders = score == best
            pick = leaders & (leaders.cumsum(-1) == 1)
        most = torch.maximum(most, torch.where(pick.unsqueeze(-1), loss, never).amax(1))
        follow = weight * reward - most
        count = pick.sum(-1, keepdim=True)
        value = torch.where(count > 1, (score + (count - 1) * follow) / count, score)
        adjusted = torch.where(pick, value, adjusted)
        gone = gone | pick
        score = follow.masked_fill(gone, -torch.inf)
    return adjusted.to(rewards.dtype).to(rewards.device)


def dra(rewards: Tensor, similarity: Tensor, *, floor: float | None = None) -> Tensor:
    """Rewards divided by how crowded a completion's neighbourhood is: [B, G], [B, G, G] -> [B, G].

    DRA-GRPO (arXiv 2505.09655): adjusted_i = r_i / (1 + SMI_i) with the graph cut SMI_i = sum over j != i
    of s_ij. 1 + SMI, a soft count of how often completion i occurs in its group, is the row sum of the
    similarity; like the released code this adds 1e-6 to it.

    A count under 1 means siblings that point away, which answers to one question hardly ever do. The division is
    kept as published, sign included, but a count within 0.01 of zero is moved out to 0.01 (zero itself to +0.01), so
    no reward grows more than a hundredfold.

    Dividing brings a reward nearer to zero. Of negative rewards, then, the crowded ones are spared and the rarest is
    punished most, against the method's meaning. `floor`, the least reward there can be, mends that: rewards are
    measured from it, floor + (r - floor) / count, so that to be crowded never raises a reward. None is the published
    form, which measures from 0 whatever the rewards.

    Raises ValueError as `mmr` does, for a floor that is not a finite number, and for a reward below it.
    """
    if floor is not None and not math.isfinite(floor):
        raise ValueError(f"dra's floor must be a finite number, the least reward there can be, got {floor}.")
    similarity = _check_group("dra", rewards, similarity)
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
    return (origin + (rewards - origin) / count).to(rewards.dtype)


def weighted_sum(rewards: Tensor, weights: Tensor) -> Tensor:
    """Raw rewards [N] of [N, K] and weights [K]; None (NaN) counts 0, and the row is NaN where all are None."""
    return (rewards * weights.to(rewards.device)).nansum(1).masked_fill(rewards.isnan().all(1), torch.nan)


def has_spread(rewards: Tensor) -> Tensor:
    """Whether the scored completions of a group have different rewards: [B, G] -> bool [B]."""
    _check_rewards("has_spread", rewards)
    unscored = rewards.isnan()
    return rewards.masked_fill(unscored, -torch.inf).amax(-1) > rewards.masked_fill(unscored, torch.inf).amin(-1)


def keep_equal_rewards(reweight: Reweighter) -> Reweighter:
    """A reweighter that leaves groups without spread alone, so that they teach nothing, as in GRPO.

    MMR lowers all but the first pick even where all rewards are equal, and GRPO scales that difference, which is
    similarity alone, to a gradient of full size.
    """

    @functools.wraps(reweight)
    def kept(rewards: Tensor, similarity: Tensor, **options: object) -> Tensor:
        adjusted = torch.as_tensor(reweight(rewards, similarity, **options)).to(rewards)
        if adjusted.shape != rewards.shape:  # or it would be broadcast
            raise ValueError(
                "keep_equal_rewards must be given a reweighter that returns [B, G], here "
                f"{list(rewards.shape)}, got {list(adjusted.shape)}."
            )
        return torch.where(has_spread(rewards).unsqueeze(-1), adjusted, rewards)

    return kept


def in_float64(values: Tensor) -> Tensor:
    """Values in float64, on the CPU where their own device has no such numbers, as Apple's GPUs."""
    return values.to(_device_with_float64(values)).double()


REWEIGHTERS: dict[str, Reweighter] = {"mmr": mmr, "dra": dra}


def report(name: str, values: Tensor) -> None:
    """Tell the trainer a diagnostic of a method, one value per group [B]: it is logged as `diversity/NAME`, its mean.

    For use inside a reweighter, as `mmr` does with its `lam`. Whatever the reweighter is wrapped in, the report is of
    what was really computed. Outside a trainer it does nothing.
    """
    if (reported := _reported.get()) is not None:
        reported[name].append(values.detach().reshape(-1))


@contextmanager
def diagnostics() -> Iterator[dict[str, list[Tensor]]]:
    """Collects what methods report while it lasts: name -> the values of each report."""
    reported: defaultdict[str, list[Tensor]] = defaultdict(list)
    token = _reported.set(reported)
    try:
        yield reported
    finally:
        _reported.reset(token)


def _device_with_float64(values: Tensor) -> torch.device:
    return torch.device("cpu") if values.device.type == "mps" else values.device


def _diagonal(similarity: Tensor) -> Tensor:
    return torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)


def _check_rewards(who: str, rewards: Tensor) -> None:
    if rewards.dim() != 2 or not rewards.is_floating_point():
        raise ValueError(f"{who} asks for floating-point rewards [B, G]; given {rewards.dtype} {list(rewards.shape)}.")
    if rewards.isinf().any():
        raise ValueError(f"{who} asks for finite rewards (NaN for an unscored completion); given infinity.")


def _check_group(who: str, rewards: Tensor, similarity: Tensor) -> Tensor:
    """The similarity, 0 wherever one of the two completions is unscored."""
    _check_rewards(who, rewards)
    expected = [*rewards.shape, rewards.shape[1]]
    if list(similarity.shape) != expected or not similarity.is_floating_point():
        raise ValueError(
            f"{who} asks for floating-point similarity [B, G, G], here {expected} for rewards {list(rewards.shape)}; "
            f"given {similarity.dtype} {list(similarity.shape)}."
        )
    scored = ~rewards.isnan()
    similarity = similarity.masked_fill(~(scored.unsqueeze(-1) & scored.unsqueeze(-2)), 0.0)
    if similarity.isnan().any():
        raise ValueError(f"{who} asks for a similarity between every two scored completions; given NaN.")
    if (similarity.abs() > 1 + ROUNDING).any():
        low, high = similarity.min().item(), similarity.max().item()
        raise ValueError(
            f"{who} asks for similarity in [-1, 1]; given values from {low:.4g} to {high:.4g}. "
            "Use cosine_similarity(embeddings) rather than dot products of vectors without unit length."
        )
    return similarity


def _check_lambda(lam: float | Tensor, rewards: Tensor) -> Tensor:
    """`lam` as [B, 1], where and as `in_float64` puts the rewards."""
    weight = in_float64(lam) if isinstance(lam, Tensor) else torch.tensor(lam, dtype=torch.float64)
    weight = weight.to(_device_with_float64(rewards))
    if weight.dim() > 1 or (weight.dim() == 1 and weight.shape[0] != rewards.shape[0]):
        raise ValueError(f"mmr asks for lam as a number or [{rewards.shape[0]}]; given {list(weight.shape)}.")
    if not ((weight >= 0) & (weight <= 1)).all():
        raise ValueError(f"mmr asks for lam in [0, 1]; given {lam}.")
    return weight.expand(rewards.shape[0]).unsqueeze(-1)
