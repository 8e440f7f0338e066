"""The bonus of DQO (arXiv 2509.04784): by how much a completion enlarges the volume that its group spans."""

from __future__ import annotations

import torch
from torch import Tensor

from manypaths.methods.bonus import check_weight, with_bonus
from manypaths.methods.groups import check_group, diagonal, in_float64


def logdet(
    rewards: Tensor, advantages: Tensor, similarity: Tensor, *, weight: float = 0.5, centre: bool = False
) -> Tensor:
    """Advantages plus `weight` times what a completion adds to the log-determinant of its group's similarity.

    DQO (arXiv 2509.04784) adds the log-determinant of the similarity L of n completions to the objective; the share of
    completion i in it, which needs no other baseline, is

        log det(L + I) - log det(L without row and column i + I) = -log of element (i, i) of the inverse of L + I.

    It is log 2 for a completion that is like no other, and log((n + 1) / n) for each of n copies. The paper adds it to
    the reward. Under GRPO's division by the standard deviation it would have full size in groups of equal rewards,
    however small its weight; here it is added to the advantage and keeps its size. It acts on right and wrong
    completions alike, and in zero-variance groups too.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        advantages: [B, G], the trainer's own.
        similarity: [B, G, G], symmetric and positive semi-definite, as cosine similarity is and equality of keys.
        weight: the alpha of the paper, which reports 0.5 to 1 as good values.
        centre: whether the mean bonus of the group is subtracted, as GRPO does with a reward. The bonus is positive, so
            without it all completions of a group are made more probable.

    Returns:
        advantages [B, G], 0 for an unscored completion. Diagnostic: `logdet` [B, G], the bonus before the weight.

    Raises:
        ValueError: for a weight that is not finite, for a similarity that is not positive semi-definite, so that L + I
            has a determinant of 0 or less; for rewards and similarities as `mmr` does.

    Example, two copies and another way to the same reward:
        >>> similarity = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
        >>> logdet(torch.ones(1, 3), torch.zeros(1, 3), similarity, weight=1.0)
        tensor([[0.4055, 0.4055, 0.6931]])
    """
    check_weight("logdet", weight)
    kernel = in_float64(check_group("logdet", rewards, similarity))
    scored = ~rewards.isnan().to(kernel.device)
    identity = diagonal(kernel).double()
    factor, failed = torch.linalg.cholesky_ex(kernel + identity)
    if failed.any():
        raise ValueError(
            "logdet's similarity must be positive semi-definite, as cosine similarity is, got a group of which it is "
            "not. Use cosine_similarity(embeddings), or equality of keys."
        )
    inverse = torch.linalg.solve_triangular(factor, identity.expand_as(kernel), upper=False)
    bonus = -inverse.square().sum(-2).log()  # an unscored completion stands alone in L + I: it changes no other's
    if centre:
        mean = torch.where(scored, bonus, 0.0).sum(-1, keepdim=True) / scored.sum(-1, keepdim=True).clamp(min=1)
        bonus = bonus - mean
    return with_bonus("logdet", rewards, advantages, bonus, weight)
