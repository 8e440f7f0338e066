"""The inputs of a method, by name: its positional parameters say which it wants, as TRL calls rewards by their columns.

B groups of G completions. NaN marks an unscored completion, whose other inputs may be anything.

    rewards     [B, G]     the weighted sum of the reward functions; for an `advantage`, after the reweighting
    adjusted    [B, G]     the same as `rewards`, for an `advantage` alone
    similarity  [B, G, G]  cosine similarity of the completions' embeddings, or 1 where the keys are equal, else 0
    correct     [B, G]     1 where the completion is correct, 0 where it is wrong, NaN where that is unknown
    keys        [B, G]     int64; completions of equal keys go the same way
    lengths     [B, G]     int64; tokens of the completion
    advantages  [B, G]     the trainer's own, for an `advantage` alone

Keyword-only parameters, and positional ones with a default and another name, are options of the method.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter
from typing import Any

from manypaths.names import name_of, nearest

INPUTS = ("rewards", "adjusted", "similarity", "correct", "keys", "lengths", "advantages")
POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
UNNAMED = {"reweight": ("rewards", "similarity"), "advantage": ("rewards", "advantages")}


def inputs_of(method: Callable[..., Any], role: str = "reweight") -> tuple[str, ...]:
    """The names of the inputs that a method wants, in the order of its parameters.

    Args:
        method: a function whose positional parameters are named as in `INPUTS`. A function of two parameters of which
            neither has such a name is called with rewards and similarity, as an `advantage` with rewards and
            advantages; so is `(rewards, _)`, a function whose signature Python cannot tell, or one that takes any
            number of arguments.
        role: `reweight` or `advantage`.

    Raises:
        ValueError: for a positional parameter without a default that is no input, and for a function without inputs.
    """
    parameters = _parameters(method)
    if parameters is None or any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in parameters):
        return UNNAMED[role]
    if bound := {*_bound(method)} & {*INPUTS}:
        got = f"got a value for {bound.pop()}. Bind options by name."
        raise ValueError(f"{role} {name_of(method)!r} must leave its inputs free, {got}")
    positional = [parameter for parameter in parameters if parameter.kind in POSITIONAL]
    required = [parameter.name for parameter in positional if parameter.default is Parameter.empty]
    wanted = tuple(parameter.name for parameter in positional if parameter.name in INPUTS)
    if len(required) == 2 and wanted in ((), UNNAMED[role][:1]) and (not wanted or required[1].startswith("_")):
        return UNNAMED[role]
    unknown = [name for name in required if name not in INPUTS]
    if unknown or not wanted:
        got = f"{unknown[0]!r}. {nearest(unknown[0], INPUTS)}" if unknown else f"none. Known: {', '.join(INPUTS)}."
        raise ValueError(f"Positional parameters of {role} {name_of(method)!r} must name its inputs, got {got}")
    if wanted != tuple(parameter.name for parameter in positional[: len(wanted)]):
        raise ValueError(f"Inputs of {role} {name_of(method)!r} must come before its options. Make these keyword-only.")
    if keyword := [p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY and p.default is Parameter.empty]:
        raise ValueError(
            f"Option {keyword[0]!r} of {role} {name_of(method)!r} must have a value. Bind it: partial(...)."
        )
    return wanted


def options_of(method: Callable[..., Any]) -> list[Parameter]:
    """The parameters of a method that are options: keyword-only ones, and positional ones that are no input."""
    kinds = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [parameter for parameter in _parameters(method) or () if parameter.kind in kinds]
    return [own for own in parameters if own.name not in INPUTS and own.default is not Parameter.empty]


def check_inputs(
    method: Callable[..., Any], role: str, available: Collection[str], remedies: Mapping[str, str]
) -> None:
    """Refuse, before a model loads, a method whose inputs are not all there.

    Args:
        method: a method, see `inputs_of`.
        role: `reweight` or `advantage`.
        available: the names of the inputs that the trainer has for it.
        remedies: for an input that may be missing, a sentence that says where it could be had.

    Raises:
        ValueError: names the first missing input and its remedy.
    """
    for name in inputs_of(method, role):
        if name not in available:
            missing = f"{role} {name_of(method)!r} must be given {name}, which is missing here."
            raise ValueError(f"{missing} {remedies.get(name, '')}".rstrip())


def _bound(method: Callable[..., Any]) -> Collection[str]:
    """The names of the parameters to which a `functools.partial` gives values by their position."""
    if not isinstance(method, functools.partial) or not method.args:
        return ()
    return inspect.signature(method.func).bind_partial(*method.args).arguments


def _parameters(method: Callable[..., Any]) -> list[Parameter] | None:
    """The parameters of a callable; None where Python cannot tell them."""
    try:
        return list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        return None
