"""Verdicts by name: is a completion right, by mathematics or by a verifier for problems with many right answers?

A problem names its grader (`manypaths.problems.Problem.grader`), and training and evaluation ask here. `mathematics`
compares the last box with a gold answer (`manypaths.grading`). For each other grader, the gold answer of a problem is
its *condition*: a text that says all that a right answer must meet, such as `24 from 3 4 6 8`. A `Verifier` reads the
answer out of a completion, and checks it against the condition.

Completions are hostile input: they are read by regular expressions and a parser of bounded depth, up to a length, and
nothing is executed. A condition comes from our generators or from a file of the user; one that cannot be read raises
ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence

from manypaths.grading import Grader, extract, shared_grader
from manypaths.verifiers import colouring, countdown, cover
from manypaths.verifiers.verifier import Verifier

__all__ = ["MATHEMATICS", "VERIFIERS", "Verifier", "answer_of", "check", "gold_problem", "verdicts"]

MATHEMATICS = "mathematics"
VERIFIERS: dict[str, Verifier] = {
    "colouring": colouring.VERIFIER,
    "countdown": countdown.VERIFIER,
    "cover": cover.VERIFIER,
}


def verdicts(
    graders: Sequence[str], texts: Sequence[str], golds: Sequence[str], mathematics: Grader | None = None
) -> list[bool]:
    """Grade completions, each by its own grader.

    Args:
        graders: N names, `mathematics` or of `VERIFIERS`.
        texts: N completions.
        golds: N gold answers or conditions.
        mathematics: What compares answers with gold answers, in one call; None for the shared grader.

    Returns:
        N verdicts.

    Raises:
        ValueError: a grader is unknown, or a condition cannot be read.
    """
    for name in dict.fromkeys(graders):
        check(name)
    verdict = [False] * len(texts)
    by_mathematics = [index for index, name in enumerate(graders) if name == MATHEMATICS]
    if by_mathematics:
        grader = shared_grader() if mathematics is None else mathematics
        graded = grader.grade([texts[i] for i in by_mathematics], [golds[i] for i in by_mathematics])
        for index, right in zip(by_mathematics, graded, strict=True):
            verdict[index] = right
    for index, name in enumerate(graders):
        if name != MATHEMATICS:
            verdict[index] = VERIFIERS[name].is_right(texts[index], golds[index])
    return verdict


def answer_of(grader: str, text: str) -> str | None:
    """The answer in a completion: the content of its last box, or what the verifier reads; None without an answer."""
    return extract(text) if grader == MATHEMATICS else VERIFIERS[grader].read(text)


def gold_problem(grader: str, gold: str) -> str | None:
    """Why a gold answer or a condition cannot be used; None where it can."""
    if grader == MATHEMATICS:
        return shared_grader().gold_problem(gold)
    try:
        VERIFIERS[grader].is_right("", gold)
    except ValueError as error:
        return str(error)
    return None


def check(grader: str) -> None:
    """Raise ValueError for the name of no grader."""
    if grader != MATHEMATICS and grader not in VERIFIERS:
        raise ValueError(f"A grader must be one of {', '.join([MATHEMATICS, *VERIFIERS])}, got {grader!r}.")
