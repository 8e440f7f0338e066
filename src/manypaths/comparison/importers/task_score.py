"""The score of one task in a file of results: which of its metrics is accuracy, and which others are measures."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from manypaths.comparison.importers.logged import keys_and_option
from manypaths.comparison.importers.metric_names import Dictionary, Meaning
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.importers.values import finite_number, printed, share_of
from manypaths.comparison.runs import Score
from manypaths.counts import ACCURACY, measure
from manypaths.printable import listed


class Task(NamedTuple):
    """The metrics of a task, and their standard errors, by name."""

    file: Path
    name: str
    metrics: dict[str, Any]
    errors: dict[str, Any]


def score_of(
    task: Task, meaning_of: Dictionary, reading: Reading, notes: list[str]
) -> tuple[Score, dict[str, str]] | None:
    """The score of a task, and the metric that each measure was read from.

    Of the metrics of one measure that with the most samples is taken. The metric that the user names goes before all.
    None, with a note, where no metric, or more than one, is accuracy by its name.
    """
    meanings = {name: meaning for name in sorted(task.metrics) if (meaning := meaning_of(name))}
    if reading.metric is not None and reading.metric in task.metrics:
        named = meanings.get(reading.metric, Meaning(reading.metric))
        meanings = {reading.metric: named._replace(measure=reading.measure or reading.metric)}
    rivals: defaultdict[str, list[str]] = defaultdict(list)
    for name, meaning in meanings.items():
        rivals[meaning.measure].append(name)
    score, taken, undecided = Score(), dict[str, str](), False
    for of_measure, names in rivals.items():
        most = max(meanings[name].samples or 0 for name in names)
        best = [name for name in names if (meanings[name].samples or 0) == most]
        if len({str(task.metrics[name]) for name in best}) > 1:
            notes.append(f"{task.name}: several metrics are {of_measure}: {listed(best)}. Name one with --metric.")
            undecided = undecided or of_measure == ACCURACY
            continue
        _add(score, task, best[0], meanings[best[0]], reading, notes)
        if of_measure in score.means:
            taken[of_measure] = best[0]
        if len(task.metrics) > 1 and of_measure in taken:
            others = listed(sorted(task.metrics))
            notes.append(f"{task.name}: {printed(of_measure)} is {printed(best[0])}, of {others}.")
    if not score.means or undecided:
        reason = "" if undecided else f" {keys_and_option(task.metrics)}"
        notes.append(f"{str(task.file)!r}: {task.name} is left out.{reason}")
        return None
    return score, taken


def _add(score: Score, task: Task, name: str, meaning: Meaning, reading: Reading, notes: list[str]) -> None:
    """Add a metric and its standard error to a score; a value that is not in its range becomes a note."""
    is_plain = measure(meaning.measure).top is None
    unit = reading.unit if name == reading.metric else None
    value = finite_number(task.metrics[name]) if is_plain else share_of(task.metrics[name], unit)
    if value is None:
        wanted = "a finite number" if is_plain else "from 0 to 100 percent" if unit == "percent" else "from 0 to 1"
        notes.append(
            f"{str(task.file)!r}: {printed(name)} of {task.name} must be {wanted}, got "
            f"{_shown(task.metrics[name])}; it is left out."
        )
        return
    key = printed(meaning.measure)
    score.means[key] = value
    error = finite_number(task.errors.get(name))
    if error is not None and error >= 0:
        score.errors[key] = error / 100 if unit == "percent" else error
    if meaning.samples is not None and meaning.measure == ACCURACY:
        score.sampling["samples"] = meaning.samples
    if is_plain:
        notes.append(f"{task.name}: {printed(name)} is a plain number. If it is a share, write --unit share.")


def _shown(value: Any) -> str:
    return "a very large number" if isinstance(value, int) and abs(value) > 1e100 else printed(value)[:40]
