r"""Plain numbers with their units, exactly: `1,234`, `3/4`, `7 \times 10^6`, `5 \text{ miles per hour}`, `4:30 p.m.`.

What is read here needs no process of its own. Texts are `grading.layout.readable`.
"""

from __future__ import annotations

import contextlib
import re
from fractions import Fraction

_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|mbox|math(?:rm|bf)|operatorname)\s{0,9}\{([^{}]*)\}")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\s?\\!\s?|\\[,;: ]|\\!|\s)(?=\d{3}(?![\d/]))")
_REPEATING = re.compile(
    r"(?<![\d.])(\d{0,99})\.(\d{0,99})"
    r"(?:\\(?:overline|bar)\s?\{(\d{1,99})\}|\((\d{1,99})\)|\\dot\s?\{?(\d)\}?(?:(\d{0,99})\\dot\s?\{?(\d)\}?)?)"
)
_GOING_ON = re.compile(r"(?<![\d.])(\d{0,99})\.(\d{1,99}?)\s?(?:\.\.\.|\\ldots)\s?$")
_FRACTION = re.compile(r"\\[dtc]?frac\s?(?:\{\s?(-?\d+)\s?\}|(\d))\s?(?:\{\s?(\d+)\s?\}|(\d))")
_TEN_TO_THE = r"\s?(?:\\times|\\cdot|×|\*|(?<=[\d.])\s?[xX](?=\s?10\s?\^))\s?10\s?\^\s?"
_NUMBER = re.compile(
    r"\s*([-+]?)\s*(?:(\d+)\s+(?:and\s+)?(?=\d+/\d))?"  # the whole part of a mixed number
    r"([-+]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3}(?!\d))?)(?:\s?/\s?(\d+))?"
    rf"(?:{_TEN_TO_THE}(?:\{{\s?([-+]?\d{{1,3}})\s?\}}|([-+]?\d{{1,3}})))?(?!\d)"
)
_SHORT = r"(?:[ckm]m|[km]g|ft|in|hr|lb|oz|mi|yd|m[lL]|[ap]m|Hz|Pa|eV|kJ|kW|[km]A|[km]V|dB|ms|sq|cc|dm)\b"
_SHORT_BEHIND_DIGITS = r"(?<=\d)(?:hrs|lbs|mph|kHz|MHz|kPa|[kM]eV|rad|mol|min|sec)\b"
_SYMBOL = r"(?<=[\s}])[CFKJNVWA](?![\w(^+*/=-])|(?<=\\mu)\s?m(?!\w)|[\u3040-\u9fff\uac00-\ud7a3]"
_OVER = r"(?<=\s)[mglL](?=\s?/\s?[A-Za-z\\])|(?<=/)[msghlL](?![A-Za-z])"
_UNIT = re.compile(  # no two alternatives match alike, for it would take exponential time otherwise
    rf"(?:{_TEXT.pattern}|(?<=[\s/-])[A-Za-z]{{3,}}(?![A-Za-z])|(?<=\d)[A-Za-z]{{4,}}(?![A-Za-z])|{_SHORT}"
    rf"|{_SHORT_BEHIND_DIGITS}|{_SYMBOL}|{_OVER}"
    r"|(?<=[A-Za-z}])\^\s?(?:\d|\{-?\d\})|_(?:\d|\{\d+\})|\\?%|(?:\^\s?)?(?:\{\s?\\circ\s?\}|\\circ)|°"
    r"|\\cdot|\\[,;:! ]|\\(?:Omega|mu|degree|ohm)(?![A-Za-z])|[\s~]|/(?=\s?[A-Za-z\\])|(?<=[A-Za-z])[-.]"
    r"|\((?:[A-Za-z][A-Za-z ,.-]{0,60}|\\?%)\))*"
)
_UNIT_OF_ALL = re.compile(rf"(?<=\S)[\s~\\,]{{0,9}}{_TEXT.pattern}(?:\^(?:\d|\{{\d\}}))?$")
_NO_UNIT = re.compile(  # behind a number, it makes another one of it
    r"\b(?:hundred|thousand|[mbtr]+illion|dozen|half|thirds?|squared|cubed|factorial|or|and|to|mod|modulo|plus|minus|times"
    r"|over|choose|base|pi|sqrt|sin|cos|tan|log|exp|inf|infinity)\b"
)
_IN_BRACKETS = re.compile(r"\([A-Za-z ,.-]*\)")
_MONEY = {
    "€": "euros",
    "£": "pounds",
    "¥": "yen",
    "₹": "rupees",
    "₽": "rubles",
    "₩": "won",
    "₿": "bitcoins",
    "¢": "cents",
}
_MONEY |= {
    "₺": "lira",
    "₴": "hryvnia",
    "₫": "dong",
    "₱": "pesos",
    "฿": "baht",
    "₦": "naira",
    "₪": "shekels",
    "US\\$": "dollars",
    "USD": "dollars",
    "EUR": "euros",
    "\\$": "dollars",
}
_SIGN_OF_MONEY = "|".join(map(re.escape, _MONEY))
_MONEY_BEFORE = re.compile(rf"^(-?)\s?({_SIGN_OF_MONEY})\s?(?=[-.\d])")
_MONEY_BEHIND = re.compile(rf"(?<=[\d}}])\s?({_SIGN_OF_MONEY})")
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_SCALE = re.compile(r"^(.*?[\d}])\s*(?:\\text\s?\{)?\s*(" + "|".join(_SCALES) + r")s?(?![A-Za-z])\s*")
_OUT_OF = re.compile(r"^(\d+)\s*(?:\\text\s?\{\s*(?:in|out of)\s*\}|(?:in|out of))\s*(\d+)$")
_RATIO = re.compile(r"^([\d.]+)\s*\\text\s?\{\s*to\s*\}\s*([\d.]+)$")
_WORD = re.compile(r"[^\W\d_]+|\d+|[%/_]")
_CLOCK = re.compile(
    r"(\d{1,2})(?:\s?:\s?(\d\d))?(?::(\d\d))?\s?(?:\\text\s?\{\s?)?(?:\s?o'clock\s?)?([ap]\.?\s?m\.?)?(?:\s?\})?",
    re.IGNORECASE,
)
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_BASES |= {"eleven": 11, "twelve": 12, "sixteen": 16}
_IN_BASE = re.compile(
    r"\(?\s*(?:(?:\\text\s?)?\{)?\s*([0-9A-Fa-f]+)\s*\}?\s*\)?\s*_\s?\{?\s*\(?(?:\\text\s?\{)?\s*(\d+|[a-z]+)\s*\}?\)?\s*\}?"
)
_BASE_IN_WORDS = re.compile(r"\s*\\?(?:text\s?\{)?\s*\(?(?:in\s+)?base[\s-]*\}?\s*(\w+)\)?\s*\}?$")

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
_DURATIONS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
_LENGTHS = {"yard": 36, "foot": 12, "inch": 1}
_PART = re.compile(
    r"(\d{1,15}(?:\.\d{1,15})?) ?(?:\\text ?\{)? ?([A-Za-z]{1,20}) ?,? ?(?:and)? ?\}? ?"
    r"(?:\\text ?\{ ?and ?\})? ?(?:and )?"
)


