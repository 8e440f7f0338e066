"""The run folder: the names of its files, how they are written and how they are read. No other module has them.

    RUN/
      recipe.yaml           the resolved recipe; written first
      script.json           in its place, what is known of a training by a script with `manypaths.callbacks`
      environment.json      versions, commit and hardware, and the fingerprint of recipe.yaml
      metrics.jsonl         one line per logged step: {step, loss, reward, seconds/sampling, ...}
      groups.jsonl          one line per recorded group of completions
      checkpoints/          checkpoint-N as the trainer writes them; damaged-checkpoint-N are never used
      evaluation/           WHEN.jsonl, WHEN being before, step-N or after: a line per held-out problem
        summary.json        {WHEN: {step, accuracy, low, high, seconds, ...}}
        counts.json         {WHEN: {benchmark: {problem: [completions, correct, [correct by key], majority]}}}
        settings.json       how the completions were sampled, and by which keys the correct ones are counted
        step-N/             other benchmarks, from `manypaths evaluate RUN`: NAME.jsonl and the same three files
      model/                the trained weights, or their adapter, with recipe.yaml and README.md, the model card
      summary.json          {evaluation, steps, seconds}; written last: the run is finished
      inspect.html          the page that shows the groups

A run of an earlier version has shares.json, {WHEN: {benchmark: {problem: share of correct samples}}}, in place of
counts.json; its completions are counted from the lines of WHEN.jsonl.

A run that was killed leaves each of these as it was or as it should be, and at most an incomplete last line. Nothing
here imports torch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manypaths import recipe, results
from manypaths.files import PARTIAL, append, as_json, atomic_write, content_of, read_json, stream_jsonl
from manypaths.names import PARTS, SECONDS, current
from manypaths.printable import one_line
from manypaths.recipe import dump
from manypaths.results import Counted
from manypaths.sections import Recipe
from manypaths.yaml_text import canonical, to_yaml

RECIPE, ENVIRONMENT, METRICS, GROUPS = "recipe.yaml", "environment.json", "metrics.jsonl", "groups.jsonl"
SCRIPT = "script.json"
PRETRAINED = "pretrain.yaml"  # the recipe in a folder of weights that `manypaths pretrain` made
CHECKPOINTS, EVALUATION, MODEL, PAGE = "checkpoints", "evaluation", "model", "inspect.html"
SUMMARY, COUNTS, SETTINGS = results.SUMMARY, results.COUNTS, results.SETTINGS  # SUMMARY in RUN and in evaluation/
UNFINISHED_MODEL = ".model.partial"  # becomes MODEL once it is complete
CARD = "README.md"  # of MODEL, beside the RECIPE of the run
OF_WEIGHTS = ("config.json", "adapter_config.json")  # a folder with one of these holds weights
FREE_SPACE = 64 * 2**20  # bytes that must be free on the disk of a run folder before anything is loaded


def prepare_run_dir(run: Path, spec: Recipe) -> None:
    """Make the folder of a run and write its recipe, or check that the folder holds a run of this recipe.

    Args:
        run: The folder; its parents are made too.
        spec: The recipe of the run that will be started or resumed.

    Raises:
        ValueError: The folder cannot be written, its disk is full, it holds another recipe, a recipe that was changed
            after the run began, or files of something else.
    """
    _check_writable(run)
    check_holds(run, spec)
    if not (run / RECIPE).exists():
        atomic_write(run / RECIPE, dump(spec))


def _check_writable(run: Path) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run, prefix=".probe.", suffix=PARTIAL) as probe:
            probe.write(bytes(2**16))
        free = shutil.disk_usage(run).free
    except OSError as error:
        raise ValueError(f"The run folder {str(run)!r} cannot be written: {error}. Give another --out.") from error
    if free < FREE_SPACE:
        raise ValueError(
            f"The disk of {str(run)!r} is full: {FREE_SPACE >> 20} MiB must be free, got {free >> 20} MiB. Free some, "
            "or give another --out."
        )


def check_holds(run: Path, spec: Recipe, remedy: str = "or no recipe at all to resume that run") -> None:
    """Check that a folder holds the run of a recipe, begun or finished, or is empty, or does not exist.

    Args:
        run: The folder.
        spec: The recipe.
        remedy: What may be done instead of giving another --out where it holds the run of another recipe.

    Raises:
        ValueError: It holds the run of another recipe, whose first differing keys the message names, a recipe that was
            changed after the run began, or something else.
    """
    if not (run / RECIPE).exists():
        if run.exists() and (not run.is_dir() or content_of(run)):
            raise ValueError(f"{str(run)!r} is not empty and holds no run. Give --out a new or an empty folder.")
        return
    there = read_recipe(run)
    differing = [] if there == spec else differences(asdict(there), asdict(spec))
    if differing:
        raise ValueError(
            f"{str(run)!r} holds the run of another recipe ({'; '.join(differing[:3])}). Give another --out, {remedy}."
        )
    if read_environment(run).get("recipe", _fingerprint(run)) != _fingerprint(run):
        raise ValueError(
            f"{str(run / RECIPE)!r} was changed after its run began. Restore it, or train with it in another --out."
        )


def differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """The keys in which two recipes differ, as words for a message, such as "seed: 1 there, seed: 2 here"."""
    old, new = (dict(_leaves(canonical(content))) for content in (there, here))
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    sides = [[f"{key}: {one_line(side[key], 80)}" if key in side else "nothing" for side in (old, new)] for key in keys]
    return [f"{theirs} there, {ours} here" for theirs, ours in sides]


def _leaves(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(path with dots, value as JSON) of each value of nested mappings, however deep; {} is a value."""
    left: list[tuple[str, Any]] = [*content.items()]
    while left:
        path, value = left.pop(0)
        if isinstance(value, Mapping) and value:
            left[:0] = [(f"{path}.{key}", inner) for key, inner in value.items()]
        else:
            yield path, json.dumps(value)


