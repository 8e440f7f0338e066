"""pass@K against accuracy at the end: the trade that diversity makes, as points with two intervals."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from manypaths.comparison.contents import Comparison, configurations, heading, traded
from manypaths.comparison.numbers import unit_of, with_interval
from manypaths.comparison.style import INK, MARKERS, PALE, look, percent, short

Box = tuple[float, float, float, float]  # left, bottom, right and top, in points
FEW = 6  # configurations up to so many have their names beside their points
LETTER = 5.4  # points, the mean width of a letter


@dataclass
class Point:
    """A configuration: accuracy across, pass@K upwards."""

    name: str
    x: float
    y: float
    x_interval: tuple[float, float] | None  # None where an end is unbounded
    y_interval: tuple[float, float] | None
    words: str


@dataclass
class Tradeoff:
    """The points of all configurations, the baseline first."""

    heading: str
    across: str
    points: list[Point]

    @property
    def words(self) -> str:
        """A description for readers who do not see the picture."""
        return f"{self.heading}, at the end. {'; '.join(point.words for point in self.points)}."


def tradeoff(comparison: Comparison) -> Tradeoff | None:
    """The picture of a comparison, with the largest K that all evaluations have; None without pass@K and accuracy."""
    pair = traded(comparison)
    if pair is None:
        return None
    sides = zip(*(configurations(comparison, name) for name in pair), strict=True)
    points = [
        Point(
            x["name"],
            x["last"]["value"],
            y["last"]["value"],
            _interval(x["last"]),
            _interval(y["last"]),
            f"{x['name']}: " + ", ".join(_shown(name, side["last"]) for name, side in zip(pair, (x, y), strict=True)),
        )
        for x, y in sides
    ]
    return Tradeoff(f"{heading(pair[1])} against {pair[0]}", pair[0], points)


def _shown(name: str, last: Comparison) -> str:
    return f"{name} {with_interval(last, unit_of(name))}"


def _interval(last: Comparison) -> tuple[float, float] | None:
    return None if last["low"] is None or last["high"] is None else (last["low"], last["high"])


def draw(trade: Tradeoff, axes: Axes, names: list[str]) -> None:
    """Draw a cross of both intervals for each configuration, and a ring around the baseline.

    Names stand beside the points where there are few.
    """
    base = trade.points[0]
    for point in trade.points:
        colour, dashes = look(point.name, names)
        for bar, across in ((point.x_interval, True), (point.y_interval, False)):
            if bar is not None:
                ends = (bar, (point.y, point.y)) if across else ((point.x, point.x), bar)
                axes.plot(*ends, color=colour, linewidth=1.3, alpha=0.6, solid_capstyle="butt")
        size = 8 if point is base else 6
        axes.plot([point.x], [point.y], color=colour, marker=MARKERS[dashes], markersize=size, linestyle="")
    axes.plot([base.x], [base.y], color=INK, marker="o", markersize=13, fillstyle="none", linestyle="")
    for line, value in ((axes.axvline, base.x), (axes.axhline, base.y)):
        line(value, color=PALE, linewidth=1.2, zorder=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(percent)
    axes.grid(color=PALE, linewidth=0.4)
    axes.set_title(f"{trade.heading}, at the end")
    axes.set_xlabel(trade.across)
    axes.margins(0.06)
    if len(trade.points) <= FEW:
        _label(trade, axes)


def _label(trade: Tradeoff, axes: Axes) -> None:
    """Write names beside the points, each where it covers no other name and no point, and the fewest intervals."""
    width, height = (72 / axes.figure.dpi * pixels for pixels in axes.get_window_extent().size)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()

    def place(x: float, y: float) -> tuple[float, float]:
        """A point of the axes in points of the picture."""
        return (x - left) / (right - left) * width, (y - bottom) / (top - bottom) * height

    points = [place(point.x, point.y) for point in trade.points]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    bars = []
    for point in trade.points:
        if point.x_interval is not None:
            bars.append((*place(point.x_interval[0], point.y), *place(point.x_interval[1], point.y)))
        if point.y_interval is not None:
            bars.append((*place(point.x, point.y_interval[0]), *place(point.x, point.y_interval[1])))
    for point, (x, y) in zip(trade.points, points, strict=True):
        text = short(point.name, 26) + " (baseline)" * (point is trade.points[0])
        boxes = _around(x, y, LETTER * len(text))
        inside = [box for box in boxes if box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height]
        free = [box for box in inside if not any(_cover(box, other) for other in taken)]
        box = min(free or inside or boxes, key=lambda box: sum(_cover(box, bar) for bar in bars))
        taken.append(box)
        side, edge = ("left", box[0]) if box[0] > x else ("right", box[2])
        offset, at = (edge - x, box[1] - y), (point.x, point.y)
        axes.annotate(text, at, offset, textcoords="offset points", ha=side, va="bottom")


def _around(x: float, y: float, wide: float) -> list[Box]:
    """Places for a text of this width beside a point, the nearest first."""
    return [
        (start, y + up, start + wide, y + up + 10)
        for up in (4.0, -14.0, 16.0, -26.0, 28.0, -38.0)
        for start in (x + 9, x - 9 - wide)
    ]


def _cover(first: Box, second: Box) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
