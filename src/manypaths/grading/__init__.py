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

import contextlib
import functools
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from manypaths.grading import layout
from manypaths.grading.layout import LONGEST
from manypaths.grading.quantities import (
    compound,
    in_base,
    minutes,
    number,
    quantity,
    ratio,
    same_compound,
    same_time,
    same_unit,
    unit_behind,
    unit_name,
    without_unit,
    words,
)
from manypaths.grading.sets import split
from manypaths.grading.vectors import both_marked
from manypaths.grading.worker import MEMORY

__all__ = [
    "LONGEST", "MEMORY", "Grader", "GraderError", "canonical", "extract", "final_answer", "gold_problem", "grade",
    "is_correct", "number", "quantity", "settle", "shared_grader",
]  # fmt: skip

SECONDS = 5.0  # wall clock for one answer in the worker
WORKERS = 8  # at most, and no more than cores, for one batch

_TOKEN = re.compile(
    r"\\(?:boxed|fbox|framebox)(?:\s*(?P<box>\{)|\s+(?P<bare>[-+.]?\d[^\s\\{}$]*)|(?P<cut>\s*\Z))"
    r"|\\(?!\\(?:boxed|fbox|framebox)).|(?P<open>\{)|(?P<close>\})",
    re.DOTALL,
)
_PLAIN = re.compile(
    r"yes|no(?: [a-z]+)?|odd|even|(?=.{0,99}[a-z]{4})[a-z' -]+|[\u3040-\u9fff\uac00-\ud7a3]+", re.IGNORECASE
)
_TEXT = re.compile(r"\\(?:text|mathrm|operatorname)\s{0,9}\{([^{}]*)\}")
_SIDE_BY_SIDE = re.compile(r"(?<!frac)(?<!frac\s)\d[\s~]+\d")
_CHOICE = re.compile(
    r"(?:(?i:option|choice|answer)\s*:?\s*)?(?:\(\s?([A-Ja-j])\s?\)|([A-J])(?=[).:]|$))[).:]*[\s\\]*(?:(?<=[\s\\).:])(.+))?",
    re.DOTALL,
)
_CHOICES = re.compile(r"\(?[A-H]\)?(?:\s*(?:(?:,|;|&|and|or|\\text\s?\{\s*(?:and|or)\s*\})\s*)?\(?[A-H]\)?)+")
_SYNONYMS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("dne",): ("does", "not", "exist"),
    ("infty",): ("infinity",),
    ("none",): ("none",),
}
_BASES = re.compile(r"(?<=\d)\s?_\s?\{?(\w+)")  # of numbers, which the parser ignores
_COMMA = re.compile(r"(?<! ) ?, ?")
_GOES_ON = re.compile(r", ?\\ldots")  # a list
_NAMES_OF_RATIO = re.compile(r"^[A-Za-z\\ ]+:[A-Za-z\\ :]+=")  # a:b:c =
_ANGLE = re.compile(r"\\angle\s?([A-Z]{3})(?![A-Za-z])")  # to the parser a product of its letters
_PERCENT = re.compile(r"\s*\\?%$")
_PYTHONS_LOG = re.compile(r"(?<![A-Za-z\\])log(?=\()")
_LIST = re.compile(r"\[(.+)\]")
_WITHOUT_UNKNOWN = re.compile(r"^\\(?:ne|le|ge)(?![A-Za-z])|^[<>]")
_WITH_UNKNOWN = re.compile(r"^\\?[A-Za-z]\s*(?=\\(?:ne|le|ge)(?![A-Za-z])|[<>])")
_RESIDUE = re.compile(
    r"(?:(\\?[A-Za-z])\s*)?(?:\\equiv|=)?\s*(-?\d+)\s*(?:\\pmod\s*\{|\(\s*\\?(?:bmod|mod|text\s?\{\s*mod\s*\})\s*|\\?(?:bmod|mod)\s*\{?)\s*(\d+)\s*[})]?"
)


class Question(NamedTuple):
    """What is left for the worker: is one of the answers the gold answer? Of None, whether the gold can be read."""

    answers: tuple[str, ...] | None
    gold: str


def extract(text: str) -> str | None:
    r"""The content of the last `\boxed{...}`, `\fbox{...}` or `\boxed 7`, the inner one of nested boxes; None if there
    is no box, or the last one never closes."""
    last, span = -1, slice(0)
    begun = -1  # the box that began last
    opened: list[int] = []  # where the content of each open box starts, -1 for any other open brace
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind in ("box", "open"):
            opened.append(token.end() if kind == "box" else -1)
            begun = token.end() if kind == "box" else begun
        elif kind == "bare":
            last, span = token.start("bare"), slice(*token.span("bare"))
        elif kind == "cut":
            begun = token.end()
        elif kind == "close" and opened and (start := opened.pop()) > last:
            last, span = start, slice(start, token.start())
    return text[span] if last >= max(0, begun) else None


