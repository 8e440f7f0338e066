"""Shipped recipes of one kind in one command, such as two variants: where both set a key, the later one holds."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manypaths import recipe
from manypaths.preflight.dry_run import leaves
from manypaths.printable import one_line

KIND = {"papers": "problems"}  # the recipe of a paper names its problems, and so replaces those of another recipe
TITLES = {"problems": "sets of problems"}
MOST = 4  # settings in a sentence; the others are counted
LONGEST = 40  # characters of a value


def replaced(words: Sequence[str]) -> list[str]:
    """A sentence for each two recipes of one kind of which the later one changes what the earlier one set.

    Recipes of different kinds, methods that set different keys (such as mmr and history), and files of the user are
    meant to be merged, and a setting of the command line holds in any case: none of them is named.

    Args:
        words: Recipes and overrides, as of `manypaths train`.

    Raises:
        ValueError: As `recipe.content`.
    """
    overridden = [word.partition("=")[0] for word in words if "=" in word]
    set_by: dict[tuple[str, str], tuple[str, Any]] = {}  # kind and key -> the last recipe that set it, and the value
    changed: dict[tuple[str, str, str], list[str]] = {}
    for word in words:
        folder, _, name = ("", "", "") if "=" in word else _keys().get(recipe.find(word).resolve(), "").rpartition("/")
        if not folder:
            continue
        kind = KIND.get(folder, folder)
        for key, value in _settings(f"{folder}/{name}").items():
            earlier, before = set_by.get((kind, key), (name, value))
            set_by[kind, key] = name, value
            if before != value and not any(key == own or key.startswith(f"{own}.") for own in overridden):
                changed.setdefault((kind, earlier, name), []).append(
                    f"{key}={_short(value)} instead of {_short(before)}"
                )
    return [_sentence(*names, settings) for names, settings in changed.items()]


@functools.cache
def _keys() -> dict[Path, str]:
    """The shipped recipes by their files."""
    return {path.resolve(): key for key, path in recipe.shipped().items()}


@functools.cache
def _settings(key: str) -> dict[str, Any]:
    """The settings of a shipped recipe and of those that it includes, such as {"trainer.beta": 0.0}."""
    content = recipe.content([key])
    content.pop("departs", None)
    return {".".join(path): value for path, value in leaves(content).items()}


def _sentence(kind: str, earlier: str, later: str, settings: Sequence[str]) -> str:
    more = f", and {len(settings) - MOST} more" if len(settings) > MOST else ""
    return (
        f"{earlier} and {later} are both {TITLES.get(kind, kind)}. Where both set a key the later one holds: "
        f"{', '.join(settings[:MOST])}{more}. What only {earlier} sets stays. Leave out the one that is not meant."
    )


def _short(value: Any) -> str:
    """A value as JSON, or a text as it is, in one line of at most 40 characters."""
    text = one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
