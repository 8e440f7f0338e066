r"""Is a completion correct? Its last box is compared with a gold answer; no text can hang or crash the caller.

    is_correct(r"... so it is \boxed{\frac{1}{2}}.", "0.5")     # True
    canonical(r"\frac{1}{2}") == canonical("0.5")               # True: a key for equal answers, without a worker

The way of an answer through the room:

- `boxes` finds the final answer in a completion or a gold text; `unboxed` finds it where there is no box; `golds` reads
  a value of a gold column.
- `settling` decides without mathematics: equal texts, `forms` (choices, words, residue classes) and `quantities`
  (numbers, units, times of day). `canonical_text` uses the same rules for a key.
- `layout` reduces every way to write an answer to one (with `signs` for Unicode), and `latex` makes it LaTeX that a
  parser reads: `printed` (Python's output), `derivatives`, `sides`, `vectors`, `sets`, `logic`.
- `worker` compares what is left, with math-verify and sympy, in a process of its own that `grader` starts on first
  need. A worker that exceeds its time limit ends itself, and a fork of its parent, which has all modules loaded,
  replaces it. Each waiting thread has its own worker, and so has the child of a fork. No `__main__` guard is needed.

What counts as equal, where mathematics leaves it open:

- The last box counts, and the inner one of nested boxes. A completion without a box is wrong, because training requires
  one; so is a completion whose last box never closes, whatever an earlier box holds.
- Notation is free: Unicode, LaTeX's layout, upright letters, Python's output. Letters keep their case: M is not m.
- A unit may be left out or added: `18 bananas` is right for 18. A unit that differs from the gold answer's is wrong,
  and so is a different base. A single letter is a unit only if the gold answer has no unknown: `6 m` is right for 6, 6
  is wrong for `6m`. Units are not converted, except amounts in two units: `2 hours 30 minutes` is 150 minutes. `\$5` is
  5 dollars.
- A percent sign may be left out, or may mean a hundredth. Numbers are exact: 0.333 is not 1/3, and no decimal, however
  long, is an irrational number; `0.333...` is 1/3. A number in words, `five`, is not a number.
- A gold answer in words, `\text{east}`, is compared as words, without case and punctuation.
- A list must have every member, as often as the gold answer has it, in any order. An inequality is its interval, and
  inequalities joined by `or` are their union. A list of intervals is their union if the gold answer is a union.
  `\{1,2\}` is not an ordered pair. A vector may be a tuple. The order of a cross product counts. Formulas of logic are
  compared by truth tables.
- An equation counts as a value only if each of its other sides is equal to that value or consists of names alone: `x =
  3`, `3 = x`, `f(2) = 3`, `P(X = 2) = 3`, `\det A = 3`, `m + n = 3` and `x = 1 + 2 = 3` are right for 3; `2x = 3`, `x^2
  = 3` and `1 + 1 = 3` are not. For the gold answer `x = 3`, 3 is enough; for `x + y = 3`, which may be a line, it is
  not. Two equations are equal if one is a multiple of the other, or if both have the same solutions.
- A ratio of two numbers is their quotient, 2:3 is 4:6. In a ratio of three numbers each part counts: 2:4:6 is not
  1:2:3.
- A derivative is a name: dy/dx = 2x is right for 2x and for y' = 2x, but not for dy/dx = 3x. Degrees count inside
  functions: sin 30 is not sin 30°.
- In a multiple choice the letter counts, whatever stands behind it. A time without a.m. or p.m., 4:30, is right for
  both.
- `log(2)` without a backslash is the natural logarithm if the gold answer has `\ln`. An expression is its value for
  real unknowns: an odd root of a negative number is real, ln|x| is not ln x.
"""

from __future__ import annotations

from manypaths.grading.boxes import extract, final_answer
from manypaths.grading.canonical_text import canonical
from manypaths.grading.grader import Grader, GraderError, gold_problem, grade, is_correct, shared_grader
from manypaths.grading.layout import LONGEST
from manypaths.grading.quantities import number, quantity
from manypaths.grading.settling import Question, settle
from manypaths.grading.worker import MEMORY

__all__ = [
    "LONGEST", "MEMORY", "Grader", "GraderError", "Question", "canonical", "extract", "final_answer", "gold_problem",
    "grade", "is_correct", "number", "quantity", "settle", "shared_grader",
]  # fmt: skip
