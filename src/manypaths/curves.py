"""Curves of accuracy, and what can be said of them: means, peaks, steps to a target, each with its interval.

The answers to problem p in seed s at one step are y[s, p], the share of samples that are correct. Seeds and problems
are both drawn from more of their kind, so a mean over them varies with both: its variance is the one between seeds plus
the one between problems, less the part that both hold (two-way analysis of variance). All runs answer the same
problems, so between two configurations only the difference on each problem counts. Intervals hold 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from manypaths.metrics import wilson_interval
from manypaths.runs import Run

Array = NDArray[numpy.float64]
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
    blocks: Array  # [P] the benchmark of each problem, as a number
    first_half: NDArray[numpy.bool_]  # [P]
    noise: Array  # [T] standard error over problems, where only means are known; else 0

    @property
    def weights(self) -> Array:
        """[P] of each problem, so that every benchmark counts the same; they add up to 1."""
        sizes = numpy.bincount(self.blocks.astype(int))
        each: Array = 1.0 / (sizes[self.blocks.astype(int)] * len(sizes))
        return each


@dataclass
class Estimate:
    """A mean over seeds and problems, in the parts that its interval needs."""

    value: float
    seeds: Array  # [S] distance of each seed from it
    problems: Array  # [P] what each problem adds to the distance from it
    shared: float  # variance that both of them hold
    known: int  # how many problems are known one by one
    noise: float = 0.0  # variance over problems that is not in `problems`


def estimate(cells: Array, weights: Array, blocks: Array, noise: float = 0.0) -> Estimate:
    """The weighted mean of cells [S, P], and how it varies over seeds and, within blocks, over problems."""
    value = cells.mean(0) @ weights
    seeds = cells @ weights - value
    inside = cells - _block_means(cells, blocks)
    sizes = numpy.bincount(blocks.astype(int))[blocks.astype(int)]
    widen = numpy.sqrt(sizes / numpy.maximum(sizes - 1, 1))
    problems = inside.mean(0) * weights * widen
    both = (inside - inside.mean(0)) * weights * widen
    count = len(cells)
    shared = float((both**2).sum() / (count * max(count - 1, 1)))
    return Estimate(float(value), seeds, problems, shared, int((sizes > 1).sum()), noise**2)


def _block_means(cells: Array, blocks: Array) -> Array:
    """[S, P]: in place of each cell the mean of its seed over its block."""
    means = numpy.empty_like(cells)
    for block in numpy.unique(blocks):
        own = blocks == block
        means[:, own] = cells[:, own].mean(1, keepdims=True)
    return means


def interval(one: Estimate, other: Estimate | None = None) -> tuple[float, float]:
    """95 % interval of an estimate, or of one less the other on the same problems: mean -+ t * standard error.

    The degrees of freedom are Satterthwaite's. With one seed on a side it says nothing of seeds. Where all answers are
    right, or wrong, it is Wilson's over problems; NaN where neither seeds nor problems are known.
    """
    pair = [one] if other is None else [one, other]
    value = one.value - (other.value if other else 0.0)
    if any(_silent(each) for each in pair):
        return math.nan, math.nan
    variance, freedom = variance_of(pair)
    if other is None and variance < 1e-20 and one.known:
        return wilson_interval(value, one.known)
    half = student(freedom) * math.sqrt(variance)
    return value - half, value + half


def _silent(one: Estimate) -> bool:
    """Whether nothing is known of how it would vary."""
    return len(one.seeds) == 1 and not one.known and not one.noise


def variance_of(pair: Sequence[Estimate]) -> tuple[float, float]:
    """Of an estimate, or of the difference of two on the same problems: (variance, degrees of freedom)."""
    parts = []
    for each in pair:
        if (count := len(each.seeds)) > 1:
            parts.append((float((each.seeds**2).sum()) / (count * (count - 1)), count - 1))
    problems = pair[0].problems - (pair[1].problems if len(pair) > 1 else 0.0)
    among = float((problems**2).sum())
    shared = sum(each.shared for each in pair if len(each.seeds) > 1)
    parts.append((max(0.0, among - shared), max(1, len(problems) - 1)))
    parts.append((sum(each.noise for each in pair), 1000))  # told by others, of many problems
    variance = sum(part for part, _ in parts)
    below = sum(part**2 / freedom for part, freedom in parts)
    return variance, variance**2 / below if below else 1.0


def student(freedom: float) -> float:
    """The t that a Student's t of so many degrees of freedom exceeds, in size, in 5 % of cases.

    With t = sqrt(freedom) * tan(angle), P(|T| < t) is the integral of cos(angle)^(freedom - 1), up to a constant.
    """
    freedom = min(freedom, 1000.0)
    angle = numpy.linspace(0, math.pi / 2, 20001)
    density = numpy.cos(angle) ** (freedom - 1)
    within = numpy.concatenate([[0.0], numpy.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(numpy.interp(0.95, within / within[-1], angle)))


def at(one: Configuration, index: int) -> Estimate:
    """The mean over benchmarks at one of its steps."""
    return estimate(one.shares[:, index], one.weights, one.blocks, float(one.noise[index]))


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
    return estimate(cells, one.weights, one.blocks), whole


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
    that is relative to the baseline moves with its curve. None for what is not reached, and for an open bound.
    """
    draw = numpy.random.default_rng(0)
    tops = [int(numpy.argmax(each.shares.mean(0) @ each.weights)) for each in (one, baseline)]
    drawn = _drawn(one, baseline, draw)
    goals = numpy.full(DRAWS + 1, level_of(baseline, target))
    if rise := rise_of(target):
        start, top = (drawn[1][:, index] for index in (0, tops[1]))
        goals += (1 - rise) * (start - start[0]) + rise * (top - top[0])
    found: dict[str, Any] = {}
    steps = [
        arrival(curves, each.steps, goals, top) for curves, each, top in zip(drawn, (one, baseline), tops, strict=True)
    ]
    hours = [_hours(each, own, draw) for each, own in zip((one, baseline), steps, strict=True)]
    ends = (baseline.steps[-1], baseline.seconds.mean(0)[-1] / 3600)
    for unit, (own, others), end in zip(("steps", "hours"), (steps, hours), ends, strict=True):
        found[unit] = _told(own)
        found[f"{unit}_saved"] = _saved(own, others, end)
    return found