def final_answer(solution: str) -> str:
    """The answer in a gold text: behind its last `####`, else in its last box, else all of it.

    A `####` with several lines behind it is a heading, and no mark.
    """
    behind = solution.rpartition("####")[2].strip()
    boxed = extract(behind)
    if boxed is None and (len(behind.splitlines()) != 1 or behind == solution.strip()):
        behind, boxed = solution, extract(solution)
    return (behind if boxed is None else boxed).strip()


class Grader(contextlib.AbstractContextManager["Grader"]):
    """Grades answers; `timed_out` counts those that took the worker longer than `seconds`, or ended its process."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._late: list[str] = []  # appended to from any thread
        self._idle: defaultdict[int, list[subprocess.Popen[str]]] = defaultdict(list)  # by our id: forks share none

    def __exit__(self, *_: object) -> None:
        while idle := self._idle[os.getpid()]:
            idle.pop().communicate()  # ends its stdin, and so itself

    @property
    def timed_out(self) -> int:
        return len(self._late)

    def is_correct(self, text: str, gold: str) -> bool:
        """Whether the last box of `text` holds the answer `gold`: bare, in a box of its own, or after GSM8K's ####."""
        verdict = settle(extract(text) or "", final_answer(gold))
        return self._ask(verdict) if isinstance(verdict, Question) else verdict

    def grade(self, texts: Sequence[str], golds: Sequence[str]) -> list[bool]:
        """`is_correct` of each pair, on several cores. Raises ValueError unless there are as many golds as texts."""
        pairs = [(extract(text) or "", final_answer(gold)) for text, gold in zip(texts, golds, strict=True)]
        settled = {pair: settle(*pair) for pair in pairs}
        questions = list(dict.fromkeys(verdict for verdict in settled.values() if isinstance(verdict, Question)))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        replies: dict[Question, bool] = {}
        share = max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))  # of several processes on this machine
        if threads := min(WORKERS, share, len(questions)):
            with ThreadPoolExecutor(threads) as pool:
                replies = dict(zip(questions, pool.map(self._ask, questions), strict=True))
        verdicts = (settled[pair] for pair in pairs)
        return [replies[verdict] if isinstance(verdict, Question) else verdict for verdict in verdicts]

    def gold_problem(self, gold: str) -> str | None:
        """Why a gold answer cannot be graded, in words; None if it can: the worker reads it and finds it equal to
        itself, or it is a plain number or words."""
        bare = final_answer(gold)
        if len(bare) > LONGEST:
            return f"it is longer than {LONGEST} characters"
        gold = layout.readable(bare)
        if not gold:
            return "it is empty"
        if extract(f"\\boxed{{{bare}}}") != bare:
            return "its braces are not balanced, or it has a box in it"
        if _is_words(gold) or quantity(gold) or _settled_by_form(gold, gold):
            return None
        if self._ask(Question(None, layout.mathematics(without_unit(gold)))):
            return None
        return "math-verify cannot read it, or does not find it equal to itself"

    def _ask(self, question: Question) -> bool:
        """The worker's verdict. Listed is an idle worker only: one that Ctrl-C breaks in on never answers again."""
        idle = self._idle[os.getpid()]
        try:
            worker = idle.pop()
        except IndexError:
            worker = _start(self.seconds)
        reply = ""
        with contextlib.suppress(OSError):
            print(json.dumps(question), file=worker.stdin)
            reply = worker.stdout.readline() if worker.stdout else ""
        if reply.endswith("\n"):
            idle.append(worker)
        else:
            worker.kill()
            worker.communicate()
        if reply not in ("True\n", "False\n"):
            self._late.append((question.answers or ("",))[0])
        return reply == "True\n"


@functools.cache
def shared_grader() -> Grader:
    """The Grader of `is_correct`, `grade`, `gold_problem` and the rewards."""
    return Grader()


is_correct, grade, gold_problem = shared_grader().is_correct, shared_grader().grade, shared_grader().gold_problem


def settle(answer: str, gold: str) -> bool | Question:
    """The verdict on an answer, or the question that only mathematics can decide."""
    if max(len(answer), len(gold)) > LONGEST:
        return False
    if answer == gold:
        return bool(layout.strip(gold))
    answer, gold = layout.readable(answer), layout.readable(gold)
    if not answer or not gold or answer == gold:
        return answer == gold != ""
    if _COMMA.sub(",", answer) == _COMMA.sub(",", gold):
        return True
    verdict = _settled_by_form(answer, gold)
    if verdict is None:
        answer, gold = _without_choice(answer), _without_choice(gold)
        verdict = _settled_by_quantity(in_base(ratio(answer)), in_base(ratio(gold)))
    return _question(answer, gold) if verdict is None else verdict


