r"""Rewards in the form that TRL calls: lists of completions and columns in, one number per completion out.

A completion is a text, or a list of messages when the data set is conversational. None means "not scored". A reward
takes the columns it names and ignores the others; its `__name__` is what TRL logs.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from manypaths.grading import extract, shared_grader

Completion = str | Sequence[dict[str, Any]]
Reward = Callable[..., list[float | None]]


def text_of(completion: Completion) -> str:
    """What the model itself said: a text as it is; of messages the assistant's, a line break between two.

    A message may have no content (a tool call), or a list of blocks, of which the text blocks count.
    """
    if isinstance(completion, str):
        return completion
    said = []
    for message in completion:
        content = message.get("content")
        if isinstance(content, (list, tuple)):
            content = "".join(block.get("text") or "" for block in content if block.get("type") == "text")
        if content and message.get("role", "assistant") == "assistant":
            said.append(content)
    return "\n".join(said)


def accuracy(
    completions: Sequence[Completion],
    answer: Sequence[object],
    log_metric: Callable[[str, float], None] | None = None,
    **_: object,
) -> list[float | None]:
    """1 where the last box holds the gold answer, 0 where not, None where there is no gold answer.

    `answer` is a column of texts or numbers. How many ran out of time, and so got 0, is logged as
    `accuracy/timed_out`. Unlike MMR-GRPO's released code, this does not call every answer right when the gold
    does not parse. Raises ValueError unless there are as many answers as completions.
    """
    grader = shared_grader()
    before = grader.timed_out
    scores: list[float | None] = [
        None if gold is None else float(grader.is_correct(text_of(completion), str(gold)))
        for completion, gold in zip(completions, answer, strict=True)
    ]
    if log_metric is not None:
        log_metric("accuracy/timed_out", grader.timed_out - before)
    return scores


def boxed(completions: Sequence[Completion], **_: object) -> list[float | None]:
    r"""1 where the last closed `\boxed{}` is not empty, else 0."""
    return [float(bool((extract(text_of(completion)) or "").strip())) for completion in completions]


REWARDS: dict[str, Reward] = {"accuracy": accuracy, "boxed": boxed}


def reward(name: str) -> Reward:
    """A reward by its name here, or any function by its path, "package.module.function".

    Raises ValueError, which names the nearest known reward, for anything else.
    """
    if name in REWARDS:
        return REWARDS[name]
    module, _, function = name.rpartition(".")
    try:
        found: Reward = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        why = f" ({error})" if module else ""
        near = difflib.get_close_matches(name, REWARDS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"No reward is called {name!r}{why}; did you mean {near!r}? Known are {', '.join(REWARDS)}, "
            'and any function by its path, "package.module.function".'
        ) from error
    if not callable(found):
        raise ValueError(f"Reward {name!r} is not a function but {found!r}.")
    return found
