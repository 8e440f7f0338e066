"""How diverse a group is and what diversity did to it: measures only. NaN is an unscored completion, and counts not."""

from __future__ import annotations

import torch
from torch import Tensor

from manypaths.methods.groups import has_nonzero_std, in_float64


def measures(
    raw: Tensor, adjusted: Tensor, similarity: Tensor | None, diagnostics: dict[str, Tensor] | None
) -> dict[str, Tensor]:
    """What is logged of groups, [B] each, of raw and adjusted [B, G] and similarity [B, G, G]; NaN where undefined.

    `diagnostics` are what the reweighter reported about itself (`manypaths.methods.report`), which become
    `diversity/NAME`, NaN for a group that nobody scored; None where there is no reweighter. Raises ValueError for a
    report under a name of those here.
    """
    found = {"groups/zero_std": 1 - has_nonzero_std(raw).float()}
    if similarity is not None:
        found["diversity/similarity"] = pair_similarity(raw, similarity)
        found["diversity/vendi_score"] = vendi_score(raw, similarity)
    if diagnostics is None:
        return found
    found["diversity/share"] = share_of_advantage(raw, adjusted)
    for name, values in diagnostics.items():
        if f"diversity/{name}" in found:
            raise ValueError(f"A reweighter's report must have a name of its own, got {name!r}, which is a measure.")
        per_group = len(values) == len(raw)
        found[f"diversity/{name}"] = values.masked_fill(raw.isnan().all(1), torch.nan) if per_group else values
    return found


def pair_similarity(rewards: Tensor, similarity: Tensor) -> Tensor:
    """Mean similarity of two siblings: [B, G], [B, G, G] -> [B]; NaN for a group without a pair."""
    scored = ~rewards.isnan()
    pairs = (scored.unsqueeze(1) & scored.unsqueeze(2)).triu(1)
    return similarity.masked_fill(~pairs, 0.0).sum((1, 2)) / pairs.sum((1, 2))


def vendi_score(rewards: Tensor, similarity: Tensor) -> Tensor:
    """How many distinct completions a group amounts to, 1 to G: [B, G], [B, G, G] -> [B]; NaN for an empty group.

    The Vendi score (Friedman and Dieng, arXiv 2210.02410, Definition 3.1): exp of the entropy of the eigenvalues of
    similarity / n. Copies of one completion count as 1, n completions of no similarity as n.
    """
    kernel = in_float64(similarity)
    scored = ~rewards.isnan().to(kernel.device)
    kernel = kernel.masked_fill(~(scored.unsqueeze(1) & scored.unsqueeze(2)), 0.0)
    count = scored.sum(1, keepdim=True)
    share = torch.linalg.eigvalsh(kernel).clamp(min=0.0) / count.clamp(min=1)
    number: Tensor = torch.special.entr(share).sum(1).exp()
    return number.masked_fill(count.squeeze(1) == 0, torch.nan).to(similarity.dtype).to(similarity.device)


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
