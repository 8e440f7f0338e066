"""p values, Holm's correction, equivalence and detectable differences, against scipy, loops and simulations."""

import itertools
import math

import numpy
import pytest
import scipy.stats

from manypaths.statistics import (
    LEAST_P,
    at_most_worse,
    curve_freedom,
    detectable,
    estimate,
    holm,
    interval,
    p_at_most_worse,
    p_more_worse,
    p_value,
    p_within,
    percentile_interval,
    percentile_p,
    within,
)


def shares(seeds, problems, number=0, more=0.0):
    """[S, P] random shares of 4 samples."""
    draw = numpy.random.default_rng([number, seeds, problems])
    chances = 0.4 + more + draw.normal(0, 0.05, (seeds, 1)) + draw.normal(0, 0.2, problems)
    return draw.binomial(4, numpy.clip(chances, 0, 1), (seeds, problems)) / 4


def rewards(values, error=0.0):
    """The mean of a number without a range, of one benchmark, by seed."""
    return estimate(numpy.reshape(values, (-1, 1)), means_only=[True], standard_error=error, bounded=False)


FIRST, SECOND = [3.0, 2.5, 4.25, 7.0], [1.0, 2.0, 2.75, 3.5]


# p values


def test_p_of_means_is_students_and_welchs():
    first, second = rewards(FIRST), rewards(SECOND)
    assert p_value(first) == pytest.approx(scipy.stats.ttest_1samp(FIRST, 0.0).pvalue, rel=1e-5)
    assert p_value(first, second) == pytest.approx(
        scipy.stats.ttest_ind(FIRST, SECOND, equal_var=False).pvalue, rel=1e-5
    )
    assert p_value(first, second, paired=True) == pytest.approx(scipy.stats.ttest_rel(FIRST, SECOND).pvalue, rel=1e-5)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize(("seeds", "problems"), [(1, 8), (3, 30), (5, 3)])
def test_p_is_the_alpha_whose_interval_ends_at_0(seeds, problems, paired):
    for number in range(10):
        first, second = (estimate(shares(seeds, problems, 2 * number + side, side * 0.1)) for side in (0, 1))
        p = p_value(first, second, paired=paired)
        if LEAST_P < p < 0.99:
            end = interval(first, second, level=1 - p, paired=paired)[0 if first.value > second.value else 1]
            assert end == pytest.approx(0, abs=1e-5)
        assert p_value(second, first, paired=paired) == pytest.approx(p)


def test_p_of_what_has_no_difference_is_1_and_of_a_sure_one_the_least():
    mean = estimate(shares(3, 20))
    assert p_value(mean, mean) == 1
    assert p_value(estimate(numpy.ones((3, 200))), estimate(numpy.zeros((3, 200)))) == LEAST_P


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_percentiles_are_those_of_a_sorted_list(level):
    draws = numpy.random.default_rng(0).normal(0, 1, 1001)
    ordered, aside = sorted(draws[1:]), {0.5: 249, 0.9: 49, 0.95: 24, 0.99: 4}[level]
    expected = {"value": draws[0], "low": ordered[aside], "high": ordered[999 - aside]}
    assert percentile_interval(draws, level=level) == expected


@pytest.mark.parametrize("turn", [1, -1])
def test_p_of_draws_counts_those_on_the_other_side(turn):
    for beyond in (0, 1, 24, 25, 26, 400, 500, 700):
        draws = turn * numpy.concatenate([[1.0], -numpy.ones(beyond), numpy.ones(1000 - beyond)])
        rarer = min(beyond, 1000 - beyond)
        p = percentile_p(draws)
        assert p == pytest.approx(min(1.0, 2 * (1 + rarer) / 1001))
        for alpha in (0.002, 0.01, 0.05, 0.5, 0.9):
            ends = percentile_interval(draws, level=1 - alpha)
            assert (ends["low"] > 0 or ends["high"] < 0) == (p <= alpha)


