"""Problems to train on and to evaluate with: made here, GSM8K, SVAMP, five benchmarks, files, data sets of the hub.

Made here are sums in words (`arithmetic`) and problems with many right answers, of which a verifier decides
(`manypaths.verifiers`): `colouring`, `countdown`, `cover`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import sys
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from manypaths import hub
from manypaths.printable import counted, escaped, one_line, shown
from manypaths.problems.benchmarks import BENCHMARKS
from manypaths.problems.colouring import colouring
from manypaths.problems.countdown import countdown
from manypaths.problems.cover import cover
from manypaths.problems.problem import Problem
from manypaths.problems.rows import Row, Say, is_local, parse, read_rows
from manypaths.problems.sums import arithmetic
from manypaths.problems.texts_and_golds import GOLDS, QUESTIONS, texts_and_golds

__all__ = [
    "BENCHMARKS", "MADE", "Problem", "arithmetic", "fingerprint", "ids_of", "is_here", "load", "note", "render",
]  # fmt: skip
MADE: dict[str, Callable[..., list[Problem]]] = {
    "arithmetic": arithmetic,
    "colouring": colouring,
    "countdown": countdown,
    "cover": cover,
}
SHIPPED = {"gsm8k": ("train", "test"), "svamp": ("train",)}


IDS = ("id", "unique_id", "idx", "ID", "problem_id", "question_id", "task_id", "doc_id", "uid", "uuid")
PROMPT = [{"role": "user", "content": "{question}\nPut the final answer in \\boxed{}."}]


def note(text: str) -> None:
    """Print a note to stderr; of several processes only the first one does."""
    if os.environ.get("RANK", "0") == "0":
        print(f"Note: {escaped(text)}", file=sys.stderr, flush=True)


def load(
    name: str,
    *,
    split: str | None = None,
    problem_column: str | None = None,
    answer_column: str | None = None,
    shuffle: int | None = None,
    limit: int | None = None,
    options: dict[str, Any] | None = None,
    data_dir: str | None = None,
    revision: str | None = None,
    say: Say = note,
) -> list[Problem]:
    """Load a set of problems.

    A column is a column's name, a path with dots (reward_model.ground_truth) or a template ("{Body} {Question}"). It
    may hold chat messages, of which the user's turn is the problem. Multiple choice is read with its choices, lettered.
    Rows with the same id are one problem.

    Args:
        name: a key of `MADE`, gsm8k, svamp, one of `BENCHMARKS`, a local file or folder, or a data set of the hub.
        split: The split of a data set; None for its usual or only one.
        problem_column: The column of the problem; None for its usual names.
        answer_column: The column of the gold answer; None for its usual names.
        shuffle: The seed of a shuffle; None keeps the order.
        limit: How many problems remain, from the first, after the shuffle; None for all.
        options: The arguments of a generator in `MADE`, such as {"seed": 1}.
        data_dir: A folder with the files of benchmarks; None for the hub.
        revision: A commit, tag or branch of a data set on the hub; None for the newest.
        say: Gets a sentence for everything that was assumed.

    Returns:
        The problems, one or more, with different ids.

    Raises:
        ValueError: A file is missing, empty or cannot be read, a column or split is missing, a problem may need more
            columns than were named, a row has no text or gold answer, or an id has two problems.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more problems, got {limit}.")
    if name in MADE:
        return _made(name, shuffle, limit, options or {})
    benchmark = BENCHMARKS.get(name := str(name))
    rows = _rows(name, split, data_dir, revision, say)
    if not rows:
        raise ValueError(f"{shown(name, 200)} holds no problem: it is empty.")
    usual = ((benchmark.problem_column,), (benchmark.answer_column,)) if benchmark else (QUESTIONS, GOLDS)
    texts, golds = texts_and_golds(rows, name, problem_column, answer_column, say, usual)
    problems = _by_id([*map(Problem, _ids(rows), texts, golds)], name, say)
    if shuffle is not None:
        random.Random(shuffle).shuffle(problems)
    return problems[:limit]


def _made(name: str, shuffle: int | None, limit: int | None, options: dict[str, Any]) -> list[Problem]:
    """Problems of a generator."""
    if shuffle is not None:
        raise ValueError(
            f"shuffle must be left out with {name} problems, whose order is random, got {shuffle}. Set options.seed."
        )
    try:
        return MADE[name](**{"count": limit or 1000, "seed": 0, **options})[:limit]
    except TypeError as error:
        raise ValueError(f"The options of {name} problems do not fit: {error}.") from error


