"""What a reader has to know before a difference between configurations is believed, a sentence each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from manypaths.comparison.curves import Configuration
from manypaths.comparison.runs import SAMPLING

FEW = 10  # problems of a benchmark, below which its intervals are rough: see bench/intervals.py


def cautions(configurations: Sequence[Configuration], base: Configuration) -> list[str]:
    """The sentences for these configurations, `base` among them."""
    by_all = (_single_seeds, _few_problems, _peaks, _machines, _ends, _unknown_sampling)
    notes = [note for caution in by_all for note in caution(configurations)]
    for one in configurations:
        notes += [*_equal_seeds(one), *_mixed_sampling(one)]
        if one is not base:
            notes += _other_sampling(one, base)
    return notes


def _single_seeds(configurations: Sequence[Configuration]) -> list[str]:
    single = [one.name for one in configurations if len(one.runs) == 1]
    return [
        f"One seed of {', '.join(single)}: no interval over seeds exists. The intervals hold for these runs alone, "
        "on other problems of the same kind; another seed may turn them around."
    ] * bool(single)


def _few_problems(configurations: Sequence[Configuration]) -> list[str]:
    first = configurations[0]
    sizes = dict(zip(first.benchmarks, first.estimates[0].sizes.tolist(), strict=True))
    return [
        f"{name} has only {size} problem{'s' * (size > 1)}: its intervals are rough."
        for name, size in sizes.items()
        if 0 < size < FEW
    ]


def _equal_seeds(one: Configuration) -> list[str]:
    counts = Counter(run.seed for run in one.runs)
    twice = [str(seed) for seed, count in counts.items() if seed is not None and count > 1]
    return [f"{one.name} has seed {', '.join(twice)} more than once: those runs are no repetitions."] * bool(twice)


def _peaks(configurations: Sequence[Configuration]) -> list[str]:
    held_out = all(one.first_half.any() and not one.first_half.all() for one in configurations)
    return [] if held_out else ["Peaks are chosen and read on the same problems, which flatters them."]


def _machines(configurations: Sequence[Configuration]) -> list[str]:
    machines = {run.machine for one in configurations for run in one.runs if run.machine}
    names = "; ".join(sorted(machines))
    return [f"The runs were made on different machines ({names}): hours compare those too."] * (len(machines) > 1)


def _ends(configurations: Sequence[Configuration]) -> list[str]:
    ends = {one.name: one.steps[-1] for one in configurations}
    shown = ", ".join(f"{name} at {step:g}" for name, step in ends.items())
    return [f"The ends are not the same step: {shown}."] * (len(set(ends.values())) > 1)


# How completions were sampled


def _sampling(one: Configuration) -> dict[str, dict[str, list[Any]]]:
    """benchmark -> setting -> its values over all evaluations that count, those that are not known left out."""
    values: dict[str, dict[str, list[Any]]] = {name: {} for name in one.benchmarks}
    for name, run, step in (
        (name, run, int(step)) for name in one.benchmarks for run in one.runs for step in one.steps
    ):
        sampling = run.results[step][name].sampling
        greedy = sampling.get("temperature") == 0
        for key in [key for key in SAMPLING if not (greedy and key == "top_p")]:
            if sampling.get(key) is not None and sampling[key] not in values[name].setdefault(key, []):
                values[name][key].append(sampling[key])
    return values


def _unknown_sampling(configurations: Sequence[Configuration]) -> list[str]:
    """Said only where the settings of others are known, for there is something to compare then."""
    unknown = [one.name for one in configurations if not any(_sampling(one).values())]
    if not unknown or len(unknown) == len(configurations):
        return []
    return [
        f"How the completions of {', '.join(unknown)} were sampled is unknown; "
        "a difference in accuracy may be due to that."
    ]


def _mixed_sampling(one: Configuration) -> list[str]:
    mixed = {key: of for settings in _sampling(one).values() for key, of in settings.items() if len(of) > 1}
    shown = "; ".join(f"{key} {_values(of)}" for key, of in mixed.items())
    return [f"Not all evaluations of {one.name} were sampled alike: {shown}."] * bool(mixed)


def _other_sampling(one: Configuration, base: Configuration) -> list[str]:
    """Settings of sampling, or of the set of problems, that are not the baseline's."""
    differing = {}
    own, others = _sampling(one), _sampling(base)
    for name in one.benchmarks:
        for key in own[name].keys() & others[name].keys():
            pair = own[name][key], others[name][key]
            if any(value not in pair[1] for value in pair[0]) or len(pair[0]) != len(pair[1]):
                differing[key] = pair
    mine, theirs = one.runs[0].settings, base.runs[0].settings
    for key in sorted(mine.keys() & theirs.keys()):
        if key.startswith("evaluation.problems.") and mine[key] != theirs[key]:
            differing[key] = ([mine[key]], [theirs[key]])
    shown = "; ".join(
        f"{key} {_values(differing[key][0])} here, {_values(differing[key][1])} there"
        for key in sorted(differing, key=[*SAMPLING, *sorted(differing)].index)
    )
    return [
        f"{one.name} was not evaluated like {base.name}: {shown}. A difference in accuracy may be due to that."
    ] * bool(differing)


def _values(values: Sequence[Any]) -> str:
    return " and ".join(map(_short, values))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
