"""The grid file of a sweep, and the runs that it stands for: recipes times seeds."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from manypaths import recipe, rewards
from manypaths.names import nearest
from manypaths.preflight import trainer_settings
from manypaths.preflight.replaced import replaced
from manypaths.preflight.workload import DEFAULTS
from manypaths.sections import Recipe
from manypaths.training import forked, starts
from manypaths.typed import build
from manypaths.yaml_text import Loader

LONGEST = 200  # bytes of the name of a run, to which endings are added


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

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of `words`. Raises ValueError as `recipe.read`."""
        names = [word for word in self.words if "=" not in word]
        return recipe.read(names, [word for word in self.words if "=" in word])


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
    result, names_on_disk = list[Job](), dict[str, str]()
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
        _check_name(job.name, names_on_disk)
        try:
            spec = _check_recipe(job)
        except ValueError as error:
            raise ValueError(f"The run {job.name} is not valid: {error}") from error
        job.on_cpu = bool(spec.trainer.get("use_cpu"))
        job.is_tiny = job.on_cpu and spec.model.architecture is not None
        result.append(job)
    return result


def replaced_in(jobs: Sequence[Job]) -> list[str]:
    """What `replaced` says of the recipes of runs, each sentence once, with the first of the runs that it is about."""
    first: dict[tuple[str, ...], Job] = {}  # names of recipes and keys of overrides -> the first run with them
    for job in jobs:
        first.setdefault(tuple(word.partition("=")[0] + "=" * ("=" in word) for word in job.words), job)
    named: dict[str, str] = {}
    for job in first.values():
        for sentence in replaced(job.words):
            named.setdefault(sentence, job.name)
    return [f"In {name}, {sentence}" for sentence, name in named.items()]


def _check_name(name: str, others: dict[str, str]) -> None:
    """Raise ValueError for the name of a run that cannot be that of a folder beside the others, and add it to these.

    Some file systems do not tell letters of two cases apart, or two forms of an accent.
    """
    other = others.get(on_disk := unicodedata.normalize("NFKC", name.casefold()))
    if other is not None:
        names = name if other == name else f"{other} and {name}, which are one name on some file systems"
        raise ValueError(f"Two runs of the grid would be named {names}. Rename a value of an axis.")
    if len(name.encode()) > LONGEST:
        raise ValueError(f"The name of a run must have at most {LONGEST} bytes, got {name}. Shorten a value.")
    others[on_disk] = name


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
    spec = job.recipe
    trainer_settings.check_kept(spec.trainer)
    longest = spec.trainer.get("max_completion_length", DEFAULTS["max_completion_length"])
    rewards.bind(spec.rewards, spec.reward_options, longest)
    return spec
