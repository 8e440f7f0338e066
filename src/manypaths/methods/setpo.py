"""SetPO (arXiv 2602.01062): advantages with what each completion adds to the diversity of its group."""

from __future__ import annotations

from torch import Tensor

from manypaths.methods.bonus import check_weight, with_bonus
from manypaths.methods.groups import check_group, diagonal, in_float64


def setpo(rewards: Tensor, advantages: Tensor, similarity: Tensor, *, weight: float = 1.0) -> Tensor:
    """Advantages plus `weight` times a completion's marginal contribution to the diversity of its group.

    SetPO (arXiv 2602.01062), Eq. 2 to 4. A group of n scored completions has the diversity

        D = 1/n sum_i g(1/n sum_j s_ij),    g(x) = -log(1 + x),

    and the bonus of completion i is D of the group minus D of the group without i. The bonus is not centred: it is
    about 0 for a copy of another completion, and its mean is not 0. It acts on right and wrong completions alike, and
    in zero-variance groups too.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        advantages: [B, G], the trainer's own.
        similarity: [B, G, G], in [-1, 1]; similarities below 0 count as 0, as in the only public code.
        weight: the lambda of the paper, whose value there we could not find; 1 is that of the public code.

    Returns:
        advantages [B, G], 0 for an unscored completion. The bonus of a group's only scored completion is 0. Diagnostic:
        `setpo` [B, G], the bonus before the weight.

    Raises:
        ValueError: for a weight that is not finite; for rewards and similarities as `mmr` does.

    Example, three completions like one another and a fourth:
        >>> alike, other = [1.0, 0.9, 0.9, 0.2], [0.2, 0.2, 0.2, 1.0]
        >>> similarity = torch.tensor([[alike, [0.9, 1.0, 0.9, 0.2], [0.9, 0.9, 1.0, 0.2], other]])
        >>> setpo(torch.ones(1, 4), torch.zeros(1, 4), similarity)
        tensor([[-0.0224, -0.0224, -0.0224,  0.1554]])
    """
    check_weight("setpo", weight)
    kernel = in_float64(check_group("setpo", rewards, similarity)).clamp_(0.0, 1.0)
    scored = ~rewards.isnan().to(kernel.device)
    count = scored.sum(-1, keepdim=True)
    near = kernel.sum(-1)  # of j: the sum of its similarities
    whole = _diversity(near / count.clamp(min=1), scored)
    rest = (count - 1).clamp(min=1).unsqueeze(-1)
    others = scored.unsqueeze(-2) & ~diagonal(kernel)  # [B, i, j]: j is in the group without i
    without = _diversity((near.unsqueeze(-2) - kernel.mT) / rest, others)
    bonus = (whole.unsqueeze(-1) - without).masked_fill(~scored | (count < 2), 0.0)
    return with_bonus("setpo", rewards, advantages, bonus, weight)


def _diversity(local: Tensor, members: Tensor) -> Tensor:
    """D of sets of completions: the mean of g over the last dimension; `local` has their mean similarities."""
    total = local.log1p().masked_fill_(~members, 0.0).sum(-1)
    return -total / members.sum(-1).clamp(min=1)
