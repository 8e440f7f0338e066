"""GAPO (arXiv 2511.12596): rewards that are highest where every valid answer is given equally often."""

from __future__ import annotations

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report
from manypaths.methods.frequency import check_keys, occurrences
from manypaths.methods.verdicts import right_and_wrong

READINGS = ("signed", "absolute")


def gapo(
    rewards: Tensor, correct: Tensor, keys: Tensor, *, valid: float | None = None, reading: str = "signed"
) -> Tensor:
    """Rewards of right completions by how often their answer occurs among the right ones, and -1 for wrong ones.

    GAPO (arXiv 2511.12596), the frequency-aware reward: with L valid answers, n right completions, and f_i of them
    with the key of completion i,

        1 - (f_i / n - 1 / L)  for a right completion,    -1  for a wrong one.

    These replace the rewards: what other reward functions gave, as for form, has no effect.

    Args:
        rewards: [B, G], NaN for an unscored completion. A scored completion of which it is unknown whether it is right
            keeps its reward; the rewards of the others are not used.
        correct: [B, G], 1 for a right (valid) completion, 0 for a wrong one, NaN where that is unknown.
        keys: [B, G], whole numbers; completions of equal keys give the same answer. A right completion without a key
            counts as one answer more, which all such completions share.
        valid: L, the number of valid answers of each problem, a fact of the task. None: unknown or very large, 1 / L
            is 0. In the signed reading it moves the right completions together, against the wrong ones.
        reading: "signed" is the equation above. "absolute" is 1 - |f_i / n - 1 / L|, as two of six descriptions of the
            paper have it; it pays an answer that is rarer than 1 / L less, too. Where no answer is rarer, both are
            equal. It needs `valid`.

    Returns:
        adjusted rewards [B, G], NaN where the reward is NaN. Diagnostic: `key_share` [B, G], f_i / n, NaN where it is
        not right.

    Raises:
        ValueError: for wrong shapes, a verdict that is not 1, 0 or NaN, `valid` below 1, an unknown reading, and the
            absolute one without `valid`.

    Example, three right completions give one answer and one gives another, of two valid ones:
        >>> correct = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]])
        >>> gapo(correct, correct, torch.tensor([[7, 7, 7, 8, 9]]), valid=2)
        tensor([[ 0.7500,  0.7500,  0.7500,  1.2500, -1.0000]])
    """
    check_keys("gapo", rewards, keys)
    right, wrong = right_and_wrong("gapo", rewards, correct)
    if reading not in READINGS:
        raise ValueError(f"gapo's reading must be one of {', '.join(READINGS)}, got {reading!r}.")
    if valid is not None and not valid >= 1:
        raise ValueError(f"gapo's valid must be the number of valid answers, at least 1, or null, got {valid}.")
    if valid is None and reading == "absolute":
        raise ValueError("gapo's reading=absolute must come with valid, the number of valid answers. Set it.")
    share = occurrences(keys, right).to(rewards.dtype) / right.sum(-1, keepdim=True).clamp(min=1)
    report("key_share", share.masked_fill(~right, torch.nan))
    distance = share if valid is None else share - 1 / valid
    adjusted = torch.where(right, 1 - (distance.abs() if reading == "absolute" else distance), rewards)
    return adjusted.masked_fill(wrong, -1.0)
