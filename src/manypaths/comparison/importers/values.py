"""Checked values from the files of other software."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from manypaths.printable import escaped

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


def printed(value: Any) -> str:
    """At most 200 characters of a text from a file, without control characters."""
    return escaped(short_text(value))[:200]


def share_of(value: Any, unit: str | None) -> float | None:
    """A share from 0 to 1, of a share or of a number in percent; None for anything else."""
    number = finite_number(value)
    if number is None:
        return None
    share = number / 100 if unit == "percent" else number
    return share if 0 <= share <= 1 else None


def json_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """(the objects of a JSON lines file, or of a JSON list; the number of lines or elements that are none).

    Raises:
        ValueError: The file cannot be read as text.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} must be JSON lines in UTF-8, got an error: {error}. Save it so.") from error
    if text.lstrip().startswith("["):
        elements = _parsed(text)
        lines = elements if isinstance(elements, list) else [None]
    else:
        lines = [_parsed(line) for line in text.split("\n") if line.strip()]
    objects = [line for line in lines if isinstance(line, dict)]
    return objects, len(lines) - len(objects)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        return None
