"""Comparison of configurations with a baseline: runs are grouped, seeds are repetitions. No torch here."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy

from manypaths import results, run_folder
from manypaths.comparison import importers
from manypaths.comparison.cautions import cautions
from manypaths.comparison.curves import Configuration, level_of, peak, rise_of, time_to_target
from manypaths.comparison.runs import Run, read_evaluation, read_run
from manypaths.names import PARTS, shown_metrics
from manypaths.statistics import Estimate, interval

Comparison = dict[str, Any]
DAMAGED = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)


def read(paths: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Read runs and results.

    Args:
        paths: Run folders, folders of them, and results of `manypaths evaluate` and of other software.

    Returns:
        The runs, and a sentence for each path that cannot be read.
    """
    runs: list[Run] = []
    refused: list[str] = []
    for path in dict.fromkeys(part for root in paths for part in _expanded(root.resolve())):
        try:
            runs += _read(path)
        except DAMAGED as error:
            refused.append(_complaint(path, error))
    return runs, refused


def _complaint(path: Path, error: Exception) -> str:
    """A sentence that names the path and the error."""
    reason = str(error) if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: {error}"
    sentence = reason if str(path) in reason else f"{str(path)!r} cannot be read: {reason}"
    return sentence.removesuffix(".") + "."


def _expanded(path: Path) -> list[Path]:
    """The run folders in a folder of them, otherwise the path itself."""
    return [path] if run_folder.is_run(path) else run_folder.runs_in(path) or [path]


def _read(path: Path) -> list[Run]:
    if path.suffix == ".csv":
        return importers.read_csv(path)
    if run_folder.is_run(path):
        return [read_run(path)]
    if results.is_results(path):
        return [read_evaluation(path)]
    if importers.is_trainer_state(path):
        return [importers.read_trainer_state(path)]
    if path.suffix == ".json" or (path.is_dir() and any(path.rglob("results_*.json"))):
        return [importers.read_lighteval(path)]
    files = f"{run_folder.RECIPE}, trainer_state.json or results_*.json"
    reason = f"it has no {files}" if path.exists() else "it does not exist"
    raise ValueError(f"{str(path)!r} is no run: {reason}. Give a run folder, results of lighteval, or a .csv file.")


def configurations(runs: Sequence[Run]) -> tuple[list[Configuration], list[str]]:
    """Group runs with results into configurations.

    Returns:
        The configurations, at the steps and on the problems that all of their runs have, and sentences on what was left
        out.

    Raises:
        ValueError: The runs have no benchmark or no problem in common.
    """
    notes = [note for run in runs for note in run.notes]
    evaluated = [run for run in runs if run.results]
    benchmarks, more = benchmarks_of(evaluated)
    notes += more
    steps_of = {
        id(run): [step for step in run.results if set(benchmarks) <= set(run.results[step])] for run in evaluated
    }
    complete = [run for run in evaluated if steps_of[id(run)]]
    problems = {name: _problems(complete, steps_of, name, notes) for name in benchmarks}
    for run in evaluated:
        if not steps_of[id(run)]:
            notes.append(
                f"{run.name} has no step at which all of {', '.join(benchmarks)} were evaluated; it is left out."
            )
    grouped = []
    for name, members in _grouped(complete).items():
        steps = sorted(set.intersection(*(set(steps_of[id(run)]) for run in members)))
        if not steps:
            notes.append(f"{name}: its seeds were evaluated at different steps, none in common; left out.")
            continue
        if any(len(steps_of[id(run)]) > len(steps) for run in members):
            notes.append(f"{name}: only the {len(steps)} steps at which all of its seeds were evaluated count.")
        grouped.append(_configuration(name, members, steps, problems))
    return grouped, notes


