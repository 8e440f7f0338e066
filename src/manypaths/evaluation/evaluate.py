"""Evaluation: sample answers with any `generate`, grade them, keep every one; resumable batch by batch."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from manypaths.evaluation.generate import Generate, Prompt, Sample
from manypaths.evaluation.measure import measure
from manypaths.files import append, as_json, atomic_write, read_jsonl
from manypaths.grading import extract, shared_grader
from manypaths.problems import Problem, render
from manypaths.results import parts, share_correct

Embedder = Callable[[list[str]], Any]
Gather = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
EVERY = 5.0  # seconds between two lines of progress


def evaluate(
    problems: list[Problem],
    generate: Generate,
    *,
    prompt: Prompt,
    samples: int = 1,
    out: Path | None = None,
    at_once: int | None = None,
    embedder: Embedder | None = None,
    progress: str | None = None,
    processes: tuple[int, int] = (0, 1),
    gather: Gather = list,
) -> dict[str, Any]:
    """Sample answers, grade them -> what `manypaths.evaluation.measure.measure` tells, and the `seconds` it took.

    `generate` is `(prompts, n) -> n samples for each prompt`, so nothing here knows how text is made; it is asked for
    `at_once` problems at a time (all). `out` gets a JSON line per problem with every sample and verdict. Until all are
    there it is OUT.part; an evaluation that was cut off goes on from that. What is sampled again then is the batch of
    `at_once` problems that was cut off; of a `generate` with `as_finished`, only the problems that were not finished.
    With an `embedder`, `(texts) -> [N, D]` of unit rows, the mean similarity of a problem's samples is measured too.
    `progress` is a name under which the running score and the time left are printed to stderr.

    Of `processes` = (which one this is, how many there are) each samples its share of the batches, the same answers as
    a single one would; `gather`, such as `accelerate.utils.gather_object`, brings the lines of all to all, and the
    first process writes `out`.
    """
    if not problems or samples < 1:
        raise ValueError(f"An evaluation asks for 1 or more problems and samples; given {len(problems)} and {samples}.")
    began, at_once = time.perf_counter(), at_once or len(problems)
    which, count = processes
    order = sorted(problems, key=lambda problem: len(problem.question))  # like lengths together: less padding
    chunks = [order[start : start + at_once] for start in range(0, len(order), at_once)]
    part = None if out is None else out.with_name(f"{out.name}.part{which or ''}")
    done = [line for path in ([] if out is None else [out, *parts(out)]) for line in read_jsonl(path)]
    asked = {problem.id: [problem.question, problem.answer] for problem in problems}
    lines = {line["id"]: line for line in done if asked.get(line["id"]) == [line["question"], line["answer"]]}
    if part is not None and len(lines) < len(problems):
        if not hasattr(generate, "as_finished"):  # there a sample depends on the batch it is in
            whole = [problem.id for chunk in chunks if all(each.id in lines for each in chunk) for problem in chunk]
            lines = {name: lines[name] for name in whole}
        atomic_write(part, "".join(as_json(line) + "\n" for line in lines.values()))
    own = {problem.id for chunk in chunks[which::count] for problem in chunk}
    shown, known = time.monotonic(), len(own & lines.keys())
    missing = [chunk for chunk in chunks[which::count] if any(problem.id not in lines for problem in chunk)]
    for batch, answers in _sampled(missing, lines, generate, prompt, samples):
        new = _graded(batch, answers, embedder)
        if part is not None:
            append(part, "".join(as_json(line) + "\n" for line in new))
        lines.update((line["id"], line) for line in new)
        there = [line for name, line in lines.items() if name in own]
        if progress and (time.monotonic() - shown > EVERY or len(there) == len(own)):
            shown = time.monotonic()
            print(_progress(progress, there, known, len(own), began), file=sys.stderr, flush=True)
    lines = {line["id"]: line for line in gather(list(lines.values()))}
    found = [lines[problem.id] for problem in problems]
    if out is not None and which == 0:
        atomic_write(out, "".join(as_json(line) + "\n" for line in found))
        for path in parts(out):
            path.unlink()
    return {**measure(found), "seconds": time.perf_counter() - began}


def _sampled(
    chunks: Sequence[list[Problem]], lines: dict[str, Any], generate: Generate, prompt: Prompt, samples: int
) -> Iterator[tuple[list[Problem], Sequence[Sequence[str | Sample]]]]:
    """Problems with their samples, as these come: whole chunks, or single problems that have no line yet."""
    as_finished = getattr(generate, "as_finished", None)
    if as_finished is None:
        for chunk in chunks:
            yield chunk, generate([render(prompt, problem.question) for problem in chunk], samples)
        return
    wanted = [problem for chunk in chunks for problem in chunk if problem.id not in lines]
    for place, answers in as_finished([render(prompt, problem.question) for problem in wanted], samples):
        yield [wanted[place]], [answers]


def check_name(out: Path, problems: Sequence[Problem]) -> None:
    """Refuse, with a ValueError, to write over the results, finished or not, of other problems."""
    asked = {(problem.id, problem.question) for problem in problems}
    for path in [out, *parts(out)]:
        there = {(line["id"], line["question"]) for line in read_jsonl(path)}
        if there and not there & asked:
            raise ValueError(f"{str(path)!r} holds the results of other problems of that name. Give another --out.")


def _graded(
    problems: Sequence[Problem], answers: Sequence[Sequence[str | Sample]], embedder: Embedder | None
) -> list[dict[str, Any]]:
    """The lines of these problems."""
    lines, grader = [], shared_grader()
    for problem, each in zip(problems, answers, strict=True):
        told = [Sample(one) if isinstance(one, str) else one for one in each]
        texts, before = [one.text for one in told], grader.timed_out
        verdicts = grader.grade(texts, [problem.answer] * len(texts))
        samples = [
            {**one._asdict(), "answer": extract(one.text), "correct": verdict}
            for one, verdict in zip(told, verdicts, strict=True)
        ]
        line: dict[str, Any] = {"id": problem.id, "question": problem.question, "answer": problem.answer}
        line |= {"samples": samples, "timed_out": grader.timed_out - before}
        if embedder is not None:
            line["similarity"] = _similarity(embedder(texts))
        lines.append(line)
    return lines


def _similarity(rows: Any) -> float | None:
    """Mean cosine similarity over pairs of rows [n, D] of unit length; None for a single one."""
    count = len(rows)
    return None if count < 2 else round(float((rows.sum(0).square().sum() - count) / (count * (count - 1))), 6)


def _progress(name: str, lines: list[dict[str, Any]], known: int, wanted: int, began: float) -> str:
    right = [share_correct(line) for line in lines]
    left = (time.perf_counter() - began) / max(1, len(lines) - known) * (wanted - len(lines))
    clock = f"{left / 3600:.1f} h" if left > 5400 else f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
    return f"{name}: {len(lines)}/{wanted} problems, {sum(right) / len(right):.1%} so far, {clock} left"
