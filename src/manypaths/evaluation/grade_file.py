"""`manypaths grade`: grade a file of completions that were made elsewhere, and measure the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manypaths.evaluation.completions_file import Completions, read_completions
from manypaths.evaluation.measure import measure
from manypaths.files import atomic_write, check_out
from manypaths.grading import extract, shared_grader, unboxed
from manypaths.printable import shown
from manypaths.problems import note
from manypaths.problems.rows import Say
from manypaths.results import jsonl

NOTES = 3  # gold answers that are named one by one


def grade_file(
    path: Path,
    text_column: str | None = None,
    gold_column: str | None = None,
    out: Path | None = None,
    *,
    unboxed_by: str | None = None,
    say: Say = note,
) -> dict[str, Any]:
    """Grade a file of completions. The answer of a completion is its last box.

    A row holds a gold answer, and one completion or a list of them: a text, chat messages, of which the assistant's
    turns count, or an object with a `text`. Rows with the same id, or without ids with the same question and gold
    answer, are one problem. Other columns, verdicts included, are ignored.

    Args:
        path: The file, of a format of `manypaths.problems.rows`.
        text_column: The column of the completions, a path with dots, or a template; None for its usual names.
        gold_column: The same for the gold answers.
        out: A file that gets a line for each problem, as `evaluate` writes them; each sample has a key `read`, too, how
            its answer was read.
        unboxed_by: last-number or last-math, to read the answers of completions without a box; None reads none.
        say: Gets a sentence for everything that was assumed.

    Returns:
        What `measure` returns, and: `read`, the number of completions whose answer was read in each way (box,
        last-number, last-math, none), `ungradable`, the number of problems whose gold answer cannot be graded.

    Raises:
        ValueError: The file cannot be read, a column is missing, a row has no completion or gold answer, or an id has
            two gold answers or questions.
    """
    if unboxed_by is not None and unboxed_by not in unboxed.READERS:
        raise ValueError(f"--unboxed must be one of {', '.join(unboxed.READERS)}, got {unboxed_by!r}.")
    if out is not None and (out.is_dir() or out.resolve() == path.resolve()):
        raise ValueError(f"--out must be a file of its own, got {str(out)!r}, whose content would be lost.")
    if out is not None:
        check_out(out, "file")
    problems = read_completions(path, text_column, gold_column, say)
    before = shared_grader().timed_out
    lines = _graded(problems, unboxed_by)
    timed_out = shared_grader().timed_out - before
    if out is not None:
        atomic_write(out, jsonl(lines))
    ways = [sample["read"] or "none" for line in lines for sample in line["samples"]]
    read = {way: ways.count(way) for way in ("box", *unboxed.READERS, "none")}
    measured = {**measure(lines), "timed_out": timed_out, "boxed": read["box"] / len(ways), "read": read}
    return {**measured, "ungradable": _ungradable(lines, say)}


def _graded(problems: Sequence[Completions], unboxed_by: str | None) -> list[dict[str, Any]]:
    """A line for each problem. One call grades all completions, so that equal ones are graded once."""
    answers = [[_read(text, unboxed_by) for text in problem.texts] for problem in problems]
    texts = [
        f"\\boxed{{{answer}}}" if way in unboxed.READERS else text
        for problem, reads in zip(problems, answers, strict=True)
        for text, (answer, way) in zip(problem.texts, reads, strict=True)
    ]
    golds = [problem.gold for problem in problems for _ in problem.texts]
    verdicts = iter(shared_grader().grade(texts, golds))
    lines = []
    for problem, reads in zip(problems, answers, strict=True):
        samples = [
            {"text": text, "tokens": None, "truncated": None, "answer": answer, "correct": next(verdicts), "read": way}
            for text, (answer, way) in zip(problem.texts, reads, strict=True)
        ]
        lines.append({"id": problem.id, "question": problem.question, "answer": problem.gold, "samples": samples})
    return lines


def _read(text: str, unboxed_by: str | None) -> tuple[str | None, str | None]:
    """The answer in a completion, and how it was read; both None where there is no answer."""
    if (answer := extract(text)) is not None:
        return answer, "box"
    answer = unboxed.read(text, unboxed_by) if unboxed_by else None
    return answer, unboxed_by if answer is not None else None


def _ungradable(lines: Sequence[dict[str, Any]], say: Say) -> int:
    """The number of problems whose gold answer cannot be graded; `say` gets the reasons of the first ones.

    A gold answer is tested only where completions have answers and all of them are wrong.
    """
    count, reasons = 0, {}
    for line in lines:
        gold, samples = line["answer"], line["samples"]
        if any(sample["correct"] for sample in samples) or not any(sample["read"] for sample in samples):
            continue
        if gold not in reasons:
            reasons[gold] = shared_grader().gold_problem(gold)
        if reason := reasons[gold]:
            count += 1
            if count <= NOTES:
                say(f"{shown(line['id'])}: the gold answer {shown(gold)} cannot be graded: {reason}.")
    if count:
        say(f"{count} of {len(lines)} gold answers cannot be graded; completions of these problems count as wrong.")
    return count
