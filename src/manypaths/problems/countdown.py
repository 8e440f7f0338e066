"""Countdown: numbers from which a value is to be reached, with one expression for each way."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from manypaths.problems.instances import Instance, draw
from manypaths.problems.problem import Problem
from manypaths.verifiers.countdown import condition

MOST_NUMBERS = 4  # five have a hundred times as many expressions


class Term(NamedTuple):
    """An expression: its value, its text, and the sign that joins its outermost parts, none for a number."""

    value: Fraction
    text: str
    sign: str


def countdown(
    count: int,
    seed: int,
    *,
    numbers: int = 4,
    largest: int = 9,
    target: tuple[int, int] | list[int] = (10, 30),
    ways: str | float = "many",
    held_out: bool = False,
) -> list[Problem]:
    """Draw numbers, and a value that an expression of all of them has.

    A question is `24 from 8 3 6 4`. The same numbers in another order are the same problem, and a set has it once. The
    held-out problems have numbers of their own, which no other problem has, in whatever order, and whatever is to be
    reached.

    Args:
        count: How many problems.
        seed: Of the random numbers.
        numbers: How many, 2 to 4.
        largest: Numbers are from 1 to this, at most 99.
        target: The least and the largest value, 1 to 9999.
        ways: one, many (two or more right answers that differ by more than the order of operands), any, or the share of
            problems with one.
        held_out: Which of the two parts the problems are drawn from.

    Returns:
        Problems whose `ways` are expressions, one for each way (`expressions`), short ones with few products first.

    Raises:
        ValueError: A number is out of its range, or there are fewer than `count` different problems.
    """
    least, most = target
    if not (2 <= numbers <= MOST_NUMBERS and 1 <= largest <= 99 and 1 <= least <= most <= 9999):
        raise ValueError(
            f"numbers must be 2 to {MOST_NUMBERS}, largest 1 to 99, and target two numbers in order, from 1 to 9999, "
            f"got {numbers}, {largest}, {list(target)}."
        )

    def make(rng: random.Random, one: bool | None, is_wanted: Callable[[str], bool]) -> Instance | None:
        own = [rng.randint(1, largest) for _ in range(numbers)]
        if not is_wanted(condition(0, own)):
            return None
        by_value = expressions(tuple(sorted(own)))
        fitting = [value for value in range(least, most + 1) if value in by_value]
        fitting = [value for value in fitting if one in (None, len(by_value[value]) == 1)]
        if not fitting:
            return None
        value = rng.choice(fitting)
        question = f"{value} from {' '.join(map(str, own))}"
        return Instance(question, condition(value, own), by_value[value])

    return draw("countdown", count, seed, held_out, ways, make)


@lru_cache(maxsize=10_000)
def expressions(numbers: tuple[int, ...]) -> dict[int, tuple[str, ...]]:
    """The expressions of all the numbers by their value, of the whole values from 1 on, one for each way.

    Expressions are one way that differ by the order of operands of + and of *, and by brackets of nested sums and of
    nested products, as `manypaths.keys.expression` has it: 8 - 3 + 4 is (4 + 8) - 3, and 8 - (3 - 4) is another way,
    which is right, too, and not listed, as it only writes the first one differently.

    Args:
        numbers: One or more, in order of size.
    """
    by_value: dict[int, dict[str, None]] = {}
    for term in terms(numbers):
        if term.value.denominator == 1 and term.value > 0:
            by_value.setdefault(int(term.value), {})[term.text] = None
    return {value: tuple(sorted(texts, key=_simplest_first)) for value, texts in by_value.items()}


def _simplest_first(text: str) -> tuple[int, int, int, str]:
    return text.count("/"), text.count("*"), len(text), text


@lru_cache(maxsize=10_000)
def terms(numbers: tuple[int, ...]) -> tuple[Term, ...]:
    """All sums and products of the numbers, in order of size, each in one form.

    A sum is of parts that are no sums, each added or taken away, and a product of parts that are no products.
    """
    if len(numbers) == 1:
        return (Term(Fraction(numbers[0]), str(numbers[0]), ""),)
    made: dict[str, Term] = {}
    for parts in _partitions(numbers):
        choices = [terms(part) for part in parts]
        for own in itertools.product(*choices):
            for term in (*_joined(own, "+-"), *_joined(own, "*/")):
                made[term.text] = term
    return tuple(made.values())


def _joined(parts: tuple[Term, ...], signs: str) -> list[Term]:
    """The sums, or the products, of parts: each is added or taken away, and one at least is added."""
    if any(part.sign and part.sign in signs for part in parts):
        return []
    joined = []
    for inverse in itertools.product((False, True), repeat=len(parts)):
        first = [part for part, is_inverse in zip(parts, inverse, strict=True) if not is_inverse]
        second = [part for part, is_inverse in zip(parts, inverse, strict=True) if is_inverse]
        if not first or (signs == "*/" and any(not part.value for part in second)):
            continue
        first, second = sorted(first, key=lambda part: part.text), sorted(second, key=lambda part: part.text)
        value = Fraction(0 if signs == "+-" else 1)
        for part in first:
            value = value + part.value if signs == "+-" else value * part.value
        for part in second:
            value = value - part.value if signs == "+-" else value / part.value
        text = signs[0].join(_bracketed(part, signs) for part in first)
        text += "".join(signs[1] + _bracketed(part, signs) for part in second)
        joined.append(Term(value, text, signs[0]))
    return joined


def _bracketed(part: Term, signs: str) -> str:
    """A part of a sum or product: sums within products stand in brackets."""
    return f"({part.text})" if part.sign == "+" and signs == "*/" else part.text


def _partitions(numbers: tuple[int, ...]) -> set[tuple[tuple[int, ...], ...]]:
    """The ways to deal numbers into two or more parts; the parts, and the numbers of a part, have no order."""
    dealt: set[tuple[tuple[int, ...], ...]] = set()
    for labels in itertools.product(range(len(numbers)), repeat=len(numbers)):
        parts: dict[int, list[int]] = {}
        for number, label in zip(numbers, labels, strict=True):
            parts.setdefault(label, []).append(number)
        if len(parts) > 1:
            dealt.add(tuple(sorted(tuple(sorted(part)) for part in parts.values())))
    return dealt
