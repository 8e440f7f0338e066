r"""Plain numbers with their units, exactly: `1,234`, `3/4`, `7 \times 10^6`, `5 \text{ miles per hour}`, `4:30 p.m.`.

What is read here needs no process of its own. Texts are `grading.layout.readable`.
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
    r"""The exact value and the words of the unit of `1,234`, `-.5`, `3/4`, `1\frac45`, `7e6`, `7 \times 10^6`,
    `0.\overline{3}`, `5\%`, `5 \text{m}`, `18 bananas`, `52_8`, `\$5`, `1.5 million`; None for anything else."""
    text, factor = _scaled(_money(text))
    text = _GOING_ON.sub(_going_on, _REPEATING.sub(_repeating, _THOUSANDS.sub(",", text)))
    text = _OUT_OF.sub(r"\1/\2", _FRACTION.sub(r" \1\2/\3\4", text))
    found = _NUMBER.match(text)
    if not found or not _UNIT.fullmatch(text, found.end()) or NO_UNIT.search(_IN_BRACKETS.sub("", text[found.end() :])):
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
