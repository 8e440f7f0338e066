r"""Is an answer correct? The last box of a text against a gold answer; no text can hang or crash the caller.

    is_correct(r"... so it is \boxed{\frac{1}{2}}.", "0.5")     # True

What counts, where mathematics leaves it open:

- The last box, the inner one of nested boxes. No box is wrong: training asks for one.
- A unit may be left out or added, `18 bananas` for 18; another unit than the gold answer's is wrong, so is another
  base. A single letter is a unit only where the gold answer has no unknown: `6 m` is right for 6, 6 wrong for `6m`.
- A percent sign may be left out, or be a hundredth. Plain numbers are compared exactly: 0.333 is not 1/3.
- A gold answer in words, `\text{east}`, is compared as words, without case and punctuation.
- A list needs every answer, in any order; an inequality is its interval; of `x = 3` the 3 is enough.

Equal texts, words and plain numbers are settled here. Everything else goes to math-verify in a process of its own,
started on first need. Out of time it ends itself, and a fork of its parent, which has all loaded, takes its place.
Each waiting thread and the child of a fork have their own. No `__main__` guard is needed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from typing import Any

SECONDS = 5.0  # wall clock for one answer in math-verify
SECONDS_TO_START = 120.0  # for a worker to import math-verify, from a slow disk too
LONGEST = 2000  # characters in a box; an answer longer than that is wrong, unread
MEMORY = 2 * 2**30  # bytes of address space for a worker
WORKERS = 8  # at most, and no more than cores, for one batch

_TOKEN = re.compile(
    r"\\(?:boxed|fbox)(?:\s*(?P<box>\{)|\s+(?P<bare>[-+.]?\d[^\s\\{}$]*))"
    r"|\\(?!\\(?:boxed|fbox)).|(?P<open>\{)|(?P<close>\})",
    re.DOTALL,
)
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm)?|mbox|math(?:rm|bf)|operatorname)\s{0,9}\{([^{}]*)\}")
_CHOICE = re.compile(r"\\(?:text(?:bf)?|math(?:rm|bf))\s{0,9}\{\s{0,9}\([A-E]\)\s{0,9}\}[\\\s~]{0,9}(?=[^\\\s~])")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\s?\\!\s?|\\[,;: ]|\\!|\s)(?=\d{3}(?![\d/]))")
_REPEATING = re.compile(r"(?<!\d)(\d{0,99})\.(\d{0,99})\\(?:overline|bar)\s?\{(\d{1,99})\}")
_FRACTION = re.compile(r"\\[dtc]?frac\s?(?:\{\s?(-?\d+)\s?\}|(\d))\s?(?:\{\s?(\d+)\s?\}|(\d))")
_NUMBER = re.compile(
    r"\s*([-+]?)\s*(?:(\d+)\s+(?=\d+/\d))?"  # the whole part of a mixed number
    r"([-+]?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3}(?!\d))?)(?:\s?/\s?(\d+))?"
    r"(?:\s?(?:\\times|\\cdot|×|\*)\s?10\s?\^\s?(?:\{\s?([-+]?\d{1,3})\s?\}|([-+]?\d{1,3})))?(?!\d)"
)
_UNIT = re.compile(  # no two alternatives begin alike, for it would take exponential time otherwise
    rf"(?:{_TEXT.pattern}|(?<=[\s/-])[A-Za-z]{{3,}}(?![A-Za-z])|(?:[ckm]m|[km]g|ft|in|hr|lb|oz|mi|yd|m[lL]|[ap]m)\b"
    r"|(?<=[A-Za-z}])\^\s?(?:\d|\{-?\d\})|_(?:\d|\{\d+\})|\\?%|(?:\^\s?)?(?:\{\s?\\circ\s?\}|\\circ)|°"
    r"|\\cdot|\\[,;:! ]|[\s~]|/(?=\s?[A-Za-z\\])|(?<=[A-Za-z])[-.])*"
)
_UNIT_OF_ALL = re.compile(rf"(?<=\S)[\s~\\,]{{0,9}}{_TEXT.pattern}(?:\^(?:\d|\{{\d\}}))?$")
_NO_UNIT = re.compile(  # behind a number, it makes another one of it
    r"\b(?:hundred|thousand|[mbtr]+illion|dozen|half|thirds?|squared|cubed|factorial|or|and|to|mod|modulo|plus|minus|times"
    r"|over|choose|base|pi|sqrt|sin|cos|tan|log|exp|inf|infinity)\b"
)
_REWRITES = (  # what math-verify takes for something else, or cannot read
    (re.compile(r"\\gamma(?![A-Za-z_])"), "g_{amma}"),  # Euler's constant, or the function
    (re.compile(r"(?<![A-Za-z\\])E(?=_)"), r"\\varepsilon "),  # 2.718...
    (re.compile(r"_\s?\{\s?\\([A-Za-z]+)\s?\}"), r"_{\1}"),  # a command as an index
    (re.compile(r"(?<=[\d)])(?<![_^]\d)\s?\((?=\d+\))"), r"\\cdot ("),  # 2(3), to it a sum
)
_PLAIN = re.compile(r"yes|no(?: [a-z]+)?|odd|(?=.{0,99}[a-z]{4})[a-z' -]+", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+|\d+|[%/_]")
_SIDE_BY_SIDE = re.compile(r"(?<!frac)(?<!frac\s)\d[\s~]+\d")
_WORKER = "import sys; sys.path[:] = sys.argv[3:]; import runpy; runpy.run_path(sys.argv[1])['_serve']()"


def extract(text: str) -> str | None:
    r"""The content of the last `\boxed{...}`, `\fbox{...}` or `\boxed 7`, the inner one of nested boxes; else None."""
    last, span = -1, slice(0)
    opened: list[int] = []  # where the content of each open box starts, -1 for any other open brace
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind in ("box", "open"):
            opened.append(token.end() if kind == "box" else -1)
        elif kind == "bare":
            last, span = token.start("bare"), slice(*token.span("bare"))
        elif kind == "close" and opened and (start := opened.pop()) > last:
            last, span = start, slice(start, token.start())
    return text[span] if last >= 0 else None


def quantity(text: str) -> tuple[Fraction, tuple[str, ...]] | None:
    r"""The exact value and the words of the unit of `1,234`, `-.5`, `3/4`, `1\frac45`, `7e6`, `7 \times 10^6`,
    `0.\overline{3}`, `5\%`, `5 \text{m}`, `18 bananas`, `52_8`; None for anything else."""
    text = _FRACTION.sub(r" \1\2/\3\4", _REPEATING.sub(_repeating, _THOUSANDS.sub(",", text)))
    found = _NUMBER.match(text)
    if not found or not _UNIT.fullmatch(text, found.end()) or _NO_UNIT.search(text, found.end()):
        return None
    sign, whole, top, bottom, *powers = found.groups()
    with contextlib.suppress(ZeroDivisionError):
        value = Fraction(top.replace(",", "")) / int(bottom or 1) + int(whole or 0)
        power = Fraction(10) ** int(powers[0] or powers[1] or 0)
        return (-value if sign == "-" else value) * power, _words(text[found.end() :])
    return None


def number(text: str) -> Fraction | None:
    """The exact value of a `quantity`."""
    return found[0] if (found := quantity(text)) else None


class Grader(contextlib.AbstractContextManager["Grader"]):
    """Grades answers; `timed_out` counts those that took math-verify longer than `seconds`, or ended its process."""

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
        verdict = _settle(answer := extract(text) or "", gold := _bare(gold))
        return self._ask(answer, gold) if verdict is None else verdict

    def grade(self, texts: Sequence[str], golds: Sequence[str]) -> list[bool]:
        """`is_correct` of each pair, on several cores. Raises ValueError unless there are as many golds as texts."""
        pairs = [(extract(text) or "", _bare(gold)) for text, gold in zip(texts, golds, strict=True)]
        verdicts = {pair: _settle(*pair) for pair in pairs}
        hard = [pair for pair, verdict in verdicts.items() if verdict is None]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        share = max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))  # of several processes on this machine
        if threads := min(WORKERS, share, len(hard)):
            with ThreadPoolExecutor(threads) as pool:
                verdicts.update(zip(hard, pool.map(self._ask, *zip(*hard, strict=True)), strict=True))
        return [bool(verdicts[pair]) for pair in pairs]

    def gold_problem(self, gold: str) -> str | None:
        """Why a gold answer cannot be graded, in words; None if it can: math-verify reads it and finds it equal to
        itself, or it is a plain number or words."""
        gold = _bare(gold)
        if not gold:
            return "it is empty"
        if len(gold) > LONGEST:
            return f"it is longer than {LONGEST} characters"
        if extract(f"\\boxed{{{gold}}}") != gold:
            return "its braces are not balanced, or it has a box in it"
        if _is_words(gold) or quantity(gold) or self._ask(None, gold):
            return None
        return "math-verify cannot read it, or does not find it equal to itself"

    def _ask(self, answer: str | None, gold: str) -> bool:
        """math-verify's verdict. Listed is an idle worker only: one that Ctrl-C breaks in on never answers again."""
        idle = self._idle[os.getpid()]
        try:
            worker = idle.pop()
        except IndexError:
            worker = _start(self.seconds)
        reply = ""
        with contextlib.suppress(OSError):
            print(json.dumps([answer, gold]), file=worker.stdin)
            reply = worker.stdout.readline() if worker.stdout else ""
        if reply.endswith("\n"):
            idle.append(worker)
        else:
            worker.kill()
            worker.communicate()
        if reply not in ("True\n", "False\n"):
            self._late.append(answer or "")
        return reply == "True\n"


