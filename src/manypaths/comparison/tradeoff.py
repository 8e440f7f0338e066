"""pass@K against accuracy at the end, the trade that diversity makes: points with two intervals.

With a baseline the points are differences from it, which the tables have too: with paired seeds their intervals are
without the luck that both share. A configuration alone is a point with its own intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from manypaths.comparison.contents import DIFFERENCE, Comparison, configurations, heading, traded
from manypaths.comparison.labels import LETTER, LINE, Crowd, arrange, end_of_line
from manypaths.comparison.numbers import amount, unit_of, with_interval
from manypaths.comparison.style import INK, PALE, look, percent, points, short
from manypaths.counts import ACCURACY

HIGHER = "both higher"
LABELLED = 24  # configurations up to so many have their names beside their points


@dataclass
class Point:
    """A configuration: accuracy across, pass@K upwards, or the differences from the baseline in them."""

    name: str
    x: float
    y: float
    x_interval: tuple[float, float] | None  # None where an end is unbounded, and for the baseline of differences
    y_interval: tuple[float, float] | None
    words: str
    is_shown: bool = True  # whether one of its differences is, after the correction of the comparison


@dataclass
class Tradeoff:
    """The points of all configurations, the baseline first."""

    pair: tuple[str, str]  # across and upwards
    points: list[Point]
    margin: float | None = None  # of accuracy, as a share

    @property
    def baseline(self) -> str | None:
        """The baseline from which the points differ; None for the values of a configuration alone."""
        return self.points[0].name if len(self.points) > 1 else None

    @property
    def heading(self) -> str:
        """What the picture shows."""
        minus = f", minus {short(self.baseline, 30)}" if self.baseline else ""
        return f"{heading(self.pair[1])} against {self.pair[0]}{minus}, at the end"

    @property
    def words(self) -> str:
        """A description for readers who do not see the picture."""
        signs = "".join(f" {sign[:1].upper()}{sign[1:]}." for sign in self.signs)
        return f"{self.heading}. {'; '.join(point.words for point in self.points)}.{signs}"

    @property
    def signs(self) -> list[str]:
        """What hollow points and the dashed line mean, where there are any."""
        signs = []
        if not all(point.is_shown for point in self.points):
            signs.append("hollow: neither difference is shown")
        if self.margin is not None:
            signs.append(f"dashed line: {amount(self.margin, unit_of(ACCURACY))} lower in accuracy, the margin")
        return signs


def tradeoff(comparison: Comparison) -> Tradeoff | None:
    """The picture of a comparison; None without pass@K and accuracy."""
    pair = traded(comparison)
    if pair is None:
        return None
    base, *others = zip(*(configurations(comparison, name) for name in pair), strict=True)
    trade = Tradeoff(pair, [_own(pair, base), *(_difference(pair, sides) for sides in others)])
    if others:
        trade.points[0].x = trade.points[0].y = 0.0
        trade.points[0].x_interval = trade.points[0].y_interval = None
        trade.margin = comparison["margin"]
    return trade


def _own(pair: tuple[str, str], sides: tuple[Comparison, ...]) -> Point:
    """The values of a configuration."""
    across, up = (side["last"] for side in sides)
    words = ", ".join(
        f"{name} {with_interval(item, unit_of(name))}" for name, item in zip(pair, (across, up), strict=True)
    )
    name = sides[0]["name"]
    return Point(name, across["value"], up["value"], _interval(across), _interval(up), f"{name}: {words}")


def _difference(pair: tuple[str, str], sides: tuple[Comparison, ...]) -> Point:
    """The differences of a configuration from the baseline."""
    across, up = (side["against"]["last"] for side in sides)
    words = ", ".join(
        f"{name} {with_interval(item, unit_of(name), signed=True)} {unit_of(name).of_difference}, {item['verdict']}"
        for name, item in zip(pair, (across, up), strict=True)
    )
    is_shown = any(item["verdict"] in DIFFERENCE for item in (across, up))
    name = sides[0]["name"]
    return Point(name, across["value"], up["value"], _interval(across), _interval(up), f"{name}: {words}", is_shown)


def _interval(item: Comparison) -> tuple[float, float] | None:
    return None if item["low"] is None or item["high"] is None else (item["low"], item["high"])


def draw(trade: Tradeoff, axes: Axes, names: list[str]) -> bool:
    """Draw a cross of both intervals for each configuration, and a ring around the baseline.

    Names stand beside the points where there is room for them. The point of a configuration of which no difference is
    shown is hollow.

    Returns:
        Whether the names are there; else the picture needs a legend.
    """
    base = trade.points[0]
    for point in trade.points:
        colour, _, marker = look(point.name, names)
        for bar, across in ((point.x_interval, True), (point.y_interval, False)):
            if bar is not None:
                ends = (bar, (point.y, point.y)) if across else ((point.x, point.x), bar)
                axes.plot(*ends, color=colour, linewidth=1.3, alpha=0.6, solid_capstyle="butt")
        fill = "full" if point.is_shown else "none"
        axes.plot([point.x], [point.y], color=colour, marker=marker, markersize=6.5, linestyle="", fillstyle=fill)
    axes.plot([base.x], [base.y], color=INK, marker="o", markersize=13, fillstyle="none", linestyle="")
    if trade.margin is not None:
        axes.axvline(-trade.margin, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    axes.margins(0.06)
    axes.autoscale_view()
    for line, value in ((axes.axvline, base.x), (axes.axhline, base.y)):
        line(value, color=PALE, linewidth=1.2, zorder=0)
    _scale(trade, axes)
    axes.set_title(trade.heading)
    return _label(trade, axes, names)


def _scale(trade: Tradeoff, axes: Axes) -> None:
    """Set limits and ticks; with a baseline, shade where both measures are higher, and say what the signs mean."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    if trade.baseline:
        axes.fill_between([0, right], 0, top, color=PALE, alpha=0.4, linewidth=0, zorder=-1)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(points if trade.baseline else percent)
    axes.grid(color=PALE, linewidth=0.4)
    axes.set_xlabel("\n".join([f"{trade.pair[0]}, points" if trade.baseline else trade.pair[0], *trade.signs]))


