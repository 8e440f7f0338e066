"""Times of day and amounts in two units."""

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
_PART = re.compile(
    r"(\d{1,15}(?:\.\d{1,15})?) ?(?:\\text ?\{)? ?([A-Za-z]{1,20}) ?,? ?(?:and)? ?\}? ?"
    r"(?:\\text ?\{ ?and ?\})? ?(?:and )?"
)


def minutes(text: str) -> tuple[int, bool] | None:
    """(seconds since midnight, whether the half of the day is said) of `4:30 p.m.`, `16:30`, `10 AM`, noon."""
    bare = TEXT.sub(r" \1 ", text).strip().lower().rstrip(".")
    if bare in ("noon", "12 noon", "midnight", "12 midnight"):
        return 43200 * bare.endswith("noon"), True
    found = _CLOCK.fullmatch(text.strip())
    if not found or not (found[2] or found[4]):
        return None
    hour, half = int(found[1]), (found[4] or "").lower()[:1]
    if hour > (12 if half else 24) or int(found[2] or 0) > 59 or (half and hour == 0):
        return None
    said = bool(half) or hour > 12 or hour == 0
    hour = hour % 12 + 12 * (half == "p") if half else hour % 24
    return hour * 3600 + int(found[2] or 0) * 60 + int(found[3] or 0), said


def same_time(answer: str, gold: str) -> bool | None:
    """Whether two times of the day are one; None where the gold answer is none, or neither says its half of the day."""
    theirs = minutes(gold)
    ours = minutes(f"{answer}:00" if answer.isdigit() else answer)
    if theirs is None or ours is None:
        return None
    if not (theirs[1] or ours[1]):
        return None
    return ours[0] == theirs[0] if ours[1] and theirs[1] else ours[0] % 43200 == theirs[0] % 43200


def compound(text: str) -> dict[str, Fraction] | None:
    """By unit, the whole amount of `2 hours 30 minutes` or `5 feet 6 inches`; None for anything else."""
    parts, end = [], 0
    while found := _PART.match(text, end):
        parts.append((Fraction(found[1]), unit_name(found[2])))
        end = found.end()
    for sizes in (_DURATIONS, _LENGTHS):
        if end == len(text) and len(parts) > 1 and all(unit in sizes for _, unit in parts):
            total = sum((amount * sizes[unit] for amount, unit in parts), Fraction(0))
            return {unit: total / size for unit, size in sizes.items()}
    return None


def same_compound(answer: str, gold: str) -> bool | None:
    """Whether two amounts are one where at least one is `compound`; None where none is."""
    ours, theirs = compound(answer), compound(gold)
    if ours and theirs:
        return ours == theirs
    whole, other = (ours, quantity(gold)) if ours else (theirs, quantity(answer))
    if not whole or not other or len(other[1]) != 1:
        return None
    unit = unit_name(other[1][0])
    return whole[unit] == other[0] if unit in whole else None
