"""Values of a row by name: a column, a path into a column, a template of columns; and chat messages in a column."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manypaths.messages import text_of
from manypaths.printable import listed, shown

Row = dict[str, Any]

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")


def value_at(row: Row, name: str) -> Any:
    """The value of a row at a column or a path.

    Args:
        row: The row.
        name: A column, also one with dots in its name, else a path such as reward_model.ground_truth or
            messages.0.content.

    Raises:
        KeyError: The row has no such value.
    """
    if name in row:
        return row[name]
    inner: Any = row
    for part in name.split("."):
        if isinstance(inner, Mapping) and part in inner:
            inner = inner[part]
        elif isinstance(inner, Sequence) and not isinstance(inner, str) and re.fullmatch(r"-?\d{1,9}", part):
            try:
                inner = inner[int(part)]
            except IndexError as error:
                raise KeyError(name) from error
        else:
            raise KeyError(name)
    return inner


def has(row: Row, name: str) -> bool:
    """Whether `value_at` gives a value."""
    try:
        value_at(row, name)
    except KeyError:
        return False
    return True


def places(name: str, row: Row) -> list[str]:
    """The columns that a template such as "{Body} {Question}" names; [] for a name that is not a template."""
    return [] if name in row else [place[1] for place in _PLACE.finditer(name) if place[1]]


def fill(template: str, values: Callable[[str], str]) -> str:
    """A template with `values(name)` in the place of each {name}; `{{` and `}}` give braces, and `{}` remains."""
    doubled = {"{{": "{", "}}": "}"}
    return _PLACE.sub(lambda place: values(place[1]) if place[1] else doubled[place[0]], template).strip()


def find_column(requested: str | None, usual: Sequence[str], rows: Sequence[Row], name: str, role: str) -> str:
    """The requested column, else the first of the usual ones that has a value in some row.

    Args:
        requested: A column, path or template; None for a usual one.
        usual: Names in the order of preference.
        rows: One or more.
        name: The set, for messages.
        role: problem, answer, text or gold: the option that names the column.

    Raises:
        ValueError: The first row has none of these columns.
    """
    parts = (places(requested, rows[0]) or [requested]) if requested else []
    if missing := [place for place in parts if not has(rows[0], place)]:
        raise ValueError(
            f"{shown(name, 200)} has no {role} column {shown(missing[0])}. It has {listed(rows[0])}. "
            f"Set {role}_column (--{role}-column)."
        )
    if requested:
        return requested
    present = [column for column in usual if has(rows[0], column)]
    filled = (
        column for column in present if any(has(row, column) and value_at(row, column) is not None for row in rows)
    )
    if present:
        return next(filled, present[0])
    raise ValueError(
        f"{shown(name, 200)} has no {role} column under a usual name ({', '.join(usual)}). It has {listed(rows[0])}. "
        f"Set {role}_column (--{role}-column)."
    )


def is_chat(value: Any) -> bool:
    """Whether a value is a list of chat messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(entry, Mapping) and "role" in entry for entry in value)
    )


def user_text(messages: list[dict[str, Any]]) -> str:
    """The text of the user's turn in chat messages, without system messages.

    Raises:
        ValueError: There is not exactly one turn, the user's, beside system messages, so that it is not clear what the
            problem is; or the turn holds more than text.
    """
    roles = [message.get("role") for message in messages]
    turns = [message for message in messages if message.get("role") != "system"]
    if [message.get("role") for message in turns] != ["user"]:
        raise ValueError(
            f"chat messages of a problem must be one turn of the user, got {listed(roles, 8)}. "
            "Name the text itself, such as messages.0.content"
        )
    blocks = turns[0].get("content")
    kinds = {block.get("type") for block in blocks if isinstance(block, Mapping)} if isinstance(blocks, list) else set()
    if others := kinds - {"text"}:
        raise ValueError(f"chat messages of a problem must be text alone, got blocks of {listed(others, 8)}")
    return text_of([{**turns[0], "role": "assistant"}])


def assistant_text(messages: list[dict[str, Any]]) -> str:
    """The text of the assistant's turns in chat messages. Raises ValueError where there is none."""
    if not any(message.get("role") == "assistant" for message in messages):
        roles = listed((message.get("role") for message in messages), 8)
        raise ValueError(f"chat messages of a completion or gold answer must have a turn of the assistant, got {roles}")
    return text_of(messages)


def is_list_of_parts(row: Row, column: str) -> bool:
    """Whether a gold answer is a list of two entries or more, the parts of one answer to `manypaths.grading.golds`."""
    value = value_at(row, column) if has(row, column) else None
    return isinstance(value, list) and len(value) > 1 and not is_chat(value)
