"""Names: of the metrics that a training logs, with their titles, and of functions. Standard library only.

A metric is logged as `rewards/NAME/mean`, `groups/NAME`, `diversity/NAME` or `seconds/PART`. Those that manypaths
defines are rows of `METRICS`; every other `diversity/NAME` is a diagnostic that a method reports about itself
(`manypaths.methods.report`), and is shown wherever the rows are.
"""

from __future__ import annotations

import difflib
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

SIMILARITY = "diversity/similarity"
VENDI_SCORE = "diversity/vendi_score"
SHARE = "diversity/share"
RAW_REWARD = "diversity/raw_reward"
ADJUSTED_REWARD = "diversity/adjusted_reward"
ZERO_STD = "groups/zero_std"
CLIPPED_RATIO = "completions/clipped_ratio"  # TRL's: share of completions without an end
TRAINED = "update/trained"
PASSED_OVER = "history/passed_over"
SPREAD = "history/spread"
EXPLORE_EASY, EXPLORE_HARD = "history/explore_easy", "history/explore_hard"
KNOWN_PROMPTS = "history/prompts"
ENTROPY = "entropy"
REWARD = "reward"
ACCURACY = "rewards/accuracy/mean"
DIAGNOSTICS = "diversity/"

PARTS = ("sampling", "rewards", "embedding", "reweighting", "update")  # of a training step, in their order
SECONDS = {part: f"seconds/{part}" for part in PARTS}  # part -> the metric that holds its seconds per step


@dataclass(frozen=True)
class Metric:
    """How a metric is shown."""

    title: str  # as it stands inside a sentence; `heading` begins one
    meaning: str
    unit: str = ""  # empty for a number without one
    format: str = ".2f"  # Python's format specification
    starts_with_a_name: bool = False  # which a heading leaves as it is

    @property
    def heading(self) -> str:
        return self.title if self.starts_with_a_name else self.title[:1].upper() + self.title[1:]


METRICS = {  # in the order in which they are shown
    SIMILARITY: Metric("similarity of siblings", "mean cosine similarity of two completions of a group"),
    VENDI_SCORE: Metric("Vendi score", "number of distinct completions that a group amounts to", "completions"),
    SHARE: Metric("advantage from diversity", "share of the advantage that comes from diversity", "share"),
    RAW_REWARD: Metric("raw reward", "mean of the weighted sum of the reward functions"),
    ADJUSTED_REWARD: Metric("adjusted reward", "mean of the rewards after reweighting"),
    ZERO_STD: Metric("zero-variance groups", "share of groups whose raw rewards are all equal", "share"),
    TRAINED: Metric("trained completions", "share of completions that the update runs through the model", "share"),
    PASSED_OVER: Metric("prompts passed over", "prompts of a step that were passed over before sampling", "prompts"),
    SPREAD: Metric("groups right and wrong", "share of the sampled groups with right and wrong completions", "share"),
    EXPLORE_EASY: Metric("exploration, easy", "base exploration rate of prompts that were all right", "share"),
    EXPLORE_HARD: Metric("exploration, hard", "base exploration rate of prompts that were all wrong", "share"),
    KNOWN_PROMPTS: Metric("prompts with a history", "number of prompts with a history", "prompts", ".0f"),
    ENTROPY: Metric("entropy", "mean entropy of the policy over the tokens of the completions", "nats"),
    REWARD: Metric("reward, as adjusted", "mean of the rewards that the update used: the adjusted ones"),
}

REPORTED = {  # what the methods of this package report about themselves
    "count": "DRA: row sum of the similarity",
    "factor": "DARLING: factor on the reward",
    "k": "size of the subsets in pass@k training or PKPO",
    "key_share": "IPS-GRPO, GAPO: share of the group with the same key",
    "lam": "MMR: weight on the reward",
    "largest_share": "UCPO: largest share of what is given out",
    "logdet": "DQO: bonus before its weight",
    "logprob": "unlikeliness: log-likelihood of a completion",
    "novelty": "EVOL-RL: dissimilarity to the other completions",
    "pick": "MMR: place in the order of picking",
    "setpo": "SetPO: bonus before its weight",
    "ways": "rarity: different keys in a group",
}

