"""Processes for tests, forked from one that has imported TRL: the imports cost each new Python 4 seconds of CPU.

A forked process holds nothing of the test but what it is given: multiprocessing's server is a process of its own.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["trl.trainer.grpo_trainer", "peft"])
STALE_LOCK = "if DeepSpeed was killed while it compiled, remove ~/.cache/torch_extensions/*/*/lock"


def in_two_processes(function: Callable[..., Any], *arguments: Any, timeout: float = 600.0) -> Any:
    """Call a function of a module in two processes: see `in_processes`."""
    return in_processes(2, function, *arguments, timeout=timeout)


def in_processes(count: int, function: Callable[..., Any], *arguments: Any, timeout: float = 600.0) -> Any:
    """Call a function of a module in several processes of torch.distributed (gloo, on the CPU).

    Returns what it returns in the first process. A failure of either fails the test with the process's traceback.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes = [SERVER.Pipe(duplex=False) for _ in range(count)]
    variables = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        SERVER.Process(target=_rank, args=(rank, variables, pipes[rank][1], function, arguments), daemon=True)
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for _, sender in pipes:
        sender.close()
    try:
        waiting, answers = [receiver for receiver, _ in pipes], {}
        while waiting:
            ready = wait(waiting, timeout)
            assert ready, f"no answer in {timeout} seconds; {STALE_LOCK}"
            for receiver in ready:
                waiting.remove(receiver)
                answers[receiver], failure = _received(receiver)
                assert failure is None, failure
    finally:
        for process in processes:
            _end(process)
    return answers[pipes[0][0]]


def _end(process: BaseProcess) -> None:
    """Interrupt a process, so that it removes its lock files, and kill it if it does not end."""
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, signal.SIGINT)
        process.join(10)
    process.kill()
    process.join()


def _received(receiver: Connection) -> tuple[Any, str | None]:
    try:
        answer: tuple[Any, str | None] = receiver.recv()
    except EOFError:
        return None, "a process ended without an answer"
    return answer


def _rank(
    rank: int, variables: dict[str, Any], sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.environ |= {name: str(value) for name, value in {**variables, "RANK": rank, "LOCAL_RANK": rank}.items()}
    gc.freeze()
    try:
        answer = function(*arguments), None
    except BaseException:
        answer = None, f"Process {rank} failed:\n{traceback.format_exc()}"
    sender.send(answer)
    sender.close()
    os._exit(0)  # the interpreter's own end may abort a process that still has threads of gloo


def run_command(words: list[str], output: Path) -> BaseProcess:
    """Start `manypaths WORDS` as a process that can be killed. Standard output and errors go to the file `output`."""
    process = SERVER.Process(target=_command, args=(words, output), daemon=True)
    process.start()
    return process


def _command(words: list[str], output: Path) -> None:
    from manypaths.cli import main

    gc.freeze()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.exit(main(words))
