r"""Conditions, `x > 2`, set-builders, `\{x \mid x > 2\}`, and French intervals, `]1,2[`, as intervals and unions."""

from __future__ import annotations

import re

_SETS = (
    (r"(?<![\w\d})])\]\s*([^\[\],;()]+)[,;]([^\[\],;()]+)\[", r"(\1,\2)"),
    (r"(?<![\w\d})])\]\s*([^\[\],;()]+)[,;]([^\[\],;()]+)\]", r"(\1,\2]"),
    (r"\[([^\[\],;()]+)[,;]([^\[\],;()]+)\[", r"[\1,\2)"),
    (r"\\\{\s*\\\}", r"\\emptyset"),
    (
        r"\\text\s?\{\s*(?:or|and)\s*\}|\\(?:lor|vee|land|wedge)(?![A-Za-z])|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])",
        r" \\text{\g<0>} ",
    ),
)
_WORD_BETWEEN = re.compile(r"\\text\s?\{\s*(?:\\text\s?\{)?\s*\\?(or|and|lor|land|vee|wedge)\s*\}?\s*\}")
_BUILDER = re.compile(
    r"^\\\{\s*(\\?[A-Za-z]+)\s*(?:\\in\s*\\mathbb\s?\{[RC]\}\s*)?(?:\\mid|\||:|\\colon|\\text\s?\{[^{}]*\})\s*(.+?)\s*\\\}$"
)
_MEMBER = re.compile(r"^\s*\\?[A-Za-z]\w{0,3}\s*\\in\s*(?=[\[(\\])")
_UNKNOWN = re.compile(r"\\?[A-Za-z](?:_\{?\w+\}?)?")
_OPERATOR = re.compile(r"(\\(?:le|ge|ne)(?![A-Za-z])|[<>])")


def interval(clause: str) -> tuple[str, str] | None:
    r"""(unknown, interval) of the condition `x > 2`, `1 \le x < 3` or `x \ne 1`; None for any other text."""
    parts = [part.strip() for part in _OPERATOR.split(clause)]
    is_unknown = _UNKNOWN.fullmatch
    if len(parts) == 3:
        left, sign, right = parts
        if not is_unknown(left):
            left, sign, right = right, {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}.get(sign, sign), left
        if not is_unknown(left) or not right or (is_unknown(right) and right not in ("e", "\\pi")):
            return None
        return left, {
            "<": f"(-\\infty,{right})",
            "\\le": f"(-\\infty,{right}]",
            ">": f"({right},\\infty)",
            "\\ge": f"[{right},\\infty)",
            "\\ne": f"(-\\infty,{right}) \\cup ({right},\\infty)",
        }[sign]
    if len(parts) == 5 and is_unknown(parts[2]) and parts[0] and parts[4]:
        low, first, unknown, second, high = parts
        if first in (">", "\\ge") and second in (">", "\\ge"):
            low, first, second, high = high, {">": "<"}.get(second, "\\le"), {">": "<"}.get(first, "\\le"), low
        if first in ("<", "\\le") and second in ("<", "\\le"):
            return unknown, f"{'(' if first == '<' else '['}{low},{high}{')' if second == '<' else ']'}"
    return None


def as_set(text: str, commas: bool = False) -> tuple[str, str] | None:
    r"""The set that conditions or intervals, joined by words, are.

    Args:
        text: LaTeX in which `or` and `and` are `\text{or}` and `\text{and}`.
        commas: Whether a comma joins conditions, too, as `or`.

    Returns:
        (unknown, LaTeX of the set): `or` is a union; `and` is an intersection of conditions and a union of intervals.
        The unknown of intervals is empty. None for any other text.
    """
    clauses = _WORD_BETWEEN.split(text)[::2]
    joins = ["or" if word in ("or", "lor", "vee") else "and" for word in _WORD_BETWEEN.split(text)[1::2]]
    if commas and not joins:
        clauses = split(text)
        joins = ["or"] * (len(clauses) - 1)
    sets = [interval(clause.strip(" ,")) or ("", clause.strip(" ,")) for clause in clauses]
    if not all(unknown or _is_interval(latex) for unknown, latex in sets):
        return None
    unknowns = {unknown for unknown, _ in sets}
    if len(unknowns) != 1 or len(set(joins)) > 1:
        return None
    unknown = unknowns.pop()
    sign = " \\cap " if joins[:1] == ["and"] and unknown else " \\cup "
    return unknown, sign.join(latex for _, latex in sets)


def _is_interval(text: str) -> bool:
    return text[:1] in "[(" and text[-1:] in "])" and len(split(text[1:-1])) > 1


def conditions_as_sets(text: str) -> str:
    """A text in which conditions, set-builders and French intervals are intervals and unions, `x \\in` is left out."""
    builder = _BUILDER.match(text)
    if builder and _OPERATOR.search(builder[2]) and builder[1] in builder[2]:
        text = builder[2]
    for pattern, replacement in _SETS:
        text = re.sub(pattern, replacement, text)
    as_union = as_set(text) if _WORD_BETWEEN.search(text) else None
    text = as_union[1] if as_union else re.sub(r",\s*,", ",", _WORD_BETWEEN.sub(", ", text))
    return _MEMBER.sub("", text)


def closing(text: str, start: int) -> int:
    """The index at which the bracket that opens at `start` closes; -1 if it never closes."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] in "([{") - (text[index] in ")]}")
        if depth == 0:
            return index
    return -1


def split(text: str, separators: str = ",;") -> list[str]:
    """The parts between separators that stand outside all brackets, including the brackets of `]1,2[`."""
    parts, depth, start = [], 0, 0
    for index, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth <= 0 and sign in separators and text[index - 1 : index] != "\\":
            parts.append(text[start:index])
            start = index + 1
    return [part.strip() for part in [*parts, text[start:]]]
