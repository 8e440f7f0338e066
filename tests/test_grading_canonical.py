"""Canonical texts of answers: answers that share one are equal to the grader."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from manypaths.grading import LONGEST, Grader, canonical, extract, final_answer

ROWS = [
    json.loads(line)
    for name in ("cases", "reported")
    for line in (Path(__file__).parent / f"data/grading_{name}.jsonl").read_text("utf-8").split("\n")[:-1]
]


def answers_of(row: dict[str, str]) -> list[str]:
    """The final answers in a row of test data that can stand in a box."""
    written = [row.get("answer") or extract(row.get("text", "")) or "", final_answer(row["gold"])]
    return [answer for answer in written if answer and extract(f"\\boxed{{{answer}}}") == answer]


def test_answers_with_equal_canonical_texts_are_equal_to_the_grader() -> None:
    """In either role, over all pairs in the test data, for answers that the grader finds equal to themselves."""
    classes: defaultdict[str, list[str]] = defaultdict(list)
    for answer in sorted({answer for row in ROWS for answer in answers_of(row)}):
        classes[canonical(answer)].append(answer)
    classes.pop("", None)
    pairs = [pair for answers in classes.values() for pair in itertools.permutations(answers, 2)]
    assert len(pairs) > 3000
    with Grader() as grader:
        verdicts = grader.grade([f"\\boxed{{{answer}}}" for answer, _ in pairs], [gold for _, gold in pairs])
        wrong = [pair for pair, verdict in zip(pairs, verdicts, strict=True) if not verdict]
        assert [pair for pair in wrong if grader.gold_problem(pair[1]) is None] == []
        assert len(wrong) < 0.001 * len(pairs)


@pytest.mark.parametrize(
    "spellings",
    [
        ["1/2", r"\frac12", r"\dfrac{1}{2}", "0.5", ".50", "½", "2/4", "$0.5$", r"\text{1/2}", r"\mathbf{0.5}", "5e-1"],
        ["1234", "1,234", "1{,}234", r"1,\!234.0", "１２３４", "1.234 \\times 10^3"],
        [r"50\%", "50 %", "50 percent"],
        ["5 cm", r"5\text{ centimeters}", r"5\,\mathrm{cm}"],
        ["2√3", r"2\sqrt{3}", "2 sqrt(3)", r"\[2\sqrt3\]"],
        ["x^2 + 1", "x**2+1", "x² + 1", r"\boldsymbol{x^{2}+1}"],
        ["(1, 2)", "(1,2)", r"\left(1, 2\right)"],
        ["1, 2", "2,1", r"2,\ 1"],
        ["no solution", r"\text{No solution}", "NO SOLUTION."],
        ["C", "(C)", "(c)", r"\text{(C)}", "Option C"],
        ["4:30 p.m.", "16:30", r"4:30 \text{ PM}"],
        ["2 hours 30 minutes", "1 hour 90 minutes"],
        ["(1011)_2", r"1011_{\text{two}}"],
        [r"\frac{x}{2} + 1", "\\frac x 2+1", r"\dfrac{x}{2} + 1"],
        ["", " ", "$$", "9" * (LONGEST + 1)],
    ],
    ids=lambda spellings: spellings[0] or "empty",
)
def test_usual_spellings_of_one_answer_coincide(spellings: list[str]) -> None:
    assert {canonical(spelling) for spelling in spellings} == {canonical(spellings[0])}


def test_other_answers_stay_apart() -> None:
    apart = ["1/2", "1/3", "50", r"50\%", "50 cm", "50 m", "x = 50", "C", "D", "(C) 50", "c", "M", "m", "east", "west"]
    apart += ["(1,2)", "1, 2", "1, 000, 2", "1,000, 2", "1 2", "12", "4:30", "4:30 a.m.", "4:30 p.m.", "2x", "2 hours"]
    apart += ["log(2)", r"\ln(2)", "-none", "none", "52_8", "52", "[1,2)", ""]
    assert len({canonical(answer) for answer in apart}) == len(apart)


def test_hostile_text_starts_no_process_and_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    for piece in ["9", "9^{", "{", "}", "(", "1 ", "\\frac", "\\text{a ", "sqrt(", ",1", "\x00", "\ud800", "1e999 "]:
        start = time.process_time()
        for text in ((piece * LONGEST)[:LONGEST], "5" + (piece * LONGEST)[: LONGEST - 2] + "!"):
            assert canonical(text) == canonical(text)
        assert time.process_time() - start < 2  # about 0.05
