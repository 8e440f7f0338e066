"""Names beside the points of a picture, where they cover neither one another nor a point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

Place = tuple[float, float]  # across and up, in points of the picture
Box = tuple[float, float, float, float]  # left, bottom, right and top
LETTER, LINE = 5.6, 12.0  # the mean width of a letter, and the height of a line
MARKER = 5.0  # half the side of a point
NEAR = 14.0  # a name within this distance of its point needs no line to it
ROUNDS = 4  # in which each name may move again
HIDES, CROSSES, COVERS = 1000.0, 60.0, 6.0  # costs: of hiding a name or a point, of crossing a line, an interval


@dataclass
class Crowd:
    """What stands in a picture of this width and height before it has names."""

    width: float
    height: float
    points: list[Place]
    bars: list[Box] = field(default_factory=list)  # the intervals
    taken: list[Box] = field(default_factory=list)  # other words


def arrange(crowd: Crowd, texts: Sequence[str]) -> list[Box] | None:
    """The boxes of names, one for each point: near their points, free of all else.

    Each name in turn gets the place of the least cost, and may move when the others have theirs.

    Returns:
        None if there is no room for all of them.
    """
    markers = [_around(point, MARKER) for point in crowd.points]
    choices = []
    for place, (point, text) in enumerate(zip(crowd.points, texts, strict=True)):
        solid = [*markers[:place], *markers[place + 1 :], *crowd.taken]
        inside = [box for box in _choices(point, LETTER * len(text)) if _is_inside(box, crowd)]
        choices.append(sorted(((_own_cost(point, box, solid, crowd.bars), box) for box in inside), key=itemgetter(0)))
    if not all(choices):
        return None
    boxes: list[Box | None] = [None] * len(texts)
    for _ in range(ROUNDS):
        before = list(boxes)
        for place, point in enumerate(crowd.points):
            others = [(crowd.points[at], box) for at, box in enumerate(boxes) if box is not None and at != place]
            boxes[place] = _cheapest(point, choices[place], others)
        if boxes == before:
            break
    arranged = [box for box in boxes if box is not None]
    solid = [*markers, *crowd.taken]
    free = not any(cover(box, other) for box in arranged for other in solid)
    apart = not any(cover(box, other) for at, box in enumerate(arranged) for other in arranged[:at])
    return arranged if free and apart else None


def end_of_line(point: Place, box: Box) -> Place | None:
    """Where the line from a point to its name ends; None if the name is so near that it needs no line."""
    end = _nearest(point, box)
    return end if math.dist(point, end) > NEAR else None


def cover(first: Box, second: Box) -> bool:
    """Whether two boxes have a place in common."""
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _choices(point: Place, wide: float) -> Iterator[Box]:
    """Places for a name of this width: right and left of its point, then on circles around it."""
    x, y = point
    for up in (-LINE / 2, 3.0, -3.0 - LINE, 12.0, -12.0 - LINE):
        for start in (x + 8, x - 8 - wide):
            yield start, y + up, start + wide, y + up + LINE
    for radius in (20, 30, 42, 56, 72, 90, 110, 135):
        for turn in range(24):
            angle = math.tau * turn / 24
            across, middle = x + radius * math.cos(angle), y + radius * math.sin(angle)
            start = across - wide / 2 if turn in (6, 18) else across if math.cos(angle) > 0 else across - wide
            yield start, middle - LINE / 2, start + wide, middle + LINE / 2


def _cheapest(point: Place, choices: list[tuple[float, Box]], others: list[tuple[Place, Box]]) -> Box:
    """The place of the least cost beside the names of others; the choices have their own costs, the least first."""
    lines = [(start, stop) for start, box in others if (stop := end_of_line(start, box)) is not None]
    best, least = choices[0][1], math.inf
    for own, box in choices:
        if own >= least:
            break
        cost = own + HIDES * sum(cover(box, other) for _, other in others)
        cost += HIDES / 4 * sum(goes_through(line, box) for line in lines)
        end = end_of_line(point, box)
        if end is not None and cost < least:
            cost += CROSSES * sum(goes_through((point, end), other) for _, other in others)
            cost += CROSSES * sum(cross((point, end), line) for line in lines)
        if cost < least:
            best, least = box, cost
    return best


def _own_cost(point: Place, box: Box, solid: list[Box], bars: list[Box]) -> float:
    """What a place costs whatever the other names do: its distance, and what the name and its line would cover."""
    end = _nearest(point, box)
    cost = 0.3 * math.dist(point, end) + HIDES * sum(cover(box, other) for other in solid)
    cost += COVERS * sum(cover(box, bar) for bar in bars)
    if end_of_line(point, box) is not None:
        cost += CROSSES * sum(goes_through((point, end), other) for other in solid)
    return cost


def _nearest(point: Place, box: Box) -> Place:
    return min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])


def _around(point: Place, half: float) -> Box:
    return point[0] - half, point[1] - half, point[0] + half, point[1] + half


def _is_inside(box: Box, crowd: Crowd) -> bool:
    return box[0] >= 0 and box[2] <= crowd.width and box[1] >= 0 and box[3] <= crowd.height


def goes_through(line: tuple[Place, Place], box: Box) -> bool:
    """Whether a line goes through a box."""
    (left, low), (right, high) = line
    first, last = 0.0, 1.0  # the part of the line that is in the box
    for start, stop, least, most in ((left, right, box[0], box[2]), (low, high, box[1], box[3])):
        if start == stop:
            if not least < start < most:
                return False
            continue
        ends = sorted(((least - start) / (stop - start), (most - start) / (stop - start)))
        first, last = max(first, ends[0]), min(last, ends[1])
    return first < last


def cross(first: tuple[Place, Place], second: tuple[Place, Place]) -> bool:
    """Whether two lines cross."""

    def side(line: tuple[Place, Place], place: Place) -> bool:
        (x, y), (right, top) = line
        return (right - x) * (place[1] - y) > (top - y) * (place[0] - x)

    return side(first, second[0]) != side(first, second[1]) and side(second, first[0]) != side(second, first[1])
