"""What a comparison answers to its protocol: primary and secondary endpoints as sentences and tables."""

from __future__ import annotations

from dataclasses import dataclass, field

from manypaths.comparison.contents import Comparison
from manypaths.comparison.numbers import SAVED, p_value, unit_of, with_interval
from manypaths.comparison.sentences import sentences
from manypaths.comparison.tables import Table, verdict_tables

PLACES = {  # where an endpoint is read -> (part of a measure, its key)
    "end": ("against", "last"),
    "peak": ("against", "peak"),
    "steps": ("to_target", "steps_saved"),
    "hours": ("to_target", "hours_saved"),
}


@dataclass
class Section:
    """The answers under one heading; the heading is empty where there is no protocol."""

    heading: str
    sentences: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def answers(comparison: Comparison) -> list[Section]:
    """The verdicts: under one heading without a protocol, else its primary, its secondary and all other results."""
    protocol = comparison["protocol"]
    if protocol is None:
        return [Section("", sentences(comparison), list(verdict_tables(comparison)))]
    primary = Section(f"Protocol {protocol['name']}: primary", [*protocol["missing"]])
    primary.sentences += [
        f"{arm}: {_met(answer, len(protocol['arms']), 'all primary endpoints are met', 'not all are met')}."
        for arm, answer in protocol["arms"].items()
    ]
    secondary = Section(f"Protocol {protocol['name']}: secondary")
    for section, key in ((primary, "primary"), (secondary, "secondary")):
        if protocol[key]:
            section.tables.append(_endpoint_table(comparison, key))
    others = protocol["exploratory"]
    exploratory = Section("Exploratory: what the protocol does not name")
    exploratory.sentences = sentences(comparison, others)
    exploratory.tables = list(verdict_tables(comparison, others))
    return [primary, *([secondary] if secondary.tables else []), exploratory]


def _endpoint_table(comparison: Comparison, key: str) -> Table:
    """A row for each arm and endpoint."""
    by_name = {configuration["name"]: configuration for configuration in comparison["configurations"]}
    endpoints, arms = comparison["protocol"][key], len(comparison["protocol"]["arms"])
    rows = [["", "endpoint", f"minus {comparison['baseline']}, or saved [95 %]", "answer"]]
    for endpoint in endpoints:
        part, place = PLACES[endpoint["at"]]
        for arm, answer in endpoint["arms"].items():
            measures = by_name[arm]["measures"] if arm in by_name else {}
            item = measures[endpoint["metric"]][part][place] if endpoint["metric"] in measures else None
            difference = "" if item is None else _difference(item, endpoint)
            caution = ", with a caution (see the notes)" if item is not None and item.get("caution") else ""
            rows.append([arm, endpoint["words"], difference, _met(answer, arms, "met", "not met") + caution])
    return f"{key.capitalize()} endpoints", rows


def _difference(item: Comparison, endpoint: Comparison) -> str:
    if endpoint["at"] in ("steps", "hours"):
        return with_interval(item, SAVED, missing="")
    unit = unit_of(endpoint["metric"])
    return f"{with_interval(item, unit, signed=True, missing='')} {unit.of_difference}".rstrip()


def _met(answer: Comparison, arms: int, met: str, not_met: str) -> str:
    """Whether an endpoint is met, with the p value of its claim."""
    if answer["met"] is None:
        return "not tested"
    corrected = answer["p_holm"] is not None and arms > 1
    p = p_value(answer["p_holm"] if corrected else answer["p"]) + f" after Holm over {arms}" * corrected
    return f"{met if answer['met'] else not_met} ({p})"
