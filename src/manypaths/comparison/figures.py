"""The pictures of a comparison in files: pass@K against accuracy, and curves."""

from __future__ import annotations

import math
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from manypaths.comparison import tradeoff
from manypaths.comparison.contents import Comparison
from manypaths.comparison.panels import Panel, draw, panels
from manypaths.comparison.style import STYLE, add_legend, inline_svg, short
from manypaths.files import whole

FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"dpi": 160, "pil_kwargs": {"compress_level": 3}},  # the usual level takes twice as long
    ".svg": {"metadata": {"Date": None}},
}


def save(comparison: Comparison, out: Path) -> list[tuple[str, str]]:
    """Write curves and tradeoff as .png and .svg into a folder, on white; a picture without values is removed.

    Returns:
        (description in words, SVG) of each picture for a page; transparent, in the colours of the page.
    """
    names = [configuration["name"] for configuration in comparison["configurations"]]
    trade, drawn, inline = tradeoff.tradeoff(comparison), panels(comparison), []
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the font lacks letters of some scripts
        _write(out / "tradeoff", None if trade is None else _tradeoff_figure(trade, names))
        _write(out / "curves", _curves_figure(drawn, names) if drawn else None)
        if trade is not None:
            inline.append((trade.words, inline_svg(partial(tradeoff.draw, trade, names=names))))
        for panel in drawn:
            inline.append((panel.words, inline_svg(partial(draw, panel, names=names))))
    return inline


def _write(path: Path, figure: Figure | None) -> None:
    for ending, options in FORMATS.items():
        if figure is None:
            path.with_suffix(ending).unlink(missing_ok=True)
        else:
            with whole(path.with_suffix(ending)) as file:
                figure.savefig(file, format=ending[1:], **options)


def _curves_figure(drawn: list[Panel], names: list[str]) -> Figure:
    """All panels, two in a row under a legend; the first of an odd number has a row of its own.

    A layout by matplotlib itself would take longer than everything else.
    """
    columns = min(2, len(drawn))
    rows, width, left = math.ceil(len(drawn) / columns), (6.4, 10)[columns - 1], (0.1, 0.06)[columns - 1]
    longest = max(len(short(name)) for name in names)
    in_a_row = max(1, min(len(names), int(11.5 * width / (longest + 8))))
    above = 0.45 + 0.2 * math.ceil(len(names) / in_a_row)  # inches
    height = 2.65 * rows + above
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.subplots_adjust(left, 0.5 / height, 0.98, 1 - above / height, wspace=0.16, hspace=0.42)
    add_legend(figure, names, in_a_row, loc="upper left", bbox_to_anchor=(left - 0.01, 1))
    grid = figure.add_gridspec(rows, columns)
    wide = len(drawn) % columns
    for place, panel in enumerate(drawn):
        row, column = divmod(place + wide, columns)
        draw(panel, figure.add_subplot(grid[0, :] if wide and place == 0 else grid[row, column]), names)
    return figure


def _tradeoff_figure(trade: tradeoff.Tradeoff, names: list[str]) -> Figure:
    """The picture, beside a legend where there are too many names for labels."""
    has_legend = len(names) > tradeoff.FEW
    height = max(4.4, 0.45 + 0.2 * len(names) * has_legend)
    letters = max(len(short(name)) for name in names) * has_legend
    width = 6.4 + (0.6 + 0.075 * letters) * has_legend
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.subplots_adjust(0.6 / width, 0.5 / height, 6.2 / width, 1 - 0.4 / height)
    if has_legend:
        add_legend(figure, names, 1, loc="upper left", bbox_to_anchor=(6.3 / width, 1))
    tradeoff.draw(trade, figure.subplots(), names)
    return figure