@functools.cache
def shared_grader() -> Grader:
    """The Grader of `is_correct`, `grade`, `gold_problem` and the rewards."""
    return Grader()


is_correct, grade, gold_problem = shared_grader().is_correct, shared_grader().grade, shared_grader().gold_problem


def _bare(gold: str) -> str:
    """A gold answer out of its box, or from behind GSM8K's ####."""
    return _trim(gold.rpartition("####")[2] if (boxed := extract(gold)) is None else boxed)


def _trim(text: str) -> str:
    r"""Without dollar signs, spaces around, and the punctuation or `\,` at the end."""
    text = text.replace("\\$", "").replace("$", "").replace("−", "-")
    return text.strip().rstrip(" ~.,;:\n").removesuffix("\\").strip()


def _settle(answer: str, gold: str) -> bool | None:
    """The verdict where it needs no mathematics: empty, long and equal answers, words, plain numbers; else None."""
    if max(len(answer), len(gold)) > LONGEST:
        return False
    answer = _trim(answer)
    if not answer or not gold or answer == gold:
        return answer == gold != ""
    if _is_words(gold):
        return _words(answer) == _words(gold)
    ours, theirs = quantity(answer := _CHOICE.sub("", answer)), quantity(gold)
    units = [of[1] if of else _unit(text) for of, text in ((ours, answer), (theirs, gold))]
    if not _same_unit(*units) or (ours is None and _SIDE_BY_SIDE.search(answer)):
        return False
    if ours is None or theirs is None:
        return None
    percents = ("%" in units[1]) - ("%" in units[0])
    return ours[0] == theirs[0] or (percents != 0 and ours[0] * Fraction(100) ** percents == theirs[0])


