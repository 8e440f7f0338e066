"""Problems to train on and to measure with: arithmetic, GSM8K, SVAMP, the five benchmarks, a hub data set, a JSON file.

`load` reads a set by name or path and says what is missing before any model is loaded.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import zlib
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from manypaths.grading import extract

SHIPPED = {"gsm8k": ("train", "test"), "svamp": ("train",)}


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark is, on the hub and as a local file; `fingerprint` is of its public copy of November 2026."""

    title: str
    hub: str
    split: str
    file: str
    problem_column: str
    answer_column: str
    fingerprint: str


BENCHMARKS = {  # in the papers' order
    "aime24": Benchmark(
        "AIME24", "HuggingFaceH4/aime_2024", "train", "aime24.jsonl", "problem", "answer", "8c928377e520"
    ),
    "math500": Benchmark(
        "MATH-500", "HuggingFaceH4/MATH-500", "test", "math500.jsonl", "problem", "answer", "9b34dbfc465f"
    ),
    "amc23": Benchmark("AMC23", "knoveleng/AMC-23", "train", "amc23.jsonl", "problem", "answer", "2746ea8f1a28"),
    "minerva": Benchmark(
        "Minerva", "knoveleng/Minerva-Math", "train", "minerva_math.jsonl", "problem", "solution", "fb9ad26e261e"
    ),
    "olympiadbench": Benchmark(
        "Olympiad",
        "knoveleng/OlympiadBench",
        "train",
        "olympiadbench.jsonl",
        "question",
        "final_answer",
        "5e6d8d2baef7",
    ),
}
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
    shuffle: int | None = None,
    limit: int | None = None,
    options: dict[str, Any] | None = None,
    data_dir: str | None = None,
    revision: str | None = None,
) -> list[Problem]:
    """A set of problems by name: "arithmetic", "gsm8k", "svamp", one of `BENCHMARKS`, a .json/.jsonl file, a hub set.

    Columns left out are found by their usual names; `options` are the arguments of `arithmetic`; `shuffle` is the
    seed of a shuffle, `limit` keeps the first problems after it. A benchmark comes from its file in `data_dir`, else
    from the hub, at a `revision` (a commit) if one is given. ValueError for a file that is missing, empty or not
    JSON, a column that is not there (it names those that are), an unknown split, an empty question.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit asks for 1 or more problems; given {limit}.")
    if name == "arithmetic":
        if shuffle is not None:
            raise ValueError("Arithmetic problems come in random order; leave shuffle out and set options.seed.")
        try:
            return arithmetic(**{"count": limit or 1000, "seed": 0, **(options or {})})[:limit]
        except TypeError as error:
            raise ValueError(f"The options of arithmetic problems do not fit: {error}.") from error
    known = BENCHMARKS.get(name)
    if known is not None:
        problem_column, answer_column = problem_column or known.problem_column, answer_column or known.answer_column
        split = split or known.split
    if known is not None and data_dir is not None:
        path = Path(data_dir, known.file)
        if not path.is_file():
            raise ValueError(f"The data folder {data_dir!r} asks for {known.file} for {name}; it is not there.")
        rows = parse(path.read_bytes(), str(path))
    elif name in SHIPPED:
        split = split or SHIPPED[name][0]
        if split not in SHIPPED[name]:
            raise ValueError(f"{name} has the splits {', '.join(SHIPPED[name])}; given {split!r}.")
        packed = files("manypaths").joinpath("data", f"{name}_{split}.jsonl.gz").read_bytes()
        rows = parse(gzip.decompress(packed), name)
    elif Path(name).suffix in (".json", ".jsonl"):
        if not Path(name).is_file():
            raise ValueError(f"Problem file {name!r} does not exist. Give a file or the name of a set.")
        rows = parse(Path(name).read_bytes(), name)
    else:
        rows = _from_hub(known.hub if known else name, split or "train", revision)
    if not rows:
        raise ValueError(f"{name!r} holds no problem: it is empty.")
    problem_column = find_column(problem_column, QUESTION_COLUMNS, rows[0], name, "problem")
    answer_column = find_column(answer_column, ANSWER_COLUMNS, rows[0], name, "answer")
    numbered = list(enumerate(rows))
    if shuffle is not None:
        random.Random(shuffle).shuffle(numbered)
    numbered = numbered[:limit]
    found = [_problem(number, row, problem_column, answer_column, name) for number, row in numbered]
    if len({problem.id for problem in found}) < len(found):  # no names, then, but numbers
        found = [replace(problem, id=str(number)) for problem, (number, _) in zip(found, numbered, strict=True)]
    return found


def fingerprint(problems: list[Problem]) -> str:
    """12 hexadecimal digits of the questions and answers, whatever their order; equal sets have equal ones."""
    texts = sorted(json.dumps([problem.question, problem.answer]) for problem in problems)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def render(prompt: str | list[dict[str, str]], question: str) -> str | list[dict[str, str]]:
    """Put a question into a prompt, a text or chat messages, in the place of {question}."""
    if isinstance(prompt, str):
        return prompt.replace("{question}", question)
    return [{**message, "content": message["content"].replace("{question}", question)} for message in prompt]


def parse(content: bytes, name: str) -> list[dict[str, Any]]:
    """Rows of a JSON list or of JSON lines."""
    content = content.removeprefix(b"\xef\xbb\xbf")  # a byte order mark
    is_list = content.lstrip().startswith(b"[")
    rows: list[dict[str, Any]] = []
    for number, part in enumerate([content] if is_list else content.split(b"\n"), 1):
        if not part.strip():
            continue
        try:
            parsed = json.loads(part)
        except ValueError as error:
            line = number + getattr(error, "lineno", 1) - 1
            raise ValueError(f"{name!r} is not JSON in line {line}: {getattr(error, 'msg', error)}.") from error
        rows += parsed if is_list else [parsed]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{name!r} asks for objects with columns; some rows are something else.")
    return rows


def _from_hub(name: str, split: str, revision: str | None) -> list[dict[str, Any]]:
    import datasets

    try:
        return list(datasets.load_dataset(name, split=split, revision=revision))
    except Exception as error:  # the hub client raises many kinds; to the user they mean one thing
        raise ValueError(f"Data set {name!r}, split {split!r}, could not be had from the hub: {error}") from error


def find_column(asked: str | None, usual: tuple[str, ...], row: dict[str, Any], name: str, role: str) -> str:
    """The column asked for, else the first of the usual ones that a row has; ValueError if there is none."""
    found = [column for column in ([asked] if asked else usual) if column in row]
    if not found:
        what = f"the {role} column {asked!r}" if asked else f"a {role} column ({', '.join(usual)})"
        raise ValueError(f"{name!r} asks for {what}; it has {', '.join(map(str, row))}. Set {role}_column.")
    return found[0]


def _problem(number: int, row: dict[str, Any], problem_column: str, answer_column: str, name: str) -> Problem:
    question, answer = row.get(problem_column), row.get(answer_column)
    if not isinstance(question, str) or not question.strip() or answer is None:
        raise ValueError(f"{name!r} has no {problem_column!r} text or no {answer_column!r} in row {number + 1}.")
    if isinstance(answer, list):  # OlympiadBench
        answer = ", ".join(map(str, answer))
    if isinstance(answer, str) and (boxed := extract(answer)):  # a worked solution
        answer = boxed
    answer = str(int(answer)) if isinstance(answer, float) and answer.is_integer() else str(answer)
    named = next((row[key] for key in ("id", "unique_id", "idx") if row.get(key) is not None), number)
    return Problem(str(named), question.strip(), answer)


def arithmetic(
    count: int, seed: int, *, largest: int = 9, kinds: list[str] | None = None, held_out: bool = False
) -> list[Problem]:
    """`count` different one- and two-step word problems with operands from 2 to `largest`, drawn with `seed`.

    Each has two or more natural ways to work it out (`Problem.ways`, equations that end in the answer). What
    decides whether a problem is held out is a hash of its kind and numbers, not of names and things: a set with
    `held_out` (a quarter of all sums) never asks what a set without it asks, whatever the seeds. ValueError for
    an unknown kind and when there are not that many different problems.
    """
    stock = json.loads(files("manypaths").joinpath("data", "arithmetic.json").read_text("utf-8"))
    kinds = list(stock["kinds"]) if kinds is None else kinds
    if unknown := set(kinds) - set(stock["kinds"]):
        raise ValueError(f"Unknown kinds of sums: {', '.join(unknown)}. Known: {', '.join(stock['kinds'])}.")
    if not kinds or largest < 2:
        raise ValueError(f"Sums ask for one of kinds or more, and for largest >= 2; given {kinds}, {largest}.")
    rng = random.Random(seed)
    found: dict[str, Problem] = {}
    for _ in range(100 * count):
        kind = rng.choice(kinds)
        a, b, c = (rng.randint(2, largest) for _ in range(3))
        known: dict[str, Any] = {"a": a, "b": b, "c": c}
        known |= {"a+b": a + b, "b+c": b + c, "a+b+c": a + b + c, "a*b": a * b, "a*c": a * c}
        known |= {"b*c": b * c, "(a+b)*c": (a + b) * c, "a*(b+c)": a * (b + c), "b_a_times": " + ".join([str(b)] * a)}
        known |= {"who": rng.choice(stock["who"]), "what": rng.choice(stock["what"])}
        question = stock["kinds"][kind]["question"].format_map(known)
        ways = tuple(way.format_map(known) for way in stock["kinds"][kind]["ways"])
        is_held_out = zlib.crc32(f"{kind}: {ways[0]}".encode()) % 4 == 0
        if is_held_out == held_out and question not in found:
            found[question] = Problem(f"{kind}-{len(found)}", question, ways[0].rpartition("= ")[2], ways)
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"There are not {count} different sums of these kinds up to {largest}.")
