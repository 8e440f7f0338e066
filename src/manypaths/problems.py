"""Problems to train on and to measure with: arithmetic made here, GSM8K, SVAMP, a hub data set, a JSON file.

A problem is a question in words and its gold answer. `load` reads a set by name or path and says at
once, before any model is loaded, what is missing. `PROMPT` is the default way to put a question.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

PROMPT = "{question} Put the final answer in \\boxed{{}}."


@dataclass(frozen=True)
class Problem:
    """One problem: `id` is unique in its set; `ways` are worked solutions where the set has them."""

    id: str
    question: str
    answer: str
    ways: tuple[str, ...] = field(default=())


NAMES = ("Ana", "Ben", "Chloe", "David", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jamal", "Kate", "Leo")
THINGS = ("apples", "books", "pens", "coins", "cards", "stamps", "shells", "cups", "balls", "keys")

# A kind of word problem: two or three numbers in, the question and one or more ways to work it out.
# A way is a chain of equations, each of which a reader can check; the last right-hand side is the answer.
Numbers = tuple[int, int, int]
Kind = Callable[[Numbers, str, str], tuple[str, list[str]]]


def _gain(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, _ = n
    return (
        f"{who} has {a} {what} and gets {b} more. How many {what} does {who} have?",
        [f"{a} + {b} = {a + b}", f"{b} + {a} = {a + b}"],
    )


def _loss(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, _ = n
    return (
        f"{who} has {a + b} {what} and gives away {b}. How many {what} are left?",
        [f"{a + b} - {b} = {a}", f"{b} + {a} = {a + b}, so {a + b} - {b} = {a}"],
    )


def _bags(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, _ = n
    return (
        f"{who} fills {a} bags with {b} {what} each. How many {what} is that?",
        [f"{a} * {b} = {a * b}", f"{' + '.join([str(b)] * a)} = {a * b}"],
    )


def _share(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, _ = n
    return (
        f"{who} shares {a * b} {what} among {a} friends. How many {what} does each friend get?",
        [f"{a * b} / {a} = {b}", f"{a} * {b} = {a * b}, so {a * b} / {a} = {b}"],
    )


def _three_piles(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, c = n
    return (
        f"{who} has {a} red, {b} blue and {c} green {what}. How many {what} does {who} have?",
        [
            f"{a} + {b} + {c} = {a + b + c}",
            f"{a} + {b} = {a + b}, {a + b} + {c} = {a + b + c}",
            f"{b} + {c} = {b + c}, {a} + {b + c} = {a + b + c}",
        ],
    )


def _gain_then_loss(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, c = n
    b = b + c  # so that the shortcut through the net change stays positive
    return (
        f"{who} has {a} {what}, gets {b} more and loses {c}. How many {what} does {who} have?",
        [
            f"{a} + {b} - {c} = {a + b - c}",
            f"{a} + {b} = {a + b}, {a + b} - {c} = {a + b - c}",
            f"{b} - {c} = {b - c}, {a} + {b - c} = {a + b - c}",
        ],
    )


def _two_colours(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, c = n
    return (
        f"{who} has {a} red boxes and {b} blue boxes with {c} {what} each. How many {what} is that?",
        [
            f"{a} + {b} = {a + b}, {a + b} * {c} = {(a + b) * c}",
            f"{a} * {c} = {a * c}, {b} * {c} = {b * c}, {a * c} + {b * c} = {(a + b) * c}",
        ],
    )


def _discount(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, c = n
    return (
        f"{who} buys {a} {what} for {b + c} dollars each, but {c} dollars off each. How many dollars is that?",
        [
            f"{b + c} - {c} = {b}, {a} * {b} = {a * b}",
            f"{a} * {b + c} = {a * (b + c)}, {a} * {c} = {a * c}, {a * (b + c)} - {a * c} = {a * b}",
        ],
    )


KINDS: dict[str, Kind] = {
    "gain": _gain,
    "loss": _loss,
    "bags": _bags,
    "share": _share,
    "three-piles": _three_piles,
    "gain-then-loss": _gain_then_loss,
    "two-colours": _two_colours,
    "discount": _discount,
}


def arithmetic(
    count: int, *, seed: int, largest: int = 9, kinds: Iterable[str] = tuple(KINDS), held_out: bool = False
) -> list[Problem]:
    """`count` different one- and two-step word problems with operands in 2..`largest`, from `seed`.

    Every question has at least two natural ways to work it out (`Problem.ways`). Questions are split by
    a hash of their numbers and kind, not of their wording: a set with `held_out` never asks for a sum that
    one without asks for, whatever the seeds. Raises ValueError when there are too few different questions.
    """
    kinds = list(kinds)
    rng = random.Random(f"{seed}")
    found: dict[str, Problem] = {}
    for _ in range(200 * count):
        if len(found) == count:
            break
        kind = rng.choice(kinds)
        numbers = (rng.randint(2, largest), rng.randint(2, largest), rng.randint(2, largest))
        question, ways = KINDS[kind](numbers, rng.choice(NAMES), rng.choice(THINGS))
        if (zlib.crc32(f"{kind}: {ways[0]}".encode()) % 4 == 0) == held_out:
            found[question] = Problem(f"{kind}-{len(found)}", question, ways[0].rsplit("= ", 1)[1], tuple(ways))
    return list(found.values())
