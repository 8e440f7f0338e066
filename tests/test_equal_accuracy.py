"""pass@K at equal accuracy: the definition as loops, closed forms, and simulations of arms that follow the baseline."""

import math
import re
from statistics import fmean

import numpy
import pytest
from scipy import stats

from manypaths.comparison.compare import compare
from manypaths.comparison.configurations import configured, grouped
from manypaths.comparison.equal_accuracy import Path, at_equal_accuracy
from manypaths.comparison.panels import paths as paths_of
from manypaths.comparison.protocol import Endpoint, Protocol
from manypaths.comparison.runs import Run, Score
from manypaths.comparison.tables import tables
from manypaths.counts import Counts, pass_at
from manypaths.statistics import estimate, interval, p_value

SAMPLES, K = 8, 4
NAME = f"pass@{K}"


def runs(name, right, steps=None, seeds=None, by_benchmark=("made-up",)):
    """A configuration's runs: right [S, T, P] of 8 completions of each problem, which are shared out to benchmarks."""
    repetitions = []
    for index, of_seed in enumerate(numpy.asarray(right).tolist()):
        results = {
            step: {
                benchmark: Score.of_counts(
                    {
                        str(problem): Counts(SAMPLES, count, (count,) if count else ())
                        for problem, count in enumerate(counts[place :: len(by_benchmark)])
                    }
                )
                for place, benchmark in enumerate(by_benchmark)
            }
            for step, counts in zip(steps or range(0, 10 * len(of_seed), 10), of_seed, strict=True)
        }
        seed = seeds[index] if seeds else index
        repetitions.append(Run(f"{name}-{seed}", name, seed, results=results))
    return repetitions


def paths(*all_runs):
    """(accuracy, pass@4) of each configuration."""
    of_runs = grouped([run for own in all_runs for run in own])
    both = [configured(of_runs.groups, of_runs.benchmarks, name)[0] for name in ("accuracy", NAME)]
    return [Path(*pair) for pair in zip(*both, strict=True)]


def difference(own, base, paired=True):
    return at_equal_accuracy(*paths(own, base), paired)


RANDOM = numpy.random.default_rng(1)
RISING = numpy.sort(RANDOM.integers(0, 9, (3, 6, 12)), axis=1)  # the accuracy of every problem rises
OTHERS = numpy.sort(RANDOM.integers(0, 8, (3, 6, 12)), axis=1)


def on_a_line(steps, values, at):
    for (start, before), (end, after) in zip(
        zip(steps, values, strict=True), zip(steps[1:], values[1:], strict=True), strict=False
    ):
        if start <= at <= end:
            return before + (at - start) / (end - start) * (after - before)
    raise AssertionError(at)


def first_at(steps, curve, level):
    """Where a curve that never falls first reaches a level, on lines between its points."""
    for index, value in enumerate(curve):
        if value >= level - 1e-12:
            if index == 0:
                return steps[0]
            before = curve[index - 1]
            return steps[index - 1] + (level - before) / (value - before) * (steps[index] - steps[index - 1])
    raise AssertionError(level)


STEP_NUMBERS = [10.0 * index for index in range(6)]


def naive(sides):
    """(the accuracy, the steps of both, what both read there), by loops over means that rise."""
    accuracy, passed = (
        [[fmean(value(count) for count in side[:, step].ravel().tolist()) for step in range(6)] for side in sides]
        for value in (lambda count: count / SAMPLES, lambda count: pass_at(SAMPLES, count, K))
    )
    level = min(curve[-1] for curve in accuracy)
    reached = [first_at(STEP_NUMBERS, curve, level) for curve in accuracy]
    return level, reached, [on_a_line(STEP_NUMBERS, curve, at) for curve, at in zip(passed, reached, strict=True)]


TURNED = pytest.mark.parametrize("sides", [(RISING, OTHERS), (OTHERS, RISING)], ids=["further", "less far"])


@pytest.mark.parametrize("paired", [True, False])
@TURNED
def test_the_difference_is_read_where_both_first_have_the_accuracy_of_the_less_accurate(paired, sides):
    actual = difference(*(runs(name, right) for name, right in zip("ab", sides, strict=True)), paired=paired)
    level, reached, (own, other) = naive(sides)
    assert actual["value"] == pytest.approx(own - other)
    assert actual["accuracy"] == pytest.approx(level)
    assert [actual["step"], actual["baseline_step"]] == pytest.approx(reached)
    assert actual["low"] < actual["value"] < actual["high"] and 0 < actual["p"] <= 1


