"""Accuracies, peaks and races: equations as loops, closed forms, made-up worlds whose truth is known."""

import math
import statistics
from statistics import fmean

import numpy
import pytest

from manypaths.compare import configurations
from manypaths.curves import (
    arrival,
    at,
    estimate,
    interval,
    level_of,
    peak,
    race,
    rise_of,
    rising,
    student,
    variance_of,
)
from manypaths.metrics import wilson_interval
from manypaths.runs import Run, Score

T_TABLE = {1: 12.706205, 2: 4.302653, 3: 3.182446, 4: 2.776445, 10: 2.228139, 30: 2.042272, 120: 1.979930}
SHAPES = [(1, 7), (2, 2), (3, 5), (5, 40)]  # seeds, problems


def table(seeds, problems, number=0):
    """Random cells with luck of the seed and ease of the problem."""
    draw = numpy.random.default_rng([number, seeds, problems])
    return draw.normal(0, 1, (seeds, 1)) + draw.normal(0, 1, problems) + draw.normal(0, 0.3, (seeds, problems))


def joined(*tables):
    """Tables of benchmarks as `estimate` takes them: cells, weights, blocks."""
    sizes = [cells.shape[1] for cells in tables]
    weights = numpy.concatenate([numpy.full(size, 1 / size / len(sizes)) for size in sizes])
    return numpy.concatenate(tables, 1), weights, numpy.repeat(numpy.arange(len(sizes)), sizes).astype(float)


def mean_squares(cells):
    """Of seeds, of problems and of what is left, as a textbook on two-way tables has them."""
    seeds, problems = cells.shape
    whole = fmean(cells[s][p] for s in range(seeds) for p in range(problems))
    rows = [fmean(cells[s][p] for p in range(problems)) for s in range(seeds)]
    columns = [fmean(cells[s][p] for s in range(seeds)) for p in range(problems)]
    left = sum((cells[s][p] - rows[s] - columns[p] + whole) ** 2 for s in range(seeds) for p in range(problems))
    return (
        problems * sum((row - whole) ** 2 for row in rows) / max(1, seeds - 1),
        seeds * sum((column - whole) ** 2 for column in columns) / (problems - 1),
        left / max(1, (seeds - 1) * (problems - 1)),
    )


def same(one, other):
    """Whether two estimates say the same."""
    return (one.value, *interval(one)) == pytest.approx((other.value, *interval(other)))


@pytest.mark.parametrize(("seeds", "problems"), SHAPES)
@pytest.mark.parametrize("ease", [1, 0], ids=["problems differ", "problems are alike"])
def test_the_variance_is_that_of_a_two_way_table_of_random_effects(seeds, problems, ease):
    for number in range(20):
        cells = table(seeds, problems, number)
        if not ease:  # so that the variance between problems is estimated as less than nothing, and counts as nothing
            cells = cells - (1 - 1e-3) * (cells.mean(0) - cells.mean())
        of_seeds, of_problems, left = mean_squares(cells)
        among = max(0.0, of_problems - left) / (seeds * problems)
        between = of_seeds / (seeds * problems)
        below = between**2 / max(1, seeds - 1) + among**2 / (problems - 1)
        found = estimate(*joined(cells))
        variance, freedom = variance_of([found])
        assert found.value == pytest.approx(fmean(cells.flatten()))
        assert variance == pytest.approx(between + among)
        assert freedom == pytest.approx((between + among) ** 2 / below)
        half = student(freedom) * math.sqrt(between + among)
        assert interval(found) == pytest.approx((found.value - half, found.value + half))


@pytest.mark.parametrize("seeds", [1, 4])
def test_benchmarks_count_the_same_and_their_variances_add(seeds):
    tables = [table(seeds, problems, number) for number, problems in enumerate((3, 30, 12))]
    found = estimate(*joined(*tables))
    assert found.value == pytest.approx(fmean(cells.mean() for cells in tables))
    among = 0.0
    for cells in tables:
        _, of_problems, left = mean_squares(cells)
        among += (of_problems - left) / cells.size / 9
    seed_means = sum(cells.mean(1) for cells in tables) / 3
    between = statistics.variance(seed_means) / seeds if seeds > 1 else 0.0
    below = among**2 / (3 + 30 + 12 - 1) + between**2 / max(1, seeds - 1)
    half = student((among + between) ** 2 / below) * math.sqrt(among + between)
    assert interval(found) == pytest.approx((found.value - half, found.value + half))


