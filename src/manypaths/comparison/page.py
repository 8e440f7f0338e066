"""A comparison as one HTML page that loads nothing from the network."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from importlib.resources import files

from manypaths.comparison.contents import Comparison
from manypaths.comparison.planned import answers
from manypaths.comparison.sentences import joined, lead, remarks
from manypaths.comparison.tables import Table, tables
from manypaths.printable import one_line

MARKS = dict(zip("osD^vPX*<>ph", "●■◆▲▼✚✖★◄►⬟⬢", strict=True))  # the points of the pictures as letters

Entry = tuple[str, str, str, str]  # of a legend


def page(comparison: Comparison, pictures: Sequence[tuple[str, str]], legend: Sequence[Entry]) -> str:
    """The report as HTML.

    Args:
        comparison: What `manypaths.comparison.compare.compare` returned.
        pictures: (description in words, SVG) of each picture.
        legend: Of each configuration the name, and its colour, line and marker in the pictures.
    """
    cells = {
        "title": _text(title(comparison)),
        "lead": _text(lead(comparison)),
        "answers": "".join(
            (f"<h2>{_text(section.heading)}</h2>" if section.heading else "")
            + "".join(f"<p>{_text(sentence)}</p>" for sentence in section.sentences)
            + "".join(_titled(table, 3 if section.heading else 2) for table in section.tables)
            for section in answers(comparison)
        )
        + "".join(f"<p>{_text(remark)}</p>" for remark in remarks(comparison)),
        "notes": _list([*joined(comparison["notes"]), *(f"Left out: {why}" for why in joined(comparison["left_out"]))]),
        "pictures": _pictures(pictures, legend) if pictures else "",
        "tables": "".join(_titled(table, 2) for table in tables(comparison)),
    }
    template = files("manypaths.comparison").joinpath("report.html").read_text("utf-8")
    return re.sub(r"{{(\w+)}}", lambda match: cells[match[1]], template)


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


def _titled(table: Table, level: int) -> str:
    """A table in HTML. Each cell has the name of its column, because a narrow page shows a row as a card."""
    name, rows = table
    head = "".join(f"<th scope=col>{_text(cell)}</th>" for cell in rows[0])
    body = "".join(
        f"<tr><th scope=row>{_text(row[0])}</th>"
        + "".join(
            f"<td data-name={_quoted(column)}>{_text(cell)}</td>"
            for column, cell in zip(rows[0][1:], row[1:], strict=True)
        )
        + "</tr>"
        for row in rows[1:]
    )
    heading = f"<h{level}>{_text(name)}</h{level}>"
    return f"{heading}<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
