"""What stands in a comparison, and in which order it is shown."""

from __future__ import annotations

from typing import Any

from manypaths.counts import ACCURACY, AT_K, measure

Comparison = dict[str, Any]  # of `manypaths.comparison.compare.compare`, or a part of it
UNTESTED = ("one seed", "one start", "unknown")  # verdicts
DIFFERENCE, PLAIN_DIFFERENCE = ("better", "worse"), ("higher", "lower")  # verdicts; the latter of a plain number
PLACES = {  # where an endpoint is read -> (part of a compared measure, its key)
    "end": ("against", "last"),
    "peak": ("against", "peak"),
    "equal-accuracy": ("against", "equal_accuracy"),
    "steps": ("to_target", "steps_saved"),
    "hours": ("to_target", "hours_saved"),
}
MET = {  # the strongest primary claim -> verdict
    "better": "helps",
    "not worse": "not worse",
    "equivalent": "equivalent",
}
VERDICTS = (*MET.values(), "harms", "not shown", "not tested")  # on an arm of a protocol
LEAST_STEPS = 4  # evaluations of a path of pass@K over accuracy: it is read on lines between them, and is bent
MANY = 3  # with more configurations than these, a table of verdicts takes the place of their paragraphs


def configurations(comparison: Comparison, name: str | None = None) -> list[Comparison]:
    """The configurations with the numbers of one measure, by default the metric of the comparison; baseline first."""
    name = name or comparison["metric"]
    return [{**configuration, **configuration["measures"][name]} for configuration in comparison["configurations"]]


def heading(name: str) -> str:
    """The title of a measure at the start of a heading; names that a user or a formula has stay as they are."""
    title = measure(name).title
    return title if measure(name).top is None or name.startswith("pass@") else title[:1].upper() + title[1:]


def further_measures(comparison: Comparison) -> list[str]:
    """The measures beside the metric."""
    return [name for name in comparison["measures"] if name != comparison["metric"]]


def has_race(comparison: Comparison) -> bool:
    """Whether a configuration was evaluated more than once; else there are no peaks and no steps to a target."""
    return any(len(configuration["curve"]) > 1 for configuration in configurations(comparison))


def chosen_pass(comparison: Comparison) -> str | None:
    """The pass@K that stands for all: that of the metric or of the protocol, else the one with the largest K.

    None if the evaluations have none in common.
    """
    matches = {
        name: int(match[2]) for name in comparison["measures"] if (match := AT_K.fullmatch(name)) and match[1] == "pass"
    }
    protocol = comparison["protocol"] or {"primary": [], "secondary": []}
    endpoints = [endpoint["metric"] for key in ("primary", "secondary") for endpoint in protocol[key]]
    named = [name for name in (comparison["metric"], *endpoints) if name in matches]
    return named[0] if named else max(matches, key=lambda name: matches[name], default=None)


def traded(comparison: Comparison) -> tuple[str, str] | None:
    """(accuracy, pass@K), the two measures between which diversity trades; None if they were not both recorded."""
    chosen = chosen_pass(comparison)
    return (ACCURACY, chosen) if chosen and ACCURACY in comparison["measures"] else None


def drawn_measures(comparison: Comparison) -> list[str]:
    """The measures whose curves are drawn: the metric, and the other one of accuracy and pass@K."""
    pair = [name for name in (chosen_pass(comparison), ACCURACY) if name in comparison["measures"]]
    return list(dict.fromkeys([comparison["metric"], *pair]))[:2]


def family_size(comparison: Comparison, name: str) -> int:
    """The number of configurations over which the p values of a configuration were corrected."""
    protocol = comparison["protocol"]
    if protocol is None:
        return len(comparison["configurations"]) - 1
    return len(protocol["exploratory"] if name in protocol["exploratory"] else protocol["arms"])


def item_of(metric: str, at: str, arm: Comparison | None) -> Comparison | None:
    """The difference or saving that an endpoint is about; None where an arm has no results for it."""
    if arm is None or metric not in arm["measures"]:
        return None
    part, key = PLACES[at]
    item: Comparison | None = arm["measures"][metric][part].get(key)
    return item
