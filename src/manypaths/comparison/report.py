"""A comparison in files: Markdown, which the terminal shows too, CSV, JSON, pictures and a self-contained page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from manypaths.comparison.contents import Comparison
from manypaths.comparison.csv_rows import lines
from manypaths.comparison.page import page
from manypaths.comparison.planned import answers
from manypaths.comparison.sentences import joined, lead, remarks
from manypaths.comparison.tables import tables
from manypaths.files import atomic_write
from manypaths.printable import one_line, shown
from manypaths.tables import markdown

# What a name could do in Markdown: emphasis, a link or picture, HTML, an entity; a list, heading or quotation.
MARKS = re.compile(r"[\\*~]|\](?=[(\[])|<(?=[A-Za-z/!?])|&(?=#?\w+;)|^(?:[-+](?=\s)|#(?=#{0,5}\s)|>)")


def text(comparison: Comparison, safe: Callable[[str], str] = one_line) -> str:
    """The whole comparison as Markdown, which the terminal shows too.

    Args:
        safe: What is done to each sentence, heading and cell; `for_markdown` in a file.
    """
    return "\n\n".join(_paragraphs(comparison, safe))


def _paragraphs(comparison: Comparison, safe: Callable[[str], str]) -> Iterator[str]:
    def shown(title: str, rows: list[list[str]]) -> str:
        return f"## {safe(title)}\n\n{markdown([[safe(cell) for cell in row] for row in rows])}"

    yield safe(lead(comparison))
    *planned, rest = answers(comparison)
    for section in planned:
        yield f"# {safe(section.heading)}"
        yield from (shown(*table) for table in section.tables)
        yield from map(safe, section.sentences)
    if rest.heading:
        yield f"# {safe(rest.heading)}"
    yield from (shown(*table) for table in (*tables(comparison), *rest.tables))
    yield from map(safe, (*rest.sentences, *remarks(comparison)))
    yield from (safe(f"Note: {note}") for note in joined(comparison["notes"]))
    yield from (safe(f"Left out: {sentence}") for sentence in joined(comparison["left_out"]))


def for_markdown(text: str) -> str:
    """Text on one line in which no character of a name has a meaning in Markdown, but for pairs of backticks.

    Bars are escaped by `manypaths.tables.markdown`.
    """
    shown = MARKS.sub(lambda match: f"\\{match[0]}", one_line(text))
    return shown.replace("`", "\\`") if shown.count("`") % 2 else shown


def write(comparison: Comparison, out: Path) -> Path:
    """Write comparison.md, .csv and .json, report.html, and the pictures tradeoff, paths and curves as .png and .svg.

    A picture for which there are no values is not written, and one of an earlier comparison is removed.

    Returns:
        The path of report.html.

    Raises:
        ValueError: The folder cannot be made.
    """
    from manypaths.comparison import figures, style

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"--out must be a folder that can be written, got {shown(out)}: {error}. Name another."
        ) from error
    atomic_write(out / "comparison.md", text(comparison, for_markdown) + "\n")
    atomic_write(out / "comparison.csv", lines(comparison))
    atomic_write(out / "comparison.json", json.dumps(comparison, indent=1, allow_nan=False))
    pictures = figures.save(comparison, out)
    names = [configuration["name"] for configuration in comparison["configurations"]]
    legend = [(name, *style.look(name, names)) for name in names]
    atomic_write(out / "report.html", page(comparison, pictures, legend))
    return out / "report.html"
