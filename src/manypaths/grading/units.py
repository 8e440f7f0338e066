"""Units: the words behind a number, and whether two units are the same or one of them is missing."""

from __future__ import annotations

import re

TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|mbox|math(?:rm|bf)|operatorname)\s{0,9}\{([^{}]*)\}")
_UNIT_AT_END = re.compile(rf"(?<=\S)[\s~\\,]{{0,9}}{TEXT.pattern}(?:\^(?:\d|\{{\d\}}))?$")
NO_UNIT = re.compile(  # words behind a number that change its value and are not a unit
    r"\b(?:hundred|thousand|[mbtr]+illion|dozen|half|thirds?|squared|cubed|factorial|or|and|to|mod|modulo|plus|minus|times"
    r"|over|choose|base|pi|sqrt|sin|cos|tan|log|exp|inf|infinity)\b"
)
_WORD = re.compile(r"[^\W\d_]+|\d+|[%/_]")
_ALIASES = {  # spelling of a unit: its name, which is the first word of the line
    name: line.split()[0]
    for line in """
    pound lb lbs pounds
    hour h hr hrs hours
    minute min mins minutes
    second s sec secs seconds
    kilometer km kilometers kilometre kilometres kms
    meter m meters metre metres
    liter l L liters litre litres
    centimeter cm centimeters centimetre centimetres cms
    millimeter mm millimeters millimetre millimetres
    foot ft feet
    inch in inches
    mile mi miles
    yard yd yards
    gram g grams gm
    kilogram kg kilograms kgs
    milligram mg milligrams
    milliliter ml mL milliliters millilitre millilitres
    ounce oz ounces
    year yr yrs years
    degree degrees deg
    dollar dollars usd bucks
    cent cents
    euro euros eur
    newton N newtons
    joule J joules
    volt V volts
    watt W watts
    ohm Omega ohms omega
    celsius C
    fahrenheit F
    kelvin K kelvins
    ampere A amperes amps amp
    hertz Hz
    radian rad radians rads
    mole mol moles
    person people persons
    child children
    % percent
    pascal Pa pascals
    yuan 元 rmb
    """.splitlines()
    for name in line.split()
}
_SPELLINGS = (
    (re.compile(r"\bmph\b"), "miles/hour"),
    (re.compile(r"\bk(?:m/?|p)h\b"), "km/hour"),
    (re.compile(r"\bsq(?:uare|\.)?\s+([A-Za-z]+)"), r"\1 2"),
    (re.compile(r"\bcu(?:bic|\.)?\s+([A-Za-z]+)"), r"\1 3"),
    (re.compile(r"\\mu\s?m\b"), "micrometer"),
    (re.compile(r"\b([a-z]+)\s?\^\s?\{?-1\}?(?!\d)"), r"/\1"),
    (re.compile(r"\b([a-z]+)\s?\^\s?\{?-(\d)\}?(?!\d)"), r"/\1 \2"),
)
_CURRENCIES = {"dollar", "euro", "pound", "yen", "rupee", "cent", "yuan"}


def words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, as well as numbers, `%`, `/` and `_`.

    Args:
        text: A unit or an answer in words, as `layout.readable` returns it.

    Returns:
        The words in their order, with some spellings of units replaced: `mph` is `miles / hour`.
    """
    text = TEXT.sub(r" \1 ", text.lower()).replace("percent", "%").replace(" per ", "/")
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    return tuple(_WORD.findall(text.replace("\\circ", " degree ").replace("°", " degree ").replace("\\", " ")))


def unit_name(word: str) -> str:
    """One name for the spellings of a unit: `centimeter` for cm, centimeters and centimetre."""
    return _ALIASES.get(word, word)


def unit_behind(text: str) -> tuple[str, ...]:
    r"""The words of the unit behind an expression such as `3\sqrt2 \text{ cm}^2`; empty without a unit."""
    unit = _UNIT_AT_END.search(text)
    return words(unit[0]) if unit and not NO_UNIT.search(unit[0]) else ()


def without_unit(text: str) -> str:
    """An expression without the unit behind it."""
    return _UNIT_AT_END.sub("", text) if unit_behind(text) else text


def same_unit(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    """Whether two units are the same, or one of them is missing.

    Args:
        left: The words of a unit, from `words`.
        right: The words of another unit.

    Returns:
        True if one is empty, or if each word of one is an alias, a prefix or an abbreviation of the other's word: cents
        and cent, min and minutes, kg and kilograms.
    """
    left, right = (
        tuple(unit_name(word) for word in unit if word not in ("a", "approximately")) for unit in (left, right)
    )
    if len(left) > 1 and left[0] == "degree":
        left = left[1:] if right[:1] != ("degree",) else left
    elif len(right) > 1 and right[0] == "degree" and left[:1] != ("degree",):
        right = right[1:]
    if not left or not right:
        return True
    if {left[0], right[0]} <= _CURRENCIES and left[0] == right[0] and 1 in (len(left), len(right)):
        return True  # \$2 beside \$2 \text{ per pound}
    if {"degree"} in ({*left}, {*right}) and {*left, *right} & {"celsius", "fahrenheit"}:
        return True
    return len(left) == len(right) and all(map(_same_word, left, right))


def _same_word(left: str, right: str) -> bool:
    """Whether the shorter word is a prefix of the longer one, or has the same first letter and some of its letters."""
    short, long = sorted((left, right), key=len)
    letters = iter(long)
    abbreviated = len(long) > 3 and long[0] == short[0] and all(letter in letters for letter in short)
    return long.startswith(short) or abbreviated
