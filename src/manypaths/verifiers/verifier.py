"""The verifier of one kind of problems, and where a completion has its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from manypaths.grading import extract

LONGEST = 200  # characters of an answer; a longer one is not read


@dataclass(frozen=True)
class Verifier:
    """How answers of one kind of problems are read and checked.

    Attributes:
        layout: the text of an answer in its one layout, in which equal answers are equal texts; None for what is no
            answer. It gets at most `LONGEST` characters.
        meets: whether an answer in that layout meets a condition; ValueError for a condition that cannot be read.
    """

    layout: Callable[[str], str | None]
    meets: Callable[[str, str], bool]

    def read(self, completion: str) -> str | None:
        """The answer of a completion in its one layout, None where it has none."""
        text = answer_text(completion).strip()
        return self.layout(text) if len(text) <= LONGEST else None

    def is_right(self, completion: str, condition: str) -> bool:
        """Whether the answer of a completion meets a condition. Raises ValueError for an unreadable condition."""
        answer = self.read(completion)
        return self.meets("" if answer is None else answer, condition) and answer is not None


def answer_text(completion: str) -> str:
    """Where the answer is: the content of the last box, else of the last <answer>, else the whole completion."""
    boxed = extract(completion)
    return completion.rpartition("<answer>")[2].partition("</answer>")[0] if boxed is None else boxed
