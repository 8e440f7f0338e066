"""Countdown: an expression of + - * / and brackets that uses each of the given numbers once, and has a given value.

A condition is `24 from 3 4 6 8`. An answer is an expression of whole numbers, such as (8 - 4) * 6; division is exact,
and there is no sign before a number. The text of an answer without white space is its layout. Which expressions are one
way is the business of `manypaths.keys.expression`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from fractions import Fraction

from manypaths.printable import shown
from manypaths.verifiers.verifier import Verifier

LARGEST = 9999  # of a number
DEEPEST = 12  # levels of brackets
_CONDITION = re.compile(r"(\d{1,4}) from (\d{1,4}(?: \d{1,4}){0,7})")
_ANSWER = re.compile(r"[0-9+\-*/()]+")
_TOKEN = re.compile(r"\d+|[-+*/()]")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-"})


class _Wrong(ValueError):
    """What is no expression, or has no value."""


def condition(target: int, numbers: Iterable[int]) -> str:
    """The text of a condition, equal for equal numbers in any order."""
    return f"{target} from {' '.join(map(str, sorted(numbers)))}"


@functools.lru_cache(maxsize=10_000)
def target_and_numbers(text: str) -> tuple[int, tuple[int, ...]]:
    """The value that is to be reached, and the numbers in order of size. Raises ValueError for no condition."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"A countdown must be '24 from 3 4 6 8', with numbers up to {LARGEST}, got {shown(text)}.")
    return int(match[1]), tuple(sorted(map(int, match[2].split())))


def layout(text: str) -> str | None:
    """An expression without white space; None for a text with anything else in it, or with white space in a number."""
    if re.search(r"\d\s+\d", text):
        return None
    joined = re.sub(r"\s", "", text).translate(_SIGNS)
    return joined if _ANSWER.fullmatch(joined) and joined.isascii() else None


def meets(answer: str, condition: str) -> bool:
    """Whether an expression uses each number once and has the value."""
    target, numbers = target_and_numbers(condition)
    tokens = _TOKEN.findall(answer)
    own = [int(token) for token in tokens if token.isdigit() and len(token) <= len(str(LARGEST))]
    if tuple(sorted(own)) != numbers or len(own) != sum(token.isdigit() for token in tokens):
        return False
    try:
        return value(tokens) == target
    except _Wrong:
        return False


def value(tokens: list[str]) -> Fraction:
    """The exact value of an expression. Raises a ValueError for what is none, and for a division by 0."""
    total, place = _sum(tokens, 0, 0)
    if place != len(tokens):
        raise _Wrong("there is more behind the expression")
    return total


def _sum(tokens: list[str], place: int, depth: int) -> tuple[Fraction, int]:
    total, place = _product(tokens, place, depth)
    while place < len(tokens) and tokens[place] in "+-":
        term, after = _product(tokens, place + 1, depth)
        total, place = (total + term if tokens[place] == "+" else total - term), after
    return total, place


def _product(tokens: list[str], place: int, depth: int) -> tuple[Fraction, int]:
    total, place = _atom(tokens, place, depth)
    while place < len(tokens) and tokens[place] in "*/":
        factor, after = _atom(tokens, place + 1, depth)
        if tokens[place] == "/" and not factor:
            raise _Wrong("a division by 0")
        total, place = (total * factor if tokens[place] == "*" else total / factor), after
    return total, place


def _atom(tokens: list[str], place: int, depth: int) -> tuple[Fraction, int]:
    if place == len(tokens) or depth > DEEPEST:
        raise _Wrong("the expression ends, or is too deep")
    if tokens[place].isdigit():
        return Fraction(int(tokens[place])), place + 1
    if tokens[place] != "(":
        raise _Wrong("an operator without a number")
    inner, place = _sum(tokens, place + 1, depth + 1)
    if place == len(tokens) or tokens[place] != ")":
        raise _Wrong("a bracket without its other")
    return inner, place + 1


VERIFIER = Verifier(layout, meets)
