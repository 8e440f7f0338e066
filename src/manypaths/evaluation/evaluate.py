"""Evaluation: sample completions with any `generate`, grade them and write all of them; it resumes where it stopped."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from manypaths import verifiers
from manypaths.evaluation.generate import Generate, Prompt, Sample
from manypaths.evaluation.measure import measure
from manypaths.evaluation.sampling import Sampler, environment
from manypaths.files import append, atomic_write, read_jsonl
from manypaths.grading import shared_grader
from manypaths.problems import Problem, render
from manypaths.results import jsonl, lines_file, part_file, part_files, share_correct, write_lines, write_settings
from manypaths.terminal import Bar, say

Embedder = Callable[[list[str]], Any]
Gather = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
EVERY = 30.0  # seconds between two lines of progress


def evaluate_sets(
    sets: Mapping[str, list[Problem]],
    sampler: Sampler,
    folder: Path,
    settings: dict[str, Any],
    *,
    embedder: Embedder | None = None,
    progress: bool = True,
    processes: tuple[int, int] = (0, 1),
    gather: Gather = list,
) -> dict[str, dict[str, Any]]:
    """Evaluate sets of problems into a folder of results: the one way, for `manypaths evaluate` and within a run.

    Args:
        sets: The problems by the name of their set, which becomes the name of its file.
        sampler: The model.
        folder: The results go here (`manypaths.results`).
        settings: What `sampling.settings_of` returned; it is written to settings.json. Its `prompt` and `samples` are
            used here.
        embedder: As in `evaluate`.
        progress: Whether to print the running score of each set to stderr.
        processes: As in `evaluate`.
        gather: As in `evaluate`.

    Returns:
        What `evaluate` returns, by the name of the set.

    Raises:
        ValueError: A file of the folder is damaged, or the backend gives no completions.
    """
    if processes[0] == 0:
        write_settings(folder, settings, environment(sampler.device))
    return {
        name: evaluate(
            problems,
            sampler.generate,
            prompt=settings["prompt"],
            samples=settings["samples"],
            out=lines_file(folder, name),
            at_once=sampler.at_once,
            embedder=embedder,
            progress=name if progress else None,
            processes=processes,
            gather=gather,
        )
        for name, problems in sets.items()
    }


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
    """Sample completions for problems, grade them and measure the result.

    An evaluation that was stopped resumes from `out` and its part files. It samples again only the batch in which it
    stopped, or, if `generate` has `as_finished`, only the problems that were not finished.

    Args:
        problems: One or more.
        generate: `(prompts, n) -> n completions for each prompt` (`manypaths.evaluation.generate`).
        prompt: A text or chat messages, with {question} where the question goes.
        samples: Completions per problem.
        out: A file that gets a JSON line per problem, with every completion and verdict; None writes nothing.
        at_once: Problems per call of `generate`; None for all of them.
        embedder: `(texts) -> [N, D]` rows of unit length, to measure the mean similarity of a problem's completions.
        progress: A name under which the running score and the remaining time are printed to stderr; None for silence.
        processes: (the index of this process, their number). Each process samples its share of the batches; the
            completions are those that a single process would sample.
        gather: Brings the lines of all processes to each, such as `accelerate.utils.gather_object`. Process 0 writes
            `out`.

    Returns:
        What `measure` returns, and `seconds`, the duration.

    Raises:
        ValueError: There are no problems or samples, or a file is damaged.
    """
    if not problems or samples < 1:
        raise ValueError(f"Problems and samples must be 1 or more, got {len(problems)} problems, {samples} samples.")
    began, (process, count) = time.perf_counter(), processes
    batches = _batches(problems, at_once or len(problems))
    own, part = batches[process::count], None if out is None else part_file(out, process)
    lines = {} if out is None else _finished_lines(out, problems)
    if part is not None and len(lines) < len(problems):
        if not hasattr(generate, "as_finished"):  # without it a completion depends on its batch
            lines = _of_whole_batches(lines, batches)
        atomic_write(part, jsonl(lines.values()))
    report = _Progress(progress, own, lines, began)
    for batch, completions in _sampled(own, lines, generate, prompt, samples):
        new = _graded(batch, completions, embedder)
        if part is not None:
            append(part, jsonl(new))
        lines |= {line["id"]: line for line in new}
        report(lines)
    lines = {line["id"]: line for line in gather(list(lines.values()))}
    ordered = [lines[problem.id] for problem in problems]
    if out is not None and process == 0:
        write_lines(out, ordered)
    return {**measure(ordered), "seconds": time.perf_counter() - began}


def check_problems(out: Path, problems: Sequence[Problem]) -> None:
    """Check that the file of a set holds no results of other problems.

    Args:
        out: The file, finished or not, or missing.
        problems: Those that will be evaluated.

    Raises:
        ValueError: It holds results, and none is of these problems.
    """
    questions = {(problem.id, problem.question) for problem in problems}
    for path in [out, *part_files(out)]:
        old = {(line["id"], line["question"]) for line in read_jsonl(path)}
        if old and not old & questions:
            raise ValueError(f"{str(path)!r} holds the results of other problems of that name. Give another --out.")


def _batches(problems: Sequence[Problem], size: int) -> list[list[Problem]]:
    """Problems by the length of their question, so that a batch needs little padding."""
    ordered = sorted(problems, key=lambda problem: len(problem.question))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def _finished_lines(out: Path, problems: Sequence[Problem]) -> dict[str, dict[str, Any]]:
    """The lines of these problems that an earlier evaluation wrote to `out` or its part files, by id."""
    texts = {problem.id: [problem.question, problem.answer] for problem in problems}
    written = [line for path in [out, *part_files(out)] for line in read_jsonl(path)]
    return {line["id"]: line for line in written if texts.get(line["id"]) == [line["question"], line["answer"]]}


def _of_whole_batches(lines: Mapping[str, dict[str, Any]], batches: Iterable[list[Problem]]) -> dict[str, Any]:
    whole = [batch for batch in batches if all(problem.id in lines for problem in batch)]
    return {problem.id: lines[problem.id] for batch in whole for problem in batch}


def _sampled(
    batches: Sequence[list[Problem]], lines: dict[str, Any], generate: Generate, prompt: Prompt, samples: int
) -> Iterator[tuple[list[Problem], Sequence[Sequence[str | Sample]]]]:
    """Problems with their completions, as they come: whole batches, or single problems that have no line yet."""
    missing = [batch for batch in batches if any(problem.id not in lines for problem in batch)]
    as_finished = getattr(generate, "as_finished", None)
    if as_finished is None:
        for batch in missing:
            yield batch, generate([render(prompt, problem.question) for problem in batch], samples)
        return
    unfinished = [problem for batch in missing for problem in batch if problem.id not in lines]
    for index, completions in as_finished([render(prompt, problem.question) for problem in unfinished], samples):
        yield [unfinished[index]], [completions]


def _graded(
    problems: Sequence[Problem], completions: Sequence[Sequence[str | Sample]], embedder: Embedder | None
) -> list[dict[str, Any]]:
    """The lines of these problems."""
    lines, grader = [], shared_grader()
    for problem, own in zip(problems, completions, strict=True):
        samples = [Sample(sample) if isinstance(sample, str) else sample for sample in own]
        texts, before = [sample.text for sample in samples], grader.timed_out
        verdicts = verifiers.verdicts([problem.grader] * len(texts), texts, [problem.answer] * len(texts), grader)
        graded = [
            {**sample._asdict(), "answer": verifiers.answer_of(problem.grader, sample.text), "correct": verdict}
            for sample, verdict in zip(samples, verdicts, strict=True)
        ]
        line: dict[str, Any] = {"id": problem.id, "question": problem.question, "answer": problem.answer}
        line |= {"samples": graded, "timed_out": grader.timed_out - before}
        if embedder is not None:
            line["similarity"] = _similarity(embedder(texts))
        lines.append(line)
    return lines


def _similarity(rows: Any) -> float | None:
    """Mean cosine similarity over pairs of rows [n, D] of unit length; None for a single row."""
    count = len(rows)
    return None if count < 2 else round(float((rows.sum(0).square().sum() - count) / (count * (count - 1))), 6)


class _Progress:
    """Shows the running score of one process and its remaining time: a bar on a terminal, lines elsewhere.

    Two lines are at least `EVERY` seconds apart, but for the last one.
    """

    def __init__(
        self, name: str | None, batches: Iterable[list[Problem]], lines: Mapping[str, Any], began: float
    ) -> None:
        self.name, self.began, self.printed = name, began, time.monotonic()
        self.ids = {problem.id for batch in batches for problem in batch}
        self.resumed = len(self.ids & lines.keys())
        self.bar = Bar(name, len(self.ids), self.resumed) if name and self.resumed < len(self.ids) else None

    def __call__(self, lines: Mapping[str, dict[str, Any]]) -> None:
        if self.name is None:
            return
        done, total = len(self.ids & lines.keys()), len(self.ids)
        shown = self.bar is not None and self.bar.is_shown
        if done < total and not shown and time.monotonic() - self.printed <= EVERY:
            return
        self.printed = time.monotonic()
        score = statistics.fmean(share_correct(line) for name, line in lines.items() if name in self.ids)
        if self.bar is not None and done < total and shown:
            self.bar.reach(done, f"{score:.1%} so far")
            return
        if self.bar is not None:
            self.bar.close()
        left = (time.perf_counter() - self.began) / max(1, done - self.resumed) * (total - done)
        clock = f"{left / 3600:.1f} h" if left > 5400 else f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
        say(f"{self.name}: {done}/{total} problems, {score:.1%} so far, {clock} left", sys.stderr)
