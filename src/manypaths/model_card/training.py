"""What is known of a training, read from its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manypaths import results, run_folder
from manypaths.files import read_json

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """A training, for its card.

    `settings` are those of a recipe, or of `manypaths.trl.described.settings_of`; `recipe` is the text of recipe.yaml,
    None for a training by a script. `evaluations` are the measures of RUN/evaluation by moment, `shares` the shares of
    correct completions by step and problem, `sampling` how the completions were sampled. `benchmarks` are the
    measures of other evaluations of the trained weights, by name, and `benchmark_sampling` how those were sampled.
    """

    name: str
    settings: Settings
    environment: Settings
    recipe: str | None = None
    evaluations: Mapping[str, Settings] = field(default_factory=dict)
    shares: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    sampling: Settings = field(default_factory=dict)
    benchmarks: Mapping[str, Settings] = field(default_factory=dict)
    benchmark_sampling: Settings = field(default_factory=dict)
    steps: int | None = None
    seconds: float | None = None


def of_run(run: Path, name: str | None = None) -> Training:
    """Read a run folder, finished or not.

    Args:
        run: The folder, of `manypaths train` or of `manypaths.callbacks`.
        name: The name of the model; None for that of the folder.

    Raises:
        ValueError: A file is damaged.
    """
    folder = run / run_folder.EVALUATION
    lines = run_folder.read_metrics(run)
    steps = lines[-1]["step"] if lines else None
    summary = read_json(run / run_folder.SUMMARY)
    benchmarks, benchmark_sampling = _benchmarks(run, steps)
    text = run / run_folder.RECIPE
    return Training(
        name=name or run.resolve().name,
        settings=run_folder.read_recipe_content(run),
        environment=run_folder.read_environment(run),
        recipe=text.read_text("utf-8", errors="replace") if run_folder.is_run(run) else None,
        evaluations=read_json(folder / run_folder.SUMMARY),
        shares=_shares(run, steps),
        sampling=results.read_settings(folder),
        benchmarks=benchmarks,
        benchmark_sampling=benchmark_sampling,
        steps=summary.get("steps", steps),
        seconds=_seconds(summary.get("seconds", {})),
    )


def _seconds(parts: Mapping[str, float | None]) -> float | None:
    """The time of the training and its evaluations; None where the parts of a step were not logged."""
    values = [value for value in parts.values() if value is not None]
    return sum(values) if parts.keys() - {"evaluation"} and values else None


def _shares(run: Path, steps: int | None) -> dict[int, dict[str, float]]:
    """The share of correct completions of each problem, by step."""
    shares: dict[int, dict[str, float]] = {}
    for step, sets in run_folder.read_evaluations(run, "held-out", steps or 0).items():
        counted = {f"{name}/{id}": own for name, of_set in sets.items() for id, own in of_set.items()}
        shares[step] = {id: own if isinstance(own, float) else own.right / own.samples for id, own in counted.items()}
    return shares


def _benchmarks(run: Path, last: int | None) -> tuple[dict[str, Settings], Settings]:
    """The measures of benchmarks after the last step, and how they were sampled."""
    folder = run_folder.benchmark_folders(run).get(last if last is not None else -1)
    if folder is None:
        return {}, {}
    measures = read_json(folder / run_folder.SUMMARY)
    return {name: own for name, own in measures.items() if name != "all"}, results.read_settings(folder)
