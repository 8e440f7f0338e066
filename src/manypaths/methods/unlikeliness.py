"""The unlikeliness reward (arXiv 2506.02355): the likelier a completion is in its group, the less it earns."""

from __future__ import annotations

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report
from manypaths.methods.groups import TIED, check_rewards
from manypaths.methods.likelihood import log_likelihood


def unlikeliness(
    rewards: Tensor, logprobs: Tensor, lengths: Tensor, *, beta: float = 0.25, per_token: bool = False
) -> Tensor:
    """Rewards times 1 - beta (G - rank) / G, where the likeliest completion of a group has rank 1.

    The unlikeliness reward (arXiv 2506.02355), Eq. 13. All scored completions are ranked, right or wrong, and G is
    their number; the least likely one keeps its reward. Equally likely completions (up to rounding, such as copies)
    share the mean of their ranks; the paper leaves ties open.

    A reward of 0 stays 0. Among negative rewards the least likely completion loses most, so rewards should be 0 or
    more; among rewards for form, wrong completions are ranked into another order, too. Use `among_correct` then.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        logprobs: [B, G], the sum of the log-probabilities of a completion's tokens.
        lengths: [B, G], the number of these tokens.
        beta: what the likeliest completion loses, 0 to 1, but for 1/G of it.
        per_token: True ranks by the mean log-probability per token, as the released code does.

    Returns:
        adjusted rewards [B, G], NaN where the reward is NaN. Diagnostic: `logprob` [B, G], what was ranked.

    Raises:
        ValueError: as `check_rewards` and `log_likelihood` do, and for beta outside [0, 1].

    Example, the likeliest of four right completions first:
        >>> ones, tokens = torch.ones(1, 4), torch.full((1, 4), 10)
        >>> unlikeliness(ones, torch.tensor([[-4.0, -6.0, -8.0, -20.0]]), tokens)
        tensor([[0.8125, 0.8750, 0.9375, 1.0000]])
    """
    check_rewards("unlikeliness", rewards)
    if not 0 <= beta <= 1:
        raise ValueError(f"unlikeliness's beta must be in [0, 1], got {beta}.")
    scored = ~rewards.isnan()
    likelihood = log_likelihood("unlikeliness", scored, logprobs, lengths, per_token)
    report("logprob", likelihood)
    near = TIED * likelihood.abs().clamp(min=1.0)
    scored = scored.to(likelihood.device)
    ascending = likelihood.masked_fill(~scored, torch.inf).sort(-1).values
    less = torch.searchsorted(ascending, likelihood - near)  # how many are less likely, and how many at most as likely
    at_most = torch.searchsorted(ascending, likelihood + near, right=True)
    below = (less + at_most - 1).to(likelihood) / 2  # G - rank: a tie counts 1/2, the completion itself not
    total = scored.sum(-1, keepdim=True).clamp(min=1)
    return rewards * (1 - beta * below / total).to(rewards)
