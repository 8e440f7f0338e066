"""Checks of the options of rewards."""

from __future__ import annotations

from typing import Any

LARGEST = 1e9  # bound on the options of rewards


def is_number(value: object, kind: Any = (int, float)) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and bool(abs(value) <= LARGEST)


def check(reward: str, option: str, bounds: str, value: object, holds: bool) -> None:
    if not holds:
        raise ValueError(f"Reward {reward!r}: {option} must be {bounds}, got {value!r}.")
