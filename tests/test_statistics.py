"""Intervals: textbook formulas as loops, closed forms, and how often they contain a known truth."""

import itertools
import math
import statistics
from statistics import fmean

import numpy
import pytest

from manypaths.statistics import (
    NORMAL,
    UNSEEN,
    Part,
    curve_shifts,
    estimate,
    freedom_of,
    interval,
    problem_parts,
    seed_parts,
    student,
)
from manypaths.statistics import wilson_interval as wilson
from manypaths.statistics.means import variance_of

T_TABLE = {1: 12.706205, 2: 4.302653, 3: 3.182446, 4: 2.776445, 10: 2.228139, 30: 2.042272, 120: 1.979930}
SHAPES = [(1, 7), (2, 2), (3, 5), (5, 40)]  # seeds, problems


def table(seeds, problems, number=0):
    """Random shares with luck of the seed and ease of the problem."""
    draw = numpy.random.default_rng([number, seeds, problems])
    logits = draw.normal(0, 1, (seeds, 1)) + draw.normal(0, 1, problems) + draw.normal(0, 0.3, (seeds, problems))
    return 1 / (1 + numpy.exp(-logits))


def joined(*tables):
    """Tables of benchmarks as `estimate` takes them: cells, blocks."""
    return numpy.concatenate(tables, 1), numpy.repeat(range(len(tables)), [cells.shape[1] for cells in tables])


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


def with_unseen(variance, problems, *means, differ=None):
    """The variance of a mean over problems if half a problem more had been seen.

    It is all right or all wrong; in a difference it has the geometric mean of that variance and the one observed.
    """
    most = sum(mean * (1 - mean) for mean in means)
    more = UNSEEN * (most if differ is None else math.sqrt(most * min(most, differ))) / problems
    return ((problems - 1) * variance + more) / (problems - 1 + UNSEEN)


def total(side, *pair):
    """The variance of an estimate, or of a difference."""
    return sum(getattr(part, side) for part in seed_parts(*pair) + problem_parts(*pair))


def half(parts):
    """Student's t times the standard deviation of parts (variance, freedom), with Satterthwaite's freedom."""
    whole = sum(variance for variance, _ in parts)
    freedom = whole**2 / sum(variance**2 / freedom for variance, freedom in parts)
    return student(freedom) * math.sqrt(whole)


def bounds(value, seeds, below, above):
    """The interval of a mean, of parts (variance, freedom): the squares of the seeds' and the problems' halves add."""
    low, high = (math.hypot(half(parts), half(seeds) if seeds else 0.0) for parts in (below, above))
    return max(value - low, 0.0), min(value + high, 1.0)


@pytest.mark.parametrize(("seeds", "problems"), SHAPES)
@pytest.mark.parametrize("ease", [1, 0], ids=["problems differ", "problems are alike"])
def test_the_parts_are_those_of_a_two_way_table_of_random_effects(seeds, problems, ease):
    for number in range(20):
        cells = table(seeds, problems, number)
        if not ease:  # so that the variance between problems is estimated as less than nothing, and counts as nothing
            cells = cells - (1 - 1e-3) * (cells.mean(0) - cells.mean())
        of_seeds, of_problems, left = mean_squares(cells)
        among = max(0.0, of_problems - left) / (seeds * problems) if seeds > 1 else of_problems / problems
        between = of_seeds / (seeds * problems)
        estimated = estimate(cells)
        mean = fmean(cells.flatten())
        assert estimated.value == pytest.approx(mean)
        [_, over_problems] = problem_parts(estimated)
        assert seed_parts(estimated) == [Part(pytest.approx(between), pytest.approx(between), seeds - 1)] * (seeds > 1)
        # over problems: Wilson's equation with as many trials as have this variance
        variance, t = with_unseen(among, problems, mean), student(problems - 1)
        low, high = mean - t * math.sqrt(over_problems.below), mean + t * math.sqrt(over_problems.above)
        for bound in (low, high):
            trials = mean * (1 - mean) / variance
            assert (mean - bound) ** 2 == pytest.approx(t**2 * bound * (1 - bound) / trials)
        sides = [[(((mean - bound) / t) ** 2, problems - 1)] for bound in (low, high)]
        luck = [(between, seeds - 1)] * (seeds > 1)
        assert interval(estimated) == pytest.approx(bounds(mean, luck, *sides))


