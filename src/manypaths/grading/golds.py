"""Gold answers from the values of a column, for files, the command line and rewards alike."""

from __future__ import annotations

import ast
import json
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from manypaths.grading import final_answer

__all__ = ["final_answer", "gold_text", "note_on_sentences"]

_MISSING = ("nan", "NaN", "<NA>", "NaT")
_LONG = 15  # characters; a number this long was printed with all digits of its type


def gold_text(value: object) -> str | None:
    r"""The gold answer that a value of a column stands for.

    - A text stands for itself: an answer, an answer in a box, or a worked solution that ends in a box or in GSM8K's
      `#### 4`.
    - A number is written out; a whole float loses its decimal point. A float32 of an array or tensor is the number with
      the fewest digits that has this float32: 0.1, not 0.10000000149011612.
    - None, NaN, pandas' NA and NaT (also as texts), a blank text and an empty list are not gold answers. The text
      "None" is a word.
    - A list holds the parts of one answer. All are needed, in any order: ["4", "5"] is `4, 5`. The same holds for a
      text that is a list of texts in JSON or Python, and for an array.

    Args:
        value: A value of a gold column.

    Returns:
        A text that `manypaths.grading` takes for a gold answer; None if there is no gold answer.

    Raises:
        ValueError: The value is of another kind, such as an object, or a list in which an answer is missing.
    """
    if hasattr(value, "tolist"):  # arrays and scalars of numpy and torch
        single = str(getattr(value, "dtype", "")).removeprefix("torch.") == "float32"
        value = _shortest(value.tolist()) if single else value.tolist()
    if isinstance(value, str):
        written = _written_value(value.strip())
        return gold_text(written) if written is not None else None if value in _MISSING else value.strip() or None
    if isinstance(value, (list, tuple)):
        return _joined(value)
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, float):
        return _written_out(value)
    if isinstance(value, int) or type(value).__name__ in ("Decimal", "Fraction"):
        return str(value) if value == value else None
    if isinstance(value, Mapping):
        keys = ", ".join(repr(str(key)[:40]) for key in list(value)[:10])
        raise ValueError(f"A gold answer must be a text, a number or a list, got an object with the keys {keys}.")
    raise ValueError(f"A gold answer must be a text, a number or a list, got a value of type {type(value).__name__}.")


def _shortest(value: Any) -> Any:
    """A float32, or each float32 of a list, as the shortest decimal that rounds to it: 0.1 for 0.10000000149011612."""
    if isinstance(value, list):
        return [_shortest(part) for part in value]
    if not math.isfinite(value) or value.is_integer() or len(repr(value)) < _LONG:
        return value
    shorter = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((number for number in shorter if struct.unpack("f", struct.pack("f", number))[0] == value), value)


_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{2,}")
_SENTENCE = 5  # words


def note_on_sentences(golds: Sequence[str]) -> str | None:
    """A warning about gold answers that are sentences, such as worked solutions without a box.

    Args:
        golds: Gold answers.

    Returns:
        How many are sentences, an example, and what to do; None if no gold answer is a sentence.
    """
    sentences = [gold for gold in golds if len(_WORD.findall(gold[:1000])) >= _SENTENCE]
    if not sentences:
        return None
    return (
        f"{len(sentences)} of {len(golds)} gold answers are sentences, such as {sentences[0][:60]!r}, which an answer "
        "alone does not equal. Name a column that holds the answer alone, in \\boxed{} or after ####"
    )


def _written_out(value: float) -> str:
    if math.isinf(value):
        return "\\infty" if value > 0 else "-\\infty"
    return str(int(value)) if value.is_integer() else format(Decimal(repr(value)), "f")


def _joined(parts: list[Any] | tuple[Any, ...]) -> str | None:
    texts = [gold_text(part) for part in parts]
    if len(texts) < 2:
        return texts[0] if texts else None
    if any(isinstance(part, (list, tuple)) and len(part) > 1 for part in parts):
        raise ValueError(
            f"A gold answer that is a list must hold no lists of several answers, got {str(parts)[:60]!r}."
        )
    present = [final_answer(text) for text in texts if text is not None]
    if len(present) < len(texts):
        raise ValueError(f"A gold answer that is a list must hold an answer in every place, got {str(parts)[:60]!r}.")
    return ", ".join(present)


def _written_value(text: str) -> list[str] | dict[str, Any] | None:
    """The list of texts, or the object, that a text is in JSON or Python; None for any other text.

    `[1, 2]` stays a text, because it may be an interval.
    """
    parse: Callable[[str], Any]
    if text.startswith(('["', '{"')):
        parse = json.loads
    elif text.startswith(("['", "{'")):
        parse = ast.literal_eval
    else:
        return None
    try:
        value = parse(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    is_list = isinstance(value, list) and all(isinstance(part, str) for part in value)
    return value if is_list or isinstance(value, dict) else None
