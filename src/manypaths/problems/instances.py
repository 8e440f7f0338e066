"""Drawing of instances for problems with many right answers: different ones, held out or not, with so many ways."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import NamedTuple

from manypaths.problems.problem import Problem

TRIES = 400  # instances that are drawn for each problem at most
HELD_OUT = 4  # one instance of so many is held out


class Instance(NamedTuple):
    """A problem before it has an id."""

    question: str
    condition: str
    ways: tuple[str, ...]  # all right answers, the common way first


def wants_one_way(ways: str | float, number: int) -> bool | None:
    """Whether the problem of this number, from 0, must have exactly one right answer; None where it may.

    Args:
        ways: one, many (two or more), any (one or more), or the share of problems with one, from 0 to 1.
        number: The position of the problem.

    Raises:
        ValueError: `ways` is something else.
    """
    if ways == "any":
        return None
    share = {"one": 1, "many": 0}.get(ways, ways) if isinstance(ways, str) else ways
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"ways must be one, many, any, or a share of problems with one from 0 to 1, got {ways!r}.")
    return int((number + 1) * share) > int(number * share)


def draw(
    name: str,
    count: int,
    seed: int,
    held_out: bool,
    ways: str | float,
    make: Callable[[random.Random, bool | None, Callable[[str], bool]], Instance | None],
) -> list[Problem]:
    """Draw different problems.

    Args:
        name: Of the problems and their grader.
        count: How many problems.
        seed: Of the random numbers.
        held_out: Which of two parts the problems are drawn from: a quarter of all instances, by a hash of a text, the
            `split`, or the others. The parts share no split, whatever their seeds; two seeds of one part may share
            problems.
        ways: As in `wants_one_way`.
        make: (random numbers, whether there must be one way, whether a `split` is of the wanted part) -> an instance of
            that part; None where a draw was in vain.

    Raises:
        ValueError: There are fewer than `count` different instances, or `ways` is none.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"count must be 1 or more problems, got {count!r}.")

    def is_wanted(split: str) -> bool:
        return (zlib.crc32(split.encode()) % HELD_OUT == 0) == held_out

    rng, problems = random.Random(f"{name} {seed}"), dict[str, Problem]()
    for _ in range(TRIES * count):
        instance = make(rng, wants_one_way(ways, len(problems)), is_wanted)
        if instance is None or instance.condition in problems:
            continue
        problem = Problem(f"{name}-{len(problems)}", instance.question, instance.condition, instance.ways, name)
        problems[instance.condition] = problem
        if len(problems) == count:
            return list(problems.values())
    raise ValueError(
        f"count must be at most the number of different {name} problems of these options, got {count}: "
        f"{TRIES * count} draws gave {len(problems)}. Lower it, or change ways or the sizes."
    )
