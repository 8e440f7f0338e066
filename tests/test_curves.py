"""Accuracies, peaks and the time to a target: equations as loops, closed forms, simulations with a known truth."""

import math
import statistics
from dataclasses import replace
from statistics import fmean

import numpy
import pytest

from manypaths.comparison.compare import configurations
from manypaths.comparison.curves import isotonic, level_of, peak, rise_of, steps_to_target, time_to_target
from manypaths.comparison.runs import Run, Score
from manypaths.statistics import interval


def same(one, other):
    """Whether two estimates say the same."""
    return (one.value, *interval(one)) == pytest.approx((other.value, *interval(other)))


def test_of_one_mean_without_an_error_there_is_no_interval():
    one = configured([[0.2, 0.4]])
    assert numpy.isnan(interval(one.estimates[1])).all()
    (base,) = noiseless([0.2, 0.6])
    assert numpy.isnan(interval(one.estimates[1], base.estimates[1])).all()
    assert time_to_target(one, one, "30%")["steps"] == {"value": pytest.approx(5), "low": None, "high": None}


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
    found = isotonic(CURVES)
    assert found == pytest.approx(numpy.array([pooled(curve) for curve in CURVES]))
    assert (numpy.diff(found) >= -1e-12).all()
    assert found.mean(1) == pytest.approx(CURVES.mean(1))
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
    found = steps_to_target(CURVES, steps, targets, top)
    assert found == pytest.approx(
        [arrived(curve[: top + 1], steps, target) for curve, target in zip(CURVES, targets, strict=True)]
    )
    assert numpy.isinf(found).any() and (found == 0).any() and (top == 0 or len(set(found)) > 50)


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
    found = steps_to_target(numpy.array([curve]), steps, numpy.array([target]), len(curve) - 1)
    assert found == pytest.approx([expected])


def runs(name, curves, pace=None, error=None):
    """A configuration's runs, evaluated every 10 steps: curves [S, T, P], or [S, T] of means alone."""
    made = []
    for seed, rows in enumerate(numpy.asarray(curves, float)):
        results = {}
        for index, row in enumerate(rows):
            shares = {str(problem): float(share) for problem, share in enumerate(row)} if row.ndim else None
            results[10 * index] = {"made-up": Score(float(row.mean()), shares, error)}
        clock = [(step, step * pace) for step in results if step] if pace else []
        made.append(Run(f"{name}-{seed}", name, seed, clock=clock, results=results))
    return made


def configured(curves, **more):
    (found,), _ = configurations(runs("one", curves, **more))
    return found


def noiseless(*curves, seeds=3, problems=8, pace=None):
    """Configurations whose every problem is answered with just the curve's accuracy."""
    made = []
    for index, curve in enumerate(curves):
        cells = numpy.tile(numpy.array(curve)[None, :, None], (seeds, 1, problems))
        made += runs("abc"[index], cells, pace=pace and pace[index])
    return configurations(made)[0]


def test_the_peak_of_a_clear_curve_is_its_best_step():
    draw = numpy.random.default_rng(4)
    for seeds in (1, 3):
        curves = numpy.array([0.1, 0.8, 0.4])[None, :, None] + draw.uniform(0, 0.1, (seeds, 3, 9))
        one = configured(curves)
        best, index = peak(one)
        assert index == 1
        assert same(best, one.estimates[1])


@pytest.mark.parametrize(("seeds", "luck"), [(1, 0), (2, 0.2), (4, 0)])
def test_the_peak_of_noise_is_no_higher_than_the_noise(seeds, luck):
    honest, naive, made = [], [], configured(numpy.zeros((seeds, 6, 20)))
    for number in range(400):
        draw = numpy.random.default_rng([5, seeds, number])
        chance = draw.uniform(0.2, 0.8, 20)  # of each problem, at each step the same but for the seed's luck
        chances = chance + draw.uniform(-luck, luck, (seeds, 6, 1))
        one = replace(made, shares=draw.binomial(4, chances, (seeds, 6, 20)) / 4)
        honest.append(peak(one)[0].value - chance.mean())
        naive.append((one.shares.mean(0) @ one.weights).max() - chance.mean())
    assert abs(fmean(honest)) < 3 * statistics.stdev(honest) / 20
    assert fmean(naive) > 10 * statistics.stdev(naive) / 20


def test_the_peak_of_means_alone_is_the_highest():
    one = configured([[0.1, 0.5, 0.4], [0.1, 0.3, 0.5]], error=0.02)
    best, index = peak(one)
    assert (best.value, index) == (pytest.approx(0.45), 2)
    assert math.sqrt(best.noise) == pytest.approx(0.02)  # both seeds answer the same problems: two are no less noisy