def quantity(text: str) -> tuple[Fraction, tuple[str, ...]] | None:
    r"""The exact value and the words of the unit of `1,234`, `-.5`, `3/4`, `1\frac45`, `7e6`, `7 \times 10^6`,
    `0.\overline{3}`, `5\%`, `5 \text{m}`, `18 bananas`, `52_8`, `\$5`, `1.5 million`; None for anything else."""
    text, factor = _scaled(_money(text))
    text = _GOING_ON.sub(_going_on, _REPEATING.sub(_repeating, _THOUSANDS.sub(",", text)))
    text = _OUT_OF.sub(r"\1/\2", _FRACTION.sub(r" \1\2/\3\4", text))
    found = _NUMBER.match(text)
    if (
        not found
        or not _UNIT.fullmatch(text, found.end())
        or _NO_UNIT.search(_IN_BRACKETS.sub("", text[found.end() :]))
    ):
        return None
    sign, whole, top, bottom, *powers = found.groups()
    with contextlib.suppress(ZeroDivisionError):
        value = Fraction(top.replace(",", "")) / int(bottom or 1) + int(whole or 0)
        power = Fraction(10) ** int(powers[0] or powers[1] or 0)
        return (-value if sign == "-" else value) * power * factor, words(text[found.end() :])
    return None


def number(text: str) -> Fraction | None:
    """The exact value of a `quantity`."""
    return found[0] if (found := quantity(text)) else None


