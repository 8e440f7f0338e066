"""Grade answers that were made elsewhere: a file of texts and gold answers -> verdicts, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manypaths.evaluation.completions_file import Answers, read_answers
from manypaths.evaluation.measure import measure
from manypaths.files import as_json, atomic_write
from manypaths.grading import extract, shared_grader, unboxed
from manypaths.printable import shown
from manypaths.problems import note
from manypaths.problems.rows import Say


def grade_file(
    path: Path,
    text_column: str | None = None,
    gold_column: str | None = None,
    out: Path | None = None,
    *,
    unboxed_by: str | None = None,
    say: Say = note,
) -> dict[str, Any]:
    """Grade a file of answers (formats: `manypaths.problems.rows`) -> what `measure` tells, and how they were read.

    A row has a gold answer, and one text or several: a text, chat messages, of which the assistant's turns are the
    answer, an object with a `text`, or a list of these. Rows with the same id, or without ids with the same question
    and gold answer, are one problem. Columns are found by their usual names; they may be paths with dots and templates.
    What else a row holds, verdicts included, is left alone.

    What is graded is the last box. `unboxed_by`, "last-number" or "last-math", reads texts without one. Beside what
    `measure` tells there are `read`, how many answers were read in each way ("box", "last-number", "last-math" or
    "none"), and `ungradable`, how many problems have a gold answer that cannot be graded.

    `out` gets a line for each problem in the form of `evaluate`, and in each sample `read`, how its answer was read.
    ValueError for a file that cannot be read, a column that is not there, a row without a text or gold answer, an id
    with two gold answers or questions.
    """
    if unboxed_by is not None and unboxed_by not in unboxed.READERS:
        raise ValueError(f"--unboxed must be one of {', '.join(unboxed.READERS)}, got {unboxed_by!r}.")
    if out is not None and (out.is_dir() or out.resolve() == path.resolve()):
        raise ValueError(f"--out must be a file of its own, got {str(out)!r}. What is there would be lost.")
    problems = read_answers(path, text_column, gold_column, say)
    before = shared_grader().timed_out
    lines = _graded(problems, unboxed_by)
    timed_out = shared_grader().timed_out - before
    if out is not None:
        atomic_write(out, "".join(as_json(line) + "\n" for line in lines))
    ways = [sample["read"] or "none" for line in lines for sample in line["samples"]]
    read = {way: ways.count(way) for way in ("box", *unboxed.READERS, "none")}
    measured = {**measure(lines), "timed_out": timed_out, "boxed": read["box"] / len(ways), "read": read}
    return {**measured, "ungradable": _ungradable(lines, say)}


def _graded(problems: Sequence[Answers], unboxed_by: str | None) -> list[dict[str, Any]]:
    """A line for each problem; all answers are graded at once, so that equal ones are looked at once."""
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
    """(the answer in a text, how it was read), None for no answer."""
    if (answer := extract(text)) is not None:
        return answer, "box"
    answer = unboxed.read(text, unboxed_by) if unboxed_by else None
    return answer, unboxed_by if answer is not None else None


def _ungradable(lines: Sequence[dict[str, Any]], say: Say) -> int:
    """How many gold answers cannot be graded; of the first ones `say` is told why.

    Looked at are those to which answers were given and none was right.
    """
    count, reasons = 0, {}
    for line in lines:
        gold, samples = line["answer"], line["samples"]
        if any(sample["correct"] for sample in samples) or not any(sample["read"] for sample in samples):
            continue
        if gold not in reasons:
            reasons[gold] = shared_grader().gold_problem(gold)
        if why := reasons[gold]:
            count += 1
            if count <= 3:
                say(f"{shown(line['id'])}: the gold answer {shown(gold)} cannot be graded: {why}.")
    if count:
        say(f"{count} of {len(lines)} gold answers cannot be graded; all answers to these problems count as wrong.")
    return count
