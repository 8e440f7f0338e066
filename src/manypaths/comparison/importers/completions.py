"""The completions of problems, one in a line of a table, as counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from manypaths import graded
from manypaths.comparison.importers.cells import Table
from manypaths.counts import Counts, sizes


class Completion(NamedTuple):
    """A completion of a problem."""

    line: int
    right: bool
    answer: str  # final answer without white space; empty if there is none
    key: str  # equal for completions that go the same way; empty if there is none


Problem = Sequence[Completion]


def counts_of(completions: Problem, has_answers: bool, has_keys: bool) -> Counts:
    """Count the completions of a problem.

    Args:
        completions: At least one.
        has_answers: Whether `answer` counts: for the majority vote, and without keys for distinct right answers, as
            `manypaths.graded.count` counts them.
        has_keys: Whether `key` counts, for distinct right answers.
    """
    answers = [{"answer": own.answer or None} if has_answers else {} for own in completions]
    samples = [{**answer, "correct": own.right} for answer, own in zip(answers, completions, strict=True)]
    counts = graded.count({"samples": samples})
    return counts._replace(by_key=sizes(own.key for own in completions if own.right)) if has_keys else counts


def check_answers(table: Table, problems: Sequence[Problem], column: str) -> bool:
    """Whether a column can hold the answers of the completions; a note says why it cannot.

    It cannot where one answer to a problem is right in one line and wrong in another: the column may hold the gold
    answer.
    """
    for completions in problems:
        first: dict[str, Completion] = {}
        for completion in completions:
            other = first.setdefault(completion.answer, completion)
            if completion.answer and other.right != completion.right:
                table.note(
                    f"{column} is not read as the answer of a completion, because lines {other.line} and "
                    f"{completion.line} have the same one, and only one of them is right."
                )
                return False
    return True


def check_keys(table: Table, problems: Sequence[Problem], column: str) -> bool:
    """Whether every right completion has a key; a note says which has none."""
    without = [
        completion.line for problem in problems for completion in problem if completion.right and not completion.key
    ]
    if without:
        table.note(f"{column} is not read as the key of a completion, because line {without[0]} has none.")
    return not without


def note_numbers(table: Table, problems: Sequence[Problem]) -> None:
    """Note how many completions the problems have, if some have several."""
    sizes = [len(completions) for completions in problems]
    if max(sizes) > 1:
        size = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
        table.note(f"a line is one completion, because all accuracies are 0 or 1; a problem has {size}.")
