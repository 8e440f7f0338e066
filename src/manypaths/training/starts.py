"""The starts of a sweep: models after a cold start, one for each seed, made before the first run of that seed.

A start is what `manypaths pretrain` makes of the same arguments, and is made once: several sweeps, and the workers of
each, may share the folder. A process that finds another one making a start goes on with another seed, or waits.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manypaths import recipe, run_folder
from manypaths.files import content_of, in_use, only_writer
from manypaths.preflight import cold_start
from manypaths.printable import one_line
from manypaths.sections import Recipe
from manypaths.training import forked, still
from manypaths.typed import build
from manypaths.yaml_text import from_yaml

SEED = "{seed}"
LOCKS = ".locks"  # beside the starts: one folder per start, to be locked
WRONG = 2  # the exit code of `manypaths` for a mistake in the arguments or the data
SET_HERE = ("model.name=", "cluster=")  # what the runs of a start get as arguments


@dataclass
class Starts:
    """The key `starts` of a grid file.

    `recipes` are arguments of `manypaths pretrain`, to which the seed is added. `folder` is that of the model of a
    seed, and contains {seed}. The runs of the seed get model.name and cluster. Raises ValueError for other folders.
    """

    recipes: list[str] = field(default_factory=list)
    folder: str = ""

    def __post_init__(self) -> None:
        missing = [name for name in ("recipes", "folder") if not getattr(self, name)]
        if missing:
            raise ValueError(f"starts must have recipes and folder, got no {', '.join(missing)}. Add {EXAMPLE}.")
        if SEED not in self.folder:
            raise ValueError(f"starts.folder must contain {SEED}, for each seed has its start, got {self.folder!r}.")
        value = self.folder.replace(SEED, "1")
        if not value.isprintable() or from_yaml(f"name: {value}", "starts.folder") != {"name": value}:
            raise ValueError(
                f"starts.folder must be a path that YAML reads as a text, such as starts/{SEED}, got {self.folder!r}. "
                "Rename it."
            )


class NotMade(ValueError):
    """A start cannot be made, so that the runs of its seed cannot be trained.

    Args:
        code: Its exit code.
        sentence: What happened.
    """

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


EXAMPLE = "recipes: [tiny-0.2m, colouring] and folder: starts/colouring/{seed}"


@dataclass
class Start:
    """The model with which all runs of a seed begin."""

    folder: Path
    words: list[str]  # arguments of `manypaths pretrain`
    spec: Recipe
    of_runs: list[str]  # what is added to the arguments of `manypaths train`
    is_there: bool = False  # once it is, nobody looks again
    is_ours: bool = False  # while this process makes it
    failed: NotMade | None = None  # how its process failed; it is not tried again

    @property
    def command(self) -> str:
        """The arguments of `manypaths pretrain`, as one types them."""
        return f"{' '.join(self.words)} --out {self.folder}"


def read(content: Any) -> Starts:
    """The key `starts` of a grid file. Raises ValueError where it is not valid."""
    if not isinstance(content, dict):
        raise ValueError(f"starts must have recipes and folder, got {content!r}. Write {EXAMPLE}.")
    starts: Starts = build(Starts, content, "starts.")
    return starts


def of_seed(starts: Starts, seed: int) -> Start:
    """The start of a seed. Raises ValueError for arguments of which `manypaths pretrain` can make no model."""
    words = [*(word.replace(SEED, str(seed)) for word in starts.recipes), f"seed={seed}"]
    folder = starts.folder.replace(SEED, str(seed))
    try:
        spec = recipe.read([word for word in words if "=" not in word], [word for word in words if "=" in word])
        cold_start.check(spec)
    except ValueError as error:
        raise ValueError(f"starts.recipes are not valid: {error}") from error
    return Start(Path(folder), words, spec, [f"model.name={folder}", f"cluster={seed}"])


def check_words(words: Iterable[str]) -> None:
    """Raise ValueError for arguments of a run, before those of its start, that set what the start sets."""
    for word in words:
        if word.startswith(SET_HERE):
            name = word.partition("=")[0]
            raise ValueError(f"{name} must be left out of a grid with starts, which set it, got {word!r}. Remove it.")


def is_made(start: Start) -> bool:
    """Whether the model of a start is there.

    Raises:
        ValueError: The folder holds something else, or the model of another recipe.
    """
    folder, path = start.folder, start.folder / run_folder.PRETRAINED
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or content_of(folder)):
            raise ValueError(
                f"{str(folder)!r} must be the folder of a start, or not exist, but has no {path.name}. Remove it, or "
                "change starts.folder."
            )
        return False
    try:
        there = recipe.read_recorded(path)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is damaged: {one_line(error, 300)} Remove its folder.") from error
    differences = run_folder.differences(cold_start.made_of(there), cold_start.made_of(start.spec))
    if differences:
        raise ValueError(
            f"{str(folder)!r} holds a start of another recipe ({one_line('; '.join(differences[:3]), 300)}). Change "
            "starts.folder and --out, or remove that folder and the runs that began with it."
        )
    return True


def state(start: Start) -> str:
    """The state of a start: made, running (in this or another process) or open. Raises ValueError as `is_made`."""
    if is_made(start):
        return "made"
    return "running" if _is_being_made(start) else "open"


def make(start: Start, cores: Sequence[int] = ()) -> bool:
    """Make the model of a start where it is not there, in a process whose output goes to FOLDER.log.

    Args:
        start: The start.
        cores: The cores that the process may use; none for those of the caller.

    Returns:
        Whether the model is there: False while another process makes it.

    Raises:
        NotMade: The folder holds something else, or the process failed, now or before.
    """
    if start.is_there or _is_made_now(start):
        start.is_there = True
        return True
    if _is_being_made(start):
        return False
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(only_writer(_lock(start)))
        except ValueError:  # another process was first
            return False
        if not _is_made_now(start):
            start.is_ours = True
            try:
                _pretrain(start, cores)
            finally:
                start.is_ours = False
    start.is_there = True
    return True


def _is_made_now(start: Start) -> bool:
    """As `is_made`; raises NotMade also where the process failed before."""
    if start.failed is not None:
        raise start.failed
    try:
        return is_made(start)
    except ValueError as error:
        raise NotMade(WRONG, str(error)) from error


def _lock(start: Start) -> Path:
    return start.folder.parent / LOCKS / start.folder.name


def _is_being_made(start: Start) -> bool:
    """Whether a sweep makes it, or `manypaths pretrain`: also that of a killed sweep."""
    return in_use(_lock(start)) or any(in_use(path) for path in cold_start.unfinished(start.folder))


def watch(start: Start) -> still.Watch:
    """A watch on the process that makes a start."""
    log = start.folder.with_name(f"{start.folder.name}.log")
    return still.Watch(lambda: [log, *cold_start.unfinished(start.folder)])


def _pretrain(start: Start, cores: Sequence[int]) -> None:
    began = time.perf_counter()
    print(f"{start.folder}: manypaths pretrain {start.command}\n", end="", flush=True)  # in one piece
    words, log = (
        ["pretrain", *start.words, "--out", str(start.folder)],
        start.folder.with_name(f"{start.folder.name}.log"),
    )
    on_cpu = bool(start.spec.pretrain and start.spec.pretrain.trainer.get("use_cpu"))
    code = forked.run_command(words, log, on_cpu, cores, watch(start).is_still)
    if code == forked.INTERRUPTED:
        raise KeyboardInterrupt
    if not _is_made_now(start):
        line = forked.last_line(log)
        start.failed = NotMade(code, f"The start {start.folder} was not made ({code}, see {log}): {line}")
        raise start.failed
    print(f"{start.folder}: {time.perf_counter() - began:.0f} s\n", end="", flush=True)
