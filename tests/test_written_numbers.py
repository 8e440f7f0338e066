"""How a comparison writes numbers: as many digits as an interval supports, and never 0 for what is not 0."""

import math
import random
import re

import pytest

from manypaths.comparison.numbers import (
    ANSWERS,
    PLAIN,
    SAVED,
    SHARE,
    amount,
    at_least,
    decimals,
    number,
    p_value,
    supported_decimals,
    unit_of,
    with_interval,
)


@pytest.mark.parametrize(
    ("half_width", "expected"),
    [
        (8, 0),
        (3.1, 1),
        (3.54, 1),
        (3.55, 0),
        (4, 0),
        (25, 0),
        (250, 0),
        (0.96, 1),
        (0.8, 1),
        (0.31, 2),
        (0.024, 3),
        (1, 1),
    ],
)
def test_the_rule_of_the_particle_data_group(half_width, expected):
    assert supported_decimals(half_width) == expected


def test_the_half_width_keeps_one_or_two_digits_and_the_rounding_is_small_beside_it():
    draw = random.Random(0)
    for _ in range(2000):
        half_width = 10 ** draw.uniform(-5, 1.5)
        places = supported_decimals(half_width)
        digits = half_width * 10**places
        assert 0.95 <= digits < 95 if places else digits >= 3.5
        assert 0.5 * 10**-places < 0.6 * half_width or places == 0


def test_an_interval_of_8_points_carries_no_tenths_and_one_of_3_points_does():
    wide, narrow = ({"value": 0.0312, "low": 0.0312 - half, "high": 0.0312 + half} for half in (0.08, 0.03))
    assert with_interval(wide, SHARE, signed=True) == "+3 [-5, +11]"
    assert with_interval(narrow, SHARE, signed=True) == "+3.1 [+0.1, +6.1]"
    assert with_interval({"value": 0.6127, "low": 0.53, "high": 0.69}, SHARE) == "61% [53%, 69%]"
    assert with_interval({"value": 3.2134, "low": 3.05, "high": 3.37}, ANSWERS) == "3.21 [3.05, 3.37]"


def test_what_excludes_0_is_not_written_as_0():
    draw = random.Random(1)
    for _ in range(2000):
        low, width = 10 ** draw.uniform(-6, -1), 10 ** draw.uniform(-3, 0)
        sign = draw.choice([-1, 1])
        low, high = sorted([sign * low, sign * (low + width)])
        for unit, signed in ((SHARE, True), (SAVED, False), (PLAIN, True)):
            text = with_interval({"value": (low + high) / 2, "low": low, "high": high}, unit, signed=signed)
            values = [float(value.replace(",", "")) for value in re.findall(r"[-+]?\d[\d,]*\.?\d*", text)]
            assert len(values) == 3 and all(math.copysign(1, value) == sign and value for value in values), text


def test_0_is_0_and_what_floating_point_leaves_is_0_too():
    assert number(0.0, SHARE, 1, signed=True) == number(1e-17, SHARE, 1, signed=True) == "0"
    assert number(0.0, SAVED) == "0%" and number(-1e-18, SAVED) == "0%" and number(0.0, SHARE) == "0.0%"
    assert number(0.004, SAVED) == "0.4%" and number(-0.0004, SHARE, 0, signed=True) == "-0.04"


def test_an_end_without_a_value_is_unbounded_and_leaves_the_other_its_digits():
    assert with_interval({"value": 0.31, "low": None, "high": 0.52}, SAVED) == "31% [unbounded, 52%]"
    assert with_interval({"value": 0.31, "low": None, "high": None}, SHARE) == "31.0% [unbounded, unbounded]"
    assert with_interval({"value": None, "low": None, "high": None}, SHARE, missing="") == ""
    assert decimals({"value": 1.0, "low": 1.0, "high": 1.0}, SHARE) is None


def test_a_plain_number_has_three_digits_and_a_whole_one_no_point():
    for value, text in (
        (0.123456, "0.123"),
        (12.3456, "12.3"),
        (1234.5, "1,234"),
        (30, "30"),
        (0, "0"),
        (-2.5, "-2.50"),
    ):
        assert number(value, PLAIN) == text


def test_a_limit_is_rounded_upwards_and_a_margin_is_short():
    draw = random.Random(2)
    for _ in range(500):
        value, places = draw.uniform(0.0001, 0.5), draw.choice([0, 1, 2])
        shown = float(at_least(value, SHARE, places).split()[0])
        assert 100 * value - 1e-6 <= shown <= 100 * value + 10**-places
    assert at_least(0.031, SHARE, 1) == "3.1 points" and at_least(0.0301, SHARE, 0) == "4 points"
    assert [amount(margin, SHARE) for margin in (0.02, 0.025, 0.1)] == ["2 points", "2.5 points", "10 points"]
    assert amount(0.25, PLAIN) == "0.25" and amount(1.5, ANSWERS) == "1.5 answers"


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0004, "p below 0.001"),
        (0.0012, "p 0.0012"),
        (0.0123, "p 0.012"),
        (0.04999, "p 0.04999"),
        (0.0502, "p 0.05020"),
        (0.1, "p 0.10"),
        (0.734, "p 0.73"),
        (1, "p 1.00"),
    ],
)
def test_a_p_value_shows_on_which_side_of_5_percent_it_is(p, text):
    assert p_value(p) == text


def test_the_unit_of_a_measure():
    names = ("accuracy", "pass@8", "majority", "distinct@8", "distinct@1", "rewards/format", "pass@0")
    assert [unit_of(name).of_difference for name in names] == ["points"] * 3 + ["answers"] * 2 + [""] * 2
