"""The results of lighteval: of each task the metric that is accuracy, and pass@k and majority vote beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from manypaths.comparison.importers.metric_names import in_lighteval
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.importers.task_score import Task, score_of
from manypaths.comparison.importers.values import printed
from manypaths.comparison.runs import Score

BENCHMARKS = ("aime24", "amc23", "math500", "minerva")
ERROR = "_stderr"


def model_of(content: dict[str, Any]) -> str:
    """The name of the model, empty where the file does not state it."""
    general = content.get("config_general")
    general = general if isinstance(general, dict) else {}
    config = general.get("model_config")
    names = (general.get("model_name"), config.get("model_name") if isinstance(config, dict) else None)
    return next((name[:1000] for name in names if isinstance(name, str)), "")


def scores_of(path: Path, content: dict[str, Any], reading: Reading, notes: list[str]) -> dict[str, Score]:
    """The scores of a file by benchmark, without the averages over tasks; what is left out becomes a note."""
    scores: dict[str, Score] = {}
    for name, metrics in content["results"].items():
        task = ([part for part in name.split("|") if part and not part.isdecimal()] or [""])[-1]
        if task in ("", "all", "average") or "_average" in task:
            continue
        benchmark = _benchmark(task)
        if benchmark in scores:
            notes.append(f"{str(path)!r}: {printed(name)} is left out, because {benchmark} stands there already.")
            continue
        if scored := score_of(_task(path, printed(task), metrics), in_lighteval, reading, notes):
            scores[benchmark] = scored[0]
    if not scores:
        notes.append(f"{str(path)!r} has no accuracy of a task. Evaluate again, or leave it out.")
    return scores


def _task(path: Path, task: str, metrics: Any) -> Task:
    values = metrics if isinstance(metrics, dict) else {}
    numbers = {name: value for name, value in values.items() if type(value) in (int, float)}
    errors = {name.removesuffix(ERROR): value for name, value in numbers.items() if name.endswith(ERROR)}
    return Task(path, task, {name: value for name, value in numbers.items() if not name.endswith(ERROR)}, errors)


def _benchmark(task: str) -> str:
    """The name by which manypaths calls a benchmark; the name of the task for another one."""
    plain = re.sub("[-_]", "", task.lower())
    return "olympiadbench" if plain.startswith("olympiad") else plain if plain in BENCHMARKS else printed(task)
