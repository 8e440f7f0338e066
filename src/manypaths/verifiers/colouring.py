"""Colouring: a colour for each node of a small graph, so that joined nodes differ, and given nodes keep their colour.

A condition is `COLOURS colours of NODES nodes, joined AB AC, given A1`: nodes are letters from A on, colours digits
from 1 on, and either list may be empty. An answer is one digit for each node, in the order of the letters.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from manypaths.printable import shown
from manypaths.verifiers.verifier import Verifier

NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CONDITION = re.compile(
    r"([1-9]) colours of ([1-9]|1\d|2[0-6]) nodes, joined((?: [A-Z][A-Z])*), given((?: [A-Z][1-9])*)"
)
_ANSWER = re.compile(r"[1-9](?:[\s,]{0,2}[1-9])*")


class Graph(NamedTuple):
    """Colours are from 1 to `colours`, nodes from 0 to `nodes` - 1."""

    colours: int
    nodes: int
    edges: tuple[tuple[int, int], ...]
    given: tuple[tuple[int, int], ...]  # (node, its colour)


def condition(colours: int, nodes: int, edges: Iterable[tuple[int, int]], given: Mapping[int, int]) -> str:
    """The text of a condition, equal for equal graphs."""
    joined = "".join(f" {NAMES[a]}{NAMES[b]}" for a, b in sorted(edges))
    fixed = "".join(f" {NAMES[node]}{colour}" for node, colour in sorted(given.items()))
    return f"{colours} colours of {nodes} nodes, joined{joined}, given{fixed}"


@functools.lru_cache(maxsize=10_000)
def graph(text: str) -> Graph:
    """The graph of a condition.

    Raises:
        ValueError: it is none, or a node or colour in it is out of range, or joined to itself.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"A colouring must be '3 colours of 4 nodes, joined AB AC, given A1', got {shown(text)}.")
    colours, nodes = int(match[1]), int(match[2])
    edges = tuple((NAMES.index(pair[0]), NAMES.index(pair[1])) for pair in match[3].split())
    given = tuple((NAMES.index(fixed[0]), int(fixed[1])) for fixed in match[4].split())
    named = [node for edge in edges for node in edge] + [node for node, _ in given]
    if any(a == b for a, b in edges) or any(node >= nodes for node in named) or any(c > colours for _, c in given):
        raise ValueError(
            f"A colouring must join different nodes, and name its own nodes and colours, got {shown(text)}."
        )
    return Graph(colours, nodes, edges, given)


def layout(text: str) -> str | None:
    """The digits of an answer alone: 123 for `1 2 3` and `1, 2, 3`."""
    return re.sub(r"[\s,]", "", text) if _ANSWER.fullmatch(text) else None


def meets(answer: str, condition: str) -> bool:
    """Whether digits are a proper colouring."""
    own, colour = graph(condition), [int(digit) for digit in answer]
    return (
        len(colour) == own.nodes
        and max(colour) <= own.colours
        and all(colour[a] != colour[b] for a, b in own.edges)
        and all(colour[node] == fixed for node, fixed in own.given)
    )


VERIFIER = Verifier(layout, meets)
