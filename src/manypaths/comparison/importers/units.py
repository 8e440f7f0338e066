"""The unit of the values of a measure: stated by the user, the header or percent signs, or clear from all values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from manypaths.comparison.importers.cells import Number, Table, number, shown_cell
from manypaths.counts import measure
from manypaths.printable import one_line


class Cell(NamedTuple):
    """A cell of a measure that is not blank."""

    line: int
    text: str
    header_unit: str | None


def values_of(table: Table, name: str, cells: Sequence[Cell], said: str | None, outcomes: bool) -> list[float]:
    """The values of a measure in its own unit: shares from 0 to 1, distinct@K from 0 to K, plain numbers as they are.

    The unit of shares holds for all cells of the measure in a file. It is what the user says, what the header states
    (`accuracy_percent`, `acc (%)`), or percent if every cell has a percent sign; these must agree. Without any of them
    it follows from all cells together, and a note says so: where none is above 1, they are shares; where none but 0 is
    1 or less, they are percentages. Values of both kinds are refused, since 0.5 beside 71 may be either, and so are two
    tables whose units are assumed and differ (`joined.join`).

    Args:
        name: The name of the measure.
        said: The unit that the user states, "percent" or "share".
        outcomes: Whether lines are of problems. If all values are 0 or 1, a line is then one completion, right or
            wrong, whatever the unit.

    Raises:
        ValueError: A cell is no number or out of range, or the unit is not clear; the message names the line.
    """
    numbers = [_number(table, name, cell) for cell in cells]
    commas = sum(number.comma for number in numbers)
    if commas:
        table.note(f"{commas} of {len(numbers)} numbers of {one_line(name, 40)} are read with a decimal comma.")
    if not measure(name).is_share:
        return [_plain(table, name, cell, value) for cell, value in zip(cells, numbers, strict=True)]
    if outcomes and all(value.value in (0, 1) and not value.percent for value in numbers):
        return [value.value for value in numbers]
    stated = _stated(table, name, cells, numbers, said)
    if stated == said == "percent" and all(value.value <= 1 for value in numbers):
        table.note(f"no {name} is above 1, and all are read as percentages, as --unit says.")
    top = 1.0 if (stated or _assumed(table, name, cells, numbers)) == "share" else 100.0
    for cell, value in zip(cells, numbers, strict=True):
        if not 0 <= value.value <= top:
            unit = "a share from 0 to 1" if top == 1 else "a percentage from 0 to 100"
            raise table.error(cell.line, f"{unit} as {name}", shown_cell(cell.text))
    return [value.value / top for value in numbers]


def _number(table: Table, name: str, cell: Cell) -> Number:
    value = number(cell.text)
    if value is None:
        advice = "Correct the line, or leave the cell empty if there is no result."
        raise table.error(cell.line, f"a number as {one_line(name, 40)}", shown_cell(cell.text), advice)
    return value


def _plain(table: Table, name: str, cell: Cell, value: Number) -> float:
    top = measure(name).top
    if value.percent or (top is not None and not 0 <= value.value <= top):
        expected = "a number without a percent sign" if top is None else f"a number from 0 to {top:g}"
        raise table.error(cell.line, f"{expected} as {one_line(name, 40)}", shown_cell(cell.text))
    return value.value


def _stated(table: Table, name: str, cells: Sequence[Cell], numbers: Sequence[Number], said: str | None) -> str | None:
    """The unit that is written somewhere; None if there is none."""
    units = [("--unit", said)] if said else []
    units += [("the header", unit) for unit in dict.fromkeys(cell.header_unit for cell in cells) if unit]
    signs = [value.percent for value in numbers]
    if any(signs):
        if not all(signs):
            raise table.error(
                cells[signs.index(False)].line,
                f"a percent sign behind {name}, as line {cells[signs.index(True)].line} has",
                shown_cell(cells[signs.index(False)].text),
            )
        units.append(("a percent sign", "percent"))
    if len({unit for _, unit in units}) > 1:
        listed = ", ".join(f"{unit} by {source}" for source, unit in units)
        raise ValueError(f"{str(table.path)!r} must have one unit of {name}, got {listed}. Correct --unit or the file.")
    return units[0][1] if units else None


def _assumed(table: Table, name: str, cells: Sequence[Cell], numbers: Sequence[Number]) -> str:
    """The unit that fits all values."""
    above = [place for place, value in enumerate(numbers) if value.value > 1]
    small = [place for place, value in enumerate(numbers) if 0 < value.value <= 1]
    if above and small:
        few, many = sorted((above, small), key=len)
        raise table.error(
            cells[few[0]].line,
            f"{name} in the unit of line {cells[many[0]].line} ({cells[many[0]].text[:20]})",
            shown_cell(cells[few[0]].text),
            "Correct the line, or add --unit percent if all values are percentages.",
        )
    if not above and not small and all(value.value == 0 for value in numbers):
        return "share"  # 0 is the same in both
    if above:
        table.note(f"{name} is read as percentages, because no value but 0 is 1 or less.")
    else:
        table.note(f"{name} is read as shares, because no value is above 1. If they are percentages: --unit percent.")
    table.assumed_units[name] = "percent" if above else "share"
    return table.assumed_units[name]
