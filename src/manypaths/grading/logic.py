r"""Formulas of propositional logic, `p \land \neg q`: two are the same if they have the same truth table.

A formula has single letters, brackets and the signs of `_SIGNS`, and nothing else; negation binds most, then `and`,
`or`, implication, equivalence. It becomes one symbol, the same for each formula with its truth table.
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
    r"""`p \lor q` and `q \lor p` as one symbol `N_{...}`; a text that is no such formula as it is."""
    tokens = _tokens(text)
    letters = sorted({token for token in tokens if len(token) == 1 and token.isalpha()})
    if not any(token in _RANKS for token in tokens) or not 0 < len(letters) <= _MOST_LETTERS:
        return text
    table = _truth_table(tokens, letters)
    return text if table is None else symbol(f"formula of {letters}: {table}")


def _tokens(text: str) -> list[str]:
    """The letters, brackets and names of operators; none if there is anything else."""
    tokens, place = [], 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        token = found and (_SIGNS.get(found[1]) if found[1] else found[2] or found[3])
        if not found or not token:
            return []
        tokens.append(token)
        place = found.end()
    return tokens


def _truth_table(tokens: list[str], letters: list[str]) -> int | None:
    """The rows in which the formula is true, as the bits of a number; None for what is no formula.

    Dijkstra's shunting-yard algorithm: no recursion, so no depth of brackets is too much.
    """
    rows = range(2 ** len(letters))
    columns = {letter: sum((row >> place & 1) << row for row in rows) for place, letter in enumerate(letters)}
    all_rows = 2 ** len(rows) - 1
    values: list[int] = []
    waiting: list[str] = []

    def apply_last() -> None:
        operator, right = waiting.pop(), values.pop()
        values.append(all_rows & ~right if operator == "not" else _joined(operator, values.pop(), right, all_rows))

    operand_next = True
    for token in tokens:
        if operand_next != (token in ("not", "(") or token in columns):
            return None
        if token in columns:
            values.append(columns[token])
            operand_next = False
        elif token in ("not", "("):
            waiting.append(token)
        elif token == ")":
            while waiting and waiting[-1] != "(":
                apply_last()
            if not waiting:
                return None
            waiting.pop()
        else:
            binds_later = 1 if token == "implies" else 0  # p \to q \to r is p \to (q \to r)
            while waiting and waiting[-1] != "(" and _RANKS[waiting[-1]] >= _RANKS[token] + binds_later:
                apply_last()
            waiting.append(token)
            operand_next = True
    if operand_next or "(" in waiting:
        return None
    while waiting:
        apply_last()
    return values[0]


def _joined(operator: str, left: int, right: int, all_rows: int) -> int:
    if operator == "and":
        return left & right
    if operator == "or":
        return left | right
    if operator == "implies":
        return (all_rows & ~left) | right
    return all_rows & ~(left ^ right)
