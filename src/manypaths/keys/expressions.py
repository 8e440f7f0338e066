r"""Arithmetic that a completion writes down, as canonical trees: the same tree for 3 * (4 + 5) and (5+4) \times 3.

Only the syntax is read; nothing is evaluated but the value of a single number, 7.0 for 7. Operands of + and * have no
order, and nested sums and products are one: a + (b + c) is a + b + c. A difference is a sum with a negated term, a
quotient a product with an inverted factor: a * b / c is a / c * b. Nothing else is the same: 2 * (3 + 4) is not
2 * 3 + 2 * 4, and a - (b + c) is not a - b - c.

Symbols, the words of this grammar, are plain texts: a number ("7", "5/2"), a name ("x", "x_1", "\\pi"), a function
("sqrt"), "frac", an operator or a bracket, "=", WORD (prose) and BREAK (whatever ends an equation).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

LONGEST_TEXT = 100_000  # characters of a completion that are searched for equations, from its start
LONGEST_SIDE = 500  # symbols of an expression; a longer one is not read
DEEPEST = 40  # levels of brackets and powers; a deeper expression is not read

WORD, BREAK = "WORD", "BREAK"

Node = tuple[Any, ...]  # (what, *children); a leaf is (what,)

_FUNCTIONS = "sqrt|sin|cos|tan|cot|sec|csc|log|ln|exp|arcsin|arccos|arctan|sinh|cosh|tanh|gcd|lcm|min|max"
_LETTERS = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|pi|rho|sigma|tau|phi|omega|Delta|Omega|infty"
_LAYOUT = "left|right|[bB]ig[lr]?|displaystyle|boxed|fbox|q?quad|mathrm|mathbf"
_TOKEN = re.compile(
    r"(?P<other>\\[\[\]()\\]|\\sqrt\s?\[|\n)"
    r"|(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    rf"|(?P<space>\s|&|\\[,;:! ]|\\?\$(?=[0-9.])|\\(?:{_LAYOUT})(?![A-Za-z]))"
    rf"|(?P<function>\\?(?:{_FUNCTIONS})(?![A-Za-z]))"
    r"|(?P<word>\\(?:text|mbox|textbf|textit)\s?\{[^{}\n]{0,200}\}|[A-Za-z]{2,}|[aI](?=\s[A-Za-z]{2}))"
    rf"|(?P<name>(?:[A-Za-z]|\\(?:{_LETTERS})(?![A-Za-z]))(?:_(?:[A-Za-z0-9]|\{{\w{{1,20}}\}}))?'{{0,3}})"
    r"|(?P<sign>\\(?:times|cdot|ast|div|[dtc]?frac)(?![A-Za-z])|\*\*|==|\\[{}%]|[-+*/^=()\[\]{}%×·⋅∗÷−–]"
    r"|!(?=\s*(?:[-+*/^=)}\]!\\]|\Z)))"
)
_ITEM = re.compile(r"^[^\S\n]*(?:[-*+•]|\(?[0-9]{1,3}[.)])[^\S\n]", re.MULTILINE)  # the mark of an item of a list
_SIGNS = dict.fromkeys(("×", "·", "⋅", "∗", r"\times", r"\cdot", r"\ast"), "*")  # other ways to write a symbol
_SIGNS |= dict.fromkeys(("÷", r"\div"), "/") | dict.fromkeys(("−", "–"), "-")
_SIGNS |= dict.fromkeys(("{", "[", r"\{"), "(") | dict.fromkeys(("}", "]", r"\}"), ")")
_SIGNS |= dict.fromkeys((r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"), "frac") | {"**": "^", "==": "=", r"\%": "%"}
_FUNCTION_NAMES = frozenset(_FUNCTIONS.split("|"))
_NO_OPERAND = frozenset("+-*/^=)!%") | {WORD, BREAK}  # symbols with which no operand begins
_NEVER_FIRST, _NEVER_LAST = frozenset("*/^)!%"), frozenset("+-*/^(")  # of an equation
_BEHIND_UNITS = frozenset("+-*/=")


class _NotArithmetic(ValueError):
    """What is not an expression of this grammar, or exceeds its bounds."""


def equations(text: str) -> list[str]:
    """The distinct equations that a text writes down, sorted; a chain a = b = c is the two equations a = b and b = c.

    The sides of an equation have no order. Units and other words behind a number do not count, nor do equations with a
    side that is no expression.
    """
    written: set[str] = set()
    symbols = _with_units_dropped(_ITEM.sub("\n", text[:LONGEST_TEXT]))
    for is_break, part in itertools.groupby(symbols, lambda symbol: symbol == BREAK):
        sides = [] if is_break else _sides(part)
        trees = [_tree(side) for side in sides] if len(sides) > 1 else []
        written |= {"=".join(sorted((left, right))) for left, right in itertools.pairwise(trees) if left and right}
    return sorted(written)


def expression(text: str) -> str | None:
    """The tree of an expression as a text, or None; of an equation, the tree of its first side with an operator."""
    if len(text) > LONGEST_TEXT:
        return None
    trees = [_tree(side) for side in _sides(_symbols(text))]
    return next((tree for tree in trees if tree and "(" in tree), trees[0] if trees else None)


def _symbols(text: str) -> Iterator[str]:
    end = 0
    for token in _TOKEN.finditer(text):
        if token.start() > end:  # characters that no token has
            yield BREAK
        end, written = token.end(), token[0]
        if token.lastgroup == "number":
            digits = written.replace(",", "")
            yield digits if len(digits) > 100 else str(Fraction(digits))
        elif token.lastgroup == "function":
            yield written.removeprefix("\\")
        elif token.lastgroup == "name":
            yield written
        elif token.lastgroup == "sign":
            yield _SIGNS.get(written, written)
        elif token.lastgroup != "space":
            yield WORD if token.lastgroup == "word" else BREAK
    if end < len(text):
        yield BREAK


def _ends_value(symbol: str) -> bool:
    return symbol == ")" or symbol[0].isdigit()


def _with_units_dropped(text: str) -> Iterator[str]:
    """The symbols of a text without the words between a number and the operator behind it; other words are breaks."""
    before, words = BREAK, False
    for symbol in _symbols(text):
        if symbol == WORD:
            words = True
            continue
        if words and not (_ends_value(before) and symbol in _BEHIND_UNITS):
            yield BREAK
        yield symbol
        before, words = symbol, False


def _sides(symbols: Iterable[str]) -> list[list[str]]:
    """The sides of an equation, between its signs of equality; operators without an operand at its ends are dropped."""
    symbols = list(itertools.dropwhile(_NEVER_FIRST.__contains__, symbols))
    while symbols and symbols[-1] in _NEVER_LAST:
        symbols.pop()
    groups = itertools.groupby(symbols, lambda symbol: symbol == "=")
    return [list(side) for is_sign, side in groups if not is_sign]


def _tree(symbols: Sequence[str]) -> str | None:
    if len(symbols) > LONGEST_SIDE:
        return None
    try:
        return _text(_Parser(symbols).whole())
    except _NotArithmetic:
        return None


def _text(node: Node) -> str:
    return node[0] if len(node) == 1 else f"{node[0]}({','.join(map(_text, node[1:]))})"


def _flat(operator: str, nodes: list[Node]) -> Node:
    """One node of the operands of all nodes with the operator, in an order of their own; of one operand that alone."""
    operands = [part for node in nodes for part in (node[1:] if node[0] == operator else [node])]
    return operands[0] if len(operands) == 1 else (operator, *sorted(operands))


def _starts_factor(symbol: str) -> bool:
    """Whether a factor without a sign of multiplication begins: 2x, 3(4 + 5); not 3 4."""
    return symbol == "(" or (symbol not in _NO_OPERAND and not symbol[0].isdigit())


class _Parser:
    """Recursive descent over symbols, at most `DEEPEST` levels."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols, self.place = [*symbols, BREAK], 0

    @property
    def next(self) -> str:
        return self.symbols[self.place]

    def take(self) -> str:
        self.place += 1
        return self.symbols[self.place - 1]

    def whole(self) -> Node:
        node = self.sum(0)
        if self.place != len(self.symbols) - 1:
            raise _NotArithmetic
        return node

    def sum(self, depth: int) -> Node:
        terms = [self.product(depth)]
        while self.next in ("+", "-"):  # a term takes its sign
            terms.append(self.product(depth))
        return _flat("+", terms)

    def product(self, depth: int) -> Node:
        factors, is_negative = [], False
        inverts = False
        while True:
            factor = self.signed(depth)
            is_negative ^= factor[0] == "-"
            factor = factor[1] if factor[0] == "-" else factor
            factors.append(("/", factor) if inverts else factor)
            inverts = self.next == "/"
            if self.next in ("*", "/"):
                self.take()
            elif not _starts_factor(self.next):
                break
        node = _flat("*", factors)
        return ("-", node) if is_negative else node

    def signed(self, depth: int) -> Node:
        is_negative = False
        while self.next in ("+", "-"):
            is_negative ^= self.take() == "-"
        node = self.power(depth)
        if not is_negative:
            return node
        return node[1] if node[0] == "-" else ("-", node)

    def power(self, depth: int) -> Node:
        node = self.atom(depth)
        while self.next in ("!", "%"):
            node = (self.take(), node)
        if self.next != "^":
            return node
        self.take()
        return ("^", node, self.signed(depth + 1))

    def atom(self, depth: int) -> Node:
        symbol = self.take()
        if depth > DEEPEST or symbol in _NO_OPERAND:
            raise _NotArithmetic
        if symbol == "(":
            node = self.sum(depth + 1)
            if self.take() != ")":
                raise _NotArithmetic
            return node
        if symbol == "frac":
            return _flat("*", [self.atom(depth + 1), ("/", self.atom(depth + 1))])
        if symbol in _FUNCTION_NAMES:
            if self.next != "^":
                return (symbol, self.atom(depth + 1))
            self.take()
            exponent = self.atom(depth + 1)
            return ("^", (symbol, self.atom(depth + 1)), exponent)
        return (symbol,)
