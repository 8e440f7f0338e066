"""The gold answer of a row, and whether two columns hold the same gold answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manypaths.grading import number
from manypaths.grading.golds import final_answer, gold_text
from manypaths.printable import shown
from manypaths.problems.columns import assistant_text, fill, has, is_chat, is_list_of_parts, places, value_at

Row = dict[str, Any]


def gold_of(row: Row, column: str, where: str, role: str) -> str:
    """The gold answer of a row, taken out of a worked solution or chat messages where it is in one.

    Args:
        row: The row.
        column: A column, a path with dots or a template.
        where: The file, the row and the column, for the message of an error.
        role: The option that names the column: answer for --answer-column, gold for --gold-column.

    Raises:
        ValueError: There is no gold answer, or a value from which none can be read, such as an object.
    """
    value: Any = None
    try:
        if places(column, row):
            value = fill(column, lambda place: gold_text(value_at(row, place)) or "")
        else:
            value = value_at(row, column)
        text = gold_text(assistant_text(value) if is_chat(value) else value)
    except KeyError:
        text = None
    except ValueError as error:
        key = next(iter(value), "") if isinstance(value, Mapping) else ""
        part = shown(f"{column}.{key}")
        advice = f" Set {role}_column (--{role}-column) to a part of it, such as {part}." if key else ""
        raise ValueError(f"{where}: {error}{advice}") from error
    answer = final_answer(text) if text else ""
    if not answer:
        raise ValueError(f"{where}: there is no gold answer. Write one, or remove the row.")
    return answer


def gold_or_none(row: Row, column: str) -> str | None:
    """The gold answer at a column or path; None where there is none or it cannot be read."""
    try:
        text = gold_text(value_at(row, column))
    except (KeyError, ValueError):
        return None
    return final_answer(text) if text else None


def note_lists(rows: Sequence[Row], column: str, name: str, say: Callable[[str], None]) -> None:
    """Note how many gold answers of the set `name` are lists, whose entries are parts of one answer."""
    if lists := sum(is_list_of_parts(row, column) for row in rows):
        say(f"{shown(name, 200)}: {lists} gold answers are lists: each entry is a part of the answer, all are needed.")


def check_one_gold(rows: Sequence[Row], name: str, column: str, usual: Sequence[str]) -> None:
    """Check that no other usual column holds other gold answers; a `solution` is worked out, so it is not compared.

    Raises:
        ValueError: In some row another column of `usual` holds another gold answer.
    """
    others = [other for other in usual if other not in (column, "solution") and has(rows[0], other)]
    for other in others:
        for number_of_row, row in enumerate(rows, 1):
            first, second = (gold_or_none(row, answer_column) for answer_column in (column, other))
            if first is not None and second is not None and not same_answer(first, second):
                raise ValueError(
                    f"{shown(name, 200)} has different answers in {shown(column)} and {shown(other)}, as in row "
                    f"{number_of_row}. Set answer_column to the one that is right."
                )


def same_answer(first: str, second: str) -> bool:
    """Whether two answers are the same text or the same number."""
    if first == second:
        return True
    value = number(first)
    return value is not None and value == number(second)
