"""Diversity in slime: a function for `--custom-reward-post-process-path`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from manypaths.completion_inputs import REMEDIES, CompletionInputs, is_correct
from manypaths.embed import Embedder
from manypaths.grouping import group_size
from manypaths.keys import Keys
from manypaths.messages import prompt_text
from manypaths.methods import Advantage, Reweighter
from manypaths.methods.bind import adjust, replace_advantages
from manypaths.methods.effect import Scaling
from manypaths.trainers import AS_ADVANTAGE, available

SCALED = ("grpo", "gspo", "cispo")  # advantage estimators for which slime divides by the deviation of a group
CENTRED = (*SCALED, "reinforce_plus_plus_baseline", "rloo")  # for which it subtracts the mean of a group
UNTOUCHED = ("ppo", "reinforce_plus_plus")


def post_process_rewards(
    args: Any,
    samples: list[Any],
    *,
    reweight: Reweighter | None = None,
    advantage: Advantage | None = None,
    embedder: Embedder | None = None,
    keys: Keys | None = None,
    correct: str | None = None,
    progress: float | Callable[[], float] | None = None,
) -> tuple[list[float], list[float]]:
    """Rewards of a rollout, reweighted and then normalised as slime does it, or advantages in the place of the result.

    Bind what is not slime's in a module of yours, `post_process = partial(post_process_rewards, reweight=mmr,
    embedder=SentenceEmbedder("..."))`, and name that. Responses are compared without their prompts. A reward of None is
    unscored, which slime does not know: it ends as 0, the middle of GRPO.

    Args:
        args, samples: slime's own.
        reweight, embedder, keys: as in `manypaths.trl.DiverseGRPOTrainer`.
        advantage: as there; it gets the normalised rewards as `advantages`, and replaces them. slime takes this number
            for the advantage of every token of a response (under `reinforce_plus_plus_baseline` minus the KL term).
        correct: "reward" says that a response is correct where slime's reward is above 0.5, for methods with the input
            `correct`.
        progress: the share of the training that is done, or a function that returns it, for methods with that input:
            slime does not pass its step. Without a schedule the number does not matter.

    Returns:
        slime's (raw rewards, rewards), one each for every sample.

    Raises:
        ValueError: unless samples come in groups of `args.n_samples_per_prompt` with one `group_index` each; for no
            method, and one whose inputs are not all there; for an advantage estimator of which it is not known how
            slime normalises for it; and with `advantage` where slime would compute others of what is returned.
    """
    _check_methods(args, reweight, advantage, correct)
    of_texts = CompletionInputs(
        embedder,
        keys,
        methods={"reweight": reweight, "advantage": advantage},
        available=available("slime", correct=correct is not None, progress=progress is not None),
        remedies=REMEDIES
        | {"correct": "Pass correct='reward'.", "progress": "Pass progress=: slime does not say which step it is."}
        | dict.fromkeys(("advantages", "adjusted"), "Pass the method as advantage=."),
        scaling=scaling_of(args),
    )
    raw = [sample.get_reward_value(args) for sample in samples]
    size = group_size([sample.group_index for sample in samples], [args.n_samples_per_prompt])
    scores = [torch.nan if reward is None else reward for reward in raw]
    rewards = torch.tensor(scores, dtype=torch.float32).view(-1, size)
    inputs = {"rewards": rewards, "correct": is_correct(rewards), **_inputs_of(samples, of_texts, rewards.shape)}
    if progress is not None:
        inputs["progress"] = torch.tensor(float(progress() if callable(progress) else progress))
    adjusted = rewards if reweight is None else adjust(reweight, inputs)[0]
    result = adjusted
    if args.rewards_normalization:
        result = normalise(adjusted, args.advantage_estimator, args.grpo_std_normalization)
    if advantage is not None:
        own = result.nan_to_num(0.0)
        result, _ = replace_advantages(advantage, {**inputs, "rewards": adjusted, "advantages": own})
    return raw, result.nan_to_num(0.0).flatten().tolist()


def _check_methods(args: Any, reweight: Any, advantage: Any, correct: str | None) -> None:
    """Raise ValueError for no method, an unknown correctness, and advantages that slime would not keep."""
    if reweight is None and advantage is None:
        raise ValueError("post_process_rewards must be given a method, got none. Pass reweight=manypaths.mmr.")
    if advantage is not None:
        check_advantages_are_kept(args)
    if correct not in (None, "reward"):
        raise ValueError(f"correct must be 'reward', the only one that slime has, got {correct!r}.")


def _inputs_of(samples: list[Any], of_texts: CompletionInputs, groups: torch.Size) -> dict[str, Tensor]:
    """What methods want of the samples beside rewards, by name, in groups [B, G]."""
    problems = [prompt_text(sample.prompt) for sample in samples] if of_texts.wants_keys else []
    rows = of_texts.of_process([sample.response for sample in samples], problems)
    rows = {name: values.cpu() for name, values in rows.items()}
    texts = [(sample.response, problem) for sample, problem in zip(samples, problems, strict=False)]
    inputs: dict[str, Tensor] = {}
    if "lengths" in of_texts.wanted:
        inputs["lengths"] = torch.tensor([sample.effective_response_length for sample in samples]).view(groups)
    if "logprobs" in of_texts.wanted:
        inputs["logprobs"] = torch.tensor([_logprob(sample) for sample in samples]).view(groups)
    return inputs | of_texts.of_groups(rows, groups, copies=False, texts=texts)


def scaling_of(args: Any) -> Scaling | None:
    """What slime divides rewards by; None where it does not even subtract the mean of a group."""
    if not args.rewards_normalization or args.advantage_estimator not in CENTRED:
        return None
    if args.advantage_estimator in SCALED and args.grpo_std_normalization:
        remedy = f"Pass --disable-grpo-std-normalization. {AS_ADVANTAGE}"
        return Scaling("group", f"--advantage-estimator {args.advantage_estimator}", remedy)
    return Scaling("none", f"--advantage-estimator {args.advantage_estimator}", AS_ADVANTAGE)


def check_advantages_are_kept(args: Any) -> None:
    """Raise ValueError where slime would not take what it gets for the advantages."""
    if args.advantage_estimator not in CENTRED:
        raise ValueError(
            f"slime's advantage estimator must be one of {', '.join(CENTRED)} with advantage=, got "
            f"{args.advantage_estimator!r}, which computes advantages of its own from the rewards."
        )
    if getattr(args, "normalize_advantages", False):
        raise ValueError(
            "--normalize-advantages must be left out with advantage=, got it: slime would subtract the mean of all "
            "tokens from the advantages, and divide by their standard deviation."
        )


def _logprob(sample: Any) -> float:
    """The sum of the log-probabilities of the tokens that the model wrote, as the engine gave them that sampled."""
    of_tokens = getattr(sample, "rollout_log_probs", None)
    if of_tokens is None:
        raise ValueError(
            "A method with the input logprobs must have samples with rollout_log_probs, got None. Let the rollout "
            "function keep them, as slime's own does."
        )
    wrote = sample.loss_mask if sample.loss_mask is not None else [1] * len(of_tokens)
    return float(sum(own for own, mask in zip(of_tokens, wrote, strict=True) if mask))


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
