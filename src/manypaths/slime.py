"""Diversity in slime: a function for `--custom-reward-post-process-path`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from manypaths.completion_inputs import REMEDIES, CompletionInputs, is_correct
from manypaths.embed import Embedder
from manypaths.grouping import group_size
from manypaths.keys import Keys
from manypaths.messages import prompt_text
from manypaths.methods import Reweighter
from manypaths.methods.bind import adjust

SCALED = ("grpo", "gspo", "cispo")  # advantage estimators for which slime divides by the deviation of a group
CENTRED = (*SCALED, "reinforce_plus_plus_baseline", "rloo")  # for which it subtracts the mean of a group
UNTOUCHED = ("ppo", "reinforce_plus_plus")


def post_process_rewards(
    args: Any,
    samples: list[Any],
    *,
    reweight: Reweighter,
    embedder: Embedder | None = None,
    keys: Keys | None = None,
    correct: str | None = None,
) -> tuple[list[float], list[float]]:
    """Rewards of a rollout, reweighted and then normalised as slime does it.

    Bind what is not slime's in a module of yours, `post_process = partial(post_process_rewards, reweight=mmr,
    embedder=SentenceEmbedder("..."))`, and name that. Responses are compared without their prompts. A reward of None is
    unscored, which slime does not know: it ends as 0, the middle of GRPO.

    Args:
        args, samples: slime's own.
        reweight, embedder, keys: as in `manypaths.trl.DiverseGRPOTrainer`.
        correct: "reward" says that a response is correct where slime's reward is above 0.5, for methods with the input
            `correct`.

    Returns:
        slime's (raw rewards, rewards), one each for every sample.

    Raises:
        ValueError: unless samples come in groups of `args.n_samples_per_prompt` with one `group_index` each; for a
            method whose inputs are not all there; and for an advantage estimator of which it is not known how slime
            normalises for it.
    """
    if correct not in (None, "reward"):
        raise ValueError(f"correct must be 'reward', the only one that slime has, got {correct!r}.")
    available = ("rewards", "lengths", *(("correct",) if correct else ()))
    of_texts = CompletionInputs(
        embedder,
        keys,
        methods={"reweight": reweight},
        available={"reweight": available},
        remedies=REMEDIES | {"correct": "Pass correct='reward'.", "advantages": "slime computes them afterwards."},
    )
    raw = [sample.get_reward_value(args) for sample in samples]
    size = group_size([sample.group_index for sample in samples], [args.n_samples_per_prompt])
    scores = [torch.nan if reward is None else reward for reward in raw]
    rewards = torch.tensor(scores, dtype=torch.float32).view(-1, size)
    problems = [prompt_text(sample.prompt) for sample in samples] if of_texts.wants_keys else []
    rows = of_texts.of_process([sample.response for sample in samples], problems)
    rows = {name: values.to(rewards.device) for name, values in rows.items()}
    texts = [(sample.response, problem) for sample, problem in zip(samples, problems, strict=False)]
    inputs = {"rewards": rewards, "correct": is_correct(rewards)}
    if "lengths" in of_texts.wanted:
        inputs["lengths"] = torch.tensor([sample.effective_response_length for sample in samples]).view(rewards.shape)
    adjusted, _ = adjust(reweight, inputs | of_texts.of_groups(rows, rewards.shape, copies=False, texts=texts))
    if args.rewards_normalization:
        adjusted = normalise(adjusted, args.advantage_estimator, args.grpo_std_normalization)
    return raw, adjusted.nan_to_num(0.0).flatten().tolist()


def normalise(rewards: Tensor, estimator: str, by_deviation: bool) -> Tensor:
    """What slime does to rewards by group for an advantage estimator: [B, G] -> [B, G]; NaN stays out of it."""
    if estimator in UNTOUCHED:
        return rewards
    if estimator not in CENTRED:
        estimators = ", ".join((*CENTRED, *UNTOUCHED))
        raise ValueError(f"slime's advantage estimator must be one of {estimators}, got {estimator!r}.")
    count = (~rewards.isnan()).sum(-1, keepdim=True)
    centred = rewards - rewards.nanmean(-1, keepdim=True)
    if estimator in SCALED and by_deviation:
        deviation = (centred.square().nansum(-1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
        return centred / (deviation + 1e-6)
    return centred * count / (count - 1).clamp(min=1) if estimator == "rloo" else centred
