"""What the page has of a group, a completion and a number: texts with their two ends, and short numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from manypaths.logs import LoggedGroup
from manypaths.training.inspect_similarity import Compared

Entry = dict[str, Any]
LONGEST = 4000  # characters of one text; the middle of a longer one is left out


def group_entry(group: LoggedGroup, own: bool, compare: Callable[[list[str]], Compared] | None) -> Entry:
    """A group as the page has it, without its step and number.

    Args:
        group: the group.
        own: whether it is of a run of ours, whose `extra` is that of `manypaths.logs.runs.stream_groups`; that of
            another log may hold anything.
        compare: computes the similarity of the completions, where the log has none.
    """
    extra: Entry = {**group.extra} if own else {"answer": _same_text(group.extra.get("gts"))}
    if extra.get("similarity") is None and compare is not None and len(group.completions) > 1:
        extra |= compare(group.completions)._asdict()
    matrix, answer = extra.get("similarity"), extra.get("answer")
    return {
        "prompt": shortened(group.prompt),
        "answer": None if answer is None else shortened(answer),
        "method": extra.get("method"),
        "diagnostics": _diagnostics(extra.get("diagnostics") or {}),
        "completions": [_completion(group, extra, at) for at in range(len(group.completions))],
        "similarity": None if matrix is None else [[number(value, 3) for value in row] for row in matrix],
    }


def _completion(group: LoggedGroup, extra: Entry, at: int) -> Entry:
    def of(values: Any) -> Any:
        return values[at] if values else None

    return {
        "text": shortened(group.completions[at]),
        "rewards": {name: number(values[at]) for name, values in group.rewards.items()},
        "raw": number(group.total[at]),
        "adjusted": number(of(extra.get("adjusted"))),
        "advantage": number(of(group.advantages)),
        "correct": of(group.correct),
        "tokens": of(group.tokens),
        "truncated": of(group.truncated),
        "diagnostics": _diagnostics(of(extra.get("completion_diagnostics")) or {}),
        "nearest": of(extra.get("nearest")),
        "similarity": number(of(extra.get("nearest_similarity")), 3),
    }


def _same_text(values: object) -> str | None:
    """The text that all completions of a group have in a column; None where they differ, or it is no text."""
    if not isinstance(values, list) or not values or not isinstance(values[0], str):
        return None
    return values[0] if values == values[:1] * len(values) else None


def _diagnostics(values: Entry) -> list[tuple[str, float | None]]:
    """(name, value) in the order of the file, which a JavaScript object would not keep for names such as "2"."""
    return [(name, figure(value)) for name, value in values.items()]


def number(value: Any, digits: int = 4) -> float | None:
    """A number with so many decimal places; None for null, NaN and infinity."""
    return round(value, digits) if value is not None and math.isfinite(value) else None


def figure(value: Any) -> float | None:
    """A number of any magnitude, with five significant digits."""
    return float(f"{value:.5g}") if value is not None and math.isfinite(value) else None


def shortened(text: str) -> str | list[str | int]:
    """The text, or of a long one [its start, the number of omitted characters, its end]."""
    half = LONGEST // 2
    return text if len(text) <= LONGEST else [text[:half], len(text) - LONGEST, text[-half:]]
