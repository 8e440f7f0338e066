"""The grader: settles what it can, and asks a process of its own for the rest."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from manypaths.grading.boxes import extract, final_answer
from manypaths.grading.forms import is_words, settled_by_form
from manypaths.grading.latex import mathematics
from manypaths.grading.layout import LONGEST, readable
from manypaths.grading.quantities import quantity, without_unit
from manypaths.grading.settling import Question, settle

__all__ = ["Grader", "GraderError", "gold_problem", "grade", "is_correct", "shared_grader"]

SECONDS = 5.0  # wall clock for one answer in the worker
WORKERS = 8  # at most, and no more than cores, for one batch


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
        gold = readable(bare)
        if not gold:
            return "it is empty"
        if extract(f"\\boxed{{{bare}}}") != bare:
            return "its braces are not balanced, or it has a box in it"
        if is_words(gold) or quantity(gold) or settled_by_form(gold, gold):
            return None
        if self._ask(Question(None, mathematics(without_unit(gold)))):
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


class GraderError(RuntimeError):
    """Why nothing can be graded here, in one sentence."""


_WORKER = """
import sys
sys.path[:] = sys.argv[3:]
from importlib import util
spec = util.spec_from_file_location("grading_worker", sys.argv[1])
worker = sys.modules[spec.name] = util.module_from_spec(spec)
spec.loader.exec_module(worker)
worker.serve()
"""
_WORKER_FILE = str(Path(__file__).parent / "worker" / "__init__.py")


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
