"""Pass@k training (arXiv 2508.10751): the advantage of a completion in a random subset of k."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report
from manypaths.methods.groups import in_float64
from manypaths.methods.subsets import current_k, share_within
from manypaths.methods.verdicts import right_and_wrong


def passk(
    rewards: Tensor, correct: Tensor, progress: Tensor, *, k: int | Sequence[int] = 4, eps: float = 0.0
) -> Tensor:
    """The analytic advantage of pass@k training: how a subset of k fares that a completion is in.

    Pass@k training (arXiv 2508.10751), Eq. 11-15. A subset of k of the G completions earns 1 if it holds a right one.
    Of n right and w wrong completions rho = 1 - C(w, k) / C(G, k) is the mean over the subsets, and
    sigma = sqrt(rho (1 - rho)). A completion gets the mean over the subsets that it is in, less rho, over sigma:

        right:  (1 - rho) / sigma
        wrong:  (1 - rho - C(w - 1, k - 1) / C(G - 1, k - 1)) / sigma

    The latter fraction is (1 - rho) G / w, so that a wrong completion gets -n/w times what a right one gets.

    A group with nothing right gets 0, and so does one with fewer than k wrong completions, for each of its subsets
    holds a right one: with k = G nothing is ever learnt. k = 1 is GRPO with the population standard deviation. A
    completion whose verdict is unknown gets 0 and is not counted in G.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        correct: [B, G], 1, 0, or NaN where the verdict is unknown.
        progress: the share of the training that is done, 0 to 1.
        k: size of the subsets, or a schedule such as [4, 1], see `manypaths.methods.subsets.current_k`.
        eps: added to sigma; the released code has 1e-6.

    Returns:
        advantages [B, G]; their sum over a group is 0. Diagnostic: `k` [B].

    Raises:
        ValueError: as `right_and_wrong` and `current_k` do, and for an eps that is not 0 or more.

    Example:
        >>> verdicts = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
        >>> passk(verdicts, verdicts, torch.tensor(0.0), k=2)
        tensor([[ 0.8165,  0.8165, -0.4082, -0.4082, -0.4082, -0.4082]])
    """
    if not 0 <= eps < math.inf:
        raise ValueError(f"passk's eps must be 0 or more, and finite, got {eps}.")
    right, wrong = right_and_wrong("passk", rewards, correct)
    size = current_k("passk", k, progress)
    report("k", torch.full(rewards.shape[:1], float(size), device=rewards.device))
    rights, wrongs = (in_float64(mask.sum(-1, keepdim=True)) for mask in (right, wrong))
    none_right = share_within(wrongs, rights + wrongs, size)  # 1 - rho
    spread = ((1 - none_right) * none_right).sqrt()
    credit = torch.where(spread > 0, none_right / (spread + eps), 0.0)
    blame = credit * rights / wrongs.clamp(min=1)
    return torch.where(right, credit.to(rewards), torch.where(wrong, -blame.to(rewards), 0.0))
