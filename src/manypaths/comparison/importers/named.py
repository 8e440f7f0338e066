"""The columns and the lines of a table that a user names."""

from __future__ import annotations

from collections.abc import Iterable

from manypaths.comparison.importers.cells import Table, headers
from manypaths.comparison.importers.reading import JOIN, Reading
from manypaths.names import nearest
from manypaths.printable import one_line, shown


def named_columns(table: Table, option: str, text: str, joined: bool) -> list[int]:
    """The places of the columns that a user named with an option.

    Args:
        text: A header, or where `joined` several headers with `JOIN` between them.

    Raises:
        ValueError: There is no such column, or more than one.
    """
    whole = text in table.header or not joined
    return [_place(table, option, name.strip()) for name in ([text] if whole else text.split(JOIN))]


def _place(table: Table, option: str, name: str) -> int:
    places = [place for place, header in enumerate(table.header) if header == name]
    places = places or [place for place, header in enumerate(table.header) if plain(header) == plain(name)]
    if len(places) == 1:
        return places[0]
    if places:
        actual, advice = f"{len(places)} of them", "Rename one."
    else:
        actual, advice = "none", _nearest(name, table.header)
    raise ValueError(f"{str(table.path)!r} must have one column {shown(name)} for {option}, got {actual}. {advice}")


def choose_lines(table: Table, reading: Reading) -> None:
    """Keep the lines that `reading.where` chooses, with a note on how many these are.

    Raises:
        ValueError: A column is missing, or no line has such a value.
    """
    total = len(table.lines)
    for header, text in reading.where.items():
        place = named_columns(table, "--where", header, False)[0]
        there = list(dict.fromkeys(cells[place] for _, cells in table.lines))
        values = [text] if text in there else [value.strip() for value in text.split(JOIN)]
        absent = [value for value in values if value not in there]
        table.lines = [(line, cells) for line, cells in table.lines if cells[place] in values]
        if not table.lines:
            raise ValueError(
                f"{str(table.path)!r} must have lines with {shown(text)} in {shown(header)}, got none. "
                f"{_nearest(absent[0], there)}"
            )
        if absent:
            table.note(f"no line has {headers(absent)} in {one_line(header, 40)}.")
    if reading.where:
        chosen = ", ".join(
            f"{one_line(header, 40)} is {one_line(text, 80) or 'empty'}" for header, text in reading.where.items()
        )
        table.note(f"{len(table.lines)} of {total} lines are read, those where {chosen}.")


def _nearest(name: str, names: Iterable[str]) -> str:
    """`manypaths.names.nearest` of printable names, cut to a length for a message."""
    sentence = nearest(name, [one_line(other, 60) for other in names if other])
    return sentence if len(sentence) <= 300 else f"{sentence[:300]} ..."


def plain(header: str) -> str:
    """A header for a comparison: in lower case, with underscores for spaces."""
    return header.lower().replace(" ", "_")
