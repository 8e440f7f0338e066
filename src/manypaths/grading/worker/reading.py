"""LaTeX as expressions of sympy, by the parser of math-verify."""

from __future__ import annotations

import contextlib
import functools
import re
from dataclasses import replace
from typing import Any

import sympy
from latex2sympy2_extended import latex2sympy2, math_normalization

_LETTER = re.compile(r"\\(?:text|mathrm|operatorname)\s?\{[^{}]*\}|\\[A-Za-z]+|[EI]")
_REWRITES = (  # notation that the parser misreads or cannot read
    (re.compile(r"\\gamma(?![A-Za-z_])"), "g_{amma}"),  # the parser reads Euler's constant, or the function
    (re.compile(r"\\Gamma(?![A-Za-z_(])"), "G_{amma}"),
    (re.compile(r"_\s?\{\s?\\([A-Za-z]+)\s?\}"), r"_{\1}"),  # a command as an index
    (re.compile(r"(?<=[\d)])(?<![_^]\d)\s?\((?=\s?\d+\s?\))"), r"\\cdot ("),  # 2(3), which the parser adds
)
_NAME_BEFORE = re.compile(r"\s*\\?[A-Za-z]+\s*\([^()=]*\)\s*=")  # P(X > 1) =
_CONVERSION = latex2sympy2.ConversionConfig(lowercase_symbols=False)
_NORMALIZATION = math_normalization.NormalizationConfig(True, False, True, True, "none", False)


@functools.lru_cache(1000)
def read(text: str, is_real: bool, units: bool) -> Any:
    """The expression that a text is.

    Args:
        text: LaTeX from `grading.latex.mathematics`.
        is_real: Whether unknowns are real numbers.
        units: Whether letters at the end may be a unit, which is left out.

    Returns:
        An object of sympy or latex2sympy2; None if the text as a whole is not an expression.
    """
    text = _LETTER.sub(lambda match: {"E": "\\varepsilon ", "I": "\\iota "}.get(match[0], match[0]), text)
    for pattern, by in _REWRITES:
        text = pattern.sub(by, text)
    parsed = _parse(text, is_real, units)
    if parsed is None and "\\pm" in text:
        parsed = _parse(_both_signs(text), is_real, units)
    if parsed is None and (name := _NAME_BEFORE.match(text)):
        parsed = _parse(text[name.end() :], is_real, units)
    if parsed is not None and "i" in text and hasattr(parsed, "subs"):
        imaginary = {symbol: sympy.I for symbol in getattr(parsed, "free_symbols", ()) if symbol.name == "i"}
        parsed = parsed.subs(imaginary) if imaginary else parsed
    return parsed


def _parse(text: str, is_real: bool, units: bool) -> Any:
    with contextlib.suppress(Exception):  # of any kind: the parser cannot read the text
        text = latex2sympy2.normalize_latex(text, replace(_NORMALIZATION, units=units))
        return latex2sympy2.latex2sympy(text, is_real=is_real, normalization_config=None, conversion_config=_CONVERSION)
    return None


def is_complex(text: str) -> bool:
    """Whether a text has the imaginary unit."""
    return re.search(r"(?<![A-Za-z\\])i(?![A-Za-z])|\\imath", text) is not None


def _both_signs(text: str) -> str:
    r"""`\frac{1 \pm x}{2}` as a list of two expressions."""
    parts = re.split(r"(?<=[^({\[]),(?![^(\[]*[)\]])", text)
    signs = [(part.replace("\\pm", "+"), part.replace("\\pm", "-")) if "\\pm" in part else (part,) for part in parts]
    return ", ".join(part for pair in signs for part in pair)
