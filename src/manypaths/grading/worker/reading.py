"""Texts as expressions of sympy."""

from __future__ import annotations

import contextlib
import functools
import re
from dataclasses import replace
from typing import Any

import sympy
from latex2sympy2_extended import latex2sympy2, math_normalization

_LETTER = re.compile(r"\\(?:text|mathrm|operatorname)\s?\{[^{}]*\}|\\[A-Za-z]+|[EI]")
_REWRITES = (  # what the parser takes for something else, or cannot read
    (re.compile(r"\\gamma(?![A-Za-z_])"), "g_{amma}"),  # Euler's constant, or the function
    (re.compile(r"\\Gamma(?![A-Za-z_(])"), "G_{amma}"),
    (re.compile(r"_\s?\{\s?\\([A-Za-z]+)\s?\}"), r"_{\1}"),  # a command as an index
    (re.compile(r"(?<=[\d)])(?<![_^]\d)\s?\((?=\s?\d+\s?\))"), r"\\cdot ("),  # 2(3), to it a sum
)


_HEAD = re.compile(r"\s*\\?[A-Za-z]+\s*\([^()=]*\)\s*=")  # P(X > 1) =
_HOW = latex2sympy2.ConversionConfig(lowercase_symbols=False)
_CLEAN = math_normalization.NormalizationConfig(True, False, True, True, "none", False)


@functools.lru_cache(1000)
def read(text: str, is_real: bool, units: bool) -> Any:
    """The expression, or None if not all of the text is one."""
    text = _LETTER.sub(lambda found: {"E": "\\varepsilon ", "I": "\\iota "}.get(found[0], found[0]), text)
    for pattern, by in _REWRITES:
        text = pattern.sub(by, text)
    parsed = _parse(text, is_real, units)
    if parsed is None and "\\pm" in text:
        parsed = _parse(_both_signs(text), is_real, units)
    if parsed is None and (head := _HEAD.match(text)):
        parsed = _parse(text[head.end() :], is_real, units)
    if parsed is not None and "i" in text and hasattr(parsed, "subs"):
        units_of_i = {x: sympy.I for x in getattr(parsed, "free_symbols", ()) if x.name == "i"}
        parsed = parsed.subs(units_of_i) if units_of_i else parsed
    return parsed


def _parse(text: str, is_real: bool, units: bool) -> Any:
    with contextlib.suppress(Exception):  # the parser raises many kinds; they mean that it cannot read the text
        text = latex2sympy2.normalize_latex(text, replace(_CLEAN, units=units))
        return latex2sympy2.latex2sympy(text, is_real=is_real, normalization_config=None, conversion_config=_HOW)
    return None


def is_complex(text: str) -> bool:
    return re.search(r"(?<![A-Za-z\\])i(?![A-Za-z])|\\imath", text) is not None


def _both_signs(text: str) -> str:
    r"""\frac{1 \pm x}{2} as a list of two."""
    parts = re.split(r"(?<=[^({\[]),(?![^(\[]*[)\]])", text)
    signs = [(part.replace("\\pm", "+"), part.replace("\\pm", "-")) if "\\pm" in part else (part,) for part in parts]
    return ", ".join(part for pair in signs for part in pair)
