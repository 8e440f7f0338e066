r"""Cross products as symbols: \vec a \times \vec b is not \vec b \times \vec a, although 3 \times 4 is 4 \times 3.

`layout` removes the arrows of vectors. Before that, `mark_cross_products` marks the products of two vectors; later,
`cross_products_as_symbols` turns each into one symbol whose sign depends on the order of its factors:
\vec b \times \vec a = -(\vec a \times \vec b). A product with a sum, \vec a \times (\vec b + \vec c),
is compared as text.
"""

from __future__ import annotations

import itertools
import re

from manypaths.grading.sides import symbol

_ARROW = r"\\(?:vec|overrightarrow|mathbf|boldsymbol|bm|pmb|hat)"
_INDEX = r"(?:\s?_\s?(?:\{\w{1,9}\}|\w))?"
_MARKED = rf"{_ARROW}\s?(?:\{{\s?\\?[A-Za-z]+{_INDEX}\s?\}}|[A-Za-z](?![A-Za-z])|\\[a-z]+){_INDEX}"
_SUM = rf"\((?=[^()]*{_ARROW})[^()]*\)"
_OF_VECTORS = re.compile(rf"(?P<left>{_MARKED}|{_SUM})\s?\\times(?![A-Za-z])(?=\s?\d*\s?(?:{_MARKED}|{_SUM}))")
_MARK = r"\vectimes "
_OF_LETTERS = re.compile(r"(?<=[A-Za-z})])\s?\\times(?![A-Za-z])\s?(?=\d*\s?[\\A-Za-z(])")
_LETTERS = r"(?<![A-Za-z\\])\{?\s?\\?[A-Za-z]+(?:_\{\w{1,9}\})?\s?\}?(?:_\{\w{1,9}\})?"
_OPERAND = rf"\\vec\{{\w\}}|{_LETTERS}|\([^()]*\)"
_CROSS = re.compile(rf"({_OPERAND})\s?\\vectimes(?![A-Za-z])\s?(\d*)\s?({_OPERAND})")
_PAIR = rf"\(\s?({_OPERAND})\s?\\vectimes\s?({_OPERAND})\s?\)"
_TRIPLE = re.compile(rf"({_OPERAND})\s?\\cdot\s?{_PAIR}|{_PAIR}\s?\\cdot\s?({_OPERAND})")
_FACTOR_BEFORE = re.compile(r"(?:(?<![A-Za-z\\])[A-Za-z]|[\d)}])\s*\Z")
_LAYOUT = str.maketrans("", "", " {}")


def mark_cross_products(text: str) -> str:
    r"""`\times` between two vectors as `\vectimes`."""
    return _OF_VECTORS.sub(lambda match: match["left"] + _MARK, text)


def both_marked(answer: str, gold: str) -> tuple[str, str]:
    r"""The two texts, with `a \times b` as a cross product in both if one of them has a marked cross product."""
    if _MARK.strip() not in answer + gold:
        return answer, gold
    return _OF_LETTERS.sub(lambda _: _MARK, answer), _OF_LETTERS.sub(lambda _: _MARK, gold)


def cross_products_as_symbols(text: str) -> str:
    r"""`a \vectimes b` as a symbol, and the triple product `a \cdot (b \vectimes c)`, in any order, as another."""
    if "\\vectimes" not in text:
        return text
    return _CROSS.sub(_as_symbol, _TRIPLE.sub(_as_symbol, text))


def _as_symbol(match: re.Match[str]) -> str:
    """A symbol of the sorted operands, with the sign of the permutation that sorts them."""
    parts = [part.translate(_LAYOUT) for part in match.groups() if part]
    factors = [part for part in parts if part.isdigit()]
    operands = [part for part in parts if not part.isdigit()]
    swaps = sum(left > right for left, right in itertools.combinations(operands, 2))
    sign = "-" if swaps % 2 else ""
    times = "\\cdot " if _FACTOR_BEFORE.search(match.string, 0, match.start()) else ""  # q(x) would be a function
    return f" {times}({sign}{''.join(factors)}{symbol(' cross '.join(sorted(operands)))}) "