def _settled_by_form(answer: str, gold: str) -> bool | None:
    """The verdict where the gold answer is a choice, a time, words or a residue; None where it is none of them."""
    for decide in (_same_choice, same_time, _same_words, _same_residue, same_compound):
        if (verdict := decide(answer, gold)) is not None:
            return verdict
    return None


def _settled_by_quantity(answer: str, gold: str) -> bool | None:
    """The verdict where both are plain numbers, or their units differ; None where mathematics is left."""
    if answer == gold:
        return True
    ours, theirs = quantity(answer), quantity(gold)
    units = [of[1] if of else unit_behind(text) for of, text in ((ours, answer), (theirs, gold))]
    if not same_unit(*units):
        return False
    if ours is None or theirs is None:
        return None
    percents = ("%" in units[1]) - ("%" in units[0])
    return ours[0] == theirs[0] or (percents != 0 and ours[0] * Fraction(100) ** percents == theirs[0])


def _question(answer: str, gold: str) -> bool | Question:
    """The two as the worker reads them, with what the answer may also mean beside such a gold answer."""
    if "\\ln" in gold and "\\log" not in gold:
        answer = _PYTHONS_LOG.sub(r"\\ln", answer)
    answer, gold = both_marked(answer, gold)
    percents = [_PERCENT.search(text) is not None for text in (answer, gold)]
    ours, theirs = (layout.mathematics(_PERCENT.sub("", without_unit(text))) for text in (answer, gold))
    if ours == theirs:
        return True
    ratios = [_parts_of_ratio(text) for text in (ours, theirs)]
    if any(ratios):
        return Question((ratios[0],), ratios[1]) if all(ratios) else False
    angles = [{min(name, name[::-1]) for name in _ANGLE.findall(text)} for text in (ours, theirs)]
    if all(angles) and angles[0].isdisjoint(angles[1]):
        return False
    if bool(_GOES_ON.search(ours)) != bool(_GOES_ON.search(theirs)):
        return False
    if _SIDE_BY_SIDE.search(ours) or _BASES.findall(ours) != _BASES.findall(theirs):
        return False
    if ("_{D" in ours) and ("_{D" in theirs):
        bare = [layout.without_variables_of_derivatives(text) for text in (ours, theirs)]
        if bare[0] == ours or bare[1] == theirs:
            ours, theirs = bare
    if _WITHOUT_UNKNOWN.match(ours) or _WITHOUT_UNKNOWN.match(theirs):
        ours, theirs = _WITH_UNKNOWN.sub("", ours), _WITH_UNKNOWN.sub("", theirs)
        if ours.replace(" ", "") == theirs.replace(" ", ""):
            return True
    answers = [ours]
    if percents[0] != percents[1]:
        answers.append(f"\\frac{{{ours}}}{{100}}" if percents[0] else f"100({ours})")
    if "\\cup" in theirs and (found := layout.as_set(ours, commas=True)):
        answers.append(found[1])
    elif "\\cup" in ours and (found := layout.as_set(theirs, commas=True)):
        theirs = found[1]
    inside = _LIST.fullmatch(ours)  # of a list as Python prints it
    if inside and theirs[:1] not in "[(" and not re.search(r"\\le|<", theirs):
        answers.append(inside[1])
    return Question(tuple(answers), theirs)


def _parts_of_ratio(text: str) -> str:
    """`1:2:3` as the tuple (1, 2, 3), to the parser a quotient of three; empty for anything but such a ratio."""
    parts = split(_NAMES_OF_RATIO.sub("", text), ":")
    return f"({','.join(parts)})" if len(parts) > 2 and all(parts) else ""


def _choice(text: str) -> tuple[str, str]:
    """(letter, text behind it) of a choice, `C`, `(C) 14`, `C: words`; empty for anything else."""
    found = _CHOICE.fullmatch(_TEXT.sub(r"\1", text).replace("\\ ", " ").strip())
    return ((found[1] or found[2]).upper(), (found[3] or "").strip()) if found else ("", "")


def _without_choice(text: str) -> str:
    """An answer without the letter of a choice before it."""
    letter, behind = _choice(text)
    return behind if letter and behind else text


def _same_choice(answer: str, gold: str) -> bool | None:
    theirs, words_of_gold = _choice(gold)
    ours, _ = _choice(answer)
    if theirs and ours:
        return ours == theirs
    if theirs and not words_of_gold and not gold.isalpha():
        return False
    if _CHOICES.fullmatch(gold) and _CHOICES.fullmatch(answer) and re.search(r"[^A-Z]", gold + answer):
        return sorted(set(re.findall("[A-H]", gold))) == sorted(set(re.findall("[A-H]", answer)))
    return None


def _same_words(answer: str, gold: str) -> bool | None:
    if not _is_words(gold):
        return None
    ours, theirs = (_SYNONYMS.get(found, found) for found in (words(answer), words(gold)))
    return ours == theirs and answer[0] not in "-+"


