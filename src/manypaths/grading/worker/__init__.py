"""The process in which math-verify's parser and sympy compare answers. Hostile text can hang or end this process only.

`grading.grader` imports this folder from its path, as a package of its own: its modules import each other by relative
imports and nothing else of manypaths. `reading` turns LaTeX into expressions, `equality` compares expressions of any
kind, `values` compares numbers and formulas, `verdict` answers one question.

The protocol: a line of JSON comes in on stdin, [readings, gold] (see `settling.Question`), and `True` or `False` goes
out. `None` goes out for a question that exceeded the time limit or ended the process.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import signal
import sys

SECONDS_TO_START = 120.0  # limit for the import of math-verify, which takes long from a slow disk
MEMORY = 2 * 2**30  # limit of a worker's address space in bytes


def serve() -> None:
    """Answer questions from stdin until it closes; `sys.argv[2]` is the time limit for one question in seconds.

    A process with all modules loaded forks a child that answers. Out of time, faulthandler ends the child from a thread
    that does not need the interpreter lock, even if the caller has ended. The parent then replies None and forks the
    next child.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, whose end closes stdin and ends the worker
    logging.disable()
    faulthandler.dump_traceback_later(SECONDS_TO_START, exit=True)
    with contextlib.suppress(ImportError, ValueError, OSError):  # some systems lack or forbid it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from .verdict import verdict

    verdict(["x + 1", "\\sqrt{x^2}"], "1 + \\frac{x}{2}")  # the first call imports and compiles
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    for descriptor in (1, 2):  # from here on the output of a library cannot pass for a verdict
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    print("ready", file=replies)
    faulthandler.cancel_dump_traceback_later()
    while hasattr(os, "fork") and (child := os.fork()):
        if os.waitpid(child, 0)[1] == 0:
            return
        print(None, file=replies)
    for line in sys.stdin:
        faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True)
        reply = False
        with contextlib.suppress(Exception):  # an answer that raises an error is wrong
            reply = verdict(*json.loads(line))
        faulthandler.cancel_dump_traceback_later()
        print(reply, file=replies)
