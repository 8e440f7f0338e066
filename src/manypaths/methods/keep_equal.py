"""Zero-variance groups teach nothing, as in GRPO: a wrapper around any reweighter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from manypaths.methods.groups import has_nonzero_std
from manypaths.methods.wrapped import Reweighter, Wrapped


class keep_equal_rewards(Wrapped):
    """A reweighter that leaves the rewards of zero-variance groups as they are.

    MMR lowers all but the first pick even where all rewards are equal, and GRPO scales that difference, which is
    similarity alone, to a gradient of full size.

    Args:
        reweight: a method, see `manypaths.methods.inputs`. The result has its inputs and options, and `rewards`.

    Raises:
        ValueError: when called, where the method does not return the shape of its rewards, which would be broadcast.
    """

    def __init__(self, reweight: Reweighter) -> None:
        super().__init__(reweight)

    def __call__(self, *inputs: Tensor, **named: Any) -> Tensor:
        given = self.given(inputs, named)
        rewards: Tensor = given["rewards"]
        return torch.where(has_nonzero_std(rewards).unsqueeze(-1), self.call(given), rewards)
