"""What functions of the user's must be and return: embedders, keys, methods, rewards.

They get copies, so that a function that writes into its inputs changes nothing else. They may return a tensor on any
device, with gradient or without, a numpy array, or lists of numbers. A wrong shape would be reshaped or broadcast
without a word, so it is a ValueError that names the function; so are infinities, and NaN for a scored completion.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from manypaths.methods.inputs import inputs_of
from manypaths.names import name_of

KINDS = {  # what each must be, with an example
    "reweight": "a function of inputs by name, such as manypaths.mmr",
    "advantage": "a function of inputs by name, such as manypaths.methods.grpo_pos",
    "select": "a number of completions and a rule, such as (4, manypaths.methods.select_mmr)",
    "replay": "a function of inputs by name, which the trainer passes",
    "embedder": "a function of a list of texts, such as SentenceEmbedder(...)",
    "keys": "a function of completions and their problems, such as manypaths.keys.answer",
}
ARGUMENTS: dict[str, list[tuple[str, ...]]] = {  # the arguments that it must take, in one way or another
    "embedder": [("texts",)],
    "keys": [("completions", "problems"), ("completions", "problems", "size")],
}


def check_functions(**functions: Any) -> None:
    """Raise ValueError for a reweight, advantage, embedder or keys that is no function or cannot be called as one.

    None is left out. A signature that Python does not know is not checked.
    """
    for name, function in functions.items():
        if function is None:
            continue
        kind = KINDS[name]
        if not callable(function):
            raise ValueError(f"{name} must be {kind}, got {function!r}.")
        if isinstance(function, torch.nn.Module) and hasattr(function, "encode"):
            raise ValueError(f"{name} must be {kind}, got the model {type(function).__name__} itself. Pass its encode.")
        if isinstance(function, type):
            raise ValueError(
                f"{name} must be {kind}, got the class {function.__name__} itself. Pass an instance of it."
            )
        ways = ARGUMENTS[name] if name in ARGUMENTS else [inputs_of(function, name)]
        errors = [_cannot_take(function, arguments) for arguments in ways]
        if all(errors):
            raise ValueError(f"{name} must be {kind}, got {name_of(function)!r}: {errors[0]}.")


def check_finite(names: Sequence[str], rewards: Tensor, weights: Tensor) -> None:
    """Raise ValueError for an infinite reward, [N, K], of one of K functions, unless its weight [K] is 0.

    TRL alone would set all advantages of the group to 0 and say nothing.
    """
    for name, column, weight in zip(names, rewards.unbind(1), weights.tolist(), strict=False):
        if weight and column.isinf().any():
            raise ValueError(
                f"Reward function {name!r} must return finite numbers, within float32, got infinity. Return None for a "
                "completion that cannot be scored."
            )


def call_embedder(embedder: Callable[[list[str]], Any], texts: list[str]) -> Tensor:
    """Embeddings of N texts, [N, D] float32 or float64, finite, without gradient, on the embedder's own device."""
    who = f"Embedder {name_of(embedder)!r}"
    rows = to_tensor(who, embedder(list(texts)))
    if rows.dim() != 2 or rows.shape[0] != len(texts) or (len(texts) and not rows.shape[1]):
        raise ValueError(f"{who} must return [N, D], a row for each of {len(texts)} texts, got {list(rows.shape)}.")
    if not rows.isfinite().all():
        raise ValueError(f"{who} must return finite numbers, got NaN or infinity.")
    return rows


def to_tensor(who: str, returned: Any) -> Tensor:
    """What a function returned, as a dense tensor of float32 or float64 without gradient; `who` is for the message."""
    try:
        tensor = _converted(returned)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(returned).__name__
        raise ValueError(f"{who} must return a tensor, an array or lists of numbers, got {kind}: {error}.") from error
    if tensor.is_complex():
        raise ValueError(f"{who} must return real numbers, got {tensor.dtype}.")
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def to_mask(who: str, returned: Any) -> Tensor:
    """What a function returned, as a dense tensor of truth values.

    Raises:
        ValueError: names `who`, where it is none: numbers may be scores, and a score above 0 selects nothing by itself.
    """
    to_tensor(who, returned)  # refuses what is no tensor
    mask = _converted(returned)
    if mask.dtype != torch.bool:
        raise ValueError(f"{who} must return truth values, torch.bool, got {mask.dtype}. Compare the scores first.")
    return mask


def _converted(returned: Any) -> Tensor:
    if isinstance(returned, Tensor):
        return returned.detach().to_dense() if returned.layout != torch.strided else returned.detach()
    if hasattr(returned, "toarray"):  # scipy's sparse matrices, such as a TfidfVectorizer's
        returned = returned.toarray()
    if hasattr(returned, "__array__"):
        return torch.as_tensor(returned.__array__().copy())  # not every array may be written to, or shared
    if isinstance(returned, (list, tuple)):
        nested = any(isinstance(row, Tensor) or hasattr(row, "__array__") for row in returned)
        return torch.stack([_converted(row) for row in returned]) if nested else torch.tensor(returned)
    return torch.as_tensor(returned)


def _cannot_take(function: Any, arguments: Sequence[str]) -> str:
    """Why a function cannot be called with these arguments in this order; empty where it can, or has no signature."""
    names, options = arguments, dict[str, Any]()
    while isinstance(function, functools.partial):
        options, arguments = function.keywords | options, (*function.args, *arguments)
        function = function.func
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return ""
    try:
        bound = signature.bind(*arguments, **options).arguments
    except TypeError as error:
        return str(error)
    swapped = any(bound.get(name, name) is not name for name in names)
    return f"its parameters must be in the order ({', '.join(names)})" if swapped else ""
