"""Groups whose rewards are all equal teach nothing: a wrapper around any reweighter."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from manypaths.methods.groups import has_nonzero_std

Reweighter = Callable[..., Tensor]  # (rewards [B, G], similarity [B, G, G], **options) -> adjusted [B, G]


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
        return torch.where(has_nonzero_std(rewards).unsqueeze(-1), adjusted, rewards)

    return kept
