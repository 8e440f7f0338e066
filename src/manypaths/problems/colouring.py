"""Small graphs whose nodes are to be coloured, with all their proper colourings."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from manypaths.problems.instances import Instance, draw
from manypaths.problems.problem import Problem
from manypaths.verifiers.colouring import NAMES, condition


def colouring(
    count: int,
    seed: int,
    *,
    nodes: int = 6,
    colours: int = 3,
    joined: tuple[int, int] | list[int] | None = None,
    ways: str | float = "many",
    held_out: bool = False,
) -> list[Problem]:
    """Draw graphs that have a proper colouring, in which the first node has a colour.

    A question has a row for each node: its colour or `?`, and for each node before it the letter of that one where the
    two are joined, and a dot where they are not. `1 ?A ?.B` are three nodes, of which A is joined to B, and B to C; the
    answer `121` colours them. With one way, further nodes have a colour, as few as leave one colouring.

    The held-out problems have graphs of their own: no other problem of as many nodes and colours joins the same pairs,
    whatever is coloured. The same graph with other letters for its nodes counts as another one.

    Args:
        count: How many problems.
        seed: Of the random numbers.
        nodes: 2 to 9.
        colours: 2 to 9.
        joined: The least and the largest number of joined pairs; None for `nodes` to 1.5 times as many.
        ways: one, many (two or more right answers), any, or the share of problems with one.
        held_out: Which of the two parts the problems are drawn from.

    Returns:
        Problems whose `ways` are all proper colourings in the order of their digits.

    Raises:
        ValueError: A number is out of its range, or there are fewer than `count` different problems.
    """
    least, most = (nodes, nodes * 3 // 2) if joined is None else joined
    pairs = list(itertools.combinations(range(nodes), 2))
    if not (2 <= nodes <= 9 and 2 <= colours <= 9 and 0 <= least <= most):
        raise ValueError(
            f"nodes and colours must be 2 to 9, and joined two numbers in order, got {nodes}, {colours}, {joined}."
        )

    def make(rng: random.Random, one: bool | None, is_wanted: Callable[[str], bool]) -> Instance | None:
        planted = [rng.randint(1, colours) for _ in range(nodes)]  # so that there is a proper colouring
        free = [(a, b) for a, b in pairs if planted[a] != planted[b]]
        edges = sorted(rng.sample(free, min(len(free), rng.randint(least, most))))
        if len(edges) < least or not is_wanted(condition(colours, nodes, edges, {})):
            return None
        given, proper = {0: planted[0]}, proper_colourings(nodes, colours, edges, {0: planted[0]})
        for node in rng.sample(range(1, nodes), nodes - 1) if one else ():
            fixed = [way for way in proper if way[node] == planted[node]]
            if len(proper) > 1 and len(fixed) < len(proper):
                given[node], proper = planted[node], fixed
        if one is False and len(proper) < 2:
            return None
        answers = tuple("".join(map(str, way)) for way in proper)
        text = condition(colours, nodes, edges, given)
        return Instance(rows(nodes, edges, given), text, answers)

    return draw("colouring", count, seed, held_out, ways, make)


def rows(nodes: int, edges: list[tuple[int, int]], given: dict[int, int]) -> str:
    """The question of a graph, a row for each node."""
    joined = set(edges)
    before = ("".join(NAMES[a] if (a, b) in joined else "." for a in range(b)) for b in range(nodes))
    return " ".join(f"{given.get(node, '?')}{row}" for node, row in enumerate(before))


def proper_colourings(
    nodes: int, colours: int, edges: list[tuple[int, int]], given: dict[int, int]
) -> list[tuple[int, ...]]:
    """All proper colourings, in the order of their colours, by backtracking from node to node."""
    before: list[list[int]] = [[a for a, b in edges if b == node] for node in range(nodes)]
    partial: list[tuple[int, ...]] = [()]
    for node in range(nodes):
        allowed = [given[node]] if node in given else range(1, colours + 1)
        longer: list[tuple[int, ...]] = []
        for way in partial:
            taken = [way[a] for a in before[node]]
            longer += [(*way, own) for own in allowed if own not in taken]
        partial = longer
    return partial
