"""A comparison as tables of text: every measure, the costs of the training, what differs, and what papers report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from manypaths.comparison.contents import (
    MANY,
    Comparison,
    configurations,
    family_size,
    further_measures,
    has_race,
    heading,
    traded,
)
from manypaths.comparison.numbers import COSTS, SAVED, SHARE, decimals, interval, number, unit_of, with_interval
from manypaths.comparison.published_tables import published_tables
from manypaths.comparison.sentences import (
    brief_verdict,
    goal,
    is_small,
    level,
    no_worse_answer,
    no_worse_claim,
    smallest,
    verdict_heading,
)
from manypaths.counts import ACCURACY, AT_K, measure
from manypaths.names import PARTS, metric, shown_metrics

Table = tuple[str, list[list[str]]]  # title, and rows of cells with the header first
LISTED = 4  # benchmarks up to so many are listed in a title
SAVED_TITLE = "saved [95 %]"


def tables(comparison: Comparison) -> Iterator[Table]:
    """Every table of a comparison but the verdicts; without the columns that a configuration alone leaves empty."""
    is_alone = len(comparison["configurations"]) == 1
    for title, rows in _tables(comparison):
        kept = [at for at in range(len(rows[0])) if not is_alone or any(row[at] for row in rows[1:])]
        yield title, [[row[at] for at in kept] for row in rows]


def _tables(comparison: Comparison) -> Iterator[Table]:
    yield _measure_table(comparison)
    yield from _benchmark_tables(comparison)
    if has_race(comparison):
        yield _race_table(comparison)
    yield from _equal_accuracy_tables(comparison)
    for name in further_measures(comparison):
        yield _further_table(comparison, name)
    yield from _sensitivity_tables(comparison)
    yield from _training_tables(comparison)
    yield from published_tables(comparison)


# Verdicts


def verdict_tables(comparison: Comparison, names: list[str] | None = None) -> Iterator[Table]:
    """The verdicts on many configurations, in the place of a paragraph for each; none where there are few.

    Args:
        names: The configurations; None for all.
    """
    base, *others = configurations(comparison)
    chosen = [configuration for configuration in others if names is None or configuration["name"] in names]
    if len(chosen) <= MANY:
        return
    name = comparison["metric"]
    rows = [_verdict_row(comparison, configuration, base) for configuration in chosen]
    titles = [
        "",
        f"minus {comparison['baseline']}{_of_difference(name)} [95 %]",
        "not seed by seed",
        verdict_heading(comparison),
        no_worse_claim(comparison),
        "smallest shown with power 80 %",
        "steps saved [95 %]",
        verdict_heading(comparison, "steps"),
    ]
    kept = [column for column in range(len(titles)) if column in (0, 1, 3) or any(row[column] for row in rows)]
    yield (f"Verdicts: {measure(name).title} at the end", [[row[column] for column in kept] for row in [titles, *rows]])


def _verdict_row(comparison: Comparison, configuration: Comparison, base: Comparison) -> list[str]:
    unit, last = unit_of(comparison["metric"]), configuration["against"]["last"]
    family, saved = family_size(comparison, configuration["name"]), configuration["to_target"]["steps_saved"]
    small = last["detectable"] is not None and is_small(comparison, configuration, base)
    raced = has_race(comparison)
    steps = [side["to_target"]["steps"]["value"] for side in (configuration, base)]
    return [
        configuration["name"],
        with_interval(last, unit, signed=True),
        interval(last["unpaired"], unit, signed=True) if last["paired"] else "",
        brief_verdict(last, family, unit, comparison["margin"]),
        no_worse_answer(comparison, configuration),
        (smallest(last, comparison["metric"]) or "none") if small else "",
        with_interval(saved, SAVED, missing="not reached" if steps[0] is None else "") if raced else "",
        brief_verdict(saved, family, SAVED, None) if raced and steps != [None, None] else "",
    ]


# Measures


def _of_difference(name: str) -> str:
    word = unit_of(name).of_difference
    return f", {word}" if word else ""


def _on(comparison: Comparison) -> str:
    """The benchmarks and the number of problems, for a title."""
    benchmarks = comparison["benchmarks"]
    number_of = comparison["problems"]
    problems = f" ({number_of} problem{'s' * (number_of > 1)})" if number_of else ""
    if benchmarks in ([ACCURACY], [comparison["metric"]]):
        return problems
    return f" on {', '.join(benchmarks) if len(benchmarks) <= LISTED else f'{len(benchmarks)} benchmarks'}{problems}"


def _measure_table(comparison: Comparison) -> Table:
    """The metric at the end and at the peak, minus the baseline's."""
    name, minus = comparison["metric"], f"minus {comparison['baseline']}{_of_difference(comparison['metric'])}"
    compared, race = configurations(comparison), has_race(comparison)
    peak = [_peak_heading(compared), "step", minus, verdict_heading(comparison, "at the peak")] if race else []
    steps = race or len({configuration["last"]["step"] for configuration in compared}) > 1
    header = ["", "seeds", "at the end [95 %]", *["step"] * steps, minus, *peak]
    rows = []
    for configuration in compared:
        row = [configuration["name"], _seeds(configuration)]
        for when in ("last", "peak") if race else ("last",):
            step = number(configuration[when]["step"], COSTS["steps"])
            row += [with_interval(configuration[when], unit_of(name)), *[step] * steps]
            row.append(_difference(configuration, when, name))
        if race:
            row.append(_verdict_at_the_peak(comparison, configuration))
        rows.append(row)
    return f"{heading(name)}{_on(comparison)}", [header, *rows]


