"""How the table and the page name groups, completions and changes."""

from __future__ import annotations

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
    """From which advantage to which, and how like its siblings the completion is."""
    return f"{signed(moved.before)} to {signed(moved.after)}{because(moved)}"


def because(moved: Change) -> str:
    """A clause on the siblings of a completion, by what the method compares; empty where it compares nothing."""
    if moved.same_way is not None:
        others = {0: "no other completion goes", 1: "1 other goes"}.get(moved.same_way, f"{moved.same_way} others go")
        return f"; {others} its way"
    if (near := moved.neighbour) is not None:
        return f"; its nearest neighbour is completion {near.index}, similarity {near.similarity:.2f}"
    return ""
