"""A protocol: what a comparison is to show, written down before the runs, as YAML.

    name: Diversity on colouring
    baseline: grpo
    arms: [mmr, dra, maxrl]              # the configurations that are compared with it
    primary:                             # an arm succeeds where it meets every one of these
      - {metric: pass@8, claim: better}
      - {metric: accuracy, claim: not worse}
    secondary: [distinct@8, {metric: accuracy, at: steps, claim: better}]
    margin: 2                            # points, for "not worse" and "equivalent"
    correction: holm                     # over the arms; or none
    paired: true                         # null: from ten shared seeds on
    target: 90%-of-rise

An arm that does not meet all primary endpoints harms if the contrary of one of them is shown: a difference in the other
direction, or one beyond the margin to the worse.

The first primary endpoint names the metric of the comparison. An endpoint has a `metric`, where it is read (`at`: end,
peak, equal-accuracy, or the steps or hours to the target) and a `claim`: better, not worse, equivalent; a metric alone
is better at the end. A plain number, such as a logged reward, is better where it is higher. Several primary endpoints
must all be met, so the largest of their p values counts for an arm and no correction over them is needed; Holm's
correction is over all arms of the protocol. What the protocol does not name is exploratory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from manypaths.comparison.contents import MET, PLACES, UNTESTED, Comparison, item_of
from manypaths.comparison.curves import rise_of
from manypaths.comparison.verdicts import ALPHA, corrected
from manypaths.counts import ACCURACY, AT_K
from manypaths.names import nearest
from manypaths.typed import build
from manypaths.yaml_text import from_yaml

P_OF = {"better": "p", "not worse": "p_at_most_worse", "equivalent": "p_equivalent"}  # claim -> key of its p value
CLAIMS = tuple(P_OF)
CORRECTIONS = ("holm", "none")


@dataclass
class Endpoint:
    """A claim about a metric. Raises ValueError for an unknown place or claim, or a margin claim not at the end."""

    metric: str
    at: str = "end"
    claim: str = "better"

    def __post_init__(self) -> None:
        if self.at not in PLACES:
            raise ValueError(f"at must be {', '.join(PLACES)}, got {self.at!r}. {nearest(self.at, PLACES)}")
        if self.claim not in CLAIMS:
            raise ValueError(f"claim must be {', '.join(CLAIMS)}, got {self.claim!r}. {nearest(self.claim, CLAIMS)}")
        if self.claim != "better" and self.at != "end":
            raise ValueError(f"The claim {self.claim!r} must be made at the end, got at: {self.at}. Remove it.")
        if self.at == "equal-accuracy" and AT_K.fullmatch(self.metric) is None:
            raise ValueError(f"At equal accuracy the metric must be pass@K or distinct@K, got {self.metric}. Name one.")

    @property
    def words(self) -> str:
        """The endpoint in words."""
        places = {
            "end": "at the end",
            "peak": "at the peak",
            "steps": "in steps to target",
            "hours": "in hours to target",
            "equal-accuracy": "at equal accuracy",
        }
        return f"{self.metric} {self.claim} {places[self.at]}"


@dataclass
class Protocol:
    """What was decided before the runs. Raises ValueError for settings that contradict one another."""

    name: str
    baseline: str
    arms: list[str]
    primary: list[Any]
    secondary: list[Any] = field(default_factory=list)
    margin: float | None = None
    correction: str = "holm"
    paired: bool | None = None
    target: float | str | None = None

    def __post_init__(self) -> None:
        for key in ("primary", "secondary"):
            setattr(self, key, [_endpoint(item) for item in getattr(self, key)])
        if not self.arms or not self.primary:
            raise ValueError("A protocol must have arms and primary endpoints, got none. Name one of each at least.")
        if self.baseline in self.arms:
            raise ValueError(f"The baseline must not be one of the arms, got {self.baseline!r} in both.")
        if self.correction not in CORRECTIONS:
            raise ValueError(f"correction must be {' or '.join(CORRECTIONS)}, got {self.correction!r}. Name one.")
        if self.margin is None and any(item.claim != "better" for item in (*self.primary, *self.secondary)):
            raise ValueError("The claims not worse and equivalent must have a margin, got none. Add it, in points.")
        check_margin(self.margin)
        rise_of(self.target)

    @property
    def metric(self) -> str:
        """The metric that the comparison is about."""
        return self.metrics[0]

    @property
    def metrics(self) -> list[str]:
        """The metrics of all endpoints, the primary ones first; accuracy last, where one is read at equal accuracy."""
        endpoints = (*self.primary, *self.secondary)
        needed = [ACCURACY] * any(endpoint.at == "equal-accuracy" for endpoint in endpoints)
        return list(dict.fromkeys([*(str(endpoint.metric) for endpoint in endpoints), *needed]))


def check_margin(margin: float | None) -> None:
    """Check a margin in points. Raises ValueError for one that is not above 0 and below 100."""
    if margin is not None and not 0 < margin < 100:
        raise ValueError(f"The margin must be above 0 and below 100 points, got {margin:g}. Pass 2 for 2 points.")


def _endpoint(item: Any) -> Endpoint:
    """An endpoint from YAML: a metric, or a mapping."""
    if isinstance(item, Endpoint):
        return item
    if not isinstance(item, str | dict):
        raise ValueError(f"An endpoint must be a metric, or have metric, at and claim, got {item!r}.")
    endpoint: Endpoint = build(Endpoint, {"metric": item} if isinstance(item, str) else item)
    return endpoint


def read_protocol(path: Path) -> Protocol:
    """Read a protocol.

    Raises:
        ValueError: The file cannot be read, or is not a protocol; the message names it.
    """
    try:
        content = from_yaml(path.read_bytes(), "it")
        _check_keys(content)
        protocol: Protocol = build(Protocol, content)
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is not a protocol: {error}") from error
    return protocol


def _check_keys(content: Any) -> None:
    """Raises ValueError if the content of a protocol is no mapping, lacks a key, or has an unknown one."""
    settings = content if isinstance(content, dict) else {}
    missing = [key for key in ("name", "baseline", "arms", "primary") if settings.get(key) is None]
    if missing:
        raise ValueError(f"it must have name, baseline, arms and primary, got no {', '.join(missing)}. Add them.")
    names = [item.name for item in fields(Protocol)]
    for key in settings:
        if key not in names:
            raise ValueError(f"it has the unknown key {key!r}. {nearest(str(key), names)}")


def answer(protocol: Protocol, comparison: Comparison) -> Comparison:
    """What a comparison answers to its protocol.

    Returns:
        `name`; `met`, the verdict on an arm that meets all primary endpoints; `primary` and `secondary`, the endpoints
        in words, each with `claim`, `metric`, `at` and what every arm gives for it (`arms`: name -> `met`, `p`,
        `p_holm`; `met` is None where it could not be tested); `arms`, name -> the same for all primary endpoints
        together, with the `verdict` (`contents.VERDICTS`) and its `harm`, `p` and `p_holm` of the contrary; `missing`,
        sentences about arms and metrics without results; and `exploratory`, the names of the configurations that are
        no arms.
    """
    by_name = {configuration["name"]: configuration for configuration in comparison["configurations"]}
    arms = {name: by_name.get(name) for name in protocol.arms}
    named = {
        key: [_answered(item, arms, protocol) for item in getattr(protocol, key)] for key in ("primary", "secondary")
    }
    together = {name: _all_of([item["arms"][name]["p"] for item in named["primary"]]) for name in protocol.arms}
    return {
        "name": protocol.name,
        "met": _met_word(protocol),
        **named,
        "arms": _judged(
            _corrected(together, protocol), _corrected(_harms(arms, protocol), protocol), _met_word(protocol)
        ),
        "missing": [f"The arm {name} has no results." for name, arm in arms.items() if arm is None]
        + [
            f"{metric} was not recorded in all runs."
            for metric in protocol.metrics
            if metric not in comparison["measures"]
        ],
        "exploratory": [name for name in by_name if name not in (*protocol.arms, protocol.baseline)],
    }


def _met_word(protocol: Protocol) -> str:
    """The verdict on an arm that meets all primary endpoints: no arm helps that only claims not to be worse."""
    claims = {endpoint.claim for endpoint in protocol.primary}
    return next(word for claim, word in MET.items() if claim in claims)


def _judged(met: Comparison, harm: Comparison, met_word: str) -> Comparison:
    """What every arm gives for all primary endpoints, with its verdict."""
    return {
        name: {
            **answered,
            "verdict": _verdict(answered["met"], harm[name]["met"], met_word),
            "harm": {key: harm[name][key] for key in ("p", "p_holm")},
        }
        for name, answered in met.items()
    }


def _verdict(is_met: bool | None, harms: bool | None, met_word: str) -> str:
    if is_met or harms:
        return met_word if is_met else "harms"
    return "not tested" if is_met is None else "not shown"


def _answered(endpoint: Endpoint, arms: dict[str, Comparison | None], protocol: Protocol) -> Comparison:
    items = {name: item_of(endpoint.metric, endpoint.at, arm) for name, arm in arms.items()}
    p_values = {name: None if item is None else _claim_p(endpoint, item) for name, item in items.items()}
    settings = {"words": endpoint.words, "metric": endpoint.metric, "at": endpoint.at, "claim": endpoint.claim}
    return {**settings, "arms": _corrected(p_values, protocol)}


def _harms(arms: dict[str, Comparison | None], protocol: Protocol) -> dict[str, float | None]:
    """Arm -> the p value of "the contrary of a primary endpoint is true", after Bonferroni over the endpoints."""
    p_values: dict[str, float | None] = {}
    for name, arm in arms.items():
        items = [(endpoint, item_of(endpoint.metric, endpoint.at, arm)) for endpoint in protocol.primary]
        tested = [p for endpoint, item in items if item is not None and (p := _contrary_p(endpoint, item)) is not None]
        p_values[name] = min(1.0, len(items) * min(tested)) if tested else None
    return p_values


def _contrary_p(endpoint: Endpoint, item: Comparison) -> float | None:
    """The p value of the contrary of a claim: worse instead of better, or worse by more than the margin."""
    if item["verdict"] in UNTESTED:
        return None
    p: float | None = item["p" if endpoint.claim == "better" else "p_more_worse"]
    return 1.0 if endpoint.claim == "better" and _is_gain(item) else p


def _is_gain(item: Comparison) -> bool:
    return item["low"] is not None and (item["low"] > 0 or (item["value"] or 0.0) > 0)


def _claim_p(endpoint: Endpoint, item: Comparison) -> float | None:
    """The p value of a claim; 1 of "better" where the difference is in the other direction."""
    if item["verdict"] in UNTESTED:
        return None
    p: float | None = item[P_OF[endpoint.claim]]
    return p if endpoint.claim != "better" or _is_gain(item) else 1.0


def _all_of(p_values: list[float | None]) -> float | None:
    """The p value of several claims together (intersection-union test); None if one could not be tested."""
    tested = [p for p in p_values if p is not None]
    return max(tested) if len(tested) == len(p_values) else None


def _corrected(p_values: dict[str, float | None], protocol: Protocol) -> Comparison:
    """Arm -> `p`, `p_holm`, and whether the claim is `met`."""
    adjusted = corrected(list(p_values.values()), protocol.correction)
    return {
        name: {
            "p": p,
            "p_holm": after if protocol.correction == "holm" else None,
            "met": None if after is None else after <= ALPHA,
        }
        for (name, p), after in zip(p_values.items(), adjusted, strict=True)
    }
