"""The verdict on an answer without the worker, or the question for the worker."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from manypaths.grading.derivatives import without_variables_of_derivatives
from manypaths.grading.forms import settled_by_form, without_choice
from manypaths.grading.latex import mathematics
from manypaths.grading.layout import LONGEST, readable, strip
from manypaths.grading.quantities import in_base, quantity, ratio, same_unit, unit_behind, without_unit
from manypaths.grading.sets import as_set, split
from manypaths.grading.vectors import both_marked

_SIDE_BY_SIDE = re.compile(r"(?<!frac)(?<!frac\s)\d[\s~]+\d")
_BASES = re.compile(r"(?<=\d)\s?_\s?\{?(\w+)")  # of numbers, which the parser ignores
COMMA = re.compile(r"(?<! ) ?, ?")
_GOES_ON = re.compile(r", ?\\ldots")  # a list
_NAMES_OF_RATIO = re.compile(r"^[A-Za-z\\ ]+:[A-Za-z\\ :]+=")  # a:b:c =
_ANGLE = re.compile(r"\\angle\s?([A-Z]{3})(?![A-Za-z])")  # to the parser a product of its letters
PERCENT = re.compile(r"\s*\\?%$")
PYTHONS_LOG = re.compile(r"(?<![A-Za-z\\])log(?=\()")
_LIST = re.compile(r"\[(.+)\]")
_WITHOUT_UNKNOWN = re.compile(r"^\\(?:ne|le|ge)(?![A-Za-z])|^[<>]")
_WITH_UNKNOWN = re.compile(r"^\\?[A-Za-z]\s*(?=\\(?:ne|le|ge)(?![A-Za-z])|[<>])")


class Question(NamedTuple):
    """What is left for the worker: is one of the answers the gold answer? Of None, whether the gold can be read."""

    answers: tuple[str, ...] | None
    gold: str


def settle(answer: str, gold: str) -> bool | Question:
    """The verdict on an answer, or the question that only mathematics can decide."""
    if max(len(answer), len(gold)) > LONGEST:
        return False
    if answer == gold:
        return bool(strip(gold))
    answer, gold = readable(answer), readable(gold)
    if not answer or not gold or answer == gold:
        return answer == gold != ""
    if COMMA.sub(",", answer) == COMMA.sub(",", gold):
        return True
    verdict = settled_by_form(answer, gold)
    if verdict is None:
        answer, gold = without_choice(answer), without_choice(gold)
        verdict = _settled_by_quantity(in_base(ratio(answer)), in_base(ratio(gold)))
    return _question(answer, gold) if verdict is None else verdict


def _settled_by_quantity(answer: str, gold: str) -> bool | None:
    """The verdict where both are plain numbers, or their units differ; None where mathematics is left."""
    if answer == gold:
        return True
    ours, theirs = quantity(answer), quantity(gold)
    units = [of[1] if of else unit_behind(text) for of, text in ((ours, answer), (theirs, gold))]
    if not same_unit(*units):
        return False
    if ours is None or theirs is None:
        return None
    percents = ("%" in units[1]) - ("%" in units[0])
    return ours[0] == theirs[0] or (percents != 0 and ours[0] * Fraction(100) ** percents == theirs[0])


def _question(answer: str, gold: str) -> bool | Question:
    """The two as the worker reads them, with what the answer may also mean beside such a gold answer."""
    if "\\ln" in gold and "\\log" not in gold:
        answer = PYTHONS_LOG.sub(r"\\ln", answer)
    answer, gold = both_marked(answer, gold)
    percents = [PERCENT.search(text) is not None for text in (answer, gold)]
    ours, theirs = (mathematics(PERCENT.sub("", without_unit(text))) for text in (answer, gold))
    if ours == theirs:
        return True
    ratios = [_parts_of_ratio(text) for text in (ours, theirs)]
    if any(ratios):
        return Question((ratios[0],), ratios[1]) if all(ratios) else False
    angles = [{min(name, name[::-1]) for name in _ANGLE.findall(text)} for text in (ours, theirs)]
    if all(angles) and angles[0].isdisjoint(angles[1]):
        return False
    if bool(_GOES_ON.search(ours)) != bool(_GOES_ON.search(theirs)):
        return False
    if _SIDE_BY_SIDE.search(ours) or _BASES.findall(ours) != _BASES.findall(theirs):
        return False
    if ("_{D" in ours) and ("_{D" in theirs):
        bare = [without_variables_of_derivatives(text) for text in (ours, theirs)]
        if bare[0] == ours or bare[1] == theirs:
            ours, theirs = bare
    if _WITHOUT_UNKNOWN.match(ours) or _WITHOUT_UNKNOWN.match(theirs):
        ours, theirs = _WITH_UNKNOWN.sub("", ours), _WITH_UNKNOWN.sub("", theirs)
        if ours.replace(" ", "") == theirs.replace(" ", ""):
            return True
    answers = [ours]
    if percents[0] != percents[1]:
        answers.append(f"\\frac{{{ours}}}{{100}}" if percents[0] else f"100({ours})")
    if "\\cup" in theirs and (found := as_set(ours, commas=True)):
        answers.append(found[1])
    elif "\\cup" in ours and (found := as_set(theirs, commas=True)):
        theirs = found[1]
    inside = _LIST.fullmatch(ours)  # of a list as Python prints it
    if inside and theirs[:1] not in "[(" and not re.search(r"\\le|<", theirs):
        answers.append(inside[1])
    return Question(tuple(answers), theirs)


def _parts_of_ratio(text: str) -> str:
    """`1:2:3` as the tuple (1, 2, 3), to the parser a quotient of three; empty for anything but such a ratio."""
    parts = split(_NAMES_OF_RATIO.sub("", text), ":")
    return f"({','.join(parts)})" if len(parts) > 2 and all(parts) else ""
