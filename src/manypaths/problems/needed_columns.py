"""Which columns a problem may need beside its question: none of them is left out silently."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from manypaths.messages import text_of
from manypaths.printable import shown
from manypaths.problems.columns import is_chat

Row = dict[str, Any]


BEFORE = ("Body", "body")  # SVAMP and ASDiv: the story, to which the question belongs
_NEEDED_WORDS = """
    article assumption assumptions background body chart choice choices condition conditions context ctx definition
    definitions description diagram dialogue distractor document ending endings evidence facts figure given history
    image images incorrect input intro introduction narrative numbers operands option options paragraph passage
    picture preamble premise scenario sentence setup situation snippet statement statements stem stimulus story
    support table tables text values variables wrong
"""
_NEEDED = frozenset(_NEEDED_WORDS.split())
_BEHIND = {"choice", "choices", "ending", "endings", "option", "options"}  # parts that follow a question
_PICTURE = {"chart", "diagram", "figure", "image", "images", "picture"}
_WRONG = {"distractor", "incorrect", "wrong"}
_ABOUT = {"count", "difficulty", "id", "idx", "index", "lang", "language", "length", "level", "name", "source", "type"}
_NOT_NEEDED_WORDS = """
    ability annotated annotation annotations annotator answer answers author benchmark book canary category chapter
    chosen class comment comments competition completion completions concept concepts contest conversation
    conversations correct correctness cot country course critique data dataset date domain equation equations error
    eval evaluation event exam expected explanation extra feedback field final formula generated generation
    generations gold grade info judge judgement key keyword keywords label license link log logs message messages
    meta metadata model origin original output outputs parsed pred prediction predictions preds proof publisher rate
    rating rationale reason reasoning reasons ref reference references rejected response responses result results
    review reward round school score section skill skills solution solutions split status step steps subfield
    subject subjects tag tags target template theme theorem thinking thought title tokens topic topics truth uid
    unique unit url uuid verdict verification verified version ways year
"""
_NOT_NEEDED = _ABOUT | frozenset(_NOT_NEEDED_WORDS.split())


def whole_question(rows: Sequence[Row], name: str, column: str, of_choices: set[str]) -> str:
    """The column of the question, or the template of it and the Body of SVAMP and ASDiv.

    Args:
        rows: One or more.
        name: The set, for messages.
        column: The column of the question.
        of_choices: The columns of the choices, which are part of the problem anyway.

    Raises:
        ValueError: A problem may need another column, too.
    """
    before = next((body for body in BEFORE if isinstance(rows[0].get(body), str)), None)
    taken = {column, *([before] if before else []), *of_choices}
    for other in dict.fromkeys(key for row in rows for key in row):
        if other not in taken and _is_needed(other, [before, column] if before else [column], rows):
            if _PICTURE & {*_words(other)}:
                raise ValueError(
                    f"{shown(name, 200)} has {shown(other)} beside {shown(column)}, and a problem may need it, but "
                    f"only text is read here. Set problem_column={column} for that alone."
                )
            if _WRONG & {*_words(other)}:
                raise ValueError(
                    f"{shown(name, 200)} has {shown(other)} beside {shown(column)}: choices that are wrong. Write a "
                    f"column choices with all of them in a mixed order, or set problem_column={column} for the "
                    "question alone."
                )
            both = [column, other] if {*_words(other)} & _BEHIND else [other, column]
            raise ValueError(
                f"{shown(name, 200)} has {shown(other)} beside {shown(column)}, and a problem may need both. Set "
                f'problem_column, such as "{{{both[0]}}} {{{both[1]}}}", or {column} for that alone.'
            )
    return f"{{{before}}} {{{column}}}" if before else column


def _is_needed(other: str, taken: Sequence[str], rows: Sequence[Row]) -> bool:
    """Whether a column looks like a part of the problem, and adds text to the columns `taken` in some row."""
    words = _words(other)
    about = bool(words) and words[-1] in (_ABOUT - {"name", "source"} if _PICTURE & {*words} else _ABOUT)
    named = not about and bool(_NEEDED & {*words})
    if not named and (_NOT_NEEDED & {*words} or str(other).startswith("__")):
        return False
    return any(_adds(row.get(other), " ".join(_as_text(row.get(column)) for column in taken), named) for row in rows)


def _words(column: object) -> list[str]:
    """The words of a name such as `answer_choices` or `sourceText`, in lower case."""
    return [word.lower() for word in re.findall(r"[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]+", str(column))]


def _adds(value: Any, text: str, named: bool) -> bool:
    """Whether a value adds something to a text; in a column whose name does not say so (`named`), only prose does."""
    if isinstance(value, str):
        return bool(value.strip()) and (named or _is_prose(value)) and _plain(value) not in _plain(text)
    if isinstance(value, (list, tuple)):
        entries = [entry for entry in value if not isinstance(entry, str) or _plain(entry) not in _plain(text)]
        return bool(entries) and (named or any(isinstance(entry, str) and _is_prose(entry) for entry in entries))
    return named and value is not None and not isinstance(value, (bool, int, float)) and bool(value)


def _is_prose(text: str) -> bool:
    return len(text.split()) >= 3 or (not text.isascii() and len(text) >= 12)


def _as_text(question: Any) -> str:
    """A question that is a text, or the text of all its chat messages; "" for anything else."""
    if is_chat(question):
        return text_of([{**message, "role": "assistant"} for message in question])
    return question if isinstance(question, str) else ""


def _plain(text: str) -> str:
    """A text for comparison: without case, white space and the punctuation of sentences."""
    return "".join(char for char in text.casefold() if char not in " \n\t\r.,;:!?")
