"""Which completions are one group: asked of the trainer where it can be asked, else read off the batch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Any

from manypaths.messages import text_of

OF_THE_PROMPT = {"prompt", "image", "images"}
# what a trainer passes beside the columns of the data, or for each completion anew
NO_COLUMNS = {"completion_ids", "tool_mask", "environments", "trainer_state", "log_metric", "log_extra"}


def size_in_trainer(log_metric: Any, size: int) -> int | None:
    """The size of the groups of this batch, from the trainer whose method `log_metric` is; None where it is nobody's.

    TRL's GRPO and RLOO trainers group completions by their places, so many in training and so many in evaluation.
    Raises ValueError where `size`, for training, is not the trainer's.
    """
    trainer = getattr(log_metric, "__self__", None)
    sizes = [getattr(trainer, name, None) for name in ("num_generations", "num_generations_eval")]
    training = getattr(getattr(trainer, "model", None), "training", None)
    if training is None or not all(isinstance(each, int) for each in sizes):
        return None
    if sizes[0] != size:
        raise ValueError(f"DiverseReward: num_generations must be the trainer's own, {sizes[0]}, got {size}.")
    return sizes[0] if training else sizes[1]


def row_keys(prompts: Sequence[Any], columns: Mapping[str, Any]) -> list[tuple[str, dict[str, int]]]:
    """What tells the rows of the data apart: for each completion its prompt as a text, and a number for each column.

    The prompt is a column too, which says which images it holds. Equal content has equal numbers in every process.
    """
    own = {name: values for name, values in columns.items() if name not in NO_COLUMNS}
    own = {name: values for name, values in own.items() if _is_column(values, len(prompts))} | {"prompt": prompts}
    return [
        (_text(prompt), {name: _number(values[row]) for name, values in own.items()})
        for row, prompt in enumerate(prompts)
    ]


def group_size(prompts: Sequence[Any], sizes: Sequence[int], columns: Sequence[Mapping[str, int]] = ()) -> int:
    """The largest of the sizes for which the completions come group after group, each of one prompt.

    `columns`, as `row_keys` gives them, tell apart rows whose prompts have one text, such as one question about many
    images. A column that changes within a group, because the trainer fills it for each completion, is left out, unless
    it is the prompt's own. Raises ValueError where there is none: a group that is not whole, or not in one piece,
    cannot be reweighted. Warns where every prompt comes in twice as many completions or more.
    """
    keys = _keys(prompts, columns, math.gcd(*sizes)) if columns else prompts
    runs = [sum(1 for _ in run) for _, run in groupby(keys)]
    fitting = [size for size in sizes if all(run % size == 0 for run in runs)]
    if not fitting:
        raise ValueError(
            f"Diversity asks for whole groups, runs of {' or '.join(map(str, sizes))} completions of one prompt, over "
            f"all processes; given {len(prompts)} completions in runs of {', '.join(map(str, runs[:8]))}"
            f"{' ...' * (len(runs) > 8)}. Pass the trainer's own num_generations (and num_generations_eval), and let "
            "its batches hold whole groups in order."
        )
    if runs and min(runs) >= 2 * max(fitting):
        warnings.warn(
            f"Groups of {max(fitting)} were asked for, and no prompt comes in fewer than {min(runs)} completions: is "
            "num_generations that of the trainer?",
            stacklevel=2,
        )
    return max(fitting)


def _keys(prompts: Sequence[Any], columns: Sequence[Mapping[str, int]], step: int) -> list[tuple[Any, ...]]:
    """A key for each row; a column counts where it stays the same within every `step` rows."""
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
    """A prompt as a text to compare by: of messages, roles and texts."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{each.get('role')}: {text_of([{**each, 'role': 'assistant'}])}" for each in prompt)


def _number(value: Any) -> int:
    return int.from_bytes(blake2b(repr(_content(value)).encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _content(value: Any) -> Any:
    """A value as what it holds: images and arrays, which are new objects in each row, by their bytes."""
    if isinstance(value, Mapping):
        return sorted((str(key), _content(each)) for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return [_content(each) for each in value]
    if callable(getattr(value, "tobytes", None)):
        return type(value).__name__, getattr(value, "size", None), blake2b(value.tobytes()).hexdigest()
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    return value if isinstance(value, (str, bytes, int, float, type(None))) else type(value).__name__
