"""Results from the metrics that a trainer logged by step: which of them is accuracy, and what is said about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from manypaths.comparison.importers.metric_names import HELD_OUT, REWARD, TRAINING, Dictionary, Meaning
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.importers.values import finite_number, printed, share_of
from manypaths.comparison.runs import Run, Score
from manypaths.counts import ACCURACY, measure
from manypaths.printable import listed

Logged = Mapping[str, Mapping[int, Any]]  # metric -> step -> value
HELD_OUT_STARTS = ("eval", "val", "test")
TELLING = ("accura", "correct", "acc", "score", "reward", "pass@", "eval", "val")


def set_results(run: Run, logged: Logged, meaning_of: Dictionary, reading: Reading) -> None:
    """Set the results of a run from what was logged, with notes on what was taken and what was not.

    The metric that the user names is taken, otherwise every held-out metric that the format defines, otherwise that of
    the training batches. Of one measure of one benchmark the metric with the most samples is taken; where that is not
    one metric, none is.
    """
    if reading.metric in logged and reading.metric is not None:
        chosen = {reading.metric: _named_by_user(reading.metric, meaning_of, reading)}
    else:
        meanings = {name: meaning for name in sorted(logged) if (meaning := meaning_of(name)) is not None}
        if reading.unit is not None:
            meanings = {
                name: meaning._replace(measure=ACCURACY) if meaning.measure == REWARD else meaning
                for name, meaning in meanings.items()
            }
        chosen = {}
        for training in (False, True):
            of_place = {name: meaning for name, meaning in meanings.items() if meaning.is_training == training}
            chosen = chosen or _with_shares(run, logged, of_place, reading)
        if not (chosen := _unambiguous(run, chosen)):
            run.notes.append(f"{run.name}: no accuracy is read. {keys_and_option(logged)}")
            return
    for name, meaning in chosen.items():
        _add(run, logged, name, meaning, reading)
    run.results = dict(sorted(run.results.items()))
    recorded = {name for scores in run.results.values() for score in scores.values() for name in score.measures}
    if reading.metric is not None and reading.metric not in logged and reading.measure not in recorded:
        run.results = {}
        run.notes.append(f"{run.name} has no {printed(reading.metric)}. {keys_and_option(logged)}")


def keys_and_option(names: Iterable[str]) -> str:
    """Sentences with the metrics that are there, the telling ones first, and how to name one."""
    ordered = sorted(names, key=lambda name: (not any(word in name.lower() for word in TELLING), name))
    there = f"It has: {listed(ordered, 12)}. " if ordered else ""
    return f"{there}Name a metric with --metric, and its unit with --unit share or --unit percent if it is an accuracy."


def _named_by_user(name: str, meaning_of: Dictionary, reading: Reading) -> Meaning:
    is_held_out = name.startswith(HELD_OUT_STARTS)
    meaning = meaning_of(name) or Meaning(name, None, HELD_OUT if is_held_out else TRAINING)
    return meaning._replace(measure=reading.measure or name)


def _with_shares(run: Run, logged: Logged, meanings: dict[str, Meaning], reading: Reading) -> dict[str, Meaning]:
    """The metrics whose values are in their range, with a note on each other one."""
    fit = {}
    for name, meaning in meanings.items():
        values = [number for value in logged[name].values() if (number := finite_number(value)) is not None]
        if not values:
            run.notes.append(f"{run.name}: {printed(name)} is not read, because none of its values is a number.")
        elif meaning.measure != REWARD and any(share_of(value, reading.unit) is None for value in values):
            run.notes.append(
                f"{run.name}: {printed(name)} is not read, because its values are not from "
                + ("0 to 100 percent." if reading.unit == "percent" else "0 to 1. Is the unit --unit percent?")
            )
        else:
            fit[name] = meaning
    return fit


def _unambiguous(run: Run, meanings: dict[str, Meaning]) -> dict[str, Meaning]:
    """Of each measure of each benchmark the metric with the most samples; {} and a note where there are several."""
    rivals: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name, meaning in meanings.items():
        rivals[meaning.benchmark, meaning.measure].append(name)
    chosen: dict[str, Meaning] = {}
    for (benchmark, of_measure), names in rivals.items():
        most = max(meanings[name].samples or 0 for name in names)
        best = [name for name in names if (meanings[name].samples or 0) == most]
        if len(best) > 1:
            run.notes.append(
                f"{run.name}: {printed(of_measure)} of {printed(benchmark)} has several metrics: {listed(best)}."
            )
            return {}
        if len(names) > 1:
            run.notes.append(f"{run.name}: {printed(of_measure)} is {printed(best[0])}, of {listed(names)}.")
        chosen[best[0]] = meanings[best[0]]
    return chosen


def _add(run: Run, logged: Logged, name: str, meaning: Meaning, reading: Reading) -> None:
    """Add a metric to the results, with notes on what it is."""
    shown, is_plain = printed(name), measure(meaning.measure).top is None
    convert = finite_number if is_plain else (lambda value: share_of(value, reading.unit))
    values = {step: number for step, value in logged[name].items() if (number := convert(value)) is not None}
    if len(values) < len(logged[name]):
        kind = "a number" if is_plain else "a share from 0 to 1"
        run.notes.append(f"{run.name}: {shown} is not {kind} at {len(logged[name]) - len(values)} steps.")
    if not values:
        return
    source = ", of training batches, not held out" if meaning.is_training else ""
    of_set = "" if meaning.benchmark in (HELD_OUT, TRAINING) else f" of {printed(meaning.benchmark)}"
    if is_plain:
        run.notes.append(
            f"{run.name}: {shown} is a plain number{of_set}{source}. If it is a share of correct completions, write "
            "--unit share."
        )
    else:
        run.notes.append(f"{run.name}: {printed(meaning.measure)}{of_set} is {shown}{source}.")
    if meaning.note:
        run.notes.append(f"{run.name}: {shown}: {meaning.note}")
    for step, value in values.items():
        score = run.results.setdefault(step, {}).setdefault(printed(meaning.benchmark), Score())
        score.means[printed(meaning.measure)] = value
        if meaning.samples is not None and meaning.measure == ACCURACY:
            score.sampling["samples"] = meaning.samples
