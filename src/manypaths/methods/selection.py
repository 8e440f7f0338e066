"""Whom to train on: which `count` of the completions of a group take part in the update, and which are left out.

A rule is a method whose result is bool [B, G]: True where a completion is trained on. In each group it selects `count`
completions, or all scored ones where they are fewer, and never an unscored one, which counts for nobody.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from manypaths.methods.draws import draws
from manypaths.methods.groups import TIED, check_group, check_rewards, device_with_float64, diagonal, in_float64
from manypaths.methods.verdicts import right_and_wrong

Selection = Callable[..., Tensor]  # a function of inputs by name and `count` -> bool [B, G]
LEAST = 2  # the fewest completions that can be compared


def select_mmr(rewards: Tensor, similarity: Tensor, correct: Tensor, *, count: int) -> Tensor:
    """As many right completions as others, and within each kind those that are least like one another.

    Ours, after maximal marginal relevance (Carbonell and Goldstein 1998). The places are shared evenly between the
    right completions and the others. Where one kind has too few, the other kind gets the rest; the spare place of an
    odd `count` goes to the right ones, since these say what to do. Within a kind the completion of the highest reward
    is picked first. Then, again and again, that one is picked whose largest similarity to those already picked of its
    kind is the smallest, whatever its reward,

        argmin over i, not yet picked, of  max over the picked j of s_ij.

    So copies of one completion are picked last. Of several, the one with the smallest sum of similarities to those
    picked is picked, so that several ways get about equally many places; then the one with the smallest sum of
    similarities to all of its kind. What is equal in these too, such as copies, is picked in the order of the group.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        similarity: [B, G, G], cosine similarity within each group, in [-1, 1].
        correct: [B, G], 1 for a right completion; 0, and NaN where that is unknown, for the others.
        count: the completions to select in each group, 2 or more.

    Returns:
        bool [B, G], with min(count, scored completions) True in each group.

    Raises:
        ValueError: for wrong shapes, infinite rewards, a similarity between scored completions that is NaN or outside
            [-1, 1] beyond rounding, a verdict that is not 1, 0 or NaN, and a `count` below 2.

    Example, of three right completions, two of them copies, and a wrong one:
        >>> correct = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
        >>> similarity = torch.eye(4).unsqueeze(0)
        >>> similarity[0, 0, 1] = similarity[0, 1, 0] = 1
        >>> select_mmr(correct, similarity, correct, count=3)
        tensor([[ True, False,  True,  True]])
    """
    _check_count("select_mmr", count)
    similarity = check_group("select_mmr", rewards, similarity).to(device_with_float64(rewards))
    right, _ = (kind.to(similarity.device) for kind in right_and_wrong("select_mmr", rewards, correct))
    if not rewards.numel():
        return torch.zeros_like(rewards, dtype=torch.bool)
    scored = ~rewards.to(similarity.device).isnan()
    kinds = torch.stack([right, scored & ~right])
    alike = similarity.double().clamp(-1.0, 1.0).masked_fill(diagonal(similarity), 0.0)
    picked = _pick(in_float64(rewards).nan_to_num(0.0), alike, kinds, _places(kinds.sum(-1, keepdim=True), count))
    return picked.any(0).to(rewards.device)


def select_max_variance(rewards: Tensor, *, count: int) -> Tensor:
    """The completions whose rewards have the largest variance: some of the highest and the rest of the lowest.

    PODS (arXiv 2504.13818), max-variance down-sampling. A subset of the largest variance consists of the i highest and
    the count - i lowest rewards for some i. So G log G operations for sorting and one for each i find it.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        count: the completions to select in each group, 2 or more.

    Returns:
        bool [B, G], with min(count, scored completions) True in each group. Of subsets of equal variance the one with
        the most of the highest rewards is selected; between equal rewards the order of the group decides.

    Raises:
        ValueError: for wrong or infinite rewards, and a `count` below 2.

    Example:
        >>> select_max_variance(torch.tensor([[0.4, 1.0, 0.5, 0.0, 0.9]]), count=3)
        tensor([[False,  True, False,  True,  True]])
    """
    _check_count("select_max_variance", count)
    check_rewards("select_max_variance", rewards)
    if not rewards.numel():
        return torch.zeros_like(rewards, dtype=torch.bool)
    values = in_float64(rewards)
    scored = ~values.isnan()
    number = scored.sum(-1, keepdim=True)
    order = values.masked_fill(~scored, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    places = number.clamp(max=count)
    highest = torch.arange(min(count, rewards.shape[1]) + 1, device=values.device).expand(rewards.shape[0], -1)
    skipped = number - places  # the rewards between the highest and the lowest
    deviation = (values - values.nanmean(-1, keepdim=True)).nan_to_num(0.0)
    deviation = deviation / deviation.abs().amax(-1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
    sums = [_selected_sum(deviation.pow(power).gather(1, order), highest, skipped) for power in (1, 2)]
    spread = (sums[1] * places - sums[0] ** 2).masked_fill(highest > places, -torch.inf)  # variance times places^2
    best = spread >= spread.amax(-1, keepdim=True) - TIED**2
    most = highest.masked_fill(~best, 0).amax(-1, keepdim=True)
    rank = order.argsort(dim=-1)
    return ((rank < most) | ((rank >= most + skipped) & (rank < number))).to(rewards.device)


def select_random(rewards: Tensor, lengths: Tensor, *, count: int, seed: int = 0) -> Tensor:
    """The control: `count` completions of each group at random, every subset with the same chance.

    If training on a random part is as good as training on the part that another rule selects, that rule adds nothing.

    The draw is a function of the group and `seed` alone, as that of `shuffled`: of its rewards, its lengths and the
    order of its scored completions. So it is equal in every process, in a batch of any size, and in a run that is
    resumed or repeated. Groups that are equal in all of these draw alike. To permute a group is to draw again.

    Args:
        rewards: [B, G], NaN for an unscored completion.
        lengths: [B, G], whole numbers. They only make the draws of groups with equal rewards differ.
        count: the completions to select in each group, 2 or more.
        seed: another number draws anew for every group.

    Returns:
        bool [B, G], with min(count, scored completions) True in each group.

    Raises:
        ValueError: for wrong or infinite rewards, lengths of another shape, and a `count` below 2.

    Example:
        >>> select_random(torch.tensor([[1.0, 0.0, torch.nan, 1.0]]), torch.tensor([[12, 30, 7, 12]]), count=2)
        tensor([[False,  True, False,  True]])
    """
    _check_count("select_random", count)
    check_rewards("select_random", rewards)
    if lengths.shape != rewards.shape:
        got = f"got {list(lengths.shape)}."
        raise ValueError(f"select_random's lengths must be [B, G], here {list(rewards.shape)} as the rewards, {got}")
    scored = ~rewards.isnan()
    drawn = draws({"rewards": rewards, "lengths": lengths}, seed).masked_fill(~scored, 2**62)
    places = drawn.argsort(dim=-1, stable=True).argsort(dim=-1)
    return scored & (places < count)


def _check_count(who: str, count: int) -> None:
    if not isinstance(count, int) or count < LEAST:
        raise ValueError(
            f"{who}'s count must be a whole number of {LEAST} or more, got {count!r}. One completion alone has no "
            "advantage over another."
        )


def _places(sizes: Tensor, count: int) -> Tensor:
    """How many of each kind are selected, [2, B, 1] int64, of how many there are of each, the right ones first."""
    right, others = sizes
    selected = (right + others).clamp(max=count)
    of_right = torch.minimum(right, torch.maximum((selected + 1) // 2, selected - others))
    return torch.stack([of_right, selected - of_right])


def _pick(rewards: Tensor, alike: Tensor, kinds: Tensor, places: Tensor) -> Tensor:
    """Greedy picks in both kinds of all groups at once, one of each kind in a turn.

    Args:
        rewards: [B, G].
        alike: [B, G, G], similarities, with 0 on the diagonal.
        kinds: bool [2, B, G], who belongs to which kind.
        places: [2, B, 1], how many to pick.

    Returns:
        bool [2, B, G].
    """
    crowding = kinds.to(alike.dtype).unsqueeze(-2).matmul(alike).squeeze(-2)
    nearest, total = -rewards.expand_as(crowding), torch.zeros_like(crowding)
    picked, groups = torch.zeros_like(kinds), torch.arange(len(alike), device=alike.device)
    for turn in range(int(places.max())):
        best = kinds & ~picked & (turn < places)
        for values in (nearest, total, crowding):
            lowest = values.masked_fill(~best, torch.inf)
            best = best & (lowest <= lowest.amin(-1, keepdim=True) + TIED)
        picked |= best & (best.long().cumsum(-1) == 1)
        row = alike[groups, best.long().argmax(-1)]
        nearest = torch.maximum(nearest, row) if turn else row
        total = total + row
    return picked


def _selected_sum(ranked: Tensor, highest: Tensor, skipped: Tensor) -> Tensor:
    """The sum over the `highest` first of ranked values and those after the `skipped` next, [B, count + 1]."""
    before = torch.nn.functional.pad(ranked.cumsum(-1), (1, 0))  # [:, k] is the sum of the first k
    after = (highest + skipped).clamp(max=ranked.shape[1])
    return before[:, -1:] - before.gather(1, after) + before.gather(1, highest)
