"""Problems to train on and to measure with: arithmetic made here, GSM8K, SVAMP, a hub data set, a JSON file.

`load` reads a set by name or path and says what is missing before any model is loaded.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

SHIPPED = {"gsm8k": ("train", "test"), "svamp": ("train",)}
QUESTION_COLUMNS = ("problem", "question", "Question", "prompt")
PROMPT = [{"role": "user", "content": "{question}\nPut the final answer in \\boxed{}."}]
ANSWER_COLUMNS = ("answer", "final_answer", "Answer", "solution")


@dataclass(frozen=True)
class Problem:
    """A question in words and its gold answer; `ways` are worked solutions where the set has them."""

    id: str
    question: str
    answer: str
    ways: tuple[str, ...] = ()


def load(
    name: str,
    *,
    split: str | None = None,
    problem_column: str | None = None,
    answer_column: str | None = None,
    limit: int | None = None,
    options: dict[str, Any] | None = None,
) -> list[Problem]:
    """A set of problems by name: "arithmetic", "gsm8k", "svamp", a .json/.jsonl file, or a hub data set.

    Columns left out are found by their usual names; `options` are the arguments of `arithmetic`; `limit` keeps
    the first problems. ValueError for a file that is missing, empty or not JSON, a column that is not there (it
    names those that are), an unknown split, an empty question.
    """
    if name == "arithmetic":
        try:
            return arithmetic(**{"count": limit or 1000, "seed": 0, **(options or {})})
        except TypeError as error:
            raise ValueError(f"The options of arithmetic problems do not fit: {error}.") from error
    if name in SHIPPED:
        split = split or SHIPPED[name][0]
        if split not in SHIPPED[name]:
            raise ValueError(f"{name} has the splits {', '.join(SHIPPED[name])}; given {split!r}.")
        packed = files("manypaths").joinpath("data", f"{name}_{split}.jsonl.gz").read_bytes()
        rows = _parse(gzip.decompress(packed).decode(), name)
    elif Path(name).suffix in (".json", ".jsonl"):
        if not Path(name).is_file():
            raise ValueError(f"Problem file {name!r} does not exist. Give a .json or .jsonl file, or the name of a set.")
        try:
            rows = _parse(Path(name).read_text(encoding="utf-8"), name)
        except UnicodeDecodeError as error:
            raise ValueError(f"Problem file {name!r} is not JSON in UTF-8: {error}.") from error
    else:
        rows = _from_hub(name, split or "train")
    if not rows:
        raise ValueError(f"{name!r} holds no problem: it is empty.")
    problem_column = _column(problem_column, QUESTION_COLUMNS, rows[0], name, "problem")
    answer_column = _column(answer_column, ANSWER_COLUMNS, rows[0], name, "answer")
    return [_problem(number, row, problem_column, answer_column, name) for number, row in enumerate(rows[:limit])]


def render(prompt: str | list[dict[str, str]], question: str) -> str | list[dict[str, str]]:
    """Put a question into a prompt, a text or chat messages, in the place of {question}."""
    if isinstance(prompt, str):
        return prompt.replace("{question}", question)
    return [{**message, "content": message["content"].replace("{question}", question)} for message in prompt]


def _parse(text: str, name: str) -> list[dict[str, Any]]:
    """Rows of a JSON list or of JSON lines."""
    if text.lstrip().startswith("["):
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{name!r} is not JSON: {error}.") from error
    else:
        rows = []
        for number, line in enumerate(text.split("\n"), 1):
            try:
                rows += [json.loads(line)] if line.strip() else []
            except json.JSONDecodeError as error:
                raise ValueError(f"{name!r} is not JSON in line {number}: {error}.") from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"{name!r} asks for objects with columns; row {number} is {type(row).__name__}.")
    return list(rows)


def _from_hub(name: str, split: str) -> list[dict[str, Any]]:
    import datasets

    try:
        return list(datasets.load_dataset(name, split=split))
    except Exception as error:  # the hub client raises many kinds; to the user they mean one thing
        raise ValueError(f"Data set {name!r}, split {split!r}, could not be had from the hub: {error}") from error


def _column(asked: str | None, usual: tuple[str, ...], row: dict[str, Any], name: str, role: str) -> str:
    found = [column for column in ([asked] if asked else usual) if column in row]
    if not found:
        what = f"the {role} column {asked!r}" if asked else f"a {role} column ({', '.join(usual)})"
        raise ValueError(f"{name!r} asks for {what}; it has {', '.join(map(str, row))}. Set {role}_column.")
    return found[0]


def _problem(number: int, row: dict[str, Any], problem_column: str, answer_column: str, name: str) -> Problem:
    question, answer = row.get(problem_column), row.get(answer_column)
    if not isinstance(question, str) or not question.strip() or answer is None:
        raise ValueError(f"{name!r} has no {problem_column!r} text or no {answer_column!r} in row {number + 1}.")
    answer = str(int(answer)) if isinstance(answer, float) and answer.is_integer() else str(answer)
    return Problem(str(row.get("id", number)), question.strip(), answer)


NAMES = ("Ana", "Ben", "Chloe", "David", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jamal", "Kate", "Leo")
THINGS = ("apples", "books", "pens", "coins", "cards", "stamps", "shells", "cups", "balls", "keys")

# A kind of word problem: two or three numbers in, the question and one or more ways to work it out.
# A way is a chain of equations, each of which a reader can check; the last right-hand side is the answer.
Numbers = tuple[int, int, int]
Kind = Callable[[Numbers, str, str], tuple[str, list[str]]]


def _gain(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, _ = n
    return (
        f"{who} has {a} {what} and gets {b} more. How many {what} does {who} have?",
        [f"{a} + {b} = {a + b}", f"{b} + {a} = {a + b}"],
    )


def _loss(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, _ = n
    return (
        f"{who} has {a + b} {what} and gives away {b}. How many {what} are left?",
        [f"{a + b} - {b} = {a}", f"{b} + {a} = {a + b}, so {a + b} - {b} = {a}"],
    )


def _bags(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, _ = n
    return (
        f"{who} fills {a} bags with {b} {what} each. How many {what} is that?",
        [f"{a} * {b} = {a * b}", f"{' + '.join([str(b)] * a)} = {a * b}"],
    )


def _share(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, _ = n
    return (
        f"{who} shares {a * b} {what} among {a} friends. How many {what} does each friend get?",
        [f"{a * b} / {a} = {b}", f"{a} * {b} = {a * b}, so {a * b} / {a} = {b}"],
    )


def _three_piles(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, c = n
    return (
        f"{who} has {a} red, {b} blue and {c} green {what}. How many {what} does {who} have?",
        [
            f"{a} + {b} + {c} = {a + b + c}",
            f"{a} + {b} = {a + b}, {a + b} + {c} = {a + b + c}",
            f"{b} + {c} = {b + c}, {a} + {b + c} = {a + b + c}",
        ],
    )


def _gain_then_loss(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, c = n
    b = b + c  # so that the shortcut through the net change stays positive
    return (
        f"{who} has {a} {what}, gets {b} more and loses {c}. How many {what} does {who} have?",
        [
            f"{a} + {b} - {c} = {a + b - c}",
            f"{a} + {b} = {a + b}, {a + b} - {c} = {a + b - c}",
            f"{b} - {c} = {b - c}, {a} + {b - c} = {a + b - c}",
        ],
    )


def _two_colours(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, c = n
    return (
        f"{who} has {a} red boxes and {b} blue boxes with {c} {what} each. How many {what} is that?",
        [
            f"{a} + {b} = {a + b}, {a + b} * {c} = {(a + b) * c}",
            f"{a} * {c} = {a * c}, {b} * {c} = {b * c}, {a * c} + {b * c} = {(a + b) * c}",
        ],
    )


def _discount(n: Numbers, who: str, what: str) -> tuple[str, list[str]]:
    a, b, c = n
    return (
        f"{who} buys {a} {what} for {b + c} dollars each, but {c} dollars off each. How many dollars is that?",
        [
            f"{b + c} - {c} = {b}, {a} * {b} = {a * b}",
            f"{a} * {b + c} = {a * (b + c)}, {a} * {c} = {a * c}, {a * (b + c)} - {a * c} = {a * b}",
        ],
    )


KINDS: dict[str, Kind] = {
    "gain": _gain,
    "loss": _loss,
    "bags": _bags,
    "share": _share,
    "three-piles": _three_piles,
    "gain-then-loss": _gain_then_loss,
    "two-colours": _two_colours,
    "discount": _discount,
}


def arithmetic(
    count: int, seed: int, *, largest: int = 9, kinds: Iterable[str] = tuple(KINDS), held_out: bool = False
) -> list[Problem]:
    """`count` different one- and two-step word problems with operands from 2 to `largest`, drawn with `seed`.

    Each has two or more natural ways to work it out (`Problem.ways`, equations that end in the answer). What
    decides whether a problem is held out is a hash of its kind and numbers, not of names and things: a set with
    `held_out` (a quarter of all sums) never asks what a set without it asks, whatever the seeds. ValueError for
    an unknown kind and when there are not that many different problems.
    """
    kinds = list(kinds)
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"Unknown kind of arithmetic problem {kind!r}. Known: {', '.join(KINDS)}.")
    rng = random.Random(seed)
    found: dict[str, Problem] = {}
    for _ in range(100 * count):
        kind = rng.choice(kinds)
        numbers = (rng.randint(2, largest), rng.randint(2, largest), rng.randint(2, largest))
        question, ways = KINDS[kind](numbers, rng.choice(NAMES), rng.choice(THINGS))
        if (zlib.crc32(f"{kind}: {ways[0]}".encode()) % 4 == 0) == held_out and question not in found:
            found[question] = Problem(f"{kind}-{len(found)}", question, ways[0].rpartition("= ")[2], tuple(ways))
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"Asked for {count} arithmetic problems up to {largest}, but only {len(found)} different ones turned up.")