def benchmarks_of(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """(the benchmarks that were evaluated most often of those that all runs have, notes on the others).

    Raises:
        ValueError: There is no benchmark that all runs have.
    """
    by_run = [{name for scores in run.results.values() for name in scores} for run in runs]
    common = sorted(set.intersection(*by_run)) if by_run else []
    if by_run and not common:
        listed = "; ".join(f"{run.name}: {', '.join(sorted(names))}" for run, names in zip(runs, by_run, strict=True))
        raise ValueError(f"The runs have no benchmark in common ({listed}). Evaluate them on the same problems.")
    count = Counter(name for run in runs for scores in run.results.values() for name in scores if name in common)
    most = [name for name in common if count[name] == max(count.values())]
    ignored = sorted(set().union(*by_run) - set(most)) if by_run else []
    return most, [f"{name} was not evaluated as often, or not for all runs; it is left out." for name in ignored]


def _problems(runs: Sequence[Run], steps_of: dict[int, list[int]], name: str, notes: list[str]) -> list[str] | None:
    """The problems of a benchmark in all evaluations; None if an evaluation has only the mean."""
    scores = [run.results[step][name] for run in runs for step in steps_of[id(run)]]
    by_score = [set(score.shares) for score in scores if score.shares is not None]
    if len(by_score) < len(scores):
        notes.append(
            f"{name}: only means were recorded, so results on the same problem cannot be compared. Without a standard "
            "error the intervals are over seeds only, on these problems."
        )
        return None
    common = set.intersection(*by_score)
    if not common:
        raise ValueError(f"The runs have no problem of {name} in common. Evaluate them on the same problems.")
    if any(len(problems) > len(common) for problems in by_score):
        notes.append(f"{name}: the runs were evaluated on different problems; the {len(common)} in common count.")
    return sorted(common)


def _grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by configuration. Its name is the common start of the names of its runs, without their seeds."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.group, []).append(run)
    named: dict[str, list[Run]] = {}
    for members in groups.values():
        stems = [
            re.sub(rf"([-_ ]|[-_. ]?seed[-_ ]?){re.escape(str(run.seed))}$", "", run.name) or run.name
            for run in members
        ]
        same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*stems, strict=False))
        name = "".join(letters[0] for letters in same).rstrip("-_. ") or stems[0]
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        free = (other for other in itertools.chain([name], numbered) if other not in named)
        named[next(free)] = members
    return named


def _configuration(
    name: str, runs: list[Run], steps: list[int], problems: dict[str, list[str] | None]
) -> Configuration:
    runs = sorted(runs, key=lambda run: (str(run.seed), run.name))
    variance = numpy.zeros(len(steps))
    shares: list[list[list[float]]] = [[[] for _ in steps] for _ in runs]
    for (seed, run), (index, step) in itertools.product(enumerate(runs), enumerate(steps)):
        for benchmark, ids in problems.items():
            score = run.results[step][benchmark]
            shares[seed][index] += [score.accuracy] if ids is None else [(score.shares or {})[id] for id in ids]
            if ids is None:  # a standard error of 0 was not computed
                variance[index] += ((score.error or math.nan) / len(problems)) ** 2 / len(runs)
    sizes = [1 if ids is None else len(ids) for ids in problems.values()]
    first_half: list[bool] = []
    for benchmark, ids in problems.items():
        order = sorted(ids or [], key=lambda id: hashlib.sha256(f"{benchmark} {id}".encode()).digest())
        first = set(order[::2])
        first_half += [True] if ids is None else [id in first for id in ids]
    return Configuration(
        name=name,
        benchmarks=list(problems),
        runs=runs,
        steps=numpy.array(steps, dtype=float),
        seconds=numpy.array([[run.seconds_at(step) for step in steps] for run in runs]),
        shares=numpy.array(shares),
        blocks=numpy.repeat(numpy.arange(len(sizes)), sizes),
        means_only=numpy.array([ids is None for ids in problems.values()]),
        first_half=numpy.array(first_half),
        noise=numpy.sqrt(variance),
    )


def compare(runs: Sequence[Run], baseline: str | None = None, target: float | str | None = None) -> Comparison:
    """Compare configurations with a baseline.

    Args:
        runs: What `read` returned, or runs made otherwise.
        baseline: The name of a configuration; None is the first that does not reweight.
        target: The accuracy to reach, as `manypaths.comparison.curves.rise_of` takes it.

    Returns:
        Plain data that JSON can hold: `baseline`, `target`, `benchmarks`, `problems`, `configurations` with the
        baseline first, and `notes`.

    Raises:
        ValueError: The baseline or the target does not exist, no run has results, or the runs have no problems in
            common.
    """
    grouped, notes = configurations(runs)
    if not grouped:
        raise ValueError(" ".join(["None of these runs has results to compare.", *notes]))
    names = [configuration.name for configuration in grouped]
    plain = [
        configuration.name
        for configuration in grouped
        if configuration.runs[0].settings.get("method.reweight", "") is None
    ]
    baseline = baseline or (plain or names)[0]
    if baseline not in names:
        raise ValueError(f"No configuration is named {baseline!r}. There are: {', '.join(names)}.")
    base = grouped.pop(names.index(baseline))
    grouped.insert(0, base)
    return {
        "baseline": baseline,
        "target": {"accuracy": level_of(base, target), "rise": rise_of(target)},
        "benchmarks": base.benchmarks,
        "problems": int(base.estimates[0].sizes.sum()) or None,
        "configurations": [_compared(configuration, base, target) for configuration in grouped],
        "notes": [*notes, *cautions(grouped, base)],
    }


