"""A file of completions that were made elsewhere: its problems, each with its gold answer and completions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manypaths.files import as_json
from manypaths.grading.golds import final_answer, gold_text, note_on_sentences
from manypaths.messages import text_of
from manypaths.printable import counted, listed, shown
from manypaths.problems import choices, ids_of
from manypaths.problems.columns import assistant_text, fill, find_column, has, is_chat, places, user_text, value_at
from manypaths.problems.gold_column import gold_of, note_lists, same_answer
from manypaths.problems.rows import Row, Say, read_rows
from manypaths.results import is_results, result_files

TEXTS: tuple[str, ...] = ("samples", "predictions", "completions", "responses", "outputs", "generations", "completion")
TEXTS += (
    "response.body.choices",  # a result of OpenAI's batches
    "model_response.text",  # a detail of lighteval
    "response",
    "output",
    "prediction",
    "generation",
    "generated_text",
    "model_output",
    "text",
    "resps",
    "messages",
)
GOLDS: tuple[str, ...] = ("gold", "golds", "answer", "target", "ground_truth", "expected_answer", "final_answer", "gts")
GOLDS += ("answerKey", "reward_model.ground_truth", "solution")
QUESTIONS = ("question", "problem", "Question", "Problem", "prompt", "query", "input")
TEXT_KEYS = ("text", "content", "generated_text", "completion", "response", "output")  # of a completion as an object


@dataclass
class Completions:
    """A problem, its gold answer, and all of its completions."""

    id: str
    question: str
    gold: str
    texts: list[str] = field(default_factory=list)


def read_completions(path: Path, text_column: str | None, gold_column: str | None, say: Say) -> list[Completions]:
    """Read the problems of a file with all of their completions.

    Args:
        path: The file.
        text_column: The column of the completions, a path with dots, or a template; None for its usual names.
        gold_column: The same for the gold answers.
        say: Gets a sentence for everything that was assumed.

    Returns:
        The problems in the order of the file.

    Raises:
        ValueError: As `grade_file` does.
    """
    if results := result_files(path) if is_results(path) else []:
        raise ValueError(
            f"{shown(path, 200)} holds results of manypaths evaluate. Give one of its files, such as {results[0]}."
        )
    name = str(path)
    rows = _of_one_filter(read_rows(name, say=say), name, say)
    text_column = _column(text_column, rows, name, TEXTS, "text")
    gold_column = _column(gold_column, rows, name, GOLDS, "gold")
    values = _decoded([_at(row, text_column) for row in rows], name, text_column, say)
    question_column = next((column for column in QUESTIONS if column in rows[0] and column != text_column), "")
    golds = _golds(rows, name, gold_column, say)
    ids = ids_of(rows)
    by_key: dict[Any, Completions] = {}
    for number, (row, value, own_id, gold) in enumerate(zip(rows, values, ids, golds, strict=True), 1):
        where = f"{shown(name, 200)}, row {number}"
        texts = _texts(value, f"{where}, {shown(text_column)}")
        question = _question(row.get(question_column))
        key: Any = own_id if own_id is not None else (question, gold) if question else number
        problem = by_key.setdefault(key, Completions(own_id or str(number - 1), question, gold))
        if (problem.gold, problem.question) != (gold, question):
            conflict = "gold answers" if problem.gold != gold else "questions"
            raise ValueError(f"{where}: the id {shown(own_id)} has two {conflict}. Give each problem an id of its own.")
        problem.texts += texts
    if len(by_key) < len(rows):
        by = "with the same id" if any(ids) else f"with the same {question_column} and gold answer"
        say(
            f"{shown(name, 200)}: rows {by} are samples of one problem: {len(rows)} rows, "
            f"{counted(len(by_key), 'problem')}."
        )
    _note_equal_problems([*by_key.values()], name, say)
    return list(by_key.values())


def _of_one_filter(rows: list[Row], name: str, say: Say) -> list[Row]:
    """The rows of the first filter, for lm-evaluation-harness writes the same completions once for each filter."""
    if not all({"filter", "doc_id", "resps"} <= set(row) for row in rows):
        return rows
    filters = list(dict.fromkeys(str(row["filter"]) for row in rows))
    if len(filters) > 1:
        say(f"{shown(name, 200)}: samples are there once for each of {listed(filters)}; those of {filters[0]} count.")
    return [row for row in rows if str(row["filter"]) == filters[0]]


def _note_equal_problems(problems: Sequence[Completions], name: str, say: Say) -> None:
    """Note where problems with different ids have one question: they may be completions of one problem."""
    different = {(problem.question, problem.gold) for problem in problems if problem.question}
    equal = sum(bool(problem.question) for problem in problems) - len(different)
    if equal:
        say(
            f"{shown(name, 200)}: {equal} of {len(problems)} problems have the question and gold answer of another, "
            "but an id of their own. If they are samples of one problem, give these the same id, or remove the ids."
        )


def _golds(rows: Sequence[Row], name: str, column: str, say: Say) -> list[str]:
    """The gold answer of each row; the letter of a choice where the column holds the choice's position."""
    where = (f"{shown(name, 200)}, row {number}, {shown(column)}" for number in range(1, len(rows) + 1))
    golds = [gold_of(row, column, label, "gold") for row, label in zip(rows, where, strict=True)]
    note_lists(rows, column, name, say)
    if sentences := note_on_sentences(golds):
        say(f"{shown(name, 200)}: {sentences}.")
    lettered = [(index, offered) for index, row in enumerate(rows) if (offered := choices.choices_of(row))]
    if not lettered or not all(golds[index].isdecimal() for index, _ in lettered):
        return golds
    try:
        reading, letters = choices.letters(
            [offered for _, offered in lettered], [golds[index] for index, _ in lettered]
        )
    except ValueError as error:
        raise ValueError(
            f"{shown(name, 200)} has choices, and {error}. Write letters into {shown(column)}, or remove the choices."
        ) from error
    if reading.startswith("positions"):
        say(f"{shown(name, 200)}: {column} holds {reading}; the letters of the choices are the gold answers.")
        for (index, _), letter in zip(lettered, letters, strict=True):
            golds[index] = letter
    return golds


