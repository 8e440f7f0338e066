"""The coverage of the intervals of `manypaths compare`, on simulated runs whose truth is known.

    python bench/comparison.py [--worlds 400] [--seeds 3 5 1] [--problems 128]

A world has two configurations of a few seeds, 128 problems, 4 samples each, 11 evaluations. The chance of a right
sample is a logistic function of skill, which rises with the steps towards a plateau, plus luck of the seed, ease of the
problem, and a liking of the configuration for the problem, all normal. The seconds of a step differ by 10 % from seed
to seed. The second configuration learns alike, or 30 % faster at 30 % fewer seconds a step. Every interval that compare
prints is measured: accuracies and peaks, own steps and hours to a target (of the baseline and of the second, "new"),
differences and savings. A 95 % interval should contain the truth in 95 % of the worlds, and the verdict should be "no
difference shown" in 95 % of those without a difference. With one seed the intervals are over problems only;
`manypaths compare` says so and gives no verdict.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import numpy

from manypaths.comparison.compare import compare
from manypaths.comparison.contents import configurations
from manypaths.comparison.runs import Run, Score

STEPS = numpy.arange(0, 101, 10)
SAMPLES = 4
SEED_LUCK, EASE, LIKING = 0.3, 1.5, 0.4  # standard deviations, in logits
PACE_LUCK = 0.1  # standard deviation of the logarithm of a run's seconds a step
TARGETS = ("50%", "90%-of-rise", "peak-of-baseline")
POINTS, MASS = numpy.polynomial.hermite_e.hermegauss(60)


def skill(steps, pace):
    return -1.5 + 3.0 * (1 - numpy.exp(-steps / pace))


def truth(level):
    """The expected accuracy at a skill: the mean over seeds, problems and likings."""
    spread = numpy.sqrt(SEED_LUCK**2 + EASE**2 + LIKING**2)
    return (MASS / MASS.sum() / (1 + numpy.exp(-(numpy.asarray(level)[..., None] + spread * POINTS)))).sum(-1)


@cache
def steps_to(level, pace):
    """The step at which the expected accuracy is at a level."""
    fine = numpy.linspace(0, 200, 2001)
    return float(numpy.interp(level, truth(skill(fine, pace)), fine))


def world(number, seeds, pace, problems):
    """The runs of two configurations: the baseline has pace 40."""
    draw = numpy.random.default_rng([number, seeds, int(10 * pace)])
    ease = draw.normal(0, EASE, problems)
    runs = []
    for name, own in (("base", 40.0), ("new", pace)):
        liking = draw.normal(0, LIKING, problems)
        for seed in range(seeds):
            level = skill(STEPS, own)[:, None] + draw.normal(0, SEED_LUCK) + ease + liking
            shares = draw.binomial(SAMPLES, 1 / (1 + numpy.exp(-level))) / SAMPLES
            results = {
                int(step): {"made-up": Score.of_shares({str(p): share for p, share in enumerate(row)})}
                for step, row in zip(STEPS, shares, strict=True)
            }
            seconds = own * numpy.exp(draw.normal(-(PACE_LUCK**2) / 2, PACE_LUCK))
            clock = [(int(step), float(step) * seconds) for step in STEPS[1:]]
            runs.append(Run(f"{name}-{seed}", name, seed, clock=clock, results=results))
    return runs


def answers(number, seeds, pace, problems):
    """quantity -> (truth, value, low, high); savings are shares, an unbounded end is infinite."""
    runs, measured = world(number, seeds, pace, problems), {}
    paces = {"base": 40.0, "new": pace}
    end = {name: float(truth(skill(100, own))) for name, own in paces.items()}
    for target in TARGETS:
        base, new = configurations(compare(runs, "base", target))
        for name, estimate in (("base", base), ("new", new)):
            measured[f"accuracy of {name} at the start"] = (float(truth(skill(0, 40))), estimate["curve"][0])
            measured[f"accuracy of {name} at the end"] = (end[name], estimate["last"])
            measured[f"peak of {name}"] = (end[name], estimate["peak"])
        measured["difference at the end"] = (end["new"] - end["base"], new["against"]["last"])
        measured["difference of the peaks"] = (end["new"] - end["base"], new["against"]["peak"])
        rise = {"90%-of-rise": 0.9, "peak-of-baseline": 1.0}.get(target)
        level = 0.5 if rise is None else (1 - rise) * float(truth(skill(0, 40))) + rise * end["base"]
        for name, estimate in (("base", base), ("new", new)):
            steps = steps_to(level, paces[name])
            measured[f"steps of {name} to {target}"] = (steps, estimate["to_target"]["steps"])
            measured[f"hours of {name} to {target}"] = (steps * paces[name] / 3600, estimate["to_target"]["hours"])
        for unit, real in (("steps", 1 - pace / 40), ("hours", 1 - (pace / 40) ** 2)):
            measured[f"{unit} saved to {target}"] = (real, new["to_target"][f"{unit}_saved"])
    return {name: (real, *_numbers(estimate)) for name, (real, estimate) in measured.items()}


def _numbers(estimate):
    value = estimate["value"]
    low, high = estimate["low"], estimate["high"]
    return (
        numpy.nan if value is None else value,
        -numpy.inf if low is None else low,
        numpy.inf if high is None else high,
    )


def table(worlds, seeds, pace, problems, pool):
    of = partial(answers, seeds=seeds, pace=pace, problems=problems)
    every = list(pool.map(of, range(worlds), chunksize=10))
    for name in every[0]:
        real, value, low, high = numpy.array([bounds[name] for bounds in every]).T
        inside = ((low <= real) & (real <= high)).mean()
        shown = ((low > 0) | (high < 0)).mean()
        width = numpy.median(high - low)
        # a target that is not reached has no value; it counts as later than all others
        middle = numpy.median(numpy.where(numpy.isnan(value), numpy.inf, value))
        cells = [f"{seeds}", f"{1 - pace / 40:.0%}", name, f"{real.mean():.3f}"]
        cells.append(f"{middle:.3f}" if numpy.isfinite(middle) else "not reached")
        cells += [f"{width:.3f}" if numpy.isfinite(width) else "unbounded", f"{inside:.1%}"]
        cells.append(f"{shown:.1%}" if "difference" in name or "saved" in name else "")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5, 1])
    parser.add_argument("--problems", type=int, default=128)
    parser.add_argument("--processes", type=int)
    options = parser.parse_args()
    columns = ["seeds", "faster by", "quantity", "truth", "median found", "median width", "truth inside"]
    columns.append("interval without 0")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    with ProcessPoolExecutor(options.processes) as pool:
        for seeds in options.seeds:
            for pace in (40.0, 28.0):
                table(options.worlds, seeds, pace, options.problems, pool)
