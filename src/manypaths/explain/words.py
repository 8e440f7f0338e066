"""How the table and the page name groups, completions and changes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from manypaths.explain.summary import Change
from manypaths.logs import LoggedGroup

MINUS = "\u2212"


def names_of(groups: Sequence[LoggedGroup]) -> list[str]:
    """A name for each group: "step 3, group 0", numbered within its step as on the page of a run, or "group 0"."""
    counts: Counter[int | None] = Counter()
    names = []
    for group in groups:
        step = "" if group.step is None else f"step {group.step}, "
        names.append(f"{step}group {group.extra.get('number', counts[group.step])}")
        counts[group.step] += 1
    return names


def signed(value: float) -> str:
    """A number with two digits and its sign, 0 without one."""
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", MINUS)


def share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def change(moved: Change) -> str:
    """From which advantage to which, what became of the reward, and how like its siblings the completion is."""
    return f"{signed(moved.before)} to {signed(moved.after)}{because(moved)}"


def because(moved: Change) -> str:
    """Clauses on the reward of a completion and on its siblings, by what the method changes and compares."""
    clauses = []
    if moved.reweighted:
        kept = math.isclose(moved.reward, moved.adjusted, rel_tol=1e-5, abs_tol=1e-7)
        new = "was kept, that of others was changed" if kept else f"became {number(moved.adjusted)}"
        clauses.append(f"its reward, {number(moved.reward)}, {new}")
    if moved.same_way is not None:
        clauses.append(
            {0: "no other goes", 1: "1 other goes"}.get(moved.same_way, f"{moved.same_way} others go") + " its way"
        )
    elif (near := moved.neighbour) is not None:
        clauses.append(f"its nearest neighbour is completion {near.index}, similarity {near.similarity:.2f}")
    return "".join(f"; {clause}" for clause in clauses)


def number(value: float) -> str:
    """A number of any magnitude, with three significant digits."""
    return f"{value:.3g}".replace("-", MINUS)