def _column(requested: str | None, rows: Sequence[Row], name: str, usual: Sequence[str], role: str) -> str:
    """The requested column, else the usual one; ValueError where two usual columns differ."""
    column = find_column(requested, usual, rows, name, role)
    for other in () if requested else usual:
        if other in (column, column.partition(".")[0], "solution") or not has(rows[0], other):
            continue
        if any(not _agree(_at(row, column), _at(row, other), role) for row in rows):
            raise ValueError(
                f"{shown(name, 200)} has both {shown(column)} and {shown(other)} for the {role}, and they differ. "
                f"Set {role}_column (--{role}-column) to the right one."
            )
    return column


def _agree(first: Any, second: Any, role: str) -> bool:
    if first is None or second is None or first == second:
        return True
    if role != "gold":
        return False
    try:
        texts = [final_answer(gold_text(value) or "") for value in (first, second)]
    except ValueError:
        return False
    return same_answer(*texts)


def _at(row: Row, column: str) -> Any:
    """The value at a column, path or template of a row; None where there is none."""
    try:
        if places(column, row):
            return fill(column, lambda place: str(value_at(row, place)))
        return value_at(row, column)
    except KeyError:
        return None


def _decoded(values: list[Any], name: str, column: str, say: Say) -> list[Any]:
    """Decode the cells of a table if all of them are lists in JSON; ValueError if they are lists as Python prints."""
    if not all(isinstance(value, str) and value.startswith("[") and value.rstrip().endswith("]") for value in values):
        return values
    try:
        lists = [json.loads(value) for value in values]
    except (ValueError, RecursionError):
        lists = []
    if lists and all(entries and all(isinstance(entry, (str, dict)) for entry in entries) for entries in lists):
        say(f"{shown(name, 200)}: {shown(column)} holds lists in JSON, a completion in each entry.")
        return lists
    if all(value.startswith(("['", '["', "[{'")) for value in values):
        raise ValueError(
            f"{shown(name, 200)} must hold completions or lists in JSON in {shown(column)}, got lists as Python prints "
            "them. Write JSON lines or parquet."
        )
    return values


def _texts(value: Any, where: str) -> list[str]:
    """All completions of a value."""
    entries = value if isinstance(value, list) and not is_chat(value) else [value]
    if len(entries) == 1 and isinstance(entries[0], list) and not is_chat(entries[0]):  # resps of lm-evaluation-harness
        entries = entries[0]
    if not entries:
        raise ValueError(f"{where}: the list of completions is empty.")
    return [_text(entry, where) for entry in entries]


def _text(entry: Any, where: str) -> str:
    """The text of a completion."""
    if isinstance(entry, str):
        return entry
    if is_chat(entry):
        try:
            return assistant_text(entry)
        except ValueError as error:
            raise ValueError(f"{where}: {error}.") from error
    if isinstance(entry, Mapping) and "role" in entry:
        return _text([entry], where)
    if isinstance(entry, Mapping):
        inner = next((entry[key] for key in ("message", *TEXT_KEYS) if entry.get(key) is not None), None)
        if isinstance(inner, Mapping):
            return text_of([{**inner, "role": "assistant"}])
        if isinstance(inner, str) or is_chat(inner):
            return _text(inner, where)
        raise ValueError(
            f"{where}: a completion that is an object must have a text under {', '.join(TEXT_KEYS)}, "
            f"got {listed(entry, 10)}. Set text_column (--text-column) to a path such as column.key."
        )
    kind = "nothing" if entry is None or entry != entry else f"a value of type {type(entry).__name__}"
    advice = " Remove the row, or write an empty text, which counts as wrong." if kind == "nothing" else ""
    raise ValueError(f"{where}: a completion must be a text or chat messages, got {kind}.{advice}")


def _question(value: Any) -> str:
    if is_chat(value):
        try:
            return user_text(value)
        except ValueError:
            return as_json(value)
    return value.strip() if isinstance(value, str) else ""
