"""What can be compared, a `Run`, and how a run folder becomes one. Nothing here needs torch."""

from __future__ import annotations

import bisect
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from manypaths.files import read_json, read_jsonl
from manypaths.names import PARTS, SECONDS, current, shown_metrics
from manypaths.results import shares_by_problem
from manypaths.yaml_text import Loader, canonical

SAMPLING = ("backend", "dtype", "prompt", "temperature", "top_p", "max_new_tokens", "limit")


@dataclass
class Score:
    """One benchmark at one step."""

    accuracy: float  # 0 to 1
    shares: dict[str, float] | None = None  # the share of correct samples, by problem; None where only a mean is known
    error: float | None = None  # standard error of the mean over problems, where that is told and shares are not
    sampling: dict[str, Any] = field(default_factory=dict)  # how completions were sampled; empty where that is unknown


@dataclass
class Run:
    """One training run, or one set of results. Steps are optimiser steps, times are seconds of training alone."""

    name: str
    group: str  # runs of one group differ by their seed alone
    seed: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)  # dotted recipe keys, less the seed
    trained: bool = True  # False for results of a model alone, whose settings are those of the evaluation
    machine: str | None = None
    clock: list[tuple[int, float]] = field(default_factory=list)  # (step, seconds until then)
    parts: dict[str, float] = field(default_factory=dict)  # seconds a step, by part of the step
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)  # metric -> (step, value)
    results: dict[int, dict[str, Score]] = field(default_factory=dict)  # step -> benchmark -> score
    notes: list[str] = field(default_factory=list)  # what a reader of the comparison should know

    def seconds_at(self, step: float) -> float:
        """Seconds of training until a step, on a line between two that were recorded; NaN beyond them."""
        known = [(0, 0.0), *self.clock]
        place = bisect.bisect_left(known, (step,))
        if place == len(known) or not self.clock:
            return math.nan
        (before, early), (after, late) = known[max(0, place - 1)], known[place]
        return late if after == before else early + (late - early) * (step - before) / (after - before)


def read_run(folder: Path) -> Run:
    """A run folder of ours, also one that is not finished or of an earlier version."""
    try:
        recipe = yaml.load((folder / "recipe.yaml").read_bytes(), Loader)
    except yaml.YAMLError as error:
        raise ValueError(
            f"{str(folder)!r} has a recipe.yaml that is not YAML: {' '.join(str(error).split())}."
        ) from error
    if not isinstance(recipe, dict):
        raise ValueError(
            f"{str(folder)!r} has a recipe.yaml without keys. Was it cut off? Train again, or leave it out."
        )
    seed = recipe.pop("seed", None)
    settings = dict(flat(canonical(recipe)))
    run = Run(_name(folder), json.dumps(settings, sort_keys=True, default=str), seed, settings)
    lines = {line["step"]: current(line) for line in read_jsonl(folder / "metrics.jsonl")}
    run.machine = _machine(folder / "environment.json")
    _time(run, lines)
    run.curves = {
        key: [(step, line[key]) for step, line in lines.items() if _finite(line.get(key))]
        for key in shown_metrics(key for line in lines.values() for key in line)
        if any(_finite(line.get(key)) for line in lines.values())
    }
    last = max(lines, default=0)
    run.results = _results(folder / "evaluation", recipe, last)
    wanted = (recipe.get("trainer") or {}).get("max_steps")
    if not (folder / "summary.json").exists():
        run.notes.append(f"{run.name} is not finished: {last} of {wanted or '?'} steps.")
    if not run.results:
        run.notes.append(f"{run.name} has no evaluation yet, so no accuracy.")
    return run


def _time(run: Run, lines: dict[int, dict[str, Any]]) -> None:
    """The clock and the parts of a step."""
    spent, sums, last = 0.0, dict.fromkeys(PARTS, 0.0), max(lines, default=0)
    for step, own in seconds_between(lines.values()):
        spent += sum(own.values())
        sums = {part: sums[part] + own[part] for part in PARTS}
        run.clock.append((step, spent))
    if last and spent:
        run.parts = {part: total / last for part, total in sums.items()}
    else:
        run.clock = []


