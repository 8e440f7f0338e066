r"""The answer in a text without a box, for answers that were made under another prompt. In linear time on any text.

last_number("... so she pays $1,250.50 in all.")    # "1,250.50"
last_math(r"Hence $x^2$ is \(\frac{1}{2}\).")       # r"\frac{1}{2}"
"""

from __future__ import annotations

import re
from collections.abc import Callable

from manypaths.grading import extract

_DIGITS = r"(?:\d{1,3}(?:(?:,|\{,\}|\\,| )\d{3})+(?!,?\d)|\d+)(?:\.\d+)?"
_NUMBER = re.compile(
    r"(?P<number>(?:(?<![\w.)\]}])(?<![\d)\]}] )[-+−](?=[\d.\\$])|(?<== )[-−] )?"  # a sign, no minus between two terms
    r"\\?\$?"
    r"(?:(?<![\w.^{/])(?:\d{1,3} ?)?\\[dt]?frac ?\{\d+\} ?\{\d+\}"
    r"|(?<![\w.^{/])(?:\d{1,3} )?\d+ ?/ ?\d+(?!\d|[./]\d)"
    rf"|(?<![\w.^{{/])(?:{_DIGITS}|\.\d+)(?:[eE][-+]?\d+)?(?![\d/]))"
    r"(?: ?\\?%| ?\^ ?(?:\\circ|\{ ?\\circ ?\}))?)"
    r"|(?P<within>\d+)",
    re.ASCII,
)
_SPACED = re.compile(r"\d \d{3}(?![\d/])")  # 5 000 may be one number or two
_GOES_ON = re.compile(r"\s?(?:\^|\\(?!text|mathrm|mbox|quad|[^A-Za-z]))")  # an expression, of which a number is a part
_MARK = re.compile(r"\\.|\$\$?", re.DOTALL)
_CLOSING = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}


def last_number(text: str) -> str | None:
    r"""The last number that stands by itself; None where there is none, or where it is a part of an expression.

    A number may have a sign, thousands commas, a decimal point, an exponent, a percent sign, and be a fraction, `3/4`
    or `\frac{3}{4}`, or mixed, `1 3/4`. Digits within a word, an index or an exponent without braces (`x_2`, `m^2`) are
    passed over. Where the last digits are a part of more, `\sqrt{3}`, `2^{10}`, `3\pi`, `x/2`, `5 000` or a date, there
    is none.
    """
    last, is_part = None, False
    for match in _NUMBER.finditer(text):
        if match["number"]:
            last = match["number"]
            is_part = bool(_GOES_ON.match(text, match.end()) or _SPACED.search(last))
        else:
            is_part = is_part or text[match.start() - 1 : match.start()] in ("{", "/")
    return None if last is None or is_part else last.replace("\\$", "").replace("$", "").replace("−", "-").strip()


def last_math(text: str) -> str | None:
    r"""The content of the last `$...$`, `$$...$$`, `\(...\)` or `\[...\]` that is not blank; None where there is none.

    A dollar sign does not close before a digit, nor behind a space, unless it opened before one: `$5 and $7` are two
    prices.
    """
    last, opened, start = None, "", 0
    for mark in _MARK.finditer(text):
        sign = mark[0]
        if opened and sign == _CLOSING[opened] and (sign != "$" or _closes(text, start, mark.start())):
            last, opened = text[start : mark.start()].strip() or last, ""
        elif sign in _CLOSING and opened in ("", "$"):
            opened, start = sign, mark.end()
    return last


def _closes(text: str, start: int, end: int) -> bool:
    """Whether the dollar sign at `end` closes the mathematics that begins at `start`."""
    behind = text[end + 1 : end + 2]
    if text[end - 1].isspace():
        return text[start].isspace() and not (behind.isalnum() or behind == "\\")
    return not behind.isdigit()


READERS: dict[str, Callable[[str], str | None]] = {"last-number": last_number, "last-math": last_math}


def read(text: str, how: str) -> str | None:
    """What `READERS[how]` finds, where it can stand in a box; else None."""
    answer = READERS[how](text)
    return answer if answer and extract(f"\\boxed{{{answer}}}") == answer else None
