"""All checks of a log, by name."""

from __future__ import annotations

from collections.abc import Callable

from manypaths.check.by_heart import by_heart
from manypaths.check.ceiling import ceiling
from manypaths.check.components import components
from manypaths.check.copies import copies
from manypaths.check.cut_off import cut_off
from manypaths.check.entropy import entropy
from manypaths.check.flat import flat
from manypaths.check.length import length
from manypaths.check.outcome import Outcome
from manypaths.check.settings import Settings
from manypaths.logs import Log

CHECKS: dict[str, Callable[[Log, Settings], Outcome]] = {
    "flat": lambda log, _: flat(log),
    "cut off": cut_off,
    "length": lambda log, _: length(log),
    "components": lambda log, _: components(log),
    "ceiling": lambda log, _: ceiling(log),
    "copies": copies,
    "entropy": lambda log, _: entropy(log),
    "by heart": by_heart,
}
TITLES = {
    "flat": "zero-variance groups",
    "cut off": "completions cut off",
    "length": "length with the reward",
    "components": "a reward without accuracy",
    "ceiling": "reward at its ceiling",
    "copies": "copies in a group",
    "entropy": "entropy beside diversity",
    "by heart": "training problems learnt by heart",
}


def diagnose(log: Log, settings: Settings | None = None) -> dict[str, Outcome]:
    """The outcome of every check, by the names of `CHECKS` and in their order.

    Args:
        log: the log of one training.
        settings: how it sampled and was evaluated; None where nothing is known of that.
    """
    return {name: check(log, settings or Settings()) for name, check in CHECKS.items()}
