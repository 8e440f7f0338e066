r"""The process in which math-verify's parser and sympy read answers: what it is given can hang or end it, nobody else.

It runs by its path, with no module of ours beside it, for the package would import torch. Lines of JSON come in,
[answers, gold]; True or False goes out, whether one of the answers equals the gold; of null, whether the gold can be
read. sympy decides by exact arithmetic where both are rational, else by values: constants with 150 digits, expressions
with unknowns at points drawn once. Analytic expressions that agree at four random points to 25 digits are the same.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import signal
import sys

SECONDS_TO_START = 120.0  # to import math-verify, from a slow disk too
MEMORY = 2 * 2**30  # bytes of address space


def serve() -> None:
    """Answers lines until there are no more. faulthandler ends it in time, from a thread that needs no interpreter
    lock, and even when the caller is gone. Its parent, which has all loaded, says None then and forks the next."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, whose end is ours
    logging.disable()
    faulthandler.dump_traceback_later(SECONDS_TO_START, exit=True)
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has it or allows it
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from .verdict import verdict

    verdict(["x + 1", "\\sqrt{x^2}"], "1 + \\frac{x}{2}")  # the first one is slow: it imports and compiles
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
        with contextlib.suppress(Exception):  # what cannot be read is wrong
            reply = verdict(*json.loads(line))
        faulthandler.cancel_dump_traceback_later()
        print(reply, file=replies)
