"""Names of runs from their paths: what differs between the paths, without the seed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from manypaths.printable import escaped

SEED = re.compile(r"(?:^|[-_.])seed[-_]?([0-9]{1,12})$", re.IGNORECASE)
GENERIC = re.compile(r"(?:trainer_state|all_results|eval_results|results_[^/]*)\.json|metrics\.jsonl|checkpoint-[0-9]+")
SUFFIX = re.compile(r"(?<=.)\.(?:json|jsonl|ndjson|csv|tsv)$", re.IGNORECASE)
Parts = tuple[str, ...]


class RunName(NamedTuple):
    """How a run is called, and what it shares with the runs that differ from it by their seed alone."""

    name: str  # for a reader: `label`, with the seed if there is one
    group: str  # the path without the seed, equal for those runs and no others
    seed: int | None

    @property
    def label(self) -> str:
        """The name without the seed."""
        return self.name if self.seed is None else self.name.removesuffix(f"-seed{self.seed}")


def of_paths(paths: Iterable[Path]) -> dict[Path, RunName]:
    """Name the runs at some paths.

    The word `seed` with a number, as a folder or at the end of its name, is the seed: `grpo-seed1` and `grpo-seed2` are
    two seeds of `grpo`. Every other difference between two paths makes two groups, with different names: the last
    folder where that is enough, such as `grpo` and `mmr`, otherwise the folders that differ, such as `grpo` and `mmr`
    of `grpo/results` and `mmr/results`.

    Args:
        paths: Absolute paths of folders or files. Repetitions count once.

    Returns:
        The name of the run at each path. No two paths have the same name, and two paths have the same group only if
        they are equal without the seed. Names have no control characters.
    """
    whole = {path: _parts(path) for path in dict.fromkeys(paths)}
    keys = {path: _without_seed(_specific(parts)) for path, parts in whole.items()}
    while True:
        folders = sorted({folder for folder, _ in keys.values()})
        labels = dict(zip(folders, _distinct(folders), strict=True))
        runs = {path: _named(labels[folder], "/".join(folder), seed) for path, (folder, seed) in keys.items()}
        count = Counter(run.name for run in runs.values())
        clashing = {path: (whole[path], None) for path, run in runs.items() if count[run.name] > 1}
        if not clashing.items() - keys.items():
            return runs
        keys |= clashing  # the same seed of the same folder twice: these are runs of their own, with all of their path


def of_model(folder: RunName, model: str, alone: bool = False) -> RunName:
    """Name one of several models whose results lie in a folder; the model `mmr-seed3` is seed 3 of `mmr`.

    Args:
        folder: The name that the folder has.
        model: The name of the model, different from those of the others in the folder.
        alone: Whether no other folder is read, so that the name of the model is enough.
    """
    parts, seed = _without_seed(tuple(model.split("/")))
    label = "/".join(parts) if alone else "/".join((folder.label, *parts))
    return _named(label, "/".join((folder.group, *parts)), seed)


def _named(label: str, group: str, seed: int | None) -> RunName:
    label = escaped(label.encode("utf-8", "replace").decode())
    return RunName(label if seed is None else f"{label}-seed{seed}", group, seed)


def _parts(path: Path) -> Parts:
    """The parts of a path below the root."""
    return tuple(path.parts[bool(path.anchor) :]) or (path.anchor,)


def _specific(parts: Parts) -> Parts:
    """The parts without files and folders that have the same name in every run."""
    while len(parts) > 1 and GENERIC.fullmatch(parts[-1]):
        parts = parts[:-1]
    return (*parts[:-1], SUFFIX.sub("", parts[-1]))


def _without_seed(parts: Parts) -> tuple[Parts, int | None]:
    """(the parts without the seed, the seed); all parts and None where no part, or more than one, states a seed."""
    seeds = [(index, match) for index, part in enumerate(parts) if (match := SEED.search(part))]
    if len(seeds) != 1:
        return parts, None
    index, match = seeds[0]
    rest = parts[index][: match.start()]
    others = (*parts[:index], *([rest] if rest else []), *parts[index + 1 :])
    return (others, int(match[1])) if others else (parts, None)


def _distinct(folders: Sequence[Parts]) -> list[str]:
    """A name for each of some different folders, all different."""
    names = [folder[-1] for folder in folders]
    for name in {name for name in names if names.count(name) > 1}:
        same = [index for index, other in enumerate(names) if other == name]
        for index, short in zip(same, _differences([folders[index] for index in same]), strict=True):
            names[index] = short
    if len(set(names)) < len(names):
        names = _differences(folders)
    return names


def _differences(folders: Sequence[Parts]) -> list[str]:
    """The parts of different folders between those that all of them begin with and those that all end with."""
    shortest = min(map(len, folders))
    end = next(n for n in range(1, shortest + 1) if n == shortest or len({folder[-n:] for folder in folders}) > 1) - 1
    folders = [folder[: len(folder) - end] for folder in folders]
    shortest = min(map(len, folders))
    start = next(n for n in range(shortest) if n == shortest - 1 or len({folder[: n + 1] for folder in folders}) > 1)
    return ["/".join(folder[start:]) for folder in folders]
