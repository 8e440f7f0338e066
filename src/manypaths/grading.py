r"""Is an answer correct? The last box of a text against a gold answer; no text can hang or crash the caller.

    is_correct(r"... so it is \boxed{\frac{1}{2}}.", "0.5")     # True

Equal texts and plain numbers are settled here, the numbers exactly. Everything else goes to math-verify in a process
of its own, started on first need, which ends with the first answer that takes it longer than `seconds`; the next
answer gets a new one. Each waiting thread and the child of a fork have their own. No `__main__` guard is needed.
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
from fractions import Fraction

SECONDS = 5.0  # wall clock for one answer in math-verify
SECONDS_TO_START = 120.0  # for a worker to import math-verify, from a slow disk too
LONGEST = 2000  # characters in a box; an answer longer than that is wrong, unread
MEMORY = 4 * 2**30  # bytes of address space for a worker

_TOKEN = re.compile(
    r"\\(?:boxed|fbox)(?:\s*(?P<box>\{)|\s+(?P<bare>[-+.]?\d[^\s\\{}$]*))"
    r"|\\(?!\\(?:boxed|fbox)).|(?P<open>\{)|(?P<close>\})",
    re.DOTALL,
)
_UNIT = re.compile(r"(?:\\?%|\\(?:text|mbox|mathrm)\s{0,9}\{[^{}]*\}(?:\^\{?\d\}?)?)$")
_POWER = re.compile(r"\s{0,9}(?:\\times|\\cdot|×)\s{0,9}10\^\{?([-+]?\d+)\}?$")
_FRACTION = re.compile(r"^([-+]?)\\[dt]?frac\s*(?:\{(\d+)\}|(\d))\s*(?:\{(\d+)\}|(\d))$")
_NUMBER = re.compile(r"[-+]?(?:\d+/\d+|(?:\d{1,3}(?:,\d{3})+|\d*)(?:\.\d*)?(?:[eE][-+]?\d{1,3})?)")
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


def number(text: str) -> Fraction | None:
    r"""The exact value of `1,234`, `-.5`, `3/4`, `\frac34`, `7e6`, `7 \times 10^6`, `5\%`, `5 \text{m}`; else None."""
    text = _trim(_UNIT.sub("", text)).replace("{,}", ",").replace(",\\!", ",")
    text = _FRACTION.sub(r"\1\2\3/\4\5", _POWER.sub(r"e\1", text))
    with contextlib.suppress(ValueError, ZeroDivisionError):  # "." and "1/0"
        return Fraction(text.replace(",", "")) if _NUMBER.fullmatch(text) else None
    return None


class Grader(contextlib.AbstractContextManager["Grader"]):
    """Grades answers; `timed_out` counts those that took math-verify longer than `seconds`, or ended its process."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds, self.timed_out = seconds, 0
        self._idle: defaultdict[int, list[subprocess.Popen[str]]] = defaultdict(list)  # by our id: forks share none

    def __exit__(self, *_: object) -> None:
        while idle := self._idle[os.getpid()]:
            idle.pop().communicate()  # ends its stdin, and so itself

    def is_correct(self, text: str, gold: str) -> bool:
        """Whether the last box of `text` holds the answer `gold`: bare, in a box of its own, or after GSM8K's ####."""
        answer, boxed = extract(text) or "", extract(gold)
        gold = gold.rpartition("####")[2] if boxed is None else boxed
        if max(len(answer), len(gold)) > LONGEST:
            return False
        answer, gold = _trim(answer), _trim(gold)
        if not answer or answer == gold:
            return answer != ""
        ours, theirs = number(answer), number(gold)
        if ours is not None and theirs is not None and (ours == theirs or "%" not in answer + gold):
            return ours == theirs
        return self._ask(answer, gold)

    def grade(self, texts: Sequence[str], golds: Sequence[str]) -> list[bool]:
        """`is_correct` of each pair. Raises ValueError unless there are as many golds as texts."""
        return [self.is_correct(text, gold) for text, gold in zip(texts, golds, strict=True)]

    def _ask(self, answer: str, gold: str) -> bool:
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
            self.timed_out += 1
        return reply == "True\n"


@functools.cache
def shared_grader() -> Grader:
    """The Grader of `is_correct`, `grade` and the rewards."""
    return Grader()


is_correct, grade = shared_grader().is_correct, shared_grader().grade


def _trim(text: str) -> str:
    r"""Without dollar signs, spaces around, and the punctuation or `\,` at the end."""
    text = text.replace("\\$", "").replace("$", "").replace("−", "-")
    return text.strip().rstrip(" ~.,;:\n").removesuffix("\\").strip()


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
    raise RuntimeError(f"math-verify did not start: {word.strip()}")


def _serve() -> None:
    """The worker: lines of JSON, [answer, gold] in and True or False out. faulthandler ends it in time, from a thread
    that needs no interpreter lock, and even when the caller is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, whose end is ours
    logging.disable()
    faulthandler.dump_traceback_later(SECONDS_TO_START, exit=True)
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has it or allows it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from math_verify import parse, verify

    def verdict(answer: str, gold: str) -> bool:
        ours, theirs = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (answer, gold))
        return bool(verify(theirs, ours, timeout_seconds=None))

    verdict("x + 1", "1 + x")  # the first one is slow: it imports and compiles
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    for shown in (1, 2):  # what a library prints from here on is no verdict
        os.dup2(os.open(os.devnull, os.O_WRONLY), shown)
    print("ready", file=replies)
    for line in sys.stdin:
        faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True)
        reply = False
        with contextlib.suppress(Exception):  # what math-verify cannot read is wrong
            reply = verdict(*json.loads(line))
        faulthandler.cancel_dump_traceback_later()
        print(reply, file=replies)