def _label(trade: Tradeoff, axes: Axes, names: list[str]) -> bool:
    """Write names beside the points -> whether there was room."""
    width, height = (72 / axes.figure.dpi * pixels for pixels in axes.get_window_extent().size)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()

    def place(x: float, y: float) -> tuple[float, float]:
        """A point of the axes in points of the picture."""
        return (x - left) / (right - left) * width, (y - bottom) / (top - bottom) * height

    crowd = Crowd(width, height, [place(point.x, point.y) for point in trade.points])
    for point in trade.points:
        if point.x_interval is not None:
            crowd.bars.append((*place(point.x_interval[0], point.y), *place(point.x_interval[1], point.y)))
        if point.y_interval is not None:
            crowd.bars.append((*place(point.x, point.y_interval[0]), *place(point.x, point.y_interval[1])))
    if trade.margin is not None:
        across, _ = place(-trade.margin, 0)
        crowd.bars.append((across, 0, across, height))
    if trade.baseline:
        axes.annotate(HIGHER, (1, 1), (-4, -4), "axes fraction", textcoords="offset points", ha="right", va="top")
        crowd.taken.append((width - 4 - LETTER * len(HIGHER), height - 4 - LINE, width, height))
    texts = [short(point.name, 26) + " (baseline)" * (point is trade.points[0]) for point in trade.points]
    boxes = arrange(crowd, texts) if len(texts) <= LABELLED else None
    for point, start, text, box in zip(trade.points, crowd.points, texts, boxes or [], strict=bool(boxes)):
        end = end_of_line(start, box)
        if end is not None:
            line = {"arrowstyle": "-", "color": look(point.name, names).colour, "linewidth": 0.7, "shrinkA": 0}
            offset = (end[0] - start[0], end[1] - start[1])
            axes.annotate("", (point.x, point.y), offset, textcoords="offset points", arrowprops=line)
        side, edge = ("left", box[0]) if box[0] > start[0] else ("right", box[2])
        offset = (edge - start[0], box[1] - start[1])
        axes.annotate(text, (point.x, point.y), offset, textcoords="offset points", ha=side, va="bottom")
    return boxes is not None
