"""Text from files, models and servers, made safe for a terminal."""

from __future__ import annotations

from collections.abc import Iterable


def escaped(text: str) -> str:
    """The text with every character that is not printable replaced by its escape sequence."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def one_line(text: object, most: int | None = None) -> str:
    """The first `most` characters (None: all) of a text, escaped, with a single space for each run of white space."""
    return escaped(" ".join(str(text).split()))[:most]


def lines(text: str) -> str:
    """The text with each line escaped; the line ends stay."""
    return "\n".join(map(escaped, text.split("\n")))


def shown(value: object, most: int = 60) -> str:
    """The first `most` characters of a value for a message, in quotes and escaped."""
    text = str(value)
    return repr(text if len(text) <= most else text[:most] + "...")


def counted(number: int, noun: str) -> str:
    """A number with its noun, which takes an s but for 1: "1 group", "2,000 groups"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def listed(names: Iterable[object], most: int = 30) -> str:
    """The first `most` names for a message, separated by commas, escaped, and at most 40 characters each."""
    texts = [escaped(str(name))[:40] for name in names]
    return ", ".join([*texts[:most], *(["..."] if len(texts) > most else [])])
