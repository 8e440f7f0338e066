"""Curves of accuracy over training: peaks, steps and hours to a target, with their intervals.

A mean at one step and its interval are those of `manypaths.statistics`; what is no mean, such as steps to a target, has
the percentiles of curves that are moved about as far as seeds and problems move them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy
from numpy.typing import NDArray

from manypaths.comparison.runs import Run
from manypaths.statistics import (
    Array,
    Estimate,
    estimate,
    freedom_of,
    half_width,
    not_observed,
    problem_parts,
    seed_parts,
    variance_of,
)

DRAWS = 1000  # of the curves, for what is no mean: steps and hours to a target
PEAK = "peak-of-baseline"


@dataclass
class Configuration:
    """Runs that differ by their seed alone, as arrays: S seeds, T steps, P problems."""

    name: str
    benchmarks: list[str]
    runs: list[Run]
    steps: Array  # [T] at which all of them were evaluated
    seconds: Array  # [S, T] of training until then; NaN where nobody measured
    shares: Array  # [S, T, P] correct, of all benchmarks one after another
    blocks: NDArray[numpy.int64]  # [P] the benchmark of each problem, as a number
    means_only: NDArray[numpy.bool_]  # [B] the benchmarks of which no single problem is known
    first_half: NDArray[numpy.bool_]  # [P]
    noise: Array  # [T] standard error over problems of those benchmarks; NaN where one of them has none; else 0

    @property
    def weights(self) -> Array:
        """[P] of each problem, so that every benchmark counts the same; they add up to 1."""
        sizes = numpy.bincount(self.blocks)
        weights: Array = 1.0 / (sizes[self.blocks] * len(sizes))
        return weights

    @cached_property
    def estimates(self) -> list[Estimate]:
        """The mean over benchmarks at each of the T steps."""
        steps = zip(numpy.moveaxis(self.shares, 1, 0), self.noise.tolist(), strict=True)
        return [estimate(cells, self.blocks, self.means_only, noise) for cells, noise in steps]


def at(one: Configuration, index: int) -> Estimate:
    """The mean over benchmarks at one of its steps."""
    return one.estimates[index]


def peak(one: Configuration) -> tuple[Estimate, int]:
    """The best of its steps -> (accuracy there, index of the step that is best on all there is).

    A maximum flatters: it is the place where luck is. So each seed's answers to one half of the problems are read at
    the step that the other seeds' answers to the other half chose. One seed chooses for itself; problems of which only
    means are known cannot be halved, and there the maximum is as it is.
    """
    count, halves = len(one.shares), one.first_half
    whole = int(numpy.argmax(one.shares.mean(0) @ one.weights))
    if halves.all():
        return at(one, whole), whole
    cells = numpy.empty_like(one.shares[:, 0])
    for seed in range(count):
        others = one.shares[[s for s in range(count) if s != seed or count == 1]].mean(0)
        for half in (halves, ~halves):
            choice = int(numpy.argmax(others[:, ~half] @ one.weights[~half]))
            cells[seed, half] = one.shares[seed, choice, half]
    return estimate(cells, one.blocks, one.means_only, float(one.noise[whole])), whole


def rising(curves: Array) -> Array:
    """The curves [D, T] that never fall and are nearest to the given ones, by squares (isotonic regression).

    At t it is the greatest over a <= t of the least over b >= t of the mean from a to b.
    """
    sums = numpy.concatenate([numpy.zeros((len(curves), 1)), numpy.cumsum(curves, 1)], 1)
    found = numpy.full(curves.shape, -numpy.inf)
    for start in range(curves.shape[1]):
        means = (sums[:, start + 1 :] - sums[:, [start]]) / numpy.arange(1, curves.shape[1] - start + 1)
        least = numpy.minimum.accumulate(means[:, ::-1], 1)[:, ::-1]
        found[:, start:] = numpy.maximum(found[:, start:], least)
    return found


def arrival(curves: Array, steps: Array, target: Array, top: int) -> Array:
    """When each of the curves [D, T] reaches its target [D]: steps [D], infinite where it does not.

    A curve is first made to rise up to its highest point, at index `top`, so that one lucky evaluation is no arrival;
    between two evaluations it is a line.
    """
    curves = rising(curves[:, : top + 1])
    there = curves >= target[:, None] - 1e-12
    first = there.argmax(1)
    before, rows = numpy.maximum(first - 1, 0), numpy.arange(len(curves))
    low, high = curves[rows, before], curves[rows, first]
    part = numpy.where(first > before, (target - low) / numpy.where(high > low, high - low, 1.0), 0.0)
    found = steps[before] + part * (steps[first] - steps[before])
    return numpy.where(there.any(1), found, numpy.inf)


def rise_of(target: float | str | None) -> float | None:
    """The share of the baseline's rise, from its first evaluation to its peak, that a target stands for.

    1 for "peak-of-baseline" and None, 0.9 for "90%-of-rise"; None for an accuracy such as 0.70 or "70%". ValueError for
    what is none of these.
    """
    text = "100%-of-rise" if target in (None, PEAK) else str(target)
    number, percent, rest = text.removesuffix("-of-rise"), "%" in text, text.endswith("-of-rise")
    try:
        share = float(number.rstrip("%")) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise ValueError(
            f"A target is an accuracy such as 0.70 or 70%, {PEAK}, or a share of the baseline's rise to its peak such "
            f"as 90%-of-rise; given {target!r}."
        )
    return share if rest else None


def level_of(baseline: Configuration, target: float | str | None) -> float:
    """The accuracy that a target stands for; a baseline's peak is no more than its curve ever shows."""
    rise = rise_of(target)
    if rise is None:
        return float(str(target).rstrip("%")) / (100 if "%" in str(target) else 1)
    curve = baseline.shares.mean(0) @ baseline.weights
    return float((1 - rise) * curve[0] + rise * min(peak(baseline)[0].value, curve.max()))


