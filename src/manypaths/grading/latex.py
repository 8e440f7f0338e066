r"""Readable answers as LaTeX that math-verify's parser reads.

plain("2√3")                    # 2\sqrt{3}
plain(r"\boldsymbol{x**2}")     # x^{2}
"""

from __future__ import annotations

import re

from manypaths.grading.derivatives import derivatives
from manypaths.grading.layout import readable
from manypaths.grading.logic import formula_as_symbol
from manypaths.grading.printed import python_as_latex
from manypaths.grading.rules import apply, rules
from manypaths.grading.sets import conditions_as_sets
from manypaths.grading.sides import sides_as_names
from manypaths.grading.vectors import cross_products_as_symbols

_BRACES = rules(
    (r"\{\{([^{}]*)\}\}", r"{\1}"),
    (r"\{(\d{1,3}),(\d{3})(?:,(\d{3}))?\}", r"{\1\2\3}"),
    (r"\\log_\s?10(?!\d)", r"\\log_{10}"),
    (r"\\log_\s?(\d)\s?(\d+)", r"\\log_{\1}{\2}"),
    (r"([_^])\s?(\d+|[A-Za-z](?![A-Za-z]))", r"\1{\2}"),
    (r"\^\s?(-\d+)", r"^{\1}"),
    (r"\\[dt]?binom\s?(\w)\s?(\w)", r"\\binom{\1}{\2}"),
    (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (r"\\frac\s?(\d)\s?(\d)", r"\\frac{\1}{\2}"),
    (r"\\frac\s(\w)\s(\w)", r"\\frac{\1}{\2}"),
    (r"\\sqrt\s?(\d)", r"\\sqrt{\1}"),
    (r"\\sqrt\s?\[(\w)\]\s?(\d)", r"\\sqrt[\1]{\2}"),
    (r"(?<![\w!.])(\d+|[A-Za-z])!\s?(?=\^)", r"(\1!)"),
    (r"\\sqrt\s?\((\w+)\)", r"\\sqrt{\1}"),
    (r"\\log_\{(\w+)\}\s?(\d+)", r"\\log_{\1}{\2}"),
    (r"\{\s?(\w+)\s?\\choose\s?(\w+)\s?\}", r"\\binom{\1}{\2}"),
    (r"(?:\{\s?\})?[_^]\{(\d+)\}\s?\\?(?:mathrm|text)?\{?C\}?_\{(\d+)\}", r"\\binom{\1}{\2}"),
    (r"(?<![\w}])C_\{(\d+)\}\^\{(\d+)\}", r"\\binom{\1}{\2}"),
    (r"(?<![\w}])(\d+)C(\d+)(?!\w)", r"\\binom{\1}{\2}"),
)
_ANGLE = re.compile(r"(\d+(?:\.\d+)?|\\[a-z]+|[A-Za-z])\s?(?:\^\s?\{\s?\\circ\s?\}|\^\s?\\circ(?![A-Za-z])|\\degree)")
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")


def _angles(text: str) -> str:
    """Degrees behind a trigonometric function as radians. Degrees behind a plain number are a unit and stay."""
    first = _TRIGONOMETRIC.search(text)
    if not first or "circ" not in text:
        return text
    return text[: first.end()] + _ANGLE.sub(r"{\\frac{\1 \\pi}{180}}", text[first.end() :])


def mathematics(text: str) -> str:
    """LaTeX that the parser reads.

    Args:
        text: An answer, as `layout.readable` returns it.

    Returns:
        The LaTeX: braces around indices, powers and arguments; derivatives, cross products, formulas of logic and named
        sides of equations as symbols; conditions as sets.
    """
    text = apply(_BRACES, text)
    text = python_as_latex(text)
    text = formula_as_symbol(cross_products_as_symbols(apply(_BRACES, text)))
    return re.sub(r" {2,}", " ", conditions_as_sets(sides_as_names(_angles(derivatives(text))))).strip()


def plain(text: str) -> str:
    r"""The LaTeX of any answer: `2√3` as `2\sqrt{3}`, `x**2` as `x^{2}`, `\large 5` as `5`."""
    return mathematics(readable(text))
