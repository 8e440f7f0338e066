"""Accuracies, peaks and the time to a target: equations as loops, closed forms, simulations with a known truth."""

import math
import statistics
from dataclasses import replace
from statistics import fmean

import numpy
import pytest

from manypaths.comparison.configurations import configured as configured_groups
from manypaths.comparison.configurations import grouped
from manypaths.comparison.curves import isotonic, level_of, peak, rise_of, steps_to_target, time_to_target
from manypaths.comparison.runs import Run, Score
from manypaths.statistics import interval


def same(first, second):
    """Whether two estimates have the same value and interval."""
    return (first.value, *interval(first)) == pytest.approx((second.value, *interval(second)))


def test_of_one_mean_without_an_error_there_is_no_interval():
    configuration = configured([[0.2, 0.4]])
    assert numpy.isnan(interval(configuration.estimates[1])).all()
    (base,) = noiseless([0.2, 0.6])
    assert numpy.isnan(interval(configuration.estimates[1], base.estimates[1])).all()
    assert time_to_target(configuration, configuration, "30%")["steps"] == {
        "value": pytest.approx(5),
        "low": None,
        "high": None,
    }


def pooled(curve):
    """The nearest curve that never falls, by pooling neighbours that do."""
    pools = []
    for value in curve:
        pools.append([value])
        while len(pools) > 1 and fmean(pools[-2]) > fmean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    return [fmean(pool) for pool in pools for _ in pool]


CURVES = numpy.random.default_rng(2).normal(0, 1, (200, 9)) + numpy.linspace(0, 2, 9)


def test_isotonic_is_isotonic_regression():
    risen = isotonic(CURVES)
    assert risen == pytest.approx(numpy.array([pooled(curve) for curve in CURVES]))
    assert (numpy.diff(risen) >= -1e-12).all()
    assert risen.mean(1) == pytest.approx(CURVES.mean(1))
    assert isotonic(numpy.sort(CURVES)) == pytest.approx(numpy.sort(CURVES))
    assert isotonic(CURVES[:, :1]) == pytest.approx(CURVES[:, :1])


def arrived(curve, steps, target):
    """When a curve that was made to rise first gets there, on a line between two steps."""
    curve = pooled(curve)
    for index, value in enumerate(curve):
        if value >= target:
            if index == 0:
                return steps[0]
            share = (target - curve[index - 1]) / (value - curve[index - 1])
            return steps[index - 1] + share * (steps[index] - steps[index - 1])
    return math.inf


@pytest.mark.parametrize("top", [8, 5, 0])
def test_steps_to_target_are_those_of_the_isotonic_curve(top):
    steps = numpy.array([0.0, 1, 2, 5, 10, 20, 21, 30, 100])
    targets = numpy.random.default_rng(3).normal(1, 1, len(CURVES))
    arrivals = steps_to_target(CURVES, steps, targets, top)
    assert arrivals == pytest.approx(
        [arrived(curve[: top + 1], steps, target) for curve, target in zip(CURVES, targets, strict=True)]
    )
    assert numpy.isinf(arrivals).any() and (arrivals == 0).any() and (top == 0 or len(set(arrivals)) > 50)


@pytest.mark.parametrize(
    ("curve", "target", "expected"),
    [
        ([0.2, 0.4, 0.6], 0.45, 12.5),  # a line
        ([0.2, 0.4, 0.6], 0.6, 20),
        ([0.2, 0.4, 0.6], 0.61, math.inf),
        ([0.2, 0.4, 0.6], 0.1, 0),  # there at once
        ([0.2, 0.2, 0.2], 0.2, 0),
        # a lucky spike counts for what is left of it: 0.8, 0.2 and 0.5 are pooled to 0.5, then a line to 1 at step 40
        ([0.0, 0.8, 0.2, 0.5, 1.0], 0.7, 34),
        ([0.0, 0.8, 0.2, 0.5, 1.0], 0.5, 10),
    ],
)
def test_steps_to_target_in_closed_form(curve, target, expected):
    steps = 10.0 * numpy.arange(len(curve))
    arrivals = steps_to_target(numpy.array([curve]), steps, numpy.array([target]), len(curve) - 1)
    assert arrivals == pytest.approx([expected])


def arranged(runs):
    """The configurations of runs."""
    of_runs = grouped(runs)
    return configured_groups(of_runs.groups, of_runs.benchmarks)[0]


