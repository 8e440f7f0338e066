"""What all pictures share: colours, lines, the legend, and an SVG in the colours of a page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from manypaths.printable import one_line

INK, PALE = "#3c3947", "#d9d6e0"
COLOURS = ("#77738a", "#7a62d9", "#0d8a78", "#d0337f", "#b86e0c", "#2f7fc0", "#857414", "#c2562a")  # the baseline first
LINES = ("solid", "dashed", "dotted")  # after all colours the next of them
MARKERS = {"solid": "o", "dashed": "s", "dotted": "D"}
STYLE: dict[str, Any] = {
    "font.size": 9,
    "text.parse_math": False,  # a name may contain $
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titley": 1.0,  # a place of its own, since matplotlib takes long to find one
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelcolor": INK,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "manypaths",
}


def look(name: str, names: list[str]) -> tuple[str, str]:
    """The colour of a name among others, and "solid", "dashed" or "dotted"."""
    place = names.index(name)
    return COLOURS[place % len(COLOURS)], LINES[place // len(COLOURS) % len(LINES)]


def short(name: str, most: int = 50) -> str:
    """A name on one line, without control characters, cut off after `most` letters."""
    shown = one_line(name)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def percent(value: float, _: object = None) -> str:
    """A share on an axis."""
    return f"{100 * value:.3g} %"


def add_legend(figure: Figure, names: list[str], columns: int, **place: Any) -> None:
    """Add the names with their lines to a figure."""
    looks = [look(name, names) for name in names]
    handles = [
        Line2D([], [], color=colour, linestyle=dashes, marker=MARKERS[dashes], markersize=4) for colour, dashes in looks
    ]
    figure.legend(handles, [short(name) for name in names], ncols=columns, **place)


def inline_svg(draw_into: Callable[[Axes], None]) -> str:
    """A picture for a page; transparent, in the colours of the page."""
    figure = Figure(figsize=(5.2, 3.2), facecolor="none")
    figure.subplots_adjust(0.11, 0.14, 0.96, 0.9)
    axes = figure.subplots()
    axes.set_facecolor("none")
    draw_into(axes)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor").replace(PALE, "var(--line)")
    return re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
