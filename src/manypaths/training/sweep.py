"""A grid of runs: recipes times seeds, on one machine or on several that share a folder. What is finished is skipped.

Several processes may work on one sweep: each run is taken by whoever makes its lock file first. The lock is touched
while the run lasts, so a lock that nobody touched for a while is of a machine that died, and its run is taken up. A run
that a `manypaths train` of its own has in hand is waited for.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from manypaths import recipe, rewards
from manypaths.files import in_use
from manypaths.names import nearest
from manypaths.preflight import trainer_settings
from manypaths.preflight.workload import DEFAULTS

PAUSE = 2.0  # seconds between two looks at what others run
BEAT = 20.0  # seconds between two touches of a lock
DEAD = 300.0  # seconds without a touch after which a lock is nobody's


@dataclass
class Grid:
    """What a grid file holds.

    `recipes` are the words of `manypaths train`, names and overrides, from left to right; where {axis} stands among
    them, the words of one value of that axis go. `grid` is {axis: {value: words}}; runs are its product with `seeds`.
    `baseline` names the value, or the values joined by -, that the others are compared with, and `target` is as in
    `manypaths compare`.
    """

    recipes: list[str]
    grid: dict[str, dict[str, list[str]]]
    seeds: list[int]
    baseline: str | None = None
    target: str | float | None = None


@dataclass
class Job:
    """One run of a sweep."""

    name: str  # the axes' values and the seed, joined by -
    words: list[str] = field(default_factory=list)  # of `manypaths train`


def read_grid(path: Path) -> Grid:
    """Read a grid file. ValueError for what is missing, unknown, empty, or names no axis."""
    try:
        content = yaml.load(path.read_bytes(), recipe.Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
    lacking = [key for key in ("recipes", "grid", "seeds") if not isinstance(content, dict) or key not in content]
    if lacking:
        raise ValueError(f"A grid file asks for recipes, grid and seeds; {str(path)!r} has no {', '.join(lacking)}.")
    grid: Grid = recipe.build(Grid, content)
    for axis, values in grid.grid.items():
        if f"{{{axis}}}" not in grid.recipes:
            raise ValueError(f"The axis {axis!r} asks for a place: put {{{axis}}} among recipes, here {grid.recipes}.")
        if not values:
            raise ValueError(f"The axis {axis!r} has no values. Give it some, such as grpo: [grpo, none].")
        for value in values:
            if not re.fullmatch(r"[\w.+]+(-[\w.+]+)*", value):
                raise ValueError(f"Values of an axis name folders: letters, digits, _ . + and -; given {value!r}.")
    known = {f"{{{axis}}}" for axis in grid.grid}
    for word in grid.recipes:
        if word.startswith("{") and word not in known:
            raise ValueError(f"{word} in recipes names no axis. {nearest(word, known)}")
    if not grid.seeds or len(set(grid.seeds)) < len(grid.seeds):
        raise ValueError(f"A grid asks for one or more different seeds; given {grid.seeds}.")
    names = {"-".join(values) for values in itertools.product(*grid.grid.values())}
    if grid.baseline is not None and grid.baseline not in names:
        raise ValueError(f"Unknown baseline {grid.baseline!r}. {nearest(grid.baseline, names)}")
    return grid


def jobs(grid: Grid) -> list[Job]:
    """The runs of a grid, all of the first seed first, so that what is there early can be compared.

    Each is checked as a recipe: ValueError names the run that cannot be.
    """
    found: list[Job] = []
    for seed, values in itertools.product(grid.seeds, itertools.product(*grid.grid.values())):
        own = {f"{{{axis}}}": grid.grid[axis][value] for axis, value in zip(grid.grid, values, strict=True)}
        line = [one for word in grid.recipes for one in own.get(word, [word])]
        job = Job("-".join([*values, str(seed)]), [*line, f"seed={seed}"])
        if job.name in [each.name for each in found]:
            raise ValueError(f"Two runs of the grid would be named {job.name}. Give the values other names.")
        try:
            spec = recipe.read([word for word in line if "=" not in word], [word for word in line if "=" in word])
            trainer_settings.check_kept(spec.trainer)
            rewards.bind(
                spec.rewards,
                spec.reward_options,
                spec.trainer.get("max_completion_length", DEFAULTS["max_completion_length"]),
            )
        except ValueError as error:
            raise ValueError(f"The run {job.name} cannot be: {error}") from error
        found.append(job)
    return found


def state(job: Job, out: Path) -> str:
    """finished, running (a sweep has its lock, or any command its folder) or open."""
    if (out / job.name / "summary.json").exists():
        return "finished"
    return "running" if (out / f"{job.name}.lock").exists() or in_use(out / job.name) else "open"


def run(waiting: list[Job], out: Path) -> list[str]:
    """Run what is not finished, waiting for what others run -> the names of the runs that failed here.

    Every run is a process of its own, `manypaths train`, with its output in OUT/NAME.log, so that one that dies leaves
    the others alone; a run that was cut off goes on from its last checkpoint.
    """
    out.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    while waiting := [job for job in waiting if state(job, out) != "finished" and job.name not in failed]:
        for job in waiting:
            with lock(out / f"{job.name}.lock") as ours:
                if not ours or (out / job.name / "summary.json").exists() or in_use(out / job.name):
                    continue  # finished, or somebody runs it
                if code := _train(job, out):
                    failed.append(job.name)
                    print(f"{job.name}: failed ({code}); {_last_line(out / f'{job.name}.log')}", flush=True)
        time.sleep(PAUSE)  # before looking at what others have
    return failed


def _train(job: Job, out: Path) -> int:
    began = time.perf_counter()
    print(f"{job.name}: {' '.join(job.words)}", flush=True)
    command = [sys.executable, "-m", "manypaths.cli", "train", *job.words, "--out", str(out / job.name)]
    with open(out / f"{job.name}.log", "ab") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    print(f"{job.name}: {time.perf_counter() - began:.0f} s", flush=True)
    return code


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    return f"{lines[-1]} ({log})" if lines else str(log)


@contextlib.contextmanager
def lock(path: Path) -> Iterator[bool]:
    """Whether the lock is ours, for as long as the block lasts; one that nobody touches any more is taken over.

    Who sees a lock of a time long ago makes a file named after that time. One succeeds, and removes the lock; the file
    stays until that one is done, so that nobody who is late removes the new lock for the old.
    """
    grave = _bury(path)
    name = f"{socket.gethostname()} {os.getpid()} {time.time_ns()}\n"
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(name)
    except FileExistsError:
        yield False
        return
    done = threading.Event()

    def ours() -> bool:
        return path.exists() and path.read_text("utf-8") == name

    def beat() -> None:
        while not done.wait(BEAT):
            with contextlib.suppress(OSError):
                if ours():
                    os.utime(path)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield True
    finally:
        done.set()
        thread.join()
        for left in ([path] if ours() else []) + ([grave] if grave else []):
            left.unlink(missing_ok=True)


def _bury(path: Path) -> Path | None:
    """Remove a lock that nobody has touched for long -> the file that stands for having done so."""
    with contextlib.suppress(FileNotFoundError), tempfile.NamedTemporaryFile(dir=path.parent) as probe:
        touched = path.stat().st_mtime_ns
        if os.stat(probe.name).st_mtime_ns - touched < DEAD * 1e9:  # both by the clock of the shared folder
            return None
        grave = path.with_name(f"{path.name}.{touched}")
        with contextlib.suppress(FileExistsError):
            grave.open("x").close()
            path.unlink()
            return grave
    return None
