"""Units."""

from __future__ import annotations

import re

TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|mbox|math(?:rm|bf)|operatorname)\s{0,9}\{([^{}]*)\}")
_UNIT_OF_ALL = re.compile(rf"(?<=\S)[\s~\\,]{{0,9}}{TEXT.pattern}(?:\^(?:\d|\{{\d\}}))?$")
NO_UNIT = re.compile(  # behind a number, it makes another one of it
    r"\b(?:hundred|thousand|[mbtr]+illion|dozen|half|thirds?|squared|cubed|factorial|or|and|to|mod|modulo|plus|minus|times"
    r"|over|choose|base|pi|sqrt|sin|cos|tan|log|exp|inf|infinity)\b"
)
_WORD = re.compile(r"[^\W\d_]+|\d+|[%/_]")
_ALIASES = {  # units, as each is written: the name that begins the line
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
_SPELT = (
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
    """Words, numbers, `%`, `/` and `_` in lower case."""
    text = re.sub(r"\bnoon\b", "noon", TEXT.sub(r" \1 ", text.lower()).replace("percent", "%").replace(" per ", "/"))
    for pattern, by in _SPELT:
        text = pattern.sub(by, text)
    return tuple(_WORD.findall(text.replace("\\circ", " degree ").replace("°", " degree ").replace("\\", " ")))


def unit_name(word: str) -> str:
    """One name for the spellings of a unit: `centimeter` for cm, centimeters and centimetre."""
    return _ALIASES.get(word, word)


def unit_behind(text: str) -> tuple[str, ...]:
    r"""The words of a unit behind an expression, `3\sqrt2 \text{ cm}^2`."""
    found = _UNIT_OF_ALL.search(text)
    return words(found[0]) if found and not NO_UNIT.search(found[0]) else ()


def without_unit(text: str) -> str:
    """An expression without the unit behind it."""
    return _UNIT_OF_ALL.sub("", text) if unit_behind(text) else text


def same_unit(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one is missing, or each word is the other's, its beginning or its letters: cents cent, min minutes, kg
    kilograms."""
    one, other = (
        tuple(_ALIASES.get(word, word) for word in of if word not in ("a", "approximately")) for of in (one, other)
    )
    if len(one) > 1 and one[0] == "degree":
        one = one[1:] if other[:1] != ("degree",) else one
    elif len(other) > 1 and other[0] == "degree" and one[:1] != ("degree",):
        other = other[1:]

    def same(short: str, long: str) -> bool:
        letters = iter(long)
        abbreviated = len(long) > 3 and long[0] == short[0] and all(letter in letters for letter in short)
        return long.startswith(short) or abbreviated

    if not one or not other:
        return True
    if {one[0], other[0]} <= _CURRENCIES and one[0] == other[0] and 1 in (len(one), len(other)):
        return True  # \$2 beside \$2 \text{ per pound}
    if {"degree"} in ({*one}, {*other}) and {*one, *other} & {"celsius", "fahrenheit"}:
        return True
    pairs = [sorted(pair, key=len) for pair in zip(one, other, strict=False)]
    return len(one) == len(other) and all(same(*pair) for pair in pairs)
