"""UCPO (arXiv 2605.00365): the advantage of right completions, moved towards those that the policy finds unlikely."""

from __future__ import annotations

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report
from manypaths.methods.groups import in_float64
from manypaths.methods.likelihood import log_likelihood
from manypaths.methods.verdicts import right_and_wrong

LEAST_SHARE = 1e-6  # of the probability of the right completions, for one of them, in the released code


def ucpo(
    advantages: Tensor, correct: Tensor, logprobs: Tensor, lengths: Tensor, *, tau: float = 0.2, per_token: bool = False
) -> Tensor:
    """A part tau of what the right completions of a group have together, given out in proportion to 1 / probability.

    UCPO (arXiv 2605.00365), Eq. 16, 47 and 51. With q_i the policy's probability of a right completion, of those of
    all n right ones, and v_i = 1 / q_i, a right completion gets

        n A+ ((1 - tau) / n + tau v_i / sum of v),

    so that the n right ones keep their sum n A+. Where their advantages differ, which the paper does not have, each
    keeps 1 - tau of its own, and tau times their sum is given out. Wrong completions and those of an unknown verdict
    keep theirs, and so does a group with fewer than two right ones, or whose right ones have no positive sum.

    Args:
        advantages: [B, G], the trainer's own or another method's.
        correct: [B, G], 1, 0, or NaN where the verdict is unknown.
        logprobs: [B, G], the sum of the log-probabilities of a completion's tokens.
        lengths: [B, G], the number of these tokens.
        tau: 0 changes nothing; with 1 all is given out anew.
        per_token: True takes the mean log-probability per token in the place of the sum, and no share of probability
            below 1e-6, as the released code does. With the sum, a completion that is less likely than the other right
            ones by a factor of 100 takes nearly all that is given out.

    Returns:
        advantages [B, G]. Diagnostic: `largest_share` [B], the largest part of what is given out, NaN in groups that
        keep their advantages.

    Raises:
        ValueError: as `right_and_wrong` and `log_likelihood` do, and for tau outside [0, 1].

    Example, two right completions of which the second is a third as likely, and two wrong ones:
        >>> own, verdicts = torch.tensor([[0.5, 0.5, -0.5, -0.5]]), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
        >>> likelihood, tokens = torch.tensor([[0.3, 0.1, 0.2, 0.2]]).log(), torch.full((1, 4), 10)
        >>> ucpo(own, verdicts, likelihood, tokens)
        tensor([[ 0.4500,  0.5500, -0.5000, -0.5000]])
    """
    if not 0 <= tau <= 1:
        raise ValueError(f"ucpo's tau must be in [0, 1], got {tau}.")
    right, _ = right_and_wrong("ucpo", advantages, correct)
    likelihood = log_likelihood("ucpo", right, logprobs, lengths, per_token)
    right = right.to(likelihood.device)
    if per_token:
        probability = likelihood.masked_fill(~right, -torch.inf).softmax(-1).clamp(min=LEAST_SHARE)
        likelihood = probability.log()
    share = (-likelihood).masked_fill(~right, -torch.inf).softmax(-1)
    own = in_float64(advantages).masked_fill(~right, 0.0)
    total = own.sum(-1, keepdim=True)
    moved = (right.sum(-1, keepdim=True) > 1) & (total > 0)
    report("largest_share", torch.where(moved, share, torch.nan).amax(-1))
    mixed = (1 - tau) * own + tau * total * share
    return torch.where((right & moved).to(advantages.device), mixed.to(advantages), advantages)
