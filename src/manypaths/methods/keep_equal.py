"""Zero-variance groups teach nothing, as in GRPO: a wrapper around any reweighter."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from manypaths.methods.contracts import to_tensor
from manypaths.methods.groups import has_nonzero_std
from manypaths.methods.inputs import inputs_of, options_of

Reweighter = Callable[..., Tensor]  # a function of inputs by name -> adjusted rewards [B, G]


class keep_equal_rewards:
    """A reweighter that leaves the rewards of zero-variance groups as they are.

    MMR lowers all but the first pick even where all rewards are equal, and GRPO scales that difference, which is
    similarity alone, to a gradient of full size.

    Args:
        reweight: a method, see `manypaths.methods.inputs`. The result has its inputs and options, and `rewards` as its
            first input where the method has them not.

    Raises:
        ValueError: when called, where the method does not return the shape of its rewards, which would be broadcast.
    """

    def __init__(self, reweight: Reweighter) -> None:
        self.__wrapped__ = reweight
        self._inputs = inputs_of(reweight)
        self._names = self._inputs if "rewards" in self._inputs else ("rewards", *self._inputs)
        positional = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in self._names]
        options = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options_of(reweight)]
        self.__signature__ = inspect.Signature([*positional, *options])

    def __call__(self, *inputs: Tensor, **named: Any) -> Tensor:
        given = self.__signature__.bind(*inputs, **named).arguments
        rewards = given["rewards"]
        options = {name: value for name, value in given.items() if name not in self._names}
        returned = self.__wrapped__(*(given[name] for name in self._inputs), **options)
        adjusted = to_tensor("keep_equal_rewards' reweighter", returned).to(rewards)
        if adjusted.shape != rewards.shape:
            raise ValueError(
                "keep_equal_rewards must be given a reweighter that returns [B, G], here "
                f"{list(rewards.shape)}, got {list(adjusted.shape)}."
            )
        return torch.where(has_nonzero_std(rewards).unsqueeze(-1), adjusted, rewards)
