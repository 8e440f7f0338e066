"""Subsets of k completions of a group, as pass@k counts them, and a k that changes over the training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def share_within(part: Tensor, whole: Tensor, k: int) -> Tensor:
    """The share of the subsets of k out of `whole` that lie within a `part` of it: C(part, k) / C(whole, k).

    As a product of k factors, of which none overflows: prod over j < k of (part - j) / (whole - j). 1 for k = 0, and 0
    where k exceeds `part` or `whole`.

    Args:
        part, whole: counts in float64, of shapes that broadcast.
        k: 0 or more.
    """
    part = torch.minimum(part, whole)
    share = torch.ones_like(part)
    for j in range(k):
        share = share * (part - j).clamp(min=0) / (whole - j).clamp(min=1)
    return share


def current_k(who: str, k: int | Sequence[int], progress: Tensor) -> int:
    """The k of pass@k at this moment of the training.

    The numbers of a list stand at equal distances over the training, the first at its start and the last at its end.
    Between two of them k lies on a straight line and is rounded to the nearest whole number, a half up: [4, 1] is 4 for
    the first sixth of the training, then 3 and 2 for a third each, and 1 for the last sixth.

    Args:
        who: the method, for messages.
        k: a whole number of 1 or more, or several.
        progress: the share of the training that is done, 0 to 1, one number.

    Raises:
        ValueError: for another k, and for a progress out of 0 to 1.
    """
    numbers: list[int] = [k] if isinstance(k, int) else list(k) if isinstance(k, (list, tuple)) else []
    if not numbers or any(isinstance(number, bool) or not isinstance(number, int) or number < 1 for number in numbers):
        raise ValueError(f"{who}'s k must be a whole number of 1 or more, or a list of them, got {k!r}.")
    done = float(progress)
    if not 0 <= done <= 1:
        raise ValueError(f"{who}'s progress must be the share of the training that is done, 0 to 1, got {done:g}.")
    position = done * (len(numbers) - 1)
    before = min(int(position), len(numbers) - 1)
    after = min(before + 1, len(numbers) - 1)
    exact = numbers[before] + (numbers[after] - numbers[before]) * (position - before)
    return math.floor(exact + 0.5)
