"""Comparison of configurations with a baseline: seeds are repetitions. No torch here."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy

from manypaths.comparison.cautions import cautions
from manypaths.comparison.configurations import Configuration, configured, grouped, measures_in_common
from manypaths.comparison.curves import PEAK, level_of, peak, rise_of, time_to_target
from manypaths.comparison.runs import Run
from manypaths.counts import ACCURACY
from manypaths.names import PARTS, shown_metrics
from manypaths.statistics import Estimate, interval

Comparison = dict[str, Any]


def compare(
    runs: Sequence[Run], baseline: str | None = None, target: float | str | None = None, metric: str = ACCURACY
) -> Comparison:
    """Compare configurations with a baseline.

    Args:
        runs: What `manypaths.comparison.read.read` returned, or runs made otherwise.
        baseline: The name of a configuration; None is the first that does not reweight.
        target: The value of the metric to reach, as `manypaths.comparison.curves.rise_of` takes it. Every other measure
            has the same target if that is a share of the rise, else the peak of the baseline.
        metric: The measure (`manypaths.counts`) that the comparison is about.

    Returns:
        Plain data that JSON can hold: `baseline`, `metric`, `measures`, `targets`, `benchmarks`, `problems`,
        `configurations` with the baseline first, and `notes`.

    Raises:
        ValueError: The baseline or the target does not exist, no run has results, or the runs have no problems in
            common.
    """
    groups, benchmarks, notes = grouped(runs, metric)
    if not groups:
        raise ValueError(" ".join(["None of these runs has results to compare.", *notes]))
    names = [group.name for group in groups]
    plain = [group.name for group in groups if group.runs[0].settings.get("method.reweight", "") is None]
    baseline = baseline or (plain or names)[0]
    if baseline not in names:
        raise ValueError(f"No configuration is named {baseline!r}. There are: {', '.join(names)}.")
    groups.insert(0, groups.pop(names.index(baseline)))
    others_target = PEAK if rise_of(target) is None else target
    measures, targets = {}, {}
    for name in measures_in_common(groups, benchmarks, metric):
        measures[name], more = configured(groups, benchmarks, name)
        notes += more
        targets[name] = target if name == metric else others_target
    first = measures[metric]
    return {
        "baseline": baseline,
        "metric": metric,
        "measures": list(measures),
        "targets": {name: _target(measures[name][0], targets[name]) for name in measures},
        "benchmarks": benchmarks,
        "problems": int(first[0].estimates[0].sizes.sum()) or None,
        "configurations": [
            _described(first[place], first[0])
            | {"measures": {name: _compared(own[place], own[0], targets[name]) for name, own in measures.items()}}
            for place in range(len(groups))
        ],
        "notes": list(dict.fromkeys([*notes, *cautions(first, first[0])])),
    }


def _target(base: Configuration, target: float | str | None) -> Comparison:
    return {"value": level_of(base, target) * base.scale, "rise": rise_of(target)}


def _described(configuration: Configuration, base: Configuration) -> Comparison:
    """What a configuration is, and what its training was like."""
    return {
        "name": configuration.name,
        "runs": [run.name for run in configuration.runs],
        "seeds": [run.seed for run in configuration.runs],
        "model": _json_value(configuration.runs[0].settings.get("model.name")),
        "differs": _differences(configuration, base),
        "seconds": _seconds(configuration),
        "metrics": _metrics(configuration),
    }


def _compared(configuration: Configuration, base: Configuration, target: float | str | None) -> Comparison:
    """One measure of a configuration, and its differences to that of the baseline."""
    steps, hours, curve = configuration.steps.tolist(), configuration.seconds.mean(0) / 3600, configuration.estimates
    best, index = peak(configuration)
    scale = configuration.scale
    compared: Comparison = {
        "curve": [
            {"step": step, "hours": _finite(spent), **_bounds(scale, mean)}
            for step, spent, mean in zip(steps, hours, curve, strict=True)
        ],
        "last": {"step": steps[-1], **_bounds(scale, curve[-1]), "benchmarks": _by_benchmark(configuration, -1)},
        "peak": {"step": steps[index], "hours": _finite(hours[index]), **_bounds(scale, best)},
        "to_target": time_to_target(configuration, base, target),
    }
    compared["peak"]["benchmarks"] = _by_benchmark(configuration, index)
    if configuration is not base:
        base_best, base_index = peak(base)
        compared["against"] = {
            "last": _bounds(scale, curve[-1], base.estimates[-1]),
            "peak": _bounds(scale, best, base_best),
            "peak_steps_saved": _saved(steps[index], base.steps[base_index]),
            "peak_hours_saved": _saved(configuration.seconds.mean(0)[index], base.seconds.mean(0)[base_index]),
        }
    return compared


def _bounds(scale: float, mean: Estimate, base: Estimate | None = None) -> Comparison:
    """A mean, or its difference to that of the baseline, with its interval, in the unit of the measure."""
    low, high = interval(mean, base)
    value = mean.value - (base.value if base else 0.0)
    return {"value": scale * value, "low": _finite(scale * low), "high": _finite(scale * high)}


def _by_benchmark(configuration: Configuration, index: int) -> Comparison:
    """The measure by benchmark at the step of an index."""
    mean = configuration.values[:, index].mean(0) * configuration.scale
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
