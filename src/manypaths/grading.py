"""Is an answer correct? The last box of a text against a gold answer; no text can hang, crash or fool the caller.

    is_correct("... so it is \\boxed{\\frac{1}{2}}.", "0.5")    # True
    with Grader(seconds=1) as grader:
        verdicts = grader.grade(texts, golds)                   # grader.timed_out says how many ran out of time

The same text and plain numbers are compared here, exactly. Everything else goes to math-verify in a process of
its own, one for each thread that is waiting, which is started on first need, lives on, and dies of the first
answer that takes it longer than `seconds`. `is_correct` and `grade` share one Grader for each process,
`shared_grader()`. After a fork the child starts workers of its own; nobody has to guard `__main__`.
"""

from __future__ import annotations

import atexit
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
from types import TracebackType

SECONDS = 5.0  # wall clock for one answer in math-verify
SECONDS_TO_START = 120.0  # for a worker to import math-verify, on a slow disk too
LONGEST = 2000  # characters of an answer; a longer one is wrong, unread
MEMORY = 4 * 2**30  # bytes of address space for a worker

_TOKEN = re.compile(
    r"\\(?:boxed|fbox)(?:\s*(?P<box>\{)|\s+(?P<bare>[-+.]?\d[^\s\\{}$]*))"
    r"|\\(?!\\(?:boxed|fbox)).|(?P<open>\{)|(?P<close>\})",
    re.DOTALL,
)
_EDGES = re.compile(r"^(?:\\[,;:! ]|\s)+|(?:\\[,;:! ]|[\s.,;:])+$")
_UNIT = re.compile(r"(?:\\[,;:! ]|[\s~])*\\(?:text|mbox|mathrm)\s*\{[^{}]*\}(?:\^\{?\d\}?)?$")
_POWER = re.compile(r"\s*\\(?:times|cdot)\s*10\^(?:\{([-+]?\d+)\}|(\d))$")
_LATEX_FRACTION = re.compile(r"([-+]?)\\[dt]?frac\s*(?:\{(\d+)\}|(\d))\s*(?:\{(\d+)\}|(\d))")
_NUMBER = re.compile(r"[-+]?(?:\d+/\d+|(?:\d{1,3}(?:,\d{3})+|\d*)(?:\.\d*)?(?:[eE][-+]?\d{1,3})?)")
_START = "import runpy, sys; sys.path[:] = sys.argv[3:]; runpy.run_path(sys.argv[1], run_name='__main__')"


def extract(text: str) -> str | None:
    r"""The content of the last `\boxed{...}` or `\fbox{...}` that is closed, or the number of a `\boxed 7`; else None.

    Of nested boxes the inner one is the last. Escaped braces do not count. Linear in the length of the text.
    """
    last, span = -1, slice(0)
    opened: list[int] = []  # where the content of each open box starts, -1 for any other open brace
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "box":
            opened.append(token.end())
        elif kind == "open":
            opened.append(-1)
        elif kind == "close" and opened:
            if (start := opened.pop()) > last:
                last, span = start, slice(start, token.start())
        elif kind == "bare":
            last, span = token.start("bare"), slice(*token.span("bare"))
    return text[span] if last >= 0 else None


def number(text: str) -> Fraction | None:
    r"""The exact value of a plain number, else None: `1,234`, `-.5`, `3/4`, `\frac34`, `7.2e6`, `7.2 \times 10^6`.

    A percent sign and a trailing unit in `\text{}` are ignored.
    """
    text = _UNIT.sub("", text).replace("{,}", ",").replace(",\\!", ",").removesuffix("%").removesuffix("\\").strip()
    text = _LATEX_FRACTION.sub(r"\1\2\3/\4\5", _POWER.sub(r"e\1\2", text), count=1)
    if len(text) > LONGEST or not _NUMBER.fullmatch(text):
        return None
    with contextlib.suppress(ValueError, ZeroDivisionError):  # "." and "1/0"
        return Fraction(text.replace(",", ""))
    return None