def _saved(own: Array, others: Array, end: float) -> dict[str, float | None]:
    """1 - own / others; against others that never arrive it is more than 1 - own / end, and how much nobody knows."""
    with numpy.errstate(invalid="ignore", divide="ignore"):
        never = numpy.isinf(others)
        least = 1 - own / numpy.where(never, end, others)
        most = numpy.where(never & numpy.isfinite(own), 1.0, 1 - own / others)
    told = _told(least, most)
    return {**told, "value": None} if never[0] else told


def _drawn(one: Configuration, other: Configuration, draw: numpy.random.Generator) -> list[Array]:
    """Curves [1 + DRAWS, T] of both, the first as they are, the others moved."""
    pair = [one, other]
    parts = [[at(each, index) for index in range(len(each.steps))] for each in pair]
    known = [dict(zip(each.steps, own, strict=True)) for each, own in zip(pair, parts, strict=True)]
    moves: list[list[Array]] = [[], []]
    freedom = []
    for side in (0, 1):
        for step, part in known[side].items():
            twin = known[1 - side].get(step)
            if twin is None or one is other:
                moves[side].append(part.problems)
                continue
            freedom.append(variance_of([part, twin])[1])
            middle, apart = (part.problems + twin.problems) / 2, (part.problems - twin.problems) / 2
            among, shared = float((4 * apart**2).sum()), part.shared + twin.shared
            keep = math.sqrt(max(0.0, 1 - shared / among)) if among and min(map(len, (one.runs, other.runs))) > 1 else 1
            moves[side].append(middle + keep * apart)
    degrees = max(1.0, float(numpy.median(freedom))) if freedom else 100.0
    tails = numpy.sqrt(degrees / draw.chisquare(degrees, (DRAWS, 1)))
    on_problems = draw.standard_normal((DRAWS, one.shares.shape[2]))
    found = []
    for each, own, move in zip(pair, parts, moves, strict=True):
        count = len(each.runs)
        values = numpy.array([part.value for part in own])
        residuals = numpy.stack([part.seeds for part in own], 1) / math.sqrt(count * max(count - 1, 1))
        shift = draw.standard_normal((DRAWS, count)) @ residuals + on_problems @ numpy.stack(move, 1)
        shift += draw.standard_normal((DRAWS, 1)) * each.noise
        shift += math.nan if _silent(own[-1]) else 0.0
        found.append(numpy.concatenate([values[None], values + tails * shift]))
    return found if one is not other else [found[0], found[0]]


def _hours(one: Configuration, steps: Array, draw: numpy.random.Generator) -> Array:
    """Steps [1 + DRAWS] as hours of training; the pace varies from seed to seed as it did."""
    count, last = len(one.runs), one.seconds[:, -1]
    pace = numpy.divide(last, last.mean(), out=numpy.ones(count), where=last.mean() > 0) - 1
    scale = 1 + draw.standard_normal((len(steps) - 1, count)) @ pace / math.sqrt(count * max(count - 1, 1))
    hours: Array = numpy.interp(steps, one.steps, one.seconds.mean(0)) / 3600
    hours *= numpy.concatenate([[1.0], numpy.maximum(scale, 0.1)])
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
