"""Whether two parsed answers are equal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import math_verify
import sympy
from latex2sympy2_extended.logic import And

from .values import exact, points, same


def equal(gold: Any, answer: Any) -> bool:
    """Whether two expressions, equations, lists, intervals, sets or matrices are the same answer."""
    chains = [_sides(one) for one in (gold, answer)]
    if all(chains):
        return _same_equation(*chains)
    if chains[0] or chains[1]:
        gold = _value(chains[0], _is_name) if chains[0] else gold
        answer = _value(chains[1], _is_made_of_names) if chains[1] else answer
        if gold is None or answer is None:
            return False
    if isinstance(gold, (sympy.MatrixBase, sympy.MatrixExpr)) or isinstance(answer, sympy.MatrixBase):
        return _same_matrix(gold, answer)
    if _is_relation(gold) or _is_relation(answer):
        return _same_relation(gold, answer)
    kinds = (sympy.Set, sympy.Tuple)
    if isinstance(gold, kinds) or isinstance(answer, kinds):
        return _same_collection(gold, answer)
    return isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr) and same(gold, answer)


# Equations


def _sides(one: Any) -> list[Any]:
    """The sides of an equation or of a chain of them; empty for anything else."""
    links = one._unsorted_args if isinstance(one, And) else [one]
    if not all(isinstance(link, sympy.Eq) for link in links):
        return []
    return [links[0].lhs, *(link.rhs for link in links)]


def _is_name(side: Any) -> bool:
    r"""Whether a side is a single name: x, f(2), \angle A, the segment AB, (a, b)."""
    if isinstance(side, (sympy.Tuple, sympy.Interval)):
        parts = _parts(side)
        return parts is not None and all(isinstance(part, sympy.Symbol) for part in parts[0])
    if isinstance(side, sympy.Abs):
        side = side.args[0]
    if isinstance(side, (sympy.Symbol, sympy.core.function.AppliedUndef)):
        return True
    if not isinstance(side, sympy.Mul) or not all(isinstance(part, sympy.Symbol) for part in side.args):
        return False
    names = {part.name for part in side.args}
    return "angle" in names or all(name.isupper() for name in names)


def _is_made_of_names(side: Any) -> bool:
    r"""Whether a side is a name or has no number in it: m + n, a/b, \sin\theta. Not 2x, x^2 or 1/x."""
    if _is_name(side):
        return True
    if isinstance(side, sympy.Limit):
        return bool(side.args[0].atoms(sympy.core.function.AppliedUndef))
    if isinstance(side, sympy.Mul):
        over = [part for part in side.args if not (part.is_Pow and part.exp == -1)]
        under = [part.base for part in side.args if part.is_Pow and part.exp == -1]
        return bool(over) and all(map(_is_made_of_names, [*over, *under]))
    if isinstance(side, (sympy.Add, sympy.functions.elementary.trigonometric.TrigonometricFunction)):
        return all(map(_is_made_of_names, side.args))
    return False


def _value(sides: list[Any], is_name: Callable[[Any], bool]) -> Any:
    """What a chain says that its names are; None if it names nothing and is no true chain of values."""
    others = [side for side in sides if not is_name(side)] or sides[-1:]
    if not all(equal(others[-1], side) for side in others[:-1]):
        return None
    return others[-1]


def _same_equation(gold: list[Any], answer: list[Any]) -> bool:
    values = [_value(sides, _is_name) for sides in (gold, answer)]
    names = [
        {str(side) for side in sides if side != value and _is_name(side)}
        for sides, value in zip((gold, answer), values, strict=True)
    ]
    if None not in values and not getattr(values[0], "free_symbols", True):
        names = [set(map(str.casefold, of)) for of in names]  # V = 5 is v = 5, V = 5r is not v = 5r
    if names[0] & names[1] and None not in values and equal(*values):
        return True
    if len(gold) == len(answer) == 2 and all(isinstance(side, sympy.Expr) for side in (*gold, *answer)):
        if _are_proportional(gold[0] - gold[1], answer[0] - answer[1]):
            return True
        return _same_solutions(gold, answer)
    return False


def _same_solutions(gold: list[Any], answer: list[Any]) -> bool:
    left, right = (sympy.Eq(*sides, evaluate=False) for sides in (gold, answer))
    if left.free_symbols != right.free_symbols or len(left.free_symbols) != 1:
        return False
    with contextlib.suppress(Exception):
        solved = [sympy.solve(one, one.free_symbols) for one in (left, right)]
        return all(solved) and bool(math_verify.verify(left, right, timeout_seconds=None))
    return False


def _are_proportional(one: Any, other: Any) -> bool:
    """Whether one is a number times the other, and neither is a number itself."""
    one, other = exact(one), exact(other)
    symbols = one.free_symbols | other.free_symbols
    if not one.free_symbols or not other.free_symbols:
        return False
    for point in points(symbols):
        factor = one.subs(point) / other.subs(point)
        if factor.is_finite and factor.is_zero is False:
            return same(one, factor * other)
    return False


# Inequalities


def _is_relation(one: Any) -> bool:
    return isinstance(one, (sympy.core.relational.Relational, And))


def _same_relation(gold: Any, answer: Any) -> bool:
    kinds = [_is_relation(one) for one in (gold, answer)]
    sets = [_as_set(one) if is_one else one for one, is_one in zip((gold, answer), kinds, strict=True)]
    if all(kinds):
        if gold.free_symbols != answer.free_symbols:
            return False
        if None not in sets:
            return _same_collection(*sets)
        return bool(math_verify.verify(gold, answer, timeout_seconds=None))
    return None not in sets and isinstance(sets[0], sympy.Set) and _same_collection(*sets)


def _as_set(one: Any) -> Any:
    """The numbers that fulfil a relation in one unknown; None for another."""
    with contextlib.suppress(Exception):
        if len(one.free_symbols) == 1:
            one = one.replace(lambda part: part.is_Float, exact)
            return sympy.And(*getattr(one, "_unsorted_args", [one])).as_set()
    return None


# Lists, pairs, intervals, sets, matrices


def _parts(one: Any) -> tuple[list[Any], bool] | None:
    """The members and whether their order counts; None for what has no such members."""
    if isinstance(one, sympy.FiniteSet):
        flat: list[Any] = []
        for part in getattr(one, "_unsorted_args", one.args):
            flat += _parts(part)[0] if isinstance(part, sympy.FiniteSet) else [part]  # type: ignore[index]
        return flat, False
    if isinstance(one, sympy.Tuple):
        return list(one.args), True
    if isinstance(one, sympy.Interval) and (one.left_open == one.right_open):
        return [one.start, one.end], True
    return ([one], False) if isinstance(one, sympy.Expr) else None


def _same_collection(gold: Any, answer: Any) -> bool:
    if isinstance(gold, sympy.Interval) and isinstance(answer, sympy.Interval):
        same_ends = gold.left_open == answer.left_open and gold.right_open == answer.right_open
        return bool(same_ends) and equal(gold.start, answer.start) and equal(gold.end, answer.end)
    parts = [_parts(one) for one in (gold, answer)]
    if parts[0] and parts[1]:
        if sympy.EmptySet in (gold, answer):
            return bool(gold == answer)
        in_order = parts[0][1] or parts[1][1] or _names_differ(parts[0][0], parts[1][0])
        return (_same_in_order if in_order else _same_in_any_order)(parts[0][0], parts[1][0])
    with contextlib.suppress(Exception):
        both = [one.replace(lambda part: part.is_Float, exact).doit() for one in (gold, answer)]
        if both[0] == both[1] or both[0].symmetric_difference(both[1]).is_empty:
            return True
        if type(both[0]) is type(both[1]) and isinstance(both[0], (sympy.Interval, sympy.Union, sympy.Complement)):
            return _same_in_any_order(*([one] if one.is_Interval else list(one.args) for one in both))
    return False


def _names_differ(gold: list[Any], answer: list[Any]) -> bool:
    """x = 1, y = 2 beside 1, 2: the names are gone, so the order says which is which."""
    sides = [[_sides(part) for part in parts] for parts in (gold, answer)]
    named = [all(of) and len({str(part[0]) for part in of}) == len(of) > 1 for of in sides]
    return named[0] != named[1] and not any(sides[named[0]])


def _same_in_order(gold: list[Any], answer: list[Any]) -> bool:
    return len(gold) == len(answer) and all(map(equal, gold, answer))


def _same_in_any_order(gold: list[Any], answer: list[Any]) -> bool:
    """Whether each is there as often as in the other."""
    if len(gold) != len(answer):
        return False
    left = list(answer)
    for part in gold:
        match = next((index for index, other in enumerate(left) if equal(part, other)), None)
        if match is None:
            return False
        left.pop(match)
    return True


def _same_matrix(gold: Any, answer: Any) -> bool:
    rows = [one.doit() if hasattr(one, "doit") else one for one in (gold, answer)]
    cells: list[list[Any]] = []
    for one in rows:
        if isinstance(one, sympy.MatrixBase):
            cells.append(list(one))
        elif (parts := _parts(one)) and parts[1]:  # a vector as a tuple
            cells.append(parts[0])
        else:
            return False
    shapes = [getattr(one, "shape", None) for one in rows]
    vectors = all(shape is None or 1 in shape for shape in shapes)
    return (shapes[0] == shapes[1] or (None in shapes and vectors)) and _same_in_order(*cells)
