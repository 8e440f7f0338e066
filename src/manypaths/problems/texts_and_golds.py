"""From rows to the texts of problems and their gold answers: questions, choices and templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from manypaths.grading.golds import note_on_sentences
from manypaths.printable import listed, shown
from manypaths.problems import choices
from manypaths.problems.columns import fill, find_column, has, is_chat, places, user_text, value_at
from manypaths.problems.gold_column import check_one_gold, gold_of, gold_or_none, note_lists
from manypaths.problems.needed_columns import BEFORE, whole_question

Row = dict[str, Any]
Say = Callable[[str], None]

QUESTIONS = ("problem", "question", "Question", "Problem", "prompt")
GOLDS: tuple[str, ...] = ("answer", "final_answer", "Answer", "expected_answer", "ground_truth")
GOLDS += ("reward_model.ground_truth", "solution")


def texts_and_golds(
    rows: Sequence[Row],
    name: str,
    problem_column: str | None,
    answer_column: str | None,
    say: Say,
    usual: tuple[Sequence[str], Sequence[str]] = (QUESTIONS, GOLDS),
) -> tuple[list[str], list[str]]:
    """Read the text and the gold answer of the problem in each row.

    Without a `problem_column`, a question is read with its choices, lettered, and with the Body of SVAMP and ASDiv; any
    other column that a problem may need is an error.

    Args:
        rows: One or more.
        name: The set, for messages.
        problem_column: A column, a path with dots or a template; None for the first of the usual names.
        answer_column: The same for the gold answer.
        say: Gets a sentence for everything that was assumed.
        usual: The usual names of both columns.

    Returns:
        The texts and the gold answers, one of each per row.

    Raises:
        ValueError: A column is missing, a problem may need more columns, two columns hold different gold answers, or a
            row has no text or gold answer.
    """
    text_column = find_column(problem_column, usual[0], rows, name, "problem")
    lettered = _choices(rows, text_column, problem_column)
    if problem_column is None:
        of_choices = {column for offered in lettered if offered for column in offered.columns}
        text_column = whole_question(rows, name, text_column, of_choices)
    texts = [_text(row, text_column, name, number) for number, row in enumerate(rows, 1)]
    if problem_column is None and lettered:
        pairs = zip(texts, lettered, strict=True)
        texts = [f"{text}\n{offered.lettered}" if offered else text for text, offered in pairs]
        usual = (usual[0], [*choices.ANSWERS, *usual[1]])
    gold_column = find_column(answer_column, usual[1], rows, name, "answer")
    if answer_column is None and not lettered:
        check_one_gold(rows, name, gold_column, usual[1])
    where = (f"{shown(name, 200)}, row {number}, {shown(gold_column)}" for number in range(1, len(rows) + 1))
    golds = [gold_of(row, gold_column, label, "answer") for row, label in zip(rows, where, strict=True)]
    note_lists(rows, gold_column, name, say)
    if lettered:
        golds = _as_letters(lettered, golds, name, text_column, gold_column, say, strict=problem_column is None)
        if answer_column is None:
            _check_one_letter(rows, lettered, golds, name, gold_column)
    _note_assumptions(rows, golds, name, text_column, say, by_template=problem_column is None and not lettered)
    return texts, golds


def _note_assumptions(
    rows: Sequence[Row], golds: Sequence[str], name: str, column: str, say: Say, by_template: bool
) -> None:
    if by_template and places(column, rows[0]):
        say(f"{shown(name, 200)}: a problem is {column}.")
    if sentences := note_on_sentences(golds):
        say(f"{shown(name, 200)}: {sentences}.")
    chats = [value for row in rows if is_chat(value := row.get(column, ""))]
    if any(len(chat) > 1 for chat in chats):
        say(f"{shown(name, 200)}: of the chat messages in {shown(column)} a problem is the user's turn.")


def _choices(rows: Sequence[Row], column: str, requested: str | None) -> list[choices.Choices | None]:
    """The choices of each row that are part of its problem; an empty list where no row has any."""
    by_row = [choices.choices_of(row) for row in rows]
    if requested is not None:
        used = set(places(column, rows[0])) or {column}
        by_row = [
            offered if offered and used & set(offered.columns) else _choices_at(row, used)
            for row, offered in zip(rows, by_row, strict=True)
        ]
    return by_row if any(by_row) else []


def _choices_at(row: Row, used: set[str]) -> choices.Choices | None:
    """The choices in a list that a template names, whatever the name of its column."""
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
    say: Say,
    strict: bool,
) -> list[str]:
    """Gold answers of multiple choice as letters; unless `strict`, those that fit no choice remain unchanged."""
    pairs = [(offered, gold) for offered, gold in zip(lettered, golds, strict=True) if offered]
    columns = listed(pairs[0][0].columns)
    try:
        reading, read = choices.letters(*zip(*pairs, strict=True))
    except ValueError as error:
        if not strict and not isinstance(error, choices.AmbiguousError):
            return golds
        remedy = f"set problem_column={text_column} for" if strict else "leave the choices out of problem_column, for"
        raise ValueError(
            f"{shown(name, 200)} has choices ({columns}), and {error}. Write letters into {shown(gold_column)}, or "
            f"{remedy} the question without its choices."
        ) from error
    say(f"{shown(name, 200)}: a problem has lettered choices ({columns}); {gold_column} holds {reading}.")
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
        return _part(value, place)

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


def _part(value: Any, place: str) -> str:
    """What a template gets for a place: a text or number, nothing for a missing value, lettered choices for a list."""
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
    """Raise ValueError if another usual column of multiple choice stands for other letters than the gold answers."""
    offered = [row_choices for row_choices in lettered if row_choices]
    if len(offered) < len(rows):
        return
    for other in choices.ANSWERS:
        texts = [gold_or_none(row, other) for row in rows]
        answers = [text for text in texts if text is not None]
        if other == column or len(answers) < len(rows):
            continue
        readings = choices.readings(offered, answers)
        if readings and golds not in readings.values():
            raise ValueError(
                f"{shown(name, 200)} has different answers in {shown(column)} and {shown(other)}. Set answer_column to "
                "the one that is right."
            )
