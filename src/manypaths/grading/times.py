"""Times of day, `4:30 p.m.`, and amounts in two units, `2 hours 30 minutes` and `5 feet 6 inches`."""

from __future__ import annotations

import re
from fractions import Fraction

from manypaths.grading.quantities import quantity
from manypaths.grading.units import TEXT, unit_name

_CLOCK = re.compile(
    r"(\d{1,2})(?:\s?:\s?(\d\d))?(?::(\d\d))?\s?(?:\\text\s?\{\s?)?(?:\s?o'clock\s?)?([ap]\.?\s?m\.?)?(?:\s?\})?",
    re.IGNORECASE,
)
_DURATIONS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
_LENGTHS = {"yard": 36, "foot": 12, "inch": 1}
_AMOUNT = re.compile(
    r"(\d{1,15}(?:\.\d{1,15})?) ?(?:\\text ?\{)? ?([A-Za-z]{1,20}) ?,? ?(?:and)? ?\}? ?"
    r"(?:\\text ?\{ ?and ?\})? ?(?:and )?"
)


def time_of_day(text: str) -> tuple[int, bool] | None:
    """The time that `4:30 p.m.`, `16:30`, `10 AM` or `noon` is.

    Args:
        text: An answer, as `layout.readable` returns it.

    Returns:
        Seconds since midnight, and whether the text distinguishes morning from afternoon; None for any other text.
    """
    bare = TEXT.sub(r" \1 ", text).strip().lower().rstrip(".")
    if bare in ("noon", "12 noon", "midnight", "12 midnight"):
        return 43200 * bare.endswith("noon"), True
    match = _CLOCK.fullmatch(text.strip())
    if not match or not (match[2] or match[4]):
        return None
    hour, half = int(match[1]), (match[4] or "").lower()[:1]
    if hour > (12 if half else 24) or int(match[2] or 0) > 59 or (half and hour == 0):
        return None
    is_definite = bool(half) or hour > 12 or hour == 0
    hour = hour % 12 + 12 * (half == "p") if half else hour % 24
    return hour * 3600 + int(match[2] or 0) * 60 + int(match[3] or 0), is_definite


def same_time(answer: str, gold: str) -> bool | None:
    """Whether two times of day are the same.

    Args:
        answer: An answer, as `layout.readable` returns it; `9` may be 9:00.
        gold: The gold answer, as `layout.readable` returns it.

    Returns:
        The verdict; a time that does not distinguish morning from afternoon may be either. None unless both are times
        and one of them distinguishes the two.
    """
    gold_time = time_of_day(gold)
    answer_time = time_of_day(f"{answer}:00" if answer.isdigit() else answer)
    if gold_time is None or answer_time is None or not (gold_time[1] or answer_time[1]):
        return None
    if answer_time[1] and gold_time[1]:
        return answer_time[0] == gold_time[0]
    return answer_time[0] % 43200 == gold_time[0] % 43200


def compound(text: str) -> dict[str, Fraction] | None:
    """The amount that `2 hours 30 minutes` or `5 feet 6 inches` is, in each unit of its kind.

    Args:
        text: An answer, as `layout.readable` returns it.

    Returns:
        The whole amount by the name of the unit, such as `{"hour": 5/2, "minute": 150, ...}`; None for a text that is
        not an amount in two or more units of time, or of length.
    """
    parts, end = [], 0
    while match := _AMOUNT.match(text, end):
        parts.append((Fraction(match[1]), unit_name(match[2])))
        end = match.end()
    for sizes in (_DURATIONS, _LENGTHS):
        if end == len(text) and len(parts) > 1 and all(unit in sizes for _, unit in parts):
            total = sum((amount * sizes[unit] for amount, unit in parts), Fraction(0))
            return {unit: total / size for unit, size in sizes.items()}
    return None


def same_compound(answer: str, gold: str) -> bool | None:
    """Whether two amounts are the same where at least one is in two units.

    Args:
        answer: An answer, as `layout.readable` returns it.
        gold: The gold answer, as `layout.readable` returns it.

    Returns:
        The verdict; None if neither is `compound`, or if the other is not an amount in one unit of the same kind.
    """
    answer_amount, gold_amount = compound(answer), compound(gold)
    if answer_amount and gold_amount:
        return answer_amount == gold_amount
    amount, other = (answer_amount, quantity(gold)) if answer_amount else (gold_amount, quantity(answer))
    if not amount or not other or len(other[1]) != 1:
        return None
    unit = unit_name(other[1][0])
    return amount[unit] == other[0] if unit in amount else None