def test_draws_that_are_undefined_or_in_a_range_count_on_every_side_they_reach():
    sure = numpy.full(1001, 1.0)
    assert percentile_p(sure) == 2 / 1001
    for few in (numpy.nan, 0.0, -numpy.inf):
        assert percentile_p(numpy.where(numpy.arange(1001) <= 30, few, sure)) == 2 * 31 / 1001
    assert percentile_p(numpy.where(numpy.arange(1001) <= 30, numpy.inf, sure)) == 2 / 1001
    assert percentile_p(sure - 2, sure) == 1  # each from -1 to 1
    assert percentile_p(numpy.full(1001, numpy.nan)) == 1


# Holm


def test_holm_is_the_closed_test_of_bonferroni():
    draw = numpy.random.default_rng(0)
    for count in (1, 2, 3, 6):
        for _ in range(20):
            values = draw.choice([0.001, 0.01, 0.02, 0.04, 0.3, 1.0], count).tolist()
            families = [f for size in range(1, count + 1) for f in itertools.combinations(range(count), size)]
            expected = [
                max(min(1.0, len(f) * min(values[i] for i in f)) for f in families if own in f) for own in range(count)
            ]
            assert holm(values) == pytest.approx(expected)


def test_what_was_not_tested_counts_in_holm():
    adjusted = holm([0.04, math.nan, 0.01])
    assert adjusted[[0, 2]] == pytest.approx([0.08, 0.03]) and math.isnan(adjusted[1])
    assert holm([]).shape == (0,)


def test_holm_keeps_the_rate_of_false_findings_in_a_family():
    """Eight arms like the baseline: one of them differs from it in a quarter of the worlds, or in 5 % after Holm."""
    draw, worlds, wrong = numpy.random.default_rng(0), 200, numpy.zeros(2)
    for _ in range(worlds):
        ease = draw.normal(0, 0.15, 30)
        arms = []
        for _ in range(9):
            chances = 0.5 + ease + draw.normal(0, 0.03, (5, 1)) + draw.normal(0, 0.03, 30)
            arms.append(estimate(draw.binomial(4, numpy.clip(chances, 0, 1)) / 4))
        values = [p_value(arm, arms[0]) for arm in arms[1:]]
        wrong += [min(values) < 0.05, holm(values).min() < 0.05]
    assert wrong[0] / worlds > 0.15
    assert wrong[1] / worlds < 0.05 + 3 * math.sqrt(0.05 * 0.95 / worlds)


# Detectable differences


def test_detectable_is_the_textbooks_for_means():
    quantile = scipy.stats.t.ppf
    for power, level in ((0.8, 0.95), (0.9, 0.99), (0.51, 0.9)):
        error = numpy.std(FIRST, ddof=1) / 2
        expected = (quantile((1 + level) / 2, 3) + quantile(power, 3)) * error
        assert detectable(rewards(FIRST), power=power, level=level) == pytest.approx(expected)
        apart = scipy.stats.ttest_ind(FIRST, SECOND, equal_var=False)
        error = (numpy.mean(FIRST) - numpy.mean(SECOND)) / apart.statistic
        expected = (quantile((1 + level) / 2, apart.df) + quantile(power, apart.df)) * error
        assert detectable(rewards(FIRST), rewards(SECOND), power=power, level=level) == pytest.approx(expected)
        error = numpy.std(numpy.subtract(FIRST, SECOND), ddof=1) / 2
        expected = (quantile((1 + level) / 2, 3) + quantile(power, 3)) * error
        found = detectable(rewards(FIRST), rewards(SECOND), paired=True, power=power, level=level)
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("paired", [False, True])
def test_a_detectable_difference_is_detected_with_that_power(paired):
    draw, worlds, detected = numpy.random.default_rng(0), 400, 0

    def world(more):
        luck, ease = draw.normal(0, 0.05, (10, 1)), draw.normal(0, 0.15, 40)
        own = draw.normal(0, 0.03, (2, 10, 1)) + draw.normal(0, 0.05, (2, 1, 40)) + [[[more]], [[0.0]]]
        chances = 0.45 + ease + own + (luck if paired else 0.0)
        return [estimate(cells) for cells in draw.binomial(4, numpy.clip(chances, 0, 1)) / 4]

    difference = numpy.median([detectable(*world(0.0), paired=paired) for _ in range(100)])
    for _ in range(worlds):
        low, _ = interval(*world(difference), paired=paired)
        detected += low > 0
    assert detected / worlds == pytest.approx(0.8, abs=0.06)