def test_the_order_of_seeds_and_problems_does_not_matter():
    cells, weights, blocks = joined(table(4, 6), table(4, 9))
    found, draw = estimate(cells, weights, blocks), numpy.random.default_rng(0)
    for _ in range(5):
        seeds, problems = draw.permutation(4), draw.permutation(15)
        assert same(estimate(cells[seeds][:, problems], weights[problems], blocks[problems]), found)


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_configuration_is_no_better_than_itself(seeds):
    one = estimate(*joined(table(seeds, 6), table(seeds, 9)))
    low, high = interval(one, one)
    assert low == -high <= 0
    assert (high == 0) == (seeds == 1)  # other seeds of it would differ


def test_the_interval_of_a_difference_turns_around_with_it():
    one, other = (estimate(*joined(table(seeds, 6, seeds), table(seeds, 9, seeds))) for seeds in (3, 2))
    low, high = interval(one, other)
    assert interval(other, one) == pytest.approx((-high, -low))
    assert (low + high) / 2 == pytest.approx(one.value - other.value)


@pytest.mark.parametrize("counts", [(1, 1), (3, 3), (5, 2), (1, 4)], ids=str)
def test_how_easy_a_problem_is_changes_no_difference(counts):
    ease = numpy.random.default_rng(1).normal(0, 5, 15)
    before, after = (
        [estimate(cells + extra * ease, weights, blocks) for cells, weights, blocks in pair]
        for pair in [[joined(table(seeds, 6, n), table(seeds, 9, n)) for n, seeds in enumerate(counts)]]
        for extra in (0, 1)
    )
    assert interval(*after) == pytest.approx(interval(*before))
    assert variance_of(after[:1])[0] > 0.5 + variance_of(before[:1])[0]


def test_the_variance_of_a_difference_is_that_of_the_differences_on_each_problem():
    pair = [table(seeds, 40, seeds) + numpy.linspace(0, 2, 40) for seeds in (3, 5)]
    among = statistics.variance(pair[0].mean(0) - pair[1].mean(0)) / 40
    between = 0.0
    for cells in pair:
        of_seeds, _, left = mean_squares(cells)
        between += of_seeds / cells.size
        among -= left / cells.size
    assert among > 0
    assert variance_of([estimate(*joined(cells)) for cells in pair])[0] == pytest.approx(between + among)


def test_with_one_seed_only_problems_count():
    cells = table(1, 12)
    low, high = interval(estimate(*joined(cells)))
    assert (high - low) / 2 == pytest.approx(student(11) * statistics.stdev(cells[0]) / math.sqrt(12))


def test_noise_adds_its_square():
    pair = [estimate(*joined(table(3, 8, number))) for number in (0, 1)]
    noisy = [estimate(*joined(table(3, 8, number)), noise) for number, noise in ((0, 0.3), (1, 0.4))]
    assert variance_of(noisy)[0] == pytest.approx(variance_of(pair)[0] + 0.3**2 + 0.4**2)
    assert variance_of(noisy[:1])[0] == pytest.approx(variance_of(pair[:1])[0] + 0.3**2)


@pytest.mark.parametrize(("seeds", "share"), [(1, 0.0), (3, 1.0)])
def test_where_all_answers_are_alike_the_interval_is_wilsons(seeds, share):
    found = estimate(*joined(numpy.full((seeds, 7), share), numpy.full((seeds, 5), share)))
    assert interval(found) == pytest.approx(wilson_interval(share, 12))


