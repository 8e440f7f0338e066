"""Curves as pictures: a measure over steps and hours, pass@K over accuracy, and what was logged in training."""

from __future__ import annotations

from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from manypaths.comparison.contents import LEAST_STEPS, Comparison, configurations, drawn_measures, heading, traded
from manypaths.comparison.numbers import COSTS, SHARE, Unit, number, unit_of
from manypaths.comparison.style import INK, PALE, look, percent
from manypaths.counts import ACCURACY
from manypaths.names import REWARD, metric, shown_metrics
from manypaths.names import SHARE as DIVERSITY_SHARE

BANDS = 8  # configurations up to so many have bands around their curves
TABLE_ONLY = (DIVERSITY_SHARE, REWARD)  # metrics of which a report has the mean over the training, and no curve


Point = tuple[float, float, float | None, float | None]  # across, value, low, high


@dataclass
class Panel:
    """One picture: a line with a band for each configuration."""

    title: str
    across: str  # the horizontal axis, "steps", "hours" or "accuracy"
    curves: dict[str, list[Point]] = field(default_factory=dict)
    level: float | None = None  # the target
    unit: Unit | None = None  # of a measure; None for a metric of the training

    @property
    def unit_across(self) -> Unit:
        return SHARE if self.across == ACCURACY else COSTS[self.across]

    @property
    def words(self) -> str:
        """A description for readers who do not see the picture."""

        def shown(value: float) -> str:
            return f"{value:.2f}" if self.unit is None else number(value, self.unit)

        described = [
            f"{name}: {shown(first)} at {number(start, self.unit_across)}, {shown(last)} at "
            f"{number(end, self.unit_across)}, highest {shown(max(point[1] for point in curve))}"
            for name, curve in self.curves.items()
            for (start, first, *_), (end, last, *_) in [(curve[0], curve[-1])]
        ]
        return f"{self.heading}. {'; '.join(described)}."

    @property
    def heading(self) -> str:
        return f"{self.title} over {self.across}"


def panels(comparison: Comparison) -> list[Panel]:
    """The curves of a comparison: of the metric and its counterpart, then of what was logged in training.

    A measure that was evaluated once has no curve.
    """
    drawn = []
    for name in drawn_measures(comparison):
        for key, across in (("step", "steps"), ("hours", "hours")):
            panel = Panel(heading(name), across, level=comparison["targets"][name]["value"], unit=unit_of(name))
            for configuration in configurations(comparison, name):
                points = [point for point in configuration["curve"] if point[key] is not None]
                if points:
                    curve = [(point[key], point["value"], point["low"], point["high"]) for point in points]
                    panel.curves[configuration["name"]] = curve
            if any(len(curve) > 1 for curve in panel.curves.values()):
                drawn.append(panel)
    logged = comparison["configurations"]
    for name in shown_metrics(
        name for configuration in logged for name in configuration["metrics"] if name not in TABLE_ONLY
    ):
        curves = {
            configuration["name"]: configuration["metrics"][name]
            for configuration in logged
            if name in configuration["metrics"]
        }
        drawn.append(Panel(metric(name).heading, "steps", curves))
    return drawn


def paths(comparison: Comparison) -> Panel | None:
    """pass@K over accuracy, a point for each evaluation; None where there are too few of them for paths."""
    pair = traded(comparison)
    if pair is None:
        return None
    panel = Panel(heading(pair[1]), ACCURACY, unit=unit_of(pair[1]))
    for across, up in zip(*(configurations(comparison, name) for name in pair), strict=True):
        steps = {point["step"]: point["value"] for point in across["curve"]}
        points = [(steps[point["step"]], point["value"]) for point in up["curve"] if point["step"] in steps]
        panel.curves[up["name"]] = [(x, y, None, None) for x, y in points]
    return panel if max(map(len, panel.curves.values())) >= LEAST_STEPS else None


def draw(panel: Panel, axes: Axes, names: list[str]) -> None:
    """Draw a panel into axes. A configuration has the same colour in every panel, by its place in `names`.

    With more than `BANDS` configurations only the baseline has its band, as the others would cover one another.
    """
    for name, curve in panel.curves.items():
        x, value, low, high = map(list, zip(*curve, strict=True))
        colour, line, marker = look(name, names)
        marker = marker if len(x) < 30 else ""
        axes.plot(x, value, color=colour, linestyle=line, linewidth=1.6, marker=marker, markersize=3.5, label=name)
        if None not in low + high and (len(names) <= BANDS or name == names[0]):
            axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
    if panel.level is not None:
        axes.axhline(panel.level, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
    if panel.across == ACCURACY:
        axes.xaxis.set_major_formatter(percent)
    if panel.unit is SHARE:
        axes.yaxis.set_major_formatter(percent)
    axes.set_title(panel.title if panel.unit is None else panel.heading)
    axes.set_xlabel(panel.across)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=panel.across == "steps"))
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    axes.margins(x=0.01)