def seconds_between(lines: Iterable[dict[str, Any]]) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, seconds by part since the line before) of lines of metrics.jsonl, which hold means over those steps."""
    before = 0
    for line in sorted(lines, key=lambda line: line["step"]):
        steps = line["step"] - before
        yield line["step"], {part: steps * (line.get(name) or 0.0) for part, name in SECONDS.items()}
        before = line["step"]


def _results(folder: Path, recipe: dict[str, Any], last: int) -> dict[int, dict[str, Score]]:
    """What evaluation/ holds: the run's own held-out problems, and benchmarks that `manypaths evaluate` added."""
    own = ((recipe.get("evaluation") or {}).get("problems") or {}).get("name") or "held-out"
    steps = {
        when: found.get("step", 0 if when == "before" else last) for when, found in _known(folder, "summary").items()
    }
    shares = _known(folder, "shares")
    for when in steps:  # of an earlier version, which wrote no shares
        if when not in shares:
            shares[when] = {Path(own).stem: _shares(folder / f"{when}.jsonl")}
    sampling = _known(folder, "settings") or _sampling_of(recipe)
    found = {steps[when]: _scores(folder, each, sampling) for when, each in shares.items() if when in steps}
    for more in sorted(folder.glob("step-*/settings.json")):
        if not (number := more.parent.name.removeprefix("step-")).isdecimal():
            continue  # a copy under another name
        step = int(number)
        found[step] = {**found.get(step, {}), **_benchmarks(more.parent, _known(more.parent, "settings"))}
    return {step: scores for step, scores in sorted(found.items()) if scores}


def _sampling_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """What the recipe of an earlier version's run says of its evaluations, in the words of settings.json."""
    if not (evaluation := recipe.get("evaluation")):
        return {}
    own = {"prompt": recipe.get("prompt"), "dtype": (recipe.get("model") or {}).get("dtype"), **evaluation}
    own["limit"] = (evaluation.get("problems") or {}).get("limit")
    return {"backend": "transformers", **{key: own[key] for key in ("samples", *SAMPLING) if key in own}}


def read_evaluation(folder: Path) -> Run:
    """What `manypaths evaluate` wrote: a run of one step, 0."""
    if any("step" in found for found in _known(folder, "summary").values()):
        raise ValueError(f"{str(folder)!r} is a part of a run. Give the run's folder, {str(folder.parent)!r}.")
    sampling = _known(folder, "settings")
    names = {"model": "model.name", "prompt": "prompt"}
    names |= {key: f"evaluation.{key}" for key in ("samples", *SAMPLING) if key != "prompt"}
    settings = {name: sampling[key] for key, name in names.items() if sampling.get(key) is not None}
    run = Run(_name(folder), str(folder.resolve()), None, settings, trained=False)
    run.results = {0: _benchmarks(folder, sampling)}
    if not run.results[0]:
        raise ValueError(f"{str(folder)!r} has no finished benchmark yet. Let `manypaths evaluate` go on.")
    return run


def _benchmarks(folder: Path, sampling: dict[str, Any]) -> dict[str, Score]:
    known = _known(folder, "shares")
    shares = {path.stem: known.get(path.stem) or _shares(path) for path in sorted(folder.glob("*.jsonl"))}
    return _scores(folder, shares, sampling)


def _scores(folder: Path, shares: dict[str, dict[str, float]], sampling: dict[str, Any]) -> dict[str, Score]:
    """The scores of an evaluation's benchmarks; ValueError for what is no share, from which no interval follows."""
    for problem, share in ((problem, share) for of in shares.values() for problem, share in of.items()):
        if not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ValueError(
                f"{str(folder)!r}: the share of correct samples must be from 0 to 1, got {share!r} for the problem "
                f"{problem!r}. Evaluate again, or leave it out."
            )
    own = {key: sampling[key] for key in ("samples", *SAMPLING) if sampling.get(key) is not None}
    return {name: Score(fmean(of.values()), of, sampling=own) for name, of in shares.items() if of}


def _shares(path: Path) -> dict[str, float]:
    return shares_by_problem(read_jsonl(path))


def _name(folder: Path) -> str:
    return folder.resolve().name.encode("utf-8", "replace").decode()


def _known(folder: Path, name: str) -> dict[str, Any]:
    return read_json(folder / f"{name}.json")


def _machine(path: Path) -> str | None:
    if not path.exists():
        return None
    known = read_json(path)
    gpus = [f"{count} x {name}" for name, count in Counter(known.get("gpus") or []).items()]
    return ", ".join(gpus) or f"{known.get('cores', '?')} cores, {known.get('threads', '?')} threads"


def flat(settings: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Nested keys joined by dots, each with its value."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
