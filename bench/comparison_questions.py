"""Questions on the difference at the end, each measured on many simulated comparisons, for bench/comparison.py.

A question is a function of the number of a world, which gives 0 or 1 for what happened there (or a width); its mean
over worlds is the rate that is printed.
"""

import numpy
from comparison_worlds import BASE, Arm, World, drawn, estimates, truth

from manypaths.comparison.compare import compare
from manypaths.comparison.protocol import Protocol
from manypaths.comparison.runs import Run, Score
from manypaths.comparison.verdicts import ALPHA, corrected
from manypaths.counts import Counts
from manypaths.statistics import at_most_worse, detectable, interval, p_value, within

SEEDS = (3, 5, 10)
SMALL = (30, 30, 500)  # two small benchmarks beside a large one
SHARED = World("seeds share luck (correlation 0.6)", correlation=0.6)
STARTS = World("starts with 3 seeds each", seeds_of_start=3, start_luck=0.3, luck=0.2, correlation=0.6)
WORLDS = [
    *(World(f"luck of seeds, correlation {value}", correlation=value) for value in (0.0, 0.3, 0.6, 0.9)),
    World("runs like other problems", own_liking=0.5, correlation=0.6),
    STARTS,
    World("the same, starts not named", seeds_of_start=3, start_luck=0.3, luck=0.2, correlation=0.6, named=False),
    World("10 % of all runs collapse", collapse=(0.1, 0.1), correlation=0.6),
    World("20 % of all runs collapse", collapse=(0.2, 0.2), correlation=0.6),
    World("20 % of the arm's runs collapse", collapse=(0.0, 0.2), correlation=0.6),
    World("30 problems", problems=(30,)),
    World("30 problems, correlation 0.9", problems=(30,), correlation=0.9),
    World("30 problems, all liked alike", problems=(30,), liking=0.1, correlation=0.6),
    World("30 problems, one completion", problems=(30,), samples=1, correlation=0.6),
    World("benchmarks of 30, 30 and 500", problems=SMALL, correlation=0.6),
    World("90 % correct", level=0.9, correlation=0.6),
    World("means only", problems=SMALL, correlation=0.6, only="means"),
    World("means and standard errors", problems=SMALL, correlation=0.6, only="means with errors"),
    World("a plain number", correlation=0.6, only="number"),
]
PAIRINGS = {"unpaired": False, "paired": True}
LEVELS = (0.05, 0.0125, 0.00625, 0.0025)  # the last is that of Holm's first step over 20 arms
GAPS = {3: 0.12, 5: 0.08, 10: 0.05}  # seeds -> a difference that is shown in about half of the worlds


def random_of(number, seeds):
    return numpy.random.default_rng([number, seeds])


def coverage(number, world, seeds, measures=("accuracy",)):
    """Whether intervals hold the truth, 5 points, and whether a gain that they exclude is real."""
    result = {}
    for measure, (sides, real) in estimates(world, seeds, [Arm(0.05)], random_of(number, seeds), measures).items():
        low, high = interval(sides[0])
        result[measure, "own"] = low <= real[0] <= high
        for name, paired in PAIRINGS.items():
            low, high = interval(sides[1], sides[0], paired=paired)
            result[measure, name] = low <= real[1] - real[0] <= high
            result[measure, f"gain excluded, {name}"] = real[1] - real[0] > high
    return result


def pairing(number, world, seeds):
    """Widths with and without pairs, and whether a true difference is shown."""
    [(sides, _)] = estimates(world, seeds, [Arm(GAPS[seeds])], random_of(number, seeds)).values()
    result = {}
    for name, paired in PAIRINGS.items():
        low, high = interval(sides[1], sides[0], paired=paired)
        result |= {f"width, {name}": high - low, f"shown, {name}": low > 0, f"wrong, {name}": high < 0}
    return result


