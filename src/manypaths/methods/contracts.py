"""What embedders, reweighters and advantage functions are given and must return; every trainer calls them by these.

They get copies, so that one that writes into what it is given changes nothing else. What they return may be a tensor on
any device, with gradient or without, a numpy array, or lists of numbers. A wrong shape would be reshaped or broadcast
without a word, so it is a ValueError that names the function; so are infinities, and NaN for a scored completion.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from manypaths.methods.groups import diagnostics
from manypaths.methods.keep_equal import Reweighter
from manypaths.names import name_of

KINDS = {  # what each must be, with an example, and the names of what it is given
    "reweight": ("a function of rewards and similarities, such as manypaths.mmr", ("rewards", "similarity")),
    "embedder": ("a function of a list of texts, such as SentenceEmbedder(...)", ("texts",)),
    "advantage": (
        "a function of adjusted rewards and advantages, such as manypaths.methods.advantages.positive",
        ("adjusted", "advantages"),
    ),
}


def check_functions(**functions: Any) -> None:
    """Raise ValueError for a reweight, embedder or advantage that is no function or cannot be called as one.

    None is left out. A signature that Python does not know is not checked.
    """
    for name, function in functions.items():
        if function is None:
            continue
        kind, arguments = KINDS[name]
        if not callable(function):
            raise ValueError(f"{name} must be {kind}, got {function!r}.")
        if isinstance(function, torch.nn.Module) and hasattr(function, "encode"):
            raise ValueError(f"{name} must be {kind}, got the model {type(function).__name__} itself. Pass its encode.")
        if isinstance(function, type):
            raise ValueError(
                f"{name} must be {kind}, got the class {function.__name__} itself. Pass an instance of it."
            )
        if error := _cannot_take(function, arguments):
            raise ValueError(f"{name} must be {kind}, got {name_of(function)!r}: {error}.")


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
    rows = _tensor(who, embedder(list(texts)))
    if rows.dim() != 2 or rows.shape[0] != len(texts) or (len(texts) and not rows.shape[1]):
        raise ValueError(f"{who} must return [N, D], a row for each of {len(texts)} texts, got {list(rows.shape)}.")
    if not rows.isfinite().all():
        raise ValueError(f"{who} must return finite numbers, got NaN or infinity.")
    return rows


def call_reweighter(reweight: Reweighter, rewards: Tensor, similarity: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """(adjusted [B, G], diagnostics) of rewards [B, G] and similarity [B, G, G].

    Adjusted has the type and device of the rewards, is finite, and is NaN exactly where the reward is NaN. Diagnostics
    are what the method reported about itself, see `manypaths.methods.report`.
    """
    with diagnostics() as reported:
        returned = reweight(rewards.clone(), similarity.clone())
    who, unscored = f"Reweighter {name_of(reweight)!r}", rewards.isnan()
    adjusted = _tensor(who, returned).to(rewards)
    if adjusted.shape != rewards.shape:
        raise ValueError(f"{who} must return [B, G], here {list(rewards.shape)}, got {list(adjusted.shape)}.")
    if not adjusted[~unscored].isfinite().all():
        raise ValueError(f"{who} must return finite rewards for scored completions, got NaN or infinity.")
    if not adjusted[unscored].isnan().all():
        raise ValueError(f"{who} must return NaN where the reward is NaN (an unscored completion), got a number.")
    return adjusted, {name: torch.cat(values) for name, values in reported.items()}


def call_advantage(advantage: Callable[[Tensor, Tensor], Any], adjusted: Tensor, advantages: Tensor) -> Tensor:
    """Advantages [B, G] in the place of others, of adjusted rewards and advantages [B, G]; 0 for the unscored."""
    who = f"Advantage {name_of(advantage)!r}"
    replaced = _tensor(who, advantage(adjusted.clone(), advantages.clone())).to(advantages)
    if replaced.shape != adjusted.shape:
        raise ValueError(f"{who} must return [B, G], here {list(adjusted.shape)}, got {list(replaced.shape)}.")
    replaced = replaced.masked_fill(adjusted.isnan(), 0.0)
    if not replaced.isfinite().all():
        raise ValueError(f"{who} must return finite advantages for scored completions, got NaN or infinity.")
    return replaced


def _tensor(who: str, returned: Any) -> Tensor:
    """As a dense tensor of float32 or float64 without gradient."""
    try:
        tensor = _converted(returned)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = type(returned).__name__
        raise ValueError(f"{who} must return a tensor, an array or lists of numbers, got {kind}: {error}.") from error
    if tensor.is_complex():
        raise ValueError(f"{who} must return real numbers, got {tensor.dtype}.")
    return tensor if tensor.dtype == torch.float64 else tensor.float()


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
    """Why a function cannot be called with so many arguments; nothing where it can, or where nobody can tell."""
    options: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        options, arguments = function.keywords | options, (*function.args, *arguments)
        function = function.func
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        return str(error)
    return ""
