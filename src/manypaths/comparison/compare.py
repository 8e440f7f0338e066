"""Did it help? Runs grouped by configuration, seeds as repetitions, beside a baseline. No torch here."""

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

Found = dict[str, Any]
BROKEN = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)


def read(paths: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Run folders, folders of them, and results of other software -> (runs, a sentence for each that is left out)."""
    runs: list[Run] = []
    refused: list[str] = []
    for path in dict.fromkeys(each for given in paths for each in _inside(given.resolve())):
        try:
            runs += _read(path)
        except BROKEN as error:
            refused.append(_complaint(path, error))
    return runs, refused


def _complaint(path: Path, error: Exception) -> str:
    """A sentence that names the path and the error."""
    what = str(error) if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: {error}"
    sentence = what if str(path) in what else f"{str(path)!r} cannot be read: {what}"
    return sentence.removesuffix(".") + "."


def _inside(path: Path) -> list[Path]:
    """The run folders in a folder of them; else the path itself."""
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
    there = f"it has no {files}" if path.exists() else "it does not exist"
    raise ValueError(f"{str(path)!r} is no run: {there}. Give a run folder, results of lighteval, or a .csv file.")


def configurations(runs: Sequence[Run]) -> tuple[list[Configuration], list[str]]:
    """Runs with results, grouped -> (configurations, sentences on what could not be used)."""
    notes = [note for run in runs for note in run.notes]
    scored = [run for run in runs if run.results]
    names, more = benchmarks_of(scored)
    notes += more
    usable = {id(run): [step for step in run.results if set(names) <= set(run.results[step])] for run in scored}
    scored = [run for run in scored if usable[id(run)]]
    problems: dict[str, list[str] | None] = {name: _problems(scored, usable, name, notes) for name in names}
    found = []
    for run in runs:
        if run.results and not usable[id(run)]:
            notes.append(f"{run.name} has no step at which all of {', '.join(names)} were evaluated; it is left out.")
    for name, members in _grouped(scored).items():
        steps = sorted(set.intersection(*(set(usable[id(run)]) for run in members)))
        if not steps:
            notes.append(f"{name}: its seeds were evaluated at different steps, none in common; left out.")
            continue
        if any(len(usable[id(run)]) > len(steps) for run in members):
            notes.append(f"{name}: only the {len(steps)} steps at which all of its seeds were evaluated count.")
        found.append(_configuration(name, members, steps, problems))
    return found, notes


def benchmarks_of(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """The benchmarks that all runs have, of those the ones evaluated most often -> (names, notes)."""
    every = [{name for scores in run.results.values() for name in scores} for run in runs]
    common = sorted(set.intersection(*every)) if every else []
    if every and not common:
        told = "; ".join(f"{run.name}: {', '.join(sorted(each))}" for run, each in zip(runs, every, strict=True))
        raise ValueError(f"The runs have no benchmark in common ({told}). Evaluate them on the same problems.")
    count = Counter(name for run in runs for scores in run.results.values() for name in scores if name in common)
    most = [name for name in common if count[name] == max(count.values())]
    left = sorted(set().union(*every) - set(most)) if every else []
    return most, [f"{name} was not evaluated as often, or not for all runs; it is left out." for name in left]


def _problems(runs: Sequence[Run], usable: dict[int, list[int]], name: str, notes: list[str]) -> list[str] | None:
    """The problems of a benchmark that all evaluations have; None where one of them has only a mean."""
    scores = [run.results[step][name] for run in runs for step in usable[id(run)]]
    known = [set(score.shares) for score in scores if score.shares is not None]
    if len(known) < len(scores):
        notes.append(
            f"{name}: only means are known, so pairs of answers to one problem cannot be compared. Without a standard "
            "error the intervals hold over seeds alone, on these problems."
        )
        return None
    common = set.intersection(*known)
    if not common:
        raise ValueError(f"The runs have no problem of {name} in common. Evaluate them on the same problems.")
    if any(len(each) > len(common) for each in known):
        notes.append(f"{name}: the runs were evaluated on different problems; the {len(common)} in common count.")
    return sorted(common)


def _grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by configuration, under the name that theirs have in common without the seed."""
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
        others = (f"{name} ({number})" for number in itertools.count(2))
        named[next(other for other in (name, *itertools.islice(others, len(groups))) if other not in named)] = members
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
            shares[seed][index] += [score.accuracy] if ids is None else [(score.shares or {})[one] for one in ids]
            if ids is None:  # a standard error of 0 is one that was not computed
                variance[index] += ((score.error or math.nan) / len(problems)) ** 2 / len(runs)
    sizes = [1 if ids is None else len(ids) for ids in problems.values()]
    half: list[bool] = []
    for benchmark, ids in problems.items():
        order = sorted(ids or [], key=lambda one: hashlib.sha256(f"{benchmark} {one}".encode()).digest())
        first = set(order[::2])
        half += [True] if ids is None else [one in first for one in ids]
    return Configuration(
        name=name,
        benchmarks=list(problems),
        runs=runs,
        steps=numpy.array(steps, dtype=float),
        seconds=numpy.array([[run.seconds_at(step) for step in steps] for run in runs]),
        shares=numpy.array(shares),
        blocks=numpy.repeat(numpy.arange(len(sizes)), sizes),
        means_only=numpy.array([ids is None for ids in problems.values()]),
        first_half=numpy.array(half),
        noise=numpy.sqrt(variance),
    )


def compare(runs: Sequence[Run], baseline: str | None = None, target: float | str | None = None) -> Found:
    """Everything that is told of runs, as plain data that JSON can hold.

    The baseline stands first. `baseline` names a configuration (the first that does not reweight); `target` is as in
    `manypaths.comparison.curves.rise_of`. ValueError for a name that is not there and a target that is none, for runs
    without results, and for runs that were evaluated on nothing in common.
    """
    found, notes = configurations(runs)
    if not found:
        raise ValueError(" ".join(["None of these runs has results to compare.", *notes]))
    names = [one.name for one in found]
    plain = [one.name for one in found if one.runs[0].settings.get("method.reweight", "") is None]
    baseline = baseline or (plain or names)[0]
    if baseline not in names:
        raise ValueError(f"No configuration is named {baseline!r}. There are: {', '.join(names)}.")
    base = found.pop(names.index(baseline))
    found.insert(0, base)
    return {
        "baseline": baseline,
        "target": {"accuracy": level_of(base, target), "rise": rise_of(target)},
        "benchmarks": base.benchmarks,
        "problems": int(base.estimates[0].sizes.sum()) or None,
        "configurations": [_told(one, base, target) for one in found],
        "notes": [*notes, *cautions(found, base)],
    }


def _told(one: Configuration, base: Configuration, target: float | str | None) -> Found:
    best, index = peak(one)
    curve = one.estimates
    told: Found = {
        "name": one.name,
        "runs": [run.name for run in one.runs],
        "seeds": [run.seed for run in one.runs],
        "model": _plain(one.runs[0].settings.get("model.name")),
        "differs": _differs(one, base),
        "curve": [
            {"step": step, "hours": _number(hours), **_bounds(each)}
            for step, hours, each in zip(one.steps.tolist(), one.seconds.mean(0) / 3600, curve, strict=True)
        ],
        "last": {"step": one.steps[-1], **_bounds(curve[-1]), "benchmarks": _each(one, -1)},
        "peak": {"step": one.steps[index], "hours": _number(one.seconds.mean(0)[index] / 3600), **_bounds(best)},
        "to_target": time_to_target(one, base, target),
        "seconds": _seconds(one),
        "metrics": _metrics(one),
    }
    told["peak"]["benchmarks"] = _each(one, index)
    if one is not base:
        theirs, other = peak(base)
        told["against"] = {
            "last": _bounds(curve[-1], base.estimates[-1]),
            "peak": _bounds(best, theirs),
            "peak_steps_saved": _saved(one.steps[index], base.steps[other]),
            "peak_hours_saved": _saved(one.seconds.mean(0)[index], base.seconds.mean(0)[other]),
        }
    return told


def _bounds(one: Estimate, other: Estimate | None = None) -> Found:
    low, high = interval(one, other)
    return {"accuracy": one.value - (other.value if other else 0.0), "low": _number(low), "high": _number(high)}


def _each(one: Configuration, index: int) -> Found:
    """Accuracy at a step, by benchmark."""
    mean = one.shares[:, index].mean(0)
    return {name: float(mean[one.blocks == number].mean()) for number, name in enumerate(one.benchmarks)}


def _saved(own: float, others: float) -> float | None:
    """Of a peak; None where one of them is before training."""
    return _number(1 - own / others) if own and others else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _seconds(one: Configuration) -> Found:
    """Mean seconds of a step, by part and in all; empty where nobody measured."""
    known = [run.parts for run in one.runs if run.parts]
    found = {part: _number(fmean(each.get(part, 0.0) for each in known)) for part in PARTS if known}
    whole = [run.clock[-1][1] / run.clock[-1][0] for run in one.runs if run.clock and run.clock[-1][0]]
    found["whole"] = _number(fmean(whole)) if whole else None
    return {part: value for part, value in found.items() if value is not None}


def _metrics(one: Configuration) -> dict[str, list[tuple[int, float, float, float]]]:
    """Curves of the training's own metrics: (step, mean, least, most of the seeds) at steps that all seeds have."""
    found = {}
    for key in shown_metrics(key for run in one.runs for key in run.curves):
        each = [dict(run.curves.get(key, ())) for run in one.runs]
        steps = sorted(set.intersection(*map(set, each)))
        rows = [(step, [values[step] for values in each]) for step in steps]
        if rows:
            found[key] = [(step, float(numpy.mean(row)), min(row), max(row)) for step, row in rows]
    return found


def _differs(one: Configuration, base: Configuration) -> dict[str, list[Any]]:
    """The settings that are not the baseline's: [own, the baseline's].

    Of a training beside results alone those that both can have.
    """
    own, others = ({key: _plain(value) for key, value in each.runs[0].settings.items()} for each in (one, base))
    keys = [key for key in {**others, **own} if own.get(key) != others.get(key)]
    if one.runs[0].trained != base.runs[0].trained:
        keys = [key for key in keys if key in own and key in others]
    return {key: [own.get(key), others.get(key)] for key in keys if own and others}


def _plain(value: Any) -> Any:
    """The value, or as a text what JSON has no word for: dates, infinity."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return str(value)
    return value