def _compared(configuration: Configuration, base: Configuration, target: float | str | None) -> Comparison:
    steps, hours, curve = configuration.steps.tolist(), configuration.seconds.mean(0) / 3600, configuration.estimates
    best, index = peak(configuration)
    compared: Comparison = {
        "name": configuration.name,
        "runs": [run.name for run in configuration.runs],
        "seeds": [run.seed for run in configuration.runs],
        "model": _json_value(configuration.runs[0].settings.get("model.name")),
        "differs": _differences(configuration, base),
        "curve": [
            {"step": step, "hours": _finite(spent), **_bounds(mean)}
            for step, spent, mean in zip(steps, hours, curve, strict=True)
        ],
        "last": {"step": steps[-1], **_bounds(curve[-1]), "benchmarks": _by_benchmark(configuration, -1)},
        "peak": {"step": steps[index], "hours": _finite(hours[index]), **_bounds(best)},
        "to_target": time_to_target(configuration, base, target),
        "seconds": _seconds(configuration),
        "metrics": _metrics(configuration),
    }
    compared["peak"]["benchmarks"] = _by_benchmark(configuration, index)
    if configuration is not base:
        base_best, base_index = peak(base)
        compared["against"] = {
            "last": _bounds(curve[-1], base.estimates[-1]),
            "peak": _bounds(best, base_best),
            "peak_steps_saved": _saved(steps[index], base.steps[base_index]),
            "peak_hours_saved": _saved(configuration.seconds.mean(0)[index], base.seconds.mean(0)[base_index]),
        }
    return compared


def _bounds(mean: Estimate, base: Estimate | None = None) -> Comparison:
    """A mean, or its difference to that of the baseline, with its interval."""
    low, high = interval(mean, base)
    return {"accuracy": mean.value - (base.value if base else 0.0), "low": _finite(low), "high": _finite(high)}


def _by_benchmark(configuration: Configuration, index: int) -> Comparison:
    """Accuracy by benchmark at the step of an index."""
    mean = configuration.shares[:, index].mean(0)
    names = enumerate(configuration.benchmarks)
    return {name: float(mean[configuration.blocks == number].mean()) for number, name in names}


def _saved(own: float, others: float) -> float | None:
    """The share that a peak saves; None if one of the peaks is before training."""
    return _finite(1 - own / others) if own and others else None


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _seconds(configuration: Configuration) -> Comparison:
    """Mean seconds of a step, by part and as a whole; without those that no run measured."""
    measured = [run.parts for run in configuration.runs if run.parts]
    seconds = {part: _finite(fmean(parts.get(part, 0.0) for parts in measured)) for part in PARTS if measured}
    whole = [run.clock[-1][1] / run.clock[-1][0] for run in configuration.runs if run.clock and run.clock[-1][0]]
    seconds["whole"] = _finite(fmean(whole)) if whole else None
    return {part: value for part, value in seconds.items() if value is not None}


def _metrics(configuration: Configuration) -> dict[str, list[tuple[int, float, float, float]]]:
    """Metrics of the training as (step, mean, least, greatest over the seeds) at the steps that all seeds have."""
    metrics = {}
    for name in shown_metrics(name for run in configuration.runs for name in run.curves):
        by_seed = [dict(run.curves.get(name, ())) for run in configuration.runs]
        rows = [(step, [curve[step] for curve in by_seed]) for step in sorted(set.intersection(*map(set, by_seed)))]
        if rows:
            metrics[name] = [(step, float(numpy.mean(row)), min(row), max(row)) for step, row in rows]
    return metrics


def _differences(configuration: Configuration, base: Configuration) -> dict[str, list[Any]]:
    """The settings that differ from the baseline's: {key: [own, the baseline's]}.

    Between a training and the results of a model alone, only the keys that both have.
    """
    pair = (configuration.runs[0], base.runs[0])
    own, others = ({key: _json_value(value) for key, value in run.settings.items()} for run in pair)
    keys = [key for key in {**others, **own} if own.get(key) != others.get(key)]
    if pair[0].trained != pair[1].trained:
        keys = [key for key in keys if key in own and key in others]
    return {key: [own.get(key), others.get(key)] for key in keys if own and others}


def _json_value(value: Any) -> Any:
    """The value, or its text where JSON cannot hold it, such as a date or infinity."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return str(value)
    return value
