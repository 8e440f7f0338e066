"""Verifiers of problems with many right answers: brute force over all answers, layouts, hostile texts, conditions."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest

from manypaths import keys, rewards, verifiers
from manypaths.verifiers import VERIFIERS, colouring, countdown, cover

GRAPH = colouring.condition(3, 4, [(0, 1), (1, 2), (2, 3), (0, 2)], {0: 2})
NUMBERS = countdown.condition(24, [3, 4, 6, 8])
CHOICE = cover.condition(2, {"A": "12", "B": "34", "C": "134", "D": "2"}, "1234", ["AC"])


def test_conditions_read_what_they_were_written_from():
    assert GRAPH == "3 colours of 4 nodes, joined AB AC BC CD, given A2"
    assert colouring.graph(GRAPH) == (3, 4, ((0, 1), (0, 2), (1, 2), (2, 3)), ((0, 2),))
    assert countdown.target_and_numbers(NUMBERS) == (24, (3, 4, 6, 8)) and NUMBERS == "24 from 3 4 6 8"
    assert CHOICE == "2 of A12 B34 C134 D2 need 1234, not AC"
    assert cover.choice(CHOICE).excluded == (frozenset("AC"),) and cover.choice(CHOICE).size == 2


def test_a_colouring_is_right_where_joined_nodes_differ_and_given_ones_keep_their_colour():
    for digits in itertools.product("1234", repeat=4):
        a, b, c, d = digits
        proper = a != b and a != c and b != c and c != d and a == "2" and "4" not in digits
        assert VERIFIERS["colouring"].is_right("".join(digits), GRAPH) == proper, digits
    assert not VERIFIERS["colouring"].is_right("213", GRAPH) and not VERIFIERS["colouring"].is_right("21311", GRAPH)


def test_a_cover_is_right_where_so_many_items_have_all_marks_and_no_excluded_pair():
    right = {frozenset("AB"), frozenset("CD")}  # CA has all marks, too, and is excluded
    for size in range(1, 4):
        for letters in itertools.product("ABCDE", repeat=size):
            assert VERIFIERS["cover"].is_right("".join(letters), CHOICE) == (size == 2 and frozenset(letters) in right)


def values(numbers):
    """(value, expression in full brackets, its value by Python) of all expressions of the numbers, in every order."""
    if len(numbers) == 1:
        yield Fraction(numbers[0]), str(numbers[0])
    for cut in range(1, len(numbers)):
        for (a, left), (b, right) in itertools.product(values(numbers[:cut]), values(numbers[cut:])):
            yield a + b, f"({left}+{right})"
            yield a - b, f"({left}-{right})"
            yield a * b, f"({left}*{right})"
            if b:
                yield a / b, f"({left}/{right})"


def test_a_countdown_has_the_value_of_exact_fractions():
    verifier, count = VERIFIERS["countdown"], 0
    for order in itertools.permutations((3, 4, 6)):
        for value, text in values(order):
            for target in {12, 18, 42, int(abs(value))} - {0}:
                count += value == target
                assert verifier.is_right(text, countdown.condition(target, [3, 4, 6])) == (value == target), text
    assert count > 50


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("(8 - 4) * (3 + 6 - 3)", False),  # 3 twice
        ("6 * 4 * (3 - 8 / 4)", False),
        ("(8-6)*4*3", True),
        ("(8 − 6) × 4 × 3", True),
        ("3*4*(8-6)", True),
        (r"so it is \boxed{(8-6)*4*3}", True),
        (r"\boxed{1} and then \boxed{(8-6)*4*3}", True),
        ("<answer>(8-6)*4*3</answer>", True),
        ("(8-6)*4*3=24", False),
        ("(8-6)*4*3;", False),
        ("+(8-6)*4*3", False),
        ("(8-6)*(4*3", False),
        ("(8-6)*4*3)", False),
        ("(8-6)(4*3)", False),
        ("(8-6)*4**3", False),
        ("8-6 4 3", False),
        ("3*8+0*46", False),
        ("46-3-8", False),
        ("", False),
    ],
)
def test_what_an_answer_of_countdown_is(text, right):
    assert VERIFIERS["countdown"].is_right(text, NUMBERS) == right


def test_division_by_zero_and_deep_brackets_are_wrong():
    numbers = countdown.condition(8, [2, 2, 4, 8])
    assert not VERIFIERS["countdown"].is_right("8+4/(2-2)", numbers)
    assert VERIFIERS["countdown"].is_right("8*4/(2+2)", numbers)
    assert VERIFIERS["countdown"].is_right("((((8))))*4/(2+2)", numbers)
    assert not VERIFIERS["countdown"].is_right("(" * 50 + "8" + ")" * 50 + "*4/(2+2)", numbers)


HOSTILE = [
    "",
    " ",
    "\x1b[31m213\x00",
    "9" * 10_000,
    "(" * 100_000,
    "9**9**9**9",
    "__import__('os').system('true')",
    "\\boxed{" * 5_000,
    "<answer>" * 5_000,
    "1 " * 50_000,
    "A," * 50_000,
    "²³¹",
    "١٢٣",
    "1/0+" * 40 + "1",
    "\ud800",
]


@pytest.mark.parametrize("name", VERIFIERS)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_are_wrong_and_harmless(name, text):
    condition = {"colouring": GRAPH, "countdown": NUMBERS, "cover": CHOICE}[name]
    assert VERIFIERS[name].is_right(text, condition) is False
    answer = VERIFIERS[name].read(text)
    assert answer is None or (len(answer) <= 200 and answer.isascii())


@pytest.mark.parametrize("name", VERIFIERS)
def test_random_characters_raise_nothing(name):
    rng = random.Random(0)
    condition = {"colouring": GRAPH, "countdown": NUMBERS, "cover": CHOICE}[name]
    for _ in range(2000):
        text = "".join(rng.choice("123468ABCD+-*/() ,\\{}") for _ in range(rng.randint(0, 14)))
        assert VERIFIERS[name].is_right(text, condition) in (True, False)


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("colouring", "3 colours of 4 nodes, joined AE, given"),
        ("colouring", "3 colours of 4 nodes, joined AA, given"),
        ("colouring", "3 colours of 4 nodes, joined, given A4"),
        ("colouring", "4"),
        ("countdown", "24 from"),
        ("countdown", "24"),
        ("countdown", "24 from 12345"),
        ("cover", "2 of A12 A3 need 1, not"),
        ("cover", "2 of A12 B3 need 1, not AC"),
        ("cover", "2 of A12 B3 need 1, not AA"),
    ],
)
def test_a_condition_that_cannot_be_read_is_named(name, condition):
    with pytest.raises(ValueError, match="got"):
        VERIFIERS[name].is_right("1", condition)
    assert "got" in verifiers.gold_problem(name, condition)


def test_each_completion_is_graded_by_its_own_grader():
    graders = ["mathematics", "colouring", "countdown", "mathematics", "cover"]
    texts = [r"\boxed{4}", "2131", "(8-6)*4*3", "2131", "BA"]
    golds = ["4", GRAPH, NUMBERS, GRAPH, CHOICE]
    assert verifiers.verdicts(graders, texts, golds) == [True, True, True, False, True]
    assert rewards.accuracy(texts, golds, grader=graders) == [1.0, 1.0, 1.0, 0.0, 1.0]
    assert [verifiers.answer_of(*pair) for pair in zip(graders, texts, strict=True)] == [
        "4", "2131", "(8-6)*4*3", None, "AB",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="colouring"):
        verifiers.verdicts(["coloring"], ["1"], ["1"])


def test_keys_are_equal_for_one_answer_in_two_layouts():
    colour = keys.colouring(["2131", "2 1 3 1", "2,1,3,1", "2132", "none", r"\boxed{2131}"], [""] * 6).tolist()
    assert colour[0] == colour[1] == colour[2] == colour[5] and len(set(colour)) == 3 and colour[4] == keys.NO_KEY
    chosen = keys.cover(["AB", "B, A", "AC", "12"], [""] * 4).tolist()
    assert chosen[0] == chosen[1] and len(set(chosen)) == 3 and chosen[3] == keys.NO_KEY
