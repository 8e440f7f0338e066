"""How numbers are written: their units, and as many digits as their intervals support."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manypaths.counts import AT_K, measure

Bounds = Mapping[str, Any]  # `value`, `low` and `high`; None where there is none
NOISE = 1e-9  # a difference below this is 0, computed in floating point


@dataclass(frozen=True)
class Unit:
    """How values of one kind are written."""

    factor: float = 1.0  # 100 for shares
    after_value: str = ""  # such as "%"
    of_difference: str = ""  # such as "points"
    decimals: int | None = None  # of a number without an interval; None for three significant digits


SHARE = Unit(100.0, "%", "points", 1)
ANSWERS = Unit(1.0, "", "answers", 2)
SAVED = Unit(100.0, "%", "%", 0)
PLAIN = Unit()
COSTS = {"steps": Unit(1.0, "", "steps"), "hours": Unit(1.0, "", "hours")}


def unit_of(name: str) -> Unit:
    """The unit of a measure: percent, answers, or none for a plain number."""
    if measure(name).is_share:
        return SHARE
    return ANSWERS if AT_K.fullmatch(name) else PLAIN


def supported_decimals(half_width: float) -> int:
    """The decimals at which a number is written whose interval has this half-width.

    The half-width itself keeps two significant digits if its first three are at most 354, else one; the value is
    rounded to the same place: the rule of the Particle Data Group (Review of Particle Physics, Introduction, 5.3). So
    8 points carry no tenths, and 3 points do. Never below 0.
    """
    exponent = math.floor(math.log10(half_width))
    leading = round(half_width / 10.0 ** (exponent - 2))  # 100 to 1000
    return max(0, (1 if leading <= 354 else 0) - exponent)


def decimals(bounds: Bounds, unit: Unit) -> int | None:
    """The decimals that an interval supports; None without one."""
    value, low, high = (bounds[key] for key in ("value", "low", "high"))
    if low is not None and high is not None:
        half_width = (high - low) / 2
    else:
        half_width = max(
            [abs(end - value) for end in (low, high) if end is not None and value is not None], default=0.0
        )
    return supported_decimals(unit.factor * half_width) if half_width > NOISE else None


def number(value: float, unit: Unit, places: int | None = None, signed: bool = False) -> str:
    """A number in its unit.

    Args:
        value: In the unit that comparison.json has, such as a share.
        places: Decimals; None for as many as the unit has by itself.
        signed: Whether it is a difference, which has a sign and no percent sign.

    Returns:
        A difference or saving that is not 0 is not written as 0: it keeps its first significant digit.
    """
    shown = unit.factor * value
    if places is None:
        places = _usual_decimals(shown) if unit.decimals is None else unit.decimals
    if abs(shown) < NOISE:
        places, shown = 0 if signed else places, 0.0
    elif (signed or unit is SAVED) and round(shown, places) == 0:
        places = -math.floor(math.log10(abs(shown)))
    sign = "+" if signed and shown else ""
    return f"{shown:{sign},.{places}f}{'' if signed else unit.after_value}"


def _usual_decimals(shown: float) -> int:
    """Three significant digits; none after the point of a whole number."""
    return 0 if shown == round(shown) else max(0, 2 - math.floor(math.log10(abs(shown))))


def with_interval(bounds: Bounds, unit: Unit, *, signed: bool = False, missing: str = "not reached") -> str:
    """A value and its interval, in as many digits as the interval supports."""
    if bounds["value"] is None:
        return missing
    return f"{number(bounds['value'], unit, decimals(bounds, unit), signed)} {interval(bounds, unit, signed=signed)}"


def interval(bounds: Bounds, unit: Unit, *, signed: bool = False) -> str:
    """An interval alone; `value` may be absent."""
    places = decimals({"value": None, **bounds}, unit)
    ends = (bounds["low"], bounds["high"])
    low, high = ("unbounded" if end is None else number(end, unit, places, signed) for end in ends)
    return f"[{low}, {high}]"


def at_least(value: float, unit: Unit, places: int | None) -> str:
    """A limit that holds: rounded upwards, without a sign, with the word for differences in this unit."""
    power = 10.0 ** (unit.decimals or 0 if places is None else places)
    shown = math.ceil(unit.factor * value * power - NOISE) / power
    return amount(shown / unit.factor, unit, places)


def amount(value: float, unit: Unit, places: int | None = None) -> str:
    """The size of a difference in words, such as "2 points"; six digits, so that a margin stays as it was set."""
    shown = f"{unit.factor * value:.6g}" if places is None else number(value, unit, places, signed=True).lstrip("+-")
    return f"{shown} {unit.of_difference.removesuffix('s') if shown == '1' else unit.of_difference}".rstrip()


def p_value(p: float) -> str:
    """A p value in two digits; in more beside 0.05, so that the side on which it is can be seen."""
    if p < 0.001:
        return "p below 0.001"
    shown = f"{p:.2f}" if p >= 0.095 else f"{p:.2g}"
    return f"p {p:.5f}" if shown == "0.05" else f"p {shown}"
