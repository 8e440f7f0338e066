r"""The process in which math-verify's parser and sympy read answers: what it is given can hang or end it, nobody else.

It runs by its path, with no module of ours beside it, for the package would import torch. Lines of JSON come in,
[answers, gold]; True or False goes out, whether one of the answers equals the gold; of null, whether the gold can be
read. sympy decides by exact arithmetic where both are rational, else by values: constants with 150 digits, expressions
with unknowns at points drawn once. Analytic expressions that agree at four random points to 25 digits are the same.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import json
import logging
import os
import random
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

SECONDS_TO_START = 120.0  # to import math-verify, from a slow disk too
MEMORY = 2 * 2**30  # bytes of address space
POINTS = 12  # at which two expressions with unknowns are compared
ENOUGH = 4  # of them, where both are real, make them equal

_LETTER = re.compile(r"\\(?:text|mathrm|operatorname)\s?\{[^{}]*\}|\\[A-Za-z]+|[EI]")
_REWRITES = (  # what the parser takes for something else, or cannot read
    (re.compile(r"\\gamma(?![A-Za-z_])"), "g_{amma}"),  # Euler's constant, or the function
    (re.compile(r"\\Gamma(?![A-Za-z_(])"), "G_{amma}"),
    (re.compile(r"_\s?\{\s?\\([A-Za-z]+)\s?\}"), r"_{\1}"),  # a command as an index
    (re.compile(r"(?<=[\d)])(?<![_^]\d)\s?\((?=\s?\d+\s?\))"), r"\\cdot ("),  # 2(3), to it a sum
)
_POWER_OF_T = re.compile(r"(?<!matrix\})\s?\^\s?(?:\{\s?T\s?\}|T)")  # to the parser a transpose
_T = re.compile(r"\\(?:text|mathrm|operatorname)\s?\{[^{}]*\}|\\[A-Za-z]+|(T)")
_HEAD = re.compile(r"\s*\\?[A-Za-z]+\s*\([^()=]*\)\s*=")  # P(X > 1) =


class Reader:
    """Texts as expressions of sympy, and whether two are equal."""

    def __init__(self) -> None:
        import math_verify
        import sympy
        from latex2sympy2_extended import latex2sympy2, logic, math_normalization

        self.sympy, self.verify, self.And = sympy, math_verify.verify, logic.And
        self.latex, self.how = latex2sympy2, latex2sympy2.ConversionConfig(lowercase_symbols=False)
        self.clean = math_normalization.NormalizationConfig(True, False, True, True, "none", False)
        self.read = functools.lru_cache(1000)(self._read)

    def verdict(self, answers: list[str] | None, gold: str) -> bool:
        """Whether an answer equals the gold answer, its last letters taken for a unit where the gold has no unknown."""
        if answers is None:
            theirs = self.read(gold, not _is_complex(gold), False)
            return theirs is not None and self.equal(theirs, theirs)
        return any(self._equals(answer, gold) for answer in answers)

    def _equals(self, answer: str, gold: str) -> bool:
        if any(map(_POWER_OF_T.search, (answer, gold))):
            answer, gold = (_T.sub(lambda found: "\\varsigma " if found[1] else found[0], of) for of in (answer, gold))
        is_real = not (_is_complex(answer) or _is_complex(gold))
        theirs = self.read(gold, is_real, False)
        if theirs is None:
            return _squeeze(answer) == _squeeze(gold)
        maybe_unit = answer[-1:].isalpha() and not getattr(theirs, "free_symbols", True)
        for units in (False, True) if maybe_unit else (False,):
            ours = self.read(answer, is_real, units)
            if ours is not None and self._same_shape(answer, gold, ours, theirs):
                ours = self._once_each(ours) if answer.startswith("\\{") else ours
                if self.equal(self._once_each(theirs) if gold.startswith("\\{") else theirs, ours):
                    return True
        return False

    def _once_each(self, one: Any) -> Any:
        """A set in braces, without what is there twice."""
        return self.sympy.FiniteSet(*one.args) if isinstance(one, self.sympy.FiniteSet) else one

    def _same_shape(self, answer: str, gold: str, ours: Any, theirs: Any) -> bool:
        r"""False for a set beside an ordered pair: `\{1,2\}` is not (1,2), which is read as an interval or a tuple."""
        braces = [text.lstrip().startswith("\\{") for text in (answer, gold)]
        ordered = [isinstance(one, (self.sympy.Interval, self.sympy.Tuple)) for one in (ours, theirs)]
        return not ((braces[0] and ordered[1]) or (braces[1] and ordered[0]))

    def _read(self, text: str, is_real: bool, units: bool) -> Any:
        """The expression, or None if not all of the text is one."""
        text = _LETTER.sub(lambda found: {"E": "\\varepsilon ", "I": "\\iota "}.get(found[0], found[0]), text)
        for pattern, by in _REWRITES:
            text = pattern.sub(by, text)
        parsed = self._parse(text, is_real, units)
        if parsed is None and "\\pm" in text:
            parsed = self._parse(_both_signs(text), is_real, units)
        if parsed is None and (head := _HEAD.match(text)):
            parsed = self._parse(text[head.end() :], is_real, units)
        if parsed is not None and "i" in text and hasattr(parsed, "subs"):
            units_of_i = {x: self.sympy.I for x in getattr(parsed, "free_symbols", ()) if x.name == "i"}
            parsed = parsed.subs(units_of_i) if units_of_i else parsed
        return parsed

    def _parse(self, text: str, is_real: bool, units: bool) -> Any:
        with contextlib.suppress(Exception):  # the parser raises many kinds; they mean that it cannot read the text
            text = self.latex.normalize_latex(text, replace(self.clean, units=units))
            return self.latex.latex2sympy(text, is_real=is_real, normalization_config=None, conversion_config=self.how)
        return None

    def equal(self, gold: Any, answer: Any) -> bool:
        """Whether two expressions, equations, lists, intervals, sets or matrices are the same answer."""
        sympy = self.sympy
        chains = [self._sides(one) for one in (gold, answer)]
        if all(chains):
            return self._same_equation(*chains)
        if chains[0] or chains[1]:
            gold = self._value(chains[0], self._is_name) if chains[0] else gold
            answer = self._value(chains[1], self._is_made_of_names) if chains[1] else answer
            if gold is None or answer is None:
                return False
        if isinstance(gold, (sympy.MatrixBase, sympy.MatrixExpr)) or isinstance(answer, sympy.MatrixBase):
            return self._same_matrix(gold, answer)
        if self._is_relation(gold) or self._is_relation(answer):
            return self._same_relation(gold, answer)
        kinds = (sympy.Set, sympy.Tuple)
        if isinstance(gold, kinds) or isinstance(answer, kinds):
            return self._same_collection(gold, answer)
        return isinstance(gold, sympy.Expr) and isinstance(answer, sympy.Expr) and self.same(gold, answer)

    # Equations

    def _sides(self, one: Any) -> list[Any]:
        """The sides of an equation or of a chain of them; empty for anything else."""
        links = one._unsorted_args if isinstance(one, self.And) else [one]
        if not all(isinstance(link, self.sympy.Eq) for link in links):
            return []
        return [links[0].lhs, *(link.rhs for link in links)]

    def _is_name(self, side: Any) -> bool:
        r"""Whether a side is a single name: x, f(2), \angle A, the segment AB, (a, b)."""
        sympy = self.sympy
        if isinstance(side, (sympy.Tuple, sympy.Interval)):
            parts = self._parts(side)
            return parts is not None and all(isinstance(part, sympy.Symbol) for part in parts[0])
        if isinstance(side, sympy.Abs):
            side = side.args[0]
        if isinstance(side, (sympy.Symbol, sympy.core.function.AppliedUndef)):
            return True
        if not isinstance(side, sympy.Mul) or not all(isinstance(part, sympy.Symbol) for part in side.args):
            return False
        names = {part.name for part in side.args}
        return "angle" in names or all(name.isupper() for name in names)

    def _is_made_of_names(self, side: Any) -> bool:
        r"""Whether a side is a name or has no number in it: m + n, a/b, \sin\theta. Not 2x, x^2 or 1/x."""
        sympy = self.sympy
        if self._is_name(side):
            return True
        if isinstance(side, sympy.Limit):
            return bool(side.args[0].atoms(sympy.core.function.AppliedUndef))
        if isinstance(side, sympy.Mul):
            over = [part for part in side.args if not (part.is_Pow and part.exp == -1)]
            under = [part.base for part in side.args if part.is_Pow and part.exp == -1]
            return bool(over) and all(map(self._is_made_of_names, [*over, *under]))
        if isinstance(side, (sympy.Add, sympy.functions.elementary.trigonometric.TrigonometricFunction)):
            return all(map(self._is_made_of_names, side.args))
        return False

    def _value(self, sides: list[Any], is_name: Callable[[Any], bool]) -> Any:
        """What a chain says that its names are; None if it names nothing and is no true chain of values."""
        others = [side for side in sides if not is_name(side)] or sides[-1:]
        if not all(self.equal(others[-1], side) for side in others[:-1]):
            return None
        return others[-1]

    def _same_equation(self, gold: list[Any], answer: list[Any]) -> bool:
        values = [self._value(sides, self._is_name) for sides in (gold, answer)]
        names = [
            {str(side) for side in sides if side != value and self._is_name(side)}
            for sides, value in zip((gold, answer), values, strict=True)
        ]
        if None not in values and not getattr(values[0], "free_symbols", True):
            names = [set(map(str.casefold, of)) for of in names]  # V = 5 is v = 5, V = 5r is not v = 5r
        if names[0] & names[1] and None not in values and self.equal(*values):
            return True
        if len(gold) == len(answer) == 2 and all(isinstance(side, self.sympy.Expr) for side in (*gold, *answer)):
            if self._are_proportional(gold[0] - gold[1], answer[0] - answer[1]):
                return True
            return self._same_solutions(gold, answer)
        return False

    def _same_solutions(self, gold: list[Any], answer: list[Any]) -> bool:
        left, right = (self.sympy.Eq(*sides, evaluate=False) for sides in (gold, answer))
        if left.free_symbols != right.free_symbols or len(left.free_symbols) != 1:
            return False
        with contextlib.suppress(Exception):
            solved = [self.sympy.solve(one, one.free_symbols) for one in (left, right)]
            return all(solved) and bool(self.verify(left, right, timeout_seconds=None))
        return False

    def _are_proportional(self, one: Any, other: Any) -> bool:
        """Whether one is a number times the other, and neither is a number itself."""
        one, other = self._exact(one), self._exact(other)
        symbols = one.free_symbols | other.free_symbols
        if not one.free_symbols or not other.free_symbols:
            return False
        for point in self._points(symbols):
            factor = one.subs(point) / other.subs(point)
            if factor.is_finite and factor.is_zero is False:
                return self.same(one, factor * other)
        return False

    # Inequalities

    def _is_relation(self, one: Any) -> bool:
        return isinstance(one, (self.sympy.core.relational.Relational, self.And))

    def _same_relation(self, gold: Any, answer: Any) -> bool:
        kinds = [self._is_relation(one) for one in (gold, answer)]
        sets = [self._as_set(one) if is_one else one for one, is_one in zip((gold, answer), kinds, strict=True)]
        if all(kinds):
            if gold.free_symbols != answer.free_symbols:
                return False
            if None not in sets:
                return self._same_collection(*sets)
            return bool(self.verify(gold, answer, timeout_seconds=None))
        return None not in sets and isinstance(sets[0], self.sympy.Set) and self._same_collection(*sets)

    def _as_set(self, one: Any) -> Any:
        """The numbers that fulfil a relation in one unknown; None for another."""
        with contextlib.suppress(Exception):
            if len(one.free_symbols) == 1:
                one = one.replace(lambda part: part.is_Float, self._exact)
                return self.sympy.And(*getattr(one, "_unsorted_args", [one])).as_set()
        return None

    # Lists, pairs, intervals, sets, matrices

    def _parts(self, one: Any) -> tuple[list[Any], bool] | None:
        """The members and whether their order counts; None for what has no such members."""
        sympy = self.sympy
        if isinstance(one, sympy.FiniteSet):
            flat: list[Any] = []
            for part in getattr(one, "_unsorted_args", one.args):
                flat += self._parts(part)[0] if isinstance(part, sympy.FiniteSet) else [part]  # type: ignore[index]
            return flat, False
        if isinstance(one, sympy.Tuple):
            return list(one.args), True
        if isinstance(one, sympy.Interval) and (one.left_open == one.right_open):
            return [one.start, one.end], True
        return ([one], False) if isinstance(one, sympy.Expr) else None

    def _same_collection(self, gold: Any, answer: Any) -> bool:
        sympy = self.sympy
        if isinstance(gold, sympy.Interval) and isinstance(answer, sympy.Interval):
            same_ends = gold.left_open == answer.left_open and gold.right_open == answer.right_open
            return bool(same_ends) and self.equal(gold.start, answer.start) and self.equal(gold.end, answer.end)
        parts = [self._parts(one) for one in (gold, answer)]
        if parts[0] and parts[1]:
            if sympy.EmptySet in (gold, answer):
                return bool(gold == answer)
            in_order = parts[0][1] or parts[1][1] or self._names_differ(parts[0][0], parts[1][0])
            return (self._same_in_order if in_order else self._same_in_any_order)(parts[0][0], parts[1][0])
        with contextlib.suppress(Exception):
            exact = [one.replace(lambda part: part.is_Float, self._exact).doit() for one in (gold, answer)]
            if exact[0] == exact[1] or exact[0].symmetric_difference(exact[1]).is_empty:
                return True
            if type(exact[0]) is type(exact[1]) and isinstance(
                exact[0], (sympy.Interval, sympy.Union, sympy.Complement)
            ):
                return self._same_in_any_order(*([one] if one.is_Interval else list(one.args) for one in exact))
        return False

    def _names_differ(self, gold: list[Any], answer: list[Any]) -> bool:
        """x = 1, y = 2 beside 1, 2: the names are gone, so the order says which is which."""
        sides = [[self._sides(part) for part in parts] for parts in (gold, answer)]
        named = [all(of) and len({str(part[0]) for part in of}) == len(of) > 1 for of in sides]
        return named[0] != named[1] and not any(sides[named[0]])

    def _same_in_order(self, gold: list[Any], answer: list[Any]) -> bool:
        return len(gold) == len(answer) and all(map(self.equal, gold, answer))

    def _same_in_any_order(self, gold: list[Any], answer: list[Any]) -> bool:
        """Whether each is there as often as in the other."""
        if len(gold) != len(answer):
            return False
        left = list(answer)
        for part in gold:
            match = next((index for index, other in enumerate(left) if self.equal(part, other)), None)
            if match is None:
                return False
            left.pop(match)
        return True

    def _same_matrix(self, gold: Any, answer: Any) -> bool:
        rows = [one.doit() if hasattr(one, "doit") else one for one in (gold, answer)]
        cells: list[list[Any]] = []
        for one in rows:
            if isinstance(one, self.sympy.MatrixBase):
                cells.append(list(one))
            elif (parts := self._parts(one)) and parts[1]:  # a vector as a tuple
                cells.append(parts[0])
            else:
                return False
        shapes = [getattr(one, "shape", None) for one in rows]
        vectors = all(shape is None or 1 in shape for shape in shapes)
        return (shapes[0] == shapes[1] or (None in shapes and vectors)) and self._same_in_order(*cells)

    # Numbers and expressions

    def _exact(self, one: Any) -> Any:
        """Evaluated, with decimals as the fractions that they say, and odd roots of real numbers as real numbers."""
        sympy = self.sympy
        one = one.xreplace({part: sympy.Rational(str(part)) for part in one.atoms(sympy.Float)})
        if not one.has(sympy.I):
            one = one.replace(
                lambda part: part.is_Pow and part.exp.is_Rational and part.exp.q > 1 and part.exp.q % 2 == 1,
                lambda part: sympy.sign(part.base) ** part.exp.p * sympy.Abs(part.base) ** part.exp,
            )
        with contextlib.suppress(Exception):
            one = one.doit()
        return one

    def same(self, gold: Any, answer: Any) -> bool:
        """Whether two expressions have one value, whatever their unknowns are."""
        sympy = self.sympy
        if gold == answer and gold not in (sympy.nan, sympy.zoo):
            return True
        gold, answer = self._exact(gold), self._exact(answer)
        if not all(isinstance(one, sympy.Expr) for one in (gold, answer)):
            return bool(gold == answer)
        if any(one.has(sympy.nan, sympy.zoo) for one in (gold, answer)):
            return False
        if gold == answer:
            return True
        if any(one.has(sympy.oo, sympy.S.NegativeInfinity) for one in (gold, answer)):
            return False
        difference = gold - answer
        if difference.is_Rational:
            return bool(difference == 0)
        called = {
            part: sympy.Symbol(str(part), real=True) for part in difference.atoms(sympy.core.function.AppliedUndef)
        }
        if called:
            gold, answer, difference = (one.xreplace(called) for one in (gold, answer, difference))
        if not difference.free_symbols:
            return self._vanishes(difference, gold)
        verdict = self._agree(gold, answer)
        return self._simplifies_to_zero(difference) if verdict is None else verdict

    def _vanishes(self, difference: Any, gold: Any) -> bool:
        """Whether a constant is zero: smaller than the gold answer by a hundred digits."""
        value, scale = difference.evalf(15, maxn=150), gold.evalf(5)
        if not value.is_number or value.has(self.sympy.nan) or not scale.is_number:
            return self._simplifies_to_zero(difference)
        parts = value.as_real_imag()
        if not all(part.is_Float or part.is_Rational for part in parts):
            return self._simplifies_to_zero(difference)
        size = max(map(abs, parts))
        return bool(size <= self.sympy.Float(10) ** -100 * max(abs(scale), self.sympy.Float(10) ** -1000))

    def _simplifies_to_zero(self, difference: Any) -> bool:
        with contextlib.suppress(Exception):
            return bool(self.sympy.simplify(difference).is_zero)
        return False

    def _agree(self, gold: Any, answer: Any) -> bool | None:
        """Whether two expressions agree at random points; None where too few points have a value."""
        by_complex = gold.has(self.sympy.I) or answer.has(self.sympy.I)
        agreed = 0
        for point in self._points(gold.free_symbols | answer.free_symbols):
            values = [one.evalf(40, subs=point, maxn=120) for one in (gold, answer)]
            if not all(value.is_number and value.is_finite for value in values):
                continue
            real = [bool(value.is_real) for value in values]
            if real[0] != real[1] and not by_complex:
                return False
            size = max(map(abs, values))
            if (not real[0] and not by_complex) or not self.sympy.Float("1e-60") < size < self.sympy.Float("1e60"):
                continue  # as good as zero or a pole, where rounding is all that there is
            if abs(values[0] - values[1]) > self.sympy.Float(10) ** -25 * size:
                return False
            agreed += 1
            if agreed == ENOUGH + 2:
                break
        return True if agreed >= ENOUGH else None

    def _points(self, symbols: set[Any]) -> Iterator[dict[Any, Any]]:
        """The same points in every comparison: positive ones, ones where each second is negative, whole numbers."""
        chance = random.Random(5)
        for index in range(POINTS):
            point = {}
            for place, symbol in enumerate(sorted(symbols, key=str)):
                size = self.sympy.Rational(chance.randrange(101, 3000), 997)
                sign = -1 if index % 3 == 1 and (index // 3 + place) % 2 == 0 else 1
                point[symbol] = self.sympy.Integer(chance.randrange(2, 12)) if index % 3 == 2 else sign * size
            yield point


def _is_complex(text: str) -> bool:
    return re.search(r"(?<![A-Za-z\\])i(?![A-Za-z])|\\imath", text) is not None


def _both_signs(text: str) -> str:
    r"""\frac{1 \pm x}{2} as a list of two."""
    parts = re.split(r"(?<=[^({\[]),(?![^(\[]*[)\]])", text)
    signs = [(part.replace("\\pm", "+"), part.replace("\\pm", "-")) if "\\pm" in part else (part,) for part in parts]
    return ", ".join(part for pair in signs for part in pair)


def _squeeze(text: str) -> str:
    return re.sub(r"[\s{}]|\\[,;: ]", "", text)


def _serve() -> None:
    """Answers lines until there are no more. faulthandler ends it in time, from a thread that needs no interpreter
    lock, and even when the caller is gone. Its parent, which has all loaded, says None then and forks the next."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, whose end is ours
    logging.disable()
    faulthandler.dump_traceback_later(SECONDS_TO_START, exit=True)
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has it or allows it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    reader = Reader()
    reader.verdict(["x + 1", "\\sqrt{x^2}"], "1 + \\frac{x}{2}")  # the first one is slow: it imports and compiles
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    for shown in (1, 2):  # what a library prints from here on is no verdict
        os.dup2(os.open(os.devnull, os.O_WRONLY), shown)
    print("ready", file=replies)
    faulthandler.cancel_dump_traceback_later()
    while hasattr(os, "fork") and (child := os.fork()):
        if os.waitpid(child, 0)[1] == 0:
            return
        print(None, file=replies)
    for line in sys.stdin:
        faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True)
        reply = False
        with contextlib.suppress(Exception):  # what cannot be read is wrong
            reply = reader.verdict(*json.loads(line))
        faulthandler.cancel_dump_traceback_later()
        print(reply, file=replies)
