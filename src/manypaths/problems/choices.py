"""Multiple choice in its usual forms: the choices of a row, lettered, and the letter of its answer."""

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
    """The choices of a row."""

    columns: tuple[str, ...]  # from which they were read
    labels: tuple[str, ...]  # as the set has them
    texts: tuple[str, ...]

    @property
    def lettered(self) -> str:
        """A line for each choice: `A. text`."""
        return "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, self.texts, strict=False))


def choices_of(row: Row) -> Choices | None:
    """The choices of a row from a list, labels with texts, or columns such as A, B, C, D; None without any of these."""
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
    """(label, text) of texts that begin with `A)`, `(B)`, `C.` in this order; else the letters are the labels."""
    matches = [_LABELLED.match(text) if isinstance(text, str) else None for text in texts]
    letters = "".join(match[1].upper() if match else "-" for match in matches)
    if letters and LETTERS.startswith(letters):
        return [(match[1], text[match.end() :]) for match, text in zip(matches, texts, strict=True) if match]
    return list(zip(LETTERS, texts, strict=False))


def _series(row: Row) -> list[str]:
    """Columns such as A, B, C or option_a, option_b or option1, option2, up to the first blank one."""
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
    """Answers that two readings take for different letters."""


def letters(choices: Sequence[Choices], answers: Sequence[str]) -> tuple[str, list[str]]:
    """The letters of answers, in the one reading that fits every row.

    Args:
        choices: Of each row.
        answers: Of each row.

    Returns:
        The reading in words, and the letter of each answer.

    Raises:
        ValueError: No reading fits all rows.
        AmbiguousError: Two readings fit all rows and give different letters.
    """
    fitting = readings(choices, answers)
    if not fitting:
        raise ValueError("its answers are neither letters nor positions nor texts of the choices")
    if len({tuple(read) for read in fitting.values()}) > 1:
        raise AmbiguousError(f"its answers may be {' or '.join(fitting)}")
    return next(iter(fitting.items()))


def readings(choices: Sequence[Choices], answers: Sequence[str]) -> dict[str, list[str]]:
    """The letters of answers in each reading that fits every row.

    An answer may be a letter or label, a position counted from 0 or from 1, or the text of a choice.

    Args:
        choices: Of each row.
        answers: Of each row.

    Returns:
        {the reading in words: the letter of each answer}.
    """
    fitting = {}
    for name, index_of in _READINGS.items():
        indices = [index_of(offered, answer) for offered, answer in zip(choices, answers, strict=True)]
        if all(index is not None for index in indices):
            fitting[name] = [LETTERS[index] for index in indices if index is not None]
    if "letters" in fitting:
        fitting = {name: fitting[name] for name in ("letters", "texts of the choices") if name in fitting}
    return fitting


def _index_of(marks: Sequence[str], answer: str) -> int | None:
    return marks.index(answer) if answer in marks and marks.count(answer) == 1 else None


def _counted(first: int, choices: Choices, answer: str) -> int | None:
    index = int(answer) - first if re.fullmatch(r"\d{1,2}", answer) else -1
    return index if 0 <= index < len(choices.texts) else None


_BARE = re.compile(r"\(?([A-Za-z])[).:]?")
_READINGS: dict[str, Callable[[Choices, str], int | None]] = {
    "letters": lambda choices, answer: _index_of([label.upper() for label in choices.labels], _letter(answer)),
    "positions counted from 0": lambda choices, answer: _counted(0, choices, answer),
    "positions counted from 1": lambda choices, answer: _counted(1, choices, answer),
    "texts of the choices": lambda choices, answer: _index_of(choices.texts, answer),
}


def _letter(answer: str) -> str:
    bare = _BARE.fullmatch(answer)
    return (bare[1] if bare else answer).upper()
