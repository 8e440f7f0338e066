"""The difference between a configuration and the baseline, in one measure: its interval, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy

from manypaths.comparison.configurations import Configuration
from manypaths.comparison.curves import peak
from manypaths.statistics import (
    Array,
    Estimate,
    detectable,
    estimate,
    interval,
    p_at_most_worse,
    p_more_worse,
    p_value,
    p_within,
    probability_of_improvement,
)

Comparison = dict[str, Any]
SHARED = 10  # units; from so many on, those of equal name are paired


def pair_up(
    configuration: Configuration, base: Configuration, wish: bool | None = None
) -> tuple[Configuration, Configuration, bool]:
    """Two configurations with their units in the same order, if differences are to be taken unit by unit.

    Args:
        wish: True pairs the units that both have, if these are two or more, and leaves out the others; False pairs
            nothing; None pairs if `are_shared`, and all runs have a recipe, because runs of one seed have the same
            order of data by recipes that do not differ in it. If they do, pairing costs width and stays correct.

    Returns:
        The two, and whether they are paired; as they are if not. Seeds are never paired with starts.
    """
    shared = sorted(_shared_units(configuration, base))
    is_usual = are_shared(configuration, base) and all(
        run.settings for side in (configuration, base) for run in side.runs
    )
    if wish is False or len(shared) < 2 or (wish is None and not is_usual):
        return configuration, base, False
    own, others = (_with_units(side, shared) for side in (configuration, base))
    return own, others, True


def are_shared(configuration: Configuration, base: Configuration) -> bool:
    """Whether both have the same units, and these are `SHARED` or more."""
    return len(_shared_units(configuration, base)) == max(len(configuration.units), len(base.units), SHARED)


def _shared_units(configuration: Configuration, base: Configuration) -> set[str]:
    """The names of the units that both have; none if one has seeds and the other starts."""
    names = set(configuration.units) & set(base.units) if configuration.unit == base.unit else set()
    return {name for name in names if name is not None}


def _with_units(configuration: Configuration, units: Sequence[str]) -> Configuration:
    rows = [configuration.units.index(unit) for unit in units]
    return replace(
        configuration, units=list(units), values=configuration.values[rows], seconds=configuration.seconds[rows]
    )


def against(configuration: Configuration, base: Configuration, wish: bool | None, margin: float | None) -> Comparison:
    """The differences at the end and at the peaks, in the unit of the measure.

    Args:
        wish: As `pair_up` takes it.
        margin: The largest difference that does not matter, as a share; None for none, and of a measure that is no
            share it is not used.

    Returns:
        `last`, `peak`, `peak_steps_saved`, `peak_hours_saved` and `probability_of_improvement`; see `_last`.
    """
    own, others, paired = pair_up(configuration, base, wish)
    (best, index), (base_best, base_index) = peak(own), peak(others)
    return {
        "last": _last(own, others, paired, margin),
        "peak": bounds(own.scale, best, base_best, paired) | {"p": finite(p_value(best, base_best, paired=paired))},
        "peak_steps_saved": _saved(own.steps[index], others.steps[base_index]),
        "peak_hours_saved": _saved(own.seconds.mean(0)[index], others.seconds.mean(0)[base_index]),
        "probability_of_improvement": finite(probability_of_improvement(scores(configuration), scores(base))),
    }


def _last(own: Configuration, others: Configuration, paired: bool, margin: float | None) -> Comparison:
    """The difference at the end.

    `value`, `low`, `high`; `p`, the smallest level of significance at which it differs from 0; `paired`, and with it
    the number of `pairs` and the interval that they would have `unpaired`; `p_equivalent`, `p_at_most_worse` and
    `p_more_worse`, the same for a difference within the margin, for one above minus the margin and for one below it,
    None without a margin; the smallest difference that is `detectable` with a power of 80 %; and `sensitivity`, the
    difference without each benchmark.
    """
    pair, scale = (own.estimates[-1], others.estimates[-1]), own.scale
    result = bounds(scale, *pair, paired)
    result["p"] = finite(p_value(*pair, paired=paired))
    result["paired"] = paired
    if paired:
        result["pairs"] = len(own.units)
        result["unpaired"] = {key: value for key, value in bounds(scale, *pair).items() if key != "value"}
    is_usable = margin is not None and own.measure.is_share and result["low"] is not None
    result["p_equivalent"] = p_within(*pair, margin or 0.0, paired=paired) if is_usable else None
    result["p_at_most_worse"] = p_at_most_worse(*pair, margin or 0.0, paired=paired) if is_usable else None
    result["p_more_worse"] = p_more_worse(*pair, margin or 0.0, paired=paired) if is_usable else None
    result["detectable"] = finite(scale * detectable(*pair, paired=paired))
    result["sensitivity"] = [
        {"without": name, **bounds(scale, _without(own, number), _without(others, number), paired)}
        for number, name in enumerate(own.benchmarks)
        if len(own.benchmarks) > 2
    ]
    return result


def _without(configuration: Configuration, benchmark: int) -> Estimate:
    """The mean at the end over the other benchmarks."""
    kept = configuration.blocks != benchmark
    blocks = configuration.blocks[kept]
    others, errors = (
        numpy.delete(of_benchmarks, benchmark) for of_benchmarks in (configuration.means_only, configuration.errors[-1])
    )
    noise = math.sqrt((errors**2).sum()) / len(errors)
    cells = configuration.values[:, -1, kept]
    is_bounded = configuration.measure.top is not None
    return estimate(cells, blocks - (blocks > benchmark), others, noise, bounded=is_bounded)


def bounds(scale: float, mean: Estimate, base: Estimate | None = None, paired: bool = False) -> Comparison:
    """A mean, or its difference to that of the baseline, with its interval, in the unit of the measure."""
    low, high = interval(mean, base, paired=paired)
    value = mean.value - (base.value if base else 0.0)
    return {"value": scale * value, "low": finite(scale * low), "high": finite(scale * high)}


def scores(configuration: Configuration) -> Array:
    """[S, B] means of the units at the end."""
    blocks = range(len(configuration.benchmarks))
    return numpy.stack([configuration.values[:, -1, configuration.blocks == block].mean(1) for block in blocks], 1)


def _saved(own: float, others: float) -> float | None:
    """The share that a peak saves; None if one of the peaks is before training."""
    return finite(1 - own / others) if own and others else None


def finite(value: float) -> float | None:
    """The value as JSON can hold it; None for infinity and NaN."""
    return float(value) if math.isfinite(value) else None
