r"""Derivatives as names: dy/dx as y_{D1x}, f' as f_{D1}. The parser makes 0 of the first and f of the second."""

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
    r"""A text in which each derivative, such as `\frac{dy}{dx}`, `dy/dx`, `\dot x` or `y'`, is a name."""
    text = _SLASHED.sub(r"\\frac{d\1}{d\2}", text)
    text = _DERIVATIVE.sub(
        lambda match: (
            f"{match[2]}_{{D{match[1] or 1}{match[4].lstrip(chr(92))}}}{match[3] or ''}"
            if match[1] == match[5]
            else match[0]
        ),
        text,
    )
    text = _DOTS.sub(lambda match: f"{match[2] or match[3]}_{{D{len(match[1])}t{match[4] or ''}}}", text)

    def primes(match: re.Match[str]) -> str:
        count = match[2].count("prime") if match[2] else len(match[4] or "'")
        letter, _, index = match[1].partition("_")
        return f"{letter}_{{D{count}{index and 'S'}{index.strip('{}')}}}"

    return _PRIMES.sub(primes, text) if "'" in text or "prime" in text else text


def without_variables_of_derivatives(text: str) -> str:
    """y_{D1x} as y_{D1}, to compare it with y'."""
    return _NAMED_DERIVATIVE.sub(r"_{D\1}", text)
