"""Runs as processes, forked from one that has imported everything: imports cost each new Python five seconds.

The process that forks is multiprocessing's server, which holds nothing of the caller and has loaded no model. A run
starts from it as from a fresh Python: with the environment of the first run, and the working directory of the caller.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

COMMANDS = "manypaths.cli"  # run as by python -m, for the command line imports this
PRELOADED = [
    "datasets",
    "deepspeed",
    "manypaths.training.command",
    "manypaths.training.run",
]  # a missing one is left out
INTERRUPTED = 130  # the exit code of a command after Ctrl-C


def run_command(words: Sequence[str], log: Path, on_cpu: bool, cores: Sequence[int] = ()) -> int:
    """Run a command of `manypaths` in a process of its own, forked where that is possible, and wait for its end.

    Args:
        words: The command and its arguments.
        log: A file to which everything is added that the command prints.
        on_cpu: Whether it leaves an accelerator unused.
        cores: The cores that a forked process may use, as for `run`.

    Returns:
        The exit code; a negative one is the signal that ended it.
    """
    if is_possible(on_cpu):
        return run(words, log, cores)
    with open(log, "ab") as file:
        command = [sys.executable, "-m", COMMANDS, *words]
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode


def last_line(log: Path) -> str:
    """The last line of a log; "" where it is empty or missing."""
    try:
        lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def end_of(log: Path) -> str:
    """The last line of a log and the path of the log, for a message; the path alone where there is no line."""
    line = last_line(log)
    return f"{line} ({log})" if line else str(log)


def is_possible(on_cpu: bool) -> bool:
    """Whether a run can be forked here: on Linux, without an accelerator, whose drivers may not survive a fork.

    Args:
        on_cpu: Whether the run leaves an accelerator unused.
    """
    if not sys.platform.startswith("linux"):
        return False
    import torch

    return on_cpu or not torch.accelerator.is_available()


def run(words: Sequence[str], log: Path, cores: Sequence[int]) -> int:
    """Run a command of `manypaths` in a forked process, and wait for its end.

    Args:
        words: The command and its arguments.
        log: A file to which everything is added that the command prints.
        cores: The cores that it may use, one thread on each; none for those of the caller.

    Returns:
        The exit code; a negative one is the signal that ended it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_main, args=([*words], str(log), [*cores]))
    process.start()
    try:
        process.join()
    except BaseException:
        process.join(timeout=1.0)  # an interruption reaches both
        process.kill()
        process.join()
        raise
    code = process.exitcode
    return 1 if code is None else code


def _main(words: list[str], log: str, cores: list[int]) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for stream in (1, 2):
        os.dup2(handle, stream)
    gc.freeze()  # `gc.collect`, which libraries call, then leaves out what was imported
    if cores:
        import torch

        os.sched_setaffinity(0, cores)
        torch.set_num_threads(len(cores))
    sys.argv = ["manypaths", *words]
    runpy.run_module(COMMANDS, run_name="__main__")


def cores_of(worker: int, workers: int) -> list[int]:
    """The cores of one of several workers, which share those of this process; none where there are too few."""
    if workers < 2 or not hasattr(os, "sched_getaffinity"):
        return []
    available = sorted(os.sched_getaffinity(0))
    start, end = (len(available) * number // workers for number in (worker, worker + 1))
    return available[start:end] if workers <= len(available) else []


def core_count() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