def race(one: Configuration, baseline: Configuration, target: float | str | None = None) -> dict[str, Any]:
    """Steps and hours to the target, and how much less than the baseline, each with its interval.

    The interval is of `DRAWS` pairs of curves, moved about as far as seeds and problems move them (a bootstrap by
    multipliers, its spread widened to Student's t); both configurations of a pair see the same problems, and a target
    that is relative to the baseline moves with its curve. The spread of a configuration's own steps and hours has the
    degrees of freedom of its own curve, that of a saving those of the difference. None for what is not reached, and
    for an open bound.
    """
    draw, pair = numpy.random.default_rng(0), (one, baseline)
    tops = [int(numpy.argmax(each.shares.mean(0) @ each.weights)) for each in pair]
    shifts = _shifts(one, baseline, draw)
    level, rise = level_of(baseline, target), rise_of(target)

    def drawn(freedom: float) -> list[Array]:
        widened = numpy.sqrt(freedom / draw.chisquare(freedom, (DRAWS, 1)))
        return [_moved(each, widened * shift) for each, shift in zip(pair, shifts, strict=True)]

    def steps_to_target(curves: list[Array]) -> list[Array]:
        goals = numpy.full(DRAWS + 1, level)
        if rise:
            start, top = (curves[1][:, index] for index in (0, tops[1]))
            goals += (1 - rise) * (start - start[0]) + rise * (top - top[0])
        return [arrival(own, each.steps, goals, top) for own, each, top in zip(curves, pair, tops, strict=True)]

    alone = one is baseline or rise is None
    curves = drawn(_freedom(one, None if alone else baseline))
    steps = latest = steps_to_target(curves)[0]
    if one is baseline and rise:
        latest = _to_own_rise(curves[0], one.steps, rise)
    pace = _paces(one, draw)
    own, others, others_pace = steps, steps, pace
    if one is not baseline:
        own, others = steps_to_target(drawn(_freedom(one, baseline)))
        others_pace = _paces(baseline, draw)
    saved = _hours(one, own, pace), _hours(baseline, others, others_pace), baseline.seconds.mean(0)[-1] / 3600
    return {
        "steps": _told(steps, latest),
        "steps_saved": _saved(own, others, baseline.steps[-1]),
        "hours": _told(_hours(one, steps, pace), _hours(one, latest, pace)),
        "hours_saved": _saved(*saved),
    }


def _to_own_rise(curves: Array, steps: Array, rise: float) -> Array:
    """When each of the curves [D, T] has made a share of its rise to its own highest point: steps [D].

    Which step is the highest is itself uncertain where a curve is flat. A baseline may therefore reach a share of its
    rise as late as this.
    """
    top = curves.argmax(1)[:, None]
    flat = numpy.where(numpy.arange(len(steps)) > top, curves.max(1, keepdims=True), curves)
    return arrival(flat, steps, (1 - rise) * curves[:, 0] + rise * curves.max(1), len(steps) - 1)


def _saved(own: Array, others: Array, end: float) -> dict[str, float | None]:
    """1 - own / others; against others that never arrive it is more than 1 - own / end, and how much nobody knows."""
    with numpy.errstate(invalid="ignore", divide="ignore"):
        never = numpy.isinf(others)
        least = 1 - own / numpy.where(never, end, others)
        most = numpy.where(never & numpy.isfinite(own), 1.0, 1 - own / others)
    told = _told(least, most)
    return {**told, "value": None} if never[0] else told