def _fingerprint(run: Path) -> str:
    """SHA-256 of the content of recipe.yaml, whatever its layout and comments."""
    content = recipe.content([str(run / RECIPE)])
    return hashlib.sha256(to_yaml(canonical(content)).encode()).hexdigest()


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run of a recipe, finished or not; weights with the recipe of their run are none."""
    return (folder / RECIPE).is_file() and not any((folder / name).is_file() for name in OF_WEIGHTS)


def is_recorded(folder: Path) -> bool:
    """Whether a folder holds a run of a recipe or of a script."""
    return is_run(folder) or (folder / SCRIPT).is_file()


def runs_in(folder: Path) -> list[Path]:
    """The runs that lie in a folder, such as those of a sweep, by name."""
    folders = {path.parent for name in (RECIPE, SCRIPT) for path in folder.glob(f"*/{name}")}
    return sorted(filter(is_recorded, folders))


def is_finished(run: Path) -> bool:
    """Whether a run has its summary, which is written after everything but the page."""
    return (run / SUMMARY).is_file()


def final_summary(run: Path) -> dict[str, Any] | None:
    """The summary of a run that lacks nothing but perhaps its page; None where the weights or the summary are missing.

    Raises:
        ValueError: summary.json is damaged.
    """
    summary = read_json(run / SUMMARY) if (run / MODEL).is_dir() else {}
    return summary if {"evaluation", "steps", "seconds"} <= summary.keys() else None


def run_of(path: Path) -> Path | None:
    """The run that a path names: the path itself, or the run of a checkpoint; None for anything else."""
    if is_run(path):
        return path
    run = path.parent.parent
    return run if path.parent.name == CHECKPOINTS and is_run(run) else None


def checkpoints(run: Path) -> list[Path]:
    """The folders checkpoint-N of a run by ascending N; copies under other names are left out."""
    steps = {path: step_of(path.name, "checkpoint-") for path in (run / CHECKPOINTS).glob("*") if path.is_dir()}
    return sorted((path for path in steps if steps[path] is not None), key=lambda path: steps[path] or 0)


def benchmark_folder(run: Path, step: int) -> Path:
    """Where results of other benchmarks go, for the weights of a step."""
    return run / EVALUATION / f"step-{step}"


def benchmark_folders(run: Path) -> dict[int, Path]:
    """The folders of `benchmark_folder` that hold results, by ascending step."""
    paths = (run / EVALUATION).glob("step-*")
    folders = {step_of(path.name, "step-"): path for path in paths if (path / SETTINGS).is_file()}
    return {step: folders[step] for step in sorted(step for step in folders if step is not None)}


def step_of(name: str, prefix: str) -> int | None:
    """The number N of a name PREFIXN; None for any other name."""
    number = name.removeprefix(prefix)
    return int(number) if name.startswith(prefix) and number.isdecimal() else None


def write_environment(run: Path, environment: dict[str, Any]) -> None:
    """Write where a run began, unless it is written already, beside the fingerprint of its recipe if it has one."""
    if not (run / ENVIRONMENT).exists():
        recipe = {"recipe": _fingerprint(run)} if is_run(run) else {}
        atomic_write(run / ENVIRONMENT, as_json({**environment, **recipe}, indent=2))


def append_metrics(run: Path, line: dict[str, Any]) -> None:
    """Add one line to metrics.jsonl; `line` has a `step`."""
    append(run / METRICS, as_json(line) + "\n")


def append_groups(run: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Add one line per group to groups.jsonl; each has a `step`."""
    append(run / GROUPS, "".join(as_json(line) + "\n" for line in lines))