def arms(number, world, seeds, effects, paired):
    """Several arms with one baseline: false verdicts with Holm's correction and without, and whether the first is seen.

    An arm without an interval that excludes 0 has p above alpha, which no correction lowers.
    """
    [(sides, real)] = estimates(world, seeds, [Arm(gap) for gap in effects], random_of(number, seeds)).values()
    base, *others = sides
    intervals = [interval(side, base, paired=paired) for side in others]
    alone = [low > 0 or high < 0 for low, high in intervals]
    pairs = zip(others, alone, strict=True)
    p_values = [p_value(side, base, paired=paired) if excluded else 1.0 for side, excluded in pairs]
    after = [p is not None and p <= ALPHA for p in corrected(p_values)]
    false = [gap == 0 for gap in effects]
    excluded = [gap - real[0] > high for gap, (_, high) in zip(real[1:], intervals, strict=True)]
    return {
        "any false, uncorrected": any(numpy.logical_and(alone, false)),
        "any false": any(numpy.logical_and(after, false)),
        "shown, uncorrected": alone[0],
        "shown": after[0],
        "any gain excluded wrongly": any(excluded),
    }


def tail(number, world, seeds, paired):
    """Whether the p value of an arm without an effect is at most a level."""
    [(sides, _)] = estimates(world, seeds, [Arm()], random_of(number, seeds)).values()
    p = p_value(sides[1], sides[0], paired=paired)
    return {level: p <= level for level in LEVELS}


def margins(number, world, seeds, margin, gap):
    """Whether a difference is called equivalent, and at most worse, by a margin."""
    [(sides, _)] = estimates(world, seeds, [Arm(gap)], random_of(number, seeds)).values()
    result = {}
    for name, paired in PAIRINGS.items():
        result[f"equivalent, {name}"] = within(sides[1], sides[0], margin, paired=paired)
        result[f"at most worse, {name}"] = at_most_worse(sides[1], sides[0], margin, paired=paired)
    return result


def stated(number, world, seeds):
    """The difference that is said to be detectable with a power of 80 %."""
    [(sides, _)] = estimates(world, seeds, [Arm()], random_of(number, seeds)).values()
    return {name: detectable(sides[1], sides[0], paired=paired) for name, paired in PAIRINGS.items()}


def shown(number, world, seeds, gap, paired):
    """Whether a true difference is shown."""
    [(sides, _)] = estimates(world, seeds, [Arm(gap)], random_of(number, seeds)).values()
    return {"shown": interval(sides[1], sides[0], paired=paired)[0] > 0}


# A protocol, answered by `compare` from counts


def stretched(world, stretch, measure, change):
    """The arm that stretches the ease of problems and changes the expected value of a measure by `change`."""
    gaps = [number / 400 for number in range(-120, 121)]
    values = [truth(world, Arm(gap, stretch), measure) for gap in gaps]
    return Arm(float(numpy.interp(truth(world, BASE, measure) + change, values, gaps)), stretch)


def runs_of(world, seeds, others, draw):
    """One evaluation of each run: the baseline "base" and the arms "arm 1", "arm 2", ..."""
    counts, _ = drawn(world, seeds, others, draw)
    runs = []
    for place, of_arm in enumerate(counts.sum(-1)):
        name = f"arm {place}" if place else "base"
        for seed, right in enumerate(of_arm.tolist()):
            of_problems = {str(problem): Counts(world.samples, value) for problem, value in enumerate(right)}
            runs.append(Run(f"{name}-{seed}", name, seed, results={1: {"made-up": Score.of_counts(of_problems)}}))
    return runs


def protocol(number, world, seeds, others, paired, margin):
    """Whether an arm meets both primary endpoints: better at pass@8, and at most a margin worse in accuracy."""
    names = [f"arm {place}" for place in range(1, len(others) + 1)]
    primary = [{"metric": "pass@8", "claim": "better"}, {"metric": "accuracy", "claim": "not worse"}]
    plan = Protocol("bench", "base", names, primary, margin=100 * margin, paired=paired)
    comparison = compare(runs_of(world, seeds, others, random_of(number, seeds)), protocol=plan)
    met = [bool(comparison["protocol"]["arms"][name]["met"]) for name in names]
    better = [bool(comparison["protocol"]["primary"][0]["arms"][name]["met"]) for name in names]
    return {"any arm succeeds": any(met), "any better at pass@8": any(better)}
