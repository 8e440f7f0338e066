"""`Run`, the unit of a comparison, and how a run folder or a folder of results is read as one. No torch here."""

from __future__ import annotations

import bisect
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from manypaths import result_rows, results, run_folder
from manypaths.counts import ACCURACY, Counts, measures_of, value_of
from manypaths.names import PARTS, SECONDS, shown_metrics
from manypaths.printable import shown
from manypaths.result_rows import STEP_TIME, Row
from manypaths.yaml_text import canonical

SECONDS_LOGGED = frozenset(SECONDS.values())
# The settings of an evaluation that may change its accuracy.
SAMPLING = ("backend", "dtype", "prompt", "temperature", "top_p", "max_new_tokens", "limit")
RECORDED = ("samples", *SAMPLING, results.KEYS)  # the settings of an evaluation that `Score.sampling` has


@dataclass
class Score:
    """The results of one benchmark at one step: of each measure (`manypaths.counts`) a mean, and values by problem."""

    means: dict[str, float] = field(default_factory=dict)  # measure -> mean over problems, if only that was recorded
    errors: dict[str, float] = field(default_factory=dict)  # measure -> standard error of that mean, if recorded
    shares: dict[str, float] | None = None  # problem -> accuracy, where completions were not counted
    counts: dict[str, Counts] | None = None  # problem -> its completions
    sampling: dict[str, Any] = field(default_factory=dict)  # settings of the evaluation, `RECORDED`; empty if unknown

    @classmethod
    def of_mean(cls, value: float, error: float | None = None, measure: str = ACCURACY) -> Score:
        """The score of which only the mean was recorded, and perhaps its standard error over problems."""
        return cls({measure: value}, {} if error is None else {measure: error})

    @classmethod
    def of_shares(cls, shares: dict[str, float], sampling: dict[str, Any] | None = None) -> Score:
        """The score of shares of correct completions by problem."""
        return cls(shares=shares, sampling=sampling or {})

    @classmethod
    def of_counts(cls, counts: dict[str, Counts], sampling: dict[str, Any] | None = None) -> Score:
        """The score of counted completions by problem."""
        return cls(counts=counts, sampling=sampling or {})

    @property
    def measures(self) -> list[str]:
        """The names of the measures that it has."""
        names = measures_of(list(self.counts.values())) if self.counts else []
        names += [ACCURACY] * bool(self.shares)
        return list(dict.fromkeys([*names, *self.means]))

    def by_problem(self, measure: str) -> dict[str, float] | None:
        """The values of a measure by problem; None where only the mean was recorded, or nothing."""
        if self.counts:
            values = {problem: value_of(counts, measure) for problem, counts in self.counts.items()}
            return None if None in values.values() else cast("dict[str, float]", values)
        return self.shares if measure == ACCURACY else None

    def mean(self, measure: str) -> float | None:
        """The mean of a measure over the problems; None where it was not recorded."""
        values = self.by_problem(measure)
        return fmean(values.values()) if values else self.means.get(measure)


@dataclass
class Run:
    """One training run, or one set of results. Steps are optimiser steps; seconds are of training alone."""

    name: str
    group: str  # runs of one group differ by their seed alone
    seed: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)  # dotted recipe keys, without the seed and the cluster
    trained: bool = True  # False for results of a model alone, whose settings are those of the evaluation
    machine: str | None = None
    clock: list[tuple[int, float]] = field(default_factory=list)  # (step, seconds until then)
    parts: dict[str, float] = field(default_factory=dict)  # seconds of a step, by part of the step
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)  # metric -> (step, value)
    results: dict[int, dict[str, Score]] = field(default_factory=dict)  # step -> benchmark -> score
    notes: list[str] = field(default_factory=list)  # sentences for the reader of the comparison
    finished: bool | None = None  # None if nothing says whether the training came to its end
    folder: Path | None = field(default=None, compare=False)  # the run folder, also one of which only a row is left
    cluster: str | None = None  # the start that several seeds share, such as a model from one cold start

    def seconds_at(self, step: float) -> float:
        """Seconds of training until a step, interpolated between recorded steps; NaN beyond them."""
        clock = [(0, 0.0), *self.clock]
        place = bisect.bisect_left(clock, (step,))
        if place == len(clock) or not self.clock:
            return math.nan
        (before, early), (after, late) = clock[max(0, place - 1)], clock[place]
        return late if after == before else early + (late - early) * (step - before) / (after - before)


def read_run(folder: Path) -> Run:
    """Read a run folder, also of an unfinished run or of an earlier version.

    Raises:
        ValueError: A file is damaged.
    """
    return of_row(result_rows.of_folder(folder), folder)


