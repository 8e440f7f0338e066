"""Python's output, with sympy and numpy, as LaTeX: `x**2`, `sqrt(x)`, `Matrix([[1, 2]])`."""

from __future__ import annotations

import re
from collections.abc import Callable

from manypaths.grading.rules import FUNCTIONS, apply, rules
from manypaths.grading.sets import closing, split

_PYTHON = rules(
    (r"(?<=\d)\.(?=\s?[/*+)^-])", ""),
    (r"\b(?:np|numpy|math|sympy|sp|cmath)\.(?=[A-Za-z])", ""),
    (r"\*\*\s?(-?\s?\d+(?![\d.])|[A-Za-z](?![A-Za-z]))", r"^{\1}"),
    (r"\*\*", "^"),
    (r"(?<![A-Za-z\\{])pi(?![A-Za-z])", r"\\pi "),
    (r"(?<![A-Za-z\\])oo(?![A-Za-z])", r"\\infty "),
    (r"^(?:S\.)?EmptySet$", r"\\emptyset"),
    (r"(?<![A-Za-z\\])(?:S\.)?Reals(?![A-Za-z])", r"\\mathbb{R}"),
    (r"(?<![A-Za-z\\])(?:infinity|Infinity|inf)(?![A-Za-z])", r"\\infty "),
    (r"<=", r"\\le "),
    (r">=", r"\\ge "),
    (r"!=|/=", r"\\ne "),
    (r"^\(([^()]+)\)\s?&\s?\(([^()]+)\)$", r"\1 \\text{ and } \2"),
    (r"^\(([^()]+)\)\s?\|\s?\(([^()]+)\)$", r"\1 \\text{ or } \2"),
    (r"==", "="),
    (r"(?<=\d)\s?\*\s?I(?![A-Za-z])|(?<=\d)j(?![A-Za-z])", "i"),
    (r"(?<![A-Za-z\\])I\s?\*\s?(?=[\w(])|(?<=\*)I(?![A-Za-z])", "i"),
    (r"(\d)[eE]([-+]?\d{1,3})(?=\s?[*/+A-Za-z-]|$)", r"\1\\cdot 10^{\2}"),
    (r"(?<![A-Za-z\\])a(sin|cos|tan)h?(?=\s?\()", r"\\arc\1"),
    (rf"(?<![A-Za-z\\])({FUNCTIONS})(?=\s?\(|\s\\?[A-Za-z0-9])(?!\s?\([^()]*\)\s?=)", r"\\\1"),
    (r"(?<![A-Za-z\\])exp(?=\()", r"\\exp"),
    (r"(?<=\w)\s?\*\s?(?=[\w\\(])|(?<=[)}])\s?\*\s?(?=[\w\\(])", r" \\cdot "),
    (r"(?<![A-Za-z\\])(?:Eq|Rational|Fraction|Integer|Float)(?=\()", r"\\\g<0>"),
)
# {name: the LaTeX of a call from (the text of all arguments, their list), None where the call stays}
_CALLS: dict[str, Callable[[str, list[str]], str | None]] = {
    "sqrt": lambda inner, _: f"\\sqrt{{{inner}}}",
    "cbrt": lambda inner, _: f"\\sqrt[3]{{{inner}}}",
    "abs": lambda inner, _: f"|{inner}|",
    "Abs": lambda inner, _: f"|{inner}|",
    "factorial": lambda inner, _: f"({inner})!",
    "Rational": lambda _, parts: _fraction(parts),
    "Fraction": lambda _, parts: _fraction(parts),
    "Integer": lambda inner, _: inner,
    "Float": lambda inner, _: inner,
    "Matrix": lambda inner, _: inner,
    "array": lambda inner, _: inner,
    "set": lambda inner, _: inner,
    "FiniteSet": lambda inner, _: f"\\{{{inner}\\}}",
    "Eq": lambda inner, parts: "=".join(parts) if len(parts) == 2 else inner,
    "Interval": lambda _, parts: _interval("[", parts, "]"),
    "Interval.open": lambda _, parts: _interval("(", parts, ")"),
    "Interval.Lopen": lambda _, parts: _interval("(", parts, "]"),
    "Interval.Ropen": lambda _, parts: _interval("[", parts, ")"),
    "Union": lambda _, parts: " \\cup ".join(parts),
    "binomial": lambda _, parts: _binomial(parts),
    "comb": lambda _, parts: _binomial(parts),
    "C": lambda _, parts: _binomial(parts) if all(part.strip().isdigit() for part in parts) else None,
}
_CALL = re.compile(rf"(?<![A-Za-z])\\?({'|'.join(map(re.escape, _CALLS))})\s?\(|\^\s?\(")
_NESTED_LISTS = re.compile(r"\[\s*\[([^\[\]]*(?:\]\s*,\s*\[[^\[\]]*)*)\]\s*\]")


def _interval(left: str, parts: list[str], right: str) -> str | None:
    """The LaTeX of an interval that sympy prints; `Interval(-oo, 3)` is open at its infinite end."""
    if len(parts) != 2:
        return None
    left, right = ("(" if "infty" in parts[0] else left), (")" if "infty" in parts[1] else right)
    return f"{left}{parts[0]},{parts[1]}{right}"


def _fraction(parts: list[str]) -> str:
    return f"\\frac{{{parts[0]}}}{{{parts[1]}}}" if len(parts) == 2 else parts[0]


def _binomial(parts: list[str]) -> str | None:
    return f"\\binom{{{parts[0]}}}{{{parts[1]}}}" if len(parts) == 2 else None


def _calls(text: str) -> str:
    r"""`sqrt(x)` as `\sqrt{x}`, `x^(1/2)` as `x^{1/2}`: at most 50 calls, from the last one, which is innermost."""
    limit = len(text)
    for _ in range(50):
        calls = list(_CALL.finditer(text, 0, limit))
        if not calls:
            break
        call, limit = calls[-1], calls[-1].start()
        end = closing(text, call.end() - 1)
        arguments = text[call.end() : end]
        latex = _CALLS[call[1]](arguments, split(arguments, ",")) if call[1] else f"^{{{arguments}}}"
        if end >= 0 and latex is not None:
            text = text[:limit] + latex + text[end + 1 :]
    return text


def _matrix(match: re.Match[str]) -> str:
    """Nested lists as a matrix."""
    rows = [row.replace(",", " & ") for row in re.split(r"\]\s*,\s*\[", match[1])]
    return "\\begin{pmatrix}" + " \\\\ ".join(rows) + "\\end{pmatrix}"


def python_as_latex(text: str) -> str:
    """A text with Python's operators, calls and nested lists as LaTeX."""
    return _NESTED_LISTS.sub(_matrix, _calls(apply(_PYTHON, text)))
