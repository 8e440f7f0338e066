r"""Cross products: \vec a \times \vec b is not \vec b \times \vec a, though 3 \times 4 is 4 \times 3.

The arrows of vectors are layout and go, so a product of two vectors is marked before; `cross_products_as_symbols` then
makes one symbol of it, with the sign of its order: \vec b \times \vec a = -(\vec a \times \vec b). A product of sums,
\vec a \times (\vec b + \vec c), is compared as a text.
"""

from __future__ import annotations

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
    r"""`\times` between two vectors as `\vectimes`, before the arrows go."""
    return _OF_VECTORS.sub(lambda found: found["left"] + _MARK, text)


def both_marked(answer: str, gold: str) -> tuple[str, str]:
    r"""Where one of the two has a cross product, the other's `a \times b` is one too, without arrows."""
    if _MARK.strip() not in answer + gold:
        return answer, gold
    return _OF_LETTERS.sub(lambda _: _MARK, answer), _OF_LETTERS.sub(lambda _: _MARK, gold)


def cross_products_as_symbols(text: str) -> str:
    r"""`a \vectimes b` as one symbol, and `a \cdot (b \vectimes c)`, which is `(a \vectimes b) \cdot c`, as another."""
    if "\\vectimes" not in text:
        return text
    return _CROSS.sub(_as_symbol, _TRIPLE.sub(_as_symbol, text))


def _as_symbol(found: re.Match[str]) -> str:
    """A symbol of the sorted operands, with the sign of the permutation that sorts them."""
    parts = [part.translate(_LAYOUT) for part in found.groups() if part]
    factors = [part for part in parts if part.isdigit()]
    operands = [part for part in parts if not part.isdigit()]
    swaps = sum(one > other for index, one in enumerate(operands) for other in operands[index + 1 :])
    sign = "-" if swaps % 2 else ""
    times = "\\cdot " if _FACTOR_BEFORE.search(found.string, 0, found.start()) else ""  # q(x) would be a function
    return f" {times}({sign}{''.join(factors)}{symbol(' cross '.join(sorted(operands)))}) "
