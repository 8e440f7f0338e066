"""Which columns make a problem and its gold answer, so that no text of the problem is lost without a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from manypaths.grading.golds import note_on_sentences
from manypaths.printable import listed, shown
from manypaths.problems import choices
from manypaths.problems.columns import fill, find_column, has, is_chat, is_list_of_parts, places, user_text, value_at
from manypaths.problems.gold_column import check_one_gold, gold_of, gold_or_none
from manypaths.problems.needed_columns import BEFORE, whole_question

Row = dict[str, Any]

QUESTIONS = ("problem", "question", "Question", "Problem", "prompt")
GOLDS: tuple[str, ...] = ("answer", "final_answer", "Answer", "expected_answer", "ground_truth")
GOLDS += ("reward_model.ground_truth", "solution")


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
        text_column = whole_question(
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
        check_one_gold(rows, name, gold_column, usual[1])
    golds = [gold_of(row, gold_column, name, number) for number, row in enumerate(rows, 1)]
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
    elif column in [f"{{{body}}} {{{question}}}" for body in BEFORE for question in QUESTIONS]:
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


def _check_one_letter(
    rows: Sequence[Row], lettered: Sequence[choices.Choices | None], golds: list[str], name: str, column: str
) -> None:
    """Refuse another usual column of multiple choice that stands for other letters than the golds."""
    offered = [each for each in lettered if each]
    if len(offered) < len(rows):
        return
    for other in choices.ANSWERS:
        texts = [gold_or_none(row, other) for row in rows]
        answers = [text for text in texts if text is not None]
        if other == column or len(answers) < len(rows):
            continue
        ways = choices.readings(offered, answers)
        if ways and golds not in ways.values():
            raise ValueError(
                f"{shown(name, 200)} has different answers in {shown(column)} and {shown(other)}. Set answer_column to "
                "the one that is right."
            )
