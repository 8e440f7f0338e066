"""Checked values from the files of other software."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LAST_STEP = 10**12


def load_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises ValueError for anything else."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, RecursionError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{str(path)!r} must be JSON, got {reason}. Repair or remove it.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} must hold a JSON object, got a {type(content).__name__}. Leave it out.")
    return content


def finite_number(value: Any) -> float | None:
    """A number whose sums stay finite, as float; None for anything else."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e100 else None


def step_number(value: Any) -> int | None:
    """A whole number that can be a step; None for anything else."""
    return value if type(value) is int and 0 <= value <= LAST_STEP else None


def short_text(value: Any) -> str:
    """At most 200 characters, all of which UTF-8 can encode."""
    return str(value)[:200].encode("utf-8", "replace").decode()
