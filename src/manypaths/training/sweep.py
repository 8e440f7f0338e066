"""The runs of a grid, trained on one machine or on several that share a folder. Finished runs are skipped.

Several processes may work on one sweep. Each locks a run before it trains it, and waits for the runs that others train.
The lock ends with its process, however that ends, so a run of a killed process is resumed by the next one. (Between
machines this takes a shared folder with flock: see `files.only_writer`.)

Nothing is tried, or waited for, without end: a run has `ATTEMPTS` in each process, and a process that writes nothing
for a day counts as one that hangs (`still`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from manypaths.files import check_out, in_use, only_writer
from manypaths.printable import one_line
from manypaths.result_rows import ROWS, Failure
from manypaths.run_folder import is_finished
from manypaths.training import forked, recorded, starts, still
from manypaths.training.grid import Job, starts_of

LOCKS = ".locks"  # in the folder of a sweep: one folder per run, to be locked
PAUSE = 2.0  # seconds between two looks at the runs of other processes
ATTEMPTS = 3  # of a run that fails while another process has its folder
IN_USE = 2  # the exit code of `manypaths train` where another process has the folder


def state(job: Job, out: Path) -> str:
    """The state of a run: finished, running (in this or another process) or open."""
    if is_finished(out / job.name):
        return "finished"
    return "running" if in_use(_lock(job, out)) or in_use(out / job.name) else "open"


def run(jobs: list[Job], out: Path, workers: int = 1) -> dict[str, str]:
    """Train all runs that are not finished, and wait for those that other processes train.

    Each run is a process of its own, `manypaths train`, whose output goes to OUT/NAME.log. A run that fails does not
    stop the others; an interrupted run resumes from its last checkpoint. As a run ends, its row is added to
    OUT/rows.jsonl.gz; a run of which only that is left is finished, too.

    Args:
        jobs: The runs.
        out: Their folder.
        workers: So many runs at a time, each on cores of its own.

    Returns:
        A sentence on each run that failed in this process, by its name.

    Raises:
        ValueError: As `check`, or rows cannot be written.
    """
    alone = check(jobs, out)
    finished = [job for job in jobs if job.name in alone or is_finished(out / job.name)]
    names = {job.name for job in finished}
    left = [job for job in jobs if job.name not in names]
    _name_starts_made_again(left, finished)
    out.mkdir(parents=True, exist_ok=True)
    if alone:
        print(f"Finished, for {out / ROWS} has their rows: {', '.join(sorted(alone))}", flush=True)
    recorded.complete(names, out, out / LOCKS)
    shared = _State()
    _train_all(left, out, workers, shared)
    for job in left:
        if job.name not in shared.failed:
            _check_again(job, out, shared)
    ours = [job.name for job in left if job.name not in shared.others]
    try:
        recorded.complete(ours, out, out / LOCKS)  # those that processes of a killed sweep finished
        for name, failure in shared.unwritten.items():
            recorded.record(name, out, out / LOCKS, failure)
    except OSError as error:
        raise ValueError(
            f"{str(out / ROWS)!r} cannot be written: {error}. Mend that, and start the sweep again: it keeps what is "
            "finished."
        ) from error
    return shared.failed


def check(jobs: Sequence[Job], out: Path) -> set[str]:
    """Check that what is there belongs to the runs -> the names of the finished runs of which only the row is left.

    Args:
        jobs: The runs.
        out: Their folder.

    Raises:
        ValueError: A row, a run folder or the folder of a start is damaged, or of another recipe. Nothing is trained
            then, for runs of two recipes would be compared as those of one.
    """
    check_out(out)
    alone = without_folder(jobs, out)
    for job in jobs:
        recorded.check_folder(job, out)
    for start in starts_of(jobs):
        starts.is_made(start)
    return alone


def without_folder(jobs: Sequence[Job], out: Path) -> set[str]:
    """The finished runs of which only the row is left. Raises ValueError as `recorded.without_folder`."""
    return recorded.without_folder(jobs, out)


def _name_starts_made_again(left: Sequence[Job], finished: Sequence[Job]) -> None:
    """Print a note on each start that must be made again although finished runs began with it."""
    begun = {start.folder for start in starts_of(finished)}
    for start in starts_of(left):
        if not starts.is_made(start) and start.folder in begun:
            print(
                f"Note: {start.folder} is made again, although finished runs began with it. On another machine its "
                "weights may differ from theirs; if starts.recipes has changed since, train these runs again.",
                flush=True,
            )


@dataclass
class _State:
    """What the workers of a sweep share."""

    failed: dict[str, str] = field(default_factory=dict)  # name of a run -> what happened
    others: set[str] = field(default_factory=set)  # names of failed runs whose folder holds something else
    unwritten: dict[str, Failure | None] = field(default_factory=dict)  # rows that could not be written
    attempts: dict[str, int] = field(default_factory=dict)
    ours: set[str] = field(default_factory=set)  # names of runs that a worker trains
    watches: dict[str, still.Watch] = field(default_factory=dict)  # on the runs and starts that other processes make
    waits: set[str] = field(default_factory=set)  # those that were named
    stopped: bool = False
    error: BaseException | None = None

    def fail(self, name: str, sentence: str) -> None:
        """Give a run up."""
        self.failed[name] = sentence
        print(f"{name}: {sentence}\n", end="", flush=True)  # in one piece: other workers print, too


def _train_all(jobs: list[Job], out: Path, workers: int, shared: _State) -> None:
    """Train runs by several workers."""
    if workers == 1:
        _work(jobs, out, shared, [])
        return
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
    except BaseException:
        shared.stopped = True
        forked.end_all()
        raise
    if shared.error is not None:
        raise shared.error


def _work(jobs: list[Job], out: Path, shared: _State, cores: list[int]) -> None:
    """Train runs until none is left, this worker's one after another."""
    try:
        while unfinished := [job for job in jobs if job.name not in shared.failed and not is_finished(out / job.name)]:
            for job in unfinished:
                if shared.stopped:
                    return
                try:
                    _attempt(job, out, shared, cores)
                except OSError as error:  # such as a full disk
                    _give_up(job, out, shared, Failure(1, one_line(error, recorded.MOST)))
            time.sleep(PAUSE)
    except BaseException as error:
        shared.stopped, shared.error = True, error
        if threading.current_thread() is threading.main_thread():
            raise


