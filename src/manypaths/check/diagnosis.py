"""All checks of a log, by name."""

from __future__ import annotations

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

TITLES = {
    "flat": "zero-variance groups",
    "cut off": "completions cut off",
    "length": "length with the reward",
    "components": "a reward without accuracy",
    "ceiling": "reward at its ceiling",
    "copies": "copies in a group",
    "entropy": "entropy and diversity",
}


def diagnose(log: Log, settings: Settings | None = None) -> dict[str, Outcome]:
    """The outcome of every check, by the names of `TITLES` and in their order.

    Args:
        log: the log of one training.
        settings: how it sampled; None where nothing is known of that.
    """
    settings = settings or Settings()
    return {
        "flat": flat(log),
        "cut off": cut_off(log, settings),
        "length": length(log),
        "components": components(log),
        "ceiling": ceiling(log),
        "copies": copies(log, settings),
        "entropy": entropy(log),
    }
