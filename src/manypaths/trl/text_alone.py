"""Refusals of what dynamic sampling cannot move between batches: images, other media and the state of tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset

GENERATED = 8  # values that TRL's `_generate` returns


def check_data(data: Any, what: str = "Dynamic sampling", setting: str = "dynamic_sampling") -> None:
    """Raise ValueError unless `data` is a dataset with a length and its columns and first row are text.

    `what` needs that, and is turned off by leaving out `setting`.
    """
    if not isinstance(data, Dataset):
        raise ValueError(
            f"{what} must have a dataset with a length, got {type(data).__name__}. Load the data as a "
            f"datasets.Dataset, or leave {setting} out."
        )
    if media := {"image", "images"} & {*data.column_names}:
        raise _media(f"a column {' and '.join(sorted(media))}", what, setting)
    check_rows([data[0]] if len(data) else [], what, setting)


def check_rows(
    rows: Sequence[Mapping[str, Any]], what: str = "Dynamic sampling", setting: str = "dynamic_sampling"
) -> None:
    """Raise ValueError for media in a column or a message, where a transform of the data may have put them."""
    for row in rows:
        for name in ("image", "images"):
            empty = isinstance(row.get(name), (list, tuple, str)) and not row[name]
            if row.get(name) is not None and not empty:
                raise _media(f"a column {name}", what, setting)
        prompt = row.get("prompt") or ()
        for message in () if isinstance(prompt, str) else prompt:
            for block in message["content"] if isinstance(message.get("content"), list) else ():
                if isinstance(block, Mapping) and block.get("type") != "text":
                    raise _media(f"a block of type {block.get('type')!r} in a message", what, setting)


def text_alone(generated: tuple[Any, ...]) -> tuple[Any, Any, Any, Any]:
    """Unpack the return value of `GRPOTrainer._generate`.

    Returns prompt ids, completion ids, completions and log-probabilities (None unless vLLM gave them). Raises
    ValueError if there is anything else, or if this version of TRL returns another number of values.
    """
    if len(generated) != GENERATED:
        raise ValueError(
            f"TRL's _generate must return {GENERATED} values, got {len(generated)}: this version of TRL does not suit "
            "dynamic sampling. Leave dynamic_sampling out, or install the version that pyproject.toml names."
        )
    prompt_ids, completion_ids, tool_mask, completions, logprobs, fields, images, tool_images = generated
    if images or any(tool_images) or fields or tool_mask is not None:
        raise _media("images or the state of tools beside the completions")
    return prompt_ids, completion_ids, completions, logprobs


def _media(content: str, what: str = "Dynamic sampling", setting: str = "dynamic_sampling") -> ValueError:
    return ValueError(
        f"{what} must have text alone, got {content}, which it cannot move between batches. Leave {setting} out, or "
        "train on text."
    )