def _attempt(job: Job, out: Path, shared: _State, cores: list[int]) -> None:
    """Train a run, unless it or its start is in the hands of another process or worker."""
    if job.start is not None:
        try:
            if not starts.make(job.start, cores):
                if not job.start.is_ours:
                    _wait_for(job, out, shared, str(job.start.folder), starts.watch(job.start))
                return
        except starts.NotMade as error:
            _give_up(job, out, shared, Failure(error.code, one_line(error, recorded.MOST)))
            return
    with _claim(job, out) as claimed:
        if shared.stopped or job.name in shared.failed:
            return
        if not claimed:
            if job.name not in shared.ours and not is_finished(out / job.name):
                _wait_for(job, out, shared, job.name, watch(job, out))
            return
        if not _check_again(job, out, shared):
            return
        shared.ours.add(job.name)
        try:
            code = _train(job, out, cores)
        finally:
            shared.ours.discard(job.name)
        if code == forked.INTERRUPTED:
            raise KeyboardInterrupt
        shared.attempts[job.name] = shared.attempts.get(job.name, 0) + 1
        if not code and is_finished(out / job.name):
            _record(job, out, shared, None)
        elif not code or shared.attempts[job.name] >= ATTEMPTS or not in_use(out / job.name):
            _give_up(job, out, shared, recorded.failure(job, out, code))
        # else the process of a killed sweep still trains it


def _wait_for(job: Job, out: Path, shared: _State, name: str, watch: still.Watch) -> None:
    """Name a run or a start that another process makes, once; give the run up where that process hangs."""
    if name not in shared.watches:  # perhaps another process only looks whether it is in use
        shared.watches[name] = watch
    elif name not in shared.waits:
        shared.waits.add(name)
        print(f"{name} is in use by another process, for which this sweep waits.\n", end="", flush=True)
    if shared.watches[name].is_still():
        sentence = f"{name} is in use by a process that wrote nothing in {still.MOST_STILL / 3600:.3g} hours."
        _give_up(job, out, shared, Failure(IN_USE, sentence))


def _give_up(job: Job, out: Path, shared: _State, failure: Failure) -> None:
    """Count a run as failed, and write that into its row; not where an interruption of the sweep has ended it."""
    if job.name not in shared.failed and not shared.stopped:
        log = out / f"{job.name}.log"
        where = f" ({log})" if log.is_file() else ""
        shared.fail(job.name, f"failed ({failure.code}); {one_line(failure.last_line) or 'its log is empty'}{where}")
        _record(job, out, shared, failure)


def _record(job: Job, out: Path, shared: _State, failure: Failure | None) -> None:
    """Write the row of a run that ended; after an error, such as a full disk, `run` tries it again at the end."""
    try:
        recorded.record(job.name, out, out / LOCKS, failure)
    except (OSError, ValueError) as error:
        shared.unwritten[job.name] = failure
        print(f"Note: the row of {job.name} is not written yet: {one_line(error)}\n", end="", flush=True)


def _check_again(job: Job, out: Path, shared: _State) -> bool:
    """Whether the folder of a run is that of its recipe; a sweep of another grid may have taken it in the meantime."""
    try:
        recorded.check_folder(job, out)
    except (OSError, ValueError) as error:
        shared.others.add(job.name)
        shared.fail(job.name, one_line(error))
        return False
    return True


def _lock(job: Job, out: Path) -> Path:
    return out / LOCKS / job.name


def watch(job: Job, out: Path) -> still.Watch:
    """A watch on the process that trains a run."""
    return still.Watch(lambda: [out / f"{job.name}.log", out / job.name])


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
    code = forked.run_command(words, log, job.on_cpu, cores, watch(job, out).is_still)
    print(f"{job.name}: {time.perf_counter() - began:.0f} s\n", end="", flush=True)
    return code
