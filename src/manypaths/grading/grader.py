"""The grader: it settles what text and exact numbers decide, and leaves the rest to a worker, a process of its own."""

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
from manypaths.grading.quantities import quantity
from manypaths.grading.settling import Question, settle
from manypaths.grading.units import without_unit

__all__ = ["Grader", "GraderError", "gold_problem", "grade", "is_correct", "shared_grader"]

SECONDS = 5.0  # wall-clock limit of the worker for one question
WORKERS = 8  # the largest number for one batch, and never more than the number of cores


class GraderError(RuntimeError):
    """The worker cannot start; the message says in one sentence why and what to do."""


class Grader(contextlib.AbstractContextManager["Grader"]):
    """Grades completions; leaving a `with` block ends its workers.

    Args:
        seconds: The wall-clock limit of the worker for one question. An answer that exceeds it is wrong.

    Attributes:
        timed_out: How many questions exceeded the limit or ended the worker's process.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._late: list[str] = []  # any thread appends to it
        # Idle workers by the id of the process that may use them: after a fork, parent and child share none.
        self._idle: defaultdict[int, list[subprocess.Popen[str]]] = defaultdict(list)

    def __exit__(self, *_: object) -> None:
        while idle := self._idle[os.getpid()]:
            idle.pop().communicate()  # closes the worker's stdin, which ends it

    @property
    def timed_out(self) -> int:
        return len(self._late)

    def is_correct(self, text: str, gold: str) -> bool:
        """Whether the last box of a completion holds the gold answer.

        Args:
            text: The completion.
            gold: The gold answer: bare, in a box of its own, or behind GSM8K's `####`.

        Returns:
            The verdict; False for a completion without a box or out of time.

        Raises:
            GraderError: math-verify is needed and cannot be imported.
        """
        verdict = settle(extract(text) or "", final_answer(gold))
        return self._ask(verdict) if isinstance(verdict, Question) else verdict

    def grade(self, texts: Sequence[str], golds: Sequence[str]) -> list[bool]:
        """`is_correct` of each pair, on several cores; equal questions reach a worker once.

        Args:
            texts: N completions.
            golds: Their N gold answers.

        Returns:
            N verdicts.

        Raises:
            ValueError: The two lengths differ.
            GraderError: math-verify is needed and cannot be imported.
        """
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
        """Why a gold answer cannot be graded.

        Args:
            gold: The gold answer: bare, in a box of its own, or behind GSM8K's `####`.

        Returns:
            The reason, as the end of a sentence; None for a gold answer that consists of words or a plain number, or
            that the worker can read and finds equal to itself.

        Raises:
            GraderError: math-verify is needed and cannot be imported.
        """
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
        """The worker's verdict. Only idle workers are in the list; an interrupted worker is discarded."""
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
            self._late.append((question.readings or ("",))[0])
        return reply == "True\n"


@functools.cache
def shared_grader() -> Grader:
    """The one `Grader` of this process that `is_correct`, `grade`, `gold_problem` and the rewards use."""
    return Grader()


is_correct, grade, gold_problem = shared_grader().is_correct, shared_grader().grade, shared_grader().gold_problem

# The worker is a package that is imported from its path under a name of its own. `import manypaths` would depend on the
# caller's working directory, and multiprocessing would run the caller's script once more.
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
    """A worker that is ready for questions, and that ends when its stdin closes."""
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER, _WORKER_FILE, str(seconds), *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        errors="replace",
        bufsize=1,
    )
    line = "its process ended"
    for line in worker.stdout or ():  # output of a site's start-up comes first; an error comes last
        if line == "ready\n":
            return worker
    worker.communicate()
    raise GraderError(f"math-verify did not start: {line.strip()}. Install it: pip install math-verify")
