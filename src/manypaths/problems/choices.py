"""Multiple choice in its usual forms: the choices of a row, lettered, and the letter that its answer stands for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]

LISTS = ("choices", "options", "answer_choices", "Choices", "Options")
ANSWERS: tuple[str, ...] = (
    "answer",
    "Answer",
    "answerKey",
    "answer_key",
    "answer_idx",
    "answer_index",
    "correct",
    "correct_option",
)
ANSWERS += ("label", "target", "gold", "cop", "final_answer")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LABELLED = re.compile(r"\s*\(?([A-Za-z])\s?[).:](?=\s|\S)\s*")
_SERIES = re.compile(r"(?i)(?:(?:option|choice|opt|op|answer)[ _]?)?([a-j])|(?:option|choice|ending)[ _]?(\d)")


@dataclass(frozen=True)
class Choices:
    """The columns they were read from, their labels as the set has them, and their texts."""

    columns: tuple[str, ...]
    labels: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def lettered(self) -> str:
        """A line for each choice: `A. text`."""
        return "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, self.texts, strict=False))


def choices_of(row: Row) -> Choices | None:
    """The choices of a row: a list, labels with texts, or columns such as A, B, C, D; None if it has none of these."""
    for column in LISTS:
        if column in row and (pairs := _pairs(row[column])):
            return Choices((column,), *zip(*pairs, strict=True))
    columns = _series(row)
    texts = [str(row[column]).strip() for column in columns]
    return Choices(tuple(columns), tuple(LETTERS[: len(texts)]), tuple(texts)) if len(columns) > 1 else None


def _pairs(value: Any) -> list[tuple[str, str]]:
    """(label, text) of each choice."""
    if isinstance(value, Mapping) and {"text", "label"} <= set(value) and isinstance(value["text"], Sequence):
        pairs = list(zip(value["label"], value["text"], strict=False))
    elif isinstance(value, Mapping):
        pairs = [(label, text) for label, text in value.items() if text is not None]
    elif isinstance(value, list) and all(isinstance(entry, Mapping) and len(entry) == 2 for entry in value):
        pairs = [tuple(entry.values()) for entry in value]
    elif isinstance(value, list):
        pairs = _labelled(value)
    else:
        pairs = []
    texts = all(isinstance(part, (str, int, float)) for pair in pairs for part in pair)
    fits = texts and 2 <= len(pairs) <= len(LETTERS) and all(len(str(label)) <= 3 for label, _ in pairs)
    return [(str(label).strip(), str(text).strip()) for label, text in pairs] if fits else []


def _labelled(texts: list[Any]) -> list[tuple[Any, Any]]:
    """Texts that begin with `A)`, `(B)`, `C.` in order lose that; others get letters."""
    matches = [_LABELLED.match(text) if isinstance(text, str) else None for text in texts]
    letters = "".join(match[1].upper() if match else "-" for match in matches)
    if letters and LETTERS.startswith(letters):
        return [(match[1], text[match.end() :]) for match, text in zip(matches, texts, strict=True) if match]
    return list(zip(LETTERS, texts, strict=False))


def _series(row: Row) -> list[str]:
    """Columns such as A, B, C or option_a, option_b or option1, option2, which begin with the first; blanks end it."""
    by_mark: dict[str, str] = {}
    for column in row:
        if (match := _SERIES.fullmatch(str(column).strip())) and row[column] is not None and str(row[column]).strip():
            by_mark.setdefault((match[1] or match[2]).upper(), column)
    for marks in (LETTERS, "0123456789", "123456789"):
        columns = [by_mark[mark] for mark in marks if mark in by_mark]
        if len(columns) > 1 and all(mark in by_mark for mark in marks[: len(columns)]):
            return columns
    return []


class AmbiguousError(ValueError):
    """Answers that stand for different letters in two ways."""


def letters(choices: Sequence[Choices], answers: Sequence[str]) -> tuple[str, list[str]]:
    """(how the answers were read, the letter that each stands for), in the one way that fits every row.

    ValueError where no way of `readings` fits all rows, `AmbiguousError` where two that fit disagree.
    """
    ways = readings(choices, answers)
    if not ways:
        raise ValueError("its answers are neither letters nor places nor texts of the choices")
    if len({tuple(read) for read in ways.values()}) > 1:
        raise AmbiguousError(f"its answers may be {' or '.join(ways)}")
    return next(iter(ways.items()))


def readings(choices: Sequence[Choices], answers: Sequence[str]) -> dict[str, list[str]]:
    """The letters that answers stand for, by each way that fits every row.

    An answer may be a letter or label, a place counted from 0 or from 1, or the text of a choice.
    """
    ways = {}
    for name, place_of in _WAYS.items():
        places = [place_of(offered, answer) for offered, answer in zip(choices, answers, strict=True)]
        if all(place is not None for place in places):
            ways[name] = [LETTERS[place] for place in places if place is not None]
    if "letters" in ways:
        ways = {name: ways[name] for name in ("letters", "texts of the choices") if name in ways}
    return ways


def _place_of(marks: Sequence[str], answer: str) -> int | None:
    return marks.index(answer) if answer in marks and marks.count(answer) == 1 else None


def _counted(first: int, choices: Choices, answer: str) -> int | None:
    place = int(answer) - first if re.fullmatch(r"\d{1,2}", answer) else -1
    return place if 0 <= place < len(choices.texts) else None


_BARE = re.compile(r"\(?([A-Za-z])[).:]?")
_WAYS: dict[str, Callable[[Choices, str], int | None]] = {
    "letters": lambda choices, answer: _place_of([label.upper() for label in choices.labels], _letter(answer)),
    "places counted from 0": lambda choices, answer: _counted(0, choices, answer),
    "places counted from 1": lambda choices, answer: _counted(1, choices, answer),
    "texts of the choices": lambda choices, answer: _place_of(choices.texts, answer),
}


def _letter(answer: str) -> str:
    bare = _BARE.fullmatch(answer)
    return (bare[1] if bare else answer).upper()