def test_seeds_that_are_alike_by_chance_detect_no_more_than_their_interaction_allows():
    cells = shares(2, 30)
    cells[1] = cells[0, ::-1]  # the same mean
    mean, zero = estimate(cells), estimate(numpy.zeros((2, 30)))
    assert (mean.seeds == 0).all()
    assert detectable(mean, zero) > detectable(estimate(cells.mean(0)), estimate(numpy.zeros(30)))
    assert math.isnan(detectable(rewards([0.5, 0.5], 0.1)))
    assert math.isnan(detectable(rewards([0.5, 0.7]), rewards([0.25, 0.45]), paired=True))
    right = estimate(numpy.ones((3, 30)))
    assert 0 < detectable(right, estimate(numpy.zeros((3, 30)))) < 1


@pytest.mark.parametrize("power", [0.5, 1.0, 80])
def test_power_is_a_probability(power):
    with pytest.raises(ValueError, match=r"power must be above 0\.5"):
        detectable(rewards(FIRST), power=power)


# Margins


def test_equivalence_is_two_one_sided_tests():
    first, second = rewards(FIRST), rewards(SECOND)
    answers = set()
    for margin, alpha in itertools.product((0.5, 1.5, 2.5, 3.0, 4.0, 9.0), (0.01, 0.05, 0.2)):
        above, below = (
            scipy.stats.ttest_rel(numpy.subtract(FIRST, bound), SECOND, alternative=side).pvalue < alpha
            for bound, side in ((-margin, "greater"), (margin, "less"))
        )
        assert at_most_worse(first, second, margin, paired=True, alpha=alpha) == above
        assert within(first, second, margin, paired=True, alpha=alpha) == (above and below)
        answers.add((bool(above), bool(below)))
    assert len(answers) > 1


@pytest.mark.parametrize("margin", [0.5, 1.5, 4.0])
def test_harm_beyond_a_margin_is_a_one_sided_test_to_the_other_side(margin):
    worse, better = rewards(FIRST), rewards(numpy.add(SECOND, 3.0))
    exact = scipy.stats.ttest_rel(numpy.add(FIRST, margin), numpy.add(SECOND, 3.0), alternative="less").pvalue
    assert p_more_worse(worse, better, margin, paired=True) == pytest.approx(exact if exact < 0.499 else 1.0, rel=1e-5)
    assert p_at_most_worse(worse, better, margin, paired=True) == pytest.approx(1 - exact if exact > 0.501 else 1.0)


def test_a_margin_is_read_from_the_90_percent_interval():
    first, second = (estimate(shares(5, 30, number)) for number in (0, 1))
    low, high = interval(first, second, level=0.9)
    wide = max(-low, high)
    assert within(first, second, wide + 1e-9) and not within(first, second, wide - 1e-9)
    assert at_most_worse(first, second, 1e-9 - low) and not at_most_worse(first, second, -low - 1e-9)


