"""A grid of runs: recipes times seeds, on one machine or on several that share a folder. Finished runs are skipped.

Several processes may work on one sweep. Each locks a run before it trains it, and waits for the runs that others train.
The lock ends with its process, however that ends, so a run of a killed process is resumed by the next one. (Between
machines this takes a shared folder with flock: see `files.only_writer`.)
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from manypaths import recipe, rewards
from manypaths.files import in_use, only_writer
from manypaths.names import nearest
from manypaths.preflight import trainer_settings
from manypaths.preflight.workload import DEFAULTS
from manypaths.printable import one_line
from manypaths.result_rows import ROWS
from manypaths.run_folder import is_finished
from manypaths.sections import Recipe
from manypaths.training import forked, recorded, starts
from manypaths.typed import build
from manypaths.yaml_text import Loader

LOCKS = ".locks"  # in the folder of a sweep: one folder per run, to be locked
PAUSE = 2.0  # seconds between two looks at the runs of other processes


@dataclass
class Grid:
    """The content of a grid file.

    `recipes` are arguments of `manypaths train`: names and overrides, from left to right. An argument {axis} stands for
    the arguments of one value of that axis. `grid` is {axis: {value: arguments}}; the runs are the product of all axes
    and `seeds`. `{seed}` inside an argument stands for the seed, as in model.name=starts/{seed}. `baseline` names the
    value (of several axes: the values, joined by -) to compare the others with. `metric`, `target`, `margin` and
    `paired` are as in `manypaths compare`; `protocol` is a file, named from the folder of the grid file, that settles
    these and the baseline. With `starts` the model of each seed is made before its runs (`starts.Starts`).
    """

    recipes: list[str]
    grid: dict[str, dict[str, list[str]]]
    seeds: list[int]
    baseline: str | None = None
    metric: str | None = None
    target: str | float | None = None
    margin: float | None = None
    paired: bool | None = None
    protocol: str | None = None
    starts: dict[str, Any] | None = None

    def question(self) -> dict[str, Any]:
        """What the comparison of the runs is to answer, by the names of `manypaths compare`."""
        names = ("metric", "baseline", "target", "margin", "paired")
        protocol = None if self.protocol is None else Path(self.protocol)
        return {**{name: getattr(self, name) for name in names}, "protocol": protocol}


@dataclass
class Job:
    """One run of a sweep."""

    name: str  # the values of the axes and the seed, joined by -
    words: list[str] = field(default_factory=list)  # arguments of `manypaths train`
    on_cpu: bool = False  # whether its recipe leaves an accelerator unused
    is_tiny: bool = False  # whether its model is from scratch, and on_cpu
    start: starts.Start | None = None  # the model that it begins with, where the sweep makes that


def read_grid(path: Path) -> Grid:
    """Read a grid file.

    Raises:
        ValueError: the file is not YAML, or a key is missing, unknown or empty, or names no axis.
    """
    try:
        content = yaml.load(path.read_bytes(), Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
    missing = [key for key in ("recipes", "grid", "seeds") if not isinstance(content, dict) or key not in content]
    if missing:
        raise ValueError(f"{str(path)!r} must have recipes, grid and seeds, got no {', '.join(missing)}. Add them.")
    if content.get("starts") is not None:
        starts.read(content["starts"])
    grid: Grid = build(Grid, content)
    grid.protocol = grid.protocol and str(path.parent / grid.protocol)
    _check_axes(grid)
    if not grid.seeds or len(set(grid.seeds)) < len(grid.seeds):
        raise ValueError(f"seeds must be one or more different integers, got {grid.seeds}.")
    names = {"-".join(values) for values in itertools.product(*grid.grid.values())}
    if grid.baseline is not None and grid.baseline not in names:
        raise ValueError(f"Unknown baseline {grid.baseline!r}. {nearest(grid.baseline, names)}")
    return grid


def _check_axes(grid: Grid) -> None:
    places = {f"{{{axis}}}" for axis in grid.grid}
    if starts.SEED in places:
        raise ValueError(f"An axis must not be called seed, which {starts.SEED} stands for. Rename it.")
    for axis, values in grid.grid.items():
        if f"{{{axis}}}" not in grid.recipes:
            raise ValueError(f"recipes must contain {{{axis}}} for the axis {axis!r}, got {grid.recipes}. Add it.")
        if not values:
            raise ValueError(f"The axis {axis!r} must have values, got none. Add some, such as grpo: [grpo, none].")
        for value in values:
            if not re.fullmatch(r"[\w.+]+(-[\w.+]+)*", value):
                raise ValueError(
                    f"Values of the axis {axis!r} must consist of letters, digits, _ . + and -, for they name folders, "
                    f"got {value!r}. Rename it."
                )
    for word in grid.recipes:
        if word.startswith("{") and word != starts.SEED and word not in places:
            raise ValueError(f"{word} in recipes names no axis. {nearest(word, places)}")


def jobs(grid: Grid, configurations: Sequence[str] | None = None) -> list[Job]:
    """List the runs of a grid: all of the first seed first, so that early results can be compared.

    Args:
        grid: The content of a grid file.
        configurations: Names of those to train, the values of their axes joined by -; None for all.

    Raises:
        ValueError: a run is not a valid recipe, two runs would have one name, or a configuration is not in the grid;
            the message names it.
    """
    result: list[Job] = []
    combinations = list(itertools.product(*grid.grid.values()))
    if configurations is not None:
        names = ["-".join(values) for values in combinations]
        for name in configurations:
            if name not in names:
                raise ValueError(f"Unknown configuration {name!r}. {nearest(name, names)}")
        combinations = [values for values in combinations if "-".join(values) in configurations]
    of_seeds = {} if grid.starts is None else _starts(grid.starts, grid.seeds)
    for seed, values in itertools.product(grid.seeds, combinations):
        words_of = {f"{{{axis}}}": grid.grid[axis][value] for axis, value in zip(grid.grid, values, strict=True)}
        words = list(itertools.chain.from_iterable(words_of.get(word, [word]) for word in grid.recipes))
        words = [word.replace(starts.SEED, str(seed)) for word in words]
        start = of_seeds.get(seed)
        if start is not None:
            starts.check_words(words)
            words += start.of_runs
        job = Job("-".join([*values, str(seed)]), [*words, f"seed={seed}"], start=start)
        if job.name in [other.name for other in result]:
            raise ValueError(f"Two runs of the grid would be named {job.name}. Rename a value of an axis.")
        try:
            spec = _check_recipe(job)
        except ValueError as error:
            raise ValueError(f"The run {job.name} is not valid: {error}") from error
        job.on_cpu = bool(spec.trainer.get("use_cpu"))
        job.is_tiny = job.on_cpu and spec.model.architecture is not None
        result.append(job)
    return result


def _starts(content: dict[str, Any], seeds: Sequence[int]) -> dict[int, starts.Start]:
    described = starts.read(content)
    return {seed: starts.of_seed(described, seed) for seed in seeds}


def starts_of(jobs: Sequence[Job]) -> list[starts.Start]:
    """The starts of runs, each once."""
    return list({job.start.folder: job.start for job in jobs if job.start is not None}.values())


def usual_workers(jobs: Sequence[Job]) -> int:
    """How many runs to train at a time: one per core if all are so small that they leave an accelerator unused."""
    return min(len(jobs), forked.core_count()) if all(job.is_tiny for job in jobs) else 1


def _check_recipe(job: Job) -> Recipe:
    """Raise ValueError for a recipe that is not valid -> the recipe."""
    spec = recipe.read([word for word in job.words if "=" not in word], [word for word in job.words if "=" in word])
    trainer_settings.check_kept(spec.trainer)
    longest = spec.trainer.get("max_completion_length", DEFAULTS["max_completion_length"])
    rewards.bind(spec.rewards, spec.reward_options, longest)
    return spec


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
