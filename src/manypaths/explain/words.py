"""How the table and the page name groups, completions and changes."""

from __future__ import annotations

import math

from manypaths.explain.summary import Change
from manypaths.logs import Log
from manypaths.logs.places import places

MINUS = "\u2212"


def names_of(log: Log) -> list[str]:
    """A name for each group, numbered within its step as on the page of a run: "step 3, group 0", or "group 0"."""
    return [f"group {number}" if step is None else f"step {step}, group {number}" for step, number in places(log)]


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