def of_row(row: Row, folder: Path) -> Run:
    """The run of a row.

    Args:
        row: The row of a run folder; its recipe is not empty.
        folder: Where the run folder is, or would be if it were beside the file of the row.

    Raises:
        ValueError: The seed is no integer, or a share not from 0 to 1.
    """
    recipe = dict(row.recipe)
    seed, cluster = recipe.pop("seed", None), recipe.pop("cluster", None)
    if seed is not None and type(seed) is not int:
        raise ValueError(
            f"{str(folder)!r}: the seed of its recipe must be a whole number, got {shown(seed)}. Correct it."
        )
    settings = dict(flat(canonical(recipe)))
    if cluster is not None:
        settings.pop("model.name", None)  # the start, which the cluster names
    run = Run(row.name, json.dumps(settings, sort_keys=True, default=str), seed, settings)
    run.cluster = None if cluster is None else str(cluster)
    run.notes += [f"{run.name}: {note}" for note in row.notes]
    run.machine = _machine(row.environment)
    lines = {line["step"]: line for line in row.metrics}
    last = max(lines, default=0)
    if not row.script or any(SECONDS_LOGGED & line.keys() for line in lines.values()):
        _set_times(run, lines)
    else:
        _set_step_times(run, lines)
    run.curves = {
        name: [(step, line[name]) for step, line in lines.items() if _is_finite(line.get(name))]
        for name in shown_metrics(set().union(*lines.values()))
        if any(_is_finite(line.get(name)) for line in lines.values())
    }
    run.results = _results(row, folder / run_folder.EVALUATION)
    run.notes += _lacking(run)
    if row.script:
        run.notes.append(
            f"{run.name} was trained by a script: its reward functions are known by name, its data by size alone, so "
            "runs that differ there count as one configuration, unless their `settings` say so."
        )
    run.folder, run.finished = folder, row.finished
    if row.failed is not None:
        run.notes.append(failure_of(row))
    if not run.finished:
        planned = (recipe.get("trainer") or {}).get("max_steps")
        run.notes.append(f"{run.name} is not finished: {last} of {planned or '?'} steps.")
    if not run.results:
        run.notes.append(f"{run.name} has no evaluation yet, so no accuracy.")
    return run


def failure_of(row: Row) -> str:
    """A sentence on a run that failed; its row has `failed`."""
    code, last_line = (None, "") if row.failed is None else (row.failed.code, row.failed.last_line)
    line = last_line.removesuffix(".") or "none"
    return f"{row.name} failed (exit code {code}); the last line of its log: {line}."


def _set_times(run: Run, lines: dict[int, dict[str, Any]]) -> None:
    """Set the clock and the parts of a step; both stay empty if no seconds were logged, or some are no duration."""
    untimed = sum(SECONDS_LOGGED.isdisjoint(line) for line in lines.values())
    if 0 < untimed < len(lines):
        run.notes.append(f"{run.name}: times are left out, because {untimed} of its lines have no seconds.")
        return
    logged = [line[name] for line in lines.values() for name in SECONDS.values() if name in line]
    if not all(_is_finite(seconds) and seconds >= 0 for seconds in logged):
        run.notes.append(f"{run.name}: times are left out, because some of its seconds are below 0 or no numbers.")
        return
    total, sums = 0.0, dict.fromkeys(PARTS, 0.0)
    clock = []
    for step, seconds in run_folder.seconds_between(lines.values()):
        total += sum(seconds.values())
        sums = {part: sums[part] + seconds[part] for part in PARTS}
        clock.append((step, total))
    last = max(lines, default=0)
    if last and total:
        run.clock, run.parts = clock, {part: seconds / last for part, seconds in sums.items()}


def _set_step_times(run: Run, lines: dict[int, dict[str, Any]]) -> None:
    """Set the clock from the step_time of TRL's own trainers, the mean seconds of a step since the line before.

    It stays empty unless all lines have it, because the hours would be too few.
    """
    timed = {step: line[STEP_TIME] for step, line in sorted(lines.items()) if STEP_TIME in line}
    if timed and (len(timed) < len(lines) or not all(_is_finite(own) and own >= 0 for own in timed.values())):
        run.notes.append(f"{run.name}: times are left out, because some of its lines have no {STEP_TIME} in seconds.")
        return
    total, before = 0.0, 0
    for step, seconds in timed.items():
        total, before = total + (step - before) * seconds, step
        run.clock.append((step, total))
    if timed:
        run.notes.append(f"{run.name}: times are TRL's {STEP_TIME}, which excludes the optimiser.")


