"""Text from files, models and servers, made fit for a terminal."""

from __future__ import annotations

from collections.abc import Iterable


def escaped(text: str) -> str:
    """The text with an escape in the place of every character that is not printable; spaces and letters stay."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def one_line(text: object, most: int | None = None) -> str:
    """A text on one line: escaped, a space where there was white space, the first `most` characters (all)."""
    return escaped(" ".join(str(text).split()))[:most]


def lines(text: str) -> str:
    """Lines that stay lines, each escaped."""
    return "\n".join(map(escaped, text.split("\n")))


def shown(value: object, most: int = 60) -> str:
    """A value in quotes, for a message: escaped, and cut after `most` characters."""
    text = str(value)
    return repr(text if len(text) <= most else text[:most] + "...")


def listed(names: Iterable[object], most: int = 30) -> str:
    """Names for a message, a comma between two: escaped, cut, and no more than `most` of them."""
    texts = [escaped(str(name))[:40] for name in names]
    return ", ".join([*texts[:most], *(["..."] if len(texts) > most else [])])
