"""The inputs of a method, by name: its positional parameters say which it wants, as TRL calls rewards by their columns.

B groups of G completions. NaN marks an unscored completion, whose other inputs may be anything.

    rewards     [B, G]     the weighted sum of the reward functions; for an `advantage`, after the reweighting
    adjusted    [B, G]     the same as `rewards`, for an `advantage` alone
    similarity  [B, G, G]  cosine similarity of the completions' embeddings, or 1 where the keys are equal, else 0
    correct     [B, G]     1 where the completion is correct, 0 where it is wrong, NaN where that is unknown
    keys        [B, G]     int64; completions of equal keys go the same way
    progress    []         the share of the training that is done, 0 to 1
    lengths     [B, G]     int64; tokens of the completion that the model wrote, without those of tools
    logprobs    [B, G]     the sum of the log-probabilities of those tokens, under the policy that sampled them
    advantages  [B, G]     the trainer's own, for an `advantage` alone

Keyword-only parameters, and positional ones with a default and another name, are options of the method.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import Parameter
from typing import Any

import torch

from manypaths.names import name_of, nearest

INPUTS = ("rewards", "adjusted", "similarity", "correct", "keys", "lengths", "logprobs", "advantages", "progress")
POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
UNNAMED = {
    "reweight": ("rewards", "similarity"),
    "advantage": ("rewards", "advantages"),
    "select": ("rewards", "similarity"),
}


def inputs_of(method: Callable[..., Any], role: str = "reweight") -> tuple[str, ...]:
    """The names of the inputs that a method wants, in the order of its parameters.

    Args:
        method: a function whose positional parameters are named as in `INPUTS`, or a module whose `forward` is one. A
            function of two parameters of which neither has such a name is called with rewards and similarity, as an
            `advantage` with rewards and advantages; so is `(rewards, _)`, `(*inputs)`, and a function whose signature
            Python cannot tell.
        role: `reweight`, `advantage` or `select`.

    Raises:
        ValueError: for a positional parameter without a default that is no input, for a function without inputs, and
            for an input that is bound, keyword-only or behind an option.
    """
    parameters = _parameters(method)
    positional = [parameter for parameter in parameters if parameter.kind in POSITIONAL]
    required = [parameter.name for parameter in positional if parameter.default is Parameter.empty]
    wanted = tuple(parameter.name for parameter in positional if parameter.name in INPUTS)
    if any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in parameters):
        unnamed = wanted == UNNAMED[role][: len(wanted)]
    else:
        unnamed = len(required) == 2 and (not wanted or (wanted == UNNAMED[role][:1] and required[1].startswith("_")))
    who = f"{role} {name_of(method)!r}"
    if not unnamed:
        _check_names(method, who, required, wanted)
    _check_places(method, who, parameters, wanted)
    return UNNAMED[role] if unnamed else wanted


def _check_names(method: Callable[..., Any], who: str, required: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise ValueError for a required parameter that is no input, for an input that is bound, and for no input."""
    if bound := _bound(method) & {*INPUTS}:
        got = f"got a value for {bound.pop()}. Bind options by name."
        raise ValueError(f"{who} must leave its inputs free, {got}")
    unknown = [name for name in required if name not in INPUTS]
    if unknown or not wanted:
        got = f"{unknown[0]!r}. {nearest(unknown[0], INPUTS)}" if unknown else f"none. Known: {', '.join(INPUTS)}."
        raise ValueError(f"Positional parameters of {who} must name its inputs, got {got}")


def _check_places(method: Callable[..., Any], who: str, parameters: Sequence[Parameter], wanted: Sequence[str]) -> None:
    """Raise ValueError for an input that is keyword-only or behind an option, and for an option without a value."""
    if wanted != tuple(parameter.name for parameter in parameters[: len(wanted)]):
        raise ValueError(f"Inputs of {who} must come before its options. Make these keyword-only.")
    fixed = method.keywords if isinstance(method, functools.partial) else {}
    for option in parameters:
        if option.kind is Parameter.KEYWORD_ONLY and option.name not in fixed:
            if option.name in INPUTS:
                raise ValueError(f"Input {option.name!r} of {who} must be positional, got it keyword-only. Move it.")
            if option.default is Parameter.empty:
                raise ValueError(f"Option {option.name!r} of {who} must have a value. Bind it: partial(...).")


def options_of(method: Callable[..., Any]) -> list[Parameter]:
    """The parameters of a method that are options: keyword-only ones, and positional ones that are no input."""
    kinds = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    options = [own for own in _parameters(method) if own.kind in kinds and own.default is not Parameter.empty]
    return [option for option in options if option.name not in INPUTS]


def check_inputs(
    method: Callable[..., Any], role: str, available: Collection[str], remedies: Mapping[str, str]
) -> None:
    """Refuse, before a model loads, a method whose inputs are not all there.

    Args:
        method: a method, see `inputs_of`.
        role: `reweight`, `advantage` or `select`.
        available: the names of the inputs that the trainer has for it.
        remedies: for an input that may be missing, a sentence that says where it could be had.

    Raises:
        ValueError: names the first missing input and its remedy.
    """
    for name in inputs_of(method, role):
        if name not in available:
            missing = f"{role} {name_of(method)!r} must be given {name}, which is missing here."
            raise ValueError(f"{missing} {remedies.get(name, '')}".rstrip())


def _bound(method: Callable[..., Any]) -> set[str]:
    """The names of the parameters to which a `functools.partial` gives values by their position."""
    if not isinstance(method, functools.partial) or not method.args:
        return set()
    return {*inspect.signature(method.func).bind_partial(*method.args).arguments}


def _parameters(method: Callable[..., Any]) -> list[Parameter]:
    """The parameters of a callable, of a module those of its `forward`; any number where Python cannot tell them."""
    if isinstance(method, torch.nn.Module):
        method = method.forward
    if (arguments := getattr(getattr(method, "schema", None), "arguments", None)) is not None:  # of TorchScript
        return [_scripted(argument) for argument in arguments if argument.name != "self"]
    try:
        return list(inspect.signature(method).parameters.values())
    except (TypeError, ValueError):
        return [Parameter("inputs", Parameter.VAR_POSITIONAL)]


def _scripted(argument: Any) -> Parameter:
    default = argument.default_value if argument.has_default_value() else Parameter.empty
    return Parameter(argument.name, Parameter.POSITIONAL_OR_KEYWORD, default=default)
