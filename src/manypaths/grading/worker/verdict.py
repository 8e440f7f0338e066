"""The answer to one question: does a reading of an answer equal the gold answer?"""

from __future__ import annotations

import re
from typing import Any

import sympy

from .equality import equal
from .reading import is_complex, read

_POWER_OF_T = re.compile(r"(?<!matrix\})\s?\^\s?(?:\{\s?T\s?\}|T)")  # the parser reads a transpose
_T = re.compile(r"\\(?:text|mathrm|operatorname)\s?\{[^{}]*\}|\\[A-Za-z]+|(T)")


def verdict(readings: list[str] | None, gold: str) -> bool:
    """Whether a reading of the answer equals the gold answer.

    Args:
        readings: LaTeX texts, one for each meaning that the answer may have; None checks the gold answer alone.
        gold: The LaTeX text of the gold answer.

    Returns:
        The verdict; with None for the readings, whether the gold answer can be read and equals itself.
    """
    if readings is None:
        parsed = read(gold, not is_complex(gold), False)
        return parsed is not None and equal(parsed, parsed)
    return any(_equals(answer, gold) for answer in readings)


def _equals(answer: str, gold: str) -> bool:
    """Whether two texts are equal; the last letters of the answer may be a unit if the gold answer has no unknown."""
    if any(map(_POWER_OF_T.search, (answer, gold))):
        answer, gold = (_T.sub(lambda match: "\\varsigma " if match[1] else match[0], text) for text in (answer, gold))
    is_real = not (is_complex(answer) or is_complex(gold))
    parsed_gold = read(gold, is_real, False)
    if parsed_gold is None:
        return _squeeze(answer) == _squeeze(gold)
    maybe_unit = answer[-1:].isalpha() and not getattr(parsed_gold, "free_symbols", True)
    for units in (False, True) if maybe_unit else (False,):
        parsed = read(answer, is_real, units)
        if parsed is not None and _same_brackets(answer, gold, parsed, parsed_gold):
            parsed = _distinct(parsed) if answer.startswith("\\{") else parsed
            if equal(_distinct(parsed_gold) if gold.startswith("\\{") else parsed_gold, parsed):
                return True
    return False


def _distinct(parsed: Any) -> Any:
    """A set without repeated members; the parser keeps them because it reads a list as a set."""
    return sympy.FiniteSet(*parsed.args) if isinstance(parsed, sympy.FiniteSet) else parsed


def _same_brackets(answer: str, gold: str, parsed: Any, parsed_gold: Any) -> bool:
    r"""False for a set beside an ordered pair: `\{1,2\}` is not (1,2), which is read as an interval or a tuple."""
    braces = [text.lstrip().startswith("\\{") for text in (answer, gold)]
    ordered = [isinstance(value, (sympy.Interval, sympy.Tuple)) for value in (parsed, parsed_gold)]
    return not ((braces[0] and ordered[1]) or (braces[1] and ordered[0]))


def _squeeze(text: str) -> str:
    """A text without spaces and braces."""
    return re.sub(r"[\s{}]|\\[,;: ]", "", text)
