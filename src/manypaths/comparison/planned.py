"""What a comparison answers to its protocol: primary and secondary endpoints as sentences and tables.

Up to `BESIDE` endpoints stand side by side in one table, with a row for each arm. More would be wider than a screen, so
each endpoint then has a table of its own, and a sentence names the arms that meet it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from manypaths.comparison.contents import VERDICTS, Comparison, item_of
from manypaths.comparison.numbers import SAVED, p_value, unit_of, with_interval
from manypaths.comparison.sentences import sentences
from manypaths.comparison.tables import Table, verdict_tables

BESIDE = 2
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
    primary = Section(f"Primary endpoints: {protocol['name']}")
    primary.sentences = [_summary(protocol), _meaning(protocol), *protocol["missing"], *_met_by(protocol, "primary")]
    primary.tables = _endpoint_tables(comparison, "primary")
    secondary = Section(f"Secondary endpoints: {protocol['name']}", _met_by(protocol, "secondary"))
    secondary.tables = _endpoint_tables(comparison, "secondary")
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


def _met_by(protocol: Comparison, key: str) -> list[str]:
    """Which arms meet each endpoint, where each has a table of its own."""
    sentences, arms = [], protocol["arms"]
    for endpoint in protocol[key] if len(protocol[key]) > BESIDE else ():
        met = [arm for arm in arms if endpoint["arms"][arm]["met"]]
        which = f"{len(met)} of {len(arms)} arms ({', '.join(met)})" if met else f"none of {len(arms)} arms"
        sentences.append(f"{endpoint['words']}: met by {which}.")
    return sentences


def _endpoint_tables(comparison: Comparison, key: str) -> list[Table]:
    """The primary or the secondary endpoints in one table, or in one for each; the verdicts are with the primary ones.

    A row is an arm. Of an endpoint it has the difference from the baseline and the answer.
    """
    protocol = comparison["protocol"]
    endpoints, arms = protocol[key], list(protocol["arms"])
    is_corrected = len(arms) > 1 and comparison["correction"] == "holm"
    corrected = f" (p after Holm over {len(arms)} arms)" * is_corrected
    verdicts = {"verdict": [_verdict(answer) for answer in protocol["arms"].values()]} if key == "primary" else {}
    if not endpoints:
        return []
    if len(endpoints) <= BESIDE:
        together: dict[str, list[str]] = {}
        for endpoint in endpoints:
            differences, met = _cells(comparison, endpoint)
            together |= {_named_heading(comparison, endpoint): differences, endpoint["words"]: met}
        return [_table(f"{key.capitalize()} endpoints{corrected}", arms, together | verdicts)]
    tables = [_table(f"Verdicts on the arms{corrected}", arms, verdicts)] if verdicts else []
    for endpoint in endpoints:
        differences, met = _cells(comparison, endpoint)
        title = f"{key.capitalize()} endpoint: {endpoint['words']}{corrected}"
        tables.append(_table(title, arms, {_heading(comparison, endpoint): differences, "met": met}))
    return tables


def _table(title: str, arms: list[str], columns: dict[str, list[str]]) -> Table:
    return title, [["", *columns], *map(list, zip(arms, *columns.values(), strict=True))]


def _heading(comparison: Comparison, endpoint: Comparison) -> str:
    """The head of a column of differences under a title that names the metric."""
    if endpoint["at"] in ("steps", "hours"):
        return f"{endpoint['at']} saved [95 %]"
    word = unit_of(endpoint["metric"]).of_difference
    return f"minus {comparison['baseline']}{f', {word}' if word else ''} [95 %]"


def _named_heading(comparison: Comparison, endpoint: Comparison) -> str:
    """The head of a column of differences, with the name of the metric."""
    if endpoint["at"] in ("steps", "hours"):
        return f"{endpoint['at']} saved to the target of {endpoint['metric']} [95 %]"
    place = {"peak": " at the peak", "equal-accuracy": " at equal accuracy"}.get(endpoint["at"], "")
    return f"{endpoint['metric']}{place} {_heading(comparison, endpoint)}"


def _cells(comparison: Comparison, endpoint: Comparison) -> tuple[list[str], list[str]]:
    """Of each arm the difference from the baseline in an endpoint, and whether it meets the endpoint."""
    by_name = {configuration["name"]: configuration for configuration in comparison["configurations"]}
    items = {arm: item_of(endpoint["metric"], endpoint["at"], by_name.get(arm)) for arm in endpoint["arms"]}
    met = [
        _met(endpoint["arms"][arm]) + ", with a caution (see the notes)" * bool(item and item.get("caution"))
        for arm, item in items.items()
    ]
    return [_difference(item, endpoint) for item in items.values()], met


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
