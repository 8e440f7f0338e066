"""Simulated training runs whose truth is known, for bench/comparison.py.

The chance of a right completion is a logistic function of a sum: the skill of the configuration, the luck of the run,
the ease of the problem, and the liking of the configuration (and of the run) for the problem. All but the skill are
normal with mean 0. The luck of a run has a part that all configurations share at the same seed; so has the luck of a
start, and the liking of a run for a problem. A right completion has one of three keys; the most frequent wrong answer
is the only wrong one.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy

from manypaths.counts import pass_at
from manypaths.statistics import average_clusters, estimate

K = 4  # of pass@4 and distinct@4
KEYS = numpy.array([0.6, 0.3, 0.1])  # how often a right completion has a key
POINTS = numpy.linspace(-8, 8, 161)  # of the normal distribution; so close that spreads up to 10 logits are integrated
MASS = numpy.exp(-(POINTS**2) / 2)
MEASURES = ("accuracy", f"pass@{K}", f"distinct@{K}", "majority")  # all from 0 to 1: distinct@K is divided by K


@dataclass(frozen=True)
class World:
    """What is common to the simulated comparisons of a row. Standard deviations are in logits."""

    name: str
    problems: tuple[int, ...] = (128,)  # of each benchmark
    samples: int = 8  # completions of a problem
    level: float = 0.6  # the expected accuracy of the baseline, in runs that do not collapse
    luck: float = 0.3  # standard deviation of the luck of a run
    correlation: float = 0.0  # of the luck of runs with the same seed, and of starts, between configurations
    start_luck: float = 0.0  # standard deviation of the luck of a start
    seeds_of_start: int = 1
    ease: float = 1.5  # standard deviation between problems
    liking: float = 0.4  # that of a configuration for a problem
    own_liking: float = 0.0  # that of a run for a problem
    seed_liking: float = 0.0  # that of all runs of a seed for a problem, as they begin with the same weights
    collapse: tuple[float, float] = (0.0, 0.0)  # the probability that a run of the baseline, or of an arm, collapses
    collapsed: float = -5.0  # the skill of a run that collapsed
    only: str = "problems"  # what was recorded: "problems", "means", "means with errors", or a plain "number"
    named: bool = True  # whether runs name their start


@dataclass(frozen=True)
class Arm:
    """A configuration: its accuracy minus the baseline's, and by what it multiplies a run's differences of problems.

    With a smaller stretch more problems are solved sometimes and fewer always, so pass@K rises at the same accuracy.
    """

    gap: float = 0.0
    stretch: float = 1.0
    is_base: bool = False


BASE = Arm(is_base=True)


def expected(measure, samples, chance):
    """The expected value of a measure for chances of a right completion, of any shape."""
    if measure == "accuracy":
        return chance
    if measure.startswith("pass@"):
        return 1 - (1 - chance) ** int(measure[5:])
    if measure == f"distinct@{K}":
        return (1 - (1 - chance[..., None] * KEYS) ** K).sum(-1) / K
    votes = numpy.arange(samples + 1)
    ways = numpy.array([math.comb(samples, count) for count in votes])
    likely = ways * chance[..., None] ** votes * (1 - chance[..., None]) ** (samples - votes)
    return likely @ majority(votes, samples)


def majority(right, samples):
    return (numpy.sign(2 * right - samples) + 1) / 2


def observed(measure, samples, by_key):
    """The values of a measure from counts of right completions by key [..., 3]."""
    right = by_key.sum(-1)
    if measure == "accuracy":
        return right / samples
    if measure == "majority":
        return majority(right, samples)
    k = int(measure.split("@")[1])
    table = numpy.array([pass_at(samples, count, k) for count in range(samples + 1)])
    return table[by_key].sum(-1) / k if measure.startswith("distinct") else table[right]


def mean_over(measure, samples, levels, spread):
    """The expected value at logits [...], plus a normal variable of standard deviation `spread`."""
    chance = 1 / (1 + numpy.exp(-(numpy.asarray(levels)[..., None] + spread * POINTS)))
    return expected(measure, samples, chance) @ MASS / MASS.sum()


def spread_of(world, arm):
    of_problems = (world.ease, world.own_liking, world.seed_liking)
    parts = (world.luck, world.start_luck, world.liking, *(arm.stretch * part for part in of_problems))
    return math.sqrt(sum(part**2 for part in parts))


@cache
def skill(world, arm):
    """The skill that gives an arm its expected accuracy."""
    grid = numpy.linspace(-8, 8, 3201)
    return float(numpy.interp(world.level + arm.gap, mean_over("accuracy", 1, grid, spread_of(world, arm)), grid))


@cache
def truth(world, arm, measure):
    """The expected value of a measure over all runs and problems that could be drawn."""
    if world.only == "number":
        return 10 * arm.gap
    levels = numpy.array([skill(world, arm), world.collapsed])
    rate = world.collapse[not arm.is_base]
    return float(mean_over(measure, world.samples, levels, spread_of(world, arm)) @ [1 - rate, rate])


def chances(world, seeds, arms, draw):
    """For the baseline and each arm: the chances of a right completion [S, P], and the levels [P] without luck.

    `seeds` is the number of starts if starts have several seeds.
    """
    count, size = seeds * world.seeds_of_start, sum(world.problems)
    ease = draw.normal(0, world.ease, size)
    by_seed, by_start = draw.standard_normal(count), draw.standard_normal(seeds)
    seed_liking = draw.normal(0, world.seed_liking, (count, size)) if world.seed_liking else 0.0
    together, apart = math.sqrt(world.correlation), math.sqrt(1 - world.correlation)
    for arm in (BASE, *arms):
        luck = world.luck * (together * by_seed + apart * draw.standard_normal(count))
        start = world.start_luck * (together * by_start + apart * draw.standard_normal(seeds))
        luck = luck + numpy.repeat(start, world.seeds_of_start)
        level = skill(world, arm) + arm.stretch * ease + draw.normal(0, world.liking, size)
        own_liking = world.own_liking * draw.standard_normal((count, size))
        logits = level + luck[:, None] + arm.stretch * (seed_liking + own_liking)
        collapsed = draw.random(count) < world.collapse[not arm.is_base]
        logits[collapsed] += world.collapsed - skill(world, arm)
        yield 1 / (1 + numpy.exp(-logits)), level


def drawn(world, seeds, arms, draw):
    """One comparison: counts by key [C, S, P, 3] of the baseline and the arms, and the levels [C, P] without luck."""
    counts, levels = [], []
    for chance, level in chances(world, seeds, arms, draw):
        by_key = numpy.concatenate([chance[..., None] * KEYS, 1 - chance[..., None]], -1)
        counts.append(draw.multinomial(world.samples, by_key)[..., :-1])
        levels.append(level)
    return numpy.stack(counts), numpy.stack(levels)


def blocks_of(world):
    return numpy.repeat(numpy.arange(len(world.problems)), world.problems)


def rows(world, cells):
    """Rows of runs [C, S, ...] -> of starts, if runs name theirs."""
    if world.seeds_of_start == 1 or not world.named:
        return cells
    starts = numpy.repeat(numpy.arange(cells.shape[1] // world.seeds_of_start), world.seeds_of_start).tolist()
    return numpy.stack([average_clusters(of_arm, starts)[0] for of_arm in cells])


def estimates(world, seeds, arms, draw, measures=("accuracy",)):
    """measure -> (the estimates of the baseline and of the arms, their true values)."""
    if world.only == "number":
        return {"number": _numbers(world, seeds, arms, draw)}
    counts, levels = drawn(world, seeds, arms, draw)
    blocks, result = blocks_of(world), {}
    weights = 1 / (numpy.array(world.problems)[blocks] * len(world.problems))
    for measure in measures:
        cells = rows(world, observed(measure, world.samples, counts))
        real = [truth(world, arm, measure) for arm in (BASE, *arms)]
        if world.only == "problems":
            result[measure] = [estimate(of_arm, blocks) for of_arm in cells], real
            continue
        errors = world.only == "means with errors"
        result[measure] = [_of_means(world, of_arm, blocks, errors) for of_arm in cells], real
        if not errors:  # the interval is for these problems only
            spread = math.hypot(world.luck, world.own_liking)
            real = [float(mean_over(measure, world.samples, level, spread) @ weights) for level in levels]
            result[measure] = result[measure][0], real
    return result


def _of_means(world, cells, blocks, errors):
    """The estimate of the means of benchmarks, with or without the standard errors that a file would have."""
    count, sizes = len(cells), world.problems
    means = numpy.stack([cells[:, blocks == block].mean(1) for block in range(len(sizes))], 1)
    error = math.nan
    if errors:
        of_runs = [cells[:, blocks == block].std(1, ddof=1) / math.sqrt(size) for block, size in enumerate(sizes)]
        error = math.sqrt(sum(((of_run / len(sizes)) ** 2).sum() / count for of_run in of_runs))
    return estimate(means, numpy.arange(len(sizes)), numpy.ones(len(sizes), bool), error)


def _numbers(world, seeds, arms, draw):
    """A logged reward of a run: any number, here around -3."""
    common = draw.standard_normal(seeds)
    together, apart = math.sqrt(world.correlation), math.sqrt(1 - world.correlation)
    sides = []
    for arm in (BASE, *arms):
        luck = together * common + apart * draw.standard_normal(seeds)
        cells = (-3 + truth(world, arm, "number") + luck)[:, None]
        sides.append(estimate(cells, None, numpy.ones(1, bool), math.nan, bounded=False))
    return sides, [-3 + truth(world, arm, "number") for arm in (BASE, *arms)]