@pytest.mark.parametrize("paired", [True, False])
@TURNED
def test_a_seed_moves_the_difference_as_without_it_and_a_problem_to_first_order(paired, sides):
    """The interval is that of cells P(t) - r A(t), r = dP/dA near t on the path that goes on, with jackknifed rows."""
    actual = difference(*(runs(name, right) for name, right in zip("ab", sides, strict=True)), paired=paired)
    _, reached, _ = naive(sides)
    shares = [side / SAMPLES for side in sides]
    passed = [numpy.vectorize(lambda count: pass_at(SAMPLES, count, K))(side) for side in sides]
    further = int(shares[1][:, -1].mean() > shares[0][:, -1].mean())
    after = next(index for index, step in enumerate(STEP_NUMBERS) if step >= max(reached[further], 1))
    near = slice(max(0, after - 2), after + 2)
    slope = stats.linregress(*(of[further].mean((0, 2))[near] for of in (shares, passed))).slope
    means = []
    for place, step in enumerate(reached):
        accuracy, measure = (
            numpy.array([[on_a_line(STEP_NUMBERS, cell, step) for cell in seed.T] for seed in of[place]])
            for of in (shares, passed)
        )
        cells = measure - slope * (accuracy - accuracy.mean())
        without = []
        for seed in range(3):
            pair = list(sides)
            pair[place] = numpy.delete(pair[place], seed, 0)
            own, other = naive(pair)[2]
            without.append(own - other)
        moves = 2 * (fmean(without) - numpy.array(without)) * (1 - 2 * place)
        means.append(estimate(cells - cells.mean(1, keepdims=True) + moves[:, None] + cells.mean()))
    assert (actual["low"], actual["high"]) == pytest.approx(interval(*means, paired=paired))
    assert actual["p"] == pytest.approx(p_value(*means, paired=paired))


def test_one_that_walks_the_path_of_the_baseline_more_slowly_does_not_differ():
    slow = runs("slow", RISING, steps=[0, 20, 40, 60, 80, 100])
    quick = runs("quick", RISING)
    result = difference(slow, quick)
    assert (result["step"], result["baseline_step"]) == (pytest.approx(100), pytest.approx(50))
    assert result["value"] == pytest.approx(0) and result["low"] <= 1e-12 <= result["high"] + 2e-12
    stopped = difference(runs("stopped", RISING[:, :4]), quick)  # it has not come so far
    assert stopped["value"] == pytest.approx(0) and stopped["baseline_step"] == pytest.approx(30)


def test_the_sides_change_places_with_the_sign():
    own, base = runs("a", RISING), runs("b", OTHERS)
    one_way, other_way = difference(own, base), difference(base, own)
    assert one_way["value"] == pytest.approx(-other_way["value"]) and one_way["p"] == pytest.approx(other_way["p"])
    assert (one_way["low"], one_way["high"]) == pytest.approx((-other_way["high"], -other_way["low"]))
    assert (one_way["step"], one_way["baseline_step"]) == (other_way["baseline_step"], other_way["step"])


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 2, 0]])
def test_the_order_of_seeds_and_of_problems_changes_no_value(order):
    own, base = runs("a", RISING), runs("b", OTHERS)
    mixed = difference(runs("a", RISING[order], seeds=order), base)
    assert mixed == pytest.approx(difference(own, base))
    turned = difference(runs("a", RISING[:, :, ::-1]), runs("b", OTHERS[:, :, ::-1]))
    assert turned["value"] == pytest.approx(difference(own, base)["value"])


def test_without_enough_evaluations_or_problems_there_is_no_difference():
    short = difference(runs("a", RISING[:, :3]), runs("b", OTHERS))
    assert short.pop("reason").endswith("accuracy: a was evaluated at 3 steps, and 4 are needed.")
    of_means = difference(*(means_only(runs(name, right)) for name, right in zip("ab", (RISING, OTHERS), strict=True)))
    assert of_means.pop("reason").endswith("accuracy: only means over problems were recorded.")
    assert {*short.values(), *of_means.values()} == {None}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("paired", [True, False])
