"""Where a group of a log stands on the inspection page: its step, and its number within the step."""

from __future__ import annotations

from manypaths.logs import Log

Place = tuple[int | None, int]


def places(log: Log) -> list[Place]:
    """(step, number) of every group, in the order of the log.

    The number is the one that the log gives; else it counts the groups of the step from 0. Where a step has several
    groups of one number, later ones get the next free number, as on the page.
    """
    taken: set[Place] = set()
    result = []
    for group in log.groups:
        logged = group.extra.get("number")
        number = logged if isinstance(logged, int) and not isinstance(logged, bool) else 0
        while (group.step, number) in taken:
            number += 1
        taken.add((group.step, number))
        result.append((group.step, number))
    return result


def words(place: Place) -> str:
    """A place in words."""
    step, number = place
    return f"group {number}" if step is None else f"step {step} group {number}"
