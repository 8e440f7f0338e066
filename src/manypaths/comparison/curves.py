"""Curves of a measure over training: peaks, and the steps and hours to a target, with their intervals.

The intervals are those of `manypaths.statistics`: of a mean at a step, and of bootstrapped curves for other quantities,
such as the steps to a target.
"""

from __future__ import annotations

import math

import numpy

from manypaths.comparison.configurations import Configuration
from manypaths.statistics import (
    Array,
    Estimate,
    bootstrap_curves,
    bootstrap_paces,
    curve_freedom,
    curve_shifts,
    estimate,
    percentile_interval,
    percentile_p,
)

PEAK = "peak-of-baseline"
DRAWS = 10_000  # bootstrapped curves: with 1,000 the ends of an interval hang on the draws, and so may a verdict


def peak(configuration: Configuration) -> tuple[Estimate, int]:
    """The best of the steps of a configuration.

    The maximum of noisy estimates is biased upwards. Therefore the choice of a step is cross-fitted over seeds and
    halves of the problems: the shares of each seed on one half are read at the step that is best for the other seeds on
    the other half. A single seed chooses for itself. Benchmarks of which only means were recorded cannot be halved; if
    there are no others, the maximum is returned as it is.

    Returns:
        The accuracy at the peak, and the index of the step that is best by all seeds and problems.
    """
    values, weights, first = configuration.values, configuration.weights, configuration.first_half
    count, best = len(values), int(numpy.argmax(configuration.means))
    if first.all():
        return configuration.estimates[best], best
    cells = numpy.empty_like(values[:, 0])
    for seed in range(count):
        others = values[[other for other in range(count) if other != seed or count == 1]].mean(0)
        for half in (first, ~first):
            choice = int(numpy.argmax(others[:, ~half] @ weights[~half]))
            cells[seed, half] = values[seed, choice, half]
    noise = float(configuration.noise[best])
    return estimate(cells, configuration.blocks, configuration.means_only, noise), best


def isotonic(curves: Array) -> Array:
    """Isotonic regression: the non-decreasing curves nearest to the given ones by least squares, [D, T] -> [D, T].

    The value at t is the greatest over a <= t of the least over b >= t of the mean from a to b.
    """
    sums = numpy.concatenate([numpy.zeros((len(curves), 1)), numpy.cumsum(curves, 1)], 1)
    fitted = numpy.full(curves.shape, -numpy.inf)
    for start in range(curves.shape[1]):
        means = (sums[:, start + 1 :] - sums[:, [start]]) / numpy.arange(1, curves.shape[1] - start + 1)
        least = numpy.minimum.accumulate(means[:, ::-1], 1)[:, ::-1]
        fitted[:, start:] = numpy.maximum(fitted[:, start:], least)
    return fitted


def steps_to_target(curves: Array, steps: Array, targets: Array, top: int) -> Array:
    """The step at which each curve first reaches its target, on lines between the evaluations.

    Args:
        curves: [D, T] accuracies; their isotonic regression up to `top` counts, so that one lucky evaluation does not
            reach a target.
        steps: [T] of the evaluations.
        targets: [D] accuracies.
        top: Index of the highest evaluation.

    Returns:
        [D] steps; infinite where the target is not reached.
    """
    curves = isotonic(curves[:, : top + 1])
    reached = curves >= targets[:, None] - 1e-12
    first = reached.argmax(1)
    before, rows = numpy.maximum(first - 1, 0), numpy.arange(len(curves))
    low, high = curves[rows, before], curves[rows, first]
    part = numpy.where(first > before, (targets - low) / numpy.where(high > low, high - low, 1.0), 0.0)
    crossing = steps[before] + part * (steps[first] - steps[before])
    return numpy.where(reached.any(1), crossing, numpy.inf)


def rise_of(target: float | str | None) -> float | None:
    """The share of the baseline's rise, from its first evaluation to its peak, that a target stands for.

    Args:
        target: An accuracy such as 0.70 or "70%"; "peak-of-baseline" or None; a share of the rise, "90%-of-rise".

    Returns:
        1 for the peak, 0.9 for "90%-of-rise"; None for an accuracy.

    Raises:
        ValueError: The target is none of these.
    """
    text = "100%-of-rise" if target in (None, PEAK) else str(target)
    number, percent, relative = text.removesuffix("-of-rise"), "%" in text, text.endswith("-of-rise")
    try:
        share = float(number.rstrip("%")) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise ValueError(
            f"A target must be an accuracy such as 0.70 or 70%, {PEAK}, or a share of the baseline's rise to its peak "
            f"such as 90%-of-rise, got {target!r}."
        )
    return share if relative else None


def level_of(baseline: Configuration, target: float | str | None) -> float:
    """The value that a target stands for; that of the baseline's peak is at most the highest value of its curve.

    Of a single run of which only means were recorded, the highest evaluation is the luckiest of many, which that run
    reaches by definition. There the highest value of the curve's isotonic regression counts.
    """
    rise = rise_of(target)
    if rise is None:
        return float(str(target).rstrip("%")) / (100 if "%" in str(target) else 1) / baseline.scale
    curve = baseline.means
    top = min(peak(baseline)[0].value, curve.max())
    if baseline.first_half.all() and len(baseline.values) == 1:
        top = isotonic(curve[None])[0, -1]
    return float((1 - rise) * curve[0] + rise * top)