def test_the_order_of_seeds_does_not_matter_to_a_peak_and_a_saving():
    draw = numpy.random.default_rng(6)
    curves, others = (numpy.linspace(0.2, 0.7, 6)[:, None] + draw.normal(0, 0.1, (4, 6, 12)) for _ in "ab")
    one, turned = configured(curves), configured(curves[::-1])
    assert same(peak(one)[0], peak(turned)[0]) and peak(one)[1] == peak(turned)[1]
    values = [time_to_target(each, configured(others), "60%")["steps_saved"]["value"] for each in (one, turned)]
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
        one = configured(draw.binomial(4, 0.5, (2, 5, 6)) / 4)
        level, honest, highest = level_of(one, None), peak(one)[0].value, (one.shares.mean(0) @ one.weights).max()
        assert level == pytest.approx(min(honest, highest))


def holds(told, expected):
    """Whether the value is the expected one, within its interval; a bound that is None is open."""
    low, high = (math.inf * sign if told[key] is None else told[key] for key, sign in (("low", -1), ("high", 1)))
    return told["value"] == pytest.approx(expected) and low <= expected + 1e-9 and expected - 1e-9 <= high


SLOW, FAST = [0.2, 0.3, 0.4, 0.5, 0.6], [0.2, 0.4, 0.6, 0.6, 0.6]  # to 0.6 in 40 steps and in 20


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("target", "slow", "fast"),
    [("55%", 35, 17.5), (0.33, 13, 6.5), ("90%-of-rise", 36, 18), ("50%-of-rise", 20, 10), (None, 40, 20)],
)
def test_times_and_savings_without_noise_are_exact(seeds, target, slow, fast):
    base, one = noiseless(SLOW, FAST, seeds=seeds, pace=(90.0, 120.0))
    found = time_to_target(one, base, target)
    assert holds(found["steps"], fast) and holds(found["steps_saved"], 1 - fast / slow)
    assert holds(found["hours"], fast * 120 / 3600) and holds(found["hours_saved"], 1 - 120 * fast / (90 * slow))
    back = time_to_target(base, one, target)
    assert holds(back["steps"], slow) and holds(back["steps_saved"], 1 - slow / fast)
    assert time_to_target(one, base, target) == found


def test_a_target_that_neither_reaches_has_no_times():
    base, one = noiseless(SLOW, FAST, pace=(90.0, 120.0))
    for told in time_to_target(one, base, "61%").values():
        assert told["value"] is told["high"] is None


def test_a_target_that_only_the_baseline_reaches():
    base, one = noiseless(SLOW, [0.2, 0.2, 0.3, 0.3, 0.3])
    found = time_to_target(one, base, None)
    assert found["steps"]["value"] is found["steps_saved"]["value"] is found["steps_saved"]["low"] is None