@pytest.mark.parametrize("means_only", [None, [True]], ids=["problems", "means only"])
def test_a_p_value_of_a_margin_is_the_least_alpha_at_which_it_is_shown(means_only):
    cells = [shares(10, 30, number) for number in (0, 1)]
    if means_only:  # of which the interval of a level below 1e-8 is not a number
        cells = [centre + 0.01 * numpy.linspace(-1, 1, 10)[:, None] ** 3 for centre in (0.8076, 0.8162)]
    first, second = (estimate(values, means_only=means_only) for values in cells)
    low, high = interval(first, second, level=0.9)
    for margin in (1.01 * max(-low, high), 1.5 * max(-low, high)):
        for p, shown in ((p_within, within), (p_at_most_worse, at_most_worse)):
            least = p(first, second, margin)
            assert 0 < least < 0.05 and shown(first, second, margin, alpha=1.001 * least)
            assert least == LEAST_P or not shown(first, second, margin, alpha=0.999 * least)


def test_equivalence_is_rarely_said_of_a_difference_at_the_margin():
    draw, worlds, said = numpy.random.default_rng(0), 400, numpy.zeros(2)
    for _ in range(worlds):
        ease = draw.normal(0, 0.15, 30)
        pair = []
        for more in (0.0, 0.1):
            chances = 0.45 + more + ease + draw.normal(0, 0.03, (5, 1)) + draw.normal(0, 0.03, 30)
            pair.append(estimate(draw.binomial(4, numpy.clip(chances, 0, 1)) / 4))
        said += [within(*pair, 0.1), at_most_worse(*pair, 0.1)]
    assert (said / worlds < 0.05 + 3 * math.sqrt(0.05 * 0.95 / worlds)).all() and said[1] > 0


@pytest.mark.parametrize(
    ("margin", "alpha", "message"), [(0, 0.05, "A margin"), (math.nan, 0.05, "A margin"), (1, 5, "alpha")]
)
def test_margins_and_alpha_are_checked(margin, alpha, message):
    for test in (within, at_most_worse):
        with pytest.raises(ValueError, match=f"{message} must be above 0"):
            test(rewards(FIRST), rewards(SECOND), margin, alpha=alpha)


# Where little is known


def tiny_designs():
    """Estimates of one to three seeds, one or two problems, and means with and without a standard error."""
    for seeds, problems in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1)):
        for cells in itertools.islice(itertools.product((0, 0.5, 1), repeat=seeds * problems), 0, None, 3):
            yield estimate(numpy.reshape(cells, (seeds, problems)))
    for seeds, error, bounded in itertools.product((1, 2, 3), (0.0, 0.02, math.nan), (True, False)):
        for values in ([0.5] * 3, [0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.0] * 3):
            cells = numpy.reshape(values[:seeds], (-1, 1)) * (1 if bounded else -300)
            yield estimate(cells, means_only=[True], standard_error=error, bounded=bounded)


@pytest.mark.filterwarnings("error")
def test_of_every_tiny_design_every_answer_is_defined():
    designs, compared = list(tiny_designs()), 0
    for first, second in itertools.product(designs, [None, *designs[::2]]):
        if second and (first.bounded, first.sizes.tolist()) != (second.bounded, second.sizes.tolist()):
            continue
        for paired in {False, second is not None and len(first.seeds) == len(second.seeds)}:
            (low, high), p = interval(first, second, paired=paired), p_value(first, second, paired=paired)
            least = detectable(first, second, paired=paired)
            value = first.value - (second.value if second else 0)
            if math.isnan(low):
                assert math.isnan(high) and math.isnan(p) and math.isnan(least)
                assert not (second and (within(first, second, 0.9) or at_most_worse(first, second, 0.9)) and not paired)
                continue
            assert low - 1e-9 <= value <= high + 1e-9 and high - low > 1e-9
            assert LEAST_P <= p <= 1 and (least > 0 or math.isnan(least))
            assert (p < 0.05) == (low > 0 or high < 0) or p == pytest.approx(0.05, rel=1e-4)
            if second:
                assert curve_freedom({0.0: first}, {0.0: second}, paired=paired) >= 1
            compared += 1
    assert compared > 500
