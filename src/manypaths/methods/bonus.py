"""A bonus for diversity that is added to the advantage, where a division by the group's spread cannot blow it up."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report


def check_weight(who: str, weight: float) -> None:
    """Raise ValueError for the weight of a method's bonus that is not a finite number."""
    if not math.isfinite(weight):
        raise ValueError(f"{who}'s weight must be a finite number, got {weight}.")


def with_bonus(who: str, rewards: Tensor, advantages: Tensor, bonus: Tensor, weight: float) -> Tensor:
    """Advantages plus weight times the bonus, all [B, G]; 0 for an unscored completion. `who` reports the bonus."""
    bonus, unscored = bonus.to(advantages.dtype).to(advantages.device), rewards.isnan()
    report(who, bonus.masked_fill(unscored, torch.nan))
    return (advantages + weight * bonus).masked_fill(unscored, 0.0)
