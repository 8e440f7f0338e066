"""What a comparison answers to its protocol: primary and secondary endpoints as sentences and tables."""

from __future__ import annotations

from dataclasses import dataclass, field

from manypaths.comparison.contents import VERDICTS, Comparison, item_of
from manypaths.comparison.numbers import SAVED, p_value, unit_of, with_interval
from manypaths.comparison.sentences import sentences
from manypaths.comparison.tables import Table, verdict_tables

MEANING = (  # of the verdicts on arms
    "An arm {met} if it meets all primary endpoints together: the largest of its p values is corrected for the number "
    "of arms, so an arm can meet each endpoint by itself and not all together. It harms if it does not meet them and "
    "is shown to be worse in one endpoint, beyond the margin where the claim has one."
)


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
    primary = Section(
        f"Protocol {protocol['name']}: primary", [_summary(protocol), _meaning(protocol), *protocol["missing"]]
    )
    secondary = Section(f"Protocol {protocol['name']}: secondary")
    for section, key in ((primary, "primary"), (secondary, "secondary")):
        if protocol[key]:
            section.tables.append(_endpoint_table(comparison, key))
    others = protocol["exploratory"]
    exploratory = Section("Exploratory: what the protocol does not name")
    exploratory.sentences = sentences(comparison, others)
    exploratory.tables = list(verdict_tables(comparison, others))
    return [primary, *([secondary] if secondary.tables else []), exploratory]


def _meaning(protocol: Comparison) -> str:
    return MEANING.format(met=protocol["met"] if protocol["met"] == "helps" else f"is {protocol['met']}")


def _summary(protocol: Comparison) -> str:
    """How many arms have which verdict, and which these are, but for those that show nothing."""
    by_verdict: dict[str, list[str]] = {}
    for arm, answer in protocol["arms"].items():
        by_verdict.setdefault(answer["verdict"], []).append(arm)
    parts = [
        f"{verdict} {len(arms)}" + f" ({', '.join(arms)})" * (verdict != "not shown")
        for verdict in VERDICTS
        if (arms := by_verdict.get(verdict))
    ]
    return f"Verdicts on {len(protocol['arms'])} arm{'s' * (len(protocol['arms']) > 1)}: {'; '.join(parts)}."


def _endpoint_table(comparison: Comparison, key: str) -> Table:
    """A row for each arm: of each endpoint the difference and the answer, and of the primary ones the verdict."""
    protocol = comparison["protocol"]
    by_name = {configuration["name"]: configuration for configuration in comparison["configurations"]}
    columns: dict[str, list[str]] = {"": list(protocol["arms"])}
    for endpoint in protocol[key]:
        items = {arm: item_of(endpoint["metric"], endpoint["at"], by_name.get(arm)) for arm in protocol["arms"]}
        columns[_heading(endpoint, comparison["baseline"])] = [_difference(item, endpoint) for item in items.values()]
        columns[endpoint["words"]] = [
            _met(endpoint["arms"][arm]) + ", with a caution (see the notes)" * bool(item and item.get("caution"))
            for arm, item in items.items()
        ]
    if key == "primary":
        columns["verdict"] = [_verdict(answer) for answer in protocol["arms"].values()]
    is_corrected = len(protocol["arms"]) > 1 and comparison["correction"] == "holm"
    title = f"{key.capitalize()} endpoints" + f" (p after Holm over {len(protocol['arms'])} arms)" * is_corrected
    return title, [list(columns), *map(list, zip(*columns.values(), strict=True))]


def _heading(endpoint: Comparison, baseline: str) -> str:
    """The head of a column of differences."""
    if endpoint["at"] in ("steps", "hours"):
        return f"{endpoint['at']} saved to the target of {endpoint['metric']} [95 %]"
    word, place = unit_of(endpoint["metric"]).of_difference, " at the peak" * (endpoint["at"] == "peak")
    return f"{endpoint['metric']}{place} minus {baseline}{f', {word}' if word else ''} [95 %]"


def _difference(item: Comparison | None, endpoint: Comparison) -> str:
    if item is None:
        return ""
    if endpoint["at"] in ("steps", "hours"):
        return with_interval(item, SAVED, missing="not reached")
    return with_interval(item, unit_of(endpoint["metric"]), signed=True, missing="")


def _met(answer: Comparison) -> str:
    """Whether an endpoint is met, with the p value of its claim."""
    if answer["met"] is None:
        return "not tested"
    return f"{'met' if answer['met'] else 'not met'} ({_p(answer)})"


def _verdict(answer: Comparison) -> str:
    """The verdict on an arm, with the p value on which it rests."""
    if answer["verdict"] == "not tested":
        return "not tested"
    return f"{answer['verdict']} ({_p(answer['harm'] if answer['verdict'] == 'harms' else answer)})"


def _p(answer: Comparison) -> str:
    return p_value(answer["p"] if answer["p_holm"] is None else answer["p_holm"])
