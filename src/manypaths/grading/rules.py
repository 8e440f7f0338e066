"""Tables of replacements: pairs of (pattern, replacement)."""

from __future__ import annotations

import re
from collections.abc import Callable

Rule = tuple[re.Pattern[str], "str | Callable[[re.Match[str]], str]"]


def rules(*pairs: tuple[str, str | Callable[[re.Match[str]], str]]) -> tuple[Rule, ...]:
    return tuple((re.compile(pattern), by) for pattern, by in pairs)


def apply(table: tuple[Rule, ...], text: str) -> str:
    for pattern, by in table:
        text = pattern.sub(by, text)
    return text


FUNCTIONS = (
    "arcsin|arccos|arctan|arccot|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|lg|exp|max|min|gcd|lcm|deg|det|dim"
)
