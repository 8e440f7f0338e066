"""A method around another: it has the inputs and the options of the other, and more inputs where it needs them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from manypaths.methods.contracts import to_tensor
from manypaths.methods.inputs import INPUTS, inputs_of, options_of

Reweighter = Callable[..., Tensor]  # a function of inputs by name -> adjusted rewards [B, G]


class Wrapped:
    """What wrappers have in common: `keep_equal_rewards`, `among_correct`.

    Args:
        method: a reweighter, see `manypaths.methods.inputs`. `rewards` is an input of the result in any case.
        also: further inputs of the result.
    """

    def __init__(self, method: Reweighter, also: Sequence[str] = ()) -> None:
        self.__wrapped__ = method
        self._inner = inputs_of(method)
        wanted = {"rewards", *also, *self._inner}
        self._names = [name for name in INPUTS if name in wanted]
        positional = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in self._names]
        options = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options_of(method)]
        self.__signature__ = inspect.Signature([*positional, *options])

    def given(self, inputs: Sequence[Tensor], named: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name, inputs and options."""
        return self.__signature__.bind(*inputs, **named).arguments

    def call(self, given: dict[str, Any]) -> Tensor:
        """What the method returns of arguments by name.

        Raises:
            ValueError: the method does not return the shape of its rewards, which would be broadcast.
        """
        rewards = given["rewards"]
        options = {name: value for name, value in given.items() if name not in INPUTS}
        name = type(self).__name__
        returned = self.__wrapped__(*(given[input] for input in self._inner), **options)
        adjusted = to_tensor(f"{name}'s reweighter", returned).to(rewards)
        if adjusted.shape != rewards.shape:
            raise ValueError(
                f"{name} must be given a reweighter that returns [B, G], here {list(rewards.shape)}, got "
                f"{list(adjusted.shape)}."
            )
        return adjusted