def test_without_a_clock_there_are_no_hours():
    base, one = noiseless(SLOW, FAST)
    found = time_to_target(one, base)
    assert found["hours"] == found["hours_saved"] == {"value": None, "low": None, "high": None}
    assert found["steps_saved"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize("target", ["60%", "90%-of-rise", None])
def test_the_baseline_saves_nothing_against_itself(target):
    draw = numpy.random.default_rng(8)
    one = configured(numpy.linspace(0.2, 0.7, 6)[:, None] + draw.normal(0, 0.1, (3, 6, 12)), pace=60.0)
    found = time_to_target(one, one, target)
    assert found["steps"]["low"] < found["steps"]["value"]
    for unit in ("steps_saved", "hours_saved"):
        assert found[unit] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_target_that_is_relative_to_the_baseline_moves_with_its_curve():
    offsets = numpy.array([-0.1, 0.0, 0.1])[:, None, None]  # luck of seeds that are alike in all else
    one = configured(numpy.array(SLOW)[None, :, None] + offsets + numpy.zeros((3, 5, 8)))
    for target, steps in (("90%-of-rise", 36), ("50%-of-rise", 20)):
        found = time_to_target(one, one, target)["steps"]
        assert holds(found, steps) and found["high"] - found["low"] < 9  # of other problems; of other seeds nothing
    found = time_to_target(one, one, "50%")["steps"]
    assert found["low"] < 25 and found["value"] == pytest.approx(30) and (found["high"] or 99) > 35


def test_the_peak_of_a_plateau_is_reached():
    draw = numpy.random.default_rng(10)
    curve = numpy.array([0.2, 0.5, *[0.6] * 9])[None, :, None]
    one = configured(curve + draw.normal(0, 0.05, (3, 11, 20)))
    assert None not in time_to_target(one, one, None)["steps"].values()


def test_times_are_the_same_each_time_and_the_runs_unchanged():
    draw = numpy.random.default_rng(9)
    base, one = (
        configured(numpy.linspace(0.2, top, 6)[:, None] + draw.normal(0, 0.1, (3, 6, 12)), pace=60.0)
        for top in (0.6, 0.8)
    )
    kept = base.shares.copy(), one.shares.copy()
    first = time_to_target(one, base, "90%-of-rise")
    assert first == time_to_target(one, base, "90%-of-rise")
    assert first["steps_saved"]["low"] < first["steps_saved"]["value"] < first["steps_saved"]["high"]
    assert (kept[0] == base.shares).all() and (kept[1] == one.shares).all()


def test_times_between_problems_that_are_all_wrong_and_then_all_right_are_not_exact():
    cells = numpy.stack([numpy.zeros((3, 20)), numpy.ones((3, 20))], 1)
    one, other = configured(cells), configured(cells)
    for steps in (time_to_target(one, one, "50%")["steps"], time_to_target(other, one, "50%")["steps"]):
        assert steps["value"] == pytest.approx(5) and steps["low"] < 4.5 and steps["high"] > 5.5
    saved = time_to_target(other, one, "50%")["steps_saved"]
    assert saved["value"] == pytest.approx(0) and saved["low"] < -0.1 and saved["high"] > 0.1


def test_runs_with_the_same_answers_are_not_shown_to_be_equally_fast():
    draw = numpy.random.default_rng(11)
    curves = draw.random((1, 6, 30)) < numpy.linspace(0.2, 0.8, 6)[:, None]
    found = time_to_target(configured(curves), configured(curves), "50%")["steps_saved"]
    assert found["low"] < -0.01 < found["value"] == 0 < 0.01 < found["high"]


def test_a_baseline_may_reach_its_own_peak_as_late_as_its_curve_may_be_highest():
    draw = numpy.random.default_rng(12)
    curve = numpy.array([0.2, 0.5, 0.6, 0.61, 0.6, 0.605])[None, :, None]
    found = time_to_target(one := configured(curve + draw.normal(0, 0.05, (3, 6, 20))), one, None)["steps"]
    assert found["high"] == pytest.approx(50, abs=1) and found["low"] < 30


# Coverage

WORLDS = 150  # a rate of 95 % may come out as 89.7 to 100 %: three standard errors


RISES = {"slow": 0.08, "fast": 0.1}  # in accuracy, per evaluation


def worlds(seeds, luck, pace_luck=0.0, names=("slow", "fast")):
    """Configurations: "slow" is expected to reach 50 % at step 37.5, "fast" at step 30."""
    for number in range(WORLDS):
        draw = numpy.random.default_rng([number, seeds])
        ease, steps, made = draw.normal(0, 0.05, 40), numpy.arange(7), []
        for name in names:
            liking = draw.normal(0, 0.02, 40)
            level = 0.2 + RISES[name] * steps[:, None] + draw.normal(0, luck, (seeds, 1, 1)) + ease + liking
            cells = level + draw.normal(0, 0.02, (seeds, 7, 40))
            made += runs(name, cells)
            for run, pace in zip(made[-seeds:], numpy.exp(draw.normal(0, pace_luck, seeds)), strict=True):
                run.clock = [(10 * int(step), 3600 * 10 * step * pace) for step in steps[1:]]
        yield configurations(made)[0]


def contains(bounds, truth):
    """Whether an interval contains the truth; an end of None is unbounded."""
    low, high = bounds["low"], bounds["high"]
    return (low is None or low <= truth) and (high is None or truth <= high)


def test_intervals_of_steps_and_of_savings_contain_the_truth():
    inside = {"own": 0, "steps": 0, "steps_saved": 0}
    for base, one in worlds(seeds=2, luck=0.05):
        assert (base.name, one.name) == ("slow", "fast")
        told = time_to_target(one, base, "50%")
        inside["own"] += contains(time_to_target(base, base, "50%")["steps"], 37.5)
        inside["steps"] += contains(told["steps"], 30)
        inside["steps_saved"] += contains(told["steps_saved"], 0.2)
    assert min(inside.values()) > 0.9 * WORLDS, inside


def test_intervals_of_hours_contain_the_truth_where_the_pace_is_luck():
    alone = worlds(seeds=2, luck=0.005, pace_luck=0.1, names=["slow"])
    told = [time_to_target(base, base, "50%")["hours"] for (base,) in alone]
    assert sum(contains(hours, 37.5 * math.exp(0.1**2 / 2)) for hours in told) > 0.9 * WORLDS
