"""A value of a row by what the user calls it: a column, a key within one, a template, chat messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manypaths.messages import text_of
from manypaths.printable import listed, shown

Row = dict[str, Any]

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")


def value_at(row: Row, name: str) -> Any:
    """The value of a column, or at a path with dots, `reward_model.ground_truth` or `messages.0.content`.

    A column whose own name has dots comes first. KeyError where there is none.
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
    try:
        value_at(row, name)
    except KeyError:
        return False
    return True


def places(name: str, row: Row) -> list[str]:
    """The columns that a template such as "{Body} {Question}" names; none of a name that is no template."""
    return [] if name in row else [place[1] for place in _PLACE.finditer(name) if place[1]]


def fill(template: str, values: Callable[[str], str]) -> str:
    """A template with what `values` gives for each name; `{{` and `}}` are braces, and `{}` stays."""
    doubled = {"{{": "{", "}}": "}"}
    return _PLACE.sub(lambda place: values(place[1]) if place[1] else doubled[place[0]], template).strip()


def find_column(asked: str | None, usual: Sequence[str], rows: Sequence[Row], name: str, role: str) -> str:
    """The column, path or template asked for, else the first of the usual ones that has anything; else a ValueError."""
    wanted = (places(asked, rows[0]) or [asked]) if asked else []
    if missing := [place for place in wanted if not has(rows[0], place)]:
        raise ValueError(
            f"{shown(name, 200)} has no {role} column {shown(missing[0])}. It has {listed(rows[0])}. "
            f"Set {role}_column (--{role}-column)."
        )
    if asked:
        return asked
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
    """What the user asks in chat messages; a system message before it is left out.

    ValueError unless the messages are one turn of the user's, after system messages or none: of a conversation with
    answers in it nobody but the user can say what the problem is.
    """
    roles = [message.get("role") for message in messages]
    turns = [message for message in messages if message.get("role") != "system"]
    if [message.get("role") for message in turns] != ["user"]:
        raise ValueError(
            f"chat messages must have one turn of the user's to be a problem, got {listed(roles, 8)}. "
            "Name the text itself, such as messages.0.content"
        )
    blocks = turns[0].get("content")
    kinds = {block.get("type") for block in blocks if isinstance(block, Mapping)} if isinstance(blocks, list) else set()
    if others := kinds - {"text"}:
        raise ValueError(f"chat messages must be text alone to be a problem, got blocks of {listed(others, 8)}")
    return text_of([{**turns[0], "role": "assistant"}])


def assistant_text(messages: list[dict[str, Any]]) -> str:
    """What the assistant says in chat messages. ValueError without a turn of the assistant's."""
    if not any(message.get("role") == "assistant" for message in messages):
        roles = listed((message.get("role") for message in messages), 8)
        raise ValueError(f"chat messages must have a turn of the assistant's to be an answer, got {roles}")
    return text_of(messages)


def is_list_of_parts(row: Row, column: str) -> bool:
    """Whether a gold column holds a list of two entries or more, which `manypaths.grading.golds` reads as parts."""
    value = value_at(row, column) if has(row, column) else None
    return isinstance(value, list) and len(value) > 1 and not is_chat(value)
