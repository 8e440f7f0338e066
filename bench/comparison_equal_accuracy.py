"""Is pass@8 at equal accuracy right? Simulated arms beside the baseline's path, for bench/comparison.py.

The baseline goes the way of GRPO in docs/evidence.md: accuracy rises from 26 to 38 %, and pass@8 rises from 73 to 75 %
and falls to 69 %. An arm goes the same way at two thirds of the pace, so that it ends with more pass@8 and has none
more at equal accuracy; or it gains pass@8 on the way.
"""

from dataclasses import dataclass
from functools import cache

import numpy
from comparison_questions import random_of
from comparison_study import OWN
from comparison_worlds import mean_over, observed

from manypaths.comparison.configurations import Configuration
from manypaths.comparison.equal_accuracy import Path, at_equal_accuracy
from manypaths.comparison.runs import Run
from manypaths.counts import measure

STEPS = numpy.arange(0.0, 121.0, 20.0)
ACCURACY = numpy.array([0.256, 0.300, 0.327, 0.346, 0.361, 0.371, 0.381])  # at these steps
PASS = numpy.array([0.726, 0.747, 0.737, 0.727, 0.717, 0.699, 0.688])
PACE = 2 / 3
DRIFT = 0.1  # standard deviation, in logits, by which a run's luck at a step differs from that at others
PROBLEMS = 128


@dataclass(frozen=True)
class Arm:
    """How far it comes along the path of the baseline, and what it has gained in pass@8 at its end."""

    pace: float = 1.0
    gain: float = 0.0


@cache
def logits_of(accuracy, passed):
    """(skill, stretch) in the world `OWN` that give an accuracy and a pass@8."""

    def skill(stretch):
        grid = numpy.linspace(-8, 8, 641)
        return float(numpy.interp(accuracy, mean_over("accuracy", 1, grid, spread(stretch)), grid))

    narrow, wide = 0.0, 3.0
    while wide - narrow > 1e-4:
        middle = (narrow + wide) / 2
        is_enough = mean_over("pass@8", 1, skill(middle), spread(middle)) >= passed
        narrow, wide = (middle, wide) if is_enough else (narrow, middle)
    return skill(narrow), narrow


def spread(stretch):
    parts = (OWN.ease, OWN.own_liking, OWN.seed_liking)
    fixed = OWN.luck**2 + DRIFT**2 + OWN.liking**2
    return float(numpy.sqrt(fixed + stretch**2 * sum(part**2 for part in parts)))


def path(arm):
    """[T] (skill, stretch) of an arm at each step."""
    accuracy, passed = (numpy.interp(arm.pace * STEPS, STEPS, curve) for curve in (ACCURACY, PASS))
    passed = passed + arm.gain * STEPS / STEPS[-1]
    return numpy.array([logits_of(*map(float, pair)) for pair in zip(accuracy.round(6), passed.round(6), strict=True)])


def configurations(arms, seeds, draw):
    """(accuracy, pass@8) of each arm: runs of paired seeds, with a start each."""
    ease, by_seed = draw.normal(0, OWN.ease, PROBLEMS), draw.standard_normal(seeds)
    seed_liking = draw.normal(0, OWN.seed_liking, (seeds, PROBLEMS))
    for name, arm in arms.items():
        skill, stretch = path(arm).T
        luck = OWN.luck * (
            numpy.sqrt(OWN.correlation) * by_seed + numpy.sqrt(1 - OWN.correlation) * draw.standard_normal(seeds)
        )
        of_problems = ease + seed_liking + draw.normal(0, OWN.own_liking, (seeds, PROBLEMS))
        level = skill[:, None] + draw.normal(0, OWN.liking, PROBLEMS)
        at_step = luck[:, None, None] + draw.normal(0, DRIFT, (seeds, len(STEPS), 1))
        logits = level + at_step + stretch[:, None] * of_problems[:, None]
        right = draw.binomial(OWN.samples, 1 / (1 + numpy.exp(-logits)))
        by_key = right[..., None]  # all with one key
        yield Path(*(_configuration(name, of, observed(of, OWN.samples, by_key)) for of in ("accuracy", "pass@8")))


def _configuration(name, of, values):
    seeds = len(values)
    return Configuration(
        name,
        measure(of),
        ["colouring"],
        [Run(name, name, 1)],
        [str(seed) for seed in range(seeds)],
        STEPS,
        numpy.full((seeds, len(STEPS)), numpy.nan),
        values,
        numpy.zeros(PROBLEMS, numpy.int64),
        numpy.array([False]),
        numpy.arange(PROBLEMS) % 2 == 0,
        numpy.zeros((len(STEPS), 1)),
    )


def truth(arm):
    """The true difference: the gain at the end of the arm, whose accuracy the baseline has at the same place."""
    return arm.gain if arm.pace <= 1 else None


def answers(number, arm, seeds, paired):
    """Whether the interval holds the truth, and whether a gain or a loss is shown; the difference and its width."""
    base, own = configurations({"base": Arm(), "arm": arm}, seeds, random_of(number, seeds))
    item = at_equal_accuracy(own, base, paired)
    return {
        "held": item["low"] <= truth(arm) <= item["high"],
        "better": item["p"] <= 0.05 and item["value"] > 0,
        "worse": item["p"] <= 0.05 and item["value"] < 0,
        "value": item["value"],
        "width": item["high"] - item["low"],
    }
