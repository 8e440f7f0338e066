r"""The final answer in a completion without a box."""

from __future__ import annotations

import time

import pytest

from manypaths.grading.unboxed import READERS, last_math, last_number, read


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so she pays $1,250.50 in all.", "1,250.50"),
        ("The answer is 5.", "5"),
        ("first 3, then 4\n", "4"),
        ("x = -3", "-3"),
        ("it is −3.", "-3"),
        ("7 - 3", "3"),
        ("7-3", "3"),
        ("- 3 apples", "3"),
        ("a loss of -$5", "-5"),
        ("costs \\$5", "5"),
        ("3/4", "3/4"),
        ("1 3/4 cups", "1 3/4"),
        ("1/2 + 1/3", "1/3"),
        ("10 / 5 = 2", "2"),
        ("is \\frac{3}{4}.", "\\frac{3}{4}"),
        ("is -\\dfrac{3}{4}.", "-\\dfrac{3}{4}"),
        ("50%", "50%"),
        ("50 \\%", "50 \\%"),
        ("5^\\circ", "5^\\circ"),
        ("about 1e5", "1e5"),
        (".5", ".5"),
        ("5{,}000", "5{,}000"),
        ("**5**", "5"),
        ("$5$", "5"),
        ("5km", "5"),
        ("so x_2 = 5 m^2 of H2O", "5"),
        ("1, 2, 3", "3"),
        ("5\n100", "100"),
        # part of an expression
        ("12 is \\sqrt{3}", None),
        ("2^{10}", None),
        ("5 and 2^3", None),
        ("3\\pi", None),
        ("\\pi/2", None),
        ("on 12/25/2020", None),
        ("5 000", None),
        ("v1.2.3", None),
        ("none at all", None),
        ("٣", None),
        ("", None),
    ],
)
def test_the_last_number(text, number):
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("text", "math"),
    [
        ("Hence $x^2$ is \\(\\frac{1}{2}\\).", "\\frac{1}{2}"),
        ("\\(a\\) \\[ b \\] after", "b"),
        ("$$c$$", "c"),
        ("$x$ and $y$.", "y"),
        ("$a$ then $", "a"),
        ("$5 and $7", None),
        ("it costs $5, so $x=3$", "x=3"),
        ("\\$5 and $6$", "6"),
        ("\\\\[2pt] \\[x\\]", "x"),
        ("open $5 and \\(x=3\\)", "x=3"),
        ("$a$ $ $", "a"),
        ("yields $x - 9$ and so $ x = 83 $.", "x = 83"),
        ("yields $x - 9$ and so $ x = {83}$.", "x = {83}"),
        ("5 $ and then $x$", "x"),
        ("the answer is 5", None),
    ],
)
def test_the_last_math(text, math):
    assert last_math(text) == math


def test_an_answer_that_cannot_stand_in_a_box_is_not_read():
    assert read("$\\frac{1}{2$", "last-math") is None
    assert read("$\\text{a}} \\boxed{5}$", "last-math") is None
    assert read("$x$", "last-math") == "x"


PIECES = "1 1, 1/ - \\frac{ \\frac{1 \\frac{1}{ $ $1 \\( \\$ {1 1.1 111,111, 1e 1_1/ ,111 ^ /1 1_111 . -$"


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("piece", PIECES.split())
def test_a_hostile_text_takes_linear_time(piece, how):
    text = piece.replace("_", " ") * (100_000 // len(piece))
    start = time.process_time()
    READERS[how](text)
    READERS[how]("1" + text + "x^")
    assert time.process_time() - start < 1  # about 0.05; a quadratic time would be minutes