def _freedom(one: Configuration, other: Configuration | None = None) -> float:
    """The degrees of freedom of a Student's t as wide as the intervals at the steps (at which both were evaluated)."""
    places: list[tuple[int, int]] = [(index, index) for index in range(len(one.steps))]
    if other is not None:
        theirs = {step: index for index, step in enumerate(other.steps)}
        places = [(index, theirs[step]) for index, step in enumerate(one.steps) if step in theirs]
    if not places:
        return min(_freedom(one), _freedom(other or one))
    widths = []
    for own, its in places:
        pair = at(one, own), None if other is None else at(other, its)
        parts = seed_parts(*pair) + problem_parts(*pair)
        spreads = {side: math.sqrt(variance_of(parts, side)[0]) for side in ("below", "above")}
        widths += [half_width(*pair, side) / spread for side, spread in spreads.items() if spread > 0]
    return freedom_of(float(numpy.median(widths))) if widths else 1.0


def _moved(one: Configuration, shifts: Array) -> Array:
    """Its curve, and below it the curve with each of the shifts: [1 + DRAWS, T]."""
    values: Array = (one.shares.mean(0) @ one.weights)[None]
    return numpy.concatenate([values, values + shifts])


def _shifts(one: Configuration, other: Configuration, draw: numpy.random.Generator) -> list[Array]:
    """How far seeds and problems move the curves of both, [DRAWS, T] each, as a normal distribution.

    Problems are common to both: what a step of one and the same step of the other have in common moves both alike.
    """
    pair = [one, other]
    curves = [each.estimates for each in pair]
    by_step = [dict(zip(each.steps, own, strict=True)) for each, own in zip(pair, curves, strict=True)]
    on_problems = draw.standard_normal((DRAWS, one.shares.shape[2]))
    shifts = []
    for side, each in enumerate(pair):
        count = len(each.runs)
        seeds = numpy.stack([own.seeds for own in curves[side]], 1) / math.sqrt(count * max(count - 1, 1))
        twins = [None if one is other else by_step[1 - side].get(step) for step in each.steps]
        steps = list(zip(curves[side], twins, strict=True))
        problems = numpy.stack([own.problems if twin is None else _apart(own, twin) for own, twin in steps], 1)
        parts = [not_observed(*step) for step in steps]
        below, above = (numpy.sqrt([variance_of(own, end)[0] for own in parts]) for end in ("below", "above"))
        extra = draw.standard_normal((DRAWS, 1))
        shift = draw.standard_normal((DRAWS, count)) @ seeds + on_problems @ problems
        shifts.append(shift + numpy.where(extra < 0, extra * below, extra * above))
    return shifts if one is not other else [shifts[0], shifts[0]]


def _apart(own: Estimate, twin: Estimate) -> Array:
    """[P] how the problems move one of two means: where they differ, less what is the seeds' doing."""
    middle, apart = (own.problems + twin.problems) / 2, (own.problems - twin.problems) / 2
    among, shared = float((4 * apart**2).sum()), float((own.shared + twin.shared).sum())
    several = min(len(own.seeds), len(twin.seeds)) > 1
    keep = math.sqrt(max(0.0, 1 - shared / among)) if among and several else 1.0
    moves: Array = middle + keep * apart
    return moves


def _paces(one: Configuration, draw: numpy.random.Generator) -> Array:
    """[DRAWS] factors of its time; the pace varies from seed to seed as it did."""
    count, last = len(one.runs), one.seconds[:, -1]
    pace = numpy.divide(last, last.mean(), out=numpy.ones(count), where=last.mean() > 0) - 1
    freedom = max(count - 1, 1)
    widened = numpy.sqrt(freedom / draw.chisquare(freedom, DRAWS))
    factors: Array = 1 + widened * (draw.standard_normal((DRAWS, count)) @ pace) / math.sqrt(count * freedom)
    return numpy.maximum(factors, 0.1)


def _hours(one: Configuration, steps: Array, paces: Array) -> Array:
    """Steps [1 + DRAWS] as hours of training."""
    hours: Array = numpy.interp(steps, one.steps, one.seconds.mean(0)) / 3600
    hours *= numpy.concatenate([[1.0], paces])
    return numpy.where(numpy.isfinite(steps), hours, numpy.inf)


def _told(least: Array, most: Array | None = None) -> dict[str, float | None]:
    """The first value, and the range of the middle 95 % of the others; None for what is not finite."""
    low, high = least[1:], (least if most is None else most)[1:]
    aside = int(0.025 * len(low))
    named = {
        "value": least[0],
        "low": numpy.sort(numpy.where(numpy.isnan(low), -numpy.inf, low))[aside],
        "high": numpy.sort(numpy.where(numpy.isnan(high), numpy.inf, high))[-1 - aside],
    }
    return {key: float(value) if math.isfinite(value) else None for key, value in named.items()}
