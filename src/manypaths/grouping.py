"""Which completions of a batch are one group: the trainer's own group size, or one inferred from the prompts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Any

from manypaths.messages import text_of

OF_THE_PROMPT = {"prompt", "image", "images"}  # columns that belong to a prompt
# arguments that are no column of the data set, or that the trainer fills per completion
NO_COLUMNS = {"completion_ids", "tool_mask", "environments", "trainer_state", "log_metric", "log_extra"}


def size_in_trainer(log_metric: Any, size: int) -> int | None:
    """The group size of this batch, from the trainer itself.

    TRL's GRPO and RLOO trainers group completions by position: `num_generations` of them in training and
    `num_generations_eval` in evaluation.

    Args:
        log_metric: the function that the trainer passes to rewards, a method of the trainer.
        size: the user's group size for training.

    Returns:
        The group size; None where `log_metric` is no method of such a trainer.

    Raises:
        ValueError: `size` is not the trainer's `num_generations`.
    """
    trainer = getattr(log_metric, "__self__", None)
    sizes = [getattr(trainer, name, None) for name in ("num_generations", "num_generations_eval")]
    training = getattr(getattr(trainer, "model", None), "training", None)
    if training is None or not all(isinstance(number, int) for number in sizes):
        return None
    if sizes[0] != size:
        raise ValueError(f"DiverseReward: num_generations must be the trainer's own, {sizes[0]}, got {size}.")
    return sizes[0] if training else sizes[1]


def row_hashes(prompts: Sequence[Any], columns: Mapping[str, Any]) -> list[tuple[str, dict[str, int]]]:
    """Content that identifies the row of the data set of each completion.

    Args:
        prompts: N prompts, texts or lists of messages.
        columns: the arguments that the trainer passes to rewards.

    Returns:
        N pairs: the prompt as a text, and {column: hash of its value}. The prompt is a column too, because its messages
        may hold images. Equal content has equal hashes in every process.
    """
    own = {name: values for name, values in columns.items() if name not in NO_COLUMNS}
    own = {name: values for name, values in own.items() if _is_column(values, len(prompts))} | {"prompt": prompts}
    return [
        (_text(prompt), {name: _hash(values[row]) for name, values in own.items()})
        for row, prompt in enumerate(prompts)
    ]


def group_size(prompts: Sequence[Any], sizes: Sequence[int], columns: Sequence[Mapping[str, int]] = ()) -> int:
    """The largest of some sizes for which the batch is groups of one prompt, one after another.

    Warns where every prompt has at least twice as many completions as the size.

    Args:
        prompts: N prompts as texts.
        sizes: possible group sizes.
        columns: N dicts {column: hash} from `row_hashes`. They separate rows whose prompts have the same text, such as
            one question about many images. A column that varies within a group, because the trainer fills it per
            completion, is ignored, unless it belongs to the prompt.

    Raises:
        ValueError: no size fits; groups that are incomplete or not contiguous cannot be reweighted.
    """
    rows = _rows(prompts, columns, math.gcd(*sizes)) if columns else prompts
    runs = [sum(1 for _ in run) for _, run in groupby(rows)]
    fitting = [size for size in sizes if all(run % size == 0 for run in runs)]
    if not fitting:
        raise ValueError(
            f"The batch of all processes must be whole groups, runs of {' or '.join(map(str, sizes))} completions of "
            f"one prompt, got {len(prompts)} completions in runs of {', '.join(map(str, runs[:8]))}"
            f"{' ...' * (len(runs) > 8)}. Pass the trainer's own num_generations (and num_generations_eval), and let "
            "its batches hold whole groups in order."
        )
    if runs and min(runs) >= 2 * max(fitting):
        warnings.warn(
            f"num_generations is {max(fitting)}, but every prompt has {min(runs)} completions or more. Set it to the "
            "trainer's num_generations.",
            stacklevel=2,
        )
    return max(fitting)


def _rows(prompts: Sequence[Any], columns: Sequence[Mapping[str, int]], step: int) -> list[tuple[Any, ...]]:
    """Prompt and hashes of each row, of the columns that are constant within each `step` rows or the prompt's own."""
    steps = [columns[start : start + step] for start in range(0, len(columns), step)]
    names = [
        name
        for name in columns[0]
        if name in OF_THE_PROMPT or all(len({row.get(name) for row in rows}) == 1 for rows in steps)
    ]
    return [(prompt, *(row.get(name) for name in names)) for prompt, row in zip(prompts, columns, strict=True)]


def _is_column(values: Any, rows: int) -> bool:
    return not isinstance(values, (str, Mapping)) and hasattr(values, "__getitem__") and len(values) == rows


def _text(prompt: Any) -> str:
    """A prompt as a text: of messages, their roles and texts."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message.get('role')}: {text_of([{**message, 'role': 'assistant'}])}" for message in prompt)


def _hash(value: Any) -> int:
    return int.from_bytes(blake2b(repr(_content(value)).encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _content(value: Any) -> Any:
    """A value with a `repr` of its content alone: images and arrays by their bytes."""
    if isinstance(value, Mapping):
        return sorted((str(key), _content(part)) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return [_content(part) for part in value]
    if callable(getattr(value, "tobytes", None)):
        return type(value).__name__, getattr(value, "size", None), blake2b(value.tobytes()).hexdigest()
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    return value if isinstance(value, (str, bytes, int, float, type(None))) else type(value).__name__
