"""The coverage of the 95 % intervals of an evaluation. Prints the table of docs/results.md.

    python bench/intervals.py [--simulations 1000]

Each simulation draws problems with different chances of success and samples completions of two models. The second model
has the chance of the first on most problems and another one on the rest. The interval of the first model's mean, and
that of the difference, should contain the truth over all problems that could have been drawn. For comparison: the
percentiles of 2,000 bootstrap means. The standard error of a rate of 95 % over 1,000 simulations is 0.7 points.
"""

import argparse

import numpy

from manypaths.statistics import estimate, interval

WORLDS = {"even": (1.0, 1.0), "mostly wrong": (0.3, 2.0), "right or wrong": (0.1, 0.1)}
WORLDS["nearly all wrong"] = (0.05, 1.0)  # parameters of Beta distributions
SIZES = ((1, 16), (3, 1), (3, 16), (5, 1), (5, 16), (10, 4), (30, 1), (30, 16), (40, 16), (200, 4))
ALIKE = 0.7  # of problems on which both models have the same chance


def rates(problems, samples, world, simulations):
    """(coverage of a mean, its mean width, coverage of plain percentiles, coverage of a difference, its mean width)."""
    draw, truth = numpy.random.default_rng(0), world[0] / sum(world)
    held, widths = numpy.zeros(3), numpy.zeros(2)
    for _ in range(simulations):
        chances, others = draw.beta(*world, (2, problems))
        others = numpy.where(draw.random(problems) < ALIKE, chances, others)
        shares, theirs = (draw.binomial(samples, rates) / samples for rates in (chances, others))
        drawn = numpy.sort(draw.choice(shares, (2000, problems)).mean(1))
        bounds = [interval(estimate(shares)), (drawn[50], drawn[-51]), interval(estimate(shares), estimate(theirs))]
        held += [low <= real <= high for (low, high), real in zip(bounds, (truth, truth, 0.0), strict=True)]
        widths += [bounds[0][1] - bounds[0][0], bounds[2][1] - bounds[2][0]]
    mean, plain, difference = held / simulations
    return mean, widths[0] / simulations, plain, difference, widths[1] / simulations


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=1000)
    options = parser.parse_args()
    columns = ["problems", "samples", "chances of success", "interval", "mean width", "plain percentiles"]
    columns += ["interval of a difference", "mean width"]
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for problems, samples in SIZES:
        for name, world in WORLDS.items():
            mean, width, plain, difference, apart = rates(problems, samples, world, options.simulations)
            cells = [str(problems), str(samples), name, f"{mean:.1%}", f"{width:.3f}", f"{plain:.1%}"]
            print(f"| {' | '.join([*cells, f'{difference:.1%}', f'{apart:.3f}'])} |", flush=True)
