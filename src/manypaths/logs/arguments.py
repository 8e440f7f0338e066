"""What a user says about a log on the command line, the same for every command that reads one."""

from __future__ import annotations

import argparse
import math
from typing import Any

from manypaths.logs.log import Options


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options about a log to the parser of a command; `options` reads them."""
    group: Any = parser.add_argument_group("what the log holds", "Needed where the log does not say it.")
    group.add_argument("--prompt-column", metavar="COLUMN", help="where the prompt is [prompt]")
    group.add_argument("--completion-column", metavar="COLUMN", help="where the completion is [completion]")
    group.add_argument("--step-column", metavar="COLUMN", help="where the step is [step, if there is one]")
    group.add_argument("--group-column", metavar="COLUMN", help="a column that is equal within each group [none]")
    group.add_argument(
        "--reward",
        metavar="COLUMN[=WEIGHT]",
        action="append",
        default=[],
        help="a reward and its weight in the sum [those that the log names, else reward; weight 1]; repeatable",
    )
    group.add_argument("--correct", metavar="NAME", help="the reward by which a completion is correct, above 0.5")
    group.add_argument("--group-size", type=int, metavar="N", help="completions per prompt [by equal prompts]")


def options(arguments: argparse.Namespace) -> Options:
    """The options that `add` added, of parsed arguments.

    Raises:
        ValueError: a weight that is no finite number, a reward that is named twice, or a group size below 2.
    """
    rewards: dict[str, float] = {}
    for word in arguments.reward:
        name, weight = _reward(word)
        if name in rewards:
            raise ValueError(f"--reward must name each column once, got {name!r} twice.")
        rewards[name] = weight
    if arguments.group_size is not None and arguments.group_size < 2:
        raise ValueError(f"--group-size must be 2 or more, got {arguments.group_size}.")
    return Options(
        prompt=arguments.prompt_column,
        completion=arguments.completion_column,
        step=arguments.step_column,
        group=arguments.group_column,
        rewards=rewards,
        correct=arguments.correct,
        group_size=arguments.group_size,
    )


def _reward(word: str) -> tuple[str, float]:
    name, separator, weight = word.rpartition("=")
    if not separator:
        return word, 1.0
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not name or not math.isfinite(number):
        raise ValueError(f"--reward must be COLUMN or COLUMN=WEIGHT with a finite number, got {word!r}.")
    return name, number
