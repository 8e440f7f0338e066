"""Differences seed by seed, starts with several seeds, other levels, and numbers without a range."""

import itertools
import math
import statistics
from statistics import NormalDist, fmean

import numpy
import pytest
import scipy.stats

from manypaths.statistics import (
    UNSEEN,
    average_clusters,
    bootstrap_paces,
    curve_freedom,
    curve_shifts,
    estimate,
    interval,
    problem_parts,
    seed_parts,
    student,
    wilson_interval,
)
from manypaths.statistics.means import variance_of


def tables(seeds, problems, number=0):
    """Shares of two configurations, [S, P] each, with a luck of seeds and an ease of problems that both have."""
    draw = numpy.random.default_rng([number, seeds, problems])
    common = draw.normal(0, 0.5, (seeds, 1)) + draw.normal(0, 1, problems) + draw.normal(0, 0.5, (seeds, problems))
    own = draw.normal(0, 0.2, (2, seeds, 1)) + draw.normal(0, 0.3, (2, seeds, problems)) + draw.normal(0, 0.3, problems)
    return 1 / (1 + numpy.exp(-common - own))


def means_of(values, error=0.0, bounded=False):
    """Means of one benchmark by seed."""
    cells = numpy.reshape(values, (-1, 1))
    return estimate(cells, means_only=[True], standard_error=error, bounded=bounded)


# Levels


@pytest.mark.parametrize("level", [0.05, 0.6, 0.9, 0.949, 0.951, 0.99, 0.9999, 1 - 1e-6, 1 - 1e-9])
def test_students_t_is_scipys_at_every_level(level):
    for freedom in (1, 1.02, 1.3, 1.9, 2, 2.5, 4, 7.7, 30, 999, 1001, 1e5, 9e5):
        tail = 2 * scipy.stats.t.sf(student(freedom, level), freedom)
        assert tail == pytest.approx(1 - level, rel=2e-4 if level > 1 - 1e-8 else 1e-6)
    assert student(math.inf, level) == pytest.approx(NormalDist().inv_cdf((1 + level) / 2))


@pytest.mark.parametrize("level", [-0.1, 0.0, 1.0, 95])
def test_a_level_is_a_probability(level):
    with pytest.raises(ValueError, match="A level must be above 0"):
        interval(means_of([1.0, 2.0]), level=level)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_of_equal_shares_the_interval_is_wilsons_at_every_level(level):
    z = NormalDist().inv_cdf((1 + level) / 2)
    for share in (0.0, 0.25, 1.0):
        assert interval(estimate(numpy.full((3, 8), share)), level=level) == pytest.approx(wilson_interval(share, 8, z))
    alike = estimate([[0.2, 0.8]]), estimate([[0.1, 0.7]])  # the difference is 0.1 on both problems
    low, high = interval(*alike, level=level)
    rate = wilson_interval(0.0, 2, z)[1]  # of another difference
    assert (low, high) == pytest.approx((0.1 - rate * 1.1, min(1.0, 0.1 + rate * 0.9)))


@pytest.mark.parametrize("paired", [False, True])
def test_a_higher_level_has_a_wider_interval(paired):
    for number in range(10):
        first, second = map(estimate, tables(3, 6, number))
        for pair in ((first,), (first, second)):
            ends = [interval(*pair, level=level, paired=paired) for level in (0.3, 0.8, 0.9, 0.95, 0.99)]
            assert all(wide[0] <= low < high <= wide[1] for (low, high), wide in itertools.pairwise(ends))


# Pairs of seeds


@pytest.mark.parametrize(("seeds", "problems"), [(2, 2), (3, 5), (10, 40)])
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_a_paired_difference_is_one_table_of_differences(seeds, problems, level):
    for number in range(20):
        first, second = tables(seeds, problems, number)
        table = [[first[s][p] - second[s][p] for p in range(problems)] for s in range(seeds)]
        mean = fmean(itertools.chain(*table))
        rows = [fmean(row) for row in table]
        columns = [fmean(column) for column in zip(*table, strict=True)]
        left = sum((table[s][p] - rows[s] - columns[p] + mean) ** 2 for s in range(seeds) for p in range(problems)) / (
            (seeds - 1) * (problems - 1)
        )
        among = max(0.0, statistics.variance(columns) / problems - left / (seeds * problems))
        most = sum(side.mean() * (1 - side.mean()) for side in (first, second))
        unseen = UNSEEN * math.sqrt(most * min(most, statistics.variance(columns))) / problems
        over_problems = ((problems - 1) * among + unseen) / (problems - 1 + UNSEEN)
        half = math.hypot(
            student(seeds - 1, level) * math.sqrt(statistics.variance(rows) / seeds),
            student(problems - 1, level) * math.sqrt(over_problems),
        )
        expected = max(mean - half, -1), min(mean + half, 1)
        assert interval(estimate(first), estimate(second), level=level, paired=True) == pytest.approx(expected)


