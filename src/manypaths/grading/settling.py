"""The verdict on an answer where text and exact numbers decide it, else the question for the worker."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from manypaths.grading.derivatives import without_variables_of_derivatives
from manypaths.grading.forms import settled_by_form, without_choice
from manypaths.grading.latex import mathematics
from manypaths.grading.layout import LONGEST, readable, strip
from manypaths.grading.quantities import in_base, quantity, ratio
from manypaths.grading.sets import as_set, split
from manypaths.grading.units import same_unit, unit_behind, without_unit
from manypaths.grading.vectors import both_marked

__all__ = ["Question", "settle"]

PERCENT = re.compile(r"\s*\\?%$")
PYTHONS_LOG = re.compile(r"(?<![A-Za-z\\])log(?=\()")
_COMMA = re.compile(r"(?<! ) ?, ?")
_SIDE_BY_SIDE = re.compile(r"(?<!frac)(?<!frac\s)\d[\s~]+\d")  # two numbers, which the parser would multiply
_BASES = re.compile(r"(?<=\d)\s?_\s?\{?(\w+)")  # of numbers, which the parser ignores
_ENDLESS = re.compile(r", ?\\ldots")  # a list that goes on
_NAMES_OF_RATIO = re.compile(r"^[A-Za-z\\ ]+:[A-Za-z\\ :]+=")  # a:b:c =
_ANGLE = re.compile(r"\\angle\s?([A-Z]{3})(?![A-Za-z])")  # the parser reads a product of its letters
_LIST = re.compile(r"\[(.+)\]")
_WITHOUT_UNKNOWN = re.compile(r"^\\(?:ne|le|ge)(?![A-Za-z])|^[<>]")
_WITH_UNKNOWN = re.compile(r"^\\?[A-Za-z]\s*(?=\\(?:ne|le|ge)(?![A-Za-z])|[<>])")


class Question(NamedTuple):
    """A question for the worker: does a reading of the answer equal the gold answer?

    With None for the readings: can the worker read the gold answer, and does it find it equal to itself?
    """

    readings: tuple[str, ...] | None
    gold: str


def settle(answer: str, gold: str) -> bool | Question:
    """The verdict on a final answer, or the question that only mathematics can decide.

    Args:
        answer: The content of a completion's box.
        gold: The gold answer alone, as `final_answer` returns it.

    Returns:
        True or False where text and exact numbers decide, else the `Question` for the worker. Two texts of at most
        `LONGEST` characters take time that is at worst quadratic in their length; longer ones are wrong at once.
    """
    if max(len(answer), len(gold)) > LONGEST:
        return False
    if answer == gold:
        return bool(strip(gold))
    answer, gold = readable(answer), readable(gold)
    if not answer or not gold or answer == gold:
        return answer == gold != ""
    if without_spaces_at_commas(answer) == without_spaces_at_commas(gold):
        return True
    verdict = settled_by_form(answer, gold)
    if verdict is None:
        answer, gold = without_choice(answer), without_choice(gold)
        verdict = _settled_by_quantity(in_base(ratio(answer)), in_base(ratio(gold)))
    return _settled_by_latex(answer, gold) if verdict is None else verdict


def without_spaces_at_commas(text: str) -> str:
    """`1,2` for `1, 2` and `1 ,2`."""
    return _COMMA.sub(",", text)


def _settled_by_quantity(answer: str, gold: str) -> bool | None:
    """The verdict where both are plain numbers or where the units differ; None where mathematics has to decide."""
    if answer == gold:
        return True
    values = quantity(answer), quantity(gold)
    units = [value[1] if value else unit_behind(text) for value, text in zip(values, (answer, gold), strict=True)]
    if not same_unit(*units):
        return False
    if values[0] is None or values[1] is None:
        return None
    (left, _), (right, _) = values[0], values[1]
    percents = ("%" in units[1]) - ("%" in units[0])
    return left == right or (percents != 0 and left * Fraction(100) ** percents == right)


def _settled_by_latex(answer: str, gold: str) -> bool | Question:
    """The verdict where the LaTeX of both decides, else the question for the worker."""
    if "\\ln" in gold and "\\log" not in gold:
        answer = PYTHONS_LOG.sub(r"\\ln", answer)
    answer, gold = both_marked(answer, gold)
    answer_percent, gold_percent = (PERCENT.search(text) is not None for text in (answer, gold))
    answer, gold = (mathematics(PERCENT.sub("", without_unit(text))) for text in (answer, gold))
    if answer == gold:
        return True
    ratios = [_parts_of_ratio(text) for text in (answer, gold)]
    if any(ratios):
        return Question((ratios[0],), ratios[1]) if all(ratios) else False
    if _differ_where_the_parser_is_blind(answer, gold):
        return False
    if "_{D" in answer and "_{D" in gold:
        answer, gold = _with_equal_derivatives(answer, gold)
    if _WITHOUT_UNKNOWN.match(answer) or _WITHOUT_UNKNOWN.match(gold):  # `> 3` beside `x > 3`
        answer, gold = _WITH_UNKNOWN.sub("", answer), _WITH_UNKNOWN.sub("", gold)
        if answer.replace(" ", "") == gold.replace(" ", ""):
            return True
    return _question(answer, gold, answer_percent, gold_percent)


def _question(answer: str, gold: str, answer_percent: bool, gold_percent: bool) -> Question:
    """The question for the worker, with each reading that the answer may have beside such a gold answer."""
    readings = [answer]
    if answer_percent != gold_percent:
        readings.append(f"\\frac{{{answer}}}{{100}}" if answer_percent else f"100({answer})")
    if "\\cup" in gold and (union := as_set(answer, commas=True)):
        readings.append(union[1])
    elif "\\cup" in answer and (union := as_set(gold, commas=True)):
        gold = union[1]
    members = _LIST.fullmatch(answer)  # of a list as Python prints it
    if members and gold[:1] not in "[(" and not re.search(r"\\le|<", gold):
        readings.append(members[1])
    return Question(tuple(readings), gold)


def _differ_where_the_parser_is_blind(answer: str, gold: str) -> bool:
    """Whether angles, the dots of an endless list or bases differ, or the answer has two numbers side by side."""
    angles = [{min(name, name[::-1]) for name in _ANGLE.findall(text)} for text in (answer, gold)]
    return bool(
        (all(angles) and angles[0].isdisjoint(angles[1]))
        or bool(_ENDLESS.search(answer)) != bool(_ENDLESS.search(gold))
        or _SIDE_BY_SIDE.search(answer)
        or _BASES.findall(answer) != _BASES.findall(gold)
    )


def _with_equal_derivatives(answer: str, gold: str) -> tuple[str, str]:
    """Both without the variable of their derivatives if one of them has none, as y' beside dy/dx."""
    bare_answer, bare_gold = without_variables_of_derivatives(answer), without_variables_of_derivatives(gold)
    return (bare_answer, bare_gold) if bare_answer == answer or bare_gold == gold else (answer, gold)


def _parts_of_ratio(text: str) -> str:
    """`1:2:3` as the tuple (1, 2, 3), because the parser reads a quotient of three; empty for any other text."""
    parts = split(_NAMES_OF_RATIO.sub("", text), ":")
    return f"({','.join(parts)})" if len(parts) > 2 and all(parts) else ""
