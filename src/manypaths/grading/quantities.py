r"""Exact numbers with their units: `1,234`, `3/4`, `7 \times 10^6`, `5 \text{ miles per hour}`, `\$5`, `1011_2`.

Each function takes a text that `layout.readable` returns. They run in the caller's process, on any text.
"""

from __future__ import annotations

import contextlib
import re
from fractions import Fraction

from manypaths.grading.units import NO_UNIT, TEXT, unit_behind, words

_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\s?\\!\s?|\\[,;: ]|\\!|\s)(?=\d{3}(?![\d/]))")
_REPEATING = re.compile(
    r"(?<![\d.])(\d{0,99})\.(\d{0,99})"
    r"(?:\\(?:overline|bar)\s?\{(\d{1,99})\}|\((\d{1,99})\)|\\dot\s?\{?(\d)\}?(?:(\d{0,99})\\dot\s?\{?(\d)\}?)?)"
)
_ENDLESS = re.compile(r"(?<![\d.])(\d{0,99})\.(\d{1,99}?)\s?(?:\.\.\.|\\ldots)\s?$")
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
_UNIT = re.compile(  # no two alternatives match the same text, which would take exponential time
    rf"(?:{TEXT.pattern}|(?<=[\s/-])[A-Za-z]{{3,}}(?![A-Za-z])|(?<=\d)[A-Za-z]{{4,}}(?![A-Za-z])|{_SHORT}"
    rf"|{_SHORT_BEHIND_DIGITS}|{_SYMBOL}|{_OVER}"
    r"|(?<=[A-Za-z}])\^\s?(?:\d|\{-?\d\})|_(?:\d|\{\d+\})|\\?%|(?:\^\s?)?(?:\{\s?\\circ\s?\}|\\circ)|°"
    r"|\\cdot|\\[,;:! ]|\\(?:Omega|mu|degree|ohm)(?![A-Za-z])|[\s~]|/(?=\s?[A-Za-z\\])|(?<=[A-Za-z])[-.]"
    r"|\((?:[A-Za-z][A-Za-z ,.-]{0,60}|\\?%)\))*"
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
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_BASES |= {"eleven": 11, "twelve": 12, "sixteen": 16}
_IN_BASE = re.compile(
    r"\(?\s*(?:(?:\\text\s?)?\{)?\s*([0-9A-Fa-f]+)\s*\}?\s*\)?\s*_\s?\{?\s*\(?(?:\\text\s?\{)?\s*(\d+|[a-z]+)\s*\}?\)?\s*\}?"
)
_BASE_IN_WORDS = re.compile(r"\s*\\?(?:text\s?\{)?\s*\(?(?:in\s+)?base[\s-]*\}?\s*(\w+)\)?\s*\}?$")


def quantity(text: str) -> tuple[Fraction, tuple[str, ...]] | None:
    r"""The exact number and the unit that a text is.

    Numbers are `1,234`, `-.5`, `3/4`, `1\frac45`, `7e6`, `7 \times 10^6`, `0.\overline{3}`, `1.5 million`, with units
    `5\%`, `5 \text{m}`, `18 bananas`, `52_8`, `\$5`.

    Args:
        text: An answer, as `layout.readable` returns it.

    Returns:
        The value, not scaled by its unit (`5\%` is 5), and the words of the unit; None for any other text.
    """
    text, factor = _scaled(_money(text))
    text = _ENDLESS.sub(_endless, _REPEATING.sub(_repeating, _THOUSANDS.sub(",", text)))
    text = _OUT_OF.sub(r"\1/\2", _FRACTION.sub(r" \1\2/\3\4", text))
    match = _NUMBER.match(text)
    if not match or not _UNIT.fullmatch(text, match.end()) or NO_UNIT.search(_IN_BRACKETS.sub("", text[match.end() :])):
        return None
    sign, whole, top, bottom, *powers = match.groups()
    with contextlib.suppress(ZeroDivisionError):
        value = Fraction(top.replace(",", "")) / int(bottom or 1) + int(whole or 0)
        power = Fraction(10) ** int(powers[0] or powers[1] or 0)
        return (-value if sign == "-" else value) * power * factor, words(text[match.end() :])
    return None


def number(text: str) -> Fraction | None:
    """The exact number that a text is, without its unit.

    Args:
        text: An answer, as `layout.readable` returns it.

    Returns:
        The value of the `quantity`; None for any other text.
    """
    return value[0] if (value := quantity(text)) else None


def in_base(text: str) -> str:
    r"""`(1011)_2`, `\text{A3}_{16}`, `1011 \text{ base two}` as `1011_{2}`, `A3_{16}`; any other text unchanged."""
    if (named := _BASE_IN_WORDS.search(text)) and (named[1].isdigit() or named[1] in _BASES):
        text = f"{text[: named.start()]}_{{{named[1]}}}"
    match = _IN_BASE.fullmatch(text)
    if not match or not (match[2].isdigit() or match[2] in _BASES):
        return text
    digits, base = match[1].upper(), int(match[2]) if match[2].isdigit() else _BASES[match[2]]
    fits = all(int(digit, 16) < base for digit in digits) and any(map(str.isdigit, digits))
    return f"{digits.lstrip('0') or '0'}_{{{base}}}" if fits and 2 <= base <= 16 else text


def ratio(text: str) -> str:
    r"""`3 \text{ to } 4` as `3:4`; any other text unchanged."""
    return _RATIO.sub(r"\1:\2", text)


def _money(text: str) -> str:
    """The sign of a currency as a word behind the number: `$5` as `5 dollars`. A unit that follows replaces it."""
    text = _MONEY_BEFORE.sub(lambda match: f"{match[1]}{match[2]}", text)
    if match := _MONEY_BEFORE.match(text):
        rest = text[match.end() :]
        has_unit = unit_behind(rest) or (len(rest.split()) > 1 and not _SCALE.match(rest))
        return f"{match[1]}{rest}" if has_unit else f"{match[1]}{rest} {_MONEY[match[2]]}"
    return _MONEY_BEHIND.sub(lambda match: f" {_MONEY[match[1]]}", text)


def _scaled(text: str) -> tuple[str, int]:
    """A text without `million` and the like behind its number, and the factor that the word is."""
    match = _SCALE.match(text)
    if not match or not _NUMBER.match(match[1]):
        return text, 1
    rest = text[match.end() :]
    opened = "\\text" in text[match.end(1) : match.start(2)]
    if opened:
        rest = "" if rest == "}" else f"\\text{{{rest}"
    return f"{match[1]} {rest}".strip(), _SCALES[match[2]]


def _repeating(match: re.Match[str]) -> str:
    """A repeating decimal as a fraction."""
    before, fixed, overlined, bracketed, first, middle, last = match.groups()
    repeated = overlined or bracketed or first + (middle or "") + (last or "")
    top = int(before + fixed + repeated) - int(before + fixed or 0)
    return f"{top}/{(10 ** len(repeated) - 1) * 10 ** len(fixed)}"


def _endless(match: re.Match[str]) -> str:
    """0.333... and 0.1818... as fractions: a digit repeats if it stands there three times, a longer period twice."""
    before, digits = match.groups()
    for length in range(1, len(digits) // 2 + 1):
        period, times = digits[-length:], 3 if length == 1 else 2
        if digits.endswith(period * times):
            while digits.endswith(period):
                digits = digits[:-length]
            return _REPEATING.sub(_repeating, f"{before}.{digits}({period})")
    return match[0]
