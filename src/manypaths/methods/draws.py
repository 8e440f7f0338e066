"""Random numbers for the completions of a group that are a function of the group alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from manypaths.methods.groups import in_float64

CONTENT = ("rewards", "similarity", "correct", "keys", "lengths")  # inputs that decide what a group draws
GRAIN = 0.01  # numbers are read this coarsely, so that rounding in another batch draws nothing else


def draws(content: Mapping[str, Tensor], seed: int) -> Tensor:
    """A random number for each scored completion, the same in every process, batch and repeated run.

    It depends on the inputs of its group, on the order of the scored completions and on `seed`. Groups that are equal
    in all of them draw the same. The order of the completions matters: to permute a group is to draw again.

    Args:
        content: inputs by name, of those in `CONTENT`; `rewards` [B, G] among them, NaN for an unscored completion.
        seed: another number draws anew for every group.

    Returns:
        [B, G] int64, 0 or more; 0 for an unscored completion.
    """
    device, scored = content["rewards"].device, ~content["rewards"].isnan()
    rank = scored.long().cumsum(-1)
    numbers = [_whole(content[name]).to(device) for name in CONTENT if name in content]
    hashed = _hash(rank + seed * 2**32)
    for values in numbers:
        if values.dim() == 3:
            pairs = _hash(values + hashed.unsqueeze(-2))
            values = pairs.masked_fill(~scored.unsqueeze(-2), 0).sum(-1)
        hashed = _hash(hashed + values)
    group = hashed.masked_fill(~scored, 0).sum(-1, keepdim=True)
    return torch.where(scored, _hash(group + rank) & (2**62 - 1), rank * 0)


def _whole(values: Tensor) -> Tensor:
    """Numbers as whole ones: int64 as they are, others in steps of `GRAIN`."""
    if not values.is_floating_point():
        return values.long()
    # The 0.3 keeps common fractions away from the edge of a step.
    return (in_float64(values).nan_to_num(-1.0).clamp(-1e9, 1e9) / GRAIN + 0.3).floor().long()


def _hash(values: Tensor) -> Tensor:
    """Whole numbers to numbers without a pattern, int64: the steps of SplitMix64 (Steele et al. 2014)."""
    values = values - 0x61C8864680B583EB
    values = (values ^ (values >> 30 & 2**34 - 1)) * -0x40A7B892E31B1A47
    values = (values ^ (values >> 27 & 2**37 - 1)) * -0x6B2FB644ECCEEE15
    return values ^ (values >> 31 & 2**33 - 1)
