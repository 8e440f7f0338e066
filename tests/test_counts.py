"""Measures of counted completions, against all subsets of k completions."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest

from manypaths.counts import ACCURACY, MAJORITY, Counts, distinct_at, measures_of, pass_at, sizes, value_of
from manypaths.graded import count

WRONG = None  # the key of a wrong completion, in these tests


def subsets(keys, k):
    """The expected number of distinct right answers, and of any, among k of the completions, as exact fractions."""
    draws = [{key for key in draw if key is not WRONG} for draw in itertools.combinations(keys, k)]
    return Fraction(sum(map(len, draws)), len(draws)), Fraction(sum(map(bool, draws)), len(draws))


def counted(keys):
    right = [key for key in keys if key is not WRONG]
    return Counts(len(keys), len(right), sizes(right), 0.5)


COMPLETIONS = [list(keys) for n in (1, 2, 3, 4, 5) for keys in itertools.combinations_with_replacement("ab-", n)]
COMPLETIONS += [random.Random(seed).choices(["a", "b", "c", "-", "-"], k=7) for seed in range(12)]


@pytest.mark.parametrize("letters", COMPLETIONS, ids="".join)
def test_pass_and_distinct_at_k_are_means_over_all_draws_of_k(letters):
    keys = [WRONG if letter == "-" else letter for letter in letters]
    counts = counted(keys)
    for k in range(1, len(keys) + 1):
        distinct, solved = subsets(keys, k)
        assert pass_at(counts.samples, counts.right, k) == pytest.approx(float(solved))
        assert distinct_at(counts.samples, counts.by_key, k) == pytest.approx(float(distinct))
        assert value_of(counts, f"pass@{k}") == pass_at(counts.samples, counts.right, k)
        assert value_of(counts, f"distinct@{k}") == distinct_at(counts.samples, counts.by_key, k)
    assert value_of(counts, ACCURACY) == pytest.approx(float(subsets(keys, 1)[1]))
    assert value_of(counts, f"distinct@{len(keys)}") == pytest.approx(len(set(keys) - {WRONG}))


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_the_limits_of_distinct_right_answers_are_closed_forms(n):
    for right, k in itertools.product(range(n + 1), range(1, n + 1)):
        all_different, all_alike = Counts(n, right, (1,) * right), Counts(n, right, (right,) if right else ())
        assert value_of(all_different, f"distinct@{k}") == pytest.approx(
            right * k / n
        )  # the mean of a hypergeometric variable
        assert value_of(all_alike, f"distinct@{k}") == value_of(all_alike, f"pass@{k}")
    assert value_of(Counts(n, 0, ()), f"distinct@{n}") == 0.0


def test_what_was_not_recorded_has_no_value():
    assert value_of(Counts(4, 2), "distinct@2") is value_of(Counts(4, 2), MAJORITY) is None
    assert value_of(Counts(4, 2, (2,), 1.0), "pass@5") is value_of(Counts(4, 2, (2,), 1.0), "distinct@5") is None
    assert value_of(Counts(4, 2), "reward") is value_of(Counts(4, 2), "pass@0") is None
    assert value_of(Counts(4, 2, None, 0.25), MAJORITY) == 0.25


def test_the_measures_are_those_that_every_problem_allows():
    whole = Counts(6, 2, (1, 1), 1.0)
    assert measures_of([whole]) == ["accuracy", "pass@2", "pass@4", "pass@6", "distinct@6", "majority"]
    assert measures_of([whole, Counts(4, 0, (), 0.0)]) == ["accuracy", "pass@2", "pass@4", "distinct@4", "majority"]
    assert measures_of([whole, Counts(2, 0)]) == ["accuracy", "pass@2"]
    assert measures_of([whole, Counts(1, 0, (), 0.0)]) == ["accuracy"]
    for counts in (whole, Counts(16, 3, (2, 1), 0.0)):
        assert all(value_of(counts, name) is not None for name in measures_of([counts]))


def test_right_completions_without_a_key_are_one_way():
    samples = [("1", True), ("1.0", True), (None, True), ("", True), (None, False), ("2", False)]
    line = {"samples": [{"text": str(n), "answer": own, "correct": right} for n, (own, right) in enumerate(samples)]}
    assert count(line) == Counts(6, 4, (2, 2), 1.0)
    assert count({"samples": [{"text": "", "correct": True}] * 2}) == Counts(2, 2)
