r"""The final answer in a completion without a box, written for a prompt that did not ask for one.

    last_number("... so she pays $1,250.50 in all.")    # "1,250.50"
    last_math(r"Hence $x^2$ is \(\frac{1}{2}\).")       # r"\frac{1}{2}"

All functions take time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from manypaths.grading import extract

_DIGITS = r"(?:\d{1,3}(?:(?:,|\{,\}|\\,| )\d{3})+(?!,?\d)|\d+)(?:\.\d+)?"
_NUMBER = re.compile(
    r"(?P<number>(?:(?<![\w.)\]}])(?<![\d)\]}] )[-+−](?=[\d.\\$])|(?<== )[-−] )?"  # a sign, but no minus between terms
    r"\\?\$?"
    r"(?:(?<![\w.^{/])(?:\d{1,3} ?)?\\[dt]?frac ?\{\d+\} ?\{\d+\}"
    r"|(?<![\w.^{/])(?:\d{1,3} )?\d+ ?/ ?\d+(?!\d|[./]\d)"
    rf"|(?<![\w.^{{/])(?:{_DIGITS}|\.\d+)(?:[eE][-+]?\d+)?(?![\d/]))"
    r"(?: ?\\?%| ?\^ ?(?:\\circ|\{ ?\\circ ?\}))?)"
    r"|(?P<within>\d+)",
    re.ASCII,
)
_SPACED = re.compile(r"\d \d{3}(?![\d/])")  # 5 000 may be one number or two
_CONTINUES = re.compile(r"\s?(?:\^|\\(?!text|mathrm|mbox|quad|[^A-Za-z]))")  # the number is part of an expression
_MARK = re.compile(r"\\.|\$\$?", re.DOTALL)
_CLOSING = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}


def last_number(text: str) -> str | None:
    r"""The last number in a text, if it stands alone.

    A number may have a sign, thousands commas, a decimal point, an exponent and a percent sign; it may be a fraction,
    `3/4` or `\frac{3}{4}`, or mixed, `1 3/4`. Digits in a word, in an index or in an exponent without braces (`x_2`,
    `m^2`) do not count.

    Args:
        text: A completion.

    Returns:
        The number as it is written, without a dollar sign; None if there is no number, or if the last one is part of an
        expression or of a date: `\sqrt{3}`, `2^{10}`, `3\pi`, `x/2`, `5 000`.
    """
    last, is_part = None, False
    for match in _NUMBER.finditer(text):
        if match["number"]:
            last = match["number"]
            is_part = bool(_CONTINUES.match(text, match.end()) or _SPACED.search(last))
        else:
            is_part = is_part or text[match.start() - 1 : match.start()] in ("{", "/")
    return None if last is None or is_part else last.replace("\\$", "").replace("$", "").replace("−", "-").strip()


def last_math(text: str) -> str | None:
    r"""The content of the last `$...$`, `$$...$$`, `\(...\)` or `\[...\]` that is not blank.

    `$5 and $7` are two prices: a dollar sign closes mathematics only if no digit follows it, and behind a space only if
    a space follows the sign that opened.

    Args:
        text: A completion.

    Returns:
        The content without surrounding spaces; None if the text has no mathematics.
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
    """The answer that a reader finds, if it can stand in a box.

    Args:
        text: A completion.
        how: A key of `READERS`.

    Returns:
        The answer; None if there is none, or if its braces are not balanced.
    """
    answer = READERS[how](text)
    return answer if answer and extract(f"\\boxed{{{answer}}}") == answer else None
