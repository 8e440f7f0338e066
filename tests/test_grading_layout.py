"""The LaTeX of answers in any notation: a row for each kind of notation, and linear time on any text."""

from __future__ import annotations

import random
import time

import pytest

from manypaths.grading import settle
from manypaths.grading.latex import plain
from manypaths.grading.quantities import in_base
from manypaths.grading.times import compound, same_time, time_of_day

WRITTEN = {
    # Unicode
    "2√3": r"2\sqrt{3}",
    "√(x+1)": r"\sqrt{x+1}",
    "∛2": r"\sqrt[3]{2}",
    "x² + y¹⁰": "x^{2} + y^{10}",
    "10⁻³": "10^{-3}",
    "a₁₂": "a_{12}",
    "⅔": r"\frac{2}{3}",
    "2½": r"2\frac{1}{2}",
    "–3": "-3",
    "﹣3": "-3",
    "π ≤ θ": r"\pi \le \theta",
    "（１，２）": "(1,2)",
    "3·5": r"3\cdot 5",
    "5\u2009\u202f6": "5 6",
    "5\u200b": "5",
    "𝑥+1": "x+1",
    # layout
    r"\[5\]": "5",
    r"{\Large \frac{3}{4}}": r"\frac{3}{4}",
    r"\color{red}{5}": "5",
    r"\textcolor{blue}{x}": "x",
    r"\underline{\boldsymbol{5}}": "5",
    r"\begin{aligned} x &= 2+3 \\ &= 5 \end{aligned}": "x = 2+3 = 5",
    r"\hspace{1em} 5 \phantom{0}": "5",
    r"\text{The answer is } 5": "5",
    "Final answer: 5": "5",
    r"\therefore\ x = 5\\": "x = 5",
    r"\left( 1, 2 \right]": "( 1, 2 ]",
    r"5 \quad \blacksquare": "5",
    # upright letters
    r"1-\mathrm{i}": "1-{i}",
    r"\operatorname{sin} x": r"\sin x",
    r"\lg 5": r"\log_{10}{5}",
    # what programs print
    "x**2": "x^{2}",
    "x**(n+1)": "x^{n+1}",
    "sqrt(x**2 + 1)/2": r"\sqrt{x^{2} + 1}/2",
    "4*pi": r"4 \cdot \pi",
    "-oo": r"-\infty",
    "Rational(1, 2)": r"\frac{1}{2}",
    "Matrix([[1, 2], [3, 4]])": r"\begin{pmatrix}1 & 2 \\ 3 & 4\end{pmatrix}",
    "np.arcsin(0.5)": r"\arcsin(0.5)",
    "3 + 2*I": "3 + 2i",
    "x >= 3": r"x \ge 3",
    # indices, fractions, functions
    r"\log_2 5": r"\log_{2}{5}",
    r"\binom 5 2": r"\binom{5}{2}",
    r"{}_5C_2": r"\binom{5}{2}",
    r"\frac12": r"\frac{1}{2}",
    r"\sin 30^\circ": r"\sin {\frac{30 \pi}{180}}",
    # derivatives
    r"\frac{dy}{dx}": "y_{D1x}",
    r"\frac{\partial^2 f}{\partial x^2}": "f_{D2x}",
    "y''": "y_{D2}",
    r"\dot x": "x_{D1t}",
    # sets
    r"\{x \mid x > 2\}": "x > 2",
    r"x<1 \text{ or } x \ge 2": r"(-\infty,1) \cup [2,\infty)",
    r"x>2 \land x<5": r"(2,\infty) \cap (-\infty,5)",
    "]1,2[": "(1,2)",
    r"\varnothing": r"\emptyset",
    r"3, 5, and 7": "3, 5, 7",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_plain(text: str) -> None:
    assert plain(text) == WRITTEN[text]


def test_plain_is_idempotent() -> None:
    for text in WRITTEN.values():
        assert plain(text).replace(" ", "") == plain(plain(text)).replace(" ", "")


def test_times() -> None:
    assert (
        time_of_day("4:30 p.m.") == time_of_day(r"16:30") == time_of_day(r"4:30 \text{ PM}") == (16 * 3600 + 1800, True)
    )
    assert time_of_day("12 am") == (0, True) and time_of_day("noon") == (43200, True)
    assert time_of_day("3:4") is time_of_day("13 pm") is time_of_day("5") is time_of_day("4:75") is None
    assert same_time("4:30", "4:30 p.m.") and same_time("4:30 a.m.", "4:30 p.m.") is False
    assert same_time("9", "9 a.m.") and same_time("10", "9 a.m.") is False
    assert same_time("4:30", "2:15") is None  # two ratios, too


def test_bases() -> None:
    assert in_base("(1011)_2") == in_base(r"1011_{\text{two}}") == in_base(r"1011 \text{ base } 2") == "1011_{2}"
    assert in_base(r"\text{a3}_{16}") == "A3_{16}"
    assert in_base("a_{11}") == "a_{11}" and in_base("19_8") == "19_8"


def test_amounts_in_two_units() -> None:
    assert (compound("2 hours 30 minutes") or {})["minute"] == 150
    assert (compound("5 feet 6 inches") or {})["inch"] == 66
    assert compound("5 feet 6 minutes") is compound("5 feet") is None


PIECES = [
    "{", "}", "[", "]", "(", ")", "\\", "'", "^", "~", "&", "<", " ", "$", "-", ",", "x", "1", "1 ", "²", "½",
    "e", "\x00", "\n", r"\text{", r"\text{a ", r"\text{a} ", "sqrt(", "^(", r"\frac{d", "]1,2[", "or ",
    "x<1 or ", r"\{", "[[1],", "\\\\", "C(", "= ", "a,", "1,", "C_{1}", "np.", "**", r"\circ C", r"\circ", " C",
    " cm", "cm", "5hrs", r" \mu m", "(a)", "米", r"\dot3", "0.3", "3...", r"\$", "€", "1 day ", "1 day and ",
    "1:00", r"\log_1 2", "(1)_2 ", "A,", "A and ", "(A) ", r"\mid ", r"\pm ", r"\%", r"\begin{aligned}",
    r"\begin{array}{", r"\left(", r"\color{red}", r"\dot x", r"\frac{d x}{d y}", "answer is ", r"30^\circ ",
    r"\mod 3", "thousand ", "1 million ", "3 to 4", "base two", "{,}", r"\!", r"\,", "{{", "{1,000}", r"\ne ",
]  # fmt: skip
GOLDS = [
    "5",
    "x>2",
    r"(1,2) \cup (3,4)",
    "4:30 p.m.",
    "C",
    r"\text{ab c}",
    "1011_2",
    "2 hours 3 minutes",
    r"\ln 2",
    r"1 \pmod{4}",
]


def test_no_text_takes_long() -> None:
    """2,000 characters of any pieces are settled, or become a question for the worker, in hundredths of a second."""
    chance = random.Random(0)
    texts = [(piece * 2000)[:2000] for piece in PIECES] + [("5" + piece * 2000)[:1999] + "!" for piece in PIECES]
    texts += ["".join(chance.choices(chance.sample(PIECES, 3), k=700))[:2000] for _ in range(50)]
    for text in texts:
        start = time.process_time()
        settle(text, chance.choice(GOLDS))
        settle(chance.choice(GOLDS), text)
        assert time.process_time() - start < 2, text[:40]  # about 0.05; an exponential time would never end
