r"""Is an answer correct? The last box of a text against a gold answer; no text can hang or crash the caller.

    is_correct(r"... so it is \boxed{\frac{1}{2}}.", "0.5")     # True

What counts, where mathematics leaves it open:

- The last box, the inner one of nested boxes. No box is wrong: training asks for one. So is a last box that never
  closes, whatever an earlier one holds.
- Writing is free: Unicode, LaTeX's layout, upright letters, what Python prints. Letters keep their case: M is not m.
- A unit may be left out or added, `18 bananas` for 18; another unit than the gold answer's is wrong, so is another
  base. A single letter is a unit only where the gold answer has no unknown: `6 m` is right for 6, 6 wrong for `6m`.
  Units are not converted, but for amounts in two of them: `2 hours 30 minutes` is 150 minutes. `\$5` is 5 dollars.
- A percent sign may be left out, or be a hundredth. Numbers are exact: 0.333 is not 1/3, and no decimal, however
  long, is an irrational number; `0.333...` is 1/3. A number in words, `five`, is no number.
- A gold answer in words, `\text{east}`, is compared as words, without case and punctuation.
- A list needs every answer, as often as the gold has it, in any order; an inequality is its interval, and inequalities
  joined by `or` their union. A list of intervals is their union where the gold answer is one. `\{1,2\}` is no ordered
  pair. A vector may be a tuple. The order of a cross product counts; formulas of logic are compared by truth tables.
- An equation counts as a value only if all its other sides are that value or made of names alone: `x = 3`, `3 = x`,
  `f(2) = 3`, `P(X = 2) = 3`, `\det A = 3`, `m + n = 3` and `x = 1 + 2 = 3` are right for 3; `2x = 3`, `x^2 = 3` and
  `1 + 1 = 3` are not. Of a gold answer `x = 3` the 3 is enough, of `x + y = 3`, which may be a line, it is not. Two
  equations are equal if one is a multiple of the other, or both have the same solutions.
- A ratio of two is its quotient, 2:3 is 4:6; of a ratio of three each part counts, 2:4:6 is not 1:2:3.
- A derivative is a name: dy/dx = 2x is right for 2x and for y' = 2x, not for dy/dx = 3x. Degrees count inside
  functions: sin 30 is not sin 30°.
- Of a choice the letter counts, whatever stands behind it. A time of day without its half, 4:30, is right for both.
- `log(2)` without a backslash is the natural logarithm where the gold answer has `\ln`. An expression is its value for
  real unknowns: an odd root of a negative number is real, ln|x| is not ln x.

Equal texts, words, numbers, units, times and choices are settled here, after `grading.layout` has made the writing one.
Everything else goes to `grading.worker` in a process of its own, started on first need. Out of time it ends itself, and
a fork of its parent, which has all loaded, takes its place. Each waiting thread and the child of a fork have their own.
No `__main__` guard is needed.
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