def test_of_one_mean_without_an_error_there_is_no_interval():
    one = configured([[0.2, 0.4]])
    assert numpy.isnan(interval(at(one, 1))).all()
    (base,) = noiseless([0.2, 0.6])
    assert numpy.isnan(interval(at(one, 1), at(base, 1))).all()
    assert race(one, one, "30%")["steps"] == {"value": pytest.approx(5), "low": None, "high": None}


@pytest.mark.parametrize("freedom", T_TABLE)
def test_students_t_is_the_tables(freedom):
    assert student(freedom) == pytest.approx(T_TABLE[freedom])


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


def test_rising_is_isotonic_regression():
    found = rising(CURVES)
    assert found == pytest.approx(numpy.array([pooled(curve) for curve in CURVES]))
    assert (numpy.diff(found) >= -1e-12).all()
    assert found.mean(1) == pytest.approx(CURVES.mean(1))
    assert rising(numpy.sort(CURVES)) == pytest.approx(numpy.sort(CURVES))
    assert rising(CURVES[:, :1]) == pytest.approx(CURVES[:, :1])


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
def test_arrival_is_the_first_time_the_rising_curve_is_there(top):
    steps = numpy.array([0.0, 1, 2, 5, 10, 20, 21, 30, 100])
    targets = numpy.random.default_rng(3).normal(1, 1, len(CURVES))
    found = arrival(CURVES, steps, targets, top)
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
def test_arrival_in_closed_form(curve, target, expected):
    steps = 10.0 * numpy.arange(len(curve))
    found = arrival(numpy.array([curve]), steps, numpy.array([target]), len(curve) - 1)
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
        assert same(best, at(one, 1))


@pytest.mark.parametrize(("seeds", "luck"), [(1, 0), (2, 0), (4, 0), (2, 0.2), (4, 0.2)])
def test_the_peak_of_noise_is_no_higher_than_the_noise(seeds, luck):
    honest, naive = [], []
    for number in range(400):
        draw = numpy.random.default_rng([5, seeds, number])
        chance = draw.uniform(0.2, 0.8, 20)  # of each problem, at each step the same but for the seed's luck
        chances = chance + draw.uniform(-luck, luck, (seeds, 6, 1))
        one = configured(draw.binomial(4, chances, (seeds, 6, 20)) / 4)
        honest.append(peak(one)[0].value - chance.mean())
        naive.append((one.shares.mean(0) @ one.weights).max() - chance.mean())
    assert abs(fmean(honest)) < 3 * statistics.stdev(honest) / 20
    assert fmean(naive) > 10 * statistics.stdev(naive) / 20


def test_the_peak_of_means_alone_is_the_highest():
    one = configured([[0.1, 0.5, 0.4], [0.1, 0.3, 0.5]], error=0.02)
    best, index = peak(one)
    assert (best.value, index) == (pytest.approx(0.45), 2)
    assert math.sqrt(best.noise) == pytest.approx(0.02)  # both seeds answer the same problems: two are no less noisy


def test_the_order_of_seeds_does_not_matter_to_a_peak_and_a_race():
    draw = numpy.random.default_rng(6)
    curves, others = (numpy.linspace(0.2, 0.7, 6)[:, None] + draw.normal(0, 0.1, (4, 6, 12)) for _ in "ab")
    one, turned = configured(curves), configured(curves[::-1])
    assert same(peak(one)[0], peak(turned)[0]) and peak(one)[1] == peak(turned)[1]
    values = [race(each, configured(others), "60%")["steps_saved"]["value"] for each in (one, turned)]
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
    with pytest.raises(ValueError, match=r"A target is an accuracy such as .*-of-rise; given .*\.$"):
        rise_of(target)


def test_a_baselines_peak_is_the_honest_one_and_never_above_its_curve():
    for number in range(50):
        draw = numpy.random.default_rng([7, number])
        one = configured(draw.binomial(4, 0.5, (2, 5, 6)) / 4)
        level, honest, highest = level_of(one, None), peak(one)[0].value, (one.shares.mean(0) @ one.weights).max()
        assert level == pytest.approx(min(honest, highest))


