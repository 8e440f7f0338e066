"""Verdicts of a group: which completions are right, and which are wrong."""

from __future__ import annotations

from torch import Tensor

from manypaths.methods.groups import check_rewards


def right_and_wrong(who: str, rewards: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """The right and the wrong completions. An unscored completion is neither, nor is one whose verdict is unknown.

    Args:
        who: the method, for messages.
        rewards: [B, G], NaN for an unscored completion.
        correct: [B, G], 1 for a right completion, 0 for a wrong one, NaN where that is unknown.

    Returns:
        (right, wrong), bool [B, G].

    Raises:
        ValueError: for rewards as of `check_rewards`, for another shape of `correct`, and for a scored completion whose
            verdict is another number: a reward is no verdict.
    """
    check_rewards(who, rewards)
    if correct.shape != rewards.shape:
        raise ValueError(f"{who}'s correct must be [B, G], here {list(rewards.shape)}, got {list(correct.shape)}.")
    scored = ~rewards.isnan()
    right, wrong = scored & (correct == 1), scored & (correct == 0)
    if (other := scored & ~right & ~wrong & ~correct.isnan()).any():
        got = correct[other][0].item()
        raise ValueError(f"{who}'s correct must be 1, 0, or NaN for an unknown verdict, got {got:g}. Pass verdicts.")
    return right, wrong