def runs(name, curves, pace=None, error=None):
    """A configuration's runs, evaluated every 10 steps: curves [S, T, P], or [S, T] of means alone."""
    repetitions = []
    for seed, rows in enumerate(numpy.asarray(curves, float)):
        results = {}
        for index, row in enumerate(rows):
            shares = {str(problem): float(share) for problem, share in enumerate(row)} if row.ndim else None
            results[10 * index] = {
                "made-up": Score.of_shares(shares) if shares else Score.of_mean(float(row.mean()), error)
            }
        clock = [(step, step * pace) for step in results if step] if pace else []
        repetitions.append(Run(f"{name}-{seed}", name, seed, clock=clock, results=results))
    return repetitions


def configured(curves, **more):
    (configuration,) = arranged(runs("only", curves, **more))
    return configuration


def noiseless(*curves, seeds=3, problems=8, pace=None):
    """Configurations whose every problem is answered with just the curve's accuracy."""
    all_runs = []
    for index, curve in enumerate(curves):
        cells = numpy.tile(numpy.array(curve)[None, :, None], (seeds, 1, problems))
        all_runs += runs("abc"[index], cells, pace=pace and pace[index])
    return arranged(all_runs)


def test_the_peak_of_a_clear_curve_is_its_best_step():
    draw = numpy.random.default_rng(4)
    for seeds in (1, 3):
        curves = numpy.array([0.1, 0.8, 0.4])[None, :, None] + draw.uniform(0, 0.1, (seeds, 3, 9))
        configuration = configured(curves)
        best, index = peak(configuration)
        assert index == 1
        assert same(best, configuration.estimates[1])


@pytest.mark.parametrize(("seeds", "luck"), [(1, 0), (2, 0.2), (4, 0)])
def test_the_peak_of_noise_is_no_higher_than_the_noise(seeds, luck):
    honest, naive, template = [], [], configured(numpy.zeros((seeds, 6, 20)))
    for number in range(400):
        draw = numpy.random.default_rng([5, seeds, number])
        chance = draw.uniform(0.2, 0.8, 20)  # of each problem, at each step the same but for the seed's luck
        chances = chance + draw.uniform(-luck, luck, (seeds, 6, 1))
        configuration = replace(template, values=draw.binomial(4, chances, (seeds, 6, 20)) / 4)
        honest.append(peak(configuration)[0].value - chance.mean())
        naive.append((configuration.values.mean(0) @ configuration.weights).max() - chance.mean())
    assert abs(fmean(honest)) < 3 * statistics.stdev(honest) / 20
    assert fmean(naive) > 10 * statistics.stdev(naive) / 20


def test_the_peak_of_means_alone_is_the_highest():
    configuration = configured([[0.1, 0.5, 0.4], [0.1, 0.3, 0.5]], error=0.02)
    best, index = peak(configuration)
    assert (best.value, index) == (pytest.approx(0.45), 2)
    assert math.sqrt(best.noise) == pytest.approx(0.02)  # both seeds answer the same problems: two are no less noisy


def test_the_order_of_seeds_does_not_matter_to_a_peak_and_a_saving():
    draw = numpy.random.default_rng(6)
    curves, base_curves = (numpy.linspace(0.2, 0.7, 6)[:, None] + draw.normal(0, 0.1, (4, 6, 12)) for _ in "ab")
    configuration, turned = configured(curves), configured(curves[::-1])
    assert same(peak(configuration)[0], peak(turned)[0]) and peak(configuration)[1] == peak(turned)[1]
    values = [
        time_to_target(faster, configured(base_curves), "60%")["steps_saved"]["value"]
        for faster in (configuration, turned)
    ]
    assert values[0] == pytest.approx(values[1])


@pytest.mark.parametrize(
    ("target", "rise", "level"),
    [
        ("0.7", None, 0.7),
        (0.7, None, 0.7),
        ("70%", None, 0.7),
        (1, None, 1.0),
        ("peak-of-baseline", 1.0, 0.6),
        (None, 1.0, 0.6),
        ("90%-of-rise", 0.9, 0.56),
        ("0.9-of-rise", 0.9, 0.56),
        ("100%-of-rise", 1.0, 0.6),
    ],
)
def test_the_spellings_of_a_target(target, rise, level):
    assert rise_of(target) == (None if rise is None else pytest.approx(rise))
    (baseline,) = noiseless([0.2, 0.5, 0.6, 0.3])
    assert level_of(baseline, target) == pytest.approx(level)


@pytest.mark.parametrize(
    "target", ["", "best", 70, "70", "0", 0.0, -0.1, "0%", "101%", "nan", "inf", "-of-rise", "peak", True, "90%-rise"]
)
def test_what_is_no_target_is_refused(target):
    with pytest.raises(ValueError, match=r"A target must be an accuracy such as .*-of-rise, got .*\.$"):
        rise_of(target)


