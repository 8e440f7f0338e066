"""The cells of a table in a text file, and the numbers in cells."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from manypaths.printable import listed, one_line, shown

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # by the first bytes; others are UTF-8


@dataclass
class Table:
    """A header, and the lines under it with as many cells each. Cells have no white space around them."""

    path: Path
    header: list[str]
    lines: list[tuple[int, list[str]]]  # (number of the line in the file, cells)
    title: str  # that notes begin with
    notes: list[str] = field(default_factory=list)
    assumed_units: dict[str, str] = field(default_factory=dict)  # measure -> unit that nothing but its values states

    def note(self, sentence: str) -> None:
        self.notes.append(f"{self.title}: {sentence}")

    def error(self, line: int, expected: str, actual: str, advice: str = "Correct the line.") -> ValueError:
        return ValueError(f"Line {line} of {str(self.path)!r} must have {expected}, got {actual}. {advice}")


def read_table(path: Path, run: str | None = None) -> Table:
    """Read a table with a header, separated by commas, semicolons or tabs.

    Args:
        path: A file in UTF-8, or in UTF-16 with a byte-order mark.
        run: What tells the file from others that are read, if it is not its name.

    Raises:
        ValueError: The file is no such table; the message names the line.
    """
    if not path.is_file():
        raise ValueError(f"{str(path)!r} must be a CSV file, got no file. Name one.")
    text = _text(path)
    separator = max(",;\t", key=lambda sign: len(_first_row(text, sign)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        begin = 1
        for row in reader:
            rows.append((begin, [cell.strip() for cell in row]))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{str(path)!r} must be a CSV file, got an error in line {begin}: {error}. Correct the quotes or the cells."
        ) from error
    filled = [(line, cells) for line, cells in rows if any(cells)]
    if len(filled) < 2:
        raise ValueError(f"{str(path)!r} must have a header and rows, got {len(filled)} lines. Leave it out.")
    (_, header), *lines = filled
    name = one_line(path.name, 200)
    title = name if run in (None, path.stem) else f"{run} ({name})"
    table = Table(path, header, [(line, _as_wide(path, line, cells, len(header))) for line, cells in lines], title)
    _note_long_cells(table, separator)
    if not text.endswith(("\n", "\r")):
        table.note("the last line has no line end, so the file may be cut off there.")
    return table


def _note_long_cells(table: Table, separator: str) -> None:
    """Note cells of several lines, if one of these looks like a line of the table that a wrong quote swallowed."""
    swallowed = [
        line
        for line, cells in table.lines
        for cell in cells
        if any(row.count(separator) == len(table.header) - 1 for row in cell.splitlines()[1:])
    ]
    if swallowed:
        table.note(
            f"{len(swallowed)} cells, such as one of line {swallowed[0]}, hold what looks like lines of the table. "
            "Check the quotes."
        )


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        text = content.decode(ENCODINGS.get(content[:2], "utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{str(path)!r} must be a CSV file in UTF-8, got an error: {error}. Save it as one."
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{str(path)!r} must be text, got a NUL character in line {line}. Save it as CSV in UTF-8.")
    return text


def _first_row(text: str, separator: str) -> list[str]:
    """The cells of the first line that is not blank; none where that line cannot be read."""
    start = text.lstrip()[:100_000]
    try:
        return next(csv.reader(io.StringIO(start, newline=""), delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return []


def _as_wide(path: Path, line: int, cells: list[str], width: int) -> list[str]:
    """The cells of a line, as many as the header has; blank ones behind them are removed."""
    if len(cells) < width or any(cells[width:]):
        raise ValueError(
            f"Line {line} of {str(path)!r} must have {width} cells, as the header has, got {len(cells)}. Correct the "
            "line, or put quotes around a cell with a separator or a decimal comma in it."
        )
    return cells[:width]


@dataclass(frozen=True)
class Number:
    """A number, and how it was written."""

    value: float
    percent: bool  # with a percent sign
    comma: bool  # with a decimal comma


def number(cell: str) -> Number | None:
    """The number in a cell, such as `0.5`, `5e-1`, `0,5` or `33 %`; None for anything else.

    A comma with exactly three digits behind it may separate thousands, so `1,234` is None; `0,125` is a number.
    """
    digits = cell.removesuffix("%").rstrip()
    comma = DECIMAL_COMMA.fullmatch(digits) is not None and THOUSANDS.fullmatch(digits) is None
    plain = digits.replace(",", ".") if comma else digits
    value = float(plain) if NUMBER.fullmatch(plain) else None
    return None if value is None or abs(value) >= 1e100 else Number(value, digits != cell, comma)


def shown_cell(cell: str) -> str:
    """A cell for a message, with a hint where it is a number that could be read in two ways."""
    hint = " (a number with a comma that may separate thousands or decimals; write a decimal point)"
    return shown(cell) + hint * bool(THOUSANDS.fullmatch(cell.removesuffix("%").rstrip()))


@lru_cache(maxsize=10_000)
def label(text: str) -> str:
    """Text from a cell as a name: printable, in one line, at most 200 characters; other texts have other names."""
    name = one_line(text, 180)
    return name if name == text else f"{name} ({hashlib.sha256(text.encode()).hexdigest()[:8]})"


def option(name: str, value: str) -> str:
    """An option of the command line for a message, quoted for a shell."""
    return f"{name} {shlex.quote(one_line(value, 400))}"


def headers(names: Sequence[str], most: int = 12) -> str:
    """Headers for a message: the first of them, and how many there are."""
    shown_names = listed((name or "(no header)" for name in names), most)
    return shown_names if len(names) <= most else f"{len(names)} columns: {shown_names}"
