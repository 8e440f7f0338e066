"""Tables of replacements, which `layout`, `printed` and `latex` apply to a text row by row."""

from __future__ import annotations

import re
from collections.abc import Callable

Replacement = str | Callable[[re.Match[str]], str]
Rule = tuple[re.Pattern[str], Replacement]

# Alternatives of a pattern: functions that stand without a backslash in upright text and in Python's output.
FUNCTIONS = (
    "arcsin|arccos|arctan|arccot|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|lg|exp|max|min|gcd|lcm|deg|det|dim"
)


def rules(*rows: tuple[str, Replacement]) -> tuple[Rule, ...]:
    """A table of (pattern, replacement) with compiled patterns. Each pattern must take time linear in the text."""
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rows)


def apply(table: tuple[Rule, ...], text: str) -> str:
    """The text after the replacements of all rows, in their order."""
    for pattern, replacement in table:
        text = pattern.sub(replacement, text)
    return text
