r"""Rewards in the form that TRL calls: lists of completions and columns in, one number per completion out.

A completion is a text, or a list of messages where the data set is conversational. None is the reward of an unscored
completion. A reward function names the columns that it takes and ignores the others; its `__name__` is TRL's name for
it in the logs.

Columns: `completions`, `completion_ids` (their tokens, from TRL), `answer` (the gold answer, from the data set, as
`manypaths.grading.golds.gold_text` reads it), `grader` (what decides, where a set names it: `manypaths.verifiers`) and
`tool_mask` (0 for the tokens of a tool's answer, from `DiverseGRPOTrainer`).
Rewards judge the text of the model alone: its reasoning and its tool calls count, a tool's answer does not.
Keyword-only arguments are options; `reward` binds them and raises ValueError for wrong ones before any completion
exists.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from manypaths.functions import check_options, find_function, option_defaults
from manypaths.printable import listed, shown
from manypaths.rewards.correctness import accuracy, cosine, cosine_as_released
from manypaths.rewards.form import boxed, format_as_released, think, think_answer
from manypaths.rewards.penalties import overlong, repetition

__all__ = [
    "GIVEN", "REWARDS", "Reward", "accuracy", "bind", "boxed", "cosine", "cosine_as_released", "format_as_released",
    "overlong", "repetition", "reward", "think", "think_answer",
]  # fmt: skip

Reward = Callable[..., list[float | None]]

# arguments that the trainer passes, and so no options
GIVEN = {"prompts", "completions", "completion_ids", "answer", "grader", "tool_mask"}
GIVEN |= {"trainer_state", "log_extra", "log_metric", "environments"}

REWARDS: dict[str, Reward] = {
    "accuracy": accuracy,
    "boxed": boxed,
    "think": think,
    "think_answer": think_answer,
    "format_as_released": format_as_released,
    "cosine": cosine,
    "cosine_as_released": cosine_as_released,
    "repetition": repetition,
    "overlong": overlong,
}


def reward(name: str, max_completion_length: int | None = None, /, **options: Any) -> Reward:
    """A reward function with its options bound.

    Args:
        name: a name in `REWARDS`, or the dotted path of a user's function, "package.module.function".
        max_completion_length: the trainer's, in tokens, for a reward that names it; one among the options has priority.
        options: keyword arguments of the function.

    Raises:
        ValueError: no such reward (the message has the nearest name), an option that it does not take and, for the
            rewards of this module, a value out of bounds.
    """
    function = find_function("reward", name, REWARDS)
    check_options(f"Reward {name!r}", function, options, GIVEN)
    takes, _ = option_defaults(function, GIVEN)
    if "max_completion_length" in takes and max_completion_length is not None:
        options = {"max_completion_length": max_completion_length} | options
    if takes.get("max_completion_length") is inspect.Parameter.empty and "max_completion_length" not in options:
        raise ValueError(
            f"Reward {name!r} must have max_completion_length, in tokens, got none. Set trainer.max_completion_length, "
            "or the option."
        )
    if function not in REWARDS.values():
        _check_columns(name, takes, {*options})
        function = _checked(name, function)
    if not options:
        return function
    bound = functools.update_wrapper(functools.partial(function, **options), function)
    if function in REWARDS.values():
        bound(completions=[], completion_ids=[], answer=[])  # each reward checks its own options
    return bound


def _check_columns(name: str, takes: Mapping[str, Any], options: Set[str]) -> None:
    """Raise ValueError for an argument without a default that neither the data of a recipe nor an option gives."""
    required = {argument for argument, default in takes.items() if default is inspect.Parameter.empty}
    if missing := sorted(required - options - {"max_completion_length"}):
        raise ValueError(
            f"Reward {name!r} must be given {listed(missing)}, which the data of a recipe do not have. The gold answer "
            f"is in the column answer; an option is set by reward_options.{name}.{missing[0]}=VALUE."
        )


def _checked(name: str, function: Reward) -> Reward:
    """A user's function that refuses what TRL makes no tensor of; other callables and coroutines stay as they are."""
    if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
        return function

    @functools.wraps(function)
    def checked(*lists: Any, **columns: Any) -> list[float | None]:
        returned = function(*lists, **columns)
        is_list = isinstance(returned, Iterable) and not isinstance(returned, str) and getattr(returned, "ndim", 1) != 0
        scores: list[Any] = list(returned) if is_list else [returned]
        wrong = [score for score in scores if not is_list or isinstance(score, str)]
        if wrong:
            raise ValueError(
                f"Reward {name!r} must return a list with a number or None for each completion, got "
                f"{shown(wrong[0])} ({type(wrong[0]).__name__})."
            )
        return scores

    return checked


def bind(
    weights: Mapping[str, object], options: Mapping[str, Mapping[str, Any]], max_completion_length: int | None
) -> dict[str, Reward]:
    """The rewards of a recipe, with their options bound.

    Args:
        weights: {name: weight}; names as in `reward`.
        options: {name: {option: value}}.
        max_completion_length: the trainer's, in tokens.

    Returns:
        {name: function}, in the order of `weights`.

    Raises:
        ValueError: no reward, options of a reward without a weight, or as `reward` does.
    """
    if not weights:
        raise ValueError("rewards must hold one reward or more, got none. Set rewards.accuracy=1.0.")
    if unused := set(options) - set(weights):
        names = ", ".join(sorted(unused))
        raise ValueError(f"reward_options must be of rewards with a weight, got {names}. Set rewards.NAME=1.0.")
    return {name: reward(name, max_completion_length, **options.get(name, {})) for name in weights}