def _is_words(gold: str) -> bool:
    text = _TEXT.fullmatch(gold)
    if text:
        return any(map(str.isalpha, text[1])) and not any(map(str.isdigit, text[1]))
    return bool(_PLAIN.fullmatch(gold))


def _same_residue(answer: str, gold: str) -> bool | None:
    r"""`n \equiv 1 \pmod 4` and `5 \mod 4` are one class."""
    ours, theirs = _RESIDUE.fullmatch(answer), _RESIDUE.fullmatch(gold)
    if not ours or not theirs or not int(theirs[3]):
        return None
    same_unknown = None in (ours[1], theirs[1]) or ours[1] == theirs[1]
    return same_unknown and ours[3] == theirs[3] and (int(ours[2]) - int(theirs[2])) % int(theirs[3]) == 0


_NEEDLESS_SPACE = re.compile(r"(?<![\w.]) +| +(?![\w.])")
_COMMA_OF_THOUSANDS = re.compile(r",\d{3}(?!\d)")


def canonical(answer: str) -> str:
    r"""A canonical text of a final answer: the grader calls answers with equal canonical texts equal.

    The converse does not hold: whether `x(x+1)` is `x^2+x` is a question for the worker. These coincide: spellings of
    one number with the same unit or without one (`1/2`, `\frac12`, `0.50`); layout, Unicode signs and Python's output;
    words in upper and lower case; a choice and its letter in parentheses; spellings of a time of day; a list of numbers
    in any order. What the grader accepts only beside some gold answers stays apart: `50\%` from `0.5` and `50`, `5 cm`
    from `5`, `x = 5` from `5`. Statements that the worker finds equal to nothing, such as `1 = 2`, coincide with
    themselves. The function starts no process, and its time is bounded on any text.

        canonical("0.5")                # "number: 1/2"
        canonical(r"\frac{x}{2} + 1")   # r"mathematics: \frac{x}{2}+1"

    Args:
        answer: The content of a box, as `extract` returns it.

    Returns:
        The kind of the answer and its canonical text; empty for an answer that is empty or longer than `LONGEST`
        characters, which the grader calls wrong.
    """
    text = layout.readable(answer) if len(answer) <= LONGEST else ""
    if not text:
        return ""
    letter, behind = _choice(text)
    if letter and not behind:
        return f"choice: {letter}"
    time, amounts = minutes(text), compound(text)
    if time and time[1]:
        return f"time: {time[0]} s"
    if _is_words(text) and text[0] not in "-+":
        return f"words: {' '.join(_SYNONYMS.get(words(text), words(text)))}"
    if amounts:
        unit = "second" if "second" in amounts else "inch"
        return f"number: {amounts[unit]} {unit}"
    if letter or time or _is_words(text) or _CHOICES.fullmatch(text) or _RESIDUE.fullmatch(text):
        return f"text: {_COMMA.sub(',', text)}"
    return _canonical_mathematics(in_base(ratio(text)))


def _canonical_mathematics(text: str) -> str:
    """The canonical text of a number, a list of numbers or an expression."""
    if value := quantity(text):
        return " ".join(("number:", str(value[0]), *map(unit_name, value[1])))
    values = [quantity(part) for part in split(text)]
    if len(values) > 1 and all(value and not value[1] for value in values) and not _COMMA_OF_THOUSANDS.search(text):
        return f"list: {', '.join(sorted(split(text)))}"
    if _PYTHONS_LOG.search(text) or "\\vectimes" in text:  # the gold answer decides how the grader reads these
        return f"text: {_COMMA.sub(',', text)}"
    expression = _NEEDLESS_SPACE.sub("", layout.mathematics(_PERCENT.sub("", without_unit(text))))
    percent = ["%"] if _PERCENT.search(text) else []
    return " ".join(("mathematics:", expression, *map(unit_name, unit_behind(text)), *percent))


class GraderError(RuntimeError):
    """Why nothing can be graded here, in one sentence."""


_WORKER = "import sys; sys.path[:] = sys.argv[3:]; import runpy; runpy.run_path(sys.argv[1])['_serve']()"
_WORKER_FILE = str(Path(__file__).with_name("worker.py"))


def _start(seconds: float) -> subprocess.Popen[str]:
    """A worker that is ready, and ends when its stdin does. It runs its file by the path: the package would import
    torch, and multiprocessing would run the caller's script once more."""
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER, _WORKER_FILE, str(seconds), *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        errors="replace",
        bufsize=1,
    )
    word = "its process ended"
    for word in worker.stdout or ():  # what a site prints at start-up comes first, and an error last
        if word == "ready\n":
            return worker
    worker.communicate()
    raise GraderError(f"math-verify did not start: {word.strip()}. Install it: pip install math-verify")
