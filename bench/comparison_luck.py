"""How much luck do real runs have? The standard deviations that comparison_study.py simulates with, from runs.

    python bench/comparison_luck.py RUN_FOLDER ...

The runs must be several configurations with the same seeds, evaluated on the same problems with several completions of
each; the last evaluation counts. A seed without a run of every configuration is left out. The model is that of
comparison_worlds.py. Its mean and its whole variance follow from the mean and the mean square of the chances; a part of
the variance from the covariance of chances of which that part is the same, such as those of one seed on different
problems. The standard error in the last column is that of a jackknife over seeds.
"""

import argparse
import math
from pathlib import Path

import numpy
from comparison_worlds import MASS, POINTS

from manypaths.comparison.configurations import grouped
from manypaths.comparison.read import read

WEIGHTS = MASS / MASS.sum()
NAMES = {
    "level": "accuracy, mean over runs",
    "luck": "luck of a run, logits",
    "correlation": "correlation of the luck of runs with the same seed",
    "own_luck": "the part of the luck that runs with the same seed do not share, logits",
    "ease": "ease of a problem, logits",
    "liking": "liking of a configuration for a problem, logits",
    "seed_liking": "liking of a seed for a problem, logits",
    "own_liking": "liking of a run for a problem, logits",
}


def counted(folders):
    """(right completions [C, S, P] of configurations, seeds and problems; completions of a problem; names)."""
    runs, refused = read(folders)
    groups = grouped(runs).groups
    last = [{run.seed: run.results[group.steps[-1]] for run in group.runs} for group in groups]
    seeds = sorted(set.intersection(*(set(of_seeds) for of_seeds in last))) if last else []
    if refused or len(groups) < 2 or len(seeds) < 3:
        raise SystemExit(" ".join([*refused, "There must be two configurations or more with three seeds or more."]))
    tables = [[_right(of_seeds[seed]) for seed in seeds] for of_seeds in last]
    samples = {number for of_arm in tables for of_run in of_arm for _, number in of_run.values()}
    problems = sorted(tables[0][0])
    if len(samples) > 1 or any(sorted(of_run) != problems for of_arm in tables for of_run in of_arm):
        raise SystemExit("All runs must have the same problems, with the same number of completions.")
    right = [[[of_run[problem][0] for problem in problems] for of_run in of_arm] for of_arm in tables]
    return numpy.array(right), samples.pop(), [group.name for group in groups]


def _right(benchmarks):
    """{problem: (right completions, completions)} of a single benchmark."""
    if len(benchmarks) > 1 or any(score.counts is None for score in benchmarks.values()):
        raise SystemExit(f"The runs must have counts of one benchmark, got {', '.join(benchmarks)}.")
    return {problem: (own.right, own.samples) for score in benchmarks.values() for problem, own in score.counts.items()}


def fitted(right, samples):
    """The fields of a `World` that give the means and covariances of right completions [C, S, P], and `own_luck`."""
    seeds, problems = right.shape[1:]
    shares = right / samples
    square = float((right * (right - 1) / (samples * (samples - 1))).mean())
    mean = float(shares.mean())
    skill, spread = _normal_with(mean, square)
    by_seed = _over_other_problems(shares - shares.mean(1, keepdims=True)).mean(-1) * seeds / (seeds - 1)  # [C, C]
    in_runs = shares - shares.mean(2, keepdims=True)
    by_both = numpy.einsum("asp,btp->abst", in_runs, in_runs) / (problems - 1)
    same, other = numpy.einsum("abss->ab", by_both) / seeds, by_both.sum((2, 3))
    other = (other - same * seeds) / (seeds * (seeds - 1))
    covariances = {
        "seed": _others(by_seed),
        "run": numpy.trace(by_seed) / len(by_seed),
        "problem": _others(other),
        "configuration and problem": numpy.trace(other) / len(other),
        "seed and problem": _others(same) + _others(by_seed),
    }
    of = {name: spread**2 * _share_of(value, skill, spread) for name, value in covariances.items()}
    parts = {
        "ease": of["problem"],
        "liking": of["configuration and problem"] - of["problem"],
        "seed_liking": of["seed and problem"] - of["problem"] - of["seed"],
    }
    parts["own_liking"] = spread**2 - of["run"] - sum(parts.values())
    fields = {name: math.sqrt(max(0.0, variance)) for name, variance in parts.items()}
    correlation = of["seed"] / of["run"] if of["run"] else 0.0
    luck = {"luck": math.sqrt(of["run"]), "own_luck": math.sqrt(max(0.0, of["run"] - of["seed"]))}
    return {"level": mean, **luck, "correlation": correlation, **fields}


def _over_other_problems(apart):
    """[C, C, S] the covariance of two configurations at one seed, over pairs of different problems."""
    problems = apart.shape[-1]
    sums = apart.sum(-1)
    products = numpy.einsum("as,bs->abs", sums, sums) - numpy.einsum("asp,bsp->abs", apart, apart)
    return products / (problems * (problems - 1))


def _others(table):
    """The mean of the cells [C, C] of two different configurations."""
    return float(table.sum() - numpy.trace(table)) / (len(table) * (len(table) - 1))


def _chance(logits):
    return 1 / (1 + numpy.exp(-logits))


def _normal_with(mean, square):
    """The mean and the standard deviation of normal logits whose chances have a mean and a mean square."""

    def mean_logit(spread):
        return _root(lambda logit: float(_chance(logit + spread * POINTS) @ WEIGHTS) - mean, -40.0, 40.0)

    def square_of(spread):
        return float(_chance(mean_logit(spread) + spread * POINTS) ** 2 @ WEIGHTS)

    spread = _root(lambda spread: square_of(spread) - square, 0.0, 10.0)
    return mean_logit(spread), spread


def _share_of(covariance, skill, spread):
    """The share of the variance of the logits that two chances with a covariance have in common; 0 if it is below 0."""

    def covariance_of(share):
        common, rest = math.sqrt(share) * POINTS, math.sqrt(1 - share) * POINTS
        means = _chance(skill + spread * (common[:, None] + rest)) @ WEIGHTS
        return float(means**2 @ WEIGHTS - (means @ WEIGHTS) ** 2)

    return _root(lambda share: covariance_of(share) - covariance, 0.0, 1.0)


def _root(function, low, high):
    """Where a rising function is 0, by bisection; an end where it is not."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_FOLDER")
    right, samples, names = counted(parser.parse_args().folders)
    seeds = right.shape[1]
    without = [fitted(numpy.delete(right, seed, 1), samples) for seed in range(seeds)]
    print(f"{', '.join(names)}: {seeds} seeds, {right.shape[2]} problems, {samples} completions of each\n")
    print("| | estimate | standard error |\n|---|---|---|")
    for field, value in fitted(right, samples).items():
        spread = numpy.std([others[field] for others in without]) * math.sqrt(seeds - 1)
        print(f"| {NAMES[field]} | {value:.2f} | {spread:.2f} |")


if __name__ == "__main__":
    main()