class Grader:
    """Grades answers, each in `seconds` of wall clock at most; `timed_out` counts those whose worker did not answer.

    Threads may share one. `close` it, or use it in a `with`; it may be used again afterwards.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self.timed_out = 0
        self._idle: defaultdict[int, list[subprocess.Popen[bytes]]] = defaultdict(list)  # by process: forks share none

    def is_correct(self, text: str, gold: str) -> bool:
        """Whether the last box of `text` holds the answer `gold`: bare, in a box of its own, or after GSM8K's ####."""
        boxed = extract(gold)
        answer, gold = _trim(extract(text) or ""), _trim(gold.rpartition("####")[2] if boxed is None else boxed)
        if not answer or len(answer) > LONGEST:
            return False
        if answer == gold:
            return True
        ours, theirs = number(answer), number(gold)
        if ours is not None and theirs is not None and (ours == theirs or "%" not in answer + gold):
            return ours == theirs
        return self._ask(answer, gold)

    def grade(self, texts: Sequence[str], golds: Sequence[str]) -> list[bool]:
        """`is_correct` of each pair. Raises ValueError unless there are as many golds as texts."""
        if len(texts) != len(golds):
            raise ValueError(f"grade asks for one gold answer per text; given {len(texts)} texts, {len(golds)} golds.")
        return [self.is_correct(text, gold) for text, gold in zip(texts, golds, strict=True)]

    def close(self) -> None:
        """Ends the workers."""
        idle = self._idle[os.getpid()]
        while idle:
            _stop(idle.pop())

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self, answer: str, gold: str) -> bool:
        """math-verify's verdict. The worker is ours alone until it is back in the list, and never is if we are broken
        off: so a late reply can answer no other question."""
        idle = self._idle[os.getpid()]
        try:
            worker = idle.pop()
        except IndexError:
            worker = _start(self.seconds)
        assert worker.stdin and worker.stdout
        reply = b""
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.write(json.dumps([answer, gold]).encode() + b"\n")
            worker.stdin.flush()
            reply = worker.stdout.readline()
        if not reply.endswith(b"\n"):
            _stop(worker)
            self.timed_out += 1
            return False
        idle.append(worker)
        return reply == b"true\n"


@functools.cache
def shared_grader() -> Grader:
    """The Grader of `is_correct`, `grade` and the rewards, closed when Python ends."""
    grader = Grader()
    atexit.register(grader.close)
    return grader


def is_correct(text: str, gold: str) -> bool:
    """`Grader.is_correct` of the shared grader."""
    return shared_grader().is_correct(text, gold)


def grade(texts: Sequence[str], golds: Sequence[str]) -> list[bool]:
    """`Grader.grade` of the shared grader."""
    return shared_grader().grade(texts, golds)


def _trim(text: str) -> str:
    """Without dollar signs, and without spaces and final punctuation at the edges."""
    return _EDGES.sub("", text.replace("\\$", "").replace("$", ""))


def _start(seconds: float) -> subprocess.Popen[bytes]:
    """A worker that is ready: this file, run by path, for the package would import torch and the caller's __main__
    would run again. It finds math-verify where the caller would."""
    worker = subprocess.Popen(
        [sys.executable, "-c", _START, __file__, str(seconds), *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert worker.stdout
    word = worker.stdout.readline()
    if word != b"ready\n":
        _stop(worker)
        raise RuntimeError(f"math-verify did not start: {word.decode().strip() or 'its process ended without a word'}")
    return worker


def _stop(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    worker.communicate()


def _serve(seconds: float) -> None:
    """The worker: [answer, gold] in, true or false out, a JSON line each, until stdin ends.

    faulthandler ends the process from a thread that needs no interpreter lock, whatever Python is busy with, and
    even when the caller is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's to handle
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no verdict
    faulthandler.dump_traceback_later(SECONDS_TO_START, exit=True)
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has it or allows it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()
    try:
        from math_verify import parse, verify
    except ImportError as error:
        print(error, file=replies)
        return

    def judge(answer: str, gold: str) -> bool:
        ours, theirs = (parse(f"\\boxed{{{text}}}", parsing_timeout=None) for text in (answer, gold))
        return bool(verify(theirs, ours, timeout_seconds=None))

    judge("x + 1", "1 + x")  # the first verdict imports and compiles much
    print("ready", file=replies)
    for line in sys.stdin.buffer:
        verdict = False
        faulthandler.dump_traceback_later(seconds, exit=True)
        with contextlib.suppress(Exception):  # what math-verify cannot read is wrong
            verdict = judge(*json.loads(line))
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(verdict), file=replies)


if __name__ == "__main__":
    _serve(float(sys.argv[2]))