def words(text: str) -> tuple[str, ...]:
    """Words, numbers, `%`, `/` and `_` in lower case."""
    text = re.sub(r"\bnoon\b", "noon", _TEXT.sub(r" \1 ", text.lower()).replace("percent", "%").replace(" per ", "/"))
    for pattern, by in _SPELT:
        text = pattern.sub(by, text)
    return tuple(_WORD.findall(text.replace("\\circ", " degree ").replace("°", " degree ").replace("\\", " ")))


def unit_name(word: str) -> str:
    """One name for the spellings of a unit: `centimeter` for cm, centimeters and centimetre."""
    return _ALIASES.get(word, word)


def unit_behind(text: str) -> tuple[str, ...]:
    r"""The words of a unit behind an expression, `3\sqrt2 \text{ cm}^2`."""
    found = _UNIT_OF_ALL.search(text)
    return words(found[0]) if found and not _NO_UNIT.search(found[0]) else ()


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


def minutes(text: str) -> tuple[int, bool] | None:
    """(seconds since midnight, whether the half of the day is said) of `4:30 p.m.`, `16:30`, `10 AM`, noon."""
    bare = _TEXT.sub(r" \1 ", text).strip().lower().rstrip(".")
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


def in_base(text: str) -> str:
    r"""`(1011)_2`, `\text{A3}_{16}`, `1011 \text{ base two}` as `1011_{2}`, `A3_{16}`; other texts as they are."""
    if (named := _BASE_IN_WORDS.search(text)) and (named[1].isdigit() or named[1] in _BASES):
        text = f"{text[: named.start()]}_{{{named[1]}}}"
    found = _IN_BASE.fullmatch(text)
    if not found or not (found[2].isdigit() or found[2] in _BASES):
        return text
    digits, base = found[1].upper(), int(found[2]) if found[2].isdigit() else _BASES[found[2]]
    fits = all(int(digit, 16) < base for digit in digits) and any(map(str.isdigit, digits))
    return f"{digits.lstrip('0') or '0'}_{{{base}}}" if fits and 2 <= base <= 16 else text


def compound(text: str) -> dict[str, Fraction] | None:
    """By unit, the whole amount of `2 hours 30 minutes` or `5 feet 6 inches`; None for anything else."""
    parts, end = [], 0
    while found := _PART.match(text, end):
        parts.append((Fraction(found[1]), _ALIASES.get(found[2], found[2])))
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
    unit = _ALIASES.get(other[1][0], other[1][0])
    return whole[unit] == other[0] if unit in whole else None


def ratio(text: str) -> str:
    r"""`3 \text{ to } 4` as 3:4."""
    return _RATIO.sub(r"\1:\2", text)


def _money(text: str) -> str:
    text = _MONEY_BEFORE.sub(lambda found: f"{found[1]}{found[2]}", text)
    if found := _MONEY_BEFORE.match(text):
        rest = text[found.end() :]
        said = unit_behind(rest) or (len(rest.split()) > 1 and not _SCALE.match(rest))
        return f"{found[1]}{rest}" if said else f"{found[1]}{rest} {_MONEY[found[2]]}"
    return _MONEY_BEHIND.sub(lambda found: f" {_MONEY[found[1]]}", text)


def _scaled(text: str) -> tuple[str, int]:
    found = _SCALE.match(text)
    if not found or not _NUMBER.match(found[1]):
        return text, 1
    rest = text[found.end() :]
    opened = "\\text" in text[found.end(1) : found.start(2)]
    if opened:
        rest = "" if rest == "}" else f"\\text{{{rest}"
    return f"{found[1]} {rest}".strip(), _SCALES[found[2]]


def _repeating(found: re.Match[str]) -> str:
    before, fixed, line, brackets, first, middle, last = found.groups()
    repeated = line or brackets or first + (middle or "") + (last or "")
    top = int(before + fixed + repeated) - int(before + fixed or 0)
    return f"{top}/{(10 ** len(repeated) - 1) * 10 ** len(fixed)}"


def _going_on(found: re.Match[str]) -> str:
    """0.333... and 0.1818...: what is there three times, or twice if longer, goes on."""
    before, digits = found.groups()
    for length in range(1, len(digits) // 2 + 1):
        period, times = digits[-length:], 3 if length == 1 else 2
        if digits.endswith(period * times):
            while digits.endswith(period):
                digits = digits[:-length]
            return _REPEATING.sub(_repeating, f"{before}.{digits}({period})")
    return found[0]
