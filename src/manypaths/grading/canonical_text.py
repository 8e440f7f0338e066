"""Canonical texts of final answers: a key that groups equal answers without a worker."""

from __future__ import annotations

import re

from manypaths.grading.forms import choice, is_words, needs_its_gold, words_of
from manypaths.grading.latex import mathematics
from manypaths.grading.layout import LONGEST, readable
from manypaths.grading.quantities import in_base, quantity, ratio
from manypaths.grading.sets import split
from manypaths.grading.settling import PERCENT, PYTHONS_LOG, without_spaces_at_commas
from manypaths.grading.times import compound, time_of_day
from manypaths.grading.units import unit_behind, unit_name, without_unit

__all__ = ["canonical"]

_NEEDLESS_SPACE = re.compile(r"(?<![\w.]) +| +(?![\w.])")
_COMMA_OF_THOUSANDS = re.compile(r",\d{3}(?!\d)")


def canonical(answer: str) -> str:
    r"""A canonical text of a final answer: the grader calls answers with equal canonical texts equal.

    The converse does not hold: whether `x(x+1)` is `x^2+x` is a question for the worker. These coincide: spellings of
    one number with the same unit or without one (`1/2`, `\frac12`, `0.50`); layout, Unicode signs and Python's output;
    words in upper and lower case; a choice and its letter in parentheses; spellings of a time of day; a list of numbers
    in any order. What the grader accepts only beside some gold answers stays apart: `50\%` from `0.5` and `50`, `5 cm`
    from `5`, `x = 5` from `5`. Statements that the worker finds equal to nothing, such as `1 = 2`, coincide with
    themselves. The function starts no process, and its time is bounded on any text.

        canonical("0.5")                # "number: 1/2"
        canonical(r"\frac{x}{2} + 1")   # r"mathematics: \frac{x}{2}+1"

    Args:
        answer: The content of a box, as `extract` returns it.

    Returns:
        The kind of the answer and its canonical text; empty for an answer that is empty or longer than `LONGEST`
        characters, which the grader calls wrong.
    """
    text = readable(answer) if len(answer) <= LONGEST else ""
    if not text:
        return ""
    letter, behind = choice(text)
    if letter and not behind:
        return f"choice: {letter}"
    time, amounts = time_of_day(text), compound(text)
    if time and time[1]:
        return f"time: {time[0]} s"
    if is_words(text) and text[0] not in "-+":
        return f"words: {' '.join(words_of(text))}"
    if amounts:
        unit = "second" if "second" in amounts else "inch"
        return f"number: {amounts[unit]} {unit}"
    if time or needs_its_gold(text):
        return f"text: {without_spaces_at_commas(text)}"
    return _canonical_mathematics(in_base(ratio(text)))


def _canonical_mathematics(text: str) -> str:
    """The canonical text of a number, a list of numbers or an expression."""
    if value := quantity(text):
        return " ".join(("number:", str(value[0]), *map(unit_name, value[1])))
    values = [quantity(part) for part in split(text)]
    if len(values) > 1 and all(value and not value[1] for value in values) and not _COMMA_OF_THOUSANDS.search(text):
        return f"list: {', '.join(sorted(split(text)))}"
    if PYTHONS_LOG.search(text) or "\\vectimes" in text:  # the gold answer decides how the grader reads these
        return f"text: {without_spaces_at_commas(text)}"
    expression = _NEEDLESS_SPACE.sub("", mathematics(PERCENT.sub("", without_unit(text))))
    percent = ["%"] if PERCENT.search(text) else []
    return " ".join(("mathematics:", expression, *map(unit_name, unit_behind(text)), *percent))