def test_what_comes_after_the_highest_accuracy_changes_nothing(paired, turned):
    fallen = numpy.concatenate([RISING, RISING[:, :3] // 3], axis=1)
    pairs = [(runs("a", right), runs("b", OTHERS)) for right in (RISING, fallen)]
    as_it_rose, collapsed = (difference(*(pair[::-1] if turned else pair), paired=paired) for pair in pairs)
    assert collapsed == pytest.approx(as_it_rose) and as_it_rose["value"] is not None


HIGH = 8 - RISING[:, ::-1] // 4
BELOW = [  # sides of which none has the accuracy of the other on its way, and why
    (HIGH, RISING // 2, "a begins at 8[0-9.]+%, and b reaches [34][0-9.]+% at most"),
    (RISING // 2, HIGH, "b begins at 8[0-9.]+%, and a reaches [34][0-9.]+% at most"),
    (RISING[:, ::-1], OTHERS, "the accuracy of a is never above that of its first evaluation"),
    (RISING, OTHERS[:, ::-1], "the accuracy of b is never above that of its first evaluation"),
    (numpy.full((3, 6, 12), 4), OTHERS, "the accuracy of a is never above that of its first evaluation"),
]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("own", "base", "why"), BELOW)
def test_accuracies_that_are_never_equal_on_the_way_are_not_compared(own, base, why, paired):
    result = difference(runs("a", own), runs("b", base), paired=paired)
    assert re.search(f"^a cannot be compared with b at equal accuracy: {why}.$", result.pop("reason"))
    assert set(result.values()) == {None}


def test_the_correction_for_accuracy_moves_no_benchmark():
    """Benchmarks differ in accuracy; a mean outside of 0 to 1 would have no interval."""
    right = RISING.copy()
    right[:, :, ::2] //= 3
    (path,) = paths(runs("a", right, by_benchmark=("hard", "easy")))
    cells = path.cells(35.0, -5.0)
    for block in (0, 1):
        is_in = path.measure.blocks == block
        halfway = (path.measure.values[:, 3, is_in] + path.measure.values[:, 4, is_in]) / 2
        assert cells[:, is_in].mean() == pytest.approx(halfway.mean())
        assert cells[:, is_in].std() > halfway.std()


@pytest.mark.parametrize("number", range(40))
def test_any_two_paths_have_a_difference_with_an_interval_or_a_reason(number):
    draw = numpy.random.default_rng([11, number])
    shape = (draw.integers(2, 4), draw.integers(4, 8), draw.choice([1, 5]))
    result = difference(*(runs(name, draw.integers(0, 9, shape)) for name in "ab"))
    if result["reason"] is None:
        assert result["low"] <= result["value"] <= result["high"] and result["p"] > 0
    else:
        assert result["value"] is None


def means_only(all_runs):
    """Runs of which only the means over all problems were recorded."""
    for run in all_runs:
        for step in run.results:
            run.results[step] = {"made-up": Score(means={"accuracy": step / 100, NAME: step / 50})}
    return all_runs


CHANCES = numpy.linspace(0.2, 0.8, 7)


def world(number, gain, seeds=10, problems=40):
    """An arm that goes the way of the baseline at half its pace, with a gain in the ease of the hardest problems.

    Each seed has luck that both share, and each problem an ease. Without the gain both have one path.
    """
    draw = numpy.random.default_rng([7, number])
    ease, luck = draw.normal(0, 1.5, problems), draw.normal(0, 0.3, (2, seeds, 1, 1)) * 0.5
    luck = luck + draw.normal(0, 0.3, (seeds, 1, 1))
    skill = numpy.log(CHANCES / (1 - CHANCES))[:, None]
    sides = []
    for side, pace in enumerate((0.5, 1.0)):
        of_steps = numpy.interp(numpy.linspace(0, 6, 7) * pace, numpy.arange(7), skill[:, 0])[:, None]
        logits = of_steps + ease * (1 - gain * (side == 0) * numpy.linspace(0, 1, 7)[:, None]) + luck[side]
        sides.append(draw.binomial(SAMPLES, 1 / (1 + numpy.exp(-logits))))
    return difference(runs("slow", sides[0]), runs("quick", sides[1]))


def test_a_slower_arm_on_the_path_of_the_baseline_is_seldom_said_to_differ_and_another_path_is_found():
    results = [world(number, 0.0) for number in range(80)]
    false = sum(result["p"] <= 0.05 for result in results)
    assert false <= 10  # of 80 at 5 %: more than 10 in 0.3 % of cases
    values = [result["value"] for result in results]
    spread = numpy.std(values)
    widths = [(result["high"] - result["low"]) / 2 for result in results]
    assert 0.8 < fmean(widths) / (stats.t.ppf(0.975, 9) * spread) < 1.3  # ten seeds
    assert abs(fmean(values)) < 4 * spread / math.sqrt(len(values)) + 0.002
    of_others = [world(number, 0.35) for number in range(10)]
    assert sum(result["p"] <= 0.05 and result["value"] > 0 for result in of_others) >= 9


def test_every_measure_of_several_completions_has_it_with_a_verdict_and_accuracy_does_not():
    comparison = compare([*runs("base", OTHERS), *runs("arm", RISING)], "base", metric=NAME, paired=True)
    of_arm = comparison["configurations"][1]["measures"]
    assert "equal_accuracy" not in of_arm["accuracy"]["against"]
    item = of_arm[NAME]["against"]["equal_accuracy"]
    assert item["verdict"] in ("better", "worse", "not shown") and item["p_holm"] == item["p"]
    titles = dict(tables(comparison))
    row = titles[f"{NAME} at equal accuracy on made-up (12 problems)"][1]
    assert row[:2] == ["arm", f"{100 * item['accuracy']:.1f}%"]


def test_a_path_is_drawn_through_the_evaluations_where_there_are_enough():
    many, few = (
        compare([*runs("base", OTHERS[:, :steps]), *runs("arm", RISING[:, :steps])], "base", metric=NAME)
        for steps in (6, 3)
    )
    path = paths_of(many)
    measures = many["configurations"][1]["measures"]
    assert [point[:2] for point in path.curves["arm"]] == [
        (across["value"], up["value"])
        for across, up in zip(measures["accuracy"]["curve"], measures[NAME]["curve"], strict=True)
    ]
    assert path.heading == f"{NAME} over accuracy" and "arm: " in path.words
    assert paths_of(few) is None
    assert not [title for title, _ in tables(few) if "equal accuracy" in title]


def test_a_protocol_can_claim_it_of_several_completions_only():
    protocol = Protocol("test", "base", ["arm"], [{"metric": NAME, "at": "equal-accuracy"}])
    comparison = compare([*runs("base", OTHERS), *runs("arm", RISING)], protocol=protocol)
    item = comparison["configurations"][1]["measures"][NAME]["against"]["equal_accuracy"]
    (endpoint,) = comparison["protocol"]["primary"]
    assert endpoint["words"] == f"{NAME} better at equal accuracy"
    assert endpoint["arms"]["arm"]["p"] == (item["p"] if item["value"] > 0 else 1.0)
    with pytest.raises(ValueError, match="At equal accuracy the metric must be pass@K or distinct@K, got accuracy"):
        Endpoint("accuracy", "equal-accuracy")


def test_an_arm_that_cannot_be_read_stands_in_the_table_and_in_the_notes():
    all_runs = [*runs("base", OTHERS), *runs("arm", RISING), *runs("falls", RISING[:, ::-1])]
    comparison = compare(all_runs, "base", metric=NAME)
    (rows,) = [rows for title, rows in tables(comparison) if "equal accuracy" in title]
    assert [row[0] for row in rows] == ["", "arm", "falls"]
    assert rows[2] == ["falls", "", "", "", "not read (see the notes)", ""]
    reason = comparison["configurations"][2]["measures"][NAME]["against"]["equal_accuracy"]["reason"]
    assert reason.startswith("falls cannot be compared with base") and comparison["notes"].count(reason) == 1
    few = [*runs("base", OTHERS[:, :3]), *runs("arm", RISING[:, :3])]
    assert not [note for note in compare(few, "base", metric=NAME)["notes"] if "equal accuracy" in note]


def test_a_protocol_says_why_an_endpoint_at_equal_accuracy_is_not_tested():
    protocol = Protocol("test", "base", ["arm"], [{"metric": NAME, "at": "equal-accuracy"}])
    few = [*runs("base", OTHERS[:, :3]), *runs("arm", RISING[:, :3])]
    comparison = compare(few, protocol=protocol)
    assert comparison["protocol"]["arms"]["arm"]["verdict"] == "not tested"
    assert [note for note in comparison["notes"] if "evaluated at 3 steps, and 4 are needed" in note]
    for run in few:
        for scores in run.results.values():
            scores["made-up"] = Score(means={NAME: 0.5})
    assert compare(few, protocol=protocol)["protocol"]["missing"] == ["accuracy was not recorded in all runs."]


def test_distinct_right_answers_have_the_table_where_they_are_the_metric():
    name = f"distinct@{SAMPLES}"
    comparison = compare([*runs("base", OTHERS), *runs("arm", RISING)], "base", metric=name)
    titles = [title for title, _ in tables(comparison) if "equal accuracy" in title]
    assert titles == [
        f"{what} at equal accuracy on made-up (12 problems)" for what in ("Distinct right answers among 8", "pass@8")
    ]
