"""The curves of a comparison as pictures by matplotlib: accuracy over steps and hours, metrics over steps."""

from __future__ import annotations

import io
import math
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from manypaths.files import whole
from manypaths.names import REWARD, SHARE, metric, shown_metrics

Comparison = dict[str, Any]  # of `manypaths.comparison.compare.compare`
INK, PALE = "#3c3947", "#d9d6e0"
COLOURS = ("#77738a", "#7a62d9", "#0d8a78", "#d0337f", "#b86e0c", "#2f7fc0", "#857414", "#c2562a")  # the baseline first
STYLE: dict[str, Any] = {
    "font.size": 9,
    "text.parse_math": False,  # a name may contain $
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelcolor": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "manypaths",
}

TABLE_ONLY = (SHARE, REWARD)  # metrics of which a report has the mean over the training, and no curve


@dataclass
class Panel:
    """One picture: a line with a band for each configuration."""

    title: str
    across: str  # the horizontal axis, "steps" or "hours"
    curves: dict[str, list[tuple[float, float, float, float]]] = field(default_factory=dict)  # x, value, low, high
    level: float | None = None  # the target
    share: bool = False  # whether values are shown as percentages

    @property
    def words(self) -> str:
        """A description for readers who do not see the picture."""
        value, at = ("{:.1%}" if self.share else "{:.2f}"), (",.0f" if self.across == "steps" else ".3g")
        described = [
            f"{name}: {value.format(first)} at {start:{at}}, {value.format(last)} at {end:{at}}, highest "
            + value.format(max(point[1] for point in curve))
            for name, curve in self.curves.items()
            for (start, first, *_), (end, last, *_) in [(curve[0], curve[-1])]
        ]
        return f"{self.heading}. {'; '.join(described)}."

    @property
    def heading(self) -> str:
        return f"{self.title} over {self.across}"


def panels(comparison: Comparison) -> list[Panel]:
    """The pictures of a comparison: accuracy, then each metric that was logged; none without a curve."""
    configurations, level = comparison["configurations"], comparison["targets"][comparison["metric"]]["value"]
    drawn = []
    for key, across in (("step", "steps"), ("hours", "hours")):
        panel = Panel("Accuracy", across, level=level, share=True)
        for configuration in configurations:
            points = [
                point for point in configuration["measures"][comparison["metric"]]["curve"] if point[key] is not None
            ]
            if points:
                curve = [(point[key], point["value"], point["low"], point["high"]) for point in points]
                panel.curves[configuration["name"]] = curve
        drawn.append(panel)
    for name in shown_metrics(
        name for configuration in configurations for name in configuration["metrics"] if name not in TABLE_ONLY
    ):
        curves = {
            configuration["name"]: configuration["metrics"][name]
            for configuration in configurations
            if name in configuration["metrics"]
        }
        drawn.append(Panel(metric(name).heading, "steps", curves))
    return [panel for panel in drawn if panel.curves]


def draw(panel: Panel, axes: Axes, names: list[str]) -> None:
    """Draw a panel into axes. A configuration has the same colour in every panel, by its place in `names`."""
    for name, curve in panel.curves.items():
        x, value, low, high = map(list, zip(*curve, strict=True))
        colour, dashes = look(name, names)
        label = f" {name}" if name.startswith("_") else name  # matplotlib omits names with a leading _ from a legend
        axes.plot(
            x, value, color=colour, linestyle=dashes, linewidth=1.6, marker="o" if len(x) < 30 else "", markersize=3
        )
        axes.lines[-1].set_label(label)
        if None not in low + high:
            axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
    if panel.level is not None:
        axes.axhline(panel.level, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
    if panel.share:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_title(panel.heading if panel.share else panel.title)
    axes.set_xlabel(panel.across)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=panel.across == "steps"))
    axes.grid(axis="y", color=PALE, linewidth=0.5)
    axes.margins(x=0.01)


def look(name: str, names: list[str]) -> tuple[str, str]:
    """The colour of a name among others, and "solid" or "dashed"."""
    place = names.index(name)
    return COLOURS[place % len(COLOURS)], ("solid" if place < len(COLOURS) else "dashed")


def save(drawn: list[Panel], out: Path) -> None:
    """Write all panels as curves.png and curves.svg into a folder, on white."""
    rows = (len(drawn) + 1) // 2
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        names = list(drawn[0].curves)
        short = [name if len(name) <= 50 else f"{name[:47]}..." for name in names]
        columns = max(1, min(len(names), int(115 / (max(map(len, short)) + 8))))
        above = 0.45 + 0.2 * math.ceil(len(names) / columns)
        height = 2.65 * rows + above  # inches; a layout by matplotlib itself would take longer than everything else
        figure = Figure(figsize=(10, height), facecolor="white")
        figure.subplots_adjust(0.06, 0.5 / height, 0.98, 1 - above / height, wspace=0.16, hspace=0.42)
        axes = figure.subplots(rows, 2, squeeze=False).flat
        for place, panel in zip(axes, [*drawn, *[None] * (2 * rows - len(drawn))], strict=True):
            if panel is None:
                place.axis("off")
            else:
                draw(panel, place, names)
        handles, _ = axes[0].get_legend_handles_labels()
        figure.legend(handles, short, loc="upper left", bbox_to_anchor=(0.05, 1), ncols=columns)
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the font lacks letters of some scripts
        with whole(out / "curves.png") as path:
            figure.savefig(path, format="png", dpi=160)
        with whole(out / "curves.svg") as path:
            figure.savefig(path, format="svg", metadata={"Date": None})


def inline(drawn: list[Panel]) -> list[tuple[str, str]]:
    """(description in words, SVG) of each panel for a page; transparent, in the colours of the page."""
    names = list(drawn[0].curves)
    return [(panel.words, _svg(panel, names)) for panel in drawn]


def _svg(panel: Panel, names: list[str]) -> str:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.2), facecolor="none")
        figure.subplots_adjust(0.11, 0.14, 0.98, 0.9)
        axes = figure.subplots()
        axes.set_facecolor("none")
        draw(panel, axes, names)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace(PALE, "var(--line)")
    return re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
