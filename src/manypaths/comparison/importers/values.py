"""Values in the files of other software, checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LAST_STEP = 10**12


def load_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, RecursionError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{str(path)!r} is asked for JSON; it cannot be read ({what}): mend or remove it.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{str(path)!r} is asked for a JSON object; it holds a {type(found).__name__}: leave it out.")
    return found


def finite_number(value: Any) -> float | None:
    """As float where it is a number and sums of it stay finite."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e100 else None


def step_number(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= LAST_STEP else None


def short_text(value: Any) -> str:
    """As text that is short and that UTF-8 can hold."""
    return str(value)[:200].encode("utf-8", "replace").decode()