def _words(text: str) -> tuple[str, ...]:
    """Words, numbers, `%`, `/` and `_` in lower case."""
    text = _TEXT.sub(r" \1 ", text.lower()).replace("percent", "%").replace(" per ", "/")
    return tuple(_WORD.findall(text.replace("\\circ", " degree ").replace("°", " degree ").replace("\\", " ")))


def _is_words(gold: str) -> bool:
    text = _TEXT.fullmatch(gold)
    return (
        any(map(str.isalpha, text[1])) and not any(map(str.isdigit, text[1])) if text else bool(_PLAIN.fullmatch(gold))
    )


def _unit(text: str) -> tuple[str, ...]:
    r"""The words of a unit behind an expression, `3\sqrt2 \text{ cm}^2`."""
    found = _UNIT_OF_ALL.search(text)
    return _words(found[0]) if found and not _NO_UNIT.search(found[0]) else ()


def _same_unit(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one is missing, or each word is the other's, its beginning or its letters: cents cent, min minutes, kg
    kilograms."""

    def same(short: str, long: str) -> bool:
        letters = iter(long)
        abbreviated = len(long) > 3 and long[0] == short[0] and all(letter in letters for letter in short)
        return long.startswith(short) or abbreviated

    pairs = [sorted(pair, key=len) for pair in zip(one, other, strict=False)]
    return not one or not other or (len(one) == len(other) and all(same(*pair) for pair in pairs))


def _repeating(found: re.Match[str]) -> str:
    before, fixed, repeated = found.groups()
    top = int(before + fixed + repeated) - int(before + fixed or 0)
    return f"{top}/{(10 ** len(repeated) - 1) * 10 ** len(fixed)}"


class GraderError(RuntimeError):
    """Why nothing can be graded here, in one sentence."""


def _start(seconds: float) -> subprocess.Popen[str]:
    """A worker that is ready, and ends when its stdin does. It runs this file by its path: the package would import
    torch, and multiprocessing would run the caller's script once more."""
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER, __file__, str(seconds), *sys.path],
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


