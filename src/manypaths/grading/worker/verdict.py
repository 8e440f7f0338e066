"""The verdict on the answers of a question."""

from __future__ import annotations

import re
from typing import Any

import sympy

from .equality import equal
from .reading import is_complex, read

_POWER_OF_T = re.compile(r"(?<!matrix\})\s?\^\s?(?:\{\s?T\s?\}|T)")  # to the parser a transpose
_T = re.compile(r"\\(?:text|mathrm|operatorname)\s?\{[^{}]*\}|\\[A-Za-z]+|(T)")


def verdict(answers: list[str] | None, gold: str) -> bool:
    """Whether an answer equals the gold answer, its last letters taken for a unit where the gold has no unknown."""
    if answers is None:
        theirs = read(gold, not is_complex(gold), False)
        return theirs is not None and equal(theirs, theirs)
    return any(_equals(answer, gold) for answer in answers)


def _equals(answer: str, gold: str) -> bool:
    if any(map(_POWER_OF_T.search, (answer, gold))):
        answer, gold = (_T.sub(lambda found: "\\varsigma " if found[1] else found[0], of) for of in (answer, gold))
    is_real = not (is_complex(answer) or is_complex(gold))
    theirs = read(gold, is_real, False)
    if theirs is None:
        return _squeeze(answer) == _squeeze(gold)
    maybe_unit = answer[-1:].isalpha() and not getattr(theirs, "free_symbols", True)
    for units in (False, True) if maybe_unit else (False,):
        ours = read(answer, is_real, units)
        if ours is not None and _same_shape(answer, gold, ours, theirs):
            ours = _once_each(ours) if answer.startswith("\\{") else ours
            if equal(_once_each(theirs) if gold.startswith("\\{") else theirs, ours):
                return True
    return False


def _once_each(one: Any) -> Any:
    """A set in braces, without what is there twice."""
    return sympy.FiniteSet(*one.args) if isinstance(one, sympy.FiniteSet) else one


def _same_shape(answer: str, gold: str, ours: Any, theirs: Any) -> bool:
    r"""False for a set beside an ordered pair: `\{1,2\}` is not (1,2), which is read as an interval or a tuple."""
    braces = [text.lstrip().startswith("\\{") for text in (answer, gold)]
    ordered = [isinstance(one, (sympy.Interval, sympy.Tuple)) for one in (ours, theirs)]
    return not ((braces[0] and ordered[1]) or (braces[1] and ordered[0]))


def _squeeze(text: str) -> str:
    return re.sub(r"[\s{}]|\\[,;: ]", "", text)
