"""The runs of a grid, trained on one machine or on several that share a folder. Finished runs are skipped.

Several processes may work on one sweep. Each locks a run before it trains it, and waits for the runs that others train.
The lock ends with its process, however that ends, so a run of a killed process is resumed by the next one. (Between
machines this takes a shared folder with flock: see `files.only_writer`.)
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from manypaths.files import in_use, only_writer
from manypaths.printable import one_line
from manypaths.result_rows import ROWS
from manypaths.run_folder import is_finished
from manypaths.training import forked, recorded, starts
from manypaths.training.grid import Job, starts_of

LOCKS = ".locks"  # in the folder of a sweep: one folder per run, to be locked
PAUSE = 2.0  # seconds between two looks at the runs of other processes


def state(job: Job, out: Path) -> str:
    """The state of a run: finished, running (in this or another process) or open."""
    if is_finished(out / job.name):
        return "finished"
    return "running" if in_use(_lock(job, out)) or in_use(out / job.name) else "open"


def run(jobs: list[Job], out: Path, workers: int = 1) -> list[str]:
    """Train all runs that are not finished, and wait for those that other processes train.

    Each run is a process of its own, `manypaths train`, whose output goes to OUT/NAME.log. A run that fails does not
    stop the others; an interrupted run resumes from its last checkpoint. As a run ends, its row is added to
    OUT/rows.jsonl.gz; a run of which only that is left is finished, too.

    Args:
        jobs: The runs.
        out: Their folder.
        workers: So many runs at a time, each on cores of its own.

    Returns:
        The names of the runs that failed in this process.

    Raises:
        ValueError: The folder of a start holds something else, a start could not be made, or a row cannot be read or
            has another recipe.
    """
    alone = without_folder(jobs, out)
    finished = [job for job in jobs if job.name in alone or is_finished(out / job.name)]
    names = {job.name for job in finished}
    jobs = [job for job in jobs if job.name not in names]
    _check_starts(jobs, finished)
    out.mkdir(parents=True, exist_ok=True)
    if alone:
        print(f"Finished, for {out / ROWS} has their rows: {', '.join(sorted(alone))}", flush=True)
    recorded.complete(names, out, out / LOCKS)
    failed = _train_all(jobs, out, workers)
    recorded.complete([job.name for job in jobs], out, out / LOCKS)  # those that processes of a killed sweep finished
    return failed


def without_folder(jobs: Sequence[Job], out: Path) -> set[str]:
    """The finished runs of which only the row is left. Raises ValueError as `recorded.without_folder`."""
    return recorded.without_folder({job.name: job.words for job in jobs}, out)


def _check_starts(jobs: Sequence[Job], finished: Sequence[Job]) -> None:
    """Raise ValueError where the folder of a start holds something else; name the starts that are made again."""
    begun = {start.folder for start in starts_of(finished)}
    for start in starts_of(jobs):
        if not starts.is_made(start) and start.folder in begun:
            print(
                f"Note: {start.folder} is made again, although finished runs began with it. On another machine its "
                "weights may differ from theirs.",
                flush=True,
            )


def _train_all(jobs: list[Job], out: Path, workers: int) -> list[str]:
    """Train runs by several workers -> the names of those that failed."""
    shared = _State()
    if workers == 1:
        _work(jobs, out, shared, [])
        return shared.failed
    threads = [
        threading.Thread(target=_work, args=(jobs, out, shared, forked.cores_of(worker, workers)), daemon=True)
        for worker in range(workers)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(1.0)
    finally:
        shared.stopped = True
    if shared.error is not None:
        raise shared.error
    return shared.failed


@dataclass
class _State:
    """What the workers of a sweep share."""

    failed: list[str] = field(default_factory=list)
    stopped: bool = False
    error: BaseException | None = None


def _work(jobs: list[Job], out: Path, shared: _State, cores: list[int]) -> None:
    """Train runs until none is left, this worker's one after another."""
    try:
        while unfinished := [job for job in jobs if job.name not in shared.failed and not is_finished(out / job.name)]:
            for job in unfinished:
                if job.start is not None and not (shared.stopped or starts.make(job.start, cores)):
                    continue
                with _claim(job, out) as claimed:
                    if shared.stopped:
                        return
                    if not claimed or job.name in shared.failed:
                        continue
                    code = _train(job, out, cores)
                    if code == forked.INTERRUPTED:
                        raise KeyboardInterrupt
                    if code and in_use(out / job.name):  # the process of a killed sweep still trains it
                        continue
                    recorded.record(job.name, out, out / LOCKS, code)
                    if code:
                        shared.failed.append(job.name)
                        end = one_line(forked.end_of(out / f"{job.name}.log"))
                        print(f"{job.name}: failed ({code}); {end}", flush=True)
            time.sleep(PAUSE)
    except BaseException as error:
        shared.stopped, shared.error = True, error
        if threading.current_thread() is threading.main_thread():
            raise


def _lock(job: Job, out: Path) -> Path:
    return out / LOCKS / job.name


@contextlib.contextmanager
def _claim(job: Job, out: Path) -> Iterator[bool]:
    """Hold the lock of a run -> whether this process is to train it: no other does, and it is not finished."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(only_writer(_lock(job, out)))
        except ValueError:  # another sweep holds it
            yield False
        else:
            yield not is_finished(out / job.name) and not in_use(out / job.name)


def _train(job: Job, out: Path, cores: Sequence[int] = ()) -> int:
    """Train one run in a process of its own -> its exit code."""
    began = time.perf_counter()
    print(f"{job.name}: {' '.join(job.words)}\n", end="", flush=True)  # in one piece: other workers print, too
    words, log = ["train", *job.words, "--out", str(out / job.name)], out / f"{job.name}.log"
    code = forked.run_command(words, log, job.on_cpu, cores)
    print(f"{job.name}: {time.perf_counter() - began:.0f} s\n", end="", flush=True)
    return code
