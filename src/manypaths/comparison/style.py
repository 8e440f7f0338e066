"""What all pictures share: colours, lines, the legend, and how a page takes its pictures out of a figure."""

from __future__ import annotations

from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from manypaths.printable import one_line

INK, PALE = "#3c3947", "#d9d6e0"
COLOURS = ("#77738a", "#7a62d9", "#0d8a78", "#d0337f", "#b86e0c", "#2f7fc0", "#857414", "#c2562a")  # the baseline first
LINES = ("solid", "dashed", "dotted")  # after all colours the next of them
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
WIDE = 400  # points; axes that are wider get the width of the page
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">", "p", "h")  # twelve, so no two of 24 looks are alike
STYLE: dict[str, Any] = {
    "font.size": 9,
    "text.parse_math": False,  # a name may contain $
    "axes.edgecolor": PALE,
    "axes.facecolor": "none",
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


class Look(NamedTuple):
    """How a configuration looks in all pictures; forms tell colours apart for those who see few of them."""

    colour: str
    line: str  # solid, dashed or dotted
    marker: str  # one of `MARKERS`


def look(name: str, names: list[str]) -> Look:
    """The look of a name among others."""
    place = names.index(name)
    line = LINES[place // len(COLOURS) % len(LINES)]
    return Look(COLOURS[place % len(COLOURS)], line, MARKERS[place % len(MARKERS)])


def short(name: str, most: int = 50) -> str:
    """A name on one line, without control characters, cut off after `most` letters."""
    shown = one_line(name)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def percent(value: float, _: object = None) -> str:
    """A share on an axis."""
    return f"{100 * value:.3g} %"


def points(value: float, _: object = None) -> str:
    """A difference between shares on an axis, in points."""
    return f"{100 * value:+.3g}" if abs(value) > 1e-9 else "0"


def add_legend(figure: Figure, names: list[str], columns: int, **place: Any) -> None:
    """Add the names with their lines to a figure."""
    looks = [look(name, names) for name in names]
    handles = [
        Line2D([], [], color=colour, linestyle=line, marker=marker, markersize=5) for colour, line, marker in looks
    ]
    figure.legend(handles, [short(name) for name in names], ncols=columns, **place)


def cut_out(svg: str, figure: Figure) -> list[str]:
    """The axes of a figure as pictures of their own for a page: transparent, in the colours of the page.

    Args:
        svg: The figure as SVG. Drawing it once and cutting it takes a third of the time of drawing its axes again.
    """
    svg = svg.replace(INK, "currentColor").replace(PALE, "var(--line)")
    names = [f'<g id="axes_{number}">' for number in range(1, len(figure.axes) + 1)]
    starts = [svg.index(name) for name in names]
    definitions = svg.rindex("<defs>")  # of the clip paths, after the last group of the figure
    end = svg.find('<g id="legend_1">', starts[-1])
    ends = [*starts[1:], end if end >= 0 else svg.rindex("</g>", 0, definitions)]
    width, height = 72 * figure.get_size_inches()
    cut = []
    for axes, start, end in zip(figure.axes, starts, ends, strict=True):
        place = axes.get_position()
        left, top = width * place.x0 - 40, height * (1 - place.y1) - 22
        lines = axes.get_xlabel().count("\n")  # below the first
        size = f"{width * place.width + 54:.1f} {height * place.height + 56 + 13 * lines:.1f}"
        kind = 'class="wide" ' if width * place.width > WIDE else ""
        head = f'<svg {kind}xmlns="{SVG}" xmlns:xlink="{XLINK}" viewBox="{left:.1f} {top:.1f} {size}">'
        cut.append(head + svg[start:end] + svg[definitions:])
    return cut
