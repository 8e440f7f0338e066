"""Word problems that are made here: sums with one or two steps."""

from __future__ import annotations

import json
import random
import zlib
from importlib.resources import files
from typing import Any

from manypaths.problems.problem import Problem


def arithmetic(
    count: int, seed: int, *, largest: int = 9, kinds: list[str] | None = None, held_out: bool = False
) -> list[Problem]:
    """Draw different one- and two-step word problems, each with two or more natural solutions.

    A hash of a problem's kind and numbers, without names and things, decides whether it is held out. So problems with
    `held_out`, a quarter of all, and problems without it never share a sum, whatever their seeds.

    Args:
        count: How many problems.
        seed: Of the random numbers.
        largest: Operands are from 2 to this.
        kinds: The kinds of sums, such as three-piles; None for all.
        held_out: Which of the two parts the problems are drawn from.

    Returns:
        Problems whose `ways` are equations that end in the answer.

    Raises:
        ValueError: A kind is unknown, or there are fewer than `count` different problems.
    """
    stock = json.loads((files("manypaths") / "data" / "arithmetic.json").read_text("utf-8"))
    kinds = list(stock["kinds"]) if kinds is None else kinds
    if unknown := set(kinds) - set(stock["kinds"]):
        raise ValueError(f"Unknown kinds of sums: {', '.join(unknown)}. Known: {', '.join(stock['kinds'])}.")
    if not kinds or largest < 2:
        raise ValueError(f"kinds must name one kind or more and largest be 2 or more, got {kinds} and {largest}.")
    rng = random.Random(seed)
    problems: dict[str, Problem] = {}  # by question
    for _ in range(100 * count):
        kind = rng.choice(kinds)
        values = _values(rng, stock, largest)
        question = stock["kinds"][kind]["question"].format_map(values)
        ways = tuple(way.format_map(values) for way in stock["kinds"][kind]["ways"])
        is_held_out = zlib.crc32(f"{kind}: {ways[0]}".encode()) % 4 == 0
        if is_held_out == held_out and question not in problems:
            problems[question] = Problem(f"{kind}-{len(problems)}", question, ways[0].rpartition("= ")[2], ways)
        if len(problems) == count:
            return list(problems.values())
    raise ValueError(
        f"count must be at most the number of different sums of these kinds up to {largest}, got {count}. Lower it, or "
        "set a larger largest or more kinds."
    )


def _values(rng: random.Random, stock: dict[str, Any], largest: int) -> dict[str, Any]:
    """What a template of a question or solution may name."""
    a, b, c = (rng.randint(2, largest) for _ in range(3))
    values: dict[str, Any] = {"a": a, "b": b, "c": c}
    values |= {"a+b": a + b, "b+c": b + c, "a+b+c": a + b + c, "a*b": a * b, "a*c": a * c}
    values |= {"b*c": b * c, "(a+b)*c": (a + b) * c, "a*(b+c)": a * (b + c), "b_a_times": " + ".join([str(b)] * a)}
    return values | {"who": rng.choice(stock["who"]), "what": rng.choice(stock["what"])}
