"""How diverse a group is and what diversity did to it: measures only. NaN is an unscored completion, and counts not."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor

from manypaths.reweight import Reweighter, adaptive_lambda, has_spread


def measures(
    raw: Tensor, adjusted: Tensor, similarity: Tensor | None, reweight: Reweighter | None
) -> dict[str, Tensor]:
    """What is logged of groups, [B] each, of raw and adjusted [B, G] and similarity [B, G, G]; NaN where undefined."""
    found = {"groups/without_spread": 1 - has_spread(raw).float()}
    if similarity is not None:
        found["diversity/similarity"] = pair_similarity(raw, similarity)
        found["diversity/effective_number"] = effective_number(raw, similarity)
    if reweight is not None:
        found["diversity/share"] = share_of_advantage(raw, adjusted)
        lam = weight_on_reward(reweight, raw)
        found |= {} if lam is None else {"diversity/lam": lam}
    return found


def pair_similarity(rewards: Tensor, similarity: Tensor) -> Tensor:
    """Mean similarity of two siblings: [B, G], [B, G, G] -> [B]; NaN for a group without a pair."""
    scored = ~rewards.isnan()
    pairs = (scored.unsqueeze(1) & scored.unsqueeze(2)).triu(1)
    return similarity.masked_fill(~pairs, 0.0).sum((1, 2)) / pairs.sum((1, 2))


def effective_number(rewards: Tensor, similarity: Tensor) -> Tensor:
    """How many distinct completions a group amounts to, 1 to G: [B, G], [B, G, G] -> [B]; NaN for an empty group.

    The Vendi score (Friedman and Dieng, arXiv 2210.02410, Definition 3.1): exp of the entropy of the eigenvalues of
    similarity / n. Copies of one completion count as 1, n completions of no similarity as n.
    """
    scored = ~rewards.isnan()
    known = similarity.double().masked_fill(~(scored.unsqueeze(1) & scored.unsqueeze(2)), 0.0)
    count = scored.sum(1, keepdim=True)
    share = torch.linalg.eigvalsh(known).clamp(min=0.0) / count.clamp(min=1)
    number: Tensor = torch.special.entr(share).sum(1).exp()
    return number.masked_fill(count.squeeze(1) == 0, torch.nan).to(similarity.dtype)


def share_of_advantage(raw: Tensor, adjusted: Tensor) -> Tensor:
    """How much of the advantage comes from diversity, 0 to 1: raw, adjusted [B, G] -> [B]; NaN where nothing differs.

    The advantage is the distance from the group's mean, scaled. That distance is one of the raw rewards plus one of
    adjusted - raw, and the share is mean |second| / (mean |first| + mean |second|), whatever the scale. 1 is a group
    without spread that diversity alone moves.
    """
    distances = torch.stack([raw, adjusted - raw])
    own, changed = (distances - distances.nanmean(-1, keepdim=True)).abs().nansum(-1)
    share: Tensor = changed / (own + changed)
    return share


def weight_on_reward(reweight: Reweighter, rewards: Tensor) -> Tensor | None:
    """The lambda of a reweighter, [B, G] -> [B]: what its argument `lam` is bound to, adaptive for None.

    None for a reweighter without an argument of that name that has a default.
    """
    lam = inspect.signature(reweight).parameters.get("lam")
    if lam is None or lam.default is lam.empty:
        return None
    if lam.default is None:
        return adaptive_lambda(rewards)
    return torch.as_tensor(lam.default).to(rewards).expand(rewards.shape[0])