@pytest.mark.parametrize("seeds", [1, 4])
def test_benchmarks_count_the_same_and_their_variances_add(seeds):
    tables = [table(seeds, problems, number) for number, problems in enumerate((3, 30, 12))]
    estimated = estimate(*joined(*tables))
    assert estimated.value == pytest.approx(fmean(cells.mean() for cells in tables))
    luck = sum(cells.mean(1) for cells in tables) / 3
    sides = []
    for side in ("below", "above"):
        own = [problem_parts(estimate(cells))[-1] for cells in tables]
        sides.append([(getattr(part, side) / 9, part.freedom) for part in own])
    between = [(statistics.variance(luck) / seeds, seeds - 1)] if seeds > 1 else []
    assert interval(estimated) == pytest.approx(bounds(estimated.value, between, *sides))


def test_a_difference_between_several_seeds_has_satterthwaites_freedom():
    pair = [estimate(table(seeds, 20, seeds)) for seeds in (3, 4)]
    parts = [(part.below, part.freedom) for part in seed_parts(*pair) + problem_parts(*pair)]
    low, high = interval(*pair)
    assert (high - low) / 2 == pytest.approx(half(parts))


def test_the_order_of_seeds_and_problems_does_not_matter():
    cells, blocks = joined(table(4, 6), table(4, 9))
    draw = numpy.random.default_rng(0)
    for _ in range(5):
        seeds, problems = draw.permutation(4), draw.permutation(15)
        turned = estimate(cells[seeds][:, problems], blocks[problems])
        assert interval(turned) == pytest.approx(interval(estimate(cells, blocks)))


@pytest.mark.parametrize("seeds", [1, 3])
def test_right_and_wrong_turn_the_interval_around(seeds):
    cells, blocks = joined(table(seeds, 6), table(seeds, 9), numpy.zeros((seeds, 4)))
    low, high = interval(estimate(cells, blocks))
    assert interval(estimate(1 - cells, blocks)) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_configuration_is_no_better_than_itself(seeds):
    mean = estimate(*joined(table(seeds, 6), table(seeds, 9)))
    low, high = interval(mean, mean)
    assert low == -high < 0  # other seeds of it would differ, and other problems might


def test_the_interval_of_a_difference_turns_around_with_it():
    first, second = (estimate(*joined(table(seeds, 6, seeds), table(seeds, 9, seeds))) for seeds in (3, 4))
    low, high = interval(first, second)
    assert -1 < low < high < 1
    assert interval(second, first) == pytest.approx((-high, -low))
    assert (low + high) / 2 == pytest.approx(first.value - second.value)


@pytest.mark.parametrize("counts", [(1, 1), (3, 3), (5, 2), (1, 4)], ids=str)
def test_how_easy_a_problem_is_changes_no_difference(counts):
    ease = numpy.random.default_rng(1).normal(0, 0.3, 15)
    ease -= numpy.repeat([ease[:6].mean(), ease[6:].mean()], [6, 9])
    tables = [joined(table(seeds, 6, n), table(seeds, 9, n)) for n, seeds in enumerate(counts)]
    before, after = ([estimate(cells + extra * ease, blocks) for cells, blocks in tables] for extra in (0, 1))
    assert interval(*after) == pytest.approx(interval(*before))
    (low, high), (lower, higher) = interval(before[0]), interval(after[0])
    assert higher - lower > high - low + 0.01


def test_the_variance_of_a_difference_is_that_of_the_differences_on_each_problem():
    pair = [table(seeds, 40, seeds) * 0.5 + numpy.linspace(0, 0.5, 40) for seeds in (3, 5)]
    differ = statistics.variance(pair[0].mean(0) - pair[1].mean(0))
    among = differ / 40
    between = 0.0
    for cells in pair:
        of_seeds, _, left = mean_squares(cells)
        between += of_seeds / cells.size
        among -= left / cells.size
    assert among > 0
    expected = between + with_unseen(among, 40, *(cells.mean() for cells in pair), differ=differ)
    for side in ("below", "above"):
        assert total(side, *map(estimate, pair)) == pytest.approx(expected)


def test_of_one_seed_the_half_problem_that_was_not_seen_counts_as_a_whole():
    """The difference may lie in rare problems, of which other seeds would show nothing either."""
    pair = [table(seeds, 40, seeds) * 0.5 + numpy.linspace(0, 0.5, 40) for seeds in (1, 3)]
    among = statistics.variance(pair[0].mean(0) - pair[1].mean(0)) / 40
    of_seeds, _, left = mean_squares(pair[1])
    expected = of_seeds / 120 + with_unseen(among - left / 120, 40, *(cells.mean() for cells in pair))
    assert total("above", *map(estimate, pair)) == pytest.approx(expected)