def is_here(name: str) -> bool:
    """Whether a set is part of the package or a local file or folder, so that nothing has to be downloaded."""
    return name in MADE or name in SHIPPED or (name not in BENCHMARKS and is_local(name))


def _rows(name: str, split: str | None, data_dir: str | None, revision: str | None, say: Say) -> list[Row]:
    benchmark = BENCHMARKS.get(name)
    if benchmark is not None and data_dir is not None:
        path = Path(data_dir, benchmark.file)
        if not path.is_file():
            raise ValueError(f"The data folder {data_dir!r} must hold {benchmark.file} for {name}; it does not.")
        return read_rows(str(path), say=say)
    if name in SHIPPED:
        split = split or SHIPPED[name][0]
        if split not in SHIPPED[name]:
            raise ValueError(f"split must be one of {', '.join(SHIPPED[name])} for {name}, got {split!r}.")
        packed = (files("manypaths") / "data" / f"{name}_{split}.jsonl.gz").read_bytes()
        return parse(gzip.decompress(packed), name)
    if benchmark is None and is_local(name):
        return read_rows(name, split, say)
    return _from_hub(
        benchmark.hub if benchmark else name, split or (benchmark.split if benchmark else "train"), revision
    )


def ids_of(rows: Sequence[Row]) -> list[str | None]:
    """The ids of rows, from the first column of a usual name with any id; None for a row without one."""
    for column in IDS:
        ids = [_id(row.get(column)) for row in rows]
        if any(ids):
            return ids
    return [None] * len(rows)


def _id(value: Any) -> str | None:
    is_missing = value is None or value != value
    return None if is_missing else str(value).strip() or None


def _ids(rows: Sequence[Row]) -> list[str]:
    """The ids of rows; a row without one gets its number, counted from 0."""
    ids = ids_of(rows)
    taken = set(ids)
    numbers = (str(number) if str(number) not in taken else f"row {number + 1}" for number in range(len(rows)))
    return [number if own is None else own for own, number in zip(ids, numbers, strict=True)]


def _by_id(problems: Sequence[Problem], name: str, say: Say) -> list[Problem]:
    """The first problem of each id; ValueError where two of an id differ."""
    by_id: dict[str, Problem] = {}
    for row, problem in enumerate(problems, 1):
        if by_id.setdefault(problem.id, problem) != problem:
            raise ValueError(
                f"{shown(name, 200)} has two problems with the id {shown(problem.id)}; the second is row {row}. "
                "Give each an id of its own, or remove the ids."
            )
    if len(by_id) < len(problems):
        say(
            f"{shown(name, 200)}: rows with the same id count once: {len(problems)} rows, "
            f"{counted(len(by_id), 'problem')}."
        )
    return list(by_id.values())


def fingerprint(problems: list[Problem]) -> str:
    """A hash of a set of problems.

    Args:
        problems: Their questions and answers count, their ids and their order do not.

    Returns:
        12 hexadecimal digits, equal for equal sets.
    """
    texts = sorted(json.dumps([problem.question, problem.answer]) for problem in problems)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def render(prompt: str | list[dict[str, str]], question: str) -> str | list[dict[str, str]]:
    """Put a question into a prompt.

    Args:
        prompt: A text, or chat messages, with {question} where the question goes. Other braces remain.
        question: The text.

    Returns:
        The prompt of the same form; `prompt` itself is not changed.
    """
    if isinstance(prompt, str):
        return prompt.replace("{question}", question)
    return [{**message, "content": message["content"].replace("{question}", question)} for message in prompt]


def _from_hub(name: str, split: str, revision: str | None) -> list[Row]:
    """The rows of a data set on the hub, or in the cache where the hub does not reply."""
    import datasets

    where, why = f"Data set {shown(name, 200)}, split {split!r},", ""
    try:
        with hub.answering("dataset", name, revision) as replies:
            why = "" if replies else " The hub does not reply; only the cache was searched."
            return list(datasets.load_dataset(name, split=split, revision=revision))
    except hub.NotOnTheHub as error:
        raise ValueError(f"{where} {one_line(error, 300)}") from error
    except Exception as error:  # the hub's client raises many types
        raise ValueError(f"{where} could not be loaded from the hub: {one_line(error, 300)}{why}") from error
