"""How often the intervals of `manypaths compare` are right, on made-up runs whose truth is known.

    python bench/comparison.py [--worlds 400]

A world has two configurations of a few seeds, 128 problems, 4 samples each, 11 evaluations. The chance of a right
sample is a logistic function of skill, which rises with the steps towards a plateau, plus luck of the seed, ease of the
problem, and a liking of the configuration for the problem, all normal. The second configuration learns alike, or 30 %
faster at 30 % fewer seconds a step. An interval of 95 % should hold the truth in 95 % of the worlds, and "no difference
shown" should be the answer in 95 % of those without a difference. Of one seed the intervals hold problems alone;
`manypaths compare` says so and shows nothing by them.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy

from manypaths.compare import configurations
from manypaths.curves import at, interval, peak, race
from manypaths.runs import Run, Score

STEPS = numpy.arange(0, 101, 10)
PROBLEMS, SAMPLES = 128, 4
SEED_LUCK, EASE, LIKING = 0.3, 1.5, 0.4  # standard deviations, in logits
POINTS, MASS = numpy.polynomial.hermite_e.hermegauss(60)


def skill(steps, pace):
    return -1.5 + 3.0 * (1 - numpy.exp(-steps / pace))


def truth(level):
    """The expected accuracy at a skill: the mean over seeds, problems and likings."""
    spread = numpy.sqrt(SEED_LUCK**2 + EASE**2 + LIKING**2)
    return (MASS / MASS.sum() / (1 + numpy.exp(-(numpy.asarray(level)[..., None] + spread * POINTS)))).sum(-1)


def world(number, seeds, pace):
    """Two configurations: the baseline has pace 40."""
    draw = numpy.random.default_rng([number, seeds, int(10 * pace)])
    ease = draw.normal(0, EASE, PROBLEMS)
    runs = []
    for name, own in (("base", 40.0), ("new", pace)):
        liking = draw.normal(0, LIKING, PROBLEMS)
        for seed in range(seeds):
            level = skill(STEPS, own)[:, None] + draw.normal(0, SEED_LUCK) + ease + liking
            shares = draw.binomial(SAMPLES, 1 / (1 + numpy.exp(-level))) / SAMPLES
            results = {
                int(step): {"made-up": Score(row.mean(), {str(p): share for p, share in enumerate(row)})}
                for step, row in zip(STEPS, shares, strict=True)
            }
            clock = [(int(step), float(step) * own) for step in STEPS[1:]]
            runs.append(Run(f"{name}-{seed}", name, seed, clock=clock, results=results))
    return configurations(runs)[0]


def answers(number, seeds, pace):
    """quantity -> (truth, found, low, high); savings are shares."""
    base, new = world(number, seeds, pace)
    last = len(STEPS) - 1
    found = {}
    for name, (one, other), real in (
        ("accuracy at the end", (at(new, last), None), truth(skill(100, pace))),
        ("difference at the end", (at(new, last), at(base, last)), truth(skill(100, pace)) - truth(skill(100, 40))),
    ):
        value = one.value - (other.value if other else 0)
        found[name] = (float(real), value, *interval(one, other))
    best, _ = peak(base)
    found["peak of the baseline"] = (float(truth(skill(100, 40))), best.value, *interval(best))
    naive = at(base, int(numpy.argmax(base.shares.mean(0) @ base.weights)))
    found["peak, chosen where it is read"] = (float(truth(skill(100, 40))), naive.value, *interval(naive))
    for target in ("50%", "90%-of-rise", "peak-of-baseline"):
        told = race(new, base, target)
        for unit, real in (("steps", 1 - pace / 40), ("hours", 1 - (pace / 40) ** 2)):
            one = told[f"{unit}_saved"]
            bounds = [-numpy.inf if one[key] is None else one[key] for key in ("value", "low")]
            found[f"{unit} saved to {target}"] = (real, *bounds, numpy.inf if one["high"] is None else one["high"])
    return found


def table(worlds, seeds, pace, pool):
    every = list(pool.map(partial(answers, seeds=seeds, pace=pace), range(worlds), chunksize=10))
    for name in every[0]:
        real, value, low, high = numpy.array([each[name] for each in every]).T
        inside = ((low <= real) & (real <= high)).mean()
        shown = ((low > 0) | (high < 0)).mean()
        width = numpy.median(high - low)
        cells = [f"{seeds}", f"{1 - pace / 40:.0%}", name, f"{real.mean():.3f}", f"{numpy.median(value):.3f}"]
        cells += [f"{width:.3f}" if numpy.isfinite(width) else "open", f"{inside:.1%}"]
        cells.append("" if name.startswith(("accuracy", "peak")) else f"{shown:.1%}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--worlds", type=int, default=400)
    options = parser.parse_args()
    columns = [
        "seeds",
        "faster by",
        "quantity",
        "truth",
        "median found",
        "median width",
        "truth inside",
        "difference shown",
    ]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    with ProcessPoolExecutor() as pool:
        for seeds in (3, 5, 1):
            for pace in (40.0, 28.0):
                table(options.worlds, seeds, pace, pool)