def test_noise_adds_its_square():
    pair = [table(3, 8, number) for number in (0, 1)]
    for side in ("below", "above"):
        noisy = [estimate(cells, standard_error=noise) for cells, noise in zip(pair, (0.3, 0.4), strict=True)]
        plain = list(map(estimate, pair))
        for count, noise in ((1, 0.3**2), (2, 0.3**2 + 0.4**2)):
            assert total(side, *noisy[:count]) == pytest.approx(total(side, *plain[:count]) + noise)


# All right, all wrong, all the same


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_where_all_answers_are_alike_the_interval_is_wilsons_over_the_problems(seeds, share):
    for problems in (1, 7, 30):
        assert interval(estimate(numpy.full((seeds, problems), share))) == pytest.approx(wilson(share, problems))


def test_of_one_answer_each_the_interval_is_wilsons():
    for hits in range(8):
        assert interval(estimate([1.0] * hits + [0.0] * (7 - hits))) == pytest.approx(wilson(hits / 7, 7))


def test_a_small_benchmark_without_a_right_answer_is_as_wide_beside_a_large_one():
    few, many = numpy.zeros((3, 30)), numpy.zeros((3, 500))
    low, high = interval(estimate(*joined(few, many)))
    assert (low, high) == (0, pytest.approx(math.hypot(wilson(0, 30)[1], wilson(0, 500)[1]) / 2))


def test_the_difference_of_what_is_all_right_or_all_wrong_has_a_width():
    right, wrong = estimate(numpy.ones((3, 8))), estimate(numpy.zeros((3, 8)))
    room = 1 - wilson(1, 8)[0]
    assert interval(right, right) == pytest.approx((-room, room))
    assert interval(wrong, wrong) == pytest.approx((-room, room))
    assert interval(right, wrong) == pytest.approx((1 - math.hypot(room, room), 1))
    assert interval(wrong, right) == pytest.approx((-1, math.hypot(room, room) - 1))


@pytest.mark.parametrize(("seeds", "problems"), [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3)])
def test_no_interval_has_a_width_of_0(seeds, problems):
    every = [
        numpy.reshape(cells, (seeds, problems)) for cells in itertools.product((0, 0.5, 1), repeat=seeds * problems)
    ]
    estimates = list(map(estimate, every))
    for first in estimates:
        low, high = interval(first)
        assert 0 <= low <= first.value <= high <= 1 and high - low > 0.1
    for first, second in itertools.product(estimates, estimates[:9]):
        low, high = interval(first, second)
        assert -1 <= low <= first.value - second.value + 1e-12 and high <= 1 and high - low > 0.1


def test_where_nothing_is_known_there_is_no_interval():
    for cells, error in (([[0.3]], math.nan), ([[0.0]], 0.0), ([[0.4], [0.4]], math.nan)):
        mean = estimate(cells, means_only=[True], standard_error=error)
        assert numpy.isnan(interval(mean)).all() and numpy.isnan(interval(mean, mean)).all()
    cells, blocks = joined(table(1, 9), numpy.full((1, 1), 0.5))  # one benchmark known by problem, of the other a mean
    assert numpy.isnan(interval(estimate(cells, blocks, [False, True], math.nan))).all()
    assert interval(estimate([[0.3]], means_only=[True], standard_error=0.1)) == pytest.approx(
        (0.3 - NORMAL * 0.1, 0.3 + NORMAL * 0.1)
    )


# Student and Wilson


@pytest.mark.parametrize("freedom", T_TABLE)
def test_students_t_is_the_tables(freedom):
    assert student(freedom) == pytest.approx(T_TABLE[freedom])


def test_degrees_of_freedom_are_found_by_their_t():
    for freedom in (1, 1.3, 2, 6.7, 80, 5000):
        assert student(freedom_of(student(freedom))) == pytest.approx(student(freedom), rel=1e-3)


def test_students_t_falls_to_the_normal_distributions():
    values = [student(freedom) for freedom in (1, 1.5, 7, 1000, 99_999, 1e6, math.inf)]
    assert values == sorted(values, reverse=True) and values[-1] == NORMAL == pytest.approx(values[-3], abs=3e-5)