def test_what_seeds_share_leaves_a_paired_difference():
    first, second = tables(4, 9) / 4
    shared = numpy.random.default_rng(3).uniform(0, 0.4, (4, 1)) + numpy.random.default_rng(4).uniform(0, 0.3, (4, 9))
    shared += 0.35 - shared.mean()  # the same means, with which half a problem is weighted
    before = [estimate(cells + 0.35) for cells in (first, second)]
    after = [estimate(cells + shared) for cells in (first, second)]
    assert interval(*after, paired=True) == pytest.approx(interval(*before, paired=True))
    widths = [high - low for low, high in (interval(*after), interval(*before))]
    assert widths[0] > widths[1] + 0.05


def test_a_paired_difference_turns_around_and_has_no_order_of_seeds_and_problems():
    first, second = tables(5, 7)
    blocks, order, other = numpy.array([0, 0, 0, 1, 1, 1, 1]), [3, 1, 0, 4, 2], [6, 2, 4, 0, 1, 3, 5]
    low, high = interval(estimate(first, blocks), estimate(second, blocks), paired=True)
    assert interval(estimate(second, blocks), estimate(first, blocks), paired=True) == pytest.approx((-high, -low))
    moved = [estimate(cells[order][:, other], blocks[other]) for cells in (first, second)]
    assert interval(*moved, paired=True) == pytest.approx((low, high))


def test_without_shared_luck_pairing_changes_no_variance_on_average():
    variances = []
    for number in range(400):
        pair = [estimate(tables(4, 30, 2 * number + side)[side]) for side in (0, 1)]
        both = [seed_parts(*pair, paired=paired) + problem_parts(*pair, paired=paired) for paired in (False, True)]
        variances.append([variance_of(parts, "below")[0] for parts in both])
    unpaired, paired = numpy.mean(variances, 0)
    assert paired == pytest.approx(unpaired, rel=0.05)
    assert numpy.std(variances, 0)[1] > numpy.std(variances, 0)[0] * 1.05  # of half the degrees of freedom


def test_of_one_seed_each_nothing_can_be_paired():
    first, second = map(estimate, tables(1, 8))
    assert interval(first, second, paired=True) == interval(first, second)


def test_pairs_need_the_same_seeds():
    three, four = estimate(tables(3, 8)[0]), estimate(tables(4, 8)[0])
    for call in (
        lambda: interval(three, four, paired=True),
        lambda: curve_shifts({0.0: three}, {0.0: four}, numpy.random.default_rng(0), paired=True),
        lambda: curve_freedom({0.0: three}, {0.0: four}, paired=True),
    ):
        with pytest.raises(ValueError, match="the same seeds, got 3 and 4 seeds"):
            call()


@pytest.mark.parametrize("luck", [1.0, 0.1])
@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_paired_curves_have_the_variance_and_the_freedom_of_the_intervals(seeds, luck):
    cells = tables(seeds, 60)
    first, second = map(
        estimate, cells - (1 - luck) * (cells.mean(2, keepdims=True) - cells.mean((1, 2))[:, None, None])
    )
    draw, curves = numpy.random.default_rng(4), ({0.0: first}, {0.0: second})
    shifts = curve_shifts(*curves, draw, paired=True, draws=20_000)
    for shift, pair, interaction in (
        (shifts[0], (first, None), first.shared.sum()),  # what problems have in common may hold some interaction
        (shifts[1], (second, None), second.shared.sum()),
        (shifts[0] - shifts[1], (first, second), 0.0),
    ):
        assert shift.shape == (20_000, 1)
        variance, _ = variance_of(seed_parts(*pair, paired=True) + problem_parts(*pair, paired=True), "above")
        assert 0.92 * variance < shift.var() < 1.08 * (variance + interaction)
    low, high = interval(first, second, paired=True)
    spread = math.sqrt(variance)
    assert student(curve_freedom(*curves, paired=True)) == pytest.approx((high - low) / 2 / spread, rel=1e-3)


@pytest.mark.parametrize("paired", [False, True])
def test_half_a_problem_more_moves_two_curves_alike_as_far_as_their_difference_says(paired):
    draw = numpy.random.default_rng(8)
    first, second = map(estimate, 0.5 + draw.normal(0, 0.01, (2, 4, 6)))  # of alike problems it is most of the error
    shifts = curve_shifts({0.0: first}, {0.0: second}, draw, paired=paired, draws=20_000)
    for shift, side in zip(shifts, (first, second), strict=True):
        assert shift.var() == pytest.approx(UNSEEN * side.value * (1 - side.value) / (6 * (5 + UNSEEN)), rel=0.05)
    parts = seed_parts(first, second, paired=paired) + problem_parts(first, second, paired=paired)
    both = variance_of(parts, "above")[0]
    assert (shifts[0] - shifts[1]).var() == pytest.approx(both, rel=0.05)
    assert both < shifts[0].var() / 5


def test_paired_paces_share_their_draws():
    seconds = numpy.array([[10.0, 11.0, 15.0], [20.0, 22.0, 30.0], [14.0, 13.0, 9.0]])
    paces = bootstrap_paces(seconds, numpy.random.default_rng(0), draws=20_000)
    assert paces.shape == (3, 20_000)
    assert paces[0] == pytest.approx(paces[1])  # twice the seconds in every run
    inside = (paces[0] > 0.1) & (paces[2] > 0.1)
    assert paces[0, inside] == pytest.approx(2 - paces[2, inside])  # slower in the runs that were faster
    assert paces[2] == pytest.approx(bootstrap_paces(seconds[2], numpy.random.default_rng(0), draws=20_000))