def _serve() -> None:
    """The worker: lines of JSON, [answer, gold] in, True or False out. faulthandler ends it in time, from a thread that
    needs no interpreter lock, and even when the caller is gone. Its parent says None then, and forks the next."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, whose end is ours
    logging.disable()
    faulthandler.dump_traceback_later(SECONDS_TO_START, exit=True)
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has it or allows it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from math_verify import LatexExtractionConfig, parse, verify

    clean = LatexExtractionConfig().normalization_config
    strict, lenient = (  # all of the box or nothing, with letters at the end as unknowns, or as units
        [LatexExtractionConfig(False, boxed_match_priority=0, normalization_config=replace(clean, units=units))]
        for units in (False, True)
    )

    def read(text: str, how: list[Any]) -> list[Any]:
        """The expression if all of the text is one, with `i` for what it is, and the text."""
        if _unit(text):
            text = _UNIT_OF_ALL.sub("", text)
        for pattern, by in _REWRITES:
            text = pattern.sub(by, text)
        parsed: list[Any] = parse(f"\\boxed{{{text}}}", how, parsing_timeout=None)
        if "i" in text:
            parsed[:-1] = [one.subs({x: "I" for x in one.free_symbols if x.name == "i"}) for one in parsed[:-1]]
        return parsed

    def count(parsed: list[Any]) -> int:
        return len(getattr(parsed[0], "_unsorted_args", (0,)))

    def verdict(answer: str | None, gold: str) -> bool:
        theirs = read(gold, strict)
        if answer is None:
            return bool(theirs[:-1]) and bool(verify(theirs[:-1], theirs[:-1], timeout_seconds=None))
        answer = _CHOICE.sub("", _trim(answer))
        maybe_unit = answer[-1:].isalpha() and not getattr(theirs[0], "free_symbols", True)
        for how in (strict, lenient) if maybe_unit else (strict,):
            ours = read(answer, how)
            if count(theirs) > len(getattr(theirs[0], "args", ())) > 0 and count(ours) != count(theirs):
                return False  # an answer that is there twice
            if verify(theirs, ours, allow_set_relation_comp=True, timeout_seconds=None):
                return True
        return False

    verdict("x + 1", "1 + x")  # the first one is slow: it imports and compiles
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    for shown in (1, 2):  # what a library prints from here on is no verdict
        os.dup2(os.open(os.devnull, os.O_WRONLY), shown)
    print("ready", file=replies)
    faulthandler.cancel_dump_traceback_later()
    while hasattr(os, "fork") and (child := os.fork()):
        if os.waitpid(child, 0)[1] == 0:
            return
        print(None, file=replies)
    for line in sys.stdin:
        faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True)
        reply = False
        with contextlib.suppress(Exception):  # what math-verify cannot read is wrong
            reply = verdict(*json.loads(line))
        faulthandler.cancel_dump_traceback_later()
        print(reply, file=replies)
