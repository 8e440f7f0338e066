"""Measures of graded completions: closed forms, enumeration, intervals."""

import itertools
import math
import random
import statistics

import pytest

from manypaths.counts import Counts, sizes
from manypaths.evaluation.measure import distinct_at, measure, overall, pass_at
from manypaths.graded import majority, votes
from manypaths.statistics import wilson_interval


def graded(*answers, gold="1"):
    return [{"text": "", "answer": answer, "correct": answer == gold} for answer in answers]


@pytest.mark.parametrize("n", range(1, 9))
def test_pass_at_k_is_the_share_of_draws_with_a_correct_sample(n):
    for correct in range(n + 1):
        verdicts = [index < correct for index in range(n)]
        draws = [list(itertools.combinations(verdicts, k)) for k in range(1, n + 1)]
        shares = [sum(map(any, sets)) / len(sets) for sets in draws]
        assert pass_at([Counts(n, correct)]) == pytest.approx({str(k): share for k, share in enumerate(shares, 1)})


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["1", "1", "2"], 1.0),
        (["2", "2", "1"], 0.0),
        (["1", "2"], 0.5),
        (["1", "2", "3"], pytest.approx(1 / 3)),
        ([None, None, "1"], 1.0),
        ([None, None], 0.0),
        (["2", "1", "1", "2", None], 0.5),
    ],
)
def test_majority(answers, expected):
    assert majority(graded(*answers)) == expected


def test_votes_go_by_value_and_else_by_text():
    samples = graded("0.5", r"\frac{1}{2}", "1/2", "x + 1", "x+1", None, "1,000", "1000")
    assert sorted(votes(samples).values()) == [2, 2, 3]


def test_measure_counts_each_problem_the_same():
    lines = [
        {"samples": graded("1", "1", "2", None), "similarity": 0.5, "timed_out": 1},
        {"samples": graded("2", "2", "2", "1"), "similarity": 0.7},
        {"samples": [{**sample, "tokens": 10, "truncated": True} for sample in graded(*[None] * 4)]},
    ]
    measured = measure(lines)
    assert measured["accuracy"] == measured["pass_at"]["1"] == pytest.approx((2 + 1 + 0) / 12)
    assert measured["pass_at"]["4"] == pytest.approx(2 / 3)
    assert [measured["pass_at"][str(k)] for k in range(1, 5)] == sorted(measured["pass_at"].values())
    assert (measured["majority"], measured["boxed"]) == (pytest.approx(1 / 3), 7 / 12)
    assert measured["distinct"] == pytest.approx((2 + 2 + 0) / 3)
    assert measured["distinct_at"] == measured["pass_at"]  # one right answer
    assert (measured["tokens"], measured["truncated"], measured["similarity"]) == (10, 1.0, pytest.approx(0.6))
    assert (measured["problems"], measured["samples"], measured["timed_out"]) == (3, 4, 1)
    nothing = measure([{"samples": graded("1")}])
    assert (nothing["tokens"], nothing["truncated"], nothing["similarity"]) == (None, None, None)


def test_every_pass_at_k_and_distinct_at_k_is_that_of_its_binomials():
    def mean(draws, count):
        return sum(1.0 - math.comb(n - c, k) / math.comb(n, k) for n, c in draws) / count

    draw = random.Random(0)
    for least in (1, 2, 5, 64):
        samples = [draw.randint(least, least + 3) for _ in range(9)]
        keys = [[draw.randint(1, 9) for _ in range(draw.randint(0, n))] for n in samples]
        counts = [Counts(n, len(own), sizes(own)) for n, own in zip(samples, keys, strict=True)]
        for k in range(1, min(samples) + 1):
            right = [(own.samples, own.right) for own in counts]
            by_key = [(own.samples, of.count(key)) for own, of in zip(counts, keys, strict=True) for key in set(of)]
            assert pass_at(counts)[str(k)] == pytest.approx(mean(right, 9), rel=1e-14, abs=1e-15)
            assert distinct_at(counts)[str(k)] == pytest.approx(mean(by_key, 9), rel=1e-14, abs=1e-15)
        assert list(pass_at(counts)) == list(distinct_at(counts)) == [str(k) for k in range(1, min(samples) + 1)]
    assert distinct_at([Counts(2, 1, (1,)), Counts(2, 1)]) is None


def test_the_interval_of_measure_holds_the_mean_and_shrinks():
    widths = []
    for count in (4, 16, 64, 256):
        lines = [{"samples": graded(*["1"] * hits, *["2"] * (4 - hits))} for hits in [0, 1, 4, 2] * (count // 4)]
        measured = measure(lines)
        assert 0 <= measured["low"] <= measured["accuracy"] <= measured["high"] <= 1
        widths.append(measured["high"] - measured["low"])
    assert widths == sorted(widths, reverse=True)


def test_overall_is_the_mean_of_means_with_the_error_of_its_parts():
    small, large = [0.0, 1.0] * 10, [1.0, 1.0, 1.0, 0.0] * 100
    measured = overall([small, large])
    assert measured["accuracy"] == pytest.approx((0.5 + 0.75) / 2)
    errors = [statistics.pvariance(values) / len(values) for values in (small, large)]
    exact = 1.959964 * math.sqrt(sum(errors)) / 2
    assert (measured["high"] - measured["low"]) / 2 == pytest.approx(exact, rel=0.15)
    assert overall([[0.0] * 16, [0.0] * 16])["high"] == pytest.approx(wilson_interval(0, 16)[1] / math.sqrt(2))
    alone = measure([{"samples": graded("1" if share else "2")} for share in small])
    assert {key: alone[key] for key in ("accuracy", "low", "high")} == pytest.approx(overall([small]))
