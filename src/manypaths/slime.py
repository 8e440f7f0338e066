"""Diversity in slime: a function for `--custom-reward-post-process-path`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from manypaths.embed import Embedder
from manypaths.grouping import group_size
from manypaths.methods import Reweighter
from manypaths.methods.contracts import call_embedder
from manypaths.wrapper import adjust

SCALED = ("grpo", "gspo", "cispo")  # advantage estimators for which slime divides by the deviation of a group
CENTRED = (*SCALED, "reinforce_plus_plus_baseline", "rloo")  # for which it subtracts the mean of a group
UNTOUCHED = ("ppo", "reinforce_plus_plus")


def post_process_rewards(
    args: Any, samples: list[Any], *, reweight: Reweighter, embedder: Embedder
) -> tuple[list[float], list[float]]:
    """slime's (raw rewards, rewards) of a rollout, the latter reweighted and then normalised as slime does it.

    `args` and `samples` are slime's own; bind the rest in a module of yours, `post_process = partial(
    post_process_rewards, reweight=mmr, embedder=SentenceEmbedder("..."))`, and name that. Responses are compared
    without their prompts. A reward of None is unscored, which slime does not know: it ends as 0, GRPO's middle.
    Raises ValueError unless samples come in groups of `args.n_samples_per_prompt` with one `group_index` each, and for
    an advantage estimator of which it is not known how slime normalises for it.
    """
    raw = [sample.get_reward_value(args) for sample in samples]
    size = group_size([sample.group_index for sample in samples], [args.n_samples_per_prompt])
    rewards = torch.tensor([torch.nan if one is None else one for one in raw]).view(-1, size)
    embeddings = call_embedder(embedder, [sample.response for sample in samples]).to(rewards)
    adjusted, _ = adjust(rewards, embeddings, reweight)
    if args.rewards_normalization:
        adjusted = normalise(adjusted, args.advantage_estimator, args.grpo_std_normalization)
    return raw, adjusted.nan_to_num(0.0).flatten().tolist()


def normalise(rewards: Tensor, estimator: str, by_deviation: bool) -> Tensor:
    """What slime does to rewards by group for an advantage estimator: [B, G] -> [B, G]; NaN stays out of it."""
    if estimator in UNTOUCHED:
        return rewards
    if estimator not in CENTRED:
        known = ", ".join((*CENTRED, *UNTOUCHED))
        raise ValueError(f"Diversity in slime knows the advantage estimators {known}; given {estimator!r}.")
    count = (~rewards.isnan()).sum(-1, keepdim=True)
    centred = rewards - rewards.nanmean(-1, keepdim=True)
    if estimator in SCALED and by_deviation:
        deviation = (centred.square().nansum(-1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
        return centred / (deviation + 1e-6)
    return centred * count / (count - 1).clamp(min=1) if estimator == "rloo" else centred
