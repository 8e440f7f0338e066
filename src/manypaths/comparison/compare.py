"""Comparison of configurations with a baseline: seeds are repetitions. No torch here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy

from manypaths.comparison.cautions import cautions, other_sampling
from manypaths.comparison.configurations import Configuration, Group, configured, grouped, measures_in_common
from manypaths.comparison.contents import LEAST_STEPS
from manypaths.comparison.curves import DRAWS, PEAK, level_of, peak, rise_of, time_to_target
from manypaths.comparison.differences import against, are_shared, bounds, finite, pair_up, scores
from manypaths.comparison.equal_accuracy import Path, at_equal_accuracy
from manypaths.comparison.protocol import Protocol, answer, check_margin
from manypaths.comparison.runs import Run
from manypaths.comparison.sentences import joined
from manypaths.comparison.verdicts import judge
from manypaths.counts import ACCURACY, AT_K
from manypaths.names import PARTS, shown_metrics
from manypaths.statistics import halves_correlation, interquartile_mean

Comparison = dict[str, Any]
FEWER_DRAWS = 1_000  # bootstrapped curves of measures that are neither the metric nor an endpoint


def compare(
    runs: Sequence[Run],
    baseline: str | None = None,
    target: float | str | None = None,
    *,
    metric: str = ACCURACY,
    margin: float | None = None,
    paired: bool | None = None,
    protocol: Protocol | None = None,
    left_out: Sequence[str] = (),
) -> Comparison:
    """Compare configurations with a baseline.

    Args:
        runs: What `manypaths.comparison.read.read` returned, or runs made otherwise.
        baseline: The name of a configuration; None is the first that does not reweight.
        target: The value of the metric to reach, as `manypaths.comparison.curves.rise_of` takes it. Every other measure
            has the same target if that is a share of the rise, else the peak of the baseline.
        metric: The measure (`manypaths.counts`) that the comparison is about.
        margin: The largest difference that does not matter, in points.
        paired: Whether differences are taken seed by seed, as `manypaths.comparison.differences.pair_up` takes it.
        protocol: What was decided before the runs; its settings are in the place of the others.
        left_out: A sentence for each path that could not be read.

    Returns:
        Plain data that JSON can hold: `baseline`, `metric`, `measures`, `targets`, `benchmarks`, `problems`, `margin`
        (a share), `correction`, `protocol`, `halves`, `configurations` with the baseline first, `notes`, `left_out`.

    Raises:
        ValueError: The baseline or the target does not exist, no run has results, the runs have no problems in common,
            or the margin is not above 0.
    """
    if protocol is not None:
        baseline, target, metric = protocol.baseline, protocol.target, protocol.metric
        margin, paired = protocol.margin, protocol.paired
    check_margin(margin)
    share = None if margin is None else margin / 100
    of_runs = grouped(runs, metric)
    notes = of_runs.notes
    if not of_runs.groups:
        reasons = joined([*of_runs.left_out, *notes])
        raise ValueError(" ".join(["None of these runs has results to compare.", *reasons]))
    groups = _baseline_first(of_runs.groups, baseline)
    wanted = [metric] if protocol is None else list(dict.fromkeys([metric, *protocol.metrics]))
    measures = _by_measure(groups, of_runs.benchmarks, wanted, notes)
    targets = {name: target if name == metric or rise_of(target) is not None else PEAK for name in measures}
    numbers = _numbers(measures, targets, wanted, paired, share)
    first = measures[metric]
    comparison = {
        "baseline": groups[0].name,
        "metric": metric,
        "measures": list(measures),
        "targets": {name: _target(own[0], targets[name]) for name, own in measures.items()},
        "benchmarks": of_runs.benchmarks,
        "problems": None if first[0].means_only.any() else len(first[0].blocks),
        "margin": share,
        "correction": "holm" if protocol is None else protocol.correction,
        "halves": _halves(first),
        "configurations": [
            _described(side, first[0]) | {"measures": {name: own[place] for name, own in numbers.items()}}
            for place, side in enumerate(first)
        ],
        "notes": list(
            dict.fromkeys([*notes, *_limits(measures, metric, share, paired), *_not_equal(measures, numbers, protocol)])
        ),
        "left_out": list(dict.fromkeys([*left_out, *of_runs.left_out])),
    }
    judge(comparison, None if protocol is None else protocol.arms)
    return comparison | {"protocol": None if protocol is None else answer(protocol, comparison)}


def _by_measure(
    groups: Sequence[Group], benchmarks: Sequence[str], wanted: Sequence[str], notes: list[str]
) -> dict[str, list[Configuration]]:
    """The configurations of each measure that all groups have, the wanted ones first; notes get what is left out."""
    names, only_some = measures_in_common(groups, benchmarks, wanted)
    notes += only_some
    measures = {}
    for name in names:
        measures[name], more = configured(groups, benchmarks, name)
        notes += more
    return measures


def _baseline_first(groups: Sequence[Group], baseline: str | None) -> list[Group]:
    """The groups with the baseline first: the named one, else the first that does not reweight."""
    plain = [group.name for group in groups if group.runs[0].settings.get("method.reweight", "") is None]
    names = [group.name for group in groups]
    name = baseline or (plain or names)[0]
    if name not in names:
        raise ValueError(f"No configuration is named {name!r}. There are: {', '.join(names)}.")
    return sorted(groups, key=lambda group: group.name != name)


def _numbers(
    measures: dict[str, list[Configuration]],
    targets: dict[str, float | str | None],
    wanted: Sequence[str],
    paired: bool | None,
    margin: float | None,
) -> dict[str, list[Comparison]]:
    """The numbers of each measure, of all configurations: with more draws for the wanted measures."""
    numbers = {
        name: [
            _compared(side, own[0], targets[name], paired, margin, DRAWS if name in wanted else FEWER_DRAWS)
            for side in own
        ]
        for name, own in measures.items()
    }
    for name in measures if ACCURACY in measures else ():
        if AT_K.fullmatch(name):
            _add_equal_accuracy(numbers[name], measures, name, paired)
    return numbers


def _limits(
    measures: dict[str, list[Configuration]], metric: str, margin: float | None, paired: bool | None
) -> list[str]:
    """Sentences about what limits a comparison: where its margin does not apply, cautions, and pairs of seeds."""
    notes = []
    if margin is not None and (others := [name for name, own in measures.items() if not own[0].measure.is_share]):
        notes.append(f"The margin is in points, so it does not apply to {', '.join(others)}.")
    return [*notes, *cautions(measures.values()), *_on_pairing(measures[metric], paired)]


def _on_pairing(configurations: Sequence[Configuration], wish: bool | None) -> list[str]:
    """Sentences about configurations that could not be paired as wished, or could be paired."""
    base, *others = configurations
    notes = []
    could = [side.name for side in others if are_shared(side, base) and not pair_up(side, base, wish)[2]]
    if could and wish is None:
        notes.append(
            f"{', '.join(could)}: the {base.unit}s are those of {base.name}. If runs of one {base.unit} have the same "
            f"order of data, --paired takes differences {base.unit} by {base.unit}."
        )
    for configuration in others if wish else ():
        own, _, is_paired = pair_up(configuration, base, wish)
        if not is_paired:
            units = f"{base.unit}s" if configuration.unit == base.unit else "seeds or starts"
            notes.append(f"{configuration.name} and {base.name} share fewer than two {units}, so they are not paired.")
        elif len(own.units) < max(len(configuration.units), len(base.units)):
            notes.append(
                f"{configuration.name} and {base.name} share {len(own.units)} {base.unit}s; differences and savings "
                "are of those alone."
            )
    return notes


def _halves(configurations: Sequence[Configuration]) -> Comparison | None:
    """The rank correlation of the configurations between halves of the benchmarks; None where there are too few."""
    if len(configurations) < 3 or len(configurations[0].benchmarks) < 4:
        return None
    halves = halves_correlation([scores(configuration).mean(0) for configuration in configurations])
    return {**halves._asdict()} if halves.splits else None


def _target(base: Configuration, target: float | str | None) -> Comparison:
    return {"value": level_of(base, target) * base.scale, "rise": rise_of(target)}


def _described(configuration: Configuration, base: Configuration) -> Comparison:
    """What a configuration is, and what its training was like."""
    return {
        "name": configuration.name,
        "runs": [run.name for run in configuration.runs],
        "seeds": [run.seed for run in configuration.runs],
        "model": _json_value(configuration.runs[0].settings.get("model.name")),
        "units": len(configuration.units),
        "unit": configuration.unit,
        "differs": _differences(configuration, base),
        "seconds": _seconds(configuration),
        "metrics": _metrics(configuration),
    }


def _compared(
    configuration: Configuration,
    base: Configuration,
    target: float | str | None,
    paired: bool | None,
    margin: float | None,
    draws: int,
) -> Comparison:
    """One measure of a configuration, and its differences to that of the baseline."""
    steps, hours, curve = configuration.steps.tolist(), configuration.seconds.mean(0) / 3600, configuration.estimates
    best, index = peak(configuration)
    scale, is_base = configuration.scale, configuration is base
    own, others, is_paired = (configuration, base, False) if is_base else pair_up(configuration, base, paired)
    compared: Comparison = {
        "curve": [
            {"step": step, "hours": finite(spent), **bounds(scale, mean)}
            for step, spent, mean in zip(steps, hours, curve, strict=True)
        ],
        "last": {"step": steps[-1], **bounds(scale, curve[-1]), "benchmarks": _by_benchmark(configuration, -1)},
        "peak": {
            "step": steps[index],
            "hours": finite(hours[index]),
            **bounds(scale, best),
            "held_out": configuration.is_held_out,
        },
        "to_target": time_to_target(own, others, target, is_paired, draws),
        "interquartile_mean": finite(scale * interquartile_mean(scores(configuration))),
    }
    if is_paired and len(own.units) < len(configuration.units):  # only the savings are of the units that both have
        compared["to_target"] |= {
            cost: reached
            for cost, reached in time_to_target(configuration, base, target, draws=draws).items()
            if not cost.endswith("_saved")
        }
    compared["peak"]["benchmarks"] = _by_benchmark(configuration, index)
    if not is_base:
        compared["against"] = against(configuration, base, paired, margin)
        compared["against"]["last"]["caution"] = other_sampling(configuration, base)
    return compared


def _add_equal_accuracy(
    compared: Sequence[Comparison], measures: dict[str, list[Configuration]], name: str, paired: bool | None
) -> None:
    """Add the difference at equal accuracy to those of every configuration but the baseline, in one measure."""
    base, *paths = (Path(*pair) for pair in zip(measures[ACCURACY], measures[name], strict=True))
    for numbers, path in zip(compared[1:], paths, strict=True):
        numbers["against"]["equal_accuracy"] = at_equal_accuracy(path, base, paired)


def _not_equal(
    measures: dict[str, list[Configuration]], numbers: dict[str, list[Comparison]], protocol: Protocol | None
) -> list[str]:
    """Why differences at equal accuracy are missing where a reader expects one: a path or a protocol has it."""
    is_planned = protocol is not None and any(
        endpoint.at == "equal-accuracy" for endpoint in (*protocol.primary, *protocol.secondary)
    )
    if not is_planned and all(len(side.steps) < LEAST_STEPS for own in measures.values() for side in own):
        return []
    items = [of["against"].get("equal_accuracy") for own in numbers.values() for of in own[1:]]
    return [item["reason"] for item in items if item and item["reason"]]


def _by_benchmark(configuration: Configuration, index: int) -> Comparison:
    """The measure by benchmark at the step of an index."""
    mean = configuration.values[:, index].mean(0) * configuration.scale
    names = enumerate(configuration.benchmarks)
    return {name: float(mean[configuration.blocks == number].mean()) for number, name in names}


def _seconds(configuration: Configuration) -> Comparison:
    """Mean seconds of a step, by part and as a whole; without those that no run measured."""
    measured = [run.parts for run in configuration.runs if run.parts]
    seconds = {part: finite(fmean(parts.get(part, 0.0) for parts in measured)) for part in PARTS if measured}
    whole = [run.clock[-1][1] / run.clock[-1][0] for run in configuration.runs if run.clock and run.clock[-1][0]]
    seconds["whole"] = finite(fmean(whole)) if whole else None
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
