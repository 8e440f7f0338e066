"""One completion of a log of another trainer, and how its values are read from a row of any table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manypaths.messages import prompt_text, text_of
from manypaths.printable import listed, shown

Entry = Mapping[str, Any]
VERDICT = 0.5  # a reward above it says that a completion is correct


@dataclass
class Row:
    """One completion, as the log has it.

    `where` names its file and its line for messages, `place` is its position among the completions of `file`, and
    `group` is what the log itself says of the group.
    """

    where: str
    file: str
    place: int
    step: int | None
    prompt: str
    identity: str  # equal for equal prompts: chat messages of one text may differ
    completion: str
    rewards: dict[str, float | None]
    total: float | None
    advantage: float | None = None
    correct: bool | None = None
    tokens: int | None = None
    truncated: bool | None = None
    group: str | None = None
    extra: dict[str, object] = field(default_factory=dict)


def prompt_of(value: Any, where: str) -> tuple[str, str]:
    """(text, identity) of a prompt: a text, or chat messages. Raises ValueError for anything else."""
    text = prompt_text(_texts(value, where, "prompt"))
    return text, text if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def completion_of(value: Any, where: str) -> str:
    """The text that the model wrote, of a text or of chat messages. Raises ValueError for anything else."""
    return text_of(_texts(value, where, "completion"))


def is_chat(value: Any) -> bool:
    """Whether a value is a list of chat messages."""
    return isinstance(value, list) and bool(value) and all(isinstance(message, Mapping) for message in value)


def _texts(value: Any, where: str, role: str) -> Any:
    if isinstance(value, str) or is_chat(value):
        return value
    raise ValueError(f"{where}: a {role} must be a text or chat messages, got {shown(json.dumps(value, default=str))}.")


def number(value: Any, where: str, column: str) -> float | None:
    """A number; None for null, NaN and infinity. Raises ValueError for anything else, as for an integer above 1e308."""
    if value is None:
        return None
    if not isinstance(value, (int, float)):
        raise ValueError(f"{where}: {shown(column)} must be a number, got {shown(json.dumps(value, default=str))}.")
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError as error:
        raise ValueError(f"{where}: {shown(column)} must be a number below 1e308, got one of more digits.") from error


def whole(value: Any, where: str, column: str) -> int | None:
    """A whole number; None for null. Raises ValueError for anything else."""
    exact = number(value, where, column)
    if exact is None or exact.is_integer():
        return None if exact is None else int(exact)
    raise ValueError(f"{where}: {shown(column)} must be a whole number, got {exact}.")


def length(value: Any, where: str, column: str) -> int | None:
    """A length, a whole number of 0 or more; None for null. Raises ValueError for anything else."""
    exact = whole(value, where, column)
    if exact is not None and exact < 0:
        raise ValueError(f"{where}: {shown(column)} must be 0 or more, got {exact}.")
    return exact


def verdict(value: Any, where: str, column: str) -> bool | None:
    """Whether a completion is correct: a truth value, or a number above 0.5; None for null."""
    if isinstance(value, bool):
        return value
    reward = number(value, where, column)
    return None if reward is None else reward > VERDICT


def group_named(value: Any, where: str, column: str) -> str:
    """The group that a column names. Raises ValueError for null and NaN."""
    if value is None or value != value:
        raise ValueError(f"{where}: {shown(column)} must name a group, got null. Name another --group-column.")
    return str(value)


def total(rewards: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """The weighted sum of the rewards that are there, as TRL sums; None where none is."""
    scored = [weights.get(name, 1.0) * reward for name, reward in rewards.items() if reward is not None]
    return sum(scored) if scored else None


def check_columns(columns: Sequence[str], names: Sequence[str | None], file: str) -> None:
    """Raise ValueError where a column that the user names is not there."""
    for name in names:
        if name is not None and name not in columns:
            raise ValueError(f"{file} has no column {shown(name)}. It has {listed(columns)}.")