def _peak_heading(compared: list[Comparison]) -> str:
    """The head of the column of peaks; they are not held out where a problem chooses its own peak."""
    held_out = all(configuration["peak"]["held_out"] for configuration in compared)
    return "peak, held out [95 %]" if held_out else "peak [95 %]"


def _seeds(configuration: Comparison) -> str:
    """The number of runs, and of starts or seeds where these are fewer."""
    runs, units = len(configuration["runs"]), configuration["units"]
    if runs == units:
        return str(runs)
    return f"{units} in {runs} runs" if configuration["unit"] == "seed" else f"{runs} of {units} starts"


def _verdict_at_the_peak(comparison: Comparison, configuration: Comparison) -> str:
    if "against" not in configuration:
        return ""
    family = family_size(comparison, configuration["name"])
    return brief_verdict(configuration["against"]["peak"], family, unit_of(comparison["metric"]), None)


def _difference(configuration: Comparison, when: str, name: str) -> str:
    against = configuration.get("against")
    return with_interval(against[when], unit_of(name), signed=True) if against else ""


def _further_table(comparison: Comparison, name: str) -> Table:
    """A measure beside the metric: at the end, minus the baseline's, the peak, and the steps to its target."""
    minus, race = f"minus {comparison['baseline']}{_of_difference(name)} [95 %]", has_race(comparison)
    raced = (
        [_peak_heading(configurations(comparison, name)), f"steps to {level(comparison, name)} [95 %]", SAVED_TITLE]
        if race
        else []
    )
    rows = []
    for configuration in configurations(comparison, name):
        against, unit = configuration.get("against"), unit_of(name)
        family = family_size(comparison, configuration["name"]) if against else 0
        row = [
            configuration["name"],
            with_interval(configuration["last"], unit),
            _difference(configuration, "last", name),
        ]
        row.append(brief_verdict(against["last"], family, unit, comparison["margin"]) if against else "")
        if race:
            saved = configuration["to_target"]["steps_saved"] if against else {"value": None}
            row += [with_interval(configuration["peak"], unit)]
            row += [with_interval(configuration["to_target"]["steps"], COSTS["steps"])]
            row += [with_interval(saved, SAVED, missing="")]
        rows.append(row)
    return f"{heading(name)}{_on(comparison)}", [
        ["", "at the end [95 %]", minus, verdict_heading(comparison), *raced],
        *rows,
    ]


def _benchmark_tables(comparison: Comparison) -> Iterator[Table]:
    """The metric by benchmark; at the peak step only if that is another step than the last for some configuration.

    A row is a configuration or a benchmark, whichever are more.
    """
    compared, benchmarks, name = configurations(comparison), comparison["benchmarks"], comparison["metric"]
    if len(benchmarks) < 2:
        return
    ends = [configuration["last"]["step"] for configuration in compared]
    same = ends == [configuration["peak"]["step"] for configuration in compared]
    for when, place in (("last", "at the end"), ("peak", "at the peak step"))[: 1 if same else 2]:
        rows = [["", *benchmarks]]
        for configuration in compared:
            values = configuration[when]["benchmarks"].values()
            rows.append([configuration["name"], *(number(value, unit_of(name)) for value in values)])
        if len(benchmarks) > len(compared):
            rows = [list(column) for column in zip(*rows, strict=True)]
        yield f"{heading(name)} {place}, by benchmark", rows


def _race_table(comparison: Comparison) -> Table:
    """Steps to the target, and hours if they were measured anywhere."""
    compared = configurations(comparison)
    costs = list(COSTS) if any(configuration["seconds"] for configuration in compared) else ["steps"]
    header = ["", *(title for cost in costs for title in (f"{cost} [95 %]", SAVED_TITLE))]
    header += [f"peak to peak: {cost} saved" for cost in costs]
    rows = [_race_row(comparison, configuration, costs) for configuration in compared]
    return f"{' and '.join(costs).capitalize()} to {goal(comparison)}", [header, *rows]