def test_a_baselines_peak_is_the_honest_one_and_never_above_its_curve():
    for number in range(50):
        draw = numpy.random.default_rng([7, number])
        configuration = configured(draw.binomial(4, 0.5, (2, 5, 6)) / 4)
        highest = (configuration.values.mean(0) @ configuration.weights).max()
        assert level_of(configuration, None) == pytest.approx(min(peak(configuration)[0].value, highest))


def holds(estimate, expected):
    """Whether the value is the expected one, within its interval; a bound that is None is open."""
    low, high = (
        math.inf * sign if estimate[key] is None else estimate[key] for key, sign in (("low", -1), ("high", 1))
    )
    return estimate["value"] == pytest.approx(expected) and low <= expected + 1e-9 and expected - 1e-9 <= high


SLOW, FAST = [0.2, 0.3, 0.4, 0.5, 0.6], [0.2, 0.4, 0.6, 0.6, 0.6]  # to 0.6 in 40 steps and in 20


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("target", "slow", "fast"),
    [("55%", 35, 17.5), (0.33, 13, 6.5), ("90%-of-rise", 36, 18), ("50%-of-rise", 20, 10), (None, 40, 20)],
)
def test_times_and_savings_without_noise_are_exact(seeds, target, slow, fast):
    base, faster = noiseless(SLOW, FAST, seeds=seeds, pace=(90.0, 120.0))
    times = time_to_target(faster, base, target)
    assert holds(times["steps"], fast) and holds(times["steps_saved"], 1 - fast / slow)
    assert holds(times["hours"], fast * 120 / 3600) and holds(times["hours_saved"], 1 - 120 * fast / (90 * slow))
    back = time_to_target(base, faster, target)
    assert holds(back["steps"], slow) and holds(back["steps_saved"], 1 - slow / fast)
    assert time_to_target(faster, base, target) == times


def test_a_target_that_neither_reaches_has_no_times():
    base, fast = noiseless(SLOW, FAST, pace=(90.0, 120.0))
    for estimate in time_to_target(fast, base, "61%").values():
        assert estimate["value"] is estimate["high"] is None


def test_a_target_that_only_the_baseline_reaches():
    base, fast = noiseless(SLOW, [0.2, 0.2, 0.3, 0.3, 0.3])
    times = time_to_target(fast, base, None)
    assert times["steps"]["value"] is times["steps_saved"]["value"] is times["steps_saved"]["low"] is None