def _results(row: Row, folder: Path) -> dict[int, dict[str, Score]]:
    """The evaluations during the training, and the benchmarks that `manypaths evaluate` added to a step."""
    scores: dict[int, dict[str, Score]] = {}
    for own in row.evaluations:
        sampling = _sampling_of(row.recipe) if own.settings is None else own.settings
        scores[own.step] = {**scores.get(own.step, {}), **_scores(folder, own.sets, sampling)}
    return {step: benchmarks for step, benchmarks in sorted(scores.items()) if benchmarks}


def _sampling_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """The settings of the evaluations of an earlier version, which recorded them in the recipe only."""
    if not (evaluation := recipe.get("evaluation")):
        return {}
    settings = {"prompt": recipe.get("prompt"), "dtype": (recipe.get("model") or {}).get("dtype"), **evaluation}
    settings["limit"] = (evaluation.get("problems") or {}).get("limit")
    return {"backend": "transformers", **{key: settings[key] for key in RECORDED if key in settings}}


def read_evaluation(folder: Path) -> Run:
    """Read the results of `manypaths evaluate` as a run with the single step 0.

    Raises:
        ValueError: The folder belongs to a run, has no finished benchmark, or holds a damaged file.
    """
    if run_folder.is_evaluation(folder):
        raise ValueError(f"{str(folder)!r} is a part of a run. Give the run's folder, {str(folder.parent)!r}.")
    sampling = results.read_settings(folder)
    names = {"model": "model.name", "prompt": "prompt"}
    names |= {key: f"evaluation.{key}" for key in RECORDED if key != "prompt"}
    settings = {name: sampling[key] for key, name in names.items() if sampling.get(key) is not None}
    run = Run(result_rows.name_of(folder), str(folder.resolve()), None, settings, trained=False)
    run.results = {0: _benchmarks(folder, sampling)}
    run.notes += _lacking(run)
    if not run.results[0]:
        raise ValueError(f"{str(folder)!r} has no finished benchmark yet. Let `manypaths evaluate` finish one.")
    return run


def _benchmarks(folder: Path, sampling: dict[str, Any]) -> dict[str, Score]:
    return _scores(folder, results.read_counts(folder), sampling)


def _scores(folder: Path, benchmarks: dict[str, results.Counted], sampling: dict[str, Any]) -> dict[str, Score]:
    """The scores of benchmarks by name. Raises ValueError for a share that is not from 0 to 1."""
    settings = {key: sampling[key] for key in RECORDED if sampling.get(key) is not None}
    scores = {}
    for name, counted in benchmarks.items():
        counts = {problem: counts for problem, counts in counted.items() if isinstance(counts, Counts)}
        shares = {problem: share for problem, share in counted.items() if not isinstance(share, Counts)}
        for problem, share in shares.items():
            if not isinstance(share, (int, float)) or not 0 <= share <= 1:
                raise ValueError(
                    f"{str(folder)!r}: the share of correct samples must be from 0 to 1, got {share!r} for the problem "
                    f"{problem!r}. Evaluate again, or leave it out."
                )
        if counted:
            scores[name] = Score.of_counts(counts, settings) if counts else Score.of_shares(shares, settings)
    return scores


def _lacking(run: Run) -> list[str]:
    """Sentences on the measures of several samples that some evaluations of a run lack."""
    scores = [score for benchmarks in run.results.values() for score in benchmarks.values()]
    shares = sum(score.shares is not None and score.sampling.get("samples") != 1 for score in scores)
    several = [[own for own in (score.counts or {}).values() if own.samples > 1] for score in scores]
    unkeyed = sum(any(own.by_key is None for own in counts) for counts in several)
    gone = f"no pass@K, distinct@K and majority in {shares} of {len(scores)} evaluations, whose completions are gone"
    keyless = f"no distinct@K in {unkeyed} of {len(scores)} evaluations, which did not count by key"
    return [f"{run.name} has {note}." for note, count in ((gone, shares), (keyless, unkeyed)) if count]


def _machine(environment: dict[str, Any]) -> str | None:
    if not environment:
        return None
    gpus = [f"{count} x {name}" for name, count in Counter(environment.get("gpus") or []).items()]
    cpu = f"{environment['cpu']}, " if environment.get("cpu") else ""
    threads = f"{environment.get('cores', '?')} cores, {environment.get('threads', '?')} threads"
    return ", ".join(gpus) or cpu + threads


def flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as (dotted key, value)."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
