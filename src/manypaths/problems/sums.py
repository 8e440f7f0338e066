"""Word problems made here: sums with one or two steps."""

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
    """`count` different one- and two-step word problems with operands from 2 to `largest`, drawn with `seed`.

    Each has two or more natural ways to work it out (`Problem.ways`, equations that end in the answer). What
    decides whether a problem is held out is a hash of its kind and numbers, not of names and things: a set with
    `held_out` (a quarter of all sums) never asks what a set without it asks, whatever the seeds. ValueError for
    an unknown kind and when there are not that many different problems.
    """
    stock = json.loads(files("manypaths").joinpath("data", "arithmetic.json").read_text("utf-8"))
    kinds = list(stock["kinds"]) if kinds is None else kinds
    if unknown := set(kinds) - set(stock["kinds"]):
        raise ValueError(f"Unknown kinds of sums: {', '.join(unknown)}. Known: {', '.join(stock['kinds'])}.")
    if not kinds or largest < 2:
        raise ValueError(f"Sums ask for one of kinds or more, and for largest >= 2; given {kinds}, {largest}.")
    rng = random.Random(seed)
    found: dict[str, Problem] = {}
    for _ in range(100 * count):
        kind = rng.choice(kinds)
        a, b, c = (rng.randint(2, largest) for _ in range(3))
        known: dict[str, Any] = {"a": a, "b": b, "c": c}
        known |= {"a+b": a + b, "b+c": b + c, "a+b+c": a + b + c, "a*b": a * b, "a*c": a * c}
        known |= {"b*c": b * c, "(a+b)*c": (a + b) * c, "a*(b+c)": a * (b + c), "b_a_times": " + ".join([str(b)] * a)}
        known |= {"who": rng.choice(stock["who"]), "what": rng.choice(stock["what"])}
        question = stock["kinds"][kind]["question"].format_map(known)
        ways = tuple(way.format_map(known) for way in stock["kinds"][kind]["ways"])
        is_held_out = zlib.crc32(f"{kind}: {ways[0]}".encode()) % 4 == 0
        if is_held_out == held_out and question not in found:
            found[question] = Problem(f"{kind}-{len(found)}", question, ways[0].rpartition("= ")[2], ways)
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"There are not {count} different sums of these kinds up to {largest}.")
