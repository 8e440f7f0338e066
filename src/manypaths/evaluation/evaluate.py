"""Evaluation: sample answers with any `generate`, grade them, keep every one; resumable batch by batch."""

from __future__ import annotations

import glob
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from manypaths.evaluation.generate import Generate, Prompt, Sample
from manypaths.evaluation.measure import measure, overall, share_correct
from manypaths.files import append, as_json, atomic_write, content_of, read_json, read_jsonl
from manypaths.grading import extract, shared_grader
from manypaths.problems import BENCHMARKS, Problem, render
from manypaths.tables import markdown

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
    done = [line for path in ([] if out is None else [out, *_parts(out)]) for line in read_jsonl(path)]
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
        for path in _parts(out):
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
    for path in [out, *_parts(out)]:
        there = {(line["id"], line["question"]) for line in read_jsonl(path)}
        if there and not there & asked:
            raise ValueError(f"{str(path)!r} holds the results of other problems of that name. Give another --out.")


def _parts(out: Path) -> list[Path]:
    """Where the processes keep what there is before all are done."""
    return sorted(out.parent.glob(f"{glob.escape(out.name)}.part*"))


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


def claim(folder: Path, settings: dict[str, Any], environment: dict[str, Any] | None = None) -> None:
    """Make sure, with a ValueError, that a folder is new or has results of the same settings.

    With an `environment` (device, versions) both are written to settings.json: the settings as they are, and every
    environment in which the evaluation ran, under `environments`.
    """
    there = folder / "settings.json"
    known = read_json(there) or None
    begun = folder.exists() and any(path != there for path in content_of(folder))
    if begun and known is None:
        raise ValueError(f"{str(folder)!r} is not empty and holds no results. Give --out a new or an empty folder.")
    if begun and known is not None:
        differing = [
            f"{key} {repr(known[key]) if key in known else 'not recorded'} there, {value!r} here"
            for key, value in settings.items()
            if key not in known or known[key] != value
        ]
        if differing:
            told = "; ".join(differing)
            raise ValueError(f"{str(folder)!r} holds results of other settings ({told}). Give another --out.")
    if environment is not None:
        before = (known or {}).get("environments", []) if begun else []
        environments = [one for one in before if one != environment] + [environment]
        atomic_write(there, as_json({**settings, "environments": environments}, indent=2))


def table(found: dict[str, dict[str, Any]]) -> str:
    """The results of benchmarks as Markdown: the papers' row of mean@n, then what else was measured of each."""
    shown = [name for name in BENCHMARKS if name in found] + [
        name for name in found if name not in {*BENCHMARKS, "all"}
    ]
    title = {name: BENCHMARKS[name].title if name in BENCHMARKS else name for name in shown}
    columns = [*shown, *(["all"] if len(shown) > 1 else [])]
    head = [
        ["", *(title.get(name, "mean") for name in columns)],
        ["mean@n", *(f"{found[name]['accuracy']:.1%}" for name in columns)],
        ["95 %", *(f"{found[name]['low']:.1%} to {found[name]['high']:.1%}" for name in columns)],
    ]
    rest = [["", "problems", "n", "pass@n", "maj@n", "distinct", "similarity", "boxed", "truncated", "tokens"]]
    for name in shown:
        one, n = found[name], str(found[name]["samples"])
        shares = [f"{one[key]:.1%}" if one[key] is not None else "" for key in ("boxed", "truncated")]
        likeness = "" if one["similarity"] is None else f"{one['similarity']:.2f}"
        tokens = "" if one["tokens"] is None else f"{one['tokens']:,.0f}"
        answers = [f"{one['pass_at'][n]:.1%}", f"{one['majority']:.1%}", f"{one['distinct']:.1f}"]
        rest.append([title[name], str(one["problems"]), n, *answers, likeness, *shares, tokens])
    return f"{markdown(head)}\n\n{markdown(rest)}"


def summarise(folder: Path) -> dict[str, dict[str, Any]]:
    """What all finished sets of a folder say, each and `all`: in summary.json, table.md and shares.json."""
    lines = {path.stem: read_jsonl(path) for path in sorted(folder.glob("*.jsonl"))}
    found: dict[str, dict[str, Any]] = {name: measure(each) for name, each in lines.items()}
    shares = {name: {line["id"]: share_correct(line) for line in each} for name, each in lines.items()}
    found["all"] = overall([list(each.values()) for each in shares.values()])
    atomic_write(folder / "summary.json", as_json(found, indent=2))
    atomic_write(folder / "shares.json", as_json(shares))
    atomic_write(folder / "table.md", table(found) + "\n")
    return found
