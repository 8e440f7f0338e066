"""A file of completions that were made elsewhere: its problems, each with its gold answer and completions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manypaths.files import as_json
from manypaths.grading import number
from manypaths.grading.golds import final_answer, gold_text, note_on_sentences
from manypaths.messages import text_of
from manypaths.printable import listed, shown
from manypaths.problems import choices, ids_of
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
from manypaths.problems.rows import Row, Say, read_rows

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
OF_A_SAMPLE = ("text", "content", "generated_text", "completion", "response", "output")  # where an object has its text


@dataclass
class Answers:
    """A problem, its gold answer, and every text that was given for it."""

    id: str
    question: str
    gold: str
    texts: list[str] = field(default_factory=list)


def read_answers(path: Path, text_column: str | None, gold_column: str | None, say: Say) -> list[Answers]:
    """The problems of a file with all their texts, in the order of the file."""
    if results := sorted(path.glob("*.jsonl")) if (path / "settings.json").is_file() else []:
        raise ValueError(
            f"{shown(path, 200)} holds results of manypaths evaluate. Give one of its files, such as {results[0]}."
        )
    name, rows = str(path), _of_one_filter(read_rows(str(path), say=say), str(path), say)
    text_column = _column(text_column, rows, name, TEXTS, "text")
    gold_column = _column(gold_column, rows, name, GOLDS, "gold")
    values = _decoded([_at(row, text_column) for row in rows], name, text_column, say)
    question_column = next((column for column in QUESTIONS if column in rows[0] and column != text_column), "")
    golds = _golds(rows, name, gold_column, say)
    ids = ids_of(rows)
    by_key: dict[Any, Answers] = {}
    for place, (row, value, own, gold) in enumerate(zip(rows, values, ids, golds, strict=True), 1):
        where = f"{shown(name, 200)}, row {place}"
        texts = _texts(value, f"{where}, {shown(text_column)}")
        question = _question(row.get(question_column))
        key: Any = own if own is not None else (question, gold) if question else place
        problem = by_key.setdefault(key, Answers(own or str(place - 1), question, gold))
        if (problem.gold, problem.question) != (gold, question):
            what = "gold answers" if problem.gold != gold else "questions"
            raise ValueError(f"{where}: the id {shown(own)} has two {what}. Give each problem an id of its own.")
        problem.texts += texts
    if len(by_key) < len(rows):
        by = "with the same id" if any(ids) else f"with the same {question_column} and gold answer"
        say(f"{shown(name, 200)}: rows {by} are samples of one problem: {len(rows)} rows, {len(by_key)} problems.")
    _note_likeness([*by_key.values()], name, say)
    return list(by_key.values())


def _of_one_filter(rows: list[Row], name: str, say: Say) -> list[Row]:
    """Rows of lm-evaluation-harness, which writes the same samples once for every filter, of the first filter."""
    if not all({"filter", "doc_id", "resps"} <= set(row) for row in rows):
        return rows
    filters = list(dict.fromkeys(str(row["filter"]) for row in rows))
    if len(filters) > 1:
        say(f"{shown(name, 200)}: samples are there once for each of {listed(filters)}; those of {filters[0]} count.")
    return [row for row in rows if str(row["filter"]) == filters[0]]


def _note_likeness(problems: Sequence[Answers], name: str, say: Say) -> None:
    """Say where problems with ids of their own have one question, as samples of one problem may have."""
    different = {(problem.question, problem.gold) for problem in problems if problem.question}
    like = sum(bool(problem.question) for problem in problems) - len(different)
    if like:
        say(
            f"{shown(name, 200)}: {like} of {len(problems)} problems have the question and gold answer of another, but "
            "an id of their own. If they are samples of one problem, give these the same id, or remove the ids."
        )


def _golds(rows: Sequence[Row], name: str, column: str, say: Say) -> list[str]:
    """The gold answer of each row; of multiple choice, a letter where there is the place of a choice."""
    where = (f"{shown(name, 200)}, row {place}, {shown(column)}" for place in range(1, len(rows) + 1))
    golds = [_gold(row, column, place) for row, place in zip(rows, where, strict=True)]
    if lists := sum(is_list_of_parts(row, column) for row in rows):
        say(
            f"{shown(name, 200)}: {lists} gold answers are lists: their entries are the parts of an answer, all needed."
        )
    if sentences := note_on_sentences(golds):
        say(f"{shown(name, 200)}: {sentences}.")
    lettered = [(place, offered) for place, row in enumerate(rows) if (offered := choices.choices_of(row))]
    if not lettered or not all(golds[place].isdecimal() for place, _ in lettered):
        return golds
    try:
        way, letters = choices.letters([offered for _, offered in lettered], [golds[place] for place, _ in lettered])
    except ValueError as error:
        raise ValueError(
            f"{shown(name, 200)} has choices, and {error}. Write letters into {shown(column)}, or remove the choices."
        ) from error
    if way.startswith("places"):
        say(f"{shown(name, 200)}: {column} holds {way}; the letters of the choices are the gold answers.")
        for (place, _), letter in zip(lettered, letters, strict=True):
            golds[place] = letter
    return golds


def _column(asked: str | None, rows: Sequence[Row], name: str, usual: Sequence[str], role: str) -> str:
    """The column asked for, else the usual one; ValueError where two usual ones say different things."""
    column = find_column(asked, usual, rows, name, role)
    for other in () if asked else usual:
        if other in (column, column.partition(".")[0], "solution") or not has(rows[0], other):
            continue
        if any(not _agree(_at(row, column), _at(row, other), role) for row in rows):
            raise ValueError(
                f"{shown(name, 200)} has both {shown(column)} and {shown(other)} for the {role}, and they differ. "
                f"Set {role}_column (--{role}-column) to the one that is meant."
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
    values = [number(text) for text in texts]
    return texts[0] == texts[1] or (values[0] is not None and values[0] == values[1])


def _at(row: Row, column: str) -> Any:
    """What a row has under a column, path or template; None for nothing."""
    try:
        if places(column, row):
            return fill(column, lambda place: str(value_at(row, place)))
        return value_at(row, column)
    except KeyError:
        return None


def _decoded(values: list[Any], name: str, column: str, say: Say) -> list[Any]:
    """Lists that were written as JSON into the cells of a table, where all are; refused where Python wrote them."""
    if not all(isinstance(value, str) and value.startswith("[") and value.rstrip().endswith("]") for value in values):
        return values
    try:
        lists = [json.loads(value) for value in values]
    except (ValueError, RecursionError):
        lists = []
    if lists and all(entries and all(isinstance(entry, (str, dict)) for entry in entries) for entries in lists):
        say(f"{shown(name, 200)}: {shown(column)} holds lists written as JSON, an answer in each entry.")
        return lists
    if all(value.startswith(("['", '["', "[{'")) for value in values):
        raise ValueError(
            f"{shown(name, 200)} has lists written by Python in {shown(column)}, which cannot be told from answers. "
            "Write JSON lines or parquet."
        )
    return values


def _texts(value: Any, where: str) -> list[str]:
    """Every answer that a value holds."""
    entries = value if isinstance(value, list) and not is_chat(value) else [value]
    if len(entries) == 1 and isinstance(entries[0], list) and not is_chat(entries[0]):  # resps of lm-evaluation-harness
        entries = entries[0]
    if not entries:
        raise ValueError(f"{where}: the list of answers is empty.")
    return [_text(entry, where) for entry in entries]


def _text(entry: Any, where: str) -> str:
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
        inner = next((entry[key] for key in ("message", *OF_A_SAMPLE) if entry.get(key) is not None), None)
        if isinstance(inner, Mapping):
            return text_of([{**inner, "role": "assistant"}])
        if isinstance(inner, str) or is_chat(inner):
            return _text(inner, where)
        raise ValueError(
            f"{where}: an answer that is an object must have a text under {', '.join(OF_A_SAMPLE)}, "
            f"got {listed(entry, 10)}. Set text_column (--text-column) to a path such as column.key."
        )
    kind = "nothing" if entry is None or entry != entry else f"a value of type {type(entry).__name__}"
    advice = " Remove the row, or write an empty text, which counts as wrong." if kind == "nothing" else ""
    raise ValueError(f"{where}: an answer must be a text or chat messages, got {kind}.{advice}")


def _gold(row: Row, column: str, where: str) -> str:
    value = _at(row, column)
    try:
        text = gold_text(assistant_text(value) if is_chat(value) else value)
    except ValueError as error:
        key = next(iter(value), "") if isinstance(value, Mapping) else ""
        advice = f" Set gold_column (--gold-column) to a part of it, such as {shown(f'{column}.{key}')}." if key else ""
        raise ValueError(f"{where}: {error}{advice}") from error
    answer = final_answer(text) if text else ""
    if not answer:
        raise ValueError(f"{where}: there is no gold answer. Write one, or remove the row.")
    return answer


def _question(value: Any) -> str:
    if is_chat(value):
        try:
            return user_text(value)
        except ValueError:
            return as_json(value)
    return value.strip() if isinstance(value, str) else ""
