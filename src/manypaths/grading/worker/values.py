"""Whether two numbers or formulas have the same value.

Rational numbers are compared exactly, other constants by 150 digits, formulas with unknowns by their values at random
points. Two analytic functions that agree at four random points to 25 digits are taken to be the same function.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import sympy

POINTS = 12  # at most so many points are tried
ENOUGH = 4  # formulas are equal if they agree at so many points where both are real


def exact(expression: Any) -> Any:
    """The evaluated expression, with decimals as exact fractions and odd roots of real numbers as real numbers.

    Args:
        expression: An object of sympy.

    Returns:
        The new expression.
    """
    expression = expression.xreplace({part: sympy.Rational(str(part)) for part in expression.atoms(sympy.Float)})
    if not expression.has(sympy.I):
        expression = expression.replace(
            lambda part: part.is_Pow and part.exp.is_Rational and part.exp.q > 1 and part.exp.q % 2 == 1,
            lambda part: sympy.sign(part.base) ** part.exp.p * sympy.Abs(part.base) ** part.exp,
        )
    with contextlib.suppress(Exception):
        expression = expression.doit()
    return expression


def same(gold: Any, answer: Any) -> bool:
    """Whether two expressions have the same value for all values of their unknowns.

    Args:
        gold: An object of sympy.
        answer: An object of sympy.

    Returns:
        The verdict; False if it cannot be decided.
    """
    if gold == answer and gold not in (sympy.nan, sympy.zoo):
        return True
    gold, answer = exact(gold), exact(answer)
    if not all(isinstance(expression, sympy.Expr) for expression in (gold, answer)):
        return bool(gold == answer)
    if any(expression.has(sympy.nan, sympy.zoo) for expression in (gold, answer)):
        return False
    if gold == answer:
        return True
    if any(expression.has(sympy.oo, sympy.S.NegativeInfinity) for expression in (gold, answer)):
        return False
    difference = gold - answer
    if difference.is_Rational:
        return bool(difference == 0)
    calls = difference.atoms(sympy.core.function.AppliedUndef)  # f(2) is an unknown
    if names := {call: sympy.Symbol(str(call), real=True) for call in calls}:
        gold, answer, difference = (expression.xreplace(names) for expression in (gold, answer, difference))
    if not difference.free_symbols:
        return _vanishes(difference, gold)
    verdict = _agree(gold, answer)
    return _simplifies_to_zero(difference) if verdict is None else verdict


def _vanishes(difference: Any, gold: Any) -> bool:
    """Whether a constant is zero: smaller than the gold answer by a factor of 10^100."""
    value, scale = difference.evalf(15, maxn=150), gold.evalf(5)
    if not value.is_number or value.has(sympy.nan) or not scale.is_number:
        return _simplifies_to_zero(difference)
    parts = value.as_real_imag()
    if not all(part.is_Float or part.is_Rational for part in parts):
        return _simplifies_to_zero(difference)
    size = max(map(abs, parts))
    return bool(size <= sympy.Float(10) ** -100 * max(abs(scale), sympy.Float(10) ** -1000))


def _simplifies_to_zero(difference: Any) -> bool:
    with contextlib.suppress(Exception):
        return bool(sympy.simplify(difference).is_zero)
    return False


def _agree(gold: Any, answer: Any) -> bool | None:
    """Whether two expressions agree at random points; None where too few points have a value."""
    by_complex = gold.has(sympy.I) or answer.has(sympy.I)
    agreed = 0
    for point in points(gold.free_symbols | answer.free_symbols):
        values = [expression.evalf(40, subs=point, maxn=120) for expression in (gold, answer)]
        if not all(value.is_number and value.is_finite for value in values):
            continue
        real = [bool(value.is_real) for value in values]
        if real[0] != real[1] and not by_complex:
            return False
        size = max(map(abs, values))
        if (not real[0] and not by_complex) or not sympy.Float("1e-60") < size < sympy.Float("1e60"):
            continue  # near a zero or a pole, where rounding errors dominate
        if abs(values[0] - values[1]) > sympy.Float(10) ** -25 * size:
            return False
        agreed += 1
        if agreed == ENOUGH + 2:
            break
    return True if agreed >= ENOUGH else None


def points(symbols: set[Any]) -> Iterator[dict[Any, Any]]:
    """Points to compare formulas at, the same in every comparison.

    They take turns: positive numbers, numbers of mixed sign, whole numbers.
    """
    rng = random.Random(5)
    for index in range(POINTS):
        point = {}
        for place, symbol in enumerate(sorted(symbols, key=str)):
            size = sympy.Rational(rng.randrange(101, 3000), 997)
            sign = -1 if index % 3 == 1 and (index // 3 + place) % 2 == 0 else 1
            point[symbol] = sympy.Integer(rng.randrange(2, 12)) if index % 3 == 2 else sign * size
        yield point
