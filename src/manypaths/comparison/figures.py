"""The pictures of a comparison in files: pass@K against accuracy at the end and on the way, and curves."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from manypaths.comparison import tradeoff
from manypaths.comparison.contents import Comparison
from manypaths.comparison.panels import Panel, draw, panels, paths
from manypaths.comparison.style import STYLE, add_legend, cut_out, short
from manypaths.files import atomic_write, whole

BESIDE = 12  # names up to so many fit into the place of a panel
FEW = 6  # configurations up to so many fit into a small picture of pass@K against accuracy
SMALL, LARGE = (4.6, 3.1), (7.6, 4.8)  # inches, of its axes
PNG: dict[str, Any] = {
    "dpi": 128,
    "pil_kwargs": {"compress_level": 3},
}  # the usual level of compression takes twice as long


def save(comparison: Comparison, out: Path) -> list[tuple[str, str]]:
    """Write tradeoff, paths and curves as .png and .svg into a folder, on white; a picture without values is removed.

    Returns:
        (description in words, SVG) of each picture for a page; transparent, in the colours of the page.
    """
    names = [configuration["name"] for configuration in comparison["configurations"]]
    trade, path, drawn = tradeoff.tradeoff(comparison), paths(comparison), panels(comparison)
    words = [picture.words for picture in (trade, path, *drawn) if picture]
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the font lacks letters of some scripts
        inline = _write(out / "tradeoff", None if trade is None else _tradeoff_figure(trade, names))
        inline += _write(out / "paths", None if path is None else _paths_figure(path, names))
        inline += _write(out / "curves", _curves_figure(drawn, names) if drawn else None)
    return list(zip(words, inline, strict=True))


def _write(path: Path, figure: Figure | None) -> list[str]:
    """Write a figure, or remove an earlier one -> its axes as SVG for a page."""
    if figure is None:
        for ending in (".png", ".svg"):
            path.with_suffix(ending).unlink(missing_ok=True)
        return []
    with whole(path.with_suffix(".png")) as file:
        figure.savefig(file, format="png", **PNG)
    svg = io.StringIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    atomic_write(path.with_suffix(".svg"), svg.getvalue())
    return cut_out(svg.getvalue(), figure)


def _curves_figure(drawn: list[Panel], names: list[str]) -> Figure:
    """All panels, two in a row; the legend above them, or in the place that an odd number leaves.

    A layout by matplotlib itself would take longer than everything else.
    """
    columns = min(2, len(drawn))
    rows, width = math.ceil(len(drawn) / columns), (5.4, 10)[columns - 1]
    longest = max(len(short(name)) for name in names)
    in_a_row = max(1, min(len(names), int(11.5 * width / (longest + 8))))
    has_place = columns == 2 and len(drawn) % 2 == 1 and len(names) <= BESIDE
    above = 0.35 if has_place else 0.45 + 0.2 * math.ceil(len(names) / in_a_row)  # inches
    height = 2.65 * rows + above
    figure = Figure(figsize=(width, height), facecolor="white")
    sides = (0.6 / width, 0.5 / height, 1 - 0.2 / width, 1 - above / height)
    figure.subplots_adjust(*sides, wspace=0.16, hspace=0.42)
    grid = figure.add_gridspec(rows, columns)
    for place, panel in enumerate(drawn):
        draw(panel, figure.add_subplot(grid[divmod(place, columns)]), names)
    if has_place:
        corner = grid[rows - 1, 1].get_position(figure)
        add_legend(figure, names, 1, loc="upper left", bbox_to_anchor=(corner.x0 - 0.01, corner.y1 + 0.01))
    else:
        add_legend(figure, names, in_a_row, loc="upper left", bbox_to_anchor=(sides[0] - 0.01, 1))
    return figure


def _tradeoff_figure(trade: tradeoff.Tradeoff, names: list[str]) -> Figure:
    """The picture with names beside the points; with a legend beside it where there is no room for them."""
    size = SMALL if len(names) <= FEW else LARGE
    below = 0.5 + 0.18 * len(trade.signs)  # inches
    for letters in (0, max(len(short(name)) for name in names)):  # of a legend
        beside = (0.6 + 0.075 * letters) * (letters > 0)
        height = max(size[1] + below + 0.4, (0.45 + 0.2 * len(names)) * (letters > 0))
        width = size[0] + 0.8 + beside
        figure = Figure(figsize=(width, height), facecolor="white")
        places = (0.6, height - 0.4 - size[1], 0.6 + size[0], height - 0.4)
        figure.subplots_adjust(places[0] / width, places[1] / height, places[2] / width, places[3] / height)
        if letters:
            add_legend(figure, names, 1, loc="upper left", bbox_to_anchor=((places[2] + 0.1) / width, 1))
        if tradeoff.draw(trade, figure.subplots(), names):
            break
    return figure


def _paths_figure(panel: Panel, names: list[str]) -> Figure:
    """The paths of pass@K over accuracy, with the legend beside them."""
    size = SMALL if len(names) <= FEW else LARGE
    beside = 0.6 + 0.075 * max(len(short(name)) for name in names)  # inches
    height = max(size[1] + 0.9, 0.45 + 0.2 * len(names))
    width = size[0] + 0.8 + beside
    figure = Figure(figsize=(width, height), facecolor="white")
    left, right, bottom, top = 0.6, 0.6 + size[0], height - 0.4 - size[1], height - 0.4
    figure.subplots_adjust(left / width, bottom / height, right / width, top / height)
    add_legend(figure, names, 1, loc="upper left", bbox_to_anchor=((right + 0.1) / width, 1))
    draw(panel, figure.subplots(), names)
    return figure
