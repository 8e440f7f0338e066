"""Cautions: the limits of conclusions from a difference between configurations, one sentence each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from manypaths.comparison.configurations import Configuration
from manypaths.comparison.runs import SAMPLING, Score
from manypaths.counts import MAJORITY
from manypaths.results import ANSWER, KEYS

SAMPLES = "samples"  # the setting that the majority vote depends on
FEW = 10  # problems; with fewer the intervals of a benchmark are rough, as bench/intervals.py measures


def cautions(measures: Iterable[Sequence[Configuration]]) -> list[str]:
    """The sentences for configurations, the baseline first, in each measure; the first is what they are about."""
    configurations, *others = measures
    checks = (_single_units, _few_problems, _peaks, _machines, _clocks, _last_steps, _unknown_sampling, _keys)
    notes = [note for check in checks for note in check(configurations)]
    notes += [note for configuration in configurations for note in _equal_seeds(configuration)]
    for base, *arms in [configurations, *others]:
        notes += [note for configuration in (base, *arms) for note in _mixed_sampling(configuration)]
        notes += [caution for arm in arms if (caution := other_sampling(arm, base))]
    return notes


def _single_units(configurations: Sequence[Configuration]) -> list[str]:
    notes = []
    for unit in ("seed", "start"):
        single = [side.name for side in configurations if side.unit == unit and len(side.units) == 1]
        if single:
            notes.append(
                f"One {unit} of {', '.join(single)}: no interval over {unit}s exists. The intervals are for these runs "
                f"only, on other problems of the same kind; another {unit} may reverse the difference."
            )
    return notes


def _few_problems(configurations: Sequence[Configuration]) -> list[str]:
    first = configurations[0]
    sizes = dict(zip(first.benchmarks, first.estimates[0].sizes.tolist(), strict=True))
    return [
        f"{name} has only {size} problem{'s' * (size > 1)}: its intervals are rough."
        for name, size in sizes.items()
        if 0 < size < FEW
    ]


def _equal_seeds(configuration: Configuration) -> list[str]:
    counts = Counter((run.cluster, run.seed) for run in configuration.runs)
    repeated = ", ".join(str(seed) for (_, seed), count in counts.items() if seed is not None and count > 1)
    return [
        f"{configuration.name} has seed {repeated} more than once: the mean of such runs counts as one seed."
    ] * bool(repeated)


def _peaks(configurations: Sequence[Configuration]) -> list[str]:
    base = configurations[0]
    if all(len(configuration.steps) == 1 for configuration in configurations):
        return []
    held_out = all(configuration.is_held_out for configuration in configurations)
    notes = [] if held_out else ["Peaks are chosen and read on the same problems, so they are biased upwards."]
    if base.first_half.all() and len(base.units) == 1 and len(base.steps) > 1:
        notes.append(
            f"{base.name} is one run of which only means were recorded, and its highest evaluation is one that it "
            "reaches by definition. The target is the highest value of its isotonic regression instead."
        )
    return notes


def _machines(configurations: Sequence[Configuration]) -> list[str]:
    machines = {run.machine for configuration in configurations for run in configuration.runs if run.machine}
    names = "; ".join(sorted(machines))
    return [f"The runs were made on different machines ({names}): hours compare those too."] * (len(machines) > 1)


def _clocks(configurations: Sequence[Configuration]) -> list[str]:
    """Configurations without hours, because only some of their runs have times."""
    return [
        f"{side.name}: hours are left out, because only some of its runs have times."
        for side in configurations
        if any(run.clock for run in side.runs) and not all(run.clock for run in side.runs)
    ]


def _last_steps(configurations: Sequence[Configuration]) -> list[str]:
    ends = {configuration.name: configuration.steps[-1] for configuration in configurations}
    listed = ", ".join(f"{name} at {step:g}" for name, step in ends.items())
    return [f"The last evaluations are not at the same step: {listed}."] * (len(set(ends.values())) > 1)


def _keys(configurations: Sequence[Configuration]) -> list[str]:
    """What distinct@K means here: other keys, or keys by which it is pass@K."""
    scores = {configuration.name: _with_distinct(configuration) for configuration in configurations}
    by_name = {name: sorted({str(score.sampling[KEYS]) for score in own}) for name, own in scores.items() if own}
    functions = {function for own in by_name.values() for function in own}
    if len(functions) > 1:
        listed = "; ".join(f"{name} by {' and '.join(own)}" for name, own in by_name.items())
        return [f"distinct@K was counted by different keys ({listed}), so that its differences mean nothing."]
    ways = (own.by_key or () for scored in scores.values() for score in scored for own in (score.counts or {}).values())
    if functions == {ANSWER} and all(len(by_key) <= 1 for by_key in ways):
        return [
            "distinct@K is pass@K here: by the key answer no problem has two right answers. evaluation.keys and "
            "manypaths evaluate --keys name other keys, such as equations."
        ]
    return []


def _with_distinct(configuration: Configuration) -> list[Score]:
    """The evaluations that are compared and have distinct@K, if their keys are known."""
    names = [
        (run, int(step), name)
        for run in configuration.runs
        for step in configuration.steps
        for name in configuration.benchmarks
    ]
    scores = [run.results[step][name] for run, step, name in names]
    return [score for score in scores if KEYS in score.sampling and any("distinct@" in name for name in score.measures)]


# How completions were sampled


def _sampling(configuration: Configuration) -> dict[str, dict[str, list[Any]]]:
    """benchmark -> setting -> its values in the evaluations that are compared, as far as they were recorded."""
    values: dict[str, dict[str, list[Any]]] = {name: {} for name in configuration.benchmarks}
    for name, of_benchmark in values.items():
        for run, step in ((run, int(step)) for run in configuration.runs for step in configuration.steps):
            score = run.results[step][name]
            sampling = score.sampling
            if configuration.measure.name == MAJORITY and score.counts:  # of more votes another one
                numbers = sorted({own.samples for own in score.counts.values()})
                sampling = {**sampling, SAMPLES: numbers[0] if len(numbers) == 1 else numbers}
            greedy = sampling.get("temperature") == 0
            keys = (*SAMPLING, SAMPLES) if configuration.measure.name == MAJORITY else SAMPLING
            for key in [key for key in keys if not (greedy and key == "top_p")]:
                if sampling.get(key) is not None and sampling[key] not in of_benchmark.setdefault(key, []):
                    of_benchmark[key].append(sampling[key])
    return values


def _unknown_sampling(configurations: Sequence[Configuration]) -> list[str]:
    """A caution for configurations without recorded settings, beside others that have them."""
    unknown = [configuration.name for configuration in configurations if not any(_sampling(configuration).values())]
    if not unknown or len(unknown) == len(configurations):
        return []
    return [f"How the completions of {', '.join(unknown)} were sampled is unknown; a difference may be due to that."]


def _mixed_sampling(configuration: Configuration) -> list[str]:
    of_benchmarks = _sampling(configuration).values()
    mixed = {key: values for settings in of_benchmarks for key, values in settings.items() if len(values) > 1}
    listed = "; ".join(f"{key} {_shown(values)}" for key, values in mixed.items())
    return [f"Not all evaluations of {configuration.name} were sampled alike: {listed}."] * bool(mixed)


def other_sampling(configuration: Configuration, base: Configuration) -> str | None:
    """A caution for settings of sampling, or of the problems, that differ from the baseline's; None if none does."""
    differences = {}
    own, others = _sampling(configuration), _sampling(base)
    for name in configuration.benchmarks:
        for key in own[name].keys() & others[name].keys():
            pair = own[name][key], others[name][key]
            if any(value not in pair[1] for value in pair[0]) or len(pair[0]) != len(pair[1]):
                differences[key] = pair
    settings, base_settings = configuration.runs[0].settings, base.runs[0].settings
    for key in sorted(settings.keys() & base_settings.keys()):
        if key.startswith("evaluation.problems.") and settings[key] != base_settings[key]:
            differences[key] = ([settings[key]], [base_settings[key]])
    listed = "; ".join(
        f"{key} {_shown(differences[key][0])} here, {_shown(differences[key][1])} there"
        for key in sorted(differences, key=[*SAMPLING, *sorted(differences)].index)
    )
    if not differences:
        return None
    return f"{configuration.name} was not evaluated like {base.name}: {listed}. A difference may be due to that."


def _shown(values: Sequence[Any]) -> str:
    texts = [json.dumps(value, ensure_ascii=False, default=str) for value in values]
    return " and ".join(text if len(text) <= 60 else f"{text[:57]}..." for text in texts)