# Starts


def test_the_seeds_of_a_start_are_averaged():
    cells, names = tables(6, 4)[0], ["b", "a", "b", None, "b", None]
    means, starts = average_clusters(cells, names)
    assert starts == ["b", "a", None, None]
    expected = [[fmean(cells[s][p] for s in group) for p in range(4)] for group in ([0, 2, 4], [1], [3], [5])]
    assert means == pytest.approx(numpy.array(expected))
    with_steps, _ = average_clusters(cells.reshape(6, 2, 2), names)
    assert with_steps == pytest.approx(means.reshape(4, 2, 2))
    with pytest.raises(ValueError, match="each of 6 seeds, got 2 names"):
        average_clusters(cells, ["a", "b"])


def test_of_starts_with_one_seed_each_nothing_changes():
    cells = tables(4, 6)[0]
    assert (average_clusters(cells, "abcd")[0] == cells).all()


# Numbers without a range


def test_the_interval_of_unbounded_means_is_students_and_its_difference_welchs():
    rewards, others = [3.0, 2.5, 4.25, 7.0], [-1.0, -2.5, -1.25, -9.0]
    low, high = interval(means_of(rewards))
    bounds = scipy.stats.ttest_1samp(rewards, 0.0).confidence_interval()
    assert (low, high) == pytest.approx(tuple(bounds), rel=1e-6) and high > 1
    bounds = scipy.stats.ttest_ind(rewards, others, equal_var=False).confidence_interval()
    assert interval(means_of(rewards), means_of(others)) == pytest.approx(tuple(bounds), rel=1e-6)
    bounds = scipy.stats.ttest_rel(rewards, others).confidence_interval(0.9)
    assert interval(means_of(rewards), means_of(others), level=0.9, paired=True) == pytest.approx(tuple(bounds))
    wide = interval(means_of(rewards, error=0.5))
    assert wide[0] < low and wide[1] > high


def test_numbers_without_a_range_are_means():
    with pytest.raises(ValueError, match="must be means"):
        estimate([[3.0, 4.0]], bounded=False)


def test_a_difference_by_rounding_alone_has_no_interval():
    first, second = (means_of(numpy.array([0.31, 0.62, 0.47]) - less, bounded=True) for less in (0.0, 0.07))
    assert 0 < numpy.ptp(first.seeds - second.seeds) < 1e-15
    assert numpy.isnan(interval(first, second, paired=True)).all()
    large, larger = (means_of(numpy.array([0.1, 0.2, 0.3]) * 1e9 + more) for more in (0.0, 0.1))
    assert numpy.isnan(interval(large, larger, paired=True)).all()


def test_both_ends_of_a_difference_of_shares_are_shares():
    for first, second in itertools.product(itertools.product((0.0, 0.5, 1.0), repeat=2), repeat=2):
        for paired in (False, True):
            low, high = interval(means_of(first, 0.9, True), means_of(second, 0.9, True), paired=paired)
            assert -1 <= low < high <= 1


# Coverage

WORLDS = 400  # a rate of 95 % may come out as 91.7 to 98.3 %: three standard errors


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_paired_intervals_contain_the_truth_and_are_narrower_where_seeds_share_luck(seeds):
    draw, held, widths = numpy.random.default_rng(seeds), 0, numpy.zeros(2)
    for _ in range(WORLDS):
        shared = 0.45 + draw.normal(0, 0.08, (seeds, 1)) + draw.normal(0, 0.12, 30)
        own = draw.normal(0, 0.02, (2, seeds, 1)) + draw.normal(0, 0.03, (2, 1, 30)) + [[[0.05]], [[0.0]]]
        pair = [estimate(draw.binomial(8, numpy.clip(shared + side, 0, 1)) / 8) for side in own]
        ends = [interval(*pair, paired=paired) for paired in (False, True)]
        held += ends[1][0] <= 0.05 <= ends[1][1]
        widths += [high - low for low, high in ends]
    assert held / WORLDS > 0.917
    assert widths[1] < 0.9 * widths[0]


def test_intervals_over_starts_contain_the_truth_where_those_over_seeds_do_not():
    draw, held, starts = numpy.random.default_rng(1), numpy.zeros(2), numpy.repeat(range(4), [1, 2, 3, 4])
    for _ in range(WORLDS):
        luck = draw.normal(0, 0.05, 4)[starts] + draw.normal(0, 0.02, 10)
        cells = draw.binomial(8, numpy.clip(0.5 + luck[:, None] + draw.normal(0, 0.1, 30), 0, 1)) / 8
        averaged, _ = average_clusters(cells, starts.tolist())
        ends = [interval(estimate(table)) for table in (averaged, cells)]
        held += [low <= 0.5 <= high for low, high in ends]
    assert held[0] / WORLDS > 0.917 > held[1] / WORLDS