def time_to_target(
    configuration: Configuration,
    baseline: Configuration,
    target: float | str | None = None,
    paired: bool = False,
    draws: int = DRAWS,
) -> dict[str, dict[str, float | None]]:
    """Steps and hours to the target, and the share of them that is saved against the baseline.

    The intervals are percentiles of bootstrapped curves. In each draw both configurations have the same problems, and a
    target that is relative to the baseline moves with the baseline's curve. Steps and hours of a configuration have the
    degrees of freedom of its own curve, savings those of the difference.

    Args:
        paired: Whether unit s of both is the same seed or start, which then moves both curves alike.
        draws: The number of bootstrapped curves.

    Returns:
        `steps`, `steps_saved`, `hours` and `hours_saved`, each with `value`, `low` and `high`; None for a value that is
        not reached, and for an unbounded end. Savings also have `p`, that of no saving; None where no times are.
    """
    random, pair = numpy.random.default_rng(0), (configuration, baseline)
    values = [side.means for side in pair]
    tops = [int(numpy.argmax(curve)) for curve in values]
    shifts = curve_shifts(configuration.curve, baseline.curve, random, paired=paired, draws=draws)
    level, rise = level_of(baseline, target), rise_of(target)
    is_baseline = configuration is baseline

    def draw(other: Configuration | None) -> list[Array]:
        curve = None if other is None else other.curve
        freedom = curve_freedom(configuration.curve, curve, paired=paired and other is not None)
        return bootstrap_curves(values, shifts, freedom, random)

    def steps_of(curves: list[Array]) -> list[Array]:
        goals = numpy.full(draws + 1, level)
        if rise:
            start, top = (curves[1][:, index] for index in (0, tops[1]))
            goals += (1 - rise) * (start - start[0]) + rise * (top - top[0])
        sides = zip(curves, pair, tops, strict=True)
        return [steps_to_target(curve, side.steps, goals, top) for curve, side, top in sides]

    curves = draw(None if is_baseline or rise is None else baseline)
    steps = latest = steps_of(curves)[0]
    if is_baseline and rise:
        latest = _steps_to_own_rise(curves[0], configuration.steps, rise)
    pace, others_pace = _paces(configuration, baseline, paired or is_baseline, random, draws)
    own, others = (steps, steps) if is_baseline else steps_of(draw(baseline))
    hours, others_hours = _hours(configuration, own, pace), _hours(baseline, others, others_pace)
    return {
        "steps": percentile_interval(steps, latest),
        "steps_saved": _saved(own, others, baseline.steps[-1]),
        "hours": percentile_interval(_hours(configuration, steps, pace), _hours(configuration, latest, pace)),
        "hours_saved": _saved(hours, others_hours, baseline.seconds.mean(0)[-1] / 3600),
    }


def _steps_to_own_rise(curves: Array, steps: Array, rise: float) -> Array:
    """When each curve has made a share of the rise to its own highest point: [D, T] -> steps [D].

    Which step is the highest is uncertain where a curve is flat. A baseline may therefore reach a share of its rise as
    late as this.
    """
    top = curves.argmax(1)[:, None]
    flat = numpy.where(numpy.arange(len(steps)) > top, curves.max(1, keepdims=True), curves)
    return steps_to_target(flat, steps, (1 - rise) * curves[:, 0] + rise * curves.max(1), len(steps) - 1)


def _saved(own: Array, others: Array, end: float) -> dict[str, float | None]:
    """1 - own / others; where the others never reach the target, anything from 1 - own / end to 1."""
    with numpy.errstate(invalid="ignore", divide="ignore"):
        never = numpy.isinf(others)
        least = 1 - own / numpy.where(never, end, others)
        most = numpy.where(never & numpy.isfinite(own), 1.0, 1 - own / others)
        is_measured = not (math.isnan(end) or numpy.isnan(own).all() or numpy.isnan(others).all())
        saved = percentile_interval(least, most) | {"p": percentile_p(least, most) if is_measured else None}
    return {**saved, "value": None} if never[0] else saved


def _paces(
    configuration: Configuration, baseline: Configuration, paired: bool, random: numpy.random.Generator, draws: int
) -> list[Array]:
    """[D] factors of the seconds of each; unit s moves both alike if they are paired."""
    seconds = [side.seconds[:, -1] for side in (configuration, baseline)]
    if paired:
        return list(bootstrap_paces(numpy.stack(seconds), random, draws=draws))
    return [bootstrap_paces(of_units, random, draws=draws) for of_units in seconds]


def _hours(configuration: Configuration, steps: Array, paces: Array) -> Array:
    """Steps [1 + D] as hours of training."""
    hours: Array = numpy.interp(steps, configuration.steps, configuration.seconds.mean(0)) / 3600
    hours *= numpy.concatenate([[1.0], paces])
    return numpy.where(numpy.isfinite(steps), hours, numpy.inf)
