"""PKPO (arXiv 2505.15201): weights whose policy gradient is that of the expected best reward of k completions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from manypaths.methods.diagnostics import report
from manypaths.methods.groups import check_rewards, in_float64
from manypaths.methods.subsets import current_k, share_within

ESTIMATORS = ("sloo_minus_one", "sloo", "s")


def pkpo(rewards: Tensor, progress: Tensor, *, k: int | Sequence[int] = 4, estimator: str = "sloo_minus_one") -> Tensor:
    """What a completion adds to the best reward of a random subset of k, for any real rewards.

    PKPO (arXiv 2505.15201). With I a subset of k of the G completions, max(I) its highest reward, and the sums over all
    subsets I that hold completion i:

        s               sum of max(I) / C(G, k)                                                        (Eq. 19)
        sloo            s_i - k/(G - 1) times the mean of max over the subsets of k without i          (Eq. 29)
        sloo_minus_one  sum of (max(I) - max(I without i)) / C(G, k)                                   (Eq. 33)

    All three have the same expected gradient; the last has the least variance and is never negative. They are computed
    from the sorted rewards, without enumeration and without differences of large sums.

    With k = 1 the last is not defined, for there is no I without i. Here it is then the reward less the mean of the
    others, over G. A group with fewer than k scored completions has no subset, and gets 0; so does one with no more
    than k where the estimator is sloo.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        progress: the share of the training that is done, 0 to 1.
        k: size of the subsets, or a schedule such as [4, 1], see `manypaths.methods.subsets.current_k`.
        estimator: one of `ESTIMATORS`.

    Returns:
        advantages [B, G], which the paper sums, not averages, over a group: about k/G of the rewards' size. Only under
        sloo_minus_one with k = 1 is their sum 0. Diagnostic: `k` [B].

    Raises:
        ValueError: as `check_rewards` and `current_k` do, and for an unknown estimator.

    Example:
        >>> pkpo(torch.tensor([[0.0, 0.2, 0.5, 1.0]]), torch.tensor(0.0), k=2)
        tensor([[0.0000, 0.0333, 0.1333, 0.3833]])
    """
    check_rewards("pkpo", rewards)
    if estimator not in ESTIMATORS:
        raise ValueError(f"pkpo's estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}.")
    size = current_k("pkpo", k, progress)
    report("k", torch.full(rewards.shape[:1], float(size), device=rewards.device))
    ordered, order = in_float64(rewards.masked_fill(rewards.isnan(), torch.inf)).sort(-1)
    scored = ordered < torch.inf
    ordered = ordered.masked_fill(~scored, 0.0)
    count = in_float64(scored.sum(-1, keepdim=True))
    if estimator == "sloo_minus_one":
        weights = _difference_to_the_others(ordered, count, size)
    else:
        weights = _best_with(ordered, count, size)
        if estimator == "sloo":
            weights = weights - size / (count - 1).clamp(min=1) * _best_without(ordered, count, size)
    needs_another = estimator == "sloo" or (estimator == "sloo_minus_one" and size == 1)
    weights = weights.masked_fill(~scored | (count < size + needs_another), 0.0)
    return torch.zeros_like(weights).scatter(-1, order, weights).to(rewards)


def _difference_to_the_others(ordered: Tensor, count: Tensor, k: int) -> Tensor:
    """Eq. 33. In the subsets of which i is the best, the second best is what is left of it.

    Of the differences between neighbours in the order, the one below place l counts for every i from l on, in the
    subsets whose other k - 1 lie below l: C(l, k - 1) / C(count, k) of all.
    """
    if k == 1:
        others = (ordered.sum(-1, keepdim=True) - ordered) / (count - 1).clamp(min=1)
        return (ordered - others) / count.clamp(min=1)
    below = torch.arange(ordered.shape[-1], dtype=ordered.dtype, device=ordered.device)
    steps = ordered.diff(dim=-1, prepend=ordered[..., :1])
    share = share_within(below, count - 1, k - 1) * k / count.clamp(min=1)
    return (steps * share).cumsum(-1)


def _best_with(ordered: Tensor, count: Tensor, k: int) -> Tensor:
    """Eq. 19: i is the best of C(i, k - 1) subsets, and a better j of C(j - 1, k - 2) that hold i."""
    below = torch.arange(ordered.shape[-1], dtype=ordered.dtype, device=ordered.device)
    own = share_within(below, count - 1, k - 1) * k / count.clamp(min=1) * ordered
    if k == 1:
        return own
    pairs = k * (k - 1) / (count * (count - 1)).clamp(min=1)
    return own + _sum_after(share_within(below - 1, count - 2, k - 2) * pairs * ordered)


def _best_without(ordered: Tensor, count: Tensor, k: int) -> Tensor:
    """The mean of max over the subsets of k without i: without it, each better j has one place less below it."""
    below = torch.arange(ordered.shape[-1], dtype=ordered.dtype, device=ordered.device)
    share = k / (count - 1).clamp(min=1)
    worse = share_within(below, count - 2, k - 1) * share * ordered
    better = share_within(below - 1, count - 2, k - 1) * share * ordered
    return _sum_before(worse) + _sum_after(better)


def _sum_before(values: Tensor) -> Tensor:
    """For each place the sum of the values before it."""
    return torch.nn.functional.pad(values.cumsum(-1), (1, 0))[..., :-1]


def _sum_after(values: Tensor) -> Tensor:
    return _sum_before(values.flip(-1)).flip(-1)
