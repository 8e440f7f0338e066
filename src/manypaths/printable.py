"""Text from files and models, made fit for a terminal."""

from __future__ import annotations

from collections.abc import Iterable


def escaped(text: str) -> str:
    """The text with an escape in the place of every character that is not printable; spaces and letters stay."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shown(value: object, most: int = 60) -> str:
    """A value in quotes, for a message: escaped, and cut after `most` characters."""
    text = str(value)
    return repr(text if len(text) <= most else text[:most] + "...")


def listed(names: Iterable[object], most: int = 30) -> str:
    """Names for a message, a comma between two: escaped, cut, and no more than `most` of them."""
    texts = [escaped(str(name))[:40] for name in names]
    return ", ".join([*texts[:most], *(["..."] if len(texts) > most else [])])
