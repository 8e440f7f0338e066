"""Do the 95 % intervals of an evaluation hold the truth 95 times of 100? Prints the table of docs/results.md.

    python bench/intervals.py [--simulations 1000]

Each simulation draws problems with a chance of success of their own, samples answers, and asks `interval` for the mean
over problems; the truth is the mean over all problems that could have been drawn. Beside it, the plain percentile
bootstrap. The error of a rate of 95 % over 1,000 simulations is 0.7 points.
"""

import argparse
import random

from manypaths.metrics import interval, resample

WORLDS = {"even": (1.0, 1.0), "mostly wrong": (0.3, 2.0), "right or wrong": (0.1, 0.1)}  # Beta distributions


def rates(problems: int, samples: int, world: tuple[float, float], simulations: int) -> tuple[float, float, float]:
    """(coverage of `interval`, coverage of plain percentiles, mean width of `interval`)."""
    draw, truth = random.Random(0), world[0] / sum(world)
    held = plain = 0
    width = 0.0
    for simulation in range(simulations):
        chances = [draw.betavariate(*world) for _ in range(problems)]
        shares = [sum(draw.random() < chance for _ in range(samples)) / samples for chance in chances]
        drawn = sorted(resample(shares, seed=simulation))
        low, high = interval(shares, drawn)
        held += low <= truth <= high
        plain += drawn[50] <= truth <= drawn[-51]
        width += (high - low) / simulations
    return held / simulations, plain / simulations, width


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--simulations", type=int, default=1000)
    options = parser.parse_args()
    print("| problems | samples | chances of success | interval | plain percentiles | mean width |")
    print("|---|---|---|---|---|---|")
    for problems, samples in ((30, 1), (30, 16), (40, 16), (200, 4)):
        for name, world in WORLDS.items():
            held, plain, width = rates(problems, samples, world, options.simulations)
            print(f"| {problems} | {samples} | {name} | {held:.1%} | {plain:.1%} | {width:.3f} |", flush=True)
