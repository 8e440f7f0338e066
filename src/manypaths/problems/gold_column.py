"""The gold answer of a row, and whether two columns of gold answers agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manypaths.grading import number
from manypaths.grading.golds import final_answer, gold_text
from manypaths.printable import shown
from manypaths.problems.columns import assistant_text, fill, has, is_chat, places, value_at

Row = dict[str, Any]


def gold_of(row: Row, column: str, name: str, number: int) -> str:
    """The gold answer of a row, out of a worked solution too."""
    where = f"{shown(name, 200)}, row {number}, {shown(column)}"
    try:
        if places(column, row):
            value: Any = fill(column, lambda place: gold_text(value_at(row, place)) or "")
        else:
            value = value_at(row, column)
        text = gold_text(assistant_text(value) if is_chat(value) else value)
    except KeyError:
        text = None
    except ValueError as error:
        raise ValueError(f"{where}: {error}{_nested(value, column)}") from error
    answer = final_answer(text) if text else ""
    if not answer:
        raise ValueError(f"{where}: there is no gold answer. Write one, or remove the row.")
    return answer


def _nested(value: Any, column: str) -> str:
    """The advice to name a key of an object."""
    key = next(iter(value), "") if isinstance(value, Mapping) else ""
    return f" Set answer_column to a part of it, such as {shown(f'{column}.{key}')}." if key else ""


def check_one_gold(rows: Sequence[Row], name: str, column: str, usual: Sequence[str]) -> None:
    """Refuse two usual columns that hold different answers; a `solution` is worked, and no other answer."""
    others = [other for other in usual if other not in (column, "solution") and has(rows[0], other)]
    for other in others:
        for place, row in enumerate(rows, 1):
            first, second = (gold_or_none(row, answer_column) for answer_column in (column, other))
            if first is not None and second is not None and not _same(first, second):
                raise ValueError(
                    f"{shown(name, 200)} has different answers in {shown(column)} and {shown(other)}, as in row "
                    f"{place}. Set answer_column to the one that is right."
                )


def gold_or_none(row: Row, column: str) -> str | None:
    try:
        text = gold_text(value_at(row, column))
    except (KeyError, ValueError):
        return None
    return final_answer(text) if text else None


def _same(first: str, second: str) -> bool:
    if first == second:
        return True
    value = number(first)
    return value is not None and value == number(second)