def _race_row(comparison: Comparison, configuration: Comparison, costs: list[str]) -> list[str]:
    to_target, against = configuration["to_target"], configuration.get("against")
    cells = [configuration["name"]]
    for cost in costs:
        saved = with_interval(to_target[f"{cost}_saved"], SAVED, missing="") if against else ""
        missing = "not reached" if to_target["steps"]["value"] is None else "not measured"
        cells += [with_interval(to_target[cost], COSTS[cost], missing=missing), saved]
    if not against:
        return [*cells, *[""] * len(costs)]
    unit = unit_of(comparison["metric"])
    peak = number(against["peak"]["value"], unit, decimals(against["peak"], unit), signed=True)
    saved_at_peaks = [against[f"peak_{cost}_saved"] for cost in costs]
    difference = f" at {peak} {unit.of_difference}".rstrip()
    return [*cells, *("" if value is None else number(value, SAVED) + difference for value in saved_at_peaks)]


def _equal_accuracy_tables(comparison: Comparison) -> Iterator[Table]:
    """pass@K, and the metric if it is distinct@K, where a configuration and the baseline are as accurate."""
    if (pair := traded(comparison)) is None:
        return
    metric_at_k = [comparison["metric"]] if AT_K.fullmatch(comparison["metric"]) else []
    for name in dict.fromkeys([*metric_at_k, pair[1]]):
        others = configurations(comparison, name)[1:]
        if any(configuration["against"]["equal_accuracy"]["value"] is not None for configuration in others):
            yield _equal_accuracy_table(comparison, name, others)


def _equal_accuracy_table(comparison: Comparison, name: str, others: list[Comparison]) -> Table:
    base, unit = comparison["baseline"], unit_of(name)
    minus = f"{name} minus {base}{_of_difference(name)} [95 %]"
    rows = [["", "accuracy", "step, interpolated", f"that of {base}", minus, verdict_heading(comparison)]]
    for configuration in others:
        item = configuration["against"]["equal_accuracy"]
        if item["value"] is None:
            rows.append([configuration["name"], "", "", "", "not read (see the notes)", ""])
            continue
        steps = [number(round(item[key]), COSTS["steps"]) for key in ("step", "baseline_step")]
        verdict = brief_verdict(item, family_size(comparison, configuration["name"]), unit, None)
        difference = with_interval(item, unit, signed=True)
        rows.append([configuration["name"], number(item["accuracy"], SHARE), *steps, difference, verdict])
    return f"{heading(name)} at equal accuracy{_on(comparison)}", rows


def _sensitivity_tables(comparison: Comparison) -> Iterator[Table]:
    """The lowest and the highest difference in the metric without one of the benchmarks."""
    name, rows = comparison["metric"], []
    for configuration in configurations(comparison)[1:]:
        items = sorted(configuration["against"]["last"]["sensitivity"], key=lambda item: float(item["value"]))
        if items:
            row = [configuration["name"]]
            for item in (items[0], items[-1]):
                row += [with_interval(item, unit_of(name), signed=True), item["without"]]
            rows.append(row)
    if rows:
        title = (
            f"{heading(name)} at the end, minus {comparison['baseline']}{_of_difference(name)}, without one benchmark"
        )
        yield title, [["", "lowest [95 %]", "without", "highest [95 %]", "without"], *rows]


# The training


def _training_tables(comparison: Comparison) -> Iterator[Table]:
    compared = configurations(comparison)
    if timed := [configuration for configuration in compared if configuration["seconds"]]:
        parts = [part for part in (*PARTS, "whole") if any(part in configuration["seconds"] for configuration in timed)]
        rows = [
            [configuration["name"], *(_seconds(configuration["seconds"].get(part)) for part in parts)]
            for configuration in timed
        ]
        yield from _different("Seconds a step", [["", *parts], *rows])
    if names := shown_metrics(name for configuration in compared for name in configuration["metrics"]):
        rows = [
            [configuration["name"], *(_mean(name, configuration["metrics"].get(name)) for name in names)]
            for configuration in compared
        ]
        yield from _different("Means over the training", [["", *(metric(name).title for name in names)], *rows])
    if rows := [
        [configuration["name"], key, *map(_setting, pair)]
        for configuration in compared
        for key, pair in configuration["differs"].items()
    ]:
        base = comparison["baseline"]
        yield f"What differs from {base}", [["", "setting", "here", f"in {base}"], *rows]


def _different(title: str, rows: list[list[str]]) -> Iterator[Table]:
    """A table without the columns that are equal for all configurations; nothing if none is left."""
    head, *body = rows
    kept = [column for column in range(1, len(head)) if len(body) == 1 or len({row[column] for row in body}) > 1]
    if kept:
        yield title, [[row[column] for column in (0, *kept)] for row in rows]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _mean(name: str, curve: list[list[float]] | None) -> str:
    return format(sum(point[1] for point in curve) / len(curve), metric(name).format) if curve else ""


def _setting(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
