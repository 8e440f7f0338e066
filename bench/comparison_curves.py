"""Questions on whole curves, for bench/comparison.py: peaks, steps and hours to a target, and savings.

Skill rises with the steps towards a plateau; the second configuration learns alike, or 30 % faster at 30 % fewer
seconds a step. The seconds of a step differ by 10 % from run to run. Every run is evaluated 11 times, with 4
completions of each problem. A run has the same luck at all of its steps.
"""

import math
from functools import cache

import numpy
from comparison_worlds import mean_over

from manypaths.comparison.configurations import Configuration
from manypaths.comparison.curves import peak, rise_of, time_to_target
from manypaths.comparison.verdicts import ALPHA, corrected
from manypaths.counts import measure
from manypaths.statistics import interval, p_value

STEPS = numpy.arange(0, 101, 10)
SAMPLES = 4
LUCK, EASE, LIKING = 0.3, 1.5, 0.4  # standard deviations, in logits
SPREAD = math.sqrt(LUCK**2 + EASE**2 + LIKING**2)
PACE = 40.0  # steps in which the baseline makes 63 % of its rise, and its seconds a step
PACE_LUCK = 0.1  # standard deviation of the logarithm of a run's seconds a step
DRAWS = 1000  # bootstrapped curves; compare has 10,000 of the metric that it is about
TARGETS = ("50%", "90%-of-rise", "peak-of-baseline")


def skill(steps, pace):
    return -1.5 + 3.0 * (1 - numpy.exp(-steps / pace))


def accuracy(steps, pace):
    return mean_over("accuracy", SAMPLES, skill(numpy.asarray(steps, float), pace), SPREAD)


@cache
def steps_to(level, pace):
    """The step at which the expected accuracy is at a level."""
    fine = numpy.linspace(0, 200, 2001)
    return float(numpy.interp(level, accuracy(fine, pace), fine))


def curves(number, seeds, paces, problems, correlation):
    """The baseline and other configurations, one for each pace."""
    draw = numpy.random.default_rng([number, seeds, len(paces)])
    ease, common = draw.normal(0, EASE, problems), draw.standard_normal(seeds)
    sides = []
    for place, pace in enumerate((PACE, *paces)):
        own = math.sqrt(correlation) * common + math.sqrt(1 - correlation) * draw.standard_normal(seeds)
        level = ease + draw.normal(0, LIKING, problems) + LUCK * own[:, None, None] + skill(STEPS, pace)[:, None]
        values = draw.binomial(SAMPLES, 1 / (1 + numpy.exp(-level))) / SAMPLES
        of_step = pace * numpy.exp(draw.normal(-(PACE_LUCK**2) / 2, PACE_LUCK, (seeds, 1)))
        sides.append(_configuration(f"arm {place}" if place else "base", values, of_step * STEPS))
    return sides


def _configuration(name, values, seconds):
    seeds, _, problems = values.shape
    return Configuration(
        name=name,
        measure=measure("accuracy"),
        benchmarks=["made-up"],
        runs=[],
        units=[str(seed) for seed in range(seeds)],
        steps=STEPS.astype(float),
        seconds=seconds,
        values=values,
        blocks=numpy.zeros(problems, int),
        means_only=numpy.zeros(1, bool),
        first_half=numpy.arange(problems) % 2 == 0,
        errors=numpy.zeros((len(STEPS), 1)),
    )


def bounds_of(ends):
    """value, low and high of an interval; a target that is not reached is later than all others."""
    value, low, high = (ends[key] for key in ("value", "low", "high"))
    return (math.inf if value is None else value, -math.inf if low is None else low, math.inf if high is None else high)


def quantities(number, seeds, pace, problems, correlation, paired):
    """quantity -> (truth, value, low, high); savings are shares, an unbounded end is infinite."""
    base, new = curves(number, seeds, (pace,), problems, correlation)
    end = {PACE: float(accuracy(100, PACE)), pace: float(accuracy(100, pace))}
    (best, _), (other, _) = peak(new), peak(base)
    gap = end[pace] - end[PACE]
    result = {
        "accuracy of base at the end": (end[PACE], base.estimates[-1].value, *interval(base.estimates[-1])),
        "peak of base": (end[PACE], other.value, *interval(other)),
        "difference of the peaks": (gap, best.value - other.value, *interval(best, other, paired=paired)),
    }
    last = base.estimates[-1], new.estimates[-1]
    values = (last[1].value - last[0].value, *interval(last[1], last[0], paired=paired))
    result["difference at the end"] = (gap, *values)
    for target in TARGETS:
        rise = rise_of(target)
        start = float(accuracy(0, PACE))
        level = 0.5 if rise is None else (1 - rise) * start + rise * end[PACE]
        of_base = time_to_target(base, base, target, draws=DRAWS)
        of_new = time_to_target(new, base, target, paired, DRAWS)
        for name, own, times in (("base", PACE, of_base), ("new", pace, of_new)):
            steps = steps_to(level, own)
            result[f"steps of {name} to {target}"] = (steps, *bounds_of(times["steps"]))
            result[f"hours of {name} to {target}"] = (steps * own / 3600, *bounds_of(times["hours"]))
        for unit, real in (("steps", 1 - pace / PACE), ("hours", 1 - (pace / PACE) ** 2)):
            result[f"{unit} saved to {target}"] = (real, *bounds_of(of_new[f"{unit}_saved"]))
    return result


def peak_verdicts(number, seeds, arms, problems, correlation, paired):
    """Several arms that learn like the baseline: whether any verdict is given, with Holm's correction and without."""
    base, *others = curves(number, seeds, (PACE,) * arms, problems, correlation)
    highest, _ = peak(base)
    ends = [p_value(other.estimates[-1], base.estimates[-1], paired=paired) for other in others]
    peaks = [p_value(peak(other)[0], highest, paired=paired) for other in others]
    return _any({"at the end": ends, "at the peaks": peaks})


def saving_verdicts(number, seeds, arms, problems, correlation, paired):
    """As `peak_verdicts`, of the steps and hours to 50 %."""
    base, *others = curves(number, seeds, (PACE,) * arms, problems, correlation)
    times = [time_to_target(other, base, "50%", paired, DRAWS) for other in others]
    return _any({f"{unit} saved": [time[f"{unit}_saved"]["p"] for time in times] for unit in ("steps", "hours")})


def _any(p_values):
    result = {}
    for endpoint, values in p_values.items():
        after = corrected(values)
        result[f"{endpoint}, uncorrected"] = min(values) <= ALPHA
        result[endpoint] = any(p is not None and p <= ALPHA for p in after)
    return result