RENAMED = {  # metric of an earlier version -> its name today
    "groups/without_spread": ZERO_STD,
    "diversity/effective_number": VENDI_SCORE,
}


def metric(name: str) -> Metric:
    """How a metric is shown: the row of `METRICS`, or what follows from its name.

    A diagnostic `diversity/NAME` has the title NAME, with the words of `REPORTED` if it is there, for an option's name
    says little. The mean of a reward function, `rewards/NAME/mean`, has the title NAME, too, and the seconds of a part
    of a step the title of the part. Any other metric has its own name for a title.
    """
    if name in METRICS:
        return METRICS[name]
    parts = name.split("/")
    if len(parts) == 3 and (parts[0], parts[2]) == ("rewards", "mean"):
        return Metric(parts[1], f"mean of the reward function {parts[1]}")
    if len(parts) == 2 and parts[0] == "seconds":
        return Metric(parts[1], f"seconds of a training step spent on {parts[1]}", "s", ".3f")
    if is_diagnostic(name):
        own = name.removeprefix(DIAGNOSTICS)
        words = REPORTED.get(own, "reported by the method")
        return Metric(f"{own} ({words})", f"{words}; mean over groups", starts_with_a_name=True)
    return Metric(name, name)


def is_diagnostic(name: str) -> bool:
    """Whether a metric is one that a method reports about itself: any `diversity/NAME` that `METRICS` does not list."""
    return name.startswith(DIAGNOSTICS) and name != DIAGNOSTICS and name not in METRICS


def shown_metrics(names: Iterable[str]) -> list[str]:
    """The metrics that tables and pages show: the rows of `METRICS` in their order, then diagnostics by name.

    Args:
        names: metrics under their names of today, such as the keys of a line of metrics.jsonl.
    """
    names = set(names)
    return [name for name in METRICS if name in names] + sorted(filter(is_diagnostic, names))


def current(metrics: Mapping[str, T]) -> dict[str, T]:
    """Metrics by name, as an earlier version may have written them -> the same under the names of today.

    Where a name is there in both forms, today's counts.
    """
    if RENAMED.keys().isdisjoint(metrics):
        return dict(metrics)
    return {RENAMED.get(name, name): value for name, value in metrics.items()} | {
        name: metrics[name] for name in RENAMED.values() if name in metrics
    }


def name_of(function: Any) -> str:
    """The name of the function beneath `functools.partial` and wrappers; of a callable object, that of its class."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return str(getattr(function, "__name__", type(function).__name__))


def distinct(names: Sequence[str]) -> list[str]:
    """The names, made different from one another: repetitions of NAME become NAME_2, NAME_3, ..."""
    result: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        free = (other for other in numbered if other not in names and other not in result)
        result.append(name if name not in result else next(free))
    return result


def nearest(word: str, words: Iterable[str]) -> str:
    """A sentence that names the nearest of the words, or all of them when none is near."""
    choices = list(dict.fromkeys(words))
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(choices))}."


def position_of(names: Sequence[str], chosen: str | int, setting: str) -> int:
    """The position of a reward function that a setting names, or gives the position of.

    Raises ValueError for a name or a position that is not there, and for the name of several functions.
    """
    if isinstance(chosen, int) and not isinstance(chosen, bool) and 0 <= chosen < len(names):
        return chosen
    if chosen not in names:
        raise ValueError(
            f"{setting} must be the name of a reward function, {' or '.join(names)}, or its position, 0 to "
            f"{len(names) - 1}, got {chosen!r}."
        )
    positions = [position for position, name in enumerate(names) if name == chosen]
    if len(positions) > 1:
        raise ValueError(
            f"{setting} must name one reward function, got {chosen!r}, the name of {len(positions)}. Give the position "
            f"of the one that is meant, {' or '.join(map(str, positions))}."
        )
    return positions[0]
