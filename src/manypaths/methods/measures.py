"""How diverse a group is and what a method changed in it. NaN marks an unscored completion; it is excluded."""

from __future__ import annotations

import torch
from torch import Tensor

from manypaths.methods.groups import diagonal, has_nonzero_std, in_float64
from manypaths.names import DIAGNOSTICS, SHARE, SIMILARITY, VENDI_SCORE, ZERO_STD


def measures(
    raw: Tensor, adjusted: Tensor, similarity: Tensor | None, diagnostics: dict[str, Tensor] | None
) -> dict[str, Tensor]:
    """The metrics of groups, by their names in the logs.

    Args:
        raw, adjusted: [B, G], NaN for an unscored completion; adjusted also where it is not trained on.
        similarity: [B, G, G]; None where there is none.
        diagnostics: what the methods reported about themselves (`manypaths.methods.report`), [B] or [B, G]; None where
            there is no method. NAME becomes `diversity/NAME`, NaN for a completion or group without an adjusted reward;
            whole numbers, such as the order of mmr's picks, have no mean that says anything and are left out.

    Returns:
        name -> [B], or [B, G] for a diagnostic of each completion; NaN where a metric is not defined.
    """
    result = {ZERO_STD: 1 - has_nonzero_std(raw).float()}
    if similarity is not None:
        result[SIMILARITY] = pair_similarity(raw, similarity)
        result[VENDI_SCORE] = vendi_score(raw, similarity)
    if diagnostics is None:
        return result
    result[SHARE] = share_of_advantage(raw, adjusted)
    return result | {DIAGNOSTICS + name: values for name, values in of_scored(diagnostics, adjusted).items()}


def of_scored(diagnostics: dict[str, Tensor], adjusted: Tensor) -> dict[str, Tensor]:
    """Diagnostics [B] or [B, G], NaN for an unscored group or completion; those of any other shape as they are.

    Whole numbers are left out.
    """
    result = {}
    for name, values in diagnostics.items():
        if not values.is_floating_point():
            continue
        unscored = adjusted.isnan().to(values.device)
        unscored = unscored.all(1) if values.dim() == 1 else unscored
        result[name] = values.masked_fill(unscored, torch.nan) if values.shape == unscored.shape else values
    return result


def pair_similarity(rewards: Tensor, similarity: Tensor) -> Tensor:
    """Mean similarity of two siblings: [B, G], [B, G, G] -> [B]; NaN for a group without a pair."""
    scored = ~rewards.isnan()
    pairs = (scored.unsqueeze(1) & scored.unsqueeze(2)).triu(1)
    return similarity.masked_fill(~pairs, 0.0).sum((1, 2)) / pairs.sum((1, 2))


def nearest_sibling(rewards: Tensor, similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Of each completion the sibling that is most like it: [B, G], [B, G, G] -> (similarity, index), both [B, G].

    An unscored completion is nobody's neighbour and has none; where there is none, the similarity is minus infinity.
    """
    unscored = rewards.isnan().to(similarity.device)
    excluded = diagonal(similarity) | unscored.unsqueeze(1) | unscored.unsqueeze(2)
    values, indices = similarity.masked_fill(excluded, -torch.inf).max(-1)
    return values, indices


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
    adjusted - raw, and the share is mean |second| / (mean |first| + mean |second|), whatever the scale. 1 is a
    zero-variance group, whose advantages come from diversity alone. A completion without an adjusted reward, which is
    not trained on, counts in no mean.
    """
    distances = torch.stack([raw.masked_fill(adjusted.isnan(), torch.nan), adjusted - raw])
    own, changed = (distances - distances.nanmean(-1, keepdim=True)).abs().nansum(-1)
    share: Tensor = changed / (own + changed)
    return share