def test_without_a_clock_there_are_no_hours():
    base, fast = noiseless(SLOW, FAST)
    times = time_to_target(fast, base)
    assert times["hours"] == {"value": None, "low": None, "high": None}
    assert times["hours_saved"] == {"value": None, "low": None, "high": None, "p": None}
    assert times["steps_saved"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize("target", ["60%", "90%-of-rise", None])
def test_the_baseline_saves_nothing_against_itself(target):
    draw = numpy.random.default_rng(8)
    configuration = configured(numpy.linspace(0.2, 0.7, 6)[:, None] + draw.normal(0, 0.1, (3, 6, 12)), pace=60.0)
    times = time_to_target(configuration, configuration, target)
    assert times["steps"]["low"] < times["steps"]["value"]
    for unit in ("steps_saved", "hours_saved"):
        assert times[unit] == {"value": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}


def test_a_target_that_is_relative_to_the_baseline_moves_with_its_curve():
    offsets = numpy.array([-0.1, 0.0, 0.1])[:, None, None]  # luck of seeds that are alike in all else
    configuration = configured(numpy.array(SLOW)[None, :, None] + offsets + numpy.zeros((3, 5, 8)))
    for target, steps in (("90%-of-rise", 36), ("50%-of-rise", 20)):
        times = time_to_target(configuration, configuration, target)["steps"]
        assert holds(times, steps) and times["high"] - times["low"] < 9  # of other problems; of other seeds nothing
    times = time_to_target(configuration, configuration, "50%")["steps"]
    assert times["low"] < 25 and times["value"] == pytest.approx(30) and (times["high"] or 99) > 35


def test_the_peak_of_a_plateau_is_reached():
    draw = numpy.random.default_rng(10)
    curve = numpy.array([0.2, 0.5, *[0.6] * 9])[None, :, None]
    configuration = configured(curve + draw.normal(0, 0.05, (3, 11, 20)))
    assert None not in time_to_target(configuration, configuration, None)["steps"].values()


def test_times_are_the_same_each_time_and_the_runs_unchanged():
    draw = numpy.random.default_rng(9)
    base, fast = (
        configured(numpy.linspace(0.2, top, 6)[:, None] + draw.normal(0, 0.1, (3, 6, 12)), pace=60.0)
        for top in (0.6, 0.8)
    )
    copies = base.values.copy(), fast.values.copy()
    first = time_to_target(fast, base, "90%-of-rise")
    assert first == time_to_target(fast, base, "90%-of-rise")
    assert first["steps_saved"]["low"] < first["steps_saved"]["value"] < first["steps_saved"]["high"]
    assert (copies[0] == base.values).all() and (copies[1] == fast.values).all()


def test_times_between_problems_that_are_all_wrong_and_then_all_right_are_not_exact():
    cells = numpy.stack([numpy.zeros((3, 20)), numpy.ones((3, 20))], 1)
    base, other = configured(cells), configured(cells)
    for steps in (time_to_target(base, base, "50%")["steps"], time_to_target(other, base, "50%")["steps"]):
        assert steps["value"] == pytest.approx(5) and steps["low"] < 4.5 and steps["high"] > 5.5
    saved = time_to_target(other, base, "50%")["steps_saved"]
    assert saved["value"] == pytest.approx(0) and saved["low"] < -0.1 and saved["high"] > 0.1


def test_runs_with_the_same_answers_are_not_shown_to_be_equally_fast():
    draw = numpy.random.default_rng(11)
    curves = draw.random((1, 6, 30)) < numpy.linspace(0.2, 0.8, 6)[:, None]
    times = time_to_target(configured(curves), configured(curves), "50%")["steps_saved"]
    assert times["low"] < -0.01 < times["value"] == 0 < 0.01 < times["high"]


def test_a_baseline_may_reach_its_own_peak_as_late_as_its_curve_may_be_highest():
    draw = numpy.random.default_rng(12)
    curve = numpy.array([0.2, 0.5, 0.6, 0.61, 0.6, 0.605])[None, :, None]
    base = configured(curve + draw.normal(0, 0.05, (3, 6, 20)))
    times = time_to_target(base, base, None)["steps"]
    assert times["high"] == pytest.approx(50, abs=1) and times["low"] < 30


# Coverage

WORLDS = 150  # a rate of 95 % may come out as 89.7 to 100 %: three standard errors


RISES = {"slow": 0.08, "fast": 0.1}  # in accuracy, per evaluation


def worlds(seeds, luck, pace_luck=0.0, names=("slow", "fast")):
    """Configurations: "slow" is expected to reach 50 % at step 37.5, "fast" at step 30."""
    for number in range(WORLDS):
        draw = numpy.random.default_rng([number, seeds])
        ease, steps, all_runs = draw.normal(0, 0.05, 40), numpy.arange(7), []
        for name in names:
            liking = draw.normal(0, 0.02, 40)
            level = 0.2 + RISES[name] * steps[:, None] + draw.normal(0, luck, (seeds, 1, 1)) + ease + liking
            cells = level + draw.normal(0, 0.02, (seeds, 7, 40))
            all_runs += runs(name, cells)
            for run, pace in zip(all_runs[-seeds:], numpy.exp(draw.normal(0, pace_luck, seeds)), strict=True):
                run.clock = [(10 * int(step), 3600 * 10 * step * pace) for step in steps[1:]]
        yield arranged(all_runs)


def contains(bounds, truth):
    """Whether an interval contains the truth; an end of None is unbounded."""
    low, high = bounds["low"], bounds["high"]
    return (low is None or low <= truth) and (high is None or truth <= high)


def test_intervals_of_steps_and_of_savings_contain_the_truth():
    inside = {"own": 0, "steps": 0, "steps_saved": 0}
    for base, fast in worlds(seeds=2, luck=0.05):
        assert (base.name, fast.name) == ("slow", "fast")
        times = time_to_target(fast, base, "50%")
        inside["own"] += contains(time_to_target(base, base, "50%")["steps"], 37.5)
        inside["steps"] += contains(times["steps"], 30)
        inside["steps_saved"] += contains(times["steps_saved"], 0.2)
    assert min(inside.values()) > 0.9 * WORLDS, inside


def test_intervals_of_hours_contain_the_truth_where_the_pace_is_luck():
    alone = worlds(seeds=2, luck=0.005, pace_luck=0.1, names=["slow"])
    estimates = [time_to_target(base, base, "50%")["hours"] for (base,) in alone]
    assert sum(contains(hours, 37.5 * math.exp(0.1**2 / 2)) for hours in estimates) > 0.9 * WORLDS