@pytest.mark.parametrize("count", [1, 3, 10, 128, 1319, 10**9])
def test_the_interval_is_wilsons_and_lies_within_0_and_1(count):
    for hits in {0, 1, count // 3, count // 2, count - 1, count}:
        share = hits / count
        low, high = wilson(share, count)
        assert 0 <= low <= share <= high <= 1
        assert low < high
        assert math.copysign(1, low) == 1
        for bound in (low, high):  # the closed form: bounds solve (share - p)^2 = z^2 p (1 - p) / count
            square = NORMAL**2 * bound * (1 - bound) / count
            assert (share - bound) ** 2 == pytest.approx(square, rel=1e-6, abs=1e-15)


def test_wilsons_interval_is_known_for_one_case_and_shrinks_with_the_count():
    assert wilson(0.3, 50) == pytest.approx((0.191040, 0.437495), abs=1e-5)
    widths = [high - low for low, high in (wilson(0.3, count) for count in (10, 20, 40, 400, 4000))]
    assert all(later < earlier for earlier, later in itertools.pairwise(widths))


# Coverage

POINTS, MASS = numpy.polynomial.hermite_e.hermegauss(60)
WORLDS = 400  # a rate of 95 % may come out as 91.7 to 98.3 %: three standard errors


def expected(level, *deviations):
    """The mean of a logistic function of a level, moved by normal deviations of these sizes."""
    spread = math.sqrt(sum(size**2 for size in deviations))
    return float((MASS / MASS.sum() / (1 + numpy.exp(-(level + spread * POINTS)))).sum())


def coverage(seeds, problems, samples, levels, luck, ease=1.5, liking=0.4):
    """How often the interval of a mean, or of the difference of two levels, contains the truth."""
    draw = numpy.random.default_rng([seeds, problems, samples])
    truths = [expected(level, luck, ease, liking) for level in levels]
    truth = truths[0] - sum(truths[1:])
    held = 0
    for _ in range(WORLDS):
        common = draw.normal(0, ease, problems)
        sides = []
        for level in levels:
            logits = level + common + draw.normal(0, liking, problems) + draw.normal(0, luck, (seeds, 1))
            sides.append(estimate(draw.binomial(samples, 1 / (1 + numpy.exp(-logits))) / samples))
        low, high = interval(*sides)
        held += low <= truth <= high
    return held / WORLDS


@pytest.mark.parametrize(
    ("problems", "samples", "levels"),
    [
        (3, 16, (0.0,)),
        (3, 16, (3.5, 3.0)),
        (5, 16, (-3.0,)),
        (5, 16, (-1.0, 1.0)),
        (10, 4, (0.0, 0.0)),
        (10, 4, (3.5, 3.0)),
        (10, 1, (0.0,)),
        (10, 1, (-1.0, 1.0)),
        (30, 16, (-3.0,)),
        (30, 16, (0.0, 0.0)),
    ],
)
def test_with_one_seed_and_without_luck_the_intervals_contain_the_truth(problems, samples, levels):
    assert coverage(1, problems, samples, levels, luck=0.0) > 0.917


LEVELS = [(0.0,), (-3.0,), (0.0, 0.0), (-1.0, 1.0)]


@pytest.mark.parametrize(
    ("seeds", "luck", "levels"),  # every pair of two of them
    [
        (seeds, (0.1, 0.5)[(row + column) % 2], levels)
        for row, levels in enumerate(LEVELS)
        for column, seeds in enumerate((2, 3, 5))
    ],
)
def test_with_several_seeds_the_intervals_contain_the_truth(seeds, luck, levels):
    assert coverage(seeds, 30, 4, levels, luck) > 0.91


@pytest.mark.parametrize("seeds", [(3, 3), (1, 1), (4, 2)])
def test_bootstrapped_curves_have_the_variance_of_the_intervals(seeds):
    """Each by itself, and in their difference, where the problems are the same."""
    draw = numpy.random.default_rng(4)
    ease, logits = draw.normal(0, 1, 60), []
    for count in seeds:
        own = draw.normal(0, 0.7, 60) + draw.normal(0, 0.1, (count, 1))
        logits.append(ease + own + draw.normal(0, 0.7, (count, 60)))
    first, second = (estimate(1 / (1 + numpy.exp(-values))) for values in logits)
    shifts = curve_shifts({0.0: first}, {0.0: second}, draw)
    for shift, pair in (
        (shifts[0], (first, None)),
        (shifts[1], (second, None)),
        (shifts[0] - shifts[1], (first, second)),
    ):
        variance, _ = variance_of(seed_parts(*pair) + problem_parts(*pair), "above")
        assert shift.var() == pytest.approx(variance, rel=0.2)
