"""Which columns make a problem and its gold answer, so that no text of the problem is lost without a word."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from manypaths.grading import number
from manypaths.grading.golds import final_answer, gold_text, note_on_sentences
from manypaths.messages import text_of
from manypaths.printable import listed, shown
from manypaths.problems import choices
from manypaths.problems.columns import (
    assistant_text,
    fill,
    find_column,
    has,
    is_chat,
    is_list_of_parts,
    places,
    user_text,
    value_at,
)

Row = dict[str, Any]

QUESTIONS = ("problem", "question", "Question", "Problem", "prompt")
GOLDS: tuple[str, ...] = ("answer", "final_answer", "Answer", "expected_answer", "ground_truth")
GOLDS += ("reward_model.ground_truth", "solution")
_BEFORE = ("Body", "body")  # SVAMP and ASDiv: the story, to which the question belongs

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


def texts_and_golds(
    rows: Sequence[Row],
    name: str,
    problem_column: str | None,
    answer_column: str | None,
    say: Callable[[str], None],
    usual: tuple[Sequence[str], Sequence[str]] = (QUESTIONS, GOLDS),
) -> tuple[list[str], list[str]]:
    """The text and the gold answer of the problem in each row; `say` is told what is taken beside one plain column.

    Columns left out are found by their usual names. A question comes with its choices, lettered, and with SVAMP's and
    ASDiv's Body; where other columns look as if they belonged to the problem, that is a ValueError, which a
    `problem_column` settles. ValueError, with the row, for a text or an answer that is missing.
    """
    text_column = find_column(problem_column, usual[0], rows, name, "problem")
    lettered = _choices(rows, text_column, problem_column)
    if problem_column is None:
        text_column = _whole(
            rows, name, text_column, {column for offered in lettered if offered for column in offered.columns}
        )
    texts = [_text(row, text_column, name, number) for number, row in enumerate(rows, 1)]
    if problem_column is None and lettered:
        texts = [
            f"{text}\n{offered.lettered}" if offered else text for text, offered in zip(texts, lettered, strict=True)
        ]
        usual = (usual[0], [*choices.ANSWERS, *usual[1]])
    gold_column = find_column(answer_column, usual[1], rows, name, "answer")
    if answer_column is None and not lettered:
        _check_one_gold(rows, name, gold_column, usual[1])
    golds = [_gold(row, gold_column, name, number) for number, row in enumerate(rows, 1)]
    if lists := sum(is_list_of_parts(row, gold_column) for row in rows):
        say(
            f"{shown(name, 200)}: {lists} gold answers are lists: their entries are the parts of an answer, all needed."
        )
    if lettered:
        golds = _as_letters(lettered, golds, name, text_column, gold_column, say, strict=problem_column is None)
        if answer_column is None:
            _check_one_letter(rows, lettered, golds, name, gold_column)
    elif problem_column is None and places(text_column, rows[0]):
        say(f"{shown(name, 200)}: a problem is {text_column}.")
    if sentences := note_on_sentences(golds):
        say(f"{shown(name, 200)}: {sentences}.")
    chats = [value for row in rows if is_chat(value := row.get(text_column, ""))]
    if any(len(chat) > 1 for chat in chats):
        say(f"{shown(name, 200)}: of the chat messages in {shown(text_column)} a problem is the user's turn.")
    return texts, golds


def _choices(rows: Sequence[Row], column: str, asked: str | None) -> list[choices.Choices | None]:
    """The choices of each row that are part of its problem; an empty list where no row has any."""
    by_row = [choices.choices_of(row) for row in rows]
    if asked is not None:
        used = set(places(column, rows[0])) or {column}
        by_row = [
            offered if offered and used & set(offered.columns) else _choices_at(row, used)
            for row, offered in zip(rows, by_row, strict=True)
        ]
    return by_row if any(by_row) else []


def _choices_at(row: Row, used: set[str]) -> choices.Choices | None:
    """The choices in a list that a template names, whatever its column is called."""
    values = {place: value_at(row, place) for place in used if has(row, place)}
    for place, value in values.items():
        if not is_chat(value) and (offered := choices.choices_of({"choices": value})):
            return replace(offered, columns=(place,))
    return None


def _as_letters(
    lettered: Sequence[choices.Choices | None],
    golds: list[str],
    name: str,
    text_column: str,
    gold_column: str,
    say: Callable[[str], None],
    strict: bool,
) -> list[str]:
    """Golds of multiple choice as letters; not `strict`, those that fit no choice stay as they are."""
    pairs = [(offered, gold) for offered, gold in zip(lettered, golds, strict=True) if offered]
    columns = listed(pairs[0][0].columns)
    try:
        way, read = choices.letters(*zip(*pairs, strict=True))
    except ValueError as error:
        if not strict and not isinstance(error, choices.AmbiguousError):
            return golds
        instead = f"set problem_column={text_column} for" if strict else "leave the choices out of problem_column, for"
        raise ValueError(
            f"{shown(name, 200)} has choices ({columns}), and {error}. Write letters into {shown(gold_column)}, or "
            f"{instead} the question without its choices."
        ) from error
    say(f"{shown(name, 200)}: a problem has lettered choices ({columns}); {gold_column} holds {way}.")
    letters = iter(read)
    return [next(letters) if offered else gold for offered, gold in zip(lettered, golds, strict=True)]


def _whole(rows: Sequence[Row], name: str, column: str, with_it: set[str]) -> str:
    """The column, or the template of it and SVAMP's Body, that leaves out no text; else a ValueError.

    Columns `with_it`, those of the choices, are a part of the problem already.
    """
    before = next((body for body in _BEFORE if isinstance(rows[0].get(body), str)), None)
    taken = {column, *([before] if before else []), *with_it}
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
                    f"column choices with all of them, in an order of your own, or set problem_column={column} for "
                    "the question alone."
                )
            both = [column, other] if {*_words(other)} & _BEHIND else [other, column]
            raise ValueError(
                f"{shown(name, 200)} has {shown(other)} beside {shown(column)}, and a problem may need both. Set "
                f'problem_column, such as "{{{both[0]}}} {{{both[1]}}}", or {column} for that alone.'
            )
    return f"{{{before}}} {{{column}}}" if before else column


def _is_needed(other: str, taken: Sequence[str], rows: Sequence[Row]) -> bool:
    """Whether a column looks like a part of the problem, and is more in some row than the columns that are taken."""
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
    """Whether a value says more than a text; of columns that are not `named` as needed, only prose does."""
    if isinstance(value, str):
        return bool(value.strip()) and (named or _is_prose(value)) and _plain(value) not in _plain(text)
    if isinstance(value, (list, tuple)):
        entries = [entry for entry in value if not isinstance(entry, str) or _plain(entry) not in _plain(text)]
        return bool(entries) and (named or any(isinstance(entry, str) and _is_prose(entry) for entry in entries))
    return named and value is not None and not isinstance(value, (bool, int, float)) and bool(value)


def _is_prose(text: str) -> bool:
    return len(text.split()) >= 3 or (not text.isascii() and len(text) >= 12)


def _as_text(question: Any) -> str:
    """The text of a question that is one, or of chat messages, whoever says it."""
    if is_chat(question):
        return text_of([{**message, "role": "assistant"} for message in question])
    return question if isinstance(question, str) else ""


def _plain(text: str) -> str:
    """A text for comparison: without case, space and the punctuation of sentences."""
    return "".join(char for char in text.casefold() if char not in " \n\t\r.,;:!?")


def _text(row: Row, column: str, name: str, number: int) -> str:
    """The text of a problem, from a column, a path, a template or chat messages."""

    def part(place: str) -> str:
        try:
            value = value_at(row, place)
            if is_chat(value):
                value = user_text(value)
        except KeyError as error:
            raise ValueError(f"{shown(name, 200)} has no column {shown(place)} in row {number}.") from error
        except ValueError as error:
            raise ValueError(f"{shown(name, 200)}, row {number}, {shown(place)}: {error}.") from error
        return _part(value, row, place)

    if not places(column, row):
        value = value_at(row, column) if has(row, column) else None
        text = part(column) if isinstance(value, str) or is_chat(value) else ""
    elif column in [f"{{{body}}} {{{question}}}" for body in _BEFORE for question in QUESTIONS]:
        body, question = map(part, places(column, row))
        text = body + "." * (body[-1:].isalnum()) + " " + question
    else:
        text = fill(column, part)
    if not text.strip():
        raise ValueError(f"{shown(name, 200)} has no text in {shown(column)} in row {number}.")
    return text.strip()


def _part(value: Any, row: Row, place: str) -> str:
    """What a template puts in a place: a text, a number, nothing for what is missing, lettered choices for a list."""
    if value is None or value != value:
        return ""
    if isinstance(value, (str, int, float)):
        return str(value).strip()
    offered = choices.choices_of({place: value}) or choices.choices_of({"choices": value})
    if offered is None:
        raise ValueError(
            f"The column {shown(place)} must hold texts, numbers or a list of choices, got {shown(value)}."
        )
    return offered.lettered


def _gold(row: Row, column: str, name: str, number: int) -> str:
    """The gold answer of a row, out of a worked solution too."""
    where = f"{shown(name, 200)}, row {number}, {shown(column)}"
    try:
        if places(column, row):
            value: Any = fill(column, lambda place: gold_text(value_at(row, place)) or "")
        else:
            value = value_at(row, column)
        text = gold_text(assistant_text(value) if is_chat(value) else value)
    except KeyError:
        text = None
    except ValueError as error:
        raise ValueError(f"{where}: {error}{_nested(value, column)}") from error
    answer = final_answer(text) if text else ""
    if not answer:
        raise ValueError(f"{where}: there is no gold answer. Write one, or remove the row.")
    return answer


def _nested(value: Any, column: str) -> str:
    """The advice to name a key of an object."""
    key = next(iter(value), "") if isinstance(value, Mapping) else ""
    return f" Set answer_column to a part of it, such as {shown(f'{column}.{key}')}." if key else ""


def _check_one_gold(rows: Sequence[Row], name: str, column: str, usual: Sequence[str]) -> None:
    """Refuse two usual columns that hold different answers; a `solution` is worked, and no other answer."""
    others = [other for other in usual if other not in (column, "solution") and has(rows[0], other)]
    for other in others:
        for place, row in enumerate(rows, 1):
            first, second = (_gold_or_none(row, answer_column) for answer_column in (column, other))
            if first is not None and second is not None and not _same(first, second):
                raise ValueError(
                    f"{shown(name, 200)} has different answers in {shown(column)} and {shown(other)}, as in row "
                    f"{place}. Set answer_column to the one that is right."
                )


def _check_one_letter(
    rows: Sequence[Row], lettered: Sequence[choices.Choices | None], golds: list[str], name: str, column: str
) -> None:
    """Refuse another usual column of multiple choice that stands for other letters than the golds."""
    offered = [each for each in lettered if each]
    if len(offered) < len(rows):
        return
    for other in choices.ANSWERS:
        texts = [_gold_or_none(row, other) for row in rows]
        answers = [text for text in texts if text is not None]
        if other == column or len(answers) < len(rows):
            continue
        ways = choices.readings(offered, answers)
        if ways and golds not in ways.values():
            raise ValueError(
                f"{shown(name, 200)} has different answers in {shown(column)} and {shown(other)}. Set answer_column to "
                "the one that is right."
            )


def _gold_or_none(row: Row, column: str) -> str | None:
    try:
        text = gold_text(value_at(row, column))
    except (KeyError, ValueError):
        return None
    return final_answer(text) if text else None


def _same(first: str, second: str) -> bool:
    if first == second:
        return True
    value = number(first)
    return value is not None and value == number(second)
