"""Items of which a few together have all needed marks, with all such choices."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from manypaths.problems.instances import Instance, draw
from manypaths.problems.problem import Problem
from manypaths.verifiers.colouring import NAMES
from manypaths.verifiers.cover import condition, meets

DRAWS = 20  # sets of excluded pairs that are tried for the marks of a problem


def cover(
    count: int,
    seed: int,
    *,
    items: int = 6,
    choose: int = 3,
    marks: int = 5,
    excluded: int = 2,
    ways: str | float = "many",
    held_out: bool = False,
) -> list[Problem]:
    """Draw items with marks, of which so many are to be chosen that together they have every mark.

    A question is the condition of `manypaths.verifiers.cover`: `2 of A12 B34 C134 D2 need 1234, not AC`.

    The held-out problems have items of their own: no other problem of which as many are chosen and as many marks are
    needed has the same ones, whatever pairs are excluded. The same items with other letters or marks count as others.

    Args:
        count: How many problems.
        seed: Of the random numbers.
        items: 2 to 12.
        choose: How many of them are chosen, 1 to 9.
        marks: How many marks are needed, 1 to 9; an item has one mark to about half of them.
        excluded: How many pairs of items must not be chosen together.
        ways: one, many (two or more right answers), any, or the share of problems with one.
        held_out: Which of the two parts the problems are drawn from.

    Returns:
        Problems whose `ways` are all right choices, each as letters in order, in the order of the letters.

    Raises:
        ValueError: A number is out of its range, or there are fewer than `count` different problems.
    """
    pairs = ["".join(pair) for pair in itertools.combinations(NAMES[:items], 2)]
    if not (2 <= items <= 12 and 1 <= choose <= min(9, items) and 1 <= marks <= 9 and 0 <= excluded <= len(pairs)):
        raise ValueError(
            "items must be 2 to 12, choose 1 to 9 of them, marks 1 to 9, and excluded a number of pairs, got "
            f"{items}, {choose}, {marks}, {excluded}."
        )
    need = "123456789"[:marks]

    def make(rng: random.Random, one: bool | None, is_wanted: Callable[[str], bool]) -> Instance | None:
        own = {item: rng.sample(need, rng.randint(1, (marks + 1) // 2)) for item in NAMES[:items]}
        if not is_wanted(condition(choose, own, need, [])):
            return None
        for _ in range(DRAWS):
            text = condition(choose, own, need, rng.sample(pairs, excluded))
            chosen = ("".join(letters) for letters in itertools.combinations(NAMES[:items], choose))
            answers = tuple(answer for answer in chosen if meets(answer, text))
            if answers and one in (None, len(answers) == 1):
                return Instance(text, text, answers)
        return None

    return draw("cover", count, seed, held_out, ways, make)
