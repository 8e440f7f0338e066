"""The inputs that each trainer has for the methods of each role; docs/trainers.md shows them in a table.

A role that a trainer does not have is missing here: a reward function cannot replace advantages.
"""

from __future__ import annotations

from collections.abc import Sequence

OF_TEXTS = ("similarity", "keys")  # every trainer has them, from the settings `embedder` and `keys`
ADVANTAGE = ("adjusted", "advantages")  # inputs that exist for the role `advantage` alone

TRAINERS: dict[str, dict[str, tuple[str, ...]]] = {
    "DiverseGRPOTrainer": {
        "reweight": ("rewards", "correct", "progress", "lengths", "logprobs"),
        "advantage": ("rewards", "correct", "progress", "lengths", "logprobs", *ADVANTAGE),
        "replay": ("rewards", "correct", "progress", "lengths", "logprobs"),
    },
    "DiverseReward": {"reweight": ("rewards", "correct", "progress", "lengths")},
    "verl": {
        "reweight": ("rewards", "correct", "progress", "lengths", "logprobs"),
        "advantage": ("rewards", "correct", "progress", "lengths", "logprobs", *ADVANTAGE),
    },
    "slime": {
        "reweight": ("rewards", "correct", "lengths", "logprobs"),
        "advantage": ("rewards", "correct", "lengths", "logprobs", *ADVANTAGE),
    },
}


def available(trainer: str, correct: bool) -> dict[str, Sequence[str]]:
    """The names of the inputs that a trainer has by itself, by role.

    Args:
        trainer: a key of `TRAINERS`.
        correct: whether the setting is there by which a completion is correct.
    """
    return {role: [name for name in names if correct or name != "correct"] for role, names in TRAINERS[trainer].items()}
