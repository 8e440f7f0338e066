"""Whether two parsed answers are equal: expressions, equations, inequalities, lists, intervals, sets, matrices."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import math_verify
import sympy
from latex2sympy2_extended.logic import And

from .values import exact, points, same


def equal(gold: Any, answer: Any) -> bool:
    """Whether two parsed answers are the same answer.

    Args:
        gold: The gold answer, as `reading.read` returns it.
        answer: The answer, as `reading.read` returns it.

    Returns:
        The verdict. The two roles differ for equations: see `manypaths.grading`.
    """
    chains = [_sides(parsed) for parsed in (gold, answer)]
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


def _sides(parsed: Any) -> list[Any]:
    """The sides of an equation, or of a chain a = b = c; empty for anything else."""
    links = parsed._unsorted_args if isinstance(parsed, And) else [parsed]
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
    r"""Whether a side is a name, or consists of names alone: m + n, a/b, \sin\theta. Not 2x, x^2 or 1/x."""
    if _is_name(side):
        return True
    if isinstance(side, sympy.Limit):
        return bool(side.args[0].atoms(sympy.core.function.AppliedUndef))
    if isinstance(side, sympy.Mul):
        numerator = [part for part in side.args if not (part.is_Pow and part.exp == -1)]
        denominator = [part.base for part in side.args if part.is_Pow and part.exp == -1]
        return bool(numerator) and all(map(_is_made_of_names, [*numerator, *denominator]))
    if isinstance(side, (sympy.Add, sympy.functions.elementary.trigonometric.TrigonometricFunction)):
        return all(map(_is_made_of_names, side.args))
    return False


def _value(sides: list[Any], is_name: Callable[[Any], bool]) -> Any:
    """The value that a chain of equations gives to its names; None if its values are not all equal."""
    others = [side for side in sides if not is_name(side)] or sides[-1:]
    if not all(equal(others[-1], side) for side in others[:-1]):
        return None
    return others[-1]


def _same_equation(gold: list[Any], answer: list[Any]) -> bool:
    """Whether two equations give one name the same value, are multiples of each other, or have the same solutions."""
    values = [_value(sides, _is_name) for sides in (gold, answer)]
    names = [
        {str(side) for side in sides if side != value and _is_name(side)}
        for sides, value in zip((gold, answer), values, strict=True)
    ]
    if None not in values and not getattr(values[0], "free_symbols", True):
        names = [set(map(str.casefold, spellings)) for spellings in names]  # V = 5 is v = 5, V = 5r is not v = 5r
    if names[0] & names[1] and None not in values and equal(*values):
        return True
    if len(gold) == len(answer) == 2 and all(isinstance(side, sympy.Expr) for side in (*gold, *answer)):
        if _are_proportional(gold[0] - gold[1], answer[0] - answer[1]):
            return True
        return _same_solutions(gold, answer)
    return False


def _same_solutions(gold: list[Any], answer: list[Any]) -> bool:
    """Whether two equations in the same single unknown have the same solutions, and have any."""
    left, right = (sympy.Eq(*sides, evaluate=False) for sides in (gold, answer))
    if left.free_symbols != right.free_symbols or len(left.free_symbols) != 1:
        return False
    with contextlib.suppress(Exception):
        solved = [sympy.solve(equation, equation.free_symbols) for equation in (left, right)]
        return all(solved) and bool(math_verify.verify(left, right, timeout_seconds=None))
    return False


def _are_proportional(left: Any, right: Any) -> bool:
    """Whether one of two expressions with unknowns is the other times a number."""
    left, right = exact(left), exact(right)
    symbols = left.free_symbols | right.free_symbols
    if not left.free_symbols or not right.free_symbols:
        return False
    for point in points(symbols):
        factor = left.subs(point) / right.subs(point)
        if factor.is_finite and factor.is_zero is False:
            return same(left, factor * right)
    return False


# Inequalities


def _is_relation(parsed: Any) -> bool:
    return isinstance(parsed, (sympy.core.relational.Relational, And))


def _same_relation(gold: Any, answer: Any) -> bool:
    """Whether two inequalities, or an inequality and a set, hold for the same numbers."""
    are_relations = [_is_relation(parsed) for parsed in (gold, answer)]
    sets = [_as_set(parsed) if _is_relation(parsed) else parsed for parsed in (gold, answer)]
    if all(are_relations):
        if gold.free_symbols != answer.free_symbols:
            return False
        if None not in sets:
            return _same_collection(*sets)
        return bool(math_verify.verify(gold, answer, timeout_seconds=None))
    return None not in sets and isinstance(sets[0], sympy.Set) and _same_collection(*sets)


def _as_set(relation: Any) -> Any:
    """The numbers for which a relation in one unknown holds; None for any other relation."""
    with contextlib.suppress(Exception):
        if len(relation.free_symbols) == 1:
            relation = relation.replace(lambda part: part.is_Float, exact)
            return sympy.And(*getattr(relation, "_unsorted_args", [relation])).as_set()
    return None


# Lists, pairs, intervals, sets, matrices


def _members(parsed: Any) -> list[Any]:
    """The members of a set, and of the sets in it, in the order in which they are written; of anything else itself."""
    if not isinstance(parsed, sympy.FiniteSet):
        return [parsed]
    return [member for part in getattr(parsed, "_unsorted_args", parsed.args) for member in _members(part)]


def _parts(parsed: Any) -> tuple[list[Any], bool] | None:
    """The members of a list, pair or open or closed interval, and whether their order counts; None for other kinds.

    An expression is a list of one member. An interval may be an ordered pair, because both are written (1, 2).
    """
    if isinstance(parsed, sympy.FiniteSet):
        return _members(parsed), False
    if isinstance(parsed, sympy.Tuple):
        return list(parsed.args), True
    if isinstance(parsed, sympy.Interval) and (parsed.left_open == parsed.right_open):
        return [parsed.start, parsed.end], True
    return ([parsed], False) if isinstance(parsed, sympy.Expr) else None


def _same_collection(gold: Any, answer: Any) -> bool:
    """Whether two lists, pairs, intervals or sets have the same members."""
    if isinstance(gold, sympy.Interval) and isinstance(answer, sympy.Interval):
        same_ends = gold.left_open == answer.left_open and gold.right_open == answer.right_open
        return bool(same_ends) and equal(gold.start, answer.start) and equal(gold.end, answer.end)
    parts = [_parts(parsed) for parsed in (gold, answer)]
    if parts[0] and parts[1]:
        if sympy.EmptySet in (gold, answer):
            return bool(gold == answer)
        in_order = parts[0][1] or parts[1][1] or _names_differ(parts[0][0], parts[1][0])
        return (_same_in_order if in_order else _same_in_any_order)(parts[0][0], parts[1][0])
    with contextlib.suppress(Exception):
        sets = [parsed.replace(lambda part: part.is_Float, exact).doit() for parsed in (gold, answer)]
        if sets[0] == sets[1] or sets[0].symmetric_difference(sets[1]).is_empty:
            return True
        if type(sets[0]) is type(sets[1]) and isinstance(sets[0], (sympy.Interval, sympy.Union, sympy.Complement)):
            return _same_in_any_order(*([part] if part.is_Interval else list(part.args) for part in sets))
    return False


def _names_differ(gold: list[Any], answer: list[Any]) -> bool:
    """Whether only one of two lists names its members, as x = 1, y = 2 beside 1, 2; then the order counts."""
    sides = [[_sides(part) for part in parts] for parts in (gold, answer)]
    named = [all(chains) and len({str(chain[0]) for chain in chains}) == len(chains) > 1 for chains in sides]
    return named[0] != named[1] and not any(sides[named[0]])


def _same_in_order(gold: list[Any], answer: list[Any]) -> bool:
    return len(gold) == len(answer) and all(map(equal, gold, answer))


def _same_in_any_order(gold: list[Any], answer: list[Any]) -> bool:
    """Whether two lists have the same members, each as often."""
    if len(gold) != len(answer):
        return False
    unmatched = list(answer)
    for part in gold:
        match = next((index for index, other in enumerate(unmatched) if equal(part, other)), None)
        if match is None:
            return False
        unmatched.pop(match)
    return True


def _same_matrix(gold: Any, answer: Any) -> bool:
    """Whether two matrices, or a vector and a tuple, have the same cells."""
    evaluated = [parsed.doit() if hasattr(parsed, "doit") else parsed for parsed in (gold, answer)]
    cells: list[list[Any]] = []
    for matrix in evaluated:
        if isinstance(matrix, sympy.MatrixBase):
            cells.append(list(matrix))
        elif (parts := _parts(matrix)) and parts[1]:  # a vector as a tuple
            cells.append(parts[0])
        else:
            return False
    shapes = [getattr(matrix, "shape", None) for matrix in evaluated]
    vectors = all(shape is None or 1 in shape for shape in shapes)
    return (shapes[0] == shapes[1] or (None in shapes and vectors)) and _same_in_order(*cells)
