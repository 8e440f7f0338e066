"""PSR, NSR and W-REINFORCE (arXiv 2506.01347): right and wrong completions, each with a weight of its own."""

from __future__ import annotations

import math

from torch import Tensor

from manypaths.methods.verdicts import right_and_wrong


def psr(rewards: Tensor, correct: Tensor) -> Tensor:
    """Positive sample reinforcement: 1 for a right completion, 0 for a wrong one. No baseline, no division.

    PSR (arXiv 2506.01347). A completion whose verdict is unknown gets 0.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        correct: [B, G], 1, 0, or NaN where the verdict is unknown.

    Returns:
        advantages [B, G].

    Raises:
        ValueError: as `right_and_wrong` does.
    """
    return _weighted("psr", rewards, correct, positive=1.0, negative=0.0)


def nsr(rewards: Tensor, correct: Tensor) -> Tensor:
    """Negative sample reinforcement: 0 for a right completion, -1 for a wrong one. No baseline, no division.

    NSR (arXiv 2506.01347). Arguments, result and errors are those of `psr`.
    """
    return _weighted("nsr", rewards, correct, positive=0.0, negative=1.0)


def w_reinforce(rewards: Tensor, correct: Tensor, *, weight: float = 0.1) -> Tensor:
    """PSR times a weight, and NSR: `weight` for a right completion, -1 for a wrong one. No baseline, no division.

    W-REINFORCE (arXiv 2506.01347), whose lambda is `weight`. Other arguments and the result are those of `psr`.

    Raises:
        ValueError: as `psr` does, and for a weight that is not 0 or more.
    """
    if not 0 <= weight < math.inf:
        raise ValueError(f"w_reinforce's weight must be 0 or more, and finite, got {weight}.")
    return _weighted("w_reinforce", rewards, correct, positive=weight, negative=1.0)


def _weighted(who: str, rewards: Tensor, correct: Tensor, positive: float, negative: float) -> Tensor:
    right, wrong = right_and_wrong(who, rewards, correct)
    return positive * right.to(rewards.dtype) - negative * wrong.to(rewards.dtype)
