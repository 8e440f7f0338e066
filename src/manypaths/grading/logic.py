r"""Formulas of propositional logic, such as `p \land \neg q`, as symbols: equal truth tables give equal symbols.

A formula consists of single letters, brackets and the signs of `_SIGNS`. Negation binds most tightly, then `and`, `or`,
implication and equivalence.
"""

from __future__ import annotations

import re

from manypaths.grading.sides import symbol

_TOKEN = re.compile(r"\s*(?:\\([A-Za-z]+)|([A-Za-z])(?![A-Za-z])|([()]))\s*")
_SIGNS = {
    **dict.fromkeys(("neg", "lnot"), "not"),
    **dict.fromkeys(("land", "wedge"), "and"),
    **dict.fromkeys(("lor", "vee"), "or"),
    **dict.fromkeys(("implies", "Rightarrow", "rightarrow", "to", "Longrightarrow"), "implies"),
    **dict.fromkeys(("iff", "Leftrightarrow", "leftrightarrow", "Longleftrightarrow"), "iff"),
}
_RANKS = {"iff": 1, "implies": 2, "or": 3, "and": 4, "not": 5}
_MOST_LETTERS = 8  # a truth table of 256 rows


def formula_as_symbol(text: str) -> str:
    r"""`p \lor q` and `q \lor p` as the same symbol `N_{...}`; a text that is not a formula unchanged."""
    tokens = _tokens(text)
    letters = sorted({token for token in tokens if len(token) == 1 and token.isalpha()})
    if not any(token in _RANKS for token in tokens) or not 0 < len(letters) <= _MOST_LETTERS:
        return text
    table = _truth_table(tokens, letters)
    return text if table is None else symbol(f"formula of {letters}: {table}")


def _tokens(text: str) -> list[str]:
    """The letters, brackets and names of operators of a formula; an empty list for any other text."""
    tokens, place = [], 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        token = match and (_SIGNS.get(match[1]) if match[1] else match[2] or match[3])
        if not match or not token:
            return []
        tokens.append(token)
        place = match.end()
    return tokens


def _truth_table(tokens: list[str], letters: list[str]) -> int | None:
    """The rows of the truth table in which the formula is true, as the bits of a number; None if the syntax is wrong.

    Dijkstra's shunting-yard algorithm does not recurse, so that brackets may be nested to any depth.
    """
    rows = range(2 ** len(letters))
    columns = {letter: sum((row >> place & 1) << row for row in rows) for place, letter in enumerate(letters)}
    all_rows = 2 ** len(rows) - 1
    values: list[int] = []
    operators: list[str] = []

    def apply_last() -> None:
        operator, right = operators.pop(), values.pop()
        values.append(all_rows & ~right if operator == "not" else _joined(operator, values.pop(), right, all_rows))

    operand_next = True
    for token in tokens:
        if operand_next != (token in ("not", "(") or token in columns):
            return None
        if token in columns:
            values.append(columns[token])
            operand_next = False
        elif token in ("not", "("):
            operators.append(token)
        elif token == ")":
            while operators and operators[-1] != "(":
                apply_last()
            if not operators:
                return None
            operators.pop()
        else:
            binds_later = 1 if token == "implies" else 0  # p \to q \to r is p \to (q \to r)
            while operators and operators[-1] != "(" and _RANKS[operators[-1]] >= _RANKS[token] + binds_later:
                apply_last()
            operators.append(token)
            operand_next = True
    if operand_next or "(" in operators:
        return None
    while operators:
        apply_last()
    return values[0]


def _joined(operator: str, left: int, right: int, all_rows: int) -> int:
    """The truth table of two formulas joined by an operator."""
    if operator == "and":
        return left & right
    if operator == "or":
        return left | right
    if operator == "implies":
        return (all_rows & ~left) | right
    return all_rows & ~(left ^ right)
