"""Derivatives as names."""

from __future__ import annotations

import re

_DERIVATIVE = re.compile(
    r"\\frac\s?\{\s?(?:d|\\partial)\s?(?:\^\s?\{(\d)\})?\s?(\\[a-z]+|[A-Za-z])\s?(\([A-Za-z,]*\))?\s?\}"
    r"\s?\{\s?(?:d|\\partial)\s?(\\[a-z]+|[A-Za-z])\s?(?:\^\s?\{(\d)\})?\s?\}"
)
_SLASHED = re.compile(r"(?<![A-Za-z\\])d([A-Za-z])\s?/\s?d([A-Za-z])(?![A-Za-z])")
_DOTS = re.compile(r"\\(d{1,3})ot\s?(?:\{\s?(\\?[A-Za-z]+)\s?\}|([A-Za-z]))(?:\s?_\s?\{(\w+)\})?")
_PRIMES = re.compile(
    r"([A-Za-z](?:_\{\w+\})?)\s?(?:\^\{\s?((?:\\prime\s?){1,4})\}|\^\s?(\\prime)(?![A-Za-z])|('{1,4}))"
)
_NAMED_DERIVATIVE = re.compile(r"_\{D(\d)[A-Za-z]+\}")


def derivatives(text: str) -> str:
    r"""dy/dx as the name y_{D1x}, f' as f_{D1}: the parser makes 0 of the one and f of the other."""
    text = _SLASHED.sub(r"\\frac{d\1}{d\2}", text)
    text = _DERIVATIVE.sub(
        lambda found: (
            f"{found[2]}_{{D{found[1] or 1}{found[4].lstrip(chr(92))}}}{found[3] or ''}"
            if found[1] == found[5]
            else found[0]
        ),
        text,
    )
    text = _DOTS.sub(lambda found: f"{found[2] or found[3]}_{{D{len(found[1])}t{found[4] or ''}}}", text)

    def primes(found: re.Match[str]) -> str:
        count = found[2].count("prime") if found[2] else len(found[4] or "'")
        letter, _, index = found[1].partition("_")
        return f"{letter}_{{D{count}{index and 'S'}{index.strip('{}')}}}"

    return _PRIMES.sub(primes, text) if "'" in text or "prime" in text else text


def without_variables_of_derivatives(text: str) -> str:
    """y_{D1x} as y_{D1}: where the other answer writes y'."""
    return _NAMED_DERIVATIVE.sub(r"_{D\1}", text)
