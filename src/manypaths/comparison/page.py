"""A comparison as one HTML page that loads nothing from the network."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files

from manypaths.comparison.contents import Comparison
from manypaths.comparison.planned import Section, answers
from manypaths.comparison.sentences import joined, lead, remarks
from manypaths.comparison.tables import Table, tables
from manypaths.printable import one_line

MARKS = dict(zip("osD^vPX*<>ph", "●■◆▲▼✚✖★◄►⬟⬢", strict=True))  # the points of the pictures as letters
NARROW = 3  # columns of a table that fits beside another on a wide page, and is not made of cards on a narrow one
UNBROKEN = re.compile(r"\[(?:[-+.,% \d]|unbounded){1,40}\]|\bp (?:below )?0?\.?\d[.\d]*")

Entry = tuple[str, str, str, str]  # of a legend


def page(comparison: Comparison, pictures: Sequence[tuple[str, str]], legend: Sequence[Entry]) -> str:
    """The report as HTML.

    Args:
        comparison: What `manypaths.comparison.compare.compare` returned.
        pictures: (description in words, SVG) of each picture.
        legend: Of each configuration the name, and its colour, line and marker in the pictures.
    """
    *planned, rest = answers(comparison)
    notes = [*joined(comparison["notes"]), *(f"Left out: {why}" for why in joined(comparison["left_out"]))]
    before, after = (planned, [rest]) if planned else ([rest], [])  # what the protocol does not name goes to the end
    cells = {
        "title": _text(title(comparison)),
        "lead": _text(lead(comparison)),
        "answers": "".join(map(_section, before)) + "".join(f"<p>{_text(words)}</p>" for words in remarks(comparison)),
        "notes": _list(notes),
        "pictures": _pictures(pictures, legend) if pictures else "",
        "tables": "".join(map(_section, after)) + _grid(tables(comparison), 3 if after else 2),
    }
    template = files("manypaths.comparison").joinpath("report.html").read_text("utf-8")
    return re.sub(r"{{(\w+)}}", lambda match: cells[match[1]], template)


def _section(section: Section) -> str:
    """The answers under one heading."""
    heading = f"<h2>{_text(section.heading)}</h2>" if section.heading else ""
    words = "".join(f"<p>{_text(sentence)}</p>" for sentence in section.sentences)
    return heading + words + _grid(section.tables, 3 if section.heading else 2)


def _pictures(pictures: Sequence[tuple[str, str]], legend: Sequence[Entry]) -> str:
    """The pictures under their legend."""
    names = "".join(
        f'<li><i style="border-top: 0.2rem {line} {colour}"></i>'
        f'<b style="color: {colour}">{MARKS[marker]}</b>{_text(name)}</li>'
        for name, colour, line, marker in legend
    )
    figures = "".join(
        f"<figure>{svg.replace('<svg ', f'<svg role=img aria-label={_quoted(words)} ', 1)}</figure>"
        for words, svg in pictures
    )
    return (
        f'<ul id="legend" aria-label="Colours of the pictures">{names}</ul>'
        f'<section id="figures" aria-label="Pictures">{figures}</section>'
    )


def title(comparison: Comparison) -> str:
    """The names of the configurations; their number if there are many."""
    base, *others = (configuration["name"] for configuration in comparison["configurations"])
    named = ", ".join(others) if len(others) < 4 else f"{len(others)} configurations"
    return f"{named} against {base}" if others else str(base)


def _text(words: str) -> str:
    return html.escape(one_line(words))


def _quoted(words: str) -> str:
    return f'"{_text(words)}"'


def _list(notes: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(note)}</li>' for note in notes)}</ul>" if notes else ""


def _grid(tables: Iterable[Table], level: int) -> str:
    """Tables one below the other; narrow ones side by side where the page is wide.

    Args:
        level: Of their headings.
    """
    return f"<div class=tables>{''.join(_titled(table, level) for table in tables)}</div>"


def _titled(table: Table, level: int) -> str:
    """A table in HTML. Each cell has the name of its column, as a narrow page makes cards of a wide table's rows."""
    name, rows = table
    head = "".join(f"<th scope=col>{_cell(cell)}</th>" for cell in rows[0])
    body = "".join(
        f"<tr><th scope=row>{_text(row[0])}</th>"
        + "".join(
            f'<td data-name="{_cell(column)}">{_cell(cell)}</td>'
            for column, cell in zip(rows[0][1:], row[1:], strict=True)
        )
        + "</tr>"
        for row in rows[1:]
    )
    kind = "narrow" if len(rows[0]) <= NARROW else "wide"
    return (
        f"<section class={kind}><h{level}>{_text(name)}</h{level}>"
        f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _cell(words: str) -> str:
    """Text in which no line ends within an interval or a p value."""
    return UNBROKEN.sub(lambda match: match[0].replace(" ", "&nbsp;"), _text(words))