def write_summary(run: Path, steps: int | None = None) -> dict[str, Any]:
    """Write summary.json from the metrics and evaluations of a run -> {evaluation, steps, seconds}.

    Args:
        run: The folder of the run.
        steps: The steps of the training; None for those that the metrics reach.

    Raises:
        ValueError: A file is damaged.
    """
    lines, path = read_metrics(run), run / EVALUATION / SUMMARY
    evaluation = read_json(path)
    if not all(isinstance(figures, dict) for figures in evaluation.values()):
        raise ValueError(f"{path} is damaged (its values must be objects). Restore it from a copy, or remove it.")
    seconds = dict.fromkeys(PARTS, 0.0)
    for _, spent in seconds_between(lines):
        seconds = {part: seconds[part] + spent[part] for part in PARTS}
    if not is_run(run) and not any(name in line for line in lines for name in SECONDS.values()):
        seconds = {}  # TRL's own trainers do not log them
    seconds["evaluation"] = sum(figures.get("seconds") or 0.0 for figures in evaluation.values())
    steps = (lines[-1]["step"] if lines else 0) if steps is None else steps
    summary = {"evaluation": evaluation, "steps": steps, "seconds": seconds}
    atomic_write(run / SUMMARY, as_json(summary, indent=2))
    return summary


def read_recipe(run: Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a run, also of an earlier version, with `overrides` applied. Raises ValueError as `recipe.read`."""
    return recipe.read_recorded(run / RECIPE, overrides)


def read_recipe_content(run: Path) -> dict[str, Any]:
    """The recipe of a run as nested mappings with the names of today; its keys and values are not checked.

    Of a run of a script, what is known of it in the same form.
    Settings that an earlier version did not have are as today's default, so that runs of equal recipes are equal.

    Raises:
        ValueError: recipe.yaml is not YAML or holds no keys, or script.json is damaged.
    """
    if not is_run(run):
        return read_json(run / SCRIPT)
    return recipe.with_added_keys(recipe.with_current_names(recipe.content([str(run / RECIPE)])))


def is_evaluation(folder: Path) -> bool:
    """Whether a folder is the evaluation/ of a run. Raises ValueError for a damaged summary."""
    return any("step" in measures for measures in read_json(folder / SUMMARY).values())


def read_evaluations(run: Path, name: str, last: int) -> dict[int, dict[str, Counted]]:
    """The counted completions of the evaluations during the training.

    Args:
        run: The folder of the run.
        name: The name of the benchmark in a run of an earlier version, which did not record it.
        last: The step of the evaluation after training in a run of an earlier version, which did not record it.

    Returns:
        {step: {benchmark: {problem: its counts}}}, of an earlier version whose lines are gone {problem: its share}

    Raises:
        ValueError: A file is damaged.
    """
    folder = run / EVALUATION
    counts, shares = read_json(folder / COUNTS), read_json(folder / results.SHARES)
    evaluations: dict[int, dict[str, Counted]] = {}
    for when, measures in read_json(folder / SUMMARY).items():
        step = measures.get("step", 0 if when == "before" else last)
        own, old = counts.get(when, {}), shares.get(when, {})
        evaluations[step] = {
            benchmark: results.counted(folder, when, own.get(benchmark), old.get(benchmark, {}))
            for benchmark in (own or old or [name])
        }
    return evaluations


def read_environment(run: Path) -> dict[str, Any]:
    """What `write_environment` wrote; {} where it is missing. Raises ValueError for a damaged file."""
    return read_json(run / ENVIRONMENT)


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl under the metrics' names of today, [] where it is missing.

    Raises:
        ValueError: A line is damaged.
    """
    return [current(line) for line, _ in lines_with_steps(run / METRICS)]


def stream_groups(run: Path) -> Iterator[dict[str, Any]]:
    """The lines of groups.jsonl one after another, for they may exceed the memory. Raises as `read_metrics`."""
    return (line for line, _ in lines_with_steps(run / GROUPS))


def lines_with_steps(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """(content, bytes) of each line of metrics.jsonl or groups.jsonl. Raises as `read_metrics`."""
    if not path.exists():
        return
    for number, (content, line) in enumerate(stream_jsonl(path), 1):
        if not isinstance(content.get("step"), int):
            raise ValueError(f"{path}, line {number}, is damaged (it has no step). Mend or remove that line.")
        yield content, line


def seconds_between(lines: Iterable[dict[str, Any]]) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, seconds by part since the line before) of the lines of metrics.jsonl, which hold means over those steps.

    A metric that was not logged counts as 0 seconds.
    """
    before = 0
    for line in sorted(lines, key=lambda line: line["step"]):
        steps = line["step"] - before
        yield line["step"], {part: steps * (line.get(name) or 0.0) for part, name in SECONDS.items()}
        before = line["step"]
