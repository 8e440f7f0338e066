"""Keys of correct completions, by which an evaluation counts distinct right answers (distinct@K)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manypaths.counts import Counts, sizes
from manypaths.graded import count
from manypaths.messages import prompt_text
from manypaths.printable import one_line
from manypaths.problems import render
from manypaths.results import ANSWER, KEYS


def check_keys(name: str) -> None:
    """Raise ValueError, as `manypaths.keys.bind` does, for a name of no keys function."""
    from manypaths.keys import bind

    bind(name, {})


def counted_by_keys(lines: Sequence[dict[str, Any]], settings: dict[str, Any], path: Path) -> dict[str, Counts]:
    """Count the completions of problems, the right ones by the keys function that the settings name.

    Where that function fails, a note is printed and the counts have no keys: the completions are on the disk already,
    and a training goes on.

    Args:
        lines: One per problem.
        settings: Those of the evaluation; its `keys` and its `prompt` are used.
        path: The file of the lines, for the note.

    Returns:
        {problem: its counts}
    """
    counts = {line["id"]: count(line) for line in lines}
    name = settings.get(KEYS, ANSWER)
    if name == ANSWER:  # `count` has counted by it
        return counts
    try:
        by_key = _by_key(lines, name, settings["prompt"])
    except Exception as error:  # a user's function may raise anything
        reason = one_line(f"{type(error).__name__}: {error}", 300)
        print(
            f"Note: {path}: the keys function {name!r} failed ({reason}), so its distinct right answers are not "
            "counted (distinct@K). All completions are kept there.",
            file=sys.stderr,
        )
        by_key = dict.fromkeys(counts)
    return {id: own._replace(by_key=by_key[id]) for id, own in counts.items()}


def _by_key(lines: Sequence[dict[str, Any]], name: str, prompt: Any) -> dict[str, tuple[int, ...] | None]:
    """The number of right completions of each problem by key; those without a key (`NO_KEY`) are one key.

    A function that must see whole groups gets all completions of a problem as one group; any other gets the right ones.
    """
    from manypaths.keys import bind, call_keys, needs_whole_groups

    function = bind(name, {})
    keys: dict[str, list[int]] = {line["id"]: [] for line in lines}
    if needs_whole_groups(function):
        for line in lines:
            samples, problem = line["samples"], prompt_text(render(prompt, line["question"]))
            texts = [sample["text"] for sample in samples]
            made = call_keys(function, texts, [problem] * len(texts), len(texts)).tolist()
            keys[line["id"]] = [key for key, sample in zip(made, samples, strict=True) if sample["correct"]]
    else:
        right = [(line, sample["text"]) for line in lines for sample in line["samples"] if sample["correct"]]
        problems = [prompt_text(render(prompt, line["question"])) for line, _ in right]
        made = call_keys(function, [text for _, text in right], problems, 1).tolist()
        for (line, _), key in zip(right, made, strict=True):
            keys[line["id"]].append(key)
    return {id: sizes(own) for id, own in keys.items()}
