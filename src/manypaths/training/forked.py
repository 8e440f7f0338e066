"""Runs as processes, forked from one that has imported everything: imports cost each new Python five seconds.

The process that forks is multiprocessing's server, which holds nothing of the caller and has loaded no model. A run
starts from it as from a fresh Python: with the environment of the first run, and the working directory of the caller.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

COMMANDS = "manypaths.cli"  # run as by python -m, for the command line imports this
PRELOADED = [
    "datasets",
    "deepspeed",
    "manypaths.training.command",
    "manypaths.training.run",
]  # a missing one is left out
INTERRUPTED = 130  # the exit code of a command after Ctrl-C
LOOK = 1.0  # seconds between two looks at a process that runs
STUCK = "It was killed, because it wrote nothing for a long time."
GRACE = 1.0  # seconds that a process has to end after an interruption, which reaches all processes of a terminal

Process = BaseProcess | subprocess.Popen[bytes]
_running: set[Process] = set()  # those of all threads


def never() -> bool:
    """Of a process that may take as long as it likes."""
    return False


def run_command(
    words: Sequence[str], log: Path, on_cpu: bool, cores: Sequence[int] = (), is_stuck: Callable[[], bool] = never
) -> int:
    """Run a command of `manypaths` in a process of its own, forked where that is possible, and wait for its end.

    Args:
        words: The command and its arguments.
        log: A file to which everything is added that the command prints.
        on_cpu: Whether it leaves an accelerator unused.
        cores: The cores that a forked process may use, as for `run`.
        is_stuck: Whether it is to be killed; called every second.

    Returns:
        The exit code; a negative one is the signal that ended it.
    """
    if is_possible(on_cpu):
        return run(words, log, cores, is_stuck)
    with open(log, "ab") as file:
        command = [sys.executable, "-m", COMMANDS, *words]
        with _registered(subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)) as process:
            return _wait(process, is_stuck, log)


def last_line(log: Path) -> str:
    """The last line of a log; "" where it is empty or missing."""
    try:
        lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def is_possible(on_cpu: bool) -> bool:
    """Whether a run can be forked here: on Linux, without an accelerator, whose drivers may not survive a fork.

    Args:
        on_cpu: Whether the run leaves an accelerator unused.
    """
    if not sys.platform.startswith("linux"):
        return False
    import torch

    return on_cpu or not torch.accelerator.is_available()


def run(words: Sequence[str], log: Path, cores: Sequence[int], is_stuck: Callable[[], bool] = never) -> int:
    """Run a command of `manypaths` in a forked process, and wait for its end.

    Args:
        words: The command and its arguments.
        log: A file to which everything is added that the command prints.
        cores: The cores that it may use, one thread on each; none for those of the caller.
        is_stuck: Whether it is to be killed; called every second.

    Returns:
        The exit code; a negative one is the signal that ended it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_main, args=([*words], str(log), [*cores]))
    process.start()
    with _registered(process):
        return _wait(process, is_stuck, log)


@contextlib.contextmanager
def _registered(process: Process) -> Iterator[Process]:
    """List a process among those that run, and end it where the caller is interrupted."""
    _running.add(process)
    try:
        yield process
    except BaseException:
        _end([process])
        raise
    finally:
        _running.discard(process)


def _wait(process: Process, is_stuck: Callable[[], bool], log: Path) -> int:
    while (code := _exit_code(process, LOOK)) is None:
        if is_stuck():
            process.kill()
            with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
                file.write(f"{STUCK}\n")
    return code


def _exit_code(process: Process, seconds: float) -> int | None:
    """The exit code of a process, for which it waits so long; None while it runs."""
    if isinstance(process, subprocess.Popen):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.poll()
    process.join(seconds)
    return process.exitcode


def end_all() -> None:
    """End the processes of all threads, for an interruption reaches the main thread alone."""
    _end(list(_running))


def _end(processes: Sequence[Process]) -> None:
    """Give processes a moment to end by themselves, and kill those that do not, also at a second interruption."""
    limit = time.monotonic() + GRACE
    try:
        for process in processes:
            _exit_code(process, max(0.0, limit - time.monotonic()))
    finally:
        for process in processes:
            process.kill()


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
