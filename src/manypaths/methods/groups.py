"""Groups of completions as tensors: their similarity, their rewards, and the checks that every method makes.

Shapes: B groups (prompts), G completions per group, D embedding width.

    rewards     [B, G]      NaN marks an unscored completion (or pads a ragged group)
    similarity  [B, G, G]   cosine similarity within each group, in [-1, 1]
    adjusted    [B, G]      NaN exactly where the reward was NaN

An unscored completion is excluded from every statistic: from the standard deviation, from lambda, from the neighbours
of others; its similarities may be anything. Groups never mix, and the order of completions does not matter (except
under `ties="first"`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TIED = 1e-5  # scores or crowdings this near are equal: float32 similarities of equal texts differ by less
ROUNDING = 0.01  # how far outside [-1, 1] a similarity may lie: unit vectors in bfloat16 reach about 1.008


def cosine_similarity(embeddings: Tensor) -> Tensor:
    """Cosine similarity of every pair in a group.

    Args:
        embeddings: [..., G, D]. They need not have unit length; rows of unit length (up to rounding) are used to the
            bit. A zero vector has similarity 1 with itself and 0 with all others.

    Returns:
        [..., G, G], float32 or float64, in [-1, 1] up to rounding.

    Raises:
        ValueError: for fewer than two dimensions, and for NaN or infinity.
    """
    if embeddings.dim() < 2:
        raise ValueError(f"The embeddings of cosine_similarity must be [..., G, D], got {list(embeddings.shape)}.")
    if not torch.isfinite(embeddings).all():
        raise ValueError("The embeddings of cosine_similarity must be finite, got NaN or infinity. Check the embedder.")
    wide = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    length = wide.norm(dim=-1, keepdim=True)
    largest = wide.abs().amax(-1, keepdim=True)  # scaled by it, no square under- or overflows
    unit = torch.nn.functional.normalize(wide / largest.clamp(min=torch.finfo(wide.dtype).tiny), dim=-1)
    unit = torch.where((length - 1).abs() <= 1e-6, wide, unit)
    similarity = unit @ unit.transpose(-1, -2)
    return similarity.masked_fill(diagonal(similarity) & (largest == 0), 1.0)


def weighted_sum(rewards: Tensor, weights: Tensor) -> Tensor:
    """Raw rewards [N] of [N, K] and weights [K]; None (NaN) counts 0, and the row is NaN where all are None."""
    return (rewards * weights.to(rewards.device)).nansum(1).masked_fill(rewards.isnan().all(1), torch.nan)


def has_nonzero_std(rewards: Tensor) -> Tensor:
    """Whether the scored completions of a group have different rewards: [B, G] -> bool [B]; False: zero variance."""
    check_rewards("has_nonzero_std", rewards)
    unscored = rewards.isnan()
    return rewards.masked_fill(unscored, -torch.inf).amax(-1) > rewards.masked_fill(unscored, torch.inf).amin(-1)


def in_float64(values: Tensor) -> Tensor:
    """Values in float64, on the CPU where their own device has no such numbers, as Apple's GPUs."""
    return values.to(device_with_float64(values)).double()


def device_with_float64(values: Tensor) -> torch.device:
    return torch.device("cpu") if values.device.type == "mps" else values.device


def diagonal(similarity: Tensor) -> Tensor:
    return torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)


def check_rewards(who: str, rewards: Tensor) -> None:
    if rewards.dim() != 2 or not rewards.is_floating_point():
        raise ValueError(f"{who}'s rewards must be floating-point [B, G], got {rewards.dtype} {list(rewards.shape)}.")
    if rewards.isinf().any():
        raise ValueError(f"{who}'s rewards must be finite, or NaN for an unscored completion, got infinity.")


def check_group(who: str, rewards: Tensor, similarity: Tensor) -> Tensor:
    """The similarity, 0 wherever one of the two completions is unscored."""
    check_rewards(who, rewards)
    expected = [*rewards.shape, rewards.shape[1]]
    if list(similarity.shape) != expected or not similarity.is_floating_point():
        raise ValueError(
            f"{who}'s similarity must be floating-point [B, G, G], here {expected} for rewards {list(rewards.shape)}, "
            f"got {similarity.dtype} {list(similarity.shape)}."
        )
    scored = ~rewards.isnan()
    similarity = similarity.masked_fill(~(scored.unsqueeze(-1) & scored.unsqueeze(-2)), 0.0)
    if not similarity.numel():
        return similarity
    low, high = similarity.amin().item(), similarity.amax().item()  # NaN if one of them is
    if math.isnan(low):
        raise ValueError(f"{who}'s similarity must be a number between every two scored completions, got NaN.")
    if low < -1 - ROUNDING or high > 1 + ROUNDING:
        raise ValueError(
            f"{who}'s similarity must be in [-1, 1], got values from {low:.4g} to {high:.4g}. "
            "Use cosine_similarity(embeddings) rather than dot products of vectors without unit length."
        )
    return similarity
