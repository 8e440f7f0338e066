"""Several advantages, one after another."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from torch import Tensor

from manypaths.methods.contracts import to_tensor
from manypaths.methods.inputs import INPUTS, inputs_of

Advantage = Callable[..., Tensor]  # a function of inputs by name -> advantages [B, G]


class chained:
    """An advantage that applies several, each to the `advantages` of the one before it.

    Args:
        methods: one or more; the first gets the trainer's own advantages. A method without the input `advantages`
            replaces those before it. The inputs of the result are those of all methods.

    Example:
        >>> maxrl_then_rarity = chained([maxrl, functools.partial(rarity, alpha=1.0)])
    """

    def __init__(self, methods: Sequence[Advantage]) -> None:
        self._methods = [(method, inputs_of(method, "advantage")) for method in methods]
        wanted = {name for _, names in self._methods for name in names} | {"advantages"}
        self._names = [name for name in INPUTS if name in wanted]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        self.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in self._names])
        self.__name__ = "_".join(getattr(method, "__name__", "advantage") for method in methods)

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        given = self.__signature__.bind(*inputs, **named).arguments
        for method, names in self._methods:
            given["advantages"] = to_tensor("An advantage", method(*(given[name] for name in names)))
        result: Tensor = given["advantages"]
        return result
