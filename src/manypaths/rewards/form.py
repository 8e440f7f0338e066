"""Rewards for the form of a completion: a box, tags."""

from __future__ import annotations

import re
from collections.abc import Sequence

from manypaths.grading import extract
from manypaths.messages import Completion, text_of, turns
from manypaths.rewards.options import check

_TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
_TAG = re.compile(f"({'|'.join(_TAGS)})")


def boxed(completions: Sequence[Completion], **_: object) -> list[float | None]:
    r"""1 where the last `\boxed{}` is closed and not empty, else 0."""
    return [float(bool((extract(text_of(completion)) or "").strip())) for completion in completions]


def think(completions: Sequence[Completion], *, opened: bool = False, **_: object) -> list[float | None]:
    """1 where the text begins with its only <think>, and has </think> behind it, else 0: `trl.think_format_reward`.

    A message whose reasoning was parsed into a field of its own has this form. Of several messages of the assistant,
    with tools' answers between them, each must have it.

    Args:
        completions: N texts or lists of messages.
        opened: whether the chat template ends the prompt with <think>, as R1-Distill's does. The tag then counts as the
            beginning of each completion.

    Returns:
        N rewards.

    Raises:
        ValueError: `opened` is not a bool.
    """
    from trl.rewards import think_format_reward

    check("think", "opened", "true or false", opened, isinstance(opened, bool))
    texts = [turns(completion, opened) for completion in completions]
    return [min(think_format_reward([[{"content": text}] for text in messages])) for messages in texts]


def think_answer(completions: Sequence[Completion], *, opened: bool = False, **_: object) -> list[float | None]:
    """1 where the text is <think>...</think><answer>...</answer> up to white space around them, else 0.

    Each tag occurs once, and neither part is blank: the form in R1's prompt (arXiv 2501.12948, Table 1). Of several
    messages of the assistant the last one counts.

    Args:
        completions: N texts or lists of messages.
        opened: as in `think`; a completion that repeats <think> then gets 0.

    Returns:
        N rewards.

    Raises:
        ValueError: `opened` is not a bool.
    """
    check("think_answer", "opened", "true or false", opened, isinstance(opened, bool))
    scores: list[float | None] = []
    for completion in completions:
        parts = _TAG.split(turns(completion, opened)[-1], maxsplit=len(_TAGS) + 1)  # text, tag, text, ..., text
        filled = [bool(part.strip()) for part in parts[::2]]
        scores.append(float(parts[1::2] == _TAGS and filled == [False, True, False, True, False]))
    return scores


def format_as_released(completions: Sequence[Completion], **_: object) -> list[float | None]:
    r"""1 where the text has exactly one "\n</think>\n", else 0: the format reward of MMR-GRPO's released code.

    Of several messages of the assistant, each must have one.
    """
    return [float(all(text.count("\n</think>\n") == 1 for text in turns(completion))) for completion in completions]