def all_are(told, expected):
    """Value, low and high: an interval of width 0."""
    return (told["value"], told["low"], told["high"]) == pytest.approx((expected,) * 3)


SLOW, FAST = [0.2, 0.3, 0.4, 0.5, 0.6], [0.2, 0.4, 0.6, 0.6, 0.6]  # to 0.6 in 40 steps and in 20


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("target", "slow", "fast"),
    [("55%", 35, 17.5), (0.33, 13, 6.5), ("90%-of-rise", 36, 18), ("50%-of-rise", 20, 10), (None, 40, 20)],
)
def test_a_race_without_noise_is_exact(seeds, target, slow, fast):
    base, one = noiseless(SLOW, FAST, seeds=seeds, pace=(90.0, 120.0))
    found = race(one, base, target)
    assert all_are(found["steps"], fast) and all_are(found["steps_saved"], 1 - fast / slow)
    assert all_are(found["hours"], fast * 120 / 3600) and all_are(found["hours_saved"], 1 - 120 * fast / (90 * slow))
    back = race(base, one, target)
    assert all_are(back["steps"], slow) and all_are(back["steps_saved"], 1 - slow / fast)
    assert race(one, base, target) == found


def test_a_race_that_nobody_ends():
    base, one = noiseless(SLOW, FAST, pace=(90.0, 120.0))
    for told in race(one, base, "61%").values():
        assert told == {"value": None, "low": None, "high": None}


def test_a_race_that_only_the_baseline_ends():
    base, one = noiseless(SLOW, [0.2, 0.2, 0.3, 0.3, 0.3])
    found = race(one, base, None)
    assert found["steps"]["value"] is found["steps_saved"]["value"] is found["steps_saved"]["low"] is None


def test_without_a_clock_there_are_no_hours():
    base, one = noiseless(SLOW, FAST)
    found = race(one, base)
    assert found["hours"] == found["hours_saved"] == {"value": None, "low": None, "high": None}
    assert found["steps_saved"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize("target", ["60%", "90%-of-rise", None])
def test_a_race_against_oneself_saves_nothing(target):
    draw = numpy.random.default_rng(8)
    one = configured(numpy.linspace(0.2, 0.7, 6)[:, None] + draw.normal(0, 0.1, (3, 6, 12)), pace=60.0)
    found = race(one, one, target)
    assert found["steps"]["low"] < found["steps"]["value"]
    for unit in ("steps_saved", "hours_saved"):
        assert found[unit] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_target_that_is_relative_to_the_baseline_moves_with_its_curve():
    offsets = numpy.array([-0.1, 0.0, 0.1])[:, None, None]  # luck of seeds that are alike in all else
    one = configured(numpy.array(SLOW)[None, :, None] + offsets + numpy.zeros((3, 5, 8)))
    for target, steps in (("90%-of-rise", 36), ("50%-of-rise", 20)):
        assert all_are(race(one, one, target)["steps"], steps)
    found = race(one, one, "50%")["steps"]
    assert found["low"] < 25 and found["value"] == pytest.approx(30) and (found["high"] or 99) > 35


def test_a_race_to_the_peak_on_a_plateau_ends():
    draw = numpy.random.default_rng(10)
    curve = numpy.array([0.2, 0.5, *[0.6] * 9])[None, :, None]
    one = configured(curve + draw.normal(0, 0.05, (3, 11, 20)))
    assert None not in race(one, one, None)["steps"].values()


def test_a_race_is_the_same_each_time_and_does_not_touch_its_runs():
    draw = numpy.random.default_rng(9)
    base, one = (
        configured(numpy.linspace(0.2, top, 6)[:, None] + draw.normal(0, 0.1, (3, 6, 12)), pace=60.0)
        for top in (0.6, 0.8)
    )
    kept = base.shares.copy(), one.shares.copy()
    first = race(one, base, "90%-of-rise")
    assert first == race(one, base, "90%-of-rise")
    assert first["steps_saved"]["low"] < first["steps_saved"]["value"] < first["steps_saved"]["high"]
    assert (kept[0] == base.shares).all() and (kept[1] == one.shares).all()
