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
    r"""(unknown, interval) of `x > 2`, `1 \le x < 3`, `x \ne 1`; None for anything else."""
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
    r"""(unknown, set) of conditions joined by `or` (a union) or `and` (an intersection), and with `commas` of a list of
    them; of intervals joined by either the union. The unknown of intervals is empty. None for anything else."""
    words = _WORD_BETWEEN.split(text)
    clauses, joins = words[::2], ["or" if word in ("or", "lor", "vee") else "and" for word in words[1::2]]
    if commas and not joins:
        clauses = split(text)
        joins = ["or"] * (len(clauses) - 1)
    found = [interval(clause.strip(" ,")) or ("", clause.strip(" ,")) for clause in clauses]
    if any(not unknown and not (of[:1] in "[(" and of[-1:] in "])" and split(of[1:-1])[1:]) for unknown, of in found):
        return None
    unknowns = {unknown for unknown, _ in found}
    if len(unknowns) != 1 or len(set(joins)) > 1:
        return None
    unknown = unknowns.pop()
    sign = " \\cap " if joins[:1] == ["and"] and unknown else " \\cup "
    return unknown, sign.join(of for _, of in found)


def conditions_as_sets(text: str) -> str:
    builder = _BUILDER.match(text)
    if builder and _OPERATOR.search(builder[2]) and builder[1] in builder[2]:
        text = builder[2]
    for pattern, by in _SETS:
        text = re.sub(pattern, by, text)
    found = as_set(text) if _WORD_BETWEEN.search(text) else None
    text = found[1] if found else re.sub(r",\s*,", ",", _WORD_BETWEEN.sub(", ", text))
    return _MEMBER.sub("", text)


def closing(text: str, start: int) -> int:
    """Where the bracket that opens at `start` closes; -1 if it does not."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] in "([{") - (text[index] in ")]}")
        if depth == 0:
            return index
    return -1


def split(text: str, separators: str = ",;") -> list[str]:
    """The parts between separators outside all brackets; those of `]1,2[` count as brackets too."""
    parts, depth, start = [], 0, 0
    for index, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth <= 0 and sign in separators and text[index - 1 : index] != "\\":
            parts.append(text[start:index])
            start = index + 1
    return [part.strip() for part in [*parts, text[start:]]]
