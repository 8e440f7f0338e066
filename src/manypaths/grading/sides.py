r"""Sides of an equation that name a value, as symbols: P(X = 2), \gcd(a, b), \det A, f^{-1}(x).

The parser would evaluate such a side, split it at its inner equals sign, or fail to read it. Equal texts become
the same symbol, so that P(X = 2) = 1/3 is right for 1/3 and wrong for P(X = 3) = 1/3. A function of numbers,
\gcd(4, 6), is a value and not a name.
"""

from __future__ import annotations

import hashlib
import re

from manypaths.grading.sets import split

_LETTER = r"\\?[A-Za-z]+(?:_\{\w{1,9}\})?"
_TERM = rf"{_LETTER}(?:\({_LETTER}(?:\s?,\s?{_LETTER}){{0,5}}\))?"
_TERMS = rf"{_TERM}(?:\s?,\s?{_TERM}){{0,5}}"
_UPRIGHT = r"\\(?:operatorname|mathrm|text)\s?\{[A-Za-z ]{1,30}\}"
_INSIDE = r"[^()\[\]]*(?:\([^()\[\]]*\)[^()\[\]]*){0,5}"
_NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?:[PED]|\\Pr|\\mathbb\s?\{{[PEV]\}}|{_UPRIGHT})\s?(?:_\{{\w{{1,9}}\}})?\s?[(\[]{_INSIDE}[)\]]",  # P(X = 2)
        rf"\\(?:gcd|lcm|det|dim|deg|max|min|sup|inf|arg|ker|Re|Im)(?:_\{{[^{{}}]{{1,40}}\}})?\s?\(?\s?{_TERMS}\s?\)?",
        rf"{_UPRIGHT}\s?\(?\s?{_TERMS}\s?\)?",  # \operatorname{rank} A
        rf"\\lim\s?_\{{[^{{}}]{{1,40}}\}}\s?{_TERM}",  # \lim_{n \to \infty} a_n
        rf"(?:\\?#|\\lfloor|\\lceil|\\\||\\lVert)\s?{_TERM}\s?(?:\\rfloor|\\rceil|\\\||\\rVert)?",  # \|v\|
        r"[A-Za-z]\s?\^\{-1\}\s?\(\s?\w+\s?\)",  # f^{-1}(x)
    )
)
_INVERSE = re.compile(r"[A-Z]\s?\^\{(?:-1|T|\\top)\}")  # of a matrix
_HAS_LETTER = re.compile(r"[A-Za-z]").search
_SPELLINGS = str.maketrans({" ": "", "{": "", "}": "", "[": "(", "]": ")"})
_DIGITS_AS_LETTERS = str.maketrans("0123456789", "ghjklmnpqr")


def sides_as_names(text: str) -> str:
    r"""`\gcd(a,b)=6` as `N_{...}=6`; a text without such a side unchanged."""
    if "=" not in text:
        return text
    sides = split(text, "=")
    if len(sides) < 2 or not all(sides):
        return text
    has_matrix = "matrix}" in text
    named = [symbol(side) if _is_name(side, has_matrix) else side for side in sides]
    return text if named == sides else "=".join(named)


def _is_name(side: str, has_matrix: bool) -> bool:
    if has_matrix and _INVERSE.fullmatch(side):
        return True
    return any(name.fullmatch(side) and _has_unknown(side) for name in _NAMES)


def _has_unknown(side: str) -> bool:
    """Whether a letter follows the name of the function."""
    behind = re.sub(rf"^(?:{_UPRIGHT}|\\[A-Za-z]+\s?(?:_\{{[^{{}}]*\}}|\{{[A-Z]\}})?|[A-Z])", "", side, count=1)
    return _HAS_LETTER(behind) is not None


def symbol(side: str) -> str:
    """A name that the parser reads as one symbol; equal texts have the same name."""
    spelling = side.replace("\\mid", "|").replace("\\,", "").translate(_SPELLINGS)
    return f"N_{{{hashlib.sha256(spelling.encode()).hexdigest()[:16].translate(_DIGITS_AS_LETTERS)}}}"
